//! Requests: turns, timeouts, and what one may claim.

use crate::behind::store::full;
use crate::body::idle_timeout::Progressing;
use crate::engine::Engine;
use crate::front::cache::{Asker, Cache};
use crate::front::peer::{self, Peer};
use bytes::Bytes;
use http::header::HeaderValue;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use ipnet::IpNet;
use roadstead_config::Config;
use roadstead_oci::ErrorCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use wasmtime_wasi_http::{Error, WasiBody};

/// How long a client may pause within a body.
const BODY_PAUSE: Duration = Duration::from_mins(1);

/// How long a request waits for its turn before it is sent away.
const QUEUE_TIME: Duration = Duration::from_secs(10);

/// When a client that was sent away should come back, in seconds.
const RETRY_AFTER: &str = "5";

/// What every connection shares.
#[derive(Clone)]
pub(crate) struct Service {
    engine: Engine,
    cache: Arc<Cache>,
    turns: Arc<Semaphore>,
    access_log: bool,
    /// Whether the component wants to know whom requests are from.
    tells_peers: bool,
    trusted_proxies: Arc<[IpNet]>,
}

impl Service {
    pub(crate) fn new(engine: Engine, cache: Cache, config: &Config) -> Self {
        let turns = Arc::new(Semaphore::new(config.max_requests));
        Self {
            engine,
            cache: Arc::new(cache),
            turns,
            access_log: config.access_log,
            tells_peers: config.auth.enabled(),
            trusted_proxies: config.trusted_proxies.clone().into(),
        }
    }

    /// Answers a request.
    pub(crate) async fn request(
        &self,
        request: Request<Incoming>,
        peer: &Peer,
    ) -> Response<WasiBody> {
        let started = Instant::now();
        let asker =
            if self.tells_peers { self.cache.asker(&request, peer) } else { Some(Asker::Anyone) };
        let line = self.access_log.then(|| (request.method().clone(), request.uri().clone()));
        let response = match asker.and_then(|asker| self.cache.answer(&request, asker)) {
            Some(response) => response,
            None => self.forward(request, peer, asker).await,
        };
        if let Some((method, uri)) = line {
            let status = response.status().as_u16();
            let microseconds = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
            tracing::info!(%method, %uri, status, microseconds, "request");
        }
        response
    }

    /// Has the component answer, and sees to what its answer says of others.
    async fn forward(
        &self,
        request: Request<Incoming>,
        peer: &Peer,
        asker: Option<Asker>,
    ) -> Response<WasiBody> {
        if matches!(*request.method(), Method::GET | Method::HEAD) {
            let Some(asker) = asker else { return Cache::strip(self.turn(request, peer).await) };
            let under_way = self.cache.begin(&request, asker);
            return under_way.answered(self.turn(request, peer).await).await;
        }
        // A task of its own: what a write outdates is outdated when it has been
        // done, though its client has gone.
        let (service, peer) = (self.clone(), peer.clone());
        let done = tokio::spawn(async move {
            let under_way = service.cache.begin(&request, Asker::Anyone);
            under_way.answered(service.turn(request, &peer).await).await
        });
        done.await.unwrap_or_else(|error| {
            tracing::error!("a request: {error}");
            failed()
        })
    }

    /// Waits for a turn and has the component answer.
    async fn turn(&self, request: Request<Incoming>, peer: &Peer) -> Response<WasiBody> {
        let turn = tokio::time::timeout(QUEUE_TIME, self.turns.acquire()).await;
        let Ok(Ok(turn)) = turn else {
            tracing::warn!(
                "as many requests as REGISTRY_HTTP_MAXREQUESTS allows are under way; one was sent away"
            );
            let mut response = refusal(
                StatusCode::SERVICE_UNAVAILABLE,
                ErrorCode::Unavailable,
                "the registry is busy; try again",
            );
            let retry = HeaderValue::from_static(RETRY_AFTER);
            response.headers_mut().insert(header::RETRY_AFTER, retry);
            return response;
        };
        let mut request =
            request.map(|body| Progressing::new(body, BODY_PAUSE, Error::from).boxed_unsync());
        let (told, trusted) = (self.tells_peers, self.trusted_proxies.as_ref());
        peer::tell(request.headers_mut(), peer, told, trusted);
        let uri = request.uri().clone();
        peer::name_host(request.headers_mut(), &uri);
        let response = self.engine.handle(request).await;
        drop(turn);
        response.unwrap_or_else(|error| {
            tracing::error!("the component did not answer: {error:#}");
            failed()
        })
    }
}

/// The answer where something failed, which was logged.
pub(crate) fn failed() -> Response<WasiBody> {
    refusal(
        StatusCode::INTERNAL_SERVER_ERROR,
        ErrorCode::Unknown,
        "the registry failed; its log has the cause",
    )
}

/// The answer where the component gives none.
fn refusal(status: StatusCode, code: ErrorCode, message: &str) -> Response<WasiBody> {
    let error = serde_json::json!({ "errors": [{ "code": code.as_str(), "message": message }] });
    let mut response = Response::new(full(Bytes::from(error.to_string())));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
