//! Requests that browsers send for pages that are not the registry's own.
//!
//! A browser lets the page of another site read nothing that the registry answers, and asks the
//! registry before it sends PUT, PATCH or DELETE for one, or a header such as `Authorization`
//! (CORS), which the registry does not allow. A `POST` it sends without asking, with the password
//! that its user has typed, or to a registry that only its user can reach. And a site can have its
//! own name lead to `127.0.0.1`, so that its page is the registry's own for the browser.

use crate::Error;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Uri};
use roadstead_config::Page;
use std::net::IpAddr;

/// From which site a page sends a request (Fetch Metadata). Browsers send it by HTTPS, and to this
/// machine.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What the `User-Agent` of every browser begins with, and of no client of registries.
const BROWSER: &[u8] = b"Mozilla/";

/// Refuses what a page of another site has sent. `host` is the URL by which clients reach the
/// registry, if the settings have one.
///
/// # Errors
/// [`Error::CrossSite`], or [`Error::OtherHost`].
pub(super) fn look_at(
    method: &Method,
    headers: &HeaderMap,
    page: Page,
    host: Option<&str>,
) -> Result<(), Error> {
    if *method == Method::POST && is_of_another_site(headers, host) {
        return Err(Error::CrossSite);
    }
    if page == Page::Local && is_browser(headers) && !names_localhost_or_address(headers) {
        return Err(Error::OtherHost);
    }
    Ok(())
}

fn is_of_another_site(headers: &HeaderMap, host: Option<&str>) -> bool {
    let mut sites = headers.get_all(SEC_FETCH_SITE).iter().peekable();
    if sites.peek().is_some() {
        return sites.any(|site| site == "cross-site" || site == "same-site");
    }
    // Other clients have no origin.
    let Some(origin) = headers.get(header::ORIGIN) else { return false };
    let own = headers.get(header::HOST).map(HeaderValue::as_bytes);
    let given = host.map(|url| url.split_once("://").map_or(url, |(_, authority)| authority));
    let of_page = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    // Such as `null`, of a page in a frame that is kept apart.
    let Some((_, authority)) = of_page else { return true };
    own != Some(authority.as_bytes()) && given != Some(authority)
}

fn is_browser(headers: &HeaderMap) -> bool {
    let agent = headers.get(header::USER_AGENT).map(HeaderValue::as_bytes).unwrap_or_default();
    agent.starts_with(BROWSER)
        || headers.contains_key(SEC_FETCH_SITE)
        || headers.contains_key(header::ORIGIN)
}

/// Whether the host that the browser was led to is `localhost`, below it, or an address: names
/// that no site can give.
fn names_localhost_or_address(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let authority = host.and_then(|host| host.parse::<Uri>().ok());
    let Some(host) = authority.as_ref().and_then(Uri::host) else { return false };
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host.to_ascii_lowercase().ends_with(".localhost")
        || address.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::look_at;
    use crate::Error;
    use http::{HeaderMap, HeaderName, HeaderValue, Method};
    use roadstead_config::Page;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let header = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        lines.iter().map(header).collect()
    }

    #[test]
    fn pages_of_other_sites() {
        let host = ("host", "registry.example:5000");
        for (method, lines, refused) in [
            (Method::POST, &[host][..], false),
            (Method::POST, &[host, ("sec-fetch-site", "same-origin")], false),
            (Method::POST, &[host, ("sec-fetch-site", "none")], false),
            (Method::POST, &[host, ("sec-fetch-site", "same-site")], true),
            (Method::POST, &[host, ("sec-fetch-site", "cross-site")], true),
            // Behind a proxy that names another host.
            (
                Method::POST,
                &[host, ("sec-fetch-site", "same-origin"), ("origin", "https://other")],
                false,
            ),
            // By plain HTTP, there is only the origin.
            (Method::POST, &[host, ("origin", "http://registry.example:5000")], false),
            (Method::POST, &[host, ("origin", "https://public.example")], false),
            (Method::POST, &[host, ("origin", "http://registry.example")], true),
            (Method::POST, &[host, ("origin", "http://other.example")], true),
            (Method::POST, &[host, ("origin", "null")], true),
            (Method::POST, &[("origin", "http://other.example")], true),
            // For these a browser asks before.
            (Method::DELETE, &[host, ("sec-fetch-site", "cross-site")], false),
            (Method::GET, &[host, ("sec-fetch-site", "cross-site")], false),
        ] {
            let public = Some("https://public.example");
            let looked = look_at(&method, &headers(lines), Page::On, public);
            assert_eq!(matches!(looked, Err(Error::CrossSite)), refused, "{method} {lines:?}");
        }
    }

    #[test]
    fn names_that_lead_to_this_machine() {
        let browser = ("user-agent", "Mozilla/5.0 (X11)");
        for (lines, refused) in [
            (&[("host", "localhost:5000"), browser][..], false),
            (&[("host", "app.localhost"), browser], false),
            (&[("host", "127.0.0.1:5000"), browser], false),
            (&[("host", "[::1]:5000"), browser], false),
            (&[("host", "192.0.2.7"), browser], false),
            (&[("host", "attacker.example:5000"), browser], true),
            (&[("host", "localhost.attacker.example"), browser], true),
            (&[("host", "127.0.0.1.attacker.example"), browser], true),
            (&[("host", "attacker.example"), ("origin", "http://attacker.example")], true),
            (&[("host", "attacker.example"), ("sec-fetch-site", "none")], true),
            (&[browser], true),
            // Clients of registries know names that their machine has given to itself.
            (&[("host", "registry.local:5000"), ("user-agent", "docker/29")], false),
            (&[("host", "registry.local:5000")], false),
        ] {
            for method in [Method::GET, Method::DELETE] {
                let local = look_at(&method, &headers(lines), Page::Local, None);
                assert_eq!(matches!(local, Err(Error::OtherHost)), refused, "{lines:?}");
                for page in [Page::Off, Page::On] {
                    assert!(look_at(&method, &headers(lines), page, None).is_ok());
                }
            }
        }
    }
}
