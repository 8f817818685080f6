//! A connection from its first byte to its last: its protocol, its requests,
//! and when it is closed.

use crate::body::handover::Handover;
use crate::front::peer::Peer;
use crate::front::service::Service;
use crate::net::activity::{Activity, RequestGuard, State};
use crate::net::protocol::{self, HEAD_TIMEOUT, HttpVersion, Negotiated};
use crate::net::socket::Socket;
use crate::tls::{self, TlsAcceptor};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;
use wasmtime_wasi_http::{Error, WasiBody};

/// How long an idle connection stays open once it is to be closed: for written
/// bytes to arrive, and for a request head that is already in transit.
///
/// Limit: time for which an idle connection stays open at shutdown; test:
/// `requests_in_flight_are_finished`.
const CLOSE_GRACE: Duration = Duration::from_secs(1);

/// How long a client may stall while it receives a response. The response as a
/// whole has no limit.
///
/// Limit: pause of a client that receives a response; test: none, it would take as
/// long.
const RECEIVE_PAUSE: Duration = Duration::from_mins(5);

/// Largest head of an HTTP/1.1 request, and most that is read from a connection
/// at once, in bytes.
///
/// Limit: bytes of the head of an HTTP/1.1 request; test: `heads`.
const READ_BUFFER: usize = 256 * 1024;

/// Largest head of an HTTP/2 request, in bytes.
///
/// Limit: bytes of the head of an HTTP/2 request; test: none, the protocol's
/// implementation keeps it.
const HEAD_LIMIT_H2: u32 = 64 * 1024;

/// Flow-control window of one HTTP/2 stream, in bytes.
///
/// Limit: bytes in flight of one HTTP/2 request's body; test: none, the protocol's
/// implementation keeps it.
const STREAM_WINDOW: u32 = 1024 * 1024;

/// Flow-control window of a whole HTTP/2 connection, in bytes.
///
/// Limit: bytes in flight of all bodies of an HTTP/2 connection; test: none, the
/// protocol's implementation keeps it.
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;

/// Concurrent requests on one HTTP/2 connection.
///
/// Limit: requests at a time of one HTTP/2 connection; test: none, the protocol's
/// implementation keeps it.
const MAX_STREAMS: u32 = 100;

/// Becomes true when the host is shutting down.
pub(crate) type Closing = watch::Receiver<bool>;

/// Serves a connection until the client closes it, or until `closing` is true
/// and its requests are done.
pub(crate) async fn serve(
    service: Service,
    stream: TcpStream,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    mut closing: Closing,
) {
    // Nagle's algorithm would hold a response's last packet back until the
    // client has acknowledged the one before.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!("TCP_NODELAY: {error}");
    }
    let activity = Arc::new(Activity::new());
    let socket = Socket::new(stream, HEAD_TIMEOUT, Arc::clone(&activity));
    let negotiated = tokio::select! {
        negotiated = protocol::negotiate(socket, tls.as_ref()) => negotiated,
        // No request has been received.
        _ = closing.wait_for(|closing| *closing) => return,
    };
    let peer = |certificate| Peer { address: address.ip(), tls: tls.is_some(), certificate };
    match negotiated {
        Ok(Negotiated::Plain(socket, version)) => {
            // HTTP/1.1 writes responses one after the other and without framing
            // of its own, which files that bypass the process depend on.
            let handover = (version == HttpVersion::Http1).then(|| socket.handover());
            serve_http(socket, version, service, peer(None), activity, handover, closing).await;
        }
        Ok(Negotiated::Tls(stream, version, name)) => {
            serve_http(*stream, version, service, peer(name), activity, None, closing).await;
        }
        Ok(Negotiated::Closed) => {}
        Err(error) => {
            if let Some(problem) = tls::explain(&error) {
                tracing::info!("TLS: a client at {} {problem}", address.ip());
            } else {
                tracing::debug!("connection from {address}: {error}");
            }
        }
    }
}

/// Serves the requests of a connection that speaks HTTP.
async fn serve_http<S>(
    stream: S,
    version: HttpVersion,
    service: Service,
    peer: Peer,
    activity: Arc<Activity>,
    handover: Option<Arc<Handover>>,
    mut closing: Closing,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let peer = Arc::new(peer);
    let counted = Arc::clone(&activity);
    let service = hyper::service::service_fn(move |request| {
        let (service, peer, guard) = (service.clone(), Arc::clone(&peer), counted.begin_request());
        let handover = handover.clone();
        async move {
            let response = service.request(request, &peer).await;
            Ok::<_, Infallible>(response.map(|body| ResponseBody { body, handover, _guard: guard }))
        }
    });
    let builder = builder(version);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut timer = pin!(tokio::time::sleep(HEAD_TIMEOUT));
    let mut ending = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!("connection: {error}");
                }
                return;
            }
            _ = closing.wait_for(|closing| *closing), if !ending => {}
            () = timer.as_mut() => {
                let limit = if ending { CLOSE_GRACE } else { HEAD_TIMEOUT };
                let now = Instant::now();
                let state = activity.state();
                let due = match state {
                    State::Busy => now + limit,
                    State::Idle(since) => since + limit,
                    State::Blocked(since) => since + RECEIVE_PAUSE,
                };
                if due > now {
                    timer.as_mut().reset(due);
                    continue;
                }
                if ending || matches!(state, State::Blocked(_)) {
                    return;
                }
            }
        }
        ending = true;
        connection.as_mut().graceful_shutdown();
        timer.as_mut().reset(Instant::now() + CLOSE_GRACE);
    }
}

fn builder(version: HttpVersion) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(READ_BUFFER);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(HEAD_LIMIT_H2)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    match version {
        HttpVersion::Http1 => builder.http1_only(),
        HttpVersion::Http2 => builder.http2_only(),
    }
}

/// A response's body; its request is in flight until this is dropped.
struct ResponseBody {
    body: WasiBody,
    handover: Option<Arc<Handover>>,
    _guard: RequestGuard,
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        let mut poll = || Pin::new(&mut this.body).poll_frame(context);
        match &this.handover {
            Some(handover) => handover.scope(poll),
            None => poll(),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
