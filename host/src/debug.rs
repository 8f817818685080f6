//! The debug address (`REGISTRY_HTTP_DEBUG_ADDR`), as distribution has it: for operators, without a
//! login, and apart from what clients reach.

use crate::health::Health;
use anyhow::Context as _;
use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use roadstead_config::Debugging;
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
const CONNECTION_TIME: Duration = Duration::from_mins(1);

/// How long a client may take to send the head of a request.
///
/// Limit: time for the head of a request to the debug address; test: none, it would take as long.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// Bytes of the head of a request.
///
/// Limit: bytes of the head of a request to the debug address; test: none, hyper keeps it.
const HEAD_LIMIT: usize = 16 * 1024;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json; charset=utf-8";

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
        match &settings.metrics {
            Some(path) => tracing::info!("metrics are at http://{address}{path}"),
            None => tracing::info!("the debug address is http://{address}/debug/health"),
        }
        Ok(Self { listener, metrics: settings.metrics.clone() })
    }

    /// Serves until the task is aborted.
    pub(crate) async fn serve(self, health: Arc<Health>) {
        let connections = Arc::new(Semaphore::new(CONNECTIONS));
        let pages = Arc::new(Pages { health, metrics: self.metrics });
        loop {
            let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { return };
            let Ok((stream, _)) = self.listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let pages = Arc::clone(&pages);
            tokio::spawn(async move {
                let service = hyper::service::service_fn(|request: Request<Incoming>| {
                    let response = pages.respond(request.method(), request.uri().path());
                    async move { Ok::<_, Infallible>(response) }
                });
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
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
struct Pages {
    health: Arc<Health>,
    metrics: Option<String>,
}

impl Pages {
    fn respond(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return page(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n");
        }
        match path {
            "/debug/health" => self.checks(),
            "/livez" => page(StatusCode::OK, TEXT, "ok\n"),
            "/readyz" if self.health.is_ready() => page(StatusCode::OK, TEXT, "ok\n"),
            "/readyz" => page(StatusCode::SERVICE_UNAVAILABLE, TEXT, "not ready\n"),
            _ => page(StatusCode::NOT_FOUND, TEXT, self.help()),
        }
    }

    /// The checks that fail, as distribution answers (health/health.go, `StatusHandler`).
    fn checks(&self) -> Response<Full<Bytes>> {
        let failing = self.health.failing();
        let status =
            if failing.is_some() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
        let checks: serde_json::Map<_, _> =
            failing.into_iter().map(|(name, problem)| (name.to_owned(), problem.into())).collect();
        page(status, JSON, serde_json::Value::Object(checks).to_string())
    }

    fn help(&self) -> String {
        let metrics = self.metrics.as_ref().map(|path| format!("{path}\n")).unwrap_or_default();
        format!("{metrics}/debug/health\n/debug/vars\n/livez\n/readyz\n")
    }
}

fn page(
    status: StatusCode,
    media_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}
