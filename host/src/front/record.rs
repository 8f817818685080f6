//! What is known of a request while it is answered, for the access log and the metrics: written when
//! its response has been handed to the connection, or has ended early.

use crate::front::peer::{self, Peer};
use crate::log;
use crate::meter::Meter;
use http::header::{CONTENT_LENGTH, HeaderName, HeaderValue, REFERER, USER_AGENT};
use http::{Method, Request, StatusCode, Uri, Version};
use ipnet::IpNet;
use roadstead_bridge::Account;
use roadstead_bridge::account::{REQUEST_ID, request_id};
use roadstead_bridge::change::Change;
use roadstead_telemetry::Target;
use roadstead_telemetry::access::Exchange;
use roadstead_telemetry::metrics::{
    self, Answered, Cached, Direction, Handler, InFlight, Metrics, RepositoryUse,
};
use roadstead_traces::{Active, Step, Traces, attribute};
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The status of a request whose client went away before there was a response, as nginx has it.
const CLIENT_CLOSED: u16 = 499;

/// Bytes of a header that a record keeps.
///
/// Limit: bytes of a header that are kept for the log; test: `long_headers_are_cut`.
const HEADER_SHOWN: usize = 1024;

/// W3C Trace Context.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Makes records.
#[derive(Debug)]
pub(crate) struct Recorder {
    access_log: bool,
    meter: Meter,
    traces: Option<Traces>,
    /// Where identifiers begin, for this process.
    first: u64,
    count: AtomicU64,
}

/// A request, until its response has ended.
#[derive(Debug)]
pub(crate) struct Record {
    recorder: Arc<Recorder>,
    began: Instant,
    method: Method,
    uri: Uri,
    version: Version,
    client: IpAddr,
    agent: Option<HeaderValue>,
    referer: Option<HeaderValue>,
    trace: Option<HeaderValue>,
    /// If its trace is sampled. It ends with the response.
    span: Option<Active>,
    id: HeaderValue,
    received: Option<Received>,
    in_flight: Option<InFlight>,
    status: Option<StatusCode>,
    account: Option<Arc<Account>>,
    cached: bool,
    sent: u64,
    /// The bytes of the response's body, if they are known.
    length: Option<u64>,
    complete: bool,
}

/// The span of a request, for those below it.
#[derive(Clone, Debug)]
pub(crate) struct SpanOf(pub(crate) HeaderValue);

/// How many bytes of a request's body have been received.
#[derive(Clone, Debug)]
pub(crate) struct Received(Arc<(AtomicU64, Meter)>);

impl Received {
    pub(crate) fn add(&self, bytes: usize) {
        let (count, meter) = &*self.0;
        count.fetch_add(bytes as u64, Ordering::Relaxed);
        meter.transferred(Direction::Received, bytes);
    }
}

impl Recorder {
    pub(crate) fn new(access_log: bool, meter: Meter, traces: Option<Traces>) -> Arc<Self> {
        let first = RandomState::new().hash_one(std::process::id());
        Arc::new(Self { access_log, meter, traces, first, count: AtomicU64::new(0) })
    }

    /// Begins the record of a request, which gets its identifier, its span and the counter of its
    /// body.
    pub(crate) fn begin<B: hyper::body::Body>(
        self: &Arc<Self>,
        request: &mut Request<B>,
        peer: &Peer,
        trusted: &[IpNet],
    ) -> Record {
        let headers = request.headers();
        let is_trusted = peer::is_trusted(peer.address, trusted);
        let client = if is_trusted {
            peer::address(headers, peer, trusted)
        } else {
            peer.address.to_canonical()
        };
        let given =
            request_id(headers).filter(|_| is_trusted).and_then(|_| headers.get(REQUEST_ID));
        let id = given.cloned().unwrap_or_else(|| self.next());
        let has_body = !request.body().is_end_stream();
        let received =
            has_body.then(|| Received(Arc::new((AtomicU64::new(0), self.meter.clone()))));
        let in_flight = self
            .meter
            .metrics()
            .map(|metrics| metrics.in_flight(Target::of(request.uri().path()).handler));
        let span = self.traces.as_ref().and_then(|traces| traces.begin_request(headers));
        let span = span.map(|mut span| {
            let line = (request.method(), request.uri(), request.version());
            span.request(line, headers, client, peer.tls);
            span
        });
        // Nothing is copied for a line that is not written.
        let shown = |name| headers.get(name).filter(|_| self.access_log).map(beginning);
        let trace = match &span {
            Some(span) => Some(span.context().traceparent()),
            None => shown(TRACEPARENT),
        };
        let below = span.as_ref().map(|span| SpanOf(span.context().to_header()));
        let record = Record {
            recorder: Arc::clone(self),
            began: Instant::now(),
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            client,
            agent: shown(USER_AGENT),
            referer: shown(REFERER),
            trace,
            span,
            id: id.clone(),
            received: received.clone(),
            in_flight,
            status: None,
            account: None,
            cached: false,
            sent: 0,
            length: None,
            complete: false,
        };
        request.headers_mut().insert(REQUEST_ID, id);
        if let Some(received) = received {
            request.extensions_mut().insert(received);
        }
        if let Some(below) = below {
            request.extensions_mut().insert(below);
        }
        record
    }

    /// An identifier that no other request of this process has.
    fn next(&self) -> HeaderValue {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        // An odd step reaches all numbers before it repeats one.
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let number = self.count.fetch_add(1, Ordering::Relaxed).wrapping_mul(STEP);
        let mut number = self.first.wrapping_add(number);
        let mut text = [0; 16];
        for digit in text.iter_mut().rev() {
            *digit = DIGITS[(number & 0xf) as usize];
            number >>= 4;
        }
        HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("-"))
    }
}

impl Record {
    /// Notes the head of the response, which gets the identifier of the request.
    pub(crate) fn answered<B>(&mut self, response: &mut http::Response<B>) {
        self.status = Some(response.status());
        let length = response.headers().get(CONTENT_LENGTH);
        let has_none =
            matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        self.length = match self.method {
            Method::HEAD => Some(0),
            _ if has_none => Some(0),
            _ => length.and_then(|length| length.to_str().ok()?.parse().ok()),
        };
        if let Some(account) = response.extensions_mut().remove() {
            self.account = Some(account);
        }
        response.headers_mut().insert(REQUEST_ID, self.id.clone());
        if let Some(span) = &mut self.span {
            span.response(response.status());
        }
    }

    /// Notes that the cache answers, and whom.
    pub(crate) fn cached(&mut self, account: Option<Arc<Account>>) {
        self.cached = true;
        self.account = account;
        if let Some(span) = &mut self.span {
            drop(span.child(Step::Cache));
            span.set(attribute::CACHED, true);
        }
    }

    /// Who has sent the request, as far as that is proven.
    pub(crate) fn user(&self) -> Option<&str> {
        self.account.as_deref()?.user.as_deref()
    }

    /// What the request has changed.
    pub(crate) fn change(&self) -> Option<&Change> {
        self.account.as_deref()?.change.as_ref()
    }

    /// The identifier of the request.
    pub(crate) fn id(&self) -> &HeaderValue {
        &self.id
    }

    /// Counts bytes of the response's body.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
        self.recorder.meter.transferred(Direction::Sent, bytes);
    }

    /// Notes that all of the response has been handed to the connection.
    pub(crate) fn complete(&mut self) {
        self.complete = true;
    }

    /// The trace of a valid `traceparent`: version, trace, parent and flags.
    fn trace(&self) -> Option<&str> {
        let text = self.trace.as_ref()?.to_str().ok()?;
        let mut parts = text.split('-');
        let trace = parts.nth(1)?;
        let is_hex = trace.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (text.len() >= 55 && trace.len() == 32 && is_hex).then_some(trace)
    }
}

impl Record {
    fn received(&self) -> u64 {
        self.received.as_ref().map_or(0, |received| received.0.0.load(Ordering::Relaxed))
    }

    fn status(&self) -> u16 {
        self.status.map_or(CLIENT_CLOSED, |status| status.as_u16())
    }

    fn count(&self, metrics: &Metrics, target: &Target<'_>, time: Duration) {
        let handler = target.handler;
        let reads = matches!(self.method, Method::GET | Method::HEAD);
        let cached = match handler {
            _ if self.cached => Some(Cached::Hit),
            Handler::Base | Handler::Manifest | Handler::Blob if reads => Some(Cached::Miss),
            _ => None,
        };
        let (received, sent) = (self.received(), self.sent);
        metrics.answered(&Answered {
            handler,
            method: metrics::Method::of(self.method.as_str()),
            status: self.status(),
            time,
            received,
            sent,
            cache: cached,
        });
        let is_content = matches!(
            handler,
            Handler::Manifest | Handler::Blob | Handler::BlobUpload | Handler::BlobUploadChunk
        );
        // Others are answered for repositories that do not exist, too.
        let succeeded = is_content && self.status.is_some_and(|status| status.is_success());
        if let Some(repository) = target.repository.filter(|_| succeeded) {
            let is = |method| handler == Handler::Manifest && self.method == method;
            let (pulls, pushes) = (u64::from(is(Method::GET)), u64::from(is(Method::PUT)));
            metrics.repository(repository, RepositoryUse { pulls, pushes, received, sent });
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        drop(self.in_flight.take());
        let metrics = self.recorder.meter.metrics();
        if metrics.is_none() && !self.recorder.access_log {
            return;
        }
        let (path, time) = (self.uri.path(), self.began.elapsed());
        let target = Target::of(path);
        if let Some(metrics) = metrics {
            self.count(metrics, &target, time);
        }
        if !self.recorder.access_log {
            return;
        }
        let account = self.account.as_deref();
        log::access(&Exchange {
            method: self.method.as_str(),
            path,
            query: self.uri.query(),
            version: version(self.version),
            target,
            status: self.status(),
            code: account.and_then(|account| account.code.as_deref()),
            received: self.received(),
            sent: self.sent,
            complete: self.complete || self.length.is_some_and(|length| self.sent >= length),
            time,
            cached: self.cached,
            client: self.client,
            user: account.and_then(|account| account.user.as_deref()),
            claimed: account.and_then(|account| account.claimed.as_deref()),
            agent: self.agent.as_ref().map(HeaderValue::as_bytes),
            referer: self.referer.as_ref().map(HeaderValue::as_bytes),
            id: self.id.to_str().unwrap_or_default(),
            trace: self.trace(),
        });
    }
}

/// A copy of what the log shows of a header: the value itself is a part of the whole head, which would
/// stay in memory for as long as the response takes.
fn beginning(value: &HeaderValue) -> HeaderValue {
    let bytes = value.as_bytes();
    let beginning = bytes.get(..HEADER_SHOWN).unwrap_or(bytes);
    HeaderValue::from_bytes(beginning).unwrap_or_else(|_| HeaderValue::from_static("-"))
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    }
}

#[cfg(test)]
mod tests {
    use super::Recorder;
    use crate::front::peer::Peer;
    use crate::meter::Meter;
    use http::{HeaderValue, Request};
    use http_body_util::Empty;
    use std::collections::HashSet;

    fn peer(address: &str) -> Peer {
        Peer { address: address.parse().unwrap(), tls: false, certificate: None }
    }

    /// The identifier is the trusted proxy's, and nobody else's.
    #[test]
    fn identifiers() {
        let recorder = Recorder::new(true, Meter::default(), None);
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        for (address, given, kept) in [
            ("10.1.2.3", "from-the-proxy", true),
            ("10.1.2.3", "not valid", false),
            ("192.0.2.1", "from-a-client", false),
        ] {
            let mut request = Request::new(Empty::<bytes::Bytes>::new());
            request.headers_mut().insert("x-request-id", HeaderValue::from_static(given));
            let record = recorder.begin(&mut request, &peer(address), &trusted);
            let id = record.id().to_str().unwrap();
            assert_eq!(id == given, kept, "{address}: {id}");
            assert_eq!(request.headers()["x-request-id"], id, "the component's");
        }
        let all: HashSet<_> = (0..10_000).map(|_| recorder.next()).collect();
        assert_eq!(all.len(), 10_000);
    }

    #[test]
    fn long_headers_are_cut() {
        let recorder = Recorder::new(true, Meter::default(), None);
        let mut request = Request::new(Empty::<bytes::Bytes>::new());
        let long = HeaderValue::from_bytes(&vec![b'a'; 100_000]).unwrap();
        request.headers_mut().insert("user-agent", long);
        let record = recorder.begin(&mut request, &peer("192.0.2.1"), &[]);
        assert_eq!(record.agent.as_ref().unwrap().len(), super::HEADER_SHOWN);
    }

    #[test]
    fn traces() {
        let recorder = Recorder::new(true, Meter::default(), None);
        for (given, expected) in [
            (
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                Some("4bf92f3577b34da6a3ce929d0e0e4736"),
            ),
            ("00-4bf92f3577b34da6a3ce929d0e0e473X-00f067aa0ba902b7-01", None),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736", None),
            ("nonsense", None),
            ("", None),
        ] {
            let mut request = Request::new(Empty::<bytes::Bytes>::new());
            request.headers_mut().insert("traceparent", HeaderValue::from_static(given));
            let record = recorder.begin(&mut request, &peer("192.0.2.1"), &[]);
            assert_eq!(record.trace(), expected, "{given}");
        }
    }
}
