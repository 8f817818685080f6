//! The registry to check.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// HTTP's two schemes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    /// The default port.
    pub(crate) fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "http",
            Self::Https => "https",
        })
    }
}

/// A registry as given on the command line: `registry.example:5000`, optionally
/// with a scheme.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Target {
    pub(crate) scheme: Option<Scheme>,
    /// A DNS name, or an IP address without brackets.
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
    /// What follows the host; registries have no path.
    pub(super) path: String,
}

impl Target {
    /// The host and port, as in image names and the `Host` header.
    pub(crate) fn authority(&self) -> String {
        authority(&self.host, self.port)
    }

    /// The host as an address, if it is one.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

/// A host, with brackets if it is an IPv6 address, and a port if there is one.
pub(super) fn authority(host: &str, port: Option<u16>) -> String {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    port.map_or_else(|| host.clone(), |port| format!("{host}:{port}"))
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const EXAMPLE: &str = "use the form https://registry.example:5000";
        let (scheme, rest) = match text.split_once("://") {
            Some(("http", rest)) => (Some(Scheme::Http), rest),
            Some(("https", rest)) => (Some(Scheme::Https), rest),
            Some((other, _)) => {
                return Err(format!("{other} is not http or https: {EXAMPLE}"));
            }
            None => (None, text),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return Err("give the user with --user, not in the URL".to_owned());
        }
        let colons = authority.matches(':').count();
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if colons == 1 || host.ends_with(']') => {
                let port = port.parse().ok().filter(|port| *port != 0);
                (host, Some(port.ok_or_else(|| format!("the port is not a number: {EXAMPLE}"))?))
            }
            _ => (authority, None),
        };
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        let host = host.to_ascii_lowercase();
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':');
        if host.is_empty() || !host.bytes().all(fits) {
            return Err(format!("{host:?} is not a host: {EXAMPLE}"));
        }
        // Docker Hub's registry has another name than its images.
        let host = match host.as_str() {
            "docker.io" | "index.docker.io" => "registry-1.docker.io".to_owned(),
            _ => host,
        };
        let path = path.trim_matches('/');
        let path = if path == "v2" { "" } else { path };
        Ok(Self { scheme, host, port, path: path.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::{Scheme, Target};

    #[test]
    fn registries_are_read() {
        for (text, scheme, host, port, path) in [
            ("registry.example:5000", None, "registry.example", Some(5000), ""),
            ("Registry.example", None, "registry.example", None, ""),
            ("https://a.example/v2/", Some(Scheme::Https), "a.example", None, ""),
            ("http://10.0.0.5:80", Some(Scheme::Http), "10.0.0.5", Some(80), ""),
            ("[::1]:5000", None, "::1", Some(5000), ""),
            ("https://[fd00::5]", Some(Scheme::Https), "fd00::5", None, ""),
            ("fd00::5", None, "fd00::5", None, ""),
            ("a.example:5000/app/image:tag", None, "a.example", Some(5000), "app/image:tag"),
            ("docker.io", None, "registry-1.docker.io", None, ""),
        ] {
            let target: Target = text.parse().unwrap();
            let expected = Target { scheme, host: host.to_owned(), port, path: path.to_owned() };
            assert_eq!(target, expected);
        }
        for (text, said) in [
            ("ftp://a", "not http or https"),
            ("https://alice:secret@a", "--user"),
            ("a:port", "not a number"),
            ("a:0", "not a number"),
            ("", "not a host"),
            ("a b", "not a host"),
        ] {
            let problem = text.parse::<Target>().unwrap_err();
            assert!(problem.contains(said), "{text}: {problem}");
        }
    }
}
