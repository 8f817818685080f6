//! A receiver of notifications, which writes down requests and answers as it is told to.

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// What a receiver answers.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// A status, and a body of so many bytes.
    Status(u16, usize),
    /// A status with `Retry-After`.
    RetryAfter(u16, &'static str),
    /// The end of the connection.
    Close,
    /// Nothing at all.
    Silence,
}

/// How a receiver chooses its answer to a body.
pub(super) type Choice = Arc<dyn Fn(&[u8]) -> Option<Answer> + Send + Sync>;

/// A request.
#[derive(Clone, Debug)]
pub(super) struct Received {
    pub(super) line: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Whether it was answered with 2xx.
    pub(super) taken: bool,
}

#[derive(Clone)]
pub(super) struct Receiver {
    pub(super) port: u16,
    requests: Arc<Mutex<Vec<Received>>>,
    answers: Arc<Mutex<VecDeque<Answer>>>,
    choice: Option<Choice>,
    connections: Arc<AtomicUsize>,
    /// Whether it refuses connections and requests.
    pub(super) down: Arc<AtomicBool>,
    /// How many requests were answered.
    changed: Arc<watch::Sender<usize>>,
}

impl Receiver {
    /// A receiver that gives these answers, and then that all is well.
    pub(super) async fn start(answers: impl IntoIterator<Item = Answer>) -> Self {
        Self::start_with(None, None, answers).await
    }

    /// A receiver that chooses answers by bodies.
    pub(super) async fn choosing(choice: Choice) -> Self {
        Self::start_with(None, Some(choice), []).await
    }

    pub(super) async fn start_with(
        tls: Option<TlsAcceptor>,
        choice: Option<Choice>,
        answers: impl IntoIterator<Item = Answer>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = Self {
            port: listener.local_addr().unwrap().port(),
            requests: Arc::default(),
            answers: Arc::new(Mutex::new(answers.into_iter().collect())),
            choice,
            connections: Arc::default(),
            down: Arc::default(),
            changed: Arc::new(watch::Sender::new(0)),
        };
        let serving = receiver.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                serving.connections.fetch_add(1, Ordering::Relaxed);
                if serving.down.load(Ordering::Relaxed) {
                    continue;
                }
                let (receiver, tls) = (serving.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => receiver.serve(socket).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(socket).await {
                                receiver.serve(stream).await;
                            }
                        }
                    }
                });
            }
        });
        receiver
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/events", self.port)
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    pub(super) fn requests(&self) -> Vec<Received> {
        self.requests.lock().unwrap().clone()
    }

    /// The tags of the events that were taken, in the order of their arrival.
    pub(super) fn tags(&self) -> Vec<String> {
        let requests = self.requests.lock().unwrap();
        requests.iter().filter(|request| request.taken).flat_map(|it| tags(&it.body)).collect()
    }

    /// Waits for a state of the receiver.
    pub(super) async fn until(&self, mut is: impl FnMut(&Self) -> bool) {
        let mut changed = self.changed.subscribe();
        while !is(self) {
            let waited = tokio::time::timeout(super::LONG, changed.changed()).await;
            waited.expect("a request").unwrap();
        }
    }

    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let service = service_fn(move |request| self.clone().answer(request));
        let builder = auto::Builder::new(TokioExecutor::new());
        let _ = builder.serve_connection(TokioIo::new(stream), service).await;
    }

    async fn answer(self, request: Request<Incoming>) -> io::Result<Response<Full<Bytes>>> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        if self.down.load(Ordering::Relaxed) {
            return Err(io::Error::other("down"));
        }
        let chosen = self.choice.as_ref().and_then(|choice| choice(&body));
        let next = self.answers.lock().unwrap().pop_front();
        let answer = chosen.or(next).unwrap_or(Answer::Status(200, 0));
        let line = format!("{} {:?} {}", head.method, head.version, head.uri);
        let taken = matches!(answer, Answer::Status(200..400, _));
        let received = Received { line, headers: head.headers, body, taken };
        self.requests.lock().unwrap().push(received);
        self.changed.send_modify(|count| *count += 1);
        let response = |status: u16| Response::builder().status(status);
        match answer {
            Answer::Status(status, length) => {
                let body = Full::new(Bytes::from(vec![b'x'; length]));
                response(status).body(body).map_err(io::Error::other)
            }
            Answer::RetryAfter(status, value) => {
                let response = response(status).header("retry-after", value);
                response.body(Full::default()).map_err(io::Error::other)
            }
            Answer::Close => Err(io::Error::other("closed")),
            Answer::Silence => {
                std::future::pending::<()>().await;
                Err(io::Error::other("never"))
            }
        }
    }
}

/// The tags of the events in a body.
pub(super) fn tags(body: &[u8]) -> Vec<String> {
    let value: serde_json::Value = serde_json::from_slice(body).unwrap();
    let tag = |event: &serde_json::Value| event["target"]["tag"].as_str().unwrap().to_owned();
    match value["events"].as_array() {
        Some(events) => events.iter().map(tag).collect(),
        None => vec![tag(&value["data"])],
    }
}
