//! Dispatches the component's outbound requests.

use crate::behind::archives::ArchiveStore;
use crate::behind::auth::HostAuth;
use crate::behind::credentials::HostCredentials;
use crate::behind::hashing;
use crate::behind::outbound::Outbound;
use crate::behind::store::HostStore;
use crate::meter::Meter;
use http::uri::Authority;
use http::{HeaderName, HeaderValue, Request, Response, header};
use roadstead_bridge::{self as bridge, Services, trace};
use roadstead_telemetry::metrics::{self, StorageOperation};
use roadstead_traces::{Active, Step, Traces};
use std::sync::Arc;
use std::time::Instant;
use tokio::task::JoinError;
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error, RequestOptions, WasiBody, WasiHttpHooks,
};

/// Where the data is.
#[derive(Clone, Debug)]
pub(crate) enum Storage {
    /// In a directory of this host.
    Directory(Arc<HostStore>),
    /// In archives, which are only read.
    Archives(Arc<ArchiveStore>),
    /// In an object store, for which the platform may give the credentials.
    Cloud(Arc<Outbound>, Option<Arc<HostCredentials>>),
}

impl Storage {
    /// Waits until no body is being received that would be lost if this process
    /// ended.
    pub(crate) async fn idle(&self) {
        if let Self::Directory(store) = self {
            store.idle().await;
        }
    }
}

/// Dispatches the component's outbound requests to the storage, its credentials and
/// the authority, and nowhere else.
#[derive(Clone)]
pub(crate) struct Hooks {
    pub(crate) storage: Storage,
    pub(crate) auth: Option<Arc<HostAuth>>,
    pub(crate) meter: Meter,
    pub(crate) traces: Option<Traces>,
    /// Whether others are notified of what requests change.
    pub(crate) notifies: bool,
}

impl Hooks {
    /// The services that the component is offered.
    pub(crate) fn services(&self) -> Services {
        let here = !matches!(self.storage, Storage::Cloud(..));
        Services {
            storage: here,
            access: self.auth.is_some(),
            hashing: !here,
            credentials: matches!(self.storage, Storage::Cloud(_, Some(_))),
            front: true,
            notifications: self.notifies,
        }
    }

    /// What identifiers of upload sessions are signed with, if sessions need not be begun.
    pub(crate) fn session_secret(&self) -> Option<String> {
        match &self.storage {
            Storage::Directory(store) => store.session_secret(),
            Storage::Archives(_) | Storage::Cloud(..) => None,
        }
    }
}

type Outcome = Result<(), Error>;
type Sent = Result<(Response<WasiBody>, Box<dyn Future<Output = Outcome> + Send>), Error>;

impl WasiHttpHooks for Hooks {
    /// The default, except that `Host` is allowed: the component signs it, and it
    /// is replaced before a request leaves the host.
    fn is_forbidden_header(&mut self, name: &HeaderName) -> bool {
        *name != header::HOST && DEFAULT_FORBIDDEN_HEADERS.contains(name)
    }

    fn send_request(
        &mut self,
        mut request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Outcome> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let Self { storage, auth, meter, traces, notifies: _ } = self.clone();
        let mut span = begin(traces.as_ref(), &mut request);
        let time = options.and_then(|options| options.first_byte_timeout);
        Box::new(async move {
            let authority = request.uri().authority().map(Authority::as_str);
            // Tasks of their own: neither the bytes nor bcrypt must wait for
            // the component, whose event loop runs this future.
            let response = match (authority, storage, auth) {
                (Some(bridge::access::AUTHORITY), _, Some(auth)) => {
                    tokio::spawn(auth.respond(request)).await.map_err(panicked)?
                }
                (Some(bridge::storage::AUTHORITY), Storage::Directory(store), _) => {
                    store.respond(request, &meter).await.map_err(panicked)?
                }
                (Some(bridge::storage::AUTHORITY), Storage::Archives(store), _) => {
                    store.respond(request).await.map_err(panicked)?
                }
                (Some(bridge::hashing::AUTHORITY), Storage::Cloud(..), _) => {
                    hashing::respond(request)
                }
                (Some(bridge::credentials::AUTHORITY), Storage::Cloud(_, Some(known)), _) => {
                    tokio::spawn(known.respond()).await.map_err(panicked)?
                }
                (Some(_), Storage::Cloud(outbound, _), _) => {
                    let began = Instant::now();
                    let method = metrics::Method::of(request.method().as_str());
                    let sent = tokio::spawn(outbound.send(request, time)).await;
                    let status = sent.as_ref().ok().and_then(|sent| sent.as_ref().ok());
                    let status = status.map(|response| response.status().as_u16());
                    meter.store_request(StorageOperation::request(method), began, status);
                    sent.map_err(panicked)??
                }
                _ => return Err(Error::HttpRequestDenied),
            };
            if let Some(span) = &mut span {
                span.response(response.status());
            }
            drop(span);
            Ok((response, Box::new(async { Ok(()) }) as Box<dyn Future<Output = Outcome> + Send>))
        })
    }
}

/// Begins the span of what the component asks for, below the one of the request that it answers, if
/// that has one; the header that says so never leaves the host. A store is told of it.
fn begin(traces: Option<&Traces>, request: &mut Request<WasiBody>) -> Option<Active> {
    let below = trace::take(request.headers_mut());
    let (traces, below) = (traces?, below?);
    let headers = request.headers();
    let message = || {
        let names = [bridge::storage::OPERATION, bridge::storage::WRITE, bridge::storage::TRANSFER];
        names.iter().find_map(|name| headers.get(name)).map(HeaderValue::as_bytes)
    };
    let step = match request.uri().authority().map(Authority::as_str) {
        Some(bridge::access::AUTHORITY) => Step::Access,
        Some(bridge::hashing::AUTHORITY) => Step::Hashing,
        Some(bridge::credentials::AUTHORITY) => Step::Credentials,
        Some(bridge::storage::AUTHORITY) => Step::Storage(message().unwrap_or_default()),
        _ => Step::Request(request.method(), request.uri()),
    };
    let is_sent = matches!(step, Step::Request(..));
    let span = traces.join(below.as_bytes(), step)?;
    if is_sent {
        let (parent, state) = (span.context().traceparent(), span.context().tracestate());
        request.headers_mut().insert("traceparent", parent);
        if let Some(state) = state {
            request.headers_mut().insert("tracestate", state);
        }
    }
    Some(span)
}

#[expect(clippy::needless_pass_by_value, reason = "it is a function for map_err")]
fn panicked(error: JoinError) -> Error {
    Error::InternalError(Some(error.to_string()))
}
