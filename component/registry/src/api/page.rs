//! The files of the registry's page below `/ui/`, and where a browser finds it.
//!
//! The files are the same for everyone, and no secret: they are served without authentication.
//! What the page shows it reads by requests of its own.

use super::{Call, REVALIDATE, Registry, empty, has_current, insert};
use crate::{Body, Error, PageRoute};
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use roadstead_config::Page;
use roadstead_page::Asset;
use roadstead_storage::Storage;

/// Where the page is, relative to `/` and to `/ui`: so it is found below any path of a proxy.
const LOCATION: &str = "ui/";

const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

impl<S: Storage> Registry<S> {
    pub(super) fn page(
        &self,
        page: PageRoute,
        call: &Call<S::Upload>,
    ) -> Result<Response<Body<S::Download>>, Error> {
        if self.switches.page == Page::Off {
            return Err(Error::UnknownEndpoint);
        }
        Ok(match page {
            PageRoute::Bare => to_page(),
            PageRoute::File(asset) => self.file(asset, &call.headers),
        })
    }

    /// `GET /`: the page for a browser, if it is served, and nothing for all others.
    pub(super) fn root(&self, call: &Call<S::Upload>) -> Response<Body<S::Download>> {
        let accepts = call.headers.get_all(header::ACCEPT).iter();
        let mut texts = accepts.filter_map(|value| value.to_str().ok());
        if self.switches.page != Page::Off
            && texts.any(|text| text.to_ascii_lowercase().contains("text/html"))
        {
            return to_page();
        }
        empty(StatusCode::OK)
    }

    fn file(&self, asset: &'static Asset, headers: &HeaderMap) -> Response<Body<S::Download>> {
        let compressed = accepts_gzip(headers);
        let etag = if compressed {
            format!("\"{}-gzip\"", asset.hash)
        } else {
            format!("\"{}\"", asset.hash)
        };
        let mut response = if has_current(headers, &etag) {
            let mut response = Response::new(Body::Empty);
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        } else {
            let bytes = if compressed { asset.gzip } else { asset.bytes };
            let mut response = Response::new(Body::from(Bytes::from_static(bytes)));
            let of_file = response.headers_mut();
            insert(of_file, header::CONTENT_TYPE, asset.media_type);
            of_file.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
            if compressed {
                of_file.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            }
            response
        };
        let of_page = response.headers_mut();
        insert(of_page, header::ETAG, &etag);
        insert(of_page, header::CONTENT_SECURITY_POLICY, &self.policy());
        for (name, value) in [
            (header::CACHE_CONTROL, REVALIDATE),
            (header::VARY, "Accept-Encoding"),
            (header::REFERRER_POLICY, "no-referrer"),
            (OPENER_POLICY, "same-origin"),
            (RESOURCE_POLICY, "same-origin"),
        ] {
            of_page.insert(name, HeaderValue::from_static(value));
        }
        response
    }

    /// What the page may load, and where it may send requests: to its own origin, and to that of
    /// the service that gives tokens.
    fn policy(&self) -> String {
        let realm = self.gate.realm_origin().map(|origin| format!(" {origin}"));
        format!(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
             connect-src 'self'{}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            realm.unwrap_or_default()
        )
    }
}

fn to_page<D>() -> Response<Body<D>> {
    let mut response = empty(StatusCode::TEMPORARY_REDIRECT);
    insert(response.headers_mut(), header::LOCATION, LOCATION);
    response
}

/// Whether `Accept-Encoding` names gzip, without the weight zero.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter();
    let mut codings =
        values.filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(','));
    codings.any(|coding| {
        let (name, parameters) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = parameters.trim().strip_prefix("q=").map(str::parse::<f32>);
        name.trim().eq_ignore_ascii_case("gzip")
            && !matches!(weight, Some(Ok(weight)) if weight <= 0.0)
    })
}

#[cfg(test)]
mod tests {
    use super::accepts_gzip;
    use http::HeaderMap;
    use http::header::ACCEPT_ENCODING;

    #[test]
    fn encodings() {
        for (text, expected) in [
            ("gzip, deflate, br, zstd", true),
            ("br;q=1.0, GZIP;q=0.8", true),
            ("gzip;q=0", false),
            ("gzip; q=0.000", false),
            ("identity", false),
            ("x-gzip", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, text.parse().unwrap())]);
            assert_eq!(accepts_gzip(&headers), expected, "{text}");
        }
        assert!(!accepts_gzip(&HeaderMap::new()));
    }
}
