//! The registry as a WASI component: the exported HTTP handler, and adapters
//! from WASI to what the protocol needs. WASI is named in this crate alone.
//!
//! The component exports `wasi:http/handler@0.3.0`. The protocol speaks `http`
//! types; this crate converts them at the edge, and passes streams on as the
//! handles they are.

#![cfg(target_family = "wasm")]

mod authority;
mod body;
mod bucket;
mod credentials;
mod host;
mod mount;
mod outbound;
mod request;
mod transport;

use body::{GuestBodies, Upload};
use http::header::{CONTENT_LENGTH, HOST};
use http::{HeaderMap, HeaderValue, Uri};
use roadstead_bridge::account::request_id;
use roadstead_bridge::{Services, front, trace};
use roadstead_cloud::CloudStorage;
use roadstead_config::{Given, Settings};
use roadstead_directory::DirectoryStorage;
use roadstead_registry::{Body, Error, Gate, Registry, Switches, refusal};
use roadstead_storage::RequestBody as _;
// spin-sdk provides the WASI bindings, unwrapped.
use spin_sdk::wasip3;
use std::cell::OnceCell;
use std::rc::Rc;
use transport::GuestTransport;
use wasip3::http::types::{ErrorCode, Request, Response};
use wasip3::wit_bindgen::StreamReader;
use wasip3::wit_future;

wasip3::http::service::export!(Handler);

struct Handler;

/// A registry over the storage that the configuration names.
enum GuestRegistry {
    Directory(Registry<DirectoryStorage<GuestTransport>>),
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

    fn has_pulls(&self) -> bool {
        match self {
            Self::Directory(registry) => registry.has_pulls(),
            Self::Bucket(registry) => registry.has_pulls(),
        }
    }

    async fn record_pulls(&self) {
        match self {
            Self::Directory(registry) => registry.record_pulls().await,
            Self::Bucket(registry) => registry.record_pulls().await,
        }
    }
}

thread_local! {
    /// Made by the first request of an instance. Nothing else is kept between
    /// requests.
    static REGISTRY: OnceCell<Rc<GuestRegistry>> = const { OnceCell::new() };
}

impl wasip3::exports::http::handler::Guest for Handler {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let mut request = incoming(request)?;
        outgoing(match registry(request.headers()).await {
            Ok(registry) => {
                // Without a native host in front, clients can set it.
                let span = trace::take(request.headers_mut()).filter(|_| body::host_drains());
                let response = trace::within(span, registry.handle(request)).await;
                if registry.has_pulls() {
                    // The response does not wait for it.
                    wasip3::spawn(async move { registry.record_pulls().await });
                }
                response
            }
            Err(problem) => not_ready(request, problem).await,
        })
    }
}

/// The response to every request while the registry is not ready.
async fn not_ready(
    request: http::Request<Option<Upload>>,
    problem: String,
) -> http::Response<Body<StreamReader<u8>>> {
    let (parts, body) = request.into_parts();
    if let Some(body) = body {
        body.drain().await;
    }
    let mut response = refusal(Error::NotReady(problem), request_id(&parts.headers));
    if parts.method == http::Method::HEAD {
        *response.body_mut() = Body::Empty;
    }
    response
}

/// The registry of this instance. The first request tells which host this is.
/// Errors are not cached: the store may be available at the next request.
async fn registry(headers: &HeaderMap) -> Result<Rc<GuestRegistry>, String> {
    if let Some(registry) = REGISTRY.with(|registry| registry.get().cloned()) {
        return Ok(registry);
    }
    let made = configure(headers).await?;
    // If two were created concurrently, the first one is kept.
    Ok(REGISTRY.with(|registry| Rc::clone(registry.get_or_init(|| made))))
}

async fn configure(headers: &HeaderMap) -> Result<Rc<GuestRegistry>, String> {
    let services = Services::from_variables(std::env::vars());
    body::set_host_drains(services.front);
    let given = std::env::vars().map(|(name, value)| Given::variable(name, value));
    let settings = Settings::gather(given);
    let config = settings.config().map_err(|error| error.to_string())?;
    body::set_stall_timeout(config.stall_timeout);
    let switches = Switches::new(&config, services).showing(settings.shown());
    let gate = Gate::new(&config, services, authority::choose(&config, services)?);
    Ok(Rc::new(if let Some((backend, options)) = bucket::open(&config, services).await? {
        body::set_host_hashing(services.hashing);
        let storage = CloudStorage::new(backend, options);
        GuestRegistry::Bucket(Registry::new(storage, switches, gate))
    } else {
        let storage = DirectoryStorage(GuestTransport::open(&config, services, headers)?);
        GuestRegistry::Directory(Registry::new(storage, switches, gate))
    }))
}

fn incoming(request: Request) -> Result<http::Request<Option<Upload>>, ErrorCode> {
    let uri: Uri = request
        .get_path_with_query()
        .unwrap_or_else(|| "/".to_owned())
        .parse()
        .map_err(|_| ErrorCode::HttpRequestUriInvalid)?;
    let mut headers = HeaderMap::try_from(request.get_headers())?;
    // HTTP/2 has no such header, and some hosts remove it.
    if !headers.contains_key(HOST)
        && let Some(authority) = request.get_authority()
        && let Ok(authority) = HeaderValue::from_str(&authority)
    {
        headers.insert(HOST, authority);
    }
    let method = http::Method::try_from(request.get_method())
        .map_err(|_| ErrorCode::HttpRequestMethodInvalid)?;
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

fn outgoing(response: http::Response<Body<StreamReader<u8>>>) -> Result<Response, ErrorCode> {
    let internal = |what: String| ErrorCode::InternalError(Some(what));
    let (mut parts, body) = response.into_parts();
    if matches!(body, Body::Bytes(_)) && body::host_drains() {
        front::set_in_memory(&mut parts.headers);
    }
    let headers = parts.headers.try_into();
    let headers = headers.map_err(|error| internal(format!("response header: {error:?}")))?;
    let contents = match body {
        Body::Empty => None,
        Body::Bytes(bytes) => Some(body::stream(bytes.into())),
        Body::Stream(stream) => Some(stream),
    };
    let (no_trailers, trailers) = wit_future::new(|| Ok(None));
    drop(no_trailers);
    let (response, _transmission) = Response::new(headers, contents, trailers);
    let status = response.set_status_code(parts.status.as_u16());
    status.map_err(|()| internal("response status".to_owned()))?;
    Ok(response)
}
