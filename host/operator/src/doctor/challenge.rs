//! Challenges: the `WWW-Authenticate` header.

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;

/// The most parameters of a challenge that are read.
///
/// Limit: parameters of a challenge that are read; test: none, more are left out.
const MAX_PARAMETERS: usize = 20;

/// A challenge: an authentication scheme and its parameters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Challenge {
    /// In lower case: `basic`, `bearer`.
    pub(crate) scheme: String,
    /// Names in lower case.
    parameters: Vec<(String, String)>,
}

impl Challenge {
    /// All challenges of a response; a header may hold several.
    pub(crate) fn all(headers: &HeaderMap) -> Vec<Self> {
        let values = headers.get_all(WWW_AUTHENTICATE).iter();
        values.filter_map(|value| value.to_str().ok()).flat_map(parse).collect()
    }

    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

fn parse(text: &str) -> Vec<Challenge> {
    let mut challenges: Vec<Challenge> = Vec::new();
    for part in parts(text) {
        let (head, value) = match part.split_once('=') {
            Some((head, value)) => (head.trim(), Some(value.trim())),
            None => (part.as_str(), None),
        };
        // A scheme precedes its first parameter, separated by a space.
        let (scheme, name) = match (head.split_once(' '), value) {
            (Some((scheme, name)), _) => (Some(scheme), name.trim()),
            (None, Some(_)) => (None, head),
            (None, None) => (Some(head), ""),
        };
        if let Some(scheme) = scheme {
            let scheme = scheme.to_ascii_lowercase();
            challenges.push(Challenge { scheme, parameters: Vec::new() });
        }
        if let (Some(challenge), Some(value)) = (challenges.last_mut(), value)
            && challenge.parameters.len() < MAX_PARAMETERS
        {
            challenge.parameters.push((name.to_ascii_lowercase(), unquote(value)));
        }
    }
    challenges
}

/// Splits at commas outside of quotes.
fn parts(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let (mut quoted, mut escaped) = (false, false);
    for c in text.chars() {
        if c == ',' && !quoted {
            parts.push(String::new());
            continue;
        }
        quoted ^= c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    parts.iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

fn unquote(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')) else {
        return value.to_owned();
    };
    let mut text = String::new();
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        text.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn challenges_are_read() {
        let docker = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="a,b""#;
        let [bearer] = &parse(docker)[..] else { panic!() };
        assert_eq!(bearer.scheme, "bearer");
        assert_eq!(bearer.parameter("realm"), Some("https://auth.docker.io/token"));
        assert_eq!(bearer.parameter("service"), Some("registry.docker.io"));
        assert_eq!(bearer.parameter("scope"), Some("a,b"));
        let two = parse(r#"BASIC Realm = "a \"b\"" , Bearer realm=x, Negotiate"#);
        let schemes: Vec<_> = two.iter().map(|c| c.scheme.as_str()).collect();
        assert_eq!(schemes, ["basic", "bearer", "negotiate"]);
        assert_eq!(two[0].parameter("realm"), Some("a \"b\""));
        assert_eq!(two[1].parameter("realm"), Some("x"));
        for text in ["", ",", "=", "\"", "a=\"b", "\\", "Basic ,="] {
            parse(text);
        }
    }
}
