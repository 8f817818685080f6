//! A connection from its first byte to its last: its protocol, its requests,
//! and when it is closed.

use crate::body::handover::Handover;
use crate::front::peer::Peer;
use crate::front::service::Service;
use crate::net::activity::State;
use crate::net::connections::Connection;
use crate::net::protocol::{self, HEAD_TIMEOUT, HttpVersion, Negotiated};
use crate::net::response_body::{CHUNK, ResponseBody};
use crate::net::socket::Socket;
use crate::net::streams::{self, Streams};
use crate::tls::{self, TlsAcceptor};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long an idle connection stays open once it is to be closed: for written
/// bytes to arrive, and for a request head that is already in transit.
///
/// Limit: time for which an idle connection stays open at shutdown; test:
/// `requests_in_flight_are_finished`.
const CLOSE_GRACE: Duration = Duration::from_secs(1);

/// How long after the limit a client may still be seen to receive a response: the
/// process may have been suspended.
///
/// Limit: time that a response gets after a stall, if its process was suspended; test: none, it would take as long.
const GRACE: Duration = Duration::from_secs(5);

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

/// Bytes that a connection's send buffer takes beyond what has been sent. By default
/// it grows to megabytes, and all sockets of the system share a limit (`tcp_mem`).
///
/// Limit: unsent bytes in a connection's send buffer; test: none, it is the kernel's.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 256 * 1024;

/// Limits the send buffer of a client that may not read.
fn limit_unsent(stream: &TcpStream) {
    #[cfg(target_os = "linux")]
    if let Err(error) = socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT) {
        tracing::debug!("TCP_NOTSENT_LOWAT: {error}");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = stream;
}

/// Becomes true when the host is shutting down.
pub(crate) type Closing = watch::Receiver<bool>;

/// Serves a connection until the client closes it, or until `closing` is true
/// and its requests are done.
pub(crate) async fn serve(
    service: Service,
    stream: TcpStream,
    address: SocketAddr,
    open: &Connection,
    tls: Option<TlsAcceptor>,
    mut closing: Closing,
) {
    // Nagle's algorithm would hold a response's last packet back until the
    // client has acknowledged the one before.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!("TCP_NODELAY: {error}");
    }
    if !open.has_default_send_buffer {
        limit_unsent(&stream);
    }
    let socket = Socket::new(stream, HEAD_TIMEOUT, Arc::clone(&open.activity));
    let negotiated = tokio::select! {
        negotiated = protocol::negotiate(socket, address.ip(), tls.as_ref()) => negotiated,
        // No request has been received.
        _ = closing.wait_for(|closing| *closing) => return,
    };
    let peer = |certificate| Peer { address: address.ip(), tls: tls.is_some(), certificate };
    match negotiated {
        Ok(Negotiated::Plain(socket, version)) => {
            // HTTP/1.1 writes responses one after the other and without framing
            // of its own, which files that bypass the process depend on.
            let handover = (version == HttpVersion::Http1).then(|| socket.handover());
            serve_http(socket, version, service, peer(None), open, handover, closing).await;
        }
        Ok(Negotiated::Tls(stream, version, name)) => {
            serve_http(*stream, version, service, peer(name), open, None, closing).await;
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
    open: &Connection,
    handover: Option<Arc<Handover>>,
    mut closing: Closing,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stall = service.stall();
    let builder = builder(version, stall);
    let service = requests(service, version, peer, open, handover);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut timer = pin!(tokio::time::sleep(HEAD_TIMEOUT.min(stall)));
    let mut ending = false;
    let mut receiving = Receiving::default();
    loop {
        tokio::select! {
            // What has arrived counts before the time.
            biased;
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
                let state = open.activity.state();
                let due = match state {
                    State::Busy => now + limit,
                    State::Idle(since) => since + limit,
                    State::Blocked => receiving.due(open.activity.written(), stall),
                };
                if state != State::Blocked {
                    receiving = Receiving::default();
                }
                if due > now {
                    // What is idle now may be blocked soon.
                    timer.as_mut().reset(due.min(now + stall));
                    continue;
                }
                if ending || state == State::Blocked {
                    return;
                }
            }
        }
        ending = true;
        connection.as_mut().graceful_shutdown();
        timer.as_mut().reset(Instant::now() + CLOSE_GRACE);
    }
}

/// Whether a client takes what waits for it: at least a [`CHUNK`] within each stall
/// timeout.
#[derive(Default)]
struct Receiving {
    /// Until when, from how many written bytes on, and whether [`GRACE`] runs.
    window: Option<(Instant, u64, bool)>,
}

impl Receiving {
    /// When to look again; not after now if the client is too slow.
    fn due(&mut self, written: u64, stall: Duration) -> Instant {
        let now = Instant::now();
        let next = match self.window {
            Some((due, before, late)) if written - before < CHUNK as u64 => match late {
                _ if due > now => (due, before, late),
                false => (now + GRACE, before, true),
                true => (due, before, true),
            },
            _ => (now + stall, written, false),
        };
        self.window = Some(next);
        next.0
    }
}

/// Answers the requests of one connection.
fn requests(
    service: Service,
    version: HttpVersion,
    peer: Peer,
    open: &Connection,
    handover: Option<Arc<Handover>>,
) -> impl hyper::service::Service<
    Request<Incoming>,
    Response = Response<ResponseBody>,
    Error = Infallible,
    Future: Send + 'static,
> + use<> {
    let peer = Arc::new(peer);
    let (activity, client) = (Arc::clone(&open.activity), Arc::clone(&open.client));
    hyper::service::service_fn(move |request: Request<Incoming>| {
        let (service, peer, guard) = (service.clone(), Arc::clone(&peer), activity.begin_request());
        let (activity, client) = (Arc::clone(&activity), Arc::clone(&client));
        let handover = handover.clone();
        async move {
            let client = service.client(&request, &peer, &client);
            if version == HttpVersion::Http1 {
                let (response, record) = service.request(request, &peer, &client).await;
                let body = |body| ResponseBody::sequential(body, handover, &client, guard);
                return Ok::<_, Infallible>(response.map(|bytes| body(bytes).with(record)));
            }
            let stream = service.clients().stream(&client);
            let (response, record) = if stream.is_some() {
                service.request(request, &peer, &client).await
            } else {
                service.refuse(request, &peer)
            };
            let body = |body| {
                ResponseBody::chunks(body, streams::progress(), activity, stream, &client, guard)
            };
            Ok(response.map(|bytes| body(bytes).with(record)))
        }
    })
}

fn builder(version: HttpVersion, stall: Duration) -> auto::Builder<Streams> {
    let mut builder = auto::Builder::new(Streams { stall });
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
