//! An HTTP client for what `wrk` cannot do: HEAD, pushes, whole images.

use crate::content::{Blob, MANIFEST_TYPE};
use crate::process::Endpoint;
use anyhow::Context as _;
use bytes::Bytes;
use http::{HeaderName, Method, Request, Response, StatusCode, Uri, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How much of an error response is shown, in bytes.
const SHOWN: usize = 300;

/// Size of the chunks of a chunked push, in bytes.
const CHUNK: usize = 5 << 20;

/// How fast slow readers read, in bytes per second.
const SLOW_RATE: u64 = 1_000_000;

/// The content type of pushed blobs.
const BYTES: (HeaderName, &str) = (header::CONTENT_TYPE, "application/octet-stream");

/// How a blob is pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PushStyle {
    /// POST, then a PUT with the whole blob.
    Put,
    /// POST, one PATCH without a length, PUT.
    Patch,
    /// POST, a PATCH for each 5 MiB, PUT.
    Chunks,
    /// One PUT to the blob's own path, which only file servers accept.
    File,
}

/// A body of frames, with or without a known length.
#[derive(Debug, Default)]
pub(crate) struct Body {
    frames: VecDeque<Bytes>,
    chunked: bool,
}

impl Body {
    /// A body with `Content-Length`.
    pub(crate) fn sized(frames: Vec<Bytes>) -> Self {
        Self { frames: frames.into(), chunked: false }
    }

    /// A body with chunked transfer coding.
    pub(crate) fn chunked(frames: Vec<Bytes>) -> Self {
        Self { frames: frames.into(), chunked: true }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.frames.pop_front().map(|frame| Ok(Frame::data(frame))))
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        if self.chunked {
            return SizeHint::default();
        }
        SizeHint::with_exact(self.frames.iter().map(|frame| frame.len() as u64).sum())
    }
}

/// A connection, which is reopened when the server has closed it.
#[derive(Debug)]
pub(crate) struct Client {
    endpoint: Endpoint,
    sender: SendRequest<Body>,
}

impl Client {
    /// Connects to a server.
    pub(crate) async fn connect(endpoint: &Endpoint) -> anyhow::Result<Self> {
        Ok(Self { endpoint: endpoint.clone(), sender: open(endpoint).await? })
    }

    /// Sends a request and returns the response, with its body unread.
    pub(crate) async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, &str)],
        body: Body,
    ) -> anyhow::Result<Response<Incoming>> {
        if self.sender.ready().await.is_err() {
            self.sender = open(&self.endpoint).await?;
        }
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = path.parse()?;
        request.headers_mut().insert(header::HOST, self.endpoint.address.parse()?);
        for (name, value) in headers {
            request.headers_mut().insert(name, value.parse()?);
        }
        Ok(self.sender.send_request(request).await?)
    }

    /// Sends a request whose response must have this status. Returns the path in
    /// `Location`, if there is one.
    async fn expect(
        &mut self,
        status: StatusCode,
        method: Method,
        path: &str,
        headers: &[(HeaderName, &str)],
        body: Body,
    ) -> anyhow::Result<Option<String>> {
        let what = format!("{method} {path}");
        let response = self.send(method, path, headers, body).await.context(what.clone())?;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.with_context(|| what.clone())?.to_bytes();
        if parts.status != status {
            let text = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN)]).into_owned();
            anyhow::bail!("{what}: {} {text}", parts.status);
        }
        let Some(location) = parts.headers.get(header::LOCATION) else { return Ok(None) };
        let location: Uri = location.to_str()?.parse()?;
        Ok(location.path_and_query().map(ToString::to_string))
    }

    /// HEAD; the response must have this status.
    pub(crate) async fn head(&mut self, path: &str, status: StatusCode) -> anyhow::Result<()> {
        let accept = (header::ACCEPT, MANIFEST_TYPE);
        self.expect(status, Method::HEAD, path, &[accept], Body::default()).await.map(|_| ())
    }

    /// HEAD; whether the server has what is at the path.
    pub(crate) async fn has(&mut self, path: &str) -> anyhow::Result<bool> {
        let response = self.send(Method::HEAD, path, &[], Body::default()).await?;
        let status = response.status();
        response.into_body().collect().await?;
        match status {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            status => anyhow::bail!("HEAD {path}: {status}"),
        }
    }

    /// GET; returns the number of bytes received, which are discarded.
    pub(crate) async fn get(&mut self, path: &str) -> anyhow::Result<u64> {
        let accept = (header::ACCEPT, MANIFEST_TYPE);
        self.receive(StatusCode::OK, path, accept).await
    }

    /// GET of a range, both ends included; returns the number of bytes received.
    pub(crate) async fn range(&mut self, path: &str, start: u64, end: u64) -> anyhow::Result<u64> {
        let range = format!("bytes={start}-{end}");
        self.receive(StatusCode::PARTIAL_CONTENT, path, (header::RANGE, &range)).await
    }

    async fn receive(
        &mut self,
        status: StatusCode,
        path: &str,
        header: (HeaderName, &str),
    ) -> anyhow::Result<u64> {
        let response = self.send(Method::GET, path, &[header], Body::default()).await?;
        anyhow::ensure!(response.status() == status, "GET {path}: {}", response.status());
        let mut body = response.into_body();
        let mut count = 0;
        while let Some(frame) = body.frame().await {
            count += frame?.data_ref().map_or(0, Bytes::len) as u64;
        }
        Ok(count)
    }

    /// GET, at [`SLOW_RATE`].
    pub(crate) async fn get_slowly(&mut self, path: &str) -> anyhow::Result<()> {
        let mut body = self.send(Method::GET, path, &[], Body::default()).await?.into_body();
        while let Some(frame) = body.frame().await {
            let count = frame?.data_ref().map_or(0, Bytes::len);
            tokio::time::sleep(Duration::from_micros(count as u64 * 1_000_000 / SLOW_RATE)).await;
        }
        Ok(())
    }

    /// Pushes a blob.
    pub(crate) async fn push(
        &mut self,
        name: &str,
        blob: &Blob,
        style: PushStyle,
    ) -> anyhow::Result<()> {
        let (created, accepted) = (StatusCode::CREATED, StatusCode::ACCEPTED);
        let all = || blob.frames(0, blob.size);
        if style == PushStyle::File {
            let path = format!("/v2/{name}/blobs/{}", blob.digest);
            self.expect(created, Method::PUT, &path, &[BYTES], Body::sized(all())).await?;
            return Ok(());
        }
        let start = format!("/v2/{name}/blobs/uploads/");
        let opened = self.expect(accepted, Method::POST, &start, &[], Body::default()).await?;
        let mut session = opened.context("the response to POST has no Location")?;
        let mut last = Body::default();
        match style {
            PushStyle::Put | PushStyle::File => last = Body::sized(all()),
            PushStyle::Patch => {
                let body = Body::chunked(all());
                let next = self.expect(accepted, Method::PATCH, &session, &[BYTES], body).await?;
                session = next.unwrap_or(session);
            }
            PushStyle::Chunks => {
                for start in (0..blob.size).step_by(CHUNK) {
                    let end = (start + CHUNK).min(blob.size);
                    let range = format!("{start}-{}", end - 1);
                    let headers = [BYTES, (header::CONTENT_RANGE, range.as_str())];
                    let body = Body::sized(blob.frames(start, end));
                    let next =
                        self.expect(accepted, Method::PATCH, &session, &headers, body).await?;
                    session = next.unwrap_or(session);
                }
            }
        }
        let separator = if session.contains('?') { '&' } else { '?' };
        let path = format!("{session}{separator}digest={}", blob.digest);
        self.expect(created, Method::PUT, &path, &[BYTES], last).await.map(|_| ())
    }

    /// Pushes a manifest to its path.
    pub(crate) async fn put_manifest(
        &mut self,
        path: &str,
        manifest: &Bytes,
    ) -> anyhow::Result<()> {
        let kind = (header::CONTENT_TYPE, MANIFEST_TYPE);
        let body = Body::sized(vec![manifest.clone()]);
        self.expect(StatusCode::CREATED, Method::PUT, path, &[kind], body).await.map(|_| ())
    }
}

async fn open(endpoint: &Endpoint) -> anyhow::Result<SendRequest<Body>> {
    let stream = TcpStream::connect(&endpoint.address).await?;
    stream.set_nodelay(true)?;
    let Some(tls) = &endpoint.tls else { return begin(stream).await };
    let tls = TlsConnector::from(Arc::clone(tls));
    begin(tls.connect("localhost".try_into()?, stream).await?).await
}

async fn begin(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> anyhow::Result<SendRequest<Body>> {
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    // Its errors reach the pending request.
    tokio::spawn(connection);
    Ok(sender)
}
