//! The service of requests: the cache, the limit of concurrent requests, body
//! timeouts, and trusted headers.

use crate::body::budget::holding;
use crate::body::full;
use crate::body::request_body::{Collected, Holds, RequestBody, gathered_permits};
use crate::engine::Engine;
use crate::front::answering::Answering;
use crate::front::cache::{self, Access, Kept, ResponseCache};
use crate::front::clients::{Client, Clients, Turn};
use crate::front::error_response;
use crate::front::notice::Notice;
use crate::front::peer::{self, Peer};
use crate::front::record::{Record, Recorder, SpanOf};
use crate::health::Health;
use crate::meter::Meter;
use http::header::{CONTENT_LENGTH, EXPECT};
use http::{HeaderValue, Method, Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use ipnet::IpNet;
use roadstead_bridge::account::REQUEST_ID;
use roadstead_bridge::cache::Directive;
use roadstead_bridge::{Account, front, trace};
use roadstead_config::Config;
use roadstead_events::Notifications;
use roadstead_telemetry::metrics::Refused;
use roadstead_traces::{Active, Step, Traces};
use std::sync::Arc;
use std::time::Duration;
use wasmtime_wasi_http::WasiBody;

/// A response that the component made or the cache kept needs no share of its
/// client's memory if it is no longer than this, in bytes.
///
/// Limit: bytes of a response that need no share of the budget; test: `unread_lists_end_no_instance`.
const SMALL: usize = 16 * 1024;

/// What every connection shares.
#[derive(Clone)]
pub(crate) struct Service {
    engine: Engine,
    cache: Arc<ResponseCache>,
    clients: Arc<Clients>,
    /// `None` over an object store, where the component reads layers too.
    collected: Option<Collected>,
    /// How long a client may stall while it sends a body.
    stall: Duration,
    recorder: Arc<Recorder>,
    meter: Meter,
    traces: Option<Traces>,
    health: Arc<Health>,
    notifications: Option<Arc<Notifications>>,
    /// Whether the component distinguishes callers.
    authenticates: bool,
    trusted_proxies: Arc<[IpNet]>,
}

impl Service {
    pub(crate) fn new(
        engine: Engine,
        cache: ResponseCache,
        clients: Arc<Clients>,
        health: Arc<Health>,
        (meter, traces): (Meter, Option<Traces>),
        notifications: Option<Arc<Notifications>>,
        config: &Config,
    ) -> Self {
        Self {
            engine,
            cache: Arc::new(cache),
            clients,
            collected: config.cloud.is_none().then(Collected::new),
            stall: config.stall_timeout,
            recorder: Recorder::new(config.access_log, meter.clone(), traces.clone()),
            meter,
            traces,
            health,
            notifications,
            authenticates: config.auth.enabled(),
            trusted_proxies: config.trusted_proxies.clone().into(),
        }
    }

    /// The client of a request on a connection of `client`.
    pub(crate) fn client<B>(
        &self,
        request: &Request<B>,
        peer: &Peer,
        client: &Arc<Client>,
    ) -> Arc<Client> {
        if peer::is_trusted(peer.address, &self.trusted_proxies) {
            self.clients.get(peer::address(request.headers(), peer, &self.trusted_proxies))
        } else {
            Arc::clone(client)
        }
    }

    /// How long a client may stall.
    pub(crate) fn stall(&self) -> Duration {
        self.stall
    }

    /// Who has what.
    pub(crate) fn clients(&self) -> &Clients {
        &self.clients
    }

    /// Who is notified, if anybody is.
    pub(crate) fn notifications(&self) -> Option<&Arc<Notifications>> {
        self.notifications.as_ref()
    }

    /// The cache of responses.
    pub(crate) fn cache(&self) -> &ResponseCache {
        &self.cache
    }

    /// Answers a request. Its record is for whoever sends the response; there is none if the request
    /// panicked.
    pub(crate) async fn request(
        &self,
        mut request: Request<Incoming>,
        peer: &Peer,
        client: &Arc<Client>,
    ) -> (Response<WasiBody>, Option<Record>) {
        let mut record = self.recorder.begin(&mut request, peer, &self.trusted_proxies);
        let notice = self.notice(&request, peer);
        let access =
            if self.authenticates { self.cache.access(&request, peer) } else { Some(Access::Open) };
        let response = match access.and_then(|access| self.cache.respond(&request, access)) {
            Some((response, account)) => {
                record.cached(account);
                self.counted(response, client).await
            }
            None => match self.health.answer(&request) {
                Some(response) => response,
                None if matches!(*request.method(), Method::GET | Method::HEAD) => {
                    self.read(request, peer, client, access).await
                }
                None => return self.write(request, peer, client, record).await,
            },
        };
        let response = recorded(response, &mut record);
        if let Some(notice) = notice {
            notice.read(&response, record.user());
        }
        (response, Some(record))
    }

    /// What others may be notified of, if there are any.
    fn notice<B>(&self, request: &Request<B>, peer: &Peer) -> Option<Notice> {
        Notice::of(self.notifications.as_ref(), request, peer, &self.trusted_proxies)
    }

    /// Refuses a request over HTTP/2, as too many are in flight.
    pub(crate) fn refuse(
        &self,
        mut request: Request<Incoming>,
        peer: &Peer,
    ) -> (Response<WasiBody>, Option<Record>) {
        let mut record = self.recorder.begin(&mut request, peer, &self.trusted_proxies);
        self.meter.busy(Refused::Streams, "too many requests are in flight over HTTP/2");
        (recorded(error_response::busy(), &mut record), Some(record))
    }

    /// Has the component answer a request that reads, and keeps the cache up to date.
    async fn read(
        &self,
        request: Request<Incoming>,
        peer: &Peer,
        client: &Arc<Client>,
        access: Option<Access>,
    ) -> Response<WasiBody> {
        let Some(access) = access else {
            return ResponseCache::strip(self.limited(request, peer, client).await);
        };
        let in_flight = self.cache.begin(&request, access);
        let limited = self.limited(request, peer, client).await;
        let mut response = in_flight.answered(limited).await;
        match response.extensions_mut().remove::<Kept>() {
            Some(Kept) => self.counted(response, client).await,
            None => response,
        }
    }

    /// Has the component answer any other request, in a task of its own: a write that was carried out
    /// purges what it outdates, and is recorded, even if its client has gone.
    async fn write(
        &self,
        request: Request<Incoming>,
        peer: &Peer,
        client: &Arc<Client>,
        mut record: Record,
    ) -> (Response<WasiBody>, Option<Record>) {
        let (service, peer, client) = (self.clone(), peer.clone(), Arc::clone(client));
        let done = tokio::spawn(async move {
            let notice = service.notice(&request, &peer);
            let in_flight = service.cache.begin(&request, Access::Open);
            let limited = service.limited(request, &peer, &client).await;
            let response = recorded(in_flight.answered(limited).await, &mut record);
            // Before the client knows: what it was told of, others are too.
            if let (Some(notice), Some(change)) = (notice, record.change()) {
                notice.changed(change, record.user()).await;
            }
            (response, Some(record))
        });
        done.await.unwrap_or_else(|error| {
            tracing::error!("a request failed: {error}");
            (error_response::internal(), None)
        })
    }

    /// Waits for a turn and has the component answer.
    async fn limited(
        &self,
        request: Request<Incoming>,
        peer: &Peer,
        client: &Arc<Client>,
    ) -> Response<WasiBody> {
        let holds = Arc::new(Holds::default());
        let id = request.headers().get(REQUEST_ID).cloned();
        let span = request.extensions().get::<SpanOf>().cloned();
        let waiting = self.span(span.as_ref(), Step::Turn);
        let (mut request, sends) = self.with_body(request, client, &holds).await;
        let Some(turn) = self.turn(sends, client).await else {
            let why = "no turn was free; see REGISTRY_HTTP_MAXREQUESTS and _MAXREQUESTSPERCLIENT";
            self.meter.busy(Refused::Turns, why);
            return error_response::busy();
        };
        drop(waiting);
        let mut answer = None;
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        if self.collected.is_some() && reads {
            answer = self.clients.answer(client).await;
            if answer.is_none() {
                self.meter.busy(Refused::Reads, "the component answers too many reads");
                return error_response::busy();
            }
        }
        let trusted = self.trusted_proxies.as_ref();
        peer::describe(request.headers_mut(), peer, self.authenticates, trusted);
        let mut answered_in = self.span(span.as_ref(), Step::Component);
        if let Some(span) = &answered_in {
            request.headers_mut().insert(trace::SPAN, span.context().to_header());
        }
        let uri = request.uri().clone();
        peer::set_host(request.headers_mut(), &uri);
        let engine = self.engine.clone();
        let mut answering =
            Answering::new(async move { engine.handle(request).await }, (turn, answer));
        let answered = (&mut answering).await;
        let response = match answered {
            Ok(mut response) => {
                if let Some(account) = Account::take(response.headers_mut()) {
                    response.extensions_mut().insert(Arc::new(account));
                }
                if front::take_in_memory(response.headers_mut()) {
                    self.take(response, client).await
                } else {
                    response
                }
            }
            Err(error) => {
                let id = id.as_ref().and_then(|id| id.to_str().ok()).unwrap_or_default();
                tracing::error!("request {id}: the component did not answer: {error:#}");
                if let Some(span) = &mut answered_in {
                    span.fail("trap");
                }
                cache::unanswered(error_response::internal())
            }
        };
        drop((answering, answered_in));
        holds.release();
        if holds.refused() {
            self.meter.busy(Refused::Manifests, "too many manifests are being pushed at a time");
            return in_place_of(response, error_response::busy());
        }
        response
    }

    /// A span below that of a request, if that has one.
    fn span(&self, of: Option<&SpanOf>, step: Step<'_>) -> Option<Active> {
        let (traces, SpanOf(of)) = (self.traces.as_ref()?, of?);
        traces.join(of.as_bytes(), step)
    }

    /// The request with the body that the component reads, and whether its client may
    /// have yet to send that.
    async fn with_body(
        &self,
        request: Request<Incoming>,
        client: &Arc<Client>,
        holds: &Arc<Holds>,
    ) -> (Request<WasiBody>, bool) {
        let expects = request.headers().contains_key(EXPECT);
        let counter = request.extensions().get().cloned();
        let (parts, body) = request.into_parts();
        let sends = !body.is_end_stream();
        let permits = gathered_permits(&body).filter(|_| sends && !expects);
        let (sender, collected) = (Arc::clone(client), self.collected.clone());
        let holds = Arc::clone(holds);
        let mut body =
            RequestBody::new(body, self.stall, sender, expects, collected, holds, counter);
        let share = permits.and_then(|permits| self.clients.gather(client, permits));
        let gathered = match share {
            Some(share) => body.gather(share, self.stall).await,
            None => false,
        };
        (Request::from_parts(parts, body.boxed_unsync()), sends && !gathered)
    }

    /// Waits for a turn, and first for one of those that requests with a body can have
    /// if the request `sends` one.
    async fn turn(&self, sends: bool, client: &Arc<Client>) -> Option<(Turn, Option<Turn>)> {
        let mut waiting = None;
        let sending =
            if sends { Some(self.clients.sending(client, &mut waiting).await?) } else { None };
        let turn = self.clients.turn(client, &mut waiting).await?;
        if let Some(since) = waiting {
            self.meter.waited(since.elapsed());
        }
        Some((turn, sending))
    }

    /// Counts a body of the cache's among those that the client has yet to take.
    async fn counted(
        &self,
        response: Response<WasiBody>,
        client: &Arc<Client>,
    ) -> Response<WasiBody> {
        if response.body().size_hint().lower() > SMALL as u64 {
            self.take(response, client).await
        } else {
            response
        }
    }

    /// Takes a body out of the component's memory, whose instance others use: its
    /// client may never read it.
    async fn take(&self, response: Response<WasiBody>, client: &Arc<Client>) -> Response<WasiBody> {
        let length = response.headers().get(CONTENT_LENGTH).map(HeaderValue::to_str);
        let length = length.and_then(|length| length.ok()?.parse::<usize>().ok());
        let Some(length) = length else { return response };
        let mut share = None;
        if length > SMALL {
            share = self.clients.memory(client, length);
            if share.is_none() {
                self.meter.busy(Refused::Memory, "clients do not read their responses");
                return in_place_of(response, error_response::busy());
            }
        }
        let (parts, body) = response.into_parts();
        match body.collect().await {
            Ok(bytes) => {
                let bytes = bytes.to_bytes();
                let bytes = match share {
                    Some(share) => holding(bytes, share),
                    None => bytes,
                };
                Response::from_parts(parts, full(bytes))
            }
            Err(error) => {
                tracing::error!("the component's response ended early: {error}");
                cache::unanswered(error_response::internal())
            }
        }
    }
}

/// The response as its record has it.
fn recorded(response: Response<WasiBody>, record: &mut Record) -> Response<WasiBody> {
    let mut response = if response.status().is_server_error() {
        error_response::identified(response, record.id())
    } else {
        response
    };
    record.answered(&mut response);
    response
}

/// A response of the host's, with what the component's `response` says to the cache.
fn in_place_of(response: Response<WasiBody>, mut own: Response<WasiBody>) -> Response<WasiBody> {
    let (mut parts, _) = response.into_parts();
    if let Some(directive) = Directive::take(&mut parts.headers) {
        directive.write(own.headers_mut());
    }
    own.extensions_mut().extend(parts.extensions);
    own
}
