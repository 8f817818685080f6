//! Shared code of the host's tests: time limits, and requests.

use crate::content::{Hash, Length, Upload};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use roadstead_tests::{Answer, Registry, send};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// How long a test may take. Tests end as soon as the expected event happens;
/// this only ends one that waits in vain.
pub const TEST_LIMIT: Duration = Duration::from_mins(2);

/// How long the server may take to notice something.
const NOTICE_LIMIT: Duration = Duration::from_secs(30);

/// How often to check whether it has.
const POLL_PAUSE: Duration = Duration::from_millis(10);

/// Runs a test within a time limit.
pub async fn within<T>(limit: Duration, test: impl Future<Output = T>) -> T {
    tokio::time::timeout(limit, test).await.unwrap_or_else(|_| panic!("not done in {limit:?}"))
}

/// Polls until there is a value.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + NOTICE_LIMIT;
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(Instant::now() < deadline, "{what}: not within {NOTICE_LIMIT:?}");
        tokio::time::sleep(POLL_PAUSE).await;
    }
}

/// Waits for a text in the log, whose lines may follow the responses.
pub async fn logged(host: &Registry, text: &str) {
    let deadline = Instant::now() + NOTICE_LIMIT;
    while !host.log().contains(text) {
        assert!(Instant::now() < deadline, "{text:?} is not in the log: {}", host.log());
        tokio::time::sleep(POLL_PAUSE).await;
    }
}

/// A request from a line such as `PUT /v2/…`, with a body.
pub fn request(line: &str, body: impl Into<Bytes>) -> Request<Bytes> {
    build(line).body(body.into()).unwrap()
}

/// The start of a request.
pub fn build(line: &str) -> http::request::Builder {
    let (method, path) = line.split_once(' ').unwrap();
    Request::builder().method(Method::from_bytes(method.as_bytes()).unwrap()).uri(path)
}

/// Sends a request on a new connection; the status must be `status`.
pub async fn ask(address: &str, request: Request<Bytes>, status: u16) -> Answer {
    let line = format!("{} {}", request.method(), request.uri());
    let answer = send(address, request).await.unwrap_or_else(|error| panic!("{line}: {error:#}"));
    assert_eq!(answer.status(), status, "{line}: {:?}", answer.body());
    answer
}

/// Starts an upload and returns its location.
pub async fn begin(address: &str, repository: &str) -> String {
    let answer = ask(address, request(&format!("POST /v2/{repository}/blobs/uploads/"), ""), 202);
    location(&answer.await)
}

pub fn location<B>(answer: &Response<B>) -> String {
    answer.headers()[header::LOCATION].to_str().unwrap().to_owned()
}

/// The location of an upload with the digest, to complete it.
pub fn closing(location: &str, digest: &str) -> String {
    let separator = if location.contains('?') { '&' } else { '?' };
    format!("{location}{separator}digest={digest}")
}

/// The number of bytes that an upload has. The server answers `0-0` for none and
/// for one, so no test leaves an upload with one.
pub async fn received(address: &str, location: &str) -> u64 {
    let answer = ask(address, request(&format!("GET {location}"), ""), 204).await;
    let range = answer.headers()[header::RANGE].to_str().unwrap().to_owned();
    let last: u64 = range.strip_prefix("0-").unwrap().parse().unwrap();
    if last == 0 { 0 } else { last + 1 }
}

/// The code of an OCI error.
pub fn code(body: &[u8]) -> String {
    let error: serde_json::Value = serde_json::from_slice(body)
        .unwrap_or_else(|problem| panic!("{problem}: {:?}", String::from_utf8_lossy(body)));
    error["errors"][0]["code"].as_str().unwrap_or_default().to_owned()
}

/// A connection for requests with large bodies, which are streamed.
pub struct Client {
    sender: SendRequest<Upload>,
    address: String,
}

impl Client {
    pub async fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self { sender, address: address.to_owned() }
    }

    /// Sends a request; the status must be `status`.
    pub async fn ask(
        &mut self,
        request: http::request::Builder,
        body: Upload,
        status: u16,
    ) -> Response<Incoming> {
        let request = request.header(header::HOST, &self.address).body(body).unwrap();
        let line = format!("{} {}", request.method(), request.uri());
        self.sender.ready().await.unwrap();
        let response = self.sender.send_request(request).await.unwrap();
        if response.status() != status {
            let (parts, body) = response.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            panic!("{line}: {} and not {status}: {body:?}", parts.status);
        }
        response
    }

    /// Pulls a blob without storing it; returns its size and digest.
    pub async fn pull(&mut self, repository: &str, digest: &str) -> (u64, String) {
        let request = build(&format!("GET /v2/{repository}/blobs/{digest}"));
        let mut body = self.ask(request, Upload::empty(), 200).await.into_body();
        let (mut size, mut hash) = (0, Hash::default());
        while let Some(frame) = body.frame().await {
            let bytes = frame.unwrap().into_data().unwrap();
            size += bytes.len() as u64;
            hash.add(&bytes);
        }
        (size, hash.digest())
    }
}

/// Pushes a small blob.
pub async fn push_blob(address: &str, repository: &str, blob: &Bytes) -> String {
    let digest = roadstead_tests::digest(blob);
    let line = format!("POST /v2/{repository}/blobs/uploads/?digest={digest}");
    ask(address, request(&line, blob.clone()), 201).await;
    digest
}

/// Whether the repository holds a blob with exactly these bytes.
pub async fn assert_blob(address: &str, repository: &str, digest: &str) {
    let line = format!("GET /v2/{repository}/blobs/{digest}");
    let answer = ask(address, request(&line, ""), 200).await;
    assert_eq!(roadstead_tests::digest(answer.body()), digest, "{line}");
}

/// Asserts that the server still works.
pub async fn assert_well(address: &str) {
    let answer = ask(address, request("GET /v2/", ""), 200).await;
    assert_eq!(answer.status(), StatusCode::OK);
}

/// `Content-Range` of a chunk.
pub fn content_range(start: u64, end: u64) -> String {
    format!("{start}-{}", end - 1)
}

/// Lengths of bodies.
pub const LENGTHS: [Length; 2] = [Length::Announced, Length::Unknown];
