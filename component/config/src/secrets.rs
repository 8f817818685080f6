//! What is never shown: secrets, and the passwords in URLs.

use crate::settings::{
    AUTH_RULES, HTTP_WARNING, POLICY_IMMUTABLE, POLICY_QUOTAS, POLICY_RETENTION_POLICIES, Row,
};
use std::borrow::Cow;

/// What is shown in place of a secret, however long that is.
pub(crate) const MASK: &str = "********";

/// What begins and ends the names of members of a JSON Web Key that are secret
/// (RFC 7518, section 6): of private keys, and of symmetric ones.
const SECRET_MEMBERS: [&str; 2] = ["\"d\"", "\"k\""];

/// A setting's text as it may be shown.
pub(crate) fn shown(row: &Row, text: &str) -> String {
    // What every client sees, and rules, which hold claims such as `ref=a@b` and no secret.
    let public = [
        &HTTP_WARNING.row,
        &AUTH_RULES.row,
        &POLICY_IMMUTABLE.row,
        &POLICY_QUOTAS.row,
        &POLICY_RETENTION_POLICIES.row,
    ];
    if public.iter().any(|public| public.key == row.key) {
        return text.to_owned();
    }
    let is_key = text.contains("PRIVATE KEY")
        || text.trim_start().starts_with('{')
            && SECRET_MEMBERS.iter().any(|member| text.contains(member));
    if row.secret || is_key { MASK.to_owned() } else { without_passwords(text).into_owned() }
}

/// A text without the credentials before the host of a URL, and without the values of its query,
/// which may be a token. It need not be a valid URL, since what was pasted into the wrong setting
/// is a password too: all up to the last `@` goes.
fn without_passwords(text: &str) -> Cow<'_, str> {
    let scheme = text.find("://").map(|at| at + "://".len());
    let start = scheme.unwrap_or(0);
    let credentials = text[start..].rfind('@').map(|at| start + at);
    let credentials = credentials.filter(|at| scheme.is_some() || text[..*at].contains(':'));
    let rest = credentials.unwrap_or(start);
    let query = text[rest..].find('?').filter(|_| scheme.is_some()).map(|at| rest + at + 1);
    if credentials.is_none() && query.is_none() {
        return Cow::Borrowed(text);
    }
    let hidden = if credentials.is_some() { MASK } else { "" };
    let (end, values) = query.map_or((text.len(), ""), |at| (at, MASK));
    Cow::Owned([&text[..start], hidden, &text[rest..end], values].concat())
}

#[cfg(test)]
mod tests {
    use super::without_passwords;

    #[test]
    fn urls_lose_their_passwords() {
        for (text, expected) in [
            ("", ""),
            ("https://registry.example:5000", "https://registry.example:5000"),
            ("https://s3.example/a@b", "https://********@b"),
            ("https://alice:tell@s3.example:9000/x", "https://********@s3.example:9000/x"),
            ("https://tell@s3.example", "https://********@s3.example"),
            ("http://alice:te/ll?no@b.example", "http://********@b.example"),
            ("alice:tell@s3.example:9000", "********@s3.example:9000"),
            ("https://a.example/?sv=1&sig=tell", "https://a.example/?********"),
            ("https://alice:t?ell@a.example?sig=tell", "https://********@a.example?********"),
            ("https://a:te ll,tell@b,https://c:tell@d", "https://********@d"),
            ("alice@example.org", "alice@example.org"),
            ("[::1]:5000", "[::1]:5000"),
            ("a?b", "a?b"),
            ("ü:tell@ü", "********@ü"),
            ("https://", "https://"),
            ("@", "@"),
        ] {
            assert_eq!(without_passwords(text), expected, "{text}");
        }
    }
}
