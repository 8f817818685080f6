//! The service of requests: the cache, the limit of concurrent requests, body
//! timeouts, and trusted headers.

use crate::body::idle_timeout::IdleTimeout;
use crate::engine::Engine;
use crate::front::cache::{Access, ResponseCache};
use crate::front::error_response;
use crate::front::peer::{self, Peer};
use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use ipnet::IpNet;
use roadstead_config::Config;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use wasmtime_wasi_http::{Error, WasiBody};

/// How long a client may stall while it sends a body.
///
/// Limit: pause within a request's body; test: `a_stalled_body_fails`.
const BODY_PAUSE: Duration = Duration::from_mins(1);

/// How long a request waits for a permit before it is refused.
///
/// Limit: time for which a request waits for its turn; test:
/// `more_requests_than_there_are_turns`.
const QUEUE_TIME: Duration = Duration::from_secs(10);

/// What every connection shares.
#[derive(Clone)]
pub(crate) struct Service {
    engine: Engine,
    cache: Arc<ResponseCache>,
    permits: Arc<Semaphore>,
    access_log: bool,
    /// Whether the component distinguishes callers.
    authenticates: bool,
    trusted_proxies: Arc<[IpNet]>,
}

impl Service {
    pub(crate) fn new(engine: Engine, cache: ResponseCache, config: &Config) -> Self {
        Self {
            engine,
            cache: Arc::new(cache),
            permits: Arc::new(Semaphore::new(config.max_requests)),
            access_log: config.access_log,
            authenticates: config.auth.enabled(),
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
        let access =
            if self.authenticates { self.cache.access(&request, peer) } else { Some(Access::Open) };
        let line = self.access_log.then(|| (request.method().clone(), request.uri().clone()));
        let response = match access.and_then(|access| self.cache.respond(&request, access)) {
            Some(response) => response,
            None => self.forward(request, peer, access).await,
        };
        if let Some((method, uri)) = line {
            let status = response.status().as_u16();
            let microseconds = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
            tracing::info!(%method, %uri, status, microseconds, "request");
        }
        response
    }

    /// Has the component answer, and keeps the cache up to date.
    async fn forward(
        &self,
        request: Request<Incoming>,
        peer: &Peer,
        access: Option<Access>,
    ) -> Response<WasiBody> {
        if matches!(*request.method(), Method::GET | Method::HEAD) {
            let Some(access) = access else {
                return ResponseCache::strip(self.limited(request, peer).await);
            };
            let in_flight = self.cache.begin(&request, access);
            return in_flight.answered(self.limited(request, peer).await).await;
        }
        // A task of its own: a write that was carried out purges what it
        // outdates even if its client has gone.
        let (service, peer) = (self.clone(), peer.clone());
        let done = tokio::spawn(async move {
            let in_flight = service.cache.begin(&request, Access::Open);
            in_flight.answered(service.limited(request, &peer).await).await
        });
        done.await.unwrap_or_else(|error| {
            tracing::error!("a request failed: {error}");
            error_response::internal()
        })
    }

    /// Waits for a permit and has the component answer.
    async fn limited(&self, request: Request<Incoming>, peer: &Peer) -> Response<WasiBody> {
        let permit = tokio::time::timeout(QUEUE_TIME, self.permits.acquire()).await;
        let Ok(Ok(permit)) = permit else {
            tracing::warn!("refused a request: REGISTRY_HTTP_MAXREQUESTS requests are in flight");
            return error_response::busy();
        };
        let mut request =
            request.map(|body| IdleTimeout::new(body, BODY_PAUSE, Error::from).boxed_unsync());
        let trusted = self.trusted_proxies.as_ref();
        peer::describe(request.headers_mut(), peer, self.authenticates, trusted);
        let uri = request.uri().clone();
        peer::set_host(request.headers_mut(), &uri);
        let response = self.engine.handle(request).await;
        drop(permit);
        response.unwrap_or_else(|error| {
            tracing::error!("the component did not answer: {error:#}");
            error_response::internal()
        })
    }
}
