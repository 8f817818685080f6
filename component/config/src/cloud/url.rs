//! Where a store is.

/// The rule that [`parse`] keeps.
pub(super) const RULE: &str =
    "must be a URL such as https://s3.example:9000, without credentials, ? and #";

/// A URL, or `host:port` that `scheme` is put before; without a slash at its
/// end. A path stays: emulators have an account there.
pub(super) fn parse(value: &str, scheme: &str) -> Option<String> {
    let value = value.trim().trim_end_matches('/');
    let (scheme, rest) = match value.split_once("://") {
        Some((scheme @ ("http" | "https"), rest)) => (scheme, rest),
        Some(_) => return None,
        None => (scheme, value),
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let in_authority = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    let in_path = |byte: u8| byte.is_ascii_alphanumeric() || b".-_/".contains(&byte);
    let valid = !host(authority).is_empty()
        && authority.bytes().all(in_authority)
        && path.bytes().all(in_path)
        && port(authority).is_none_or(|port| port.parse::<u16>().is_ok());
    // Names of hosts are of one case, so that they can be compared.
    let (authority, path) = (authority.to_ascii_lowercase(), &rest[authority.len()..]);
    valid.then(|| format!("{scheme}://{authority}{path}"))
}

/// A URL's `scheme://authority`.
pub(super) fn origin(url: &str) -> &str {
    let authority = url.find("://").map_or(0, |at| at + 3);
    let end = url[authority..].find('/').map_or(url.len(), |at| authority + at);
    &url[..end]
}

/// The same URL with `label` as the first part of its host's name.
pub(super) fn with_label(url: &str, label: &str) -> String {
    url.replacen("://", &format!("://{label}."), 1)
}

/// Whether a URL's host is one of Amazon's endpoints, whose buckets have names in DNS.
pub(super) fn is_of_amazon(url: &str) -> bool {
    let origin = origin(url);
    let host = host(origin.split_once("://").map_or(origin, |(_, authority)| authority));
    [".amazonaws.com", ".amazonaws.com.cn"].iter().any(|domain| host.ends_with(domain))
}

fn host(authority: &str) -> &str {
    match (authority.rfind(':'), authority.rfind(']')) {
        (Some(colon), bracket) if bracket.is_none_or(|bracket| bracket < colon) => {
            &authority[..colon]
        }
        _ => authority,
    }
}

fn port(authority: &str) -> Option<&str> {
    authority[host(authority).len()..].strip_prefix(':')
}
