//! The way to an object store: requests that the component signed, sent over
//! connections that are kept. Bodies pass as they are.
//!
//! The component reaches the store of the settings and whoever gives out its
//! tokens, and nothing else.

use crate::body::idle_timeout::Progressing;
use crate::log_throttle::Rarely;
use crate::tls::certificate;
use anyhow::Context as _;
use bytes::Bytes;
use http::uri::Scheme;
use http::{HeaderValue, Method, Request, Response, Uri, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use roadstead_config::{Cloud, GcsKey, Service};
use rustls::crypto::ring;
use rustls::{CertificateError, ClientConfig};
use std::error::Error as _;
use std::fmt::Write as _;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use wasmtime_wasi_http::{Error, WasiBody};

/// How long a store may take to accept a connection and to shake hands.
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// How long a store may take to answer after it has what it was sent: long
/// enough for one that puts the parts of a large upload together.
const ANSWER_TIME: Duration = Duration::from_mins(2);

/// How long a store may pause within its answer.
const PAUSE_TIME: Duration = Duration::from_mins(1);

/// How long a connection without a request is kept. Stores end them after
/// this or more.
const IDLE_TIME: Duration = Duration::from_secs(15);

/// Connections without a request that are kept, for each authority.
const MAX_IDLE: usize = 64;

/// How long a connection without a word lasts before the system asks whether
/// the other side is there.
const KEEPALIVE_TIME: Duration = Duration::from_mins(1);

/// How long the store may take to answer at the start, all attempts included.
const CHECK_TIME: Duration = Duration::from_secs(10);

/// Largest file with a service account's key, in bytes.
const KEY_LIMIT: u64 = 64 * 1024;

type Connector = HttpsConnector<HttpConnector>;

/// Sends requests to a store.
#[derive(Debug)]
pub(crate) struct Outbound {
    client: Client<Connector, Sent>,
    /// Where requests may go, as `scheme://authority`.
    origins: Vec<String>,
    /// How the settings name the store.
    setting: String,
    /// The setting with the authority of its certificate.
    bundle: String,
}

impl Outbound {
    /// Prepares to reach a store.
    pub(crate) fn new(cloud: &Cloud) -> anyhow::Result<Self> {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(CONNECT_TIME));
        http.set_keepalive(Some(KEEPALIVE_TIME));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls(cloud)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIME)
            .pool_max_idle_per_host(MAX_IDLE)
            .build(connector);
        let origins = cloud.origins().into_iter().map(|origin| comparable(origin).to_owned());
        Ok(Self {
            client,
            origins: origins.collect(),
            setting: cloud.setting(),
            bundle: cloud.root_certificates_setting(),
        })
    }

    /// Whether the store answers at all. What it answers is the component's
    /// affair.
    pub(crate) async fn check(&self) -> anyhow::Result<()> {
        let Some(origin) = self.origins.first() else { return Ok(()) };
        let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
        let request = Request::head(format!("{origin}/")).body(body)?;
        let answer = tokio::time::timeout(CHECK_TIME, self.exchange(request)).await;
        answer
            .map_err(|_| "no answer in 10 s".to_owned())
            .and_then(|answer| answer.map_err(|(_, cause)| cause))
            .map_err(anyhow::Error::msg)
            .with_context(|| {
                format!(
                    "cannot reach the object store at {origin}; see {} and the settings beside it",
                    self.setting
                )
            })?;
        Ok(())
    }

    /// Sends a request of the component's.
    pub(crate) async fn send(
        self: Arc<Self>,
        request: Request<WasiBody>,
    ) -> Result<Response<WasiBody>, Error> {
        static DENIED: Rarely = Rarely::new();
        static FAILED: Rarely = Rarely::new();
        if !self.allows(request.uri()) {
            if DENIED.is_due() {
                let uri = origin(request.uri());
                tracing::warn!("the component may not send requests to {uri}");
            }
            return Err(Error::HttpRequestDenied);
        }
        let place = origin(request.uri());
        self.exchange(request).await.map_err(|(error, cause)| {
            // A client that goes away is no failure of the store's.
            if !matches!(error, Error::HttpRequestBodySize(_)) && FAILED.is_due() {
                tracing::warn!("the object store at {place}: {cause}");
            }
            error
        })
    }

    fn allows(&self, uri: &Uri) -> bool {
        let wanted = origin(uri).to_ascii_lowercase();
        self.origins.iter().any(|origin| origin == comparable(&wanted))
    }

    /// What went wrong, for people, and what to do about it.
    fn explain(&self, error: &hyper_util::client::legacy::Error) -> String {
        let mut text = chain(error);
        if is_distrust(error) {
            let bundle = &self.bundle;
            // Writing to text does not fail.
            let _ = write!(text, "; name a file with the authority's certificate in {bundle}");
        }
        text
    }

    /// One request and its answer, or what went wrong: for the component, and
    /// for people.
    async fn exchange(
        &self,
        mut request: Request<WasiBody>,
    ) -> Result<Response<WasiBody>, (Error, String)> {
        // It is part of what is signed, and the client adds it by the URI.
        request.headers_mut().remove(header::HOST);
        let progress = Arc::new(Progress::default());
        if *request.method() == Method::PUT && request.body().is_end_stream() {
            request.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        let request = request.map(|body| Sent { body, progress: Arc::clone(&progress) });
        let mut answer = std::pin::pin!(self.client.request(request));
        loop {
            let deadline = progress.last() + ANSWER_TIME;
            tokio::select! {
                answer = &mut answer => {
                    return match answer {
                        Ok(answer) => Ok(answer.map(received)),
                        Err(_) if progress.broke_off() => {
                            let cause = "the client's body broke off".to_owned();
                            Err((Error::HttpRequestBodySize(None), cause))
                        }
                        Err(error) => Err((failure(&error), self.explain(&error))),
                    };
                }
                () = sleep_until(deadline) => {
                    // An upload is as slow as its client.
                    if progress.last() + ANSWER_TIME <= Instant::now() {
                        return Err((Error::HttpResponseTimeout, "no answer in 2 min".to_owned()));
                    }
                }
            }
        }
    }
}

/// What the component finds of the settings of a store: a key that is in a file
/// here, as the component sees no files.
pub(crate) fn variables(
    cloud: Option<&Cloud>,
    mut variables: Vec<(String, String)>,
) -> anyhow::Result<Vec<(String, String)>> {
    const SETTING: &str = "REGISTRY_STORAGE_GCS_KEYFILE";
    let Some(Service::Gcs(gcs)) = cloud.map(|cloud| &cloud.service) else { return Ok(variables) };
    let GcsKey::File(file) = &gcs.key else { return Ok(variables) };
    let place = || format!("{SETTING}: {}", file.display());
    let size = std::fs::metadata(file).with_context(place)?.len();
    anyhow::ensure!(size <= KEY_LIMIT, "{}: {size} bytes are no service account's key", place());
    let json = std::fs::read_to_string(file).with_context(place)?;
    variables.retain(|(name, _)| name != SETTING);
    variables.push(("REGISTRY_STORAGE_GCS_CREDENTIALS".to_owned(), json));
    Ok(variables)
}

/// The authorities that this machine trusts, and the one of the settings.
fn tls(cloud: &Cloud) -> anyhow::Result<ClientConfig> {
    let mut roots = match &cloud.root_certificates {
        None => rustls::RootCertStore::empty(),
        Some(file) => certificate::read_authorities(&cloud.root_certificates_setting(), file)?,
    };
    // A machine may have odd ones among its own; they are no reason to stop.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    Ok(ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// A URI's `scheme://authority`.
fn origin(uri: &Uri) -> String {
    let scheme = uri.scheme().unwrap_or(&Scheme::HTTPS);
    format!("{scheme}://{}", uri.authority().map_or("", |authority| authority.as_str()))
}

/// An origin without the port that its scheme has anyway.
fn comparable(origin: &str) -> &str {
    let port = if origin.starts_with("https:") { ":443" } else { ":80" };
    origin.strip_suffix(port).unwrap_or(origin)
}

/// What the component is told. Only where nothing was sent does it hear of a
/// connection that could not be made.
fn failure(error: &hyper_util::client::legacy::Error) -> Error {
    if !error.is_connect() {
        return Error::ConnectionTerminated;
    }
    for cause in causes(error) {
        if cause.is::<rustls::Error>() {
            return Error::TlsCertificateError;
        }
        match cause.downcast_ref().map(io::Error::kind) {
            Some(io::ErrorKind::TimedOut) => return Error::ConnectionTimeout,
            Some(io::ErrorKind::ConnectionRefused) => return Error::ConnectionRefused,
            _ => {}
        }
    }
    Error::DestinationUnavailable
}

/// Whether the store has a certificate of an authority that is not known here.
fn is_distrust(error: &hyper_util::client::legacy::Error) -> bool {
    let unknown = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
    causes(error).any(|cause| cause.downcast_ref() == Some(&unknown))
}

/// The causes of an error. rustls's come within those of the system, which do
/// not have them for their sources.
fn causes(
    error: &hyper_util::client::legacy::Error,
) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(error.source(), |&cause| {
        match cause.downcast_ref().and_then(io::Error::get_ref) {
            Some(within) => Some(within),
            None => cause.source(),
        }
    })
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to text does not fail.
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

fn received(body: Incoming) -> WasiBody {
    Progressing::new(body, PAUSE_TIME, |_| Error::HttpResponseIncomplete).boxed_unsync()
}

/// How a body gets on.
#[derive(Debug)]
struct Progress {
    last: Mutex<Instant>,
    broke_off: AtomicBool,
}

impl Default for Progress {
    fn default() -> Self {
        Self { last: Mutex::new(Instant::now()), broke_off: AtomicBool::new(false) }
    }
}

impl Progress {
    /// When it last did.
    fn last(&self) -> Instant {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn broke_off(&self) -> bool {
        self.broke_off.load(Ordering::Relaxed)
    }
}

/// A request's body, untouched, whose progress is seen.
#[derive(Debug)]
struct Sent {
    body: WasiBody,
    progress: Arc<Progress>,
}

impl Body for Sent {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(frame) = &frame {
            self.progress.note();
            if matches!(frame, Some(Err(_))) {
                self.progress.broke_off.store(true, Ordering::Relaxed);
            }
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
