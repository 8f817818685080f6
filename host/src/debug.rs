//! The debug address (`REGISTRY_HTTP_DEBUG_ADDR`), as distribution has it: for operators, without a
//! login, and apart from what clients reach.

use crate::front::service::Service;
use crate::health::Health;
use crate::log;
use crate::meter::Meter;
use crate::net::connections::Connections;
use crate::notifications;
use anyhow::Context as _;
use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use roadstead_config::{Collection, Debugging};
use roadstead_telemetry::metrics::{self, CONTENT_TYPE, JSON, Readings};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Connections that are served at a time. Others wait to be accepted.
///
/// Limit: connections to the debug address; test: `the_debug_address`.
const CONNECTIONS: usize = 16;

/// How long a connection may last: a scrape takes less than a second, and one that is open keeps
/// others out.
///
/// Limit: time of a connection to the debug address; test: none, it would take as long.
const CONNECTION_TIME: Duration = Duration::from_secs(10);

/// How long a client may take to send the head of a request.
///
/// Limit: time for the head of a request to the debug address; test: none, it would take as long.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// Bytes of the head of a request.
///
/// Limit: bytes of the head of a request to the debug address; test: none, hyper keeps it.
const HEAD_LIMIT: usize = 16 * 1024;

const TEXT: &str = "text/plain; charset=utf-8";

/// The debug address, bound.
#[derive(Debug)]
pub(crate) struct DebugListener {
    listener: TcpListener,
    metrics: Option<String>,
}

impl DebugListener {
    /// Binds the address.
    pub(crate) async fn bind(settings: &Debugging) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(&settings.address).await.with_context(|| {
            format!(
                "cannot listen on {}; choose another address with REGISTRY_HTTP_DEBUG_ADDR",
                settings.address
            )
        })?;
        let address = listener.local_addr()?;
        let path = settings.metrics.as_deref();
        let what = if path.is_some() { "metrics are at" } else { "the debug address is" };
        tracing::info!("{what} http://{address}{}", path.unwrap_or("/debug/health"));
        Ok(Self { listener, metrics: settings.metrics.clone() })
    }

    /// Serves until the task is aborted.
    pub(crate) async fn serve(self, pages: Pages) {
        let connections = Arc::new(Semaphore::new(CONNECTIONS));
        let (pages, metrics) = (Arc::new(pages), Arc::new(self.metrics));
        loop {
            let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { return };
            let Ok((stream, _)) = self.listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let (pages, metrics) = (Arc::clone(&pages), Arc::clone(&metrics));
            tokio::spawn(async move {
                let service = hyper::service::service_fn(|request: Request<Incoming>| {
                    let path = request.uri().path();
                    let response = match metrics.as_deref() {
                        Some(metrics) if path == metrics => pages.metrics(),
                        metrics => pages.respond(request.method(), path, metrics),
                    };
                    async move { Ok::<_, Infallible>(response) }
                });
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .keep_alive(false)
                    .header_read_timeout(HEAD_TIME)
                    .max_buf_size(HEAD_LIMIT)
                    .serve_connection(TokioIo::new(stream), service);
                let _ = tokio::time::timeout(CONNECTION_TIME, connection).await;
                drop(permit);
            });
        }
    }
}

/// What is served at the debug address.
pub(crate) struct Pages {
    pub(crate) health: Arc<Health>,
    pub(crate) service: Service,
    pub(crate) connections: Arc<Connections>,
    pub(crate) meter: Meter,
    /// How this process collects garbage, if it does.
    pub(crate) collects: Option<Collection>,
}

impl Pages {
    fn respond(&self, method: &Method, path: &str, metrics: Option<&str>) -> Page {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return page(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n");
        }
        match path {
            "/debug/health" => self.checks(),
            "/debug/vars" => {
                let endpoints = notifications::readings(self.service.notifications());
                let vars = self.meter.metrics().map(|metrics| metrics.debug_vars(&endpoints));
                page(StatusCode::OK, JSON, vars.unwrap_or_default())
            }
            "/livez" => page(StatusCode::OK, TEXT, "ok\n"),
            "/readyz" if self.health.is_ready() => page(StatusCode::OK, TEXT, "ok\n"),
            "/readyz" => page(StatusCode::SERVICE_UNAVAILABLE, TEXT, "not ready\n"),
            _ => page(StatusCode::NOT_FOUND, TEXT, help(metrics)),
        }
    }

    /// All metrics.
    fn metrics(&self) -> Page {
        let clients = self.service.clients();
        let readings = Readings {
            ready: self.health.is_ready(),
            cache: self.service.cache().reading(),
            turns: clients.turns(),
            waiting: clients.waiting(),
            connections: self.connections.reading(),
            streams: clients.streams(),
            collection_interval: self.collects.map(|collection| collection.interval),
            log_lines_dropped: log::dropped(),
            endpoints: notifications::readings(self.service.notifications()),
        };
        match self.meter.metrics().map(|metrics| metrics.render(&readings)) {
            Some(Ok(text)) => page(StatusCode::OK, CONTENT_TYPE, text),
            Some(Err(error)) => page(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n")),
            None => page(StatusCode::NOT_FOUND, TEXT, help(None)),
        }
    }

    /// The checks that fail, as distribution answers.
    fn checks(&self) -> Page {
        let failing = self.health.failing();
        let health = metrics::health(failing.iter().map(|(name, why)| (*name, why.as_str())));
        let status = StatusCode::from_u16(health.status);
        page(status.unwrap_or(StatusCode::SERVICE_UNAVAILABLE), JSON, health.body)
    }
}

fn help(metrics: Option<&str>) -> String {
    let metrics = metrics.map(|path| format!("{path}\n")).unwrap_or_default();
    format!("{metrics}/debug/health\n/debug/vars\n/livez\n/readyz\n")
}

/// A response of the debug address.
type Page = Response<Full<Bytes>>;

fn page(status: StatusCode, media_type: &'static str, body: impl Into<Bytes>) -> Page {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}
