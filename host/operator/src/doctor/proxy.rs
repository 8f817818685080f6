//! Whether environment variables make clients use a proxy.

use super::target::{Scheme, Target};
use ipnet::IpNet;
use std::net::IpAddr;

/// The proxy that clients with these variables use for the target, and the
/// variable that sets it. Go programs, Docker among them, read both spellings,
/// and never use a proxy for the machine itself.
pub(super) fn applies(
    target: &Target,
    scheme: Scheme,
    variable: impl Fn(&str) -> Option<String>,
) -> Option<(&'static str, String)> {
    let names: [&'static str; 2] = match scheme {
        Scheme::Https => ["HTTPS_PROXY", "https_proxy"],
        Scheme::Http => ["HTTP_PROXY", "http_proxy"],
    };
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    let (name, value) = names.into_iter().find_map(|name| Some((name, set(name)?)))?;
    let local = target.host == "localhost" || target.address().is_some_and(|a| a.is_loopback());
    let none = set("NO_PROXY").or_else(|| set("no_proxy")).unwrap_or_default();
    let port = target.port.unwrap_or(scheme.port());
    let excepted = none.split(',').any(|entry| excepts(entry.trim(), target, port));
    (!local && !excepted).then(|| (name, without_password(&value)))
}

/// Whether an entry of `NO_PROXY` covers the target.
fn excepts(entry: &str, target: &Target, port: u16) -> bool {
    let entry = entry.to_ascii_lowercase();
    if entry.is_empty() || entry == "*" {
        return entry == "*";
    }
    if let (Some(address), Ok(net)) = (target.address(), entry.parse::<IpNet>()) {
        return net.contains(&address);
    }
    // A port at the end restricts the entry to it.
    let (entry, its_port) = match entry.rsplit_once(':') {
        Some((name, digits)) if !entry.ends_with(']') && entry.parse::<IpAddr>().is_err() => {
            (name, digits.parse().ok())
        }
        _ => (entry.as_str(), None),
    };
    if its_port.is_some_and(|its: u16| its != port) {
        return false;
    }
    let entry = entry.trim_matches(['[', ']']);
    if let Some(address) = target.address() {
        return entry.parse() == Ok(address);
    }
    let domain = entry.trim_start_matches("*.").trim_start_matches('.');
    let below = target.host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
    below || (target.host == domain && !entry.starts_with('.'))
}

/// A proxy's URL without its user and password.
fn without_password(url: &str) -> String {
    match (url.find("://").map_or(0, |at| at + 3), url.rfind('@')) {
        (start, Some(at)) if start <= at => format!("{}…{}", &url[..start], &url[at..]),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Scheme, applies};

    #[test]
    fn variables_are_read() {
        let proxied = |target: &str, scheme, variables: &[(&str, &str)]| {
            applies(&target.parse().unwrap(), scheme, |name| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        let https = ("HTTPS_PROXY", "http://alice:secret@proxy:3128");
        assert_eq!(
            proxied("a.example:5000", Scheme::Https, &[https]),
            Some(("HTTPS_PROXY", "http://…@proxy:3128".to_owned()))
        );
        assert!(proxied("a.example", Scheme::Http, &[https]).is_none());
        assert!(proxied("a.example", Scheme::Http, &[("http_proxy", "http://p")]).is_some());
        assert!(proxied("localhost:5000", Scheme::Https, &[https]).is_none());
        assert!(proxied("127.0.0.2", Scheme::Https, &[https]).is_none());
        for (target, none, excepted) in [
            ("a.example", "*", true),
            ("a.example", "other, a.example", true),
            ("a.example", "example", true),
            ("a.example", ".example", true),
            ("a.example", "*.example", true),
            ("example", ".example", false),
            ("b-a.example", "a.example", false),
            ("a.example:5000", "a.example:5000", true),
            ("a.example:5001", "a.example:5000", false),
            ("10.1.2.3", "10.0.0.0/8", true),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.4", false),
            ("[fd00::5]:5000", "fd00::/8", true),
            ("[fd00::5]:5000", "[fd00::5]", true),
            ("a.example", "", false),
        ] {
            let found = proxied(target, Scheme::Https, &[https, ("no_proxy", none)]);
            assert_eq!(found.is_none(), excepted, "{target} {none}");
        }
    }
}
