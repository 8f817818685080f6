//! Connections, which are kept for later requests.

use crate::doctor::connect;
use crate::doctor::http::{MAX_HEADERS, Stream, reason};
use crate::doctor::target::{Scheme, Target};
use crate::doctor::tls;
use crate::registry::{Incoming, Outgoing, Unanswered};
use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::RootCertStore;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tower_service::Service;

/// The most connections without a request that are kept.
///
/// Limit: idle connections of a client to a registry; test: none, more are closed.
const IDLE: usize = 16;

/// The largest head of a response, and the most bytes of a body that are received at a time.
///
/// Limit: bytes that a client receives at a time; test: none, it is the size of a buffer.
const BUFFER: usize = 256 * 1024;

/// How long a connection without a request is kept: less than registries keep one.
///
/// Limit: time for which a client keeps an idle connection; test: none, it would take as long.
const IDLE_TIME: Duration = Duration::from_secs(15);

/// Connections to registries, and requests over them.
pub(super) struct Pool {
    client: legacy::Client<Connector, Outgoing>,
    connector: Connector,
    /// Whether there was any response. A registry that has not answered yet may not exist: it is
    /// not asked again.
    has_answered: AtomicBool,
}

impl Pool {
    pub(super) fn new(roots: RootCertStore, limit: Duration) -> Self {
        let connector = Connector { roots: Arc::new(roots), limit };
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_TIME)
            .pool_max_idle_per_host(IDLE)
            .pool_timer(TokioTimer::new())
            .http1_max_buf_size(BUFFER)
            .http1_max_headers(MAX_HEADERS)
            .build(connector.clone());
        Self { client, connector, has_answered: AtomicBool::new(false) }
    }

    /// Whether a connection can be made.
    pub(super) async fn try_to_connect(
        &self,
        target: &Target,
        scheme: Scheme,
    ) -> Result<(), String> {
        self.connector.connect(target, scheme).await.map(drop)
    }

    /// Sends a request to its URI, and gives the response once its head is there.
    ///
    /// # Errors
    /// When there is none, or nothing was transferred for the limit's time.
    pub(super) async fn send(
        &self,
        request: Request<Outgoing>,
    ) -> Result<Response<Incoming>, Unanswered> {
        let limit = self.connector.limit;
        let progress = Progress::default();
        let sent = progress.clone();
        let request = request.map(|body| {
            let noted = body.map_frame(move |frame| {
                sent.made();
                frame
            });
            noted.boxed_unsync()
        });
        let mut response = std::pin::pin!(self.client.request(request));
        let response = loop {
            let due = progress.last() + limit;
            tokio::select! {
                response = &mut response => break response,
                () = sleep_until(due) => {
                    if progress.last() + limit <= Instant::now() {
                        return Err(self.unreached(no_answer(limit)));
                    }
                }
            }
        };
        let response = response.map_err(|error| match std::error::Error::source(&error) {
            // That it is the connection is said by its own words.
            Some(cause) if error.is_connect() => self.unreached(cause.to_string()),
            _ => Unanswered { problem: reason(&error), passes: true },
        })?;
        self.has_answered.store(true, Relaxed);
        Ok(response.map(|body| Timed { body, limit, sleep: None }.boxed_unsync()))
    }

    fn unreached(&self, problem: String) -> Unanswered {
        Unanswered { problem, passes: self.has_answered.load(Relaxed) }
    }
}

fn no_answer(limit: Duration) -> String {
    format!("no answer within {} s", limit.as_secs())
}

/// When something was last transferred.
#[derive(Clone)]
struct Progress(Arc<Mutex<Instant>>);

impl Default for Progress {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }
}

impl Progress {
    fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn made(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

/// The body of a response, each part of which has to come within a time.
struct Timed {
    body: hyper::body::Incoming,
    limit: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Body for Timed {
    type Data = Bytes;
    type Error = String;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, String>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            self.sleep = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(|error| reason(&error))));
        }
        let limit = self.limit;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        ready!(sleep.as_mut().poll(context));
        Poll::Ready(Some(Err(no_answer(limit))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Makes connections.
#[derive(Clone)]
pub(super) struct Connector {
    roots: Arc<RootCertStore>,
    limit: Duration,
}

impl Connector {
    async fn connect(&self, target: &Target, scheme: Scheme) -> Result<Box<dyn Stream>, String> {
        let (host, port) = (target.host.as_str(), target.port.unwrap_or(scheme.port()));
        let found = timeout(self.limit, tokio::net::lookup_host((host, port))).await;
        let addresses: Vec<_> = match found {
            Ok(Ok(addresses)) => addresses.collect(),
            Ok(Err(error)) => return Err(format!("cannot resolve {host}: {error}")),
            Err(_) => return Err(format!("no name server answered for {host}")),
        };
        let mut problem = format!("{host} has no address");
        for address in addresses {
            match connect::open(address, self.limit).await {
                Ok(stream) => {
                    // A body and what follows it are not held back for each other.
                    stream.set_nodelay(true).map_err(|error| error.to_string())?;
                    if scheme == Scheme::Http {
                        return Ok(Box::new(stream));
                    }
                    let roots = RootCertStore::clone(&self.roots);
                    return tls::verified_handshake(stream, host, roots, self.limit).await;
                }
                Err(error) => problem = format!("cannot connect to {address}: {error}"),
            }
        }
        Err(problem)
    }
}

impl Service<Uri> for Connector {
    type Response = Tunnel;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Tunnel>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move {
            let target: Target = uri.to_string().parse().map_err(io::Error::other)?;
            let scheme = target.scheme.unwrap_or(Scheme::Https);
            let stream = connector.connect(&target, scheme).await.map_err(io::Error::other)?;
            Ok(Tunnel(TokioIo::new(stream)))
        })
    }
}

/// A connection.
pub(super) struct Tunnel(TokioIo<Box<dyn Stream>>);

impl Connection for Tunnel {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Tunnel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl Write for Tunnel {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::Pool;
    use crate::registry::Content;
    use bytes::Bytes;
    use http::Request;
    use rustls::RootCertStore;
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::time::Duration;

    /// Whoever mistypes a host does not wait; a registry that is restarted is waited for.
    #[tokio::test]
    async fn a_registry_that_never_answered_is_not_asked_again() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let uri = format!("http://{}/v2/", listener.local_addr().unwrap());
        let pool = Pool::new(RootCertStore::empty(), Duration::from_mins(1));
        let send = async || {
            let body = Content::from(Bytes::new()).body();
            pool.send(Request::get(&uri).body(body).unwrap()).await.map(drop)
        };
        let nowhere = Pool::new(RootCertStore::empty(), Duration::from_mins(1));
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1024]).unwrap();
            let answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(answer).unwrap();
        });
        send().await.unwrap();
        server.join().unwrap();
        assert!(send().await.unwrap_err().passes, "it may be restarted");
        let body = Content::from(Bytes::new()).body();
        let refused = nowhere.send(Request::get(&uri).body(body).unwrap()).await;
        assert!(!refused.map(drop).unwrap_err().passes);
    }
}
