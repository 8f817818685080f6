//! A connection from its first byte to its last: what it speaks, the requests
//! on it, and its end.

use crate::body::handover::Handover;
use crate::front::peer::Peer;
use crate::front::service::Service;
use crate::net::protocol::{self, Opened, Version};
use crate::net::socket::Socket;
use crate::tls::{self, Tls};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;
use wasmtime_wasi_http::{Error, WasiBody};

/// How long a client may take to send a request's head, and a connection may be
/// without a request.
pub(crate) const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a connection without a request lasts once it is to end: for what
/// has been written to get there, and for a head that is on its way.
const FAREWELL: Duration = Duration::from_secs(1);

/// How long a client may pause while it takes an answer. There is no limit to
/// the whole.
const ANSWER_PAUSE: Duration = Duration::from_mins(5);

/// Largest head of an HTTP/1.1 request, in bytes, and largest piece that is read
/// from a connection at once.
const READ_BUFFER: usize = 256 * 1024;

/// Largest head of an HTTP/2 request, in bytes.
const HEAD_LIMIT_H2: u32 = 64 * 1024;

/// Bytes of one body on their way over HTTP/2.
const STREAM_WINDOW: u32 = 1024 * 1024;

/// Bytes of all bodies of an HTTP/2 connection on their way.
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;

/// Requests at a time on one HTTP/2 connection.
const MAX_STREAMS: u32 = 100;

/// What a connection is doing, for whoever decides that it is done.
pub(crate) struct Activity {
    began: Instant,
    requests: AtomicUsize,
    /// Whether there are bytes that the client does not take.
    blocked: AtomicBool,
    /// When a request ended or a byte was written, in milliseconds since it
    /// began.
    last: AtomicU64,
}

/// What a connection does.
#[derive(PartialEq, Eq, Debug)]
enum Doing {
    /// A request is being answered.
    Work,
    /// Nothing since then.
    Nothing(Instant),
    /// It waits since then for the client to take an answer.
    Waiting(Instant),
}

impl Activity {
    pub(crate) fn new() -> Self {
        Self {
            began: Instant::now(),
            requests: AtomicUsize::new(0),
            blocked: AtomicBool::new(false),
            last: AtomicU64::new(0),
        }
    }

    /// Notes what came of a write.
    pub(crate) fn wrote(&self, written: &Poll<io::Result<usize>>) {
        self.blocked.store(written.is_pending(), Ordering::Relaxed);
        if written.is_ready() {
            self.touch();
        }
    }

    fn touch(&self) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    /// Counts a request until its answer has been taken.
    fn request(self: &Arc<Self>) -> AtWork {
        self.requests.fetch_add(1, Ordering::Relaxed);
        AtWork(Arc::clone(self))
    }

    fn doing(&self) -> Doing {
        let last = self.began + Duration::from_millis(self.last.load(Ordering::Relaxed));
        if self.blocked.load(Ordering::Relaxed) {
            Doing::Waiting(last)
        } else if self.requests.load(Ordering::Relaxed) > 0 {
            Doing::Work
        } else {
            Doing::Nothing(last)
        }
    }
}

/// A request that is not done.
struct AtWork(Arc<Activity>);

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.touch();
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Says that the host is shutting down.
pub(crate) type Closing = watch::Receiver<bool>;

/// Serves a connection until it ends, or `closing` is true and its requests are
/// done.
pub(crate) async fn serve(
    service: Service,
    stream: TcpStream,
    address: SocketAddr,
    tls: Option<Tls>,
    mut closing: Closing,
) {
    // Without it, an answer's last packet may wait for an acknowledgement.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!("TCP_NODELAY: {error}");
    }
    let activity = Arc::new(Activity::new());
    let socket = Socket::new(stream, HEAD_TIMEOUT, Arc::clone(&activity));
    let opened = tokio::select! {
        opened = protocol::open(socket, tls.as_ref()) => opened,
        // Nothing was asked yet.
        _ = closing.wait_for(|closing| *closing) => return,
    };
    let peer = |certificate| Peer { address: address.ip(), tls: tls.is_some(), certificate };
    match opened {
        Ok(Opened::Plain(socket, version)) => {
            // Where answers are written one after the other, and as they are.
            let handover = (version == Version::Http1).then(|| socket.handover());
            talk(socket, version, service, peer(None), activity, handover, closing).await;
        }
        Ok(Opened::Tls(stream, version, name)) => {
            talk(*stream, version, service, peer(name), activity, None, closing).await;
        }
        Ok(Opened::Answered) => {}
        Err(error) => {
            if let Some(mishap) = tls::mishap(&error) {
                tracing::info!("TLS: a client at {} {mishap}", address.ip());
            } else {
                tracing::debug!("connection from {address}: {error}");
            }
        }
    }
}

/// Speaks HTTP.
async fn talk<S>(
    stream: S,
    version: Version,
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
        let (service, peer, at_work) = (service.clone(), Arc::clone(&peer), counted.request());
        let handover = handover.clone();
        async move {
            let response = service.request(request, &peer).await;
            Ok::<_, Infallible>(response.map(|body| Answer { body, handover, _at_work: at_work }))
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
                let limit = if ending { FAREWELL } else { HEAD_TIMEOUT };
                let now = Instant::now();
                let doing = activity.doing();
                let due = match doing {
                    Doing::Work => now + limit,
                    Doing::Nothing(since) => since + limit,
                    Doing::Waiting(since) => since + ANSWER_PAUSE,
                };
                if due > now {
                    timer.as_mut().reset(due);
                    continue;
                }
                if ending || matches!(doing, Doing::Waiting(_)) {
                    return;
                }
            }
        }
        ending = true;
        connection.as_mut().graceful_shutdown();
        timer.as_mut().reset(Instant::now() + FAREWELL);
    }
}

fn builder(version: Version) -> auto::Builder<TokioExecutor> {
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
        Version::Http1 => builder.http1_only(),
        Version::Http2 => builder.http2_only(),
    }
}

/// An answer's body, whose request is at work until it has been taken.
struct Answer {
    body: WasiBody,
    handover: Option<Arc<Handover>>,
    _at_work: AtWork,
}

impl Body for Answer {
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

#[cfg(test)]
mod tests {
    use super::{Activity, Doing};
    use std::sync::Arc;
    use std::task::Poll;

    #[test]
    fn what_a_connection_does() {
        let activity = Arc::new(Activity::new());
        assert!(matches!(activity.doing(), Doing::Nothing(_)));
        let (first, second) = (activity.request(), activity.request());
        drop(first);
        assert_eq!(activity.doing(), Doing::Work);
        activity.wrote(&Poll::Pending);
        drop(second);
        // There is no request any more, but an answer on its way.
        assert!(matches!(activity.doing(), Doing::Waiting(_)));
        activity.wrote(&Poll::Ready(Ok(1)));
        assert!(matches!(activity.doing(), Doing::Nothing(_)));
    }
}
