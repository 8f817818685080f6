//! A receiver of OTLP over HTTP and gRPC, which writes down requests and answers as it is
//! told to.

use super::decoded::{Span, spans};
use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::Read as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What a receiver answers.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// A status, a header, and a body.
    Http(u16, Option<(&'static str, String)>, Vec<u8>),
    /// A message, or none, and the trailers; without a message, they are headers.
    Grpc(Option<Vec<u8>>, Vec<(&'static str, String)>),
    /// Nothing, for this long.
    Silence(Duration),
    /// The end of the connection.
    Close,
}

impl Answer {
    pub(super) fn status(status: u16) -> Self {
        Self::Http(status, None, Vec::new())
    }

    /// A failure of gRPC, without a message.
    pub(super) fn grpc(code: u32) -> Self {
        Self::Grpc(None, vec![("grpc-status", code.to_string())])
    }
}

/// A request.
#[derive(Clone, Debug)]
pub(super) struct Received {
    /// Method, version, URI.
    pub(super) line: String,
    pub(super) headers: HeaderMap,
    pub(super) spans: Vec<Span>,
}

#[derive(Clone, Default)]
pub(super) struct Receiver {
    pub(super) port: u16,
    requests: Arc<Mutex<Vec<Received>>>,
    answers: Arc<Mutex<VecDeque<Answer>>>,
    /// Connections that were accepted.
    connections: Arc<Mutex<u32>>,
}

impl Receiver {
    /// A receiver that gives these answers, and then that all is well.
    pub(super) async fn start(answers: impl IntoIterator<Item = Answer>) -> Self {
        Self::start_with(None, answers).await
    }

    pub(super) async fn start_with(
        tls: Option<TlsAcceptor>,
        answers: impl IntoIterator<Item = Answer>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let answers = Arc::new(Mutex::new(answers.into_iter().collect()));
        let receiver = Self { port, answers, ..Self::default() };
        let serving = receiver.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                *serving.connections.lock().unwrap() += 1;
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

    /// Its URL.
    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(super) fn requests(&self) -> Vec<Received> {
        self.requests.lock().unwrap().clone()
    }

    /// The spans of all requests.
    pub(super) fn spans(&self) -> Vec<Span> {
        self.requests().into_iter().flat_map(|request| request.spans).collect()
    }

    pub(super) fn connections(&self) -> u32 {
        *self.connections.lock().unwrap()
    }

    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let service = service_fn(move |request| self.clone().answer(request));
        let builder = auto::Builder::new(TokioExecutor::new());
        let _ = builder.serve_connection(TokioIo::new(stream), service).await;
    }

    async fn answer(
        self,
        request: Request<Incoming>,
    ) -> Result<Response<BoxBody<Bytes, Infallible>>, String> {
        let (head, body) = request.into_parts();
        let grpc = head.headers.get("content-type").is_some_and(|kind| kind == "application/grpc");
        let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
        let message =
            if grpc { unframed(&head.headers, &body) } else { plain(&head.headers, &body) };
        let line = format!("{} {:?} {}", head.method, head.version, head.uri);
        let received = Received { line, headers: head.headers, spans: spans(&message) };
        self.requests.lock().unwrap().push(received);
        let answer = self.answers.lock().unwrap().pop_front();
        match answer.unwrap_or_else(|| well(grpc)) {
            Answer::Http(status, header, body) => {
                let mut response = Response::builder().status(status);
                if let Some((name, value)) = header {
                    response = response.header(name, value);
                }
                Ok(response.body(Full::from(body).boxed()).unwrap())
            }
            Answer::Grpc(message, trailers) => Ok(called(message.as_deref(), trailers)),
            Answer::Silence(time) => {
                tokio::time::sleep(time).await;
                Err("no answer".to_owned())
            }
            Answer::Close => Err("the end".to_owned()),
        }
    }
}

fn well(grpc: bool) -> Answer {
    if grpc {
        Answer::Grpc(Some(Vec::new()), vec![("grpc-status", "0".to_owned())])
    } else {
        Answer::status(200)
    }
}

fn called(
    message: Option<&[u8]>,
    trailers: Vec<(&'static str, String)>,
) -> Response<BoxBody<Bytes, Infallible>> {
    let mut map = HeaderMap::new();
    for (name, value) in trailers {
        map.insert(name, value.parse().unwrap());
    }
    let mut response = Response::new(match message {
        None => Full::default().boxed(),
        Some(message) => {
            let mut framed = BytesMut::new();
            framed.put_u8(0);
            framed.put_u32(u32::try_from(message.len()).unwrap());
            framed.put_slice(message);
            let trailers = map.clone();
            Full::from(framed.freeze()).with_trailers(async { Some(Ok(trailers)) }).boxed()
        }
    });
    if message.is_none() {
        *response.headers_mut() = map;
    }
    response.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    response
}

fn plain(headers: &HeaderMap, body: &Bytes) -> Vec<u8> {
    assert_eq!(headers["content-type"], "application/x-protobuf");
    match headers.get("content-encoding") {
        None => body.to_vec(),
        Some(encoding) => {
            assert_eq!(encoding, "gzip");
            gunzipped(body)
        }
    }
}

fn unframed(headers: &HeaderMap, body: &Bytes) -> Vec<u8> {
    let (prefix, message) = body.split_at(5);
    let length = u32::from_be_bytes(prefix[1..].try_into().unwrap());
    assert_eq!(usize::try_from(length).unwrap(), message.len());
    if headers.contains_key("grpc-encoding") {
        assert_eq!((prefix[0], &headers["grpc-encoding"]), (1, &"gzip".parse().unwrap()));
        return gunzipped(message);
    }
    assert_eq!(prefix[0], 0);
    message.to_vec()
}

fn gunzipped(bytes: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    flate2::read::GzDecoder::new(bytes).read_to_end(&mut message).unwrap();
    message
}
