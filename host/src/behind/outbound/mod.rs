//! Requests to an object store: the component signs them, and the host sends them
//! over pooled connections. Bodies pass unchanged.
//!
//! The component can reach the store of the settings and the issuer of its
//! access tokens, and nothing else. The host has another such client for the source
//! of the platform's credentials, and that reaches nothing but the source.

mod error;
mod progress;
#[cfg(test)]
mod tests;

use crate::body::empty;
use crate::body::idle_timeout::IdleTimeout;
use crate::log_throttle::LogThrottle;
use crate::tls::roots;
use anyhow::Context as _;
use http::{HeaderValue, Method, Request, Response, Uri, header};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{self, Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use progress::{ObservedBody, Progress};
use roadstead_buckets::{KEY_FILE_LIMIT, platform};
use roadstead_config::{Cloud, GcsKey, Service};
use roadstead_operator::pem;
use rustls::ClientConfig;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use url::{Origin, Url};
use wasmtime_wasi_http::{Error, WasiBody};

/// How long a store may take to accept a connection and complete the handshake.
///
/// Limit: time to connect to an object store; test: none, it would take as long.
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// How long a store may take to respond once it has the request, at most: long
/// enough to complete a large multipart upload. The component gives most requests
/// less, by the option for the first byte.
///
/// Limit: the wait for any response of a store; test: `a_store_that_hangs`.
const RESPONSE_TIME: Duration = Duration::from_mins(2);

/// How long a store may stall within a response.
///
/// Limit: a pause within a store's response; test: `a_stalled_body_fails`.
const PAUSE_TIME: Duration = Duration::from_secs(20);

/// How long an idle connection is kept; stores keep theirs at least as long.
///
/// Limit: time for which an idle connection to a store is kept; test: none, it would
/// take as long.
const IDLE_TIME: Duration = Duration::from_secs(15);

/// Idle connections that are kept for each host.
///
/// Limit: idle connections to a store; test: none, more are closed.
const MAX_IDLE: usize = 64;

/// How long a connection is silent before TCP keepalive probes it.
///
/// Limit: time between keep-alive probes of a connection to a store; test: none, it
/// would take as long.
const KEEPALIVE_TIME: Duration = Duration::from_mins(1);

/// How long the store may take to respond to the check at the start.
///
/// Limit: time for the request that checks a store at a start; test:
/// `a_store_that_is_not_there`.
const CHECK_TIME: Duration = Duration::from_secs(10);

type Connector = HttpsConnector<HttpConnector>;

/// Sends requests to a few origins.
#[derive(Debug)]
pub(crate) struct Outbound {
    client: Client<Connector, ObservedBody>,
    /// Where requests may go, the store itself first.
    origins: Vec<Origin>,
    /// What is there: for messages.
    place: &'static str,
    /// The setting that names the store.
    setting: String,
    /// The setting for its root certificates.
    bundle: String,
    /// For the lines about requests to other places, and about failures.
    denied: LogThrottle,
    failed: LogThrottle,
}

impl Outbound {
    /// Prepares to reach a store.
    pub(crate) fn new(cloud: &Cloud) -> anyhow::Result<Self> {
        Self::to(cloud, "the object store", cloud.origins().into_iter())
    }

    /// Prepares to reach the source of a store's credentials.
    pub(crate) fn to_source<'a>(
        cloud: &Cloud,
        origins: impl Iterator<Item = &'a str>,
    ) -> anyhow::Result<Self> {
        Self::to(cloud, "the source of credentials", origins)
    }

    fn to<'a>(
        cloud: &Cloud,
        place: &'static str,
        origins: impl Iterator<Item = &'a str>,
    ) -> anyhow::Result<Self> {
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
        let origins = origins.map(|url| Ok(Url::parse(url)?.origin()));
        Ok(Self {
            client,
            origins: origins.collect::<Result<_, url::ParseError>>()?,
            place,
            setting: cloud.setting(),
            bundle: cloud.root_certificates_setting(),
            denied: LogThrottle::new(),
            failed: LogThrottle::new(),
        })
    }

    /// Checks that the store responds at all. What it responds is for the
    /// component to judge.
    pub(crate) async fn check(&self) -> anyhow::Result<()> {
        let Some(origin) = self.origins.first() else { return Ok(()) };
        let origin = origin.ascii_serialization();
        let request = Request::head(format!("{origin}/")).body(empty())?;
        let response =
            tokio::time::timeout(CHECK_TIME, self.exchange(request, RESPONSE_TIME)).await;
        response
            .map_err(|_| format!("no response in {CHECK_TIME:?}"))
            .and_then(|response| response.map_err(|(_, cause)| cause))
            .map_err(anyhow::Error::msg)
            .with_context(|| {
                format!(
                    "cannot reach the object store at {origin}; see {} and the settings beside it",
                    self.setting
                )
            })?;
        Ok(())
    }

    /// Sends a request. The store may take `time` to respond once
    /// it has the request, if that is less than [`RESPONSE_TIME`].
    pub(crate) async fn send(
        self: Arc<Self>,
        request: Request<WasiBody>,
        time: Option<Duration>,
    ) -> Result<Response<WasiBody>, Error> {
        if !self.allows(request.uri()) {
            if self.denied.is_due() {
                let uri = request.uri();
                tracing::warn!("denied a request to {}, which is not {}", shown(uri), self.place);
            }
            return Err(Error::HttpRequestDenied);
        }
        let store = shown(request.uri());
        let time = time.map_or(RESPONSE_TIME, |time| time.min(RESPONSE_TIME));
        self.exchange(request, time).await.map_err(|(error, cause)| {
            // A client that disconnects is not the store's failure.
            if !matches!(error, Error::HttpRequestBodySize(_)) && self.failed.is_due() {
                tracing::warn!("{} at {store}: {cause}", self.place);
            }
            error
        })
    }

    fn allows(&self, uri: &Uri) -> bool {
        Url::parse(&shown(uri)).is_ok_and(|url| self.origins.contains(&url.origin()))
    }

    /// The error for operators, with what to do about it.
    fn explain(&self, error: &legacy::Error) -> String {
        let mut text = error::chain(error);
        if error::is_unknown_issuer(error) {
            text.push_str("; set ");
            text.push_str(&self.bundle);
            text.push_str(" to a file with the CA's certificate");
        }
        text
    }

    /// Sends a request and returns the response, or the error: for the component
    /// and for operators.
    async fn exchange(
        &self,
        mut request: Request<WasiBody>,
        time: Duration,
    ) -> Result<Response<WasiBody>, (Error, String)> {
        // The client adds the one that was signed, which is the URI's.
        request.headers_mut().remove(header::HOST);
        let progress = Arc::new(Progress::default());
        if *request.method() == Method::PUT && request.body().is_end_stream() {
            request.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        let request = request.map(|body| ObservedBody { body, progress: Arc::clone(&progress) });
        let mut response = std::pin::pin!(self.client.request(request));
        loop {
            let deadline = progress.last() + time;
            tokio::select! {
                response = &mut response => {
                    return match response {
                        Ok(response) => Ok(response.map(received)),
                        Err(_) if progress.aborted() => {
                            let cause = "the client aborted the body".to_owned();
                            Err((Error::HttpRequestBodySize(None), cause))
                        }
                        Err(error) => Err((error::for_component(&error), self.explain(&error))),
                    };
                }
                () = sleep_until(deadline) => {
                    // While the body makes progress, its client is slow, and not
                    // the store.
                    if progress.last() + time <= Instant::now() {
                        return Err((Error::HttpResponseTimeout, format!("no response in {time:?}")));
                    }
                }
            }
        }
    }
}

/// The component's variables, with the content of a key file in place of its
/// path: the component sees no files.
pub(crate) fn variables(
    cloud: Option<&Cloud>,
    mut variables: Vec<(String, String)>,
) -> anyhow::Result<Vec<(String, String)>> {
    const SETTING: &str = "REGISTRY_STORAGE_GCS_KEYFILE";
    let Some(Service::Gcs(gcs)) = cloud.map(|cloud| &cloud.service) else { return Ok(variables) };
    let Some(GcsKey::File(file)) = &gcs.key else { return Ok(variables) };
    let json = platform::read_file(&file.display().to_string(), KEY_FILE_LIMIT)
        .map_err(|problem| anyhow::anyhow!("{SETTING}: {problem}"))?;
    variables.retain(|(name, _)| name != SETTING);
    variables.push(("REGISTRY_STORAGE_GCS_CREDENTIALS".to_owned(), json));
    Ok(variables)
}

/// TLS with the system's trust store and the root certificates of the settings.
fn tls(cloud: &Cloud) -> anyhow::Result<ClientConfig> {
    let mut roots = roots::trusted();
    if let Some(file) = &cloud.root_certificates {
        roots.extend(pem::read_roots(&cloud.root_certificates_setting(), file)?.roots);
    }
    roots::client(roots)
}

/// The scheme and authority of a URI.
fn shown(uri: &Uri) -> String {
    let scheme = uri.scheme_str().unwrap_or("https");
    format!("{scheme}://{}", uri.authority().map_or("", |authority| authority.as_str()))
}

fn received(body: Incoming) -> WasiBody {
    IdleTimeout::new(body, PAUSE_TIME, |_| Error::HttpResponseIncomplete).boxed_unsync()
}
