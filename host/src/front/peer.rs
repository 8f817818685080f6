//! Where a request comes from, and the headers in which the host tells the
//! component.

use http::header::{FORWARDED, HOST, HeaderName, HeaderValue};
use http::{HeaderMap, Uri};
use ipnet::IpNet;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use roadstead_bridge::client::{ADDRESS, CERTIFICATE, PREFIX, SCHEME};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

const FORWARDED_START: &str = "x-forwarded-";
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Most proxies between a client and the host.
///
/// Limit: proxies between a client and the host; test: `origins`.
const MAX_PROXIES: usize = 16;

/// Characters of a certificate's name that need no escape.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'@');

/// The other end of a connection, which may be a proxy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Peer {
    /// Its address.
    pub(crate) address: IpAddr,
    /// Whether the connection is TLS.
    pub(crate) tls: bool,
    /// The name in its verified certificate.
    pub(crate) certificate: Option<String>,
}

/// The address of the client of a request: the connection's, or what a `trusted`
/// proxy says.
pub(crate) fn address(headers: &HeaderMap, peer: &Peer, trusted: &[IpNet]) -> IpAddr {
    Origin::of(headers, peer, trusted).address
}

/// The address of the client of a request, and whether it has asked by HTTPS.
pub(crate) fn origin(headers: &HeaderMap, peer: &Peer, trusted: &[IpNet]) -> (IpAddr, bool) {
    let Origin { address, tls } = Origin::of(headers, peer, trusted);
    (address, tls)
}

/// Whether a connection comes from a `trusted` proxy.
pub(crate) fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    let address = address.to_canonical();
    trusted.iter().any(|network| network.contains(&address))
}

/// Removes the headers from a request that only the host and proxies may set:
/// from anyone else they are forged. Then, if the component `authenticates`
/// callers, sets those that describe the client. Forwarding headers are honoured
/// if they come from a `trusted` proxy.
pub(crate) fn describe(
    headers: &mut HeaderMap,
    peer: &Peer,
    authenticates: bool,
    trusted: &[IpNet],
) {
    let origin = authenticates.then(|| Origin::of(headers, peer, trusted));
    let reserved: Vec<HeaderName> =
        headers.keys().filter(|name| is_reserved(name)).cloned().collect();
    for name in reserved {
        headers.remove(name);
    }
    let Some(origin) = origin else { return };
    headers.insert(SCHEME, HeaderValue::from_static(if origin.tls { "https" } else { "http" }));
    // All bytes of both are valid in headers.
    if let Ok(address) = HeaderValue::try_from(origin.address.to_string()) {
        headers.insert(ADDRESS, address);
    }
    let name = peer.certificate.as_ref().map(|name| utf8_percent_encode(name, PLAIN).to_string());
    if let Some(Ok(name)) = name.map(HeaderValue::try_from) {
        headers.insert(CERTIFICATE, name);
    }
}

/// Sets `Host` to the host that a request is for, whatever the version of HTTP:
/// the `:authority` of HTTP/2 overrides a header. Several `Host` headers are
/// ambiguous, and removed.
pub(crate) fn set_host(headers: &mut HeaderMap, uri: &Uri) {
    if let Some(Ok(authority)) = authority(uri).map(HeaderValue::from_str) {
        headers.insert(HOST, authority);
    } else if headers.get_all(HOST).iter().nth(1).is_some() {
        headers.remove(HOST);
    }
}

/// The `:authority` of HTTP/2, or that of a URI in a request line, without user information (RFC 9110,
/// section 4.2.4).
pub(crate) fn authority(uri: &Uri) -> Option<&str> {
    let text = uri.authority()?.as_str();
    Some(text.rsplit_once('@').map_or(text, |(_, host)| host))
}

fn is_reserved(name: &HeaderName) -> bool {
    let text = name.as_str();
    matches!(text, "forwarded" | "x-real-ip" | "content-digest")
        || text.starts_with(FORWARDED_START)
        || text.starts_with(PREFIX)
}

/// The client's end of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Origin {
    address: IpAddr,
    tls: bool,
}

impl Origin {
    fn of(headers: &HeaderMap, peer: &Peer, trusted: &[IpNet]) -> Self {
        let own = Self { address: peer.address.to_canonical(), tls: peer.tls };
        let trusts = |address: IpAddr| is_trusted(address, trusted);
        if !trusts(own.address) {
            return own;
        }
        let by_elements = has(headers, &FORWARDED).then(|| forwarded(headers, own, trusts));
        let by_lists = (has(headers, &FORWARDED_FOR) || has(headers, &FORWARDED_PROTO))
            .then(|| x_forwarded(headers, own, trusts));
        match (by_elements, by_lists) {
            // A proxy sets one of them, and may pass the other on as its client
            // sent it.
            (Some(a), Some(b)) if a != b => own,
            (Some(origin), _) | (None, Some(origin)) => origin.unwrap_or(own),
            (None, None) => own,
        }
    }
}

fn has(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers.contains_key(name)
}

/// The origin by `X-Forwarded-For` and `-Proto`; `None` if they are malformed.
fn x_forwarded(
    headers: &HeaderMap,
    own: Origin,
    trusts: impl Fn(IpAddr) -> bool,
) -> Option<Origin> {
    let mut origin = own;
    if has(headers, &FORWARDED_FOR) {
        let list = list(headers, &FORWARDED_FOR)?;
        let addresses = list.iter().rev().map(|item| node(item));
        origin.address = client(addresses, trusts)?.1;
    }
    if has(headers, &FORWARDED_PROTO) {
        // A proxy appends to the list, or replaces it.
        origin.tls = scheme(list(headers, &FORWARDED_PROTO)?.last()?)?;
    }
    Some(origin)
}

/// The origin by `Forwarded` (RFC 7239); `None` if it is malformed.
fn forwarded(headers: &HeaderMap, own: Origin, trusts: impl Fn(IpAddr) -> bool) -> Option<Origin> {
    let list = list(headers, &FORWARDED)?;
    let elements: Vec<_> = list.iter().rev().map(|element| parameters(element)).collect();
    let addresses = elements.iter().map(|element| node(element.as_ref()?.0?));
    let (index, address) = client(addresses, trusts)?;
    let tls = match elements.get(index)?.as_ref()?.1 {
        Some(text) => scheme(text)?,
        None => own.tls,
    };
    Some(Origin { address, tls })
}

/// `for` and `proto` of an element; `None` if it has one of them twice.
fn parameters(element: &str) -> Option<(Option<&str>, Option<&str>)> {
    let (mut address, mut scheme) = (None, None);
    for pair in element.split(';').filter(|pair| !pair.trim().is_empty()) {
        let (name, value) = pair.split_once('=')?;
        // Neither addresses nor schemes contain escapes.
        let value = value.trim().trim_matches('"');
        let place = match name.trim() {
            name if name.eq_ignore_ascii_case("for") => &mut address,
            name if name.eq_ignore_ascii_case("proto") => &mut scheme,
            _ => continue,
        };
        if place.replace(value).is_some() {
            return None;
        }
    }
    Some((address, scheme))
}

/// The nearest address that is not a trusted proxy's, or the furthest if all
/// are; and its index. Addresses come nearest first; a malformed one hides all
/// beyond it.
fn client(
    addresses: impl Iterator<Item = Option<IpAddr>>,
    trusts: impl Fn(IpAddr) -> bool,
) -> Option<(usize, IpAddr)> {
    let mut furthest = None;
    for (index, address) in addresses.enumerate() {
        if index == MAX_PROXIES {
            return None;
        }
        let address = address?;
        furthest = Some((index, address));
        if !trusts(address) {
            break;
        }
    }
    furthest
}

/// The items of a list in one header or several.
fn list<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<Vec<&'a str>> {
    let values = headers.get_all(name).iter().map(|value| value.to_str().ok());
    let values: Vec<&str> = values.collect::<Option<_>>()?;
    let items = values.into_iter().flat_map(|value| value.split(','));
    Some(items.map(str::trim).filter(|item| !item.is_empty()).collect())
}

fn scheme(text: &str) -> Option<bool> {
    match text {
        _ if text.eq_ignore_ascii_case("https") => Some(true),
        _ if text.eq_ignore_ascii_case("http") => Some(false),
        _ => None,
    }
}

/// An address; some proxies add brackets and a port.
fn node(text: &str) -> Option<IpAddr> {
    let bracketed = |text: &str| {
        text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::from)
    };
    let address = text.parse::<IpAddr>().ok();
    let address = address.or_else(|| bracketed(text));
    let address = address.or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()));
    Some(address?.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::{Peer, describe, set_host};
    use http::{HeaderMap, HeaderName, HeaderValue};
    use ipnet::IpNet;

    fn map(headers: &[(&str, &str)]) -> HeaderMap {
        let parsed = headers.iter().map(|(name, value)| {
            (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap())
        });
        parsed.fold(HeaderMap::new(), |mut map, (name, value)| {
            map.append(name, value);
            map
        })
    }

    fn peer(address: &str, tls: bool, certificate: Option<&str>) -> Peer {
        let certificate = certificate.map(str::to_owned);
        Peer { address: address.parse().unwrap(), tls, certificate }
    }

    fn trusted() -> Vec<IpNet> {
        ["10.0.0.0/8", "192.0.2.7/32", "fd00::/8"].map(|text| text.parse().unwrap()).to_vec()
    }

    #[test]
    fn forged_headers_are_removed() {
        let forged = [
            ("Forwarded", "for=1.2.3.4"),
            ("X-Forwarded-For", "1.2.3.4"),
            ("X-Forwarded-For", "5.6.7.8"),
            ("X-Forwarded-Host", "evil"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Client-Cert", "Hash=1"),
            ("x-forwarded-", "?"),
            ("X-Real-IP", "1.2.3.4"),
            ("Content-Digest", "sha-256=:AAAA:"),
            ("X-Roadstead-Client", "1.2.3.4"),
            ("X-ROADSTEAD-CERTIFICATE", "admin"),
            ("X-Roadstead-Anything", "1"),
            ("Accept", "*/*"),
        ];
        for address in ["10.1.2.3", "1.1.1.1"] {
            let mut headers = map(&forged);
            describe(&mut headers, &peer(address, false, Some("who")), false, &trusted());
            assert_eq!(headers, map(&[("accept", "*/*")]));
        }
        let mut headers = map(&forged);
        describe(&mut headers, &peer("1.1.1.1", false, None), true, &trusted());
        let expected = [("x-roadstead-client", "1.1.1.1"), ("x-roadstead-scheme", "http")];
        assert_eq!(headers, map(&[&expected[..], &[("accept", "*/*")]].concat()));
    }

    /// The peer's address and TLS, the request's headers, and the client's address
    /// and scheme for the component.
    type Row<'a> = ((&'a str, bool), &'a [(&'a str, &'a str)], (&'a str, &'a str));

    #[test]
    fn origins() {
        const FOR: &str = "x-forwarded-for";
        const PROTO: &str = "x-forwarded-proto";
        let plain = ("10.1.2.3", false);
        let rows: &[Row] = &[
            // Without a trusted proxy.
            (("1.1.1.1", true), &[], ("1.1.1.1", "https")),
            (("1.1.1.1", false), &[(FOR, "9.9.9.9"), (PROTO, "https")], ("1.1.1.1", "http")),
            (("::ffff:1.1.1.1", false), &[], ("1.1.1.1", "http")),
            (("2001:db8::1", false), &[], ("2001:db8::1", "http")),
            // By a trusted proxy.
            (plain, &[], ("10.1.2.3", "http")),
            (plain, &[(FOR, "9.9.9.9"), (PROTO, "https")], ("9.9.9.9", "https")),
            (("::ffff:10.1.2.3", false), &[(FOR, "9.9.9.9")], ("9.9.9.9", "http")),
            (("fd00::1", false), &[(FOR, "2001:db8::2")], ("2001:db8::2", "http")),
            (plain, &[(FOR, "::ffff:9.9.9.9")], ("9.9.9.9", "http")),
            (plain, &[(FOR, "9.9.9.9:1234")], ("9.9.9.9", "http")),
            (plain, &[(FOR, "[2001:db8::2]:1234")], ("2001:db8::2", "http")),
            (plain, &[(FOR, "[2001:db8::2]")], ("2001:db8::2", "http")),
            (("10.1.2.3", true), &[(PROTO, "http")], ("10.1.2.3", "http")),
            (plain, &[(PROTO, "HTTPS")], ("10.1.2.3", "https")),
            // Entries further left can be forged.
            (plain, &[(FOR, "6.6.6.6, 9.9.9.9")], ("9.9.9.9", "http")),
            (plain, &[(FOR, "garbage, 9.9.9.9")], ("9.9.9.9", "http")),
            (plain, &[(FOR, "6.6.6.6"), (FOR, "9.9.9.9")], ("9.9.9.9", "http")),
            (plain, &[(PROTO, "https, http")], ("10.1.2.3", "http")),
            // Proxies behind proxies.
            (plain, &[(FOR, "6.6.6.6, 9.9.9.9, 192.0.2.7,10.9.9.9")], ("9.9.9.9", "http")),
            (plain, &[(FOR, "10.3.3.3, 10.2.2.2")], ("10.3.3.3", "http")),
            // Malformed.
            (plain, &[(FOR, "9.9.9.9, garbage")], ("10.1.2.3", "http")),
            (plain, &[(FOR, "9.9.9.9, unknown, 10.2.2.2")], ("10.1.2.3", "http")),
            (plain, &[(FOR, "")], ("10.1.2.3", "http")),
            (plain, &[(FOR, "9.9.9.9"), (PROTO, "gopher")], ("10.1.2.3", "http")),
            (plain, &[(FOR, "9.9.9.9:99999")], ("10.1.2.3", "http")),
            // RFC 7239.
            (plain, &[("forwarded", "for=9.9.9.9;proto=https")], ("9.9.9.9", "https")),
            (plain, &[("forwarded", "For=\"[2001:db8::2]:47\"")], ("2001:db8::2", "http")),
            (
                plain,
                &[("forwarded", "for=6.6.6.6, for=9.9.9.9;proto=https, for=10.2.2.2;proto=http")],
                ("9.9.9.9", "https"),
            ),
            (plain, &[("forwarded", "for=_hidden")], ("10.1.2.3", "http")),
            (plain, &[("forwarded", "for=9.9.9.9;for=6.6.6.6")], ("10.1.2.3", "http")),
            (plain, &[("forwarded", "nonsense")], ("10.1.2.3", "http")),
            (plain, &[("forwarded", "proto=https")], ("10.1.2.3", "http")),
            // Both, of which the client may have forged one.
            (plain, &[(FOR, "9.9.9.9"), ("forwarded", "for=9.9.9.9")], ("9.9.9.9", "http")),
            (plain, &[(FOR, "9.9.9.9"), ("forwarded", "for=6.6.6.6")], ("10.1.2.3", "http")),
            (plain, &[(FOR, "9.9.9.9"), ("forwarded", "nonsense")], ("10.1.2.3", "http")),
        ];
        for ((address, tls), said, (client, scheme)) in rows {
            let mut headers = map(said);
            describe(&mut headers, &peer(address, *tls, None), true, &trusted());
            let expected = map(&[("x-roadstead-client", client), ("x-roadstead-scheme", scheme)]);
            assert_eq!(headers, expected, "{address}: {said:?}");
        }
        let long = vec!["10.0.0.1"; 17].join(",");
        let mut headers = map(&[(FOR, &long)]);
        describe(&mut headers, &peer("10.1.2.3", false, None), true, &trusted());
        assert_eq!(headers["x-roadstead-client"], "10.1.2.3");
    }

    #[test]
    fn certificates() {
        for (name, expected) in [
            ("ci-1.example_a@b", "ci-1.example_a@b"),
            ("Zoë, 100%\r\nX: y", "Zo%C3%AB%2C%20100%25%0D%0AX%3A%20y"),
        ] {
            let mut headers = map(&[]);
            describe(&mut headers, &peer("1.1.1.1", true, Some(name)), true, &[]);
            assert_eq!(headers["x-roadstead-certificate"], expected);
        }
    }

    #[test]
    fn hosts() {
        for (uri, said, expected) in [
            ("/v2/", &[("host", "a:5000")][..], Some("a:5000")),
            ("https://b:1/v2/", &[], Some("b:1")),
            ("https://b:1/v2/", &[("host", "a"), ("host", "c")], Some("b:1")),
            ("http://user@b/v2/", &[], Some("b")),
            ("/v2/", &[("host", "a"), ("host", "c")], None),
            ("/v2/", &[], None),
        ] {
            let mut headers = map(said);
            set_host(&mut headers, &uri.parse().unwrap());
            let found: Vec<_> = headers.get_all("host").iter().collect();
            assert_eq!(found, expected.iter().collect::<Vec<_>>(), "{uri} {said:?}");
        }
    }
}
