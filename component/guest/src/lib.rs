//! The WASI side: the exported HTTP handler, and what it needs of the host.
//!
//! The component exports `wasi:http/handler@0.3.0`. Everything below speaks
//! `http` types; this module converts them at the edge, and hands streams
//! through as the handles they are.

mod authority;
mod body;
mod host;
mod mount;
mod outbound;
mod stores;
mod transport;

use crate::store::cloud::CloudStorage;
use crate::store::{LocalStorage, RequestBody as _};
use crate::{Body, Error, Gate, Registry, Switches, refusal};
use body::{GuestBodies, Upload};
use http::header::{CONTENT_LENGTH, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use roadstead_config::Config;
use std::cell::OnceCell;
use std::rc::Rc;
use transport::AnyTransport;
use wasip3::http::types::{ErrorCode, Fields, Method, Request, Response};
use wasip3::wit_bindgen::StreamReader;
use wasip3::wit_future;

wasip3::http::service::export!(Handler);

struct Handler;

/// A registry over the storage that the configuration names.
enum GuestRegistry {
    Directory(Registry<LocalStorage<AnyTransport>>),
    Bucket(Registry<CloudStorage<GuestBodies>>),
}

impl GuestRegistry {
    async fn handle(
        &self,
        request: http::Request<Option<Upload>>,
    ) -> http::Response<Body<StreamReader<u8>>> {
        match self {
            Self::Directory(registry) => registry.handle(request).await,
            Self::Bucket(registry) => registry.handle(request).await,
        }
    }
}

thread_local! {
    /// Made by the first request of an instance. Nothing but this is kept
    /// between requests.
    static REGISTRY: OnceCell<Rc<GuestRegistry>> = const { OnceCell::new() };
}

impl wasip3::exports::http::handler::Guest for Handler {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let request = incoming(request)?;
        outgoing(match registry(request.headers()).await {
            Ok(registry) => registry.handle(request).await,
            Err(problem) => not_ready(request, problem).await,
        })
    }
}

/// The answer to every request while there is no registry.
async fn not_ready(
    request: http::Request<Option<Upload>>,
    problem: String,
) -> http::Response<Body<StreamReader<u8>>> {
    let (parts, body) = request.into_parts();
    if let Some(body) = body {
        body.drain().await;
    }
    let mut response = refusal(Error::NotReady(problem));
    if parts.method == http::Method::HEAD {
        *response.body_mut() = Body::Empty;
    }
    response
}

/// The registry of this instance; the request that wants it tells of the host.
/// A problem is not kept: a store may answer the next request.
async fn registry(headers: &HeaderMap) -> Result<Rc<GuestRegistry>, String> {
    if let Some(registry) = REGISTRY.with(|registry| registry.get().cloned()) {
        return Ok(registry);
    }
    let made = configure(headers).await?;
    // Of two that were made at once, the first one stays.
    Ok(REGISTRY.with(|registry| Rc::clone(registry.get_or_init(|| made))))
}

async fn configure(headers: &HeaderMap) -> Result<Rc<GuestRegistry>, String> {
    let config = Config::from_variables(std::env::vars()).map_err(|error| error.to_string())?;
    let (switches, gate) =
        (Switches::from(&config), Gate::new(&config, authority::choose(&config)?));
    Ok(Rc::new(if let Some((backend, options)) = stores::choose(&config).await? {
        body::have_hashed_at(config.host_hashing);
        let storage = CloudStorage::new(backend, options);
        GuestRegistry::Bucket(Registry::new(storage, switches, gate))
    } else {
        let storage = LocalStorage::new(AnyTransport::choose(&config, headers)?);
        GuestRegistry::Directory(Registry::new(storage, switches, gate))
    }))
}

fn incoming(request: Request) -> Result<http::Request<Option<Upload>>, ErrorCode> {
    let uri: Uri = request
        .get_path_with_query()
        .unwrap_or_else(|| "/".to_owned())
        .parse()
        .map_err(|_| ErrorCode::HttpRequestUriInvalid)?;
    let mut headers = HeaderMap::new();
    for (name, value) in request.get_headers().copy_all() {
        // The host has parsed them already; one that does not parse here is
        // none that the registry reads.
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(&value))
        {
            headers.append(name, value);
        }
    }
    // HTTP/2 has it elsewhere, and some hosts keep it apart always.
    if !headers.contains_key(HOST)
        && let Some(authority) = request.get_authority()
        && let Ok(authority) = HeaderValue::from_str(&authority)
    {
        headers.insert(HOST, authority);
    }
    let method = method(&request.get_method())?;
    // A body that is known to be empty costs nothing if nobody opens it.
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let length: Option<u64> = length.and_then(|length| length.parse().ok());
    let empty = match headers.get(CONTENT_LENGTH) {
        Some(_) => length == Some(0),
        None => matches!(method, http::Method::GET | http::Method::HEAD),
    };
    let body = (!empty).then(|| Upload::new(request, length));
    let mut incoming = http::Request::new(body);
    *incoming.method_mut() = method;
    *incoming.uri_mut() = uri;
    *incoming.headers_mut() = headers;
    Ok(incoming)
}

fn method(method: &Method) -> Result<http::Method, ErrorCode> {
    Ok(match method {
        Method::Get => http::Method::GET,
        Method::Head => http::Method::HEAD,
        Method::Post => http::Method::POST,
        Method::Put => http::Method::PUT,
        Method::Delete => http::Method::DELETE,
        Method::Connect => http::Method::CONNECT,
        Method::Options => http::Method::OPTIONS,
        Method::Trace => http::Method::TRACE,
        Method::Patch => http::Method::PATCH,
        Method::Other(name) => http::Method::from_bytes(name.as_bytes())
            .map_err(|_| ErrorCode::HttpRequestMethodInvalid)?,
    })
}

fn outgoing(response: http::Response<Body<StreamReader<u8>>>) -> Result<Response, ErrorCode> {
    let (parts, body) = response.into_parts();
    let headers: Vec<(String, Vec<u8>)> = parts
        .headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
        .collect();
    let headers = Fields::from_list(&headers)
        .map_err(|error| ErrorCode::InternalError(Some(format!("response header: {error:?}"))))?;
    let contents = match body {
        Body::Empty => None,
        Body::Bytes(bytes) => Some(body::stream(bytes.into())),
        Body::Stream(stream) => Some(stream),
    };
    let (no_trailers, trailers) = wit_future::new(|| Ok(None));
    drop(no_trailers);
    let (response, _transmission) = Response::new(headers, contents, trailers);
    response
        .set_status_code(parts.status.as_u16())
        .map_err(|()| ErrorCode::InternalError(Some("response status".to_owned())))?;
    Ok(response)
}
