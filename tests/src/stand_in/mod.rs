//! Stand-ins for services, written from their documentation: HTTP servers in this
//! process, and the objects of a store in memory.

mod objects;

pub(crate) use objects::State;

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE,
};
use http::{HeaderMap, HeaderName, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// Largest body of a request, in bytes: larger than a part.
const BODY_LIMIT: usize = 64 * 1024 * 1024;

/// The prefixes of metadata's headers: of Google's stores, Amazon's and Azure's.
const METADATA: [&str; 3] = ["x-goog-meta-", "x-amz-meta-", "x-ms-meta-"];

/// A server, stopped when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: String,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Server {
    /// Frees its address.
    fn drop(&mut self) {
        drop(self.end.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// What answers a server's requests.
type Handler = dyn Fn(&Asked) -> Answer + Send + Sync;

impl Server {
    /// Starts one at an address.
    pub(crate) fn start(
        address: &str,
        handler: impl Fn(&Asked) -> Answer + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?.to_string();
        let handler: Arc<Handler> = Arc::new(handler);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (end, ended) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    served = serve(listener, handler) => {
                        served.unwrap_or_else(|error| eprintln!("{error}"));
                    }
                    _ = ended => {}
                }
            });
        });
        Ok(Self { address, end: Some(end), thread: Some(thread) })
    }
}

async fn serve(listener: std::net::TcpListener, handler: Arc<Handler>) -> anyhow::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        // A response's body would wait for the client to acknowledge its head.
        stream.set_nodelay(true)?;
        let handler = Arc::clone(&handler);
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let handler = Arc::clone(&handler);
            async move {
                let (head, body) = request.into_parts();
                let answer = match Limited::new(body, BODY_LIMIT).collect().await {
                    Ok(body) => handler(&Asked::new(head, body.to_bytes())),
                    Err(_) => Err(Refusal(StatusCode::BAD_REQUEST, "IncompleteBody")),
                };
                Ok::<_, Infallible>(answer.unwrap_or_else(Refusal::answer))
            }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service);
        tokio::spawn(connection);
    }
}

/// An error: its status and its code.
pub(crate) struct Refusal(pub(crate) StatusCode, pub(crate) &'static str);

pub(crate) const NO_SUCH_KEY: Refusal = Refusal(StatusCode::NOT_FOUND, "NoSuchKey");
pub(crate) const NO_SUCH_UPLOAD: Refusal = Refusal(StatusCode::NOT_FOUND, "NoSuchUpload");
pub(crate) const DENIED: Refusal = Refusal(StatusCode::FORBIDDEN, "AccessDenied");
pub(crate) const INVALID: Refusal = Refusal(StatusCode::BAD_REQUEST, "InvalidArgument");

impl Refusal {
    pub(crate) fn answer(self) -> Response<Full<Bytes>> {
        let mut answer = xml(&format!("<Error><Code>{}</Code></Error>", self.1));
        *answer.status_mut() = self.0;
        answer
    }
}

pub(crate) type Answer = Result<Response<Full<Bytes>>, Refusal>;

/// A parsed request.
#[derive(Clone)]
pub(crate) struct Asked {
    pub(crate) head: http::request::Parts,
    pub(crate) body: Bytes,
    /// The bucket and the key in it.
    pub(crate) place: String,
    pub(crate) query: BTreeMap<String, String>,
}

impl Asked {
    pub(crate) fn new(head: http::request::Parts, body: Bytes) -> Self {
        let path = head.uri.path().trim_start_matches('/');
        let place = percent_decode_str(path).decode_utf8_lossy().into_owned();
        let query = head.uri.query().unwrap_or_default();
        let query = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        Self { head, body, place, query }
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.query.contains_key(name)
    }

    pub(crate) fn get(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }

    pub(crate) fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        self.head.headers.get(name)?.to_str().ok()
    }

    pub(crate) fn metadata(&self) -> HeaderMap {
        let kept =
            [CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE];
        let ours = |name: &HeaderName| {
            METADATA.iter().any(|prefix| name.as_str().starts_with(prefix)) || kept.contains(name)
        };
        let headers = self.head.headers.iter().filter(|(name, _)| ours(name));
        headers.map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

/// A response without a body.
pub(crate) fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = status;
    answer
}

pub(crate) fn xml(text: &str) -> Response<Full<Bytes>> {
    plain(&format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>{text}"))
}

/// A response with this text.
pub(crate) fn plain(text: &str) -> Response<Full<Bytes>> {
    Response::new(Full::new(text.to_owned().into()))
}
