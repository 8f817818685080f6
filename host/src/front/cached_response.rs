//! A response that is kept, and how it answers a request: whole, in part, or by
//! 304.

use crate::body::{empty, full};
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use roadstead_oci::{ByteRange, conditional, content_range};
use std::ops::Range;
use std::time::Instant;
use wasmtime_wasi_http::WasiBody;

/// A response that is kept.
pub(super) struct CachedResponse {
    /// 200 or 404.
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// `None` if it is the response to a HEAD.
    pub(super) body: Option<Bytes>,
    /// The slots of its keys; see [`super::cache::ResponseCache`].
    pub(super) slots: Vec<usize>,
    /// The number of purges when its request began.
    pub(super) purges: u64,
    /// When it expires.
    pub(super) until: Instant,
}

impl CachedResponse {
    /// The response to a request with these headers, as HEAD if `head`. `None`
    /// if only the component can answer: the body is not known, or the range
    /// cannot be satisfied.
    pub(super) fn respond(&self, request: &HeaderMap, head: bool) -> Option<Response<WasiBody>> {
        if self.body.is_none() && !head {
            return None;
        }
        if self.is_held(request) {
            return Some(self.not_modified());
        }
        let body = self.body.clone().filter(|_| !head).unwrap_or_default();
        match self.range(request).filter(|_| !body.is_empty()) {
            Some(range) => self.part(&body, range.resolve(body.len() as u64)?),
            None => Some(self.with_body(full(body))),
        }
    }

    /// Whether the client has the content already, by `If-None-Match`.
    fn is_held(&self, request: &HeaderMap) -> bool {
        let Some(etag) = text(self.headers.get(header::ETAG)) else { return false };
        let mut held = request.get_all(header::IF_NONE_MATCH).iter();
        held.any(|held| text(Some(held)).is_some_and(|held| conditional::if_none_match(held, etag)))
    }

    /// The range to send, if the request asks for one that is to be honoured.
    fn range(&self, request: &HeaderMap) -> Option<ByteRange> {
        if !self.headers.contains_key(header::ACCEPT_RANGES) {
            return None;
        }
        if let Some(held) = request.get(header::IF_RANGE) {
            let etag = text(self.headers.get(header::ETAG))?;
            if !conditional::if_range(text(Some(held))?, etag) {
                return None;
            }
        }
        ByteRange::parse(text(request.get(header::RANGE))?)
    }

    fn with_body(&self, body: WasiBody) -> Response<WasiBody> {
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers.clone();
        response
    }

    /// 304, without the headers that describe the body.
    fn not_modified(&self) -> Response<WasiBody> {
        let mut response = self.with_body(empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        for name in [header::CONTENT_LENGTH, header::CONTENT_TYPE, header::ACCEPT_RANGES] {
            response.headers_mut().remove(name);
        }
        response
    }

    /// 206, with this part of the body.
    fn part(&self, body: &Bytes, part: Range<u64>) -> Option<Response<WasiBody>> {
        let (start, end) = (usize::try_from(part.start).ok()?, usize::try_from(part.end).ok()?);
        let mut response = self.with_body(full(body.slice(start..end)));
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(end - start));
        let content_range = content_range(&part, body.len() as u64);
        headers.insert(header::CONTENT_RANGE, HeaderValue::from_str(&content_range).ok()?);
        Some(response)
    }
}

/// A header's value as text, if it is text.
fn text(value: Option<&HeaderValue>) -> Option<&str> {
    value?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::CachedResponse;
    use bytes::Bytes;
    use http::{HeaderMap, StatusCode};
    use http_body_util::BodyExt as _;
    use std::time::Instant;

    fn headers(headers: &[(&'static str, &str)]) -> HeaderMap {
        let headers = headers
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()));
        headers.collect()
    }

    /// A request's headers and whether it is a HEAD; the status, length and
    /// content range of the response, and its body.
    type Row<'a> = (&'a [(&'static str, &'a str)], bool, Option<(u16, &'a str, &'a str, &'a str)>);

    #[tokio::test]
    async fn responses_to_requests() {
        let mut cached = CachedResponse {
            status: StatusCode::OK,
            headers: headers(&[
                ("etag", "\"a\""),
                ("content-length", "10"),
                ("accept-ranges", "bytes"),
            ]),
            body: Some(Bytes::from_static(b"0123456789")),
            slots: vec![0],
            purges: 0,
            until: Instant::now(),
        };
        let whole = Some((200, "10", "", "0123456789"));
        let part = Some((206, "3", "bytes 2-4/10", "234"));
        let rows: &[Row] = &[
            (&[], false, whole),
            (&[], true, Some((200, "10", "", ""))),
            (&[("if-none-match", "W/\"a\"")], false, Some((304, "", "", ""))),
            (&[("if-none-match", "\"b\"")], false, whole),
            (&[("range", "bytes=2-4")], false, part),
            (&[("range", "bytes=2-4")], true, Some((200, "10", "", ""))),
            (&[("range", "bytes=2-4,6-7")], false, whole),
            (&[("range", "bytes=10-")], false, None),
            (&[("range", "bytes=2-4"), ("if-range", "\"a\"")], false, part),
            (&[("range", "bytes=2-4"), ("if-range", "W/\"a\"")], false, whole),
            (&[("range", "bytes=2-4"), ("if-range", "\"b\"")], false, whole),
            (&[("range", "bytes=10-"), ("if-range", "\"b\"")], false, whole),
            // `If-None-Match` precedes `Range`.
            (&[("range", "bytes=2-4"), ("if-none-match", "\"a\"")], false, Some((304, "", "", ""))),
        ];
        for (request, head, expected) in rows {
            let response = cached.respond(&headers(request), *head);
            let Some((status, length, range, body)) = *expected else {
                assert!(response.is_none(), "{request:?}");
                continue;
            };
            let (parts, found) = response.unwrap().into_parts();
            let said = |name| parts.headers.get(name).map_or("", |value| value.to_str().unwrap());
            assert_eq!(parts.status, status, "{request:?}");
            assert_eq!((said("content-length"), said("content-range")), (length, range));
            assert_eq!(found.collect().await.unwrap().to_bytes(), body);
        }
        cached.body = None;
        assert!(cached.respond(&HeaderMap::new(), false).is_none());
        assert!(cached.respond(&HeaderMap::new(), true).is_some());
    }
}
