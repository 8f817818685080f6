//! Whole requests: whatever a client sends, the registry does not fail.

use crate::parsers::with_tokens;
use bytes::Bytes;
use futures::executor::block_on;
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use roadstead_cloud::{CloudStorage, Options};
use roadstead_kit::bucket::MemoryBucket;
use roadstead_kit::native::NativeRegistry;
use std::cell::OnceCell;

/// A registry over a bucket in memory.
pub(crate) fn registry(settings: &[(&str, &str)]) -> NativeRegistry {
    let options = Options { secret: Some(b"secret".to_vec()), ..Options::default() };
    let storage = CloudStorage::new(MemoryBucket::default().backend("root"), options);
    NativeRegistry::new(storage, settings).unwrap_or_else(|error| panic!("{error}"))
}

/// Most requests of one input.
const REQUESTS: usize = 8;

/// Requests, separated by lines of `---`: a line `METHOD path`, lines of headers, an
/// empty line, and a body.
pub(crate) fn requests(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let registry = registry(&[("REGISTRY_STORAGE_DELETE_ENABLED", "true")]);
    for text in text.split("\n---\n").take(REQUESTS) {
        let Some(request) = parse(text) else { continue };
        let response = block_on(registry.send(request));
        assert!(!response.status().is_server_error(), "{text}: {response:?}");
    }
}

fn parse(text: &str) -> Option<Request<Bytes>> {
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let mut lines = head.lines();
    let (method, path) = lines.next()?.split_once(' ')?;
    let mut request = Request::new(Bytes::copy_from_slice(body.as_bytes()));
    *request.method_mut() = Method::from_bytes(method.as_bytes()).ok()?;
    *request.uri_mut() = path.parse::<Uri>().ok().filter(|uri| uri.path().starts_with('/'))?;
    for line in lines {
        let (name, value) = line.split_once(':')?;
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        let value = HeaderValue::from_str(value.trim()).ok()?;
        request.headers_mut().append(name, value);
    }
    Some(request)
}

/// Forms that ask for a token.
pub(crate) fn forms(data: &[u8]) {
    thread_local! {
        static REGISTRY: OnceCell<NativeRegistry> =
            const { OnceCell::new() };
    }
    REGISTRY.with(|cell| {
        let registry = cell.get_or_init(|| with_tokens(registry));
        for (method, path) in [("POST", "/v2/token".to_owned()), {
            let query: String = data.iter().map(|byte| char::from(byte & 0x7f)).collect();
            ("GET", format!("/v2/token?{query}"))
        }] {
            let Ok(uri) = path.parse::<Uri>() else { continue };
            let mut request = Request::new(Bytes::copy_from_slice(data));
            *request.method_mut() = method.parse().unwrap_or_default();
            *request.uri_mut() = uri;
            let form = HeaderValue::from_static("application/x-www-form-urlencoded");
            request.headers_mut().insert(http::header::CONTENT_TYPE, form);
            let response = block_on(registry.send(request));
            assert!(!response.status().is_server_error(), "{response:?}");
        }
    });
}
