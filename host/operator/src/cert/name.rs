//! The names in certificates.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// The longest DNS name, and the longest of its labels.
///
/// Limit: bytes of a host's name; test: `bad_names_say_why`.
const MAX_NAME: usize = 253;
/// Bytes of a part of a host's name.
///
/// Limit: bytes of a part of a host's name; test: `bad_names_say_why`.
const MAX_LABEL: usize = 63;

/// The longest common name that X.509 allows.
///
/// Limit: bytes of a common name; test: `bad_names_say_why`.
pub(super) const MAX_COMMON_NAME: usize = 64;

/// The port that clients leave out.
const HTTPS_PORT: u16 = 443;

/// A name or address that clients use for a server: a `subjectAltName`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Name {
    /// A DNS name in lower case; its first label may be `*`.
    Dns(String),
    /// An IP address.
    Address(IpAddr),
}

impl Name {
    /// Whether it is a wildcard, to which no client connects.
    pub fn is_wildcard(&self) -> bool {
        matches!(self, Self::Dns(name) if name.starts_with('*'))
    }

    /// The host and port as in an image name, which leaves port 443 out.
    pub fn authority(&self, port: u16) -> String {
        let host = match self {
            Self::Address(IpAddr::V6(address)) => format!("[{address}]"),
            other => other.to_string(),
        };
        if port == HTTPS_PORT { host } else { format!("{host}:{port}") }
    }

    /// The host and port in all ways that image names can have them: port 443 may be left out.
    /// Docker and podman look for certificates under the one that the image name has.
    pub fn authorities(&self, port: u16) -> impl Iterator<Item = String> {
        let authority = self.authority(port);
        let with_port = (port == HTTPS_PORT).then(|| format!("{authority}:{port}"));
        [authority].into_iter().chain(with_port)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name),
            Self::Address(address) => address.fmt(f),
        }
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.trim_matches(['[', ']']).parse() {
            return Ok(Self::Address(address));
        }
        if text.contains("://") || text.contains('/') {
            return Err("give the name alone, without a scheme or path".to_owned());
        }
        if let Some((name, port)) = text.rsplit_once(':')
            && port.bytes().all(|byte| byte.is_ascii_digit())
            && !name.contains(':')
        {
            return Err(format!("give the name alone, as in: {name} --port {port}"));
        }
        if text.contains(':') {
            return Err("not an IPv6 address; a certificate cannot contain a zone (%)".to_owned());
        }
        if !text.is_ascii() {
            return Err("give an internationalized name in its xn-- form".to_owned());
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        check(&name)?;
        Ok(Self::Dns(name))
    }
}

fn check(name: &str) -> Result<(), String> {
    if name.len() > MAX_NAME {
        return Err(format!("a DNS name has at most {MAX_NAME} characters"));
    }
    let rest = name.strip_prefix("*.").unwrap_or(name);
    if rest.len() < name.len() && !rest.contains('.') {
        return Err(format!("{name} is too broad: clients reject it; add a label before .{rest}"));
    }
    for label in rest.split('.') {
        let fits = (1..=MAX_LABEL).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-');
        // DNS host names have no underscores, but names in Docker networks do.
        if !fits || !label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')) {
            return Err(format!(
                "{label:?} cannot be part of a DNS name: a label has 1 to {MAX_LABEL} letters, \
                 digits and inner hyphens; * may only be the whole first label"
            ));
        }
    }
    let last = rest.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("not an IPv4 address, which has four numbers of up to 255".to_owned());
    }
    Ok(())
}

/// The name of a client, which access rules refer to as `cert:NAME`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientName(String);

impl ClientName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClientName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'@');
        // It becomes part of file names.
        if (1..=MAX_COMMON_NAME).contains(&text.len())
            && text.bytes().all(allowed)
            && !text.starts_with(['.', '-'])
        {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "a client's name has 1 to {MAX_COMMON_NAME} letters, digits, dots, hyphens, \
             underscores and @, and does not start with . or -"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::{ClientName, Name};

    #[test]
    fn names_are_read() {
        for (text, name, authority) in [
            ("registry.example", "registry.example", "registry.example:5000"),
            ("Registry.Example.", "registry.example", "registry.example:5000"),
            ("*.example.org", "*.example.org", "*.example.org:5000"),
            ("localhost", "localhost", "localhost:5000"),
            ("my_registry", "my_registry", "my_registry:5000"),
            ("10.0.0.5", "10.0.0.5", "10.0.0.5:5000"),
            ("fd00::5", "fd00::5", "[fd00::5]:5000"),
            ("[FD00:0::5]", "fd00::5", "[fd00::5]:5000"),
        ] {
            let parsed: Name = text.parse().unwrap();
            assert_eq!(
                (parsed.to_string().as_str(), parsed.authority(5000).as_str()),
                (name, authority)
            );
        }
        for (text, authorities) in
            [("a.example", &["a.example", "a.example:443"][..]), ("::1", &["[::1]", "[::1]:443"])]
        {
            let name: Name = text.parse().unwrap();
            assert_eq!(name.authorities(443).collect::<Vec<_>>(), authorities);
            assert_eq!(name.authorities(80).count(), 1);
        }
    }

    #[test]
    fn bad_names_say_why() {
        let long = format!("{}.example", "a".repeat(64));
        let longer = vec!["a".repeat(60); 5].join(".");
        for (text, said) in [
            ("", "cannot be part"),
            ("a..b", "cannot be part"),
            ("-a.example", "cannot be part"),
            ("a-.example", "cannot be part"),
            ("a b", "cannot be part"),
            ("a.*.example", "cannot be part"),
            ("a*.example", "cannot be part"),
            (&long, "cannot be part"),
            (&longer, "at most 253"),
            ("*", "cannot be part"),
            ("*.com", "too broad"),
            ("10.0.0.256", "not an IPv4"),
            ("10.0.0", "not an IPv4"),
            ("fe80::1%eth0", "not an IPv6 address"),
            ("registry.example:5000", "registry.example --port 5000"),
            ("https://registry.example", "without a scheme"),
            ("registry.example/app", "without a scheme"),
            ("bücher.example", "xn--"),
        ] {
            let problem = text.parse::<Name>().unwrap_err();
            assert!(problem.contains(said), "{text}: {problem}");
        }
        for text in ["", "../x", "a/b", "-a", "a b", &long] {
            assert!(text.parse::<ClientName>().is_err(), "{text}");
        }
        assert_eq!("ci-1@example".parse::<ClientName>().unwrap().as_str(), "ci-1@example");
    }
}
