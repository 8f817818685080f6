//! A client for what `wrk` cannot do: HEAD, pushes, whole images.

use crate::content::{Blob, MANIFEST_TYPE};
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
use std::task::{Context, Poll};
use tokio::net::TcpStream;

/// How much of a refusal is shown.
const SHOWN: usize = 300;

/// What a push sends in one chunk.
const CHUNK: usize = 5 << 20;

/// The type of blobs on their way.
const BYTES: (HeaderName, &str) = (header::CONTENT_TYPE, "application/octet-stream");

/// How a blob is pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// POST, then everything in the PUT that ends the session.
    Put,
    /// POST, one PATCH without a length, PUT.
    Patch,
    /// POST, a PATCH for each 5 MiB, PUT.
    Chunks,
    /// One PUT to the blob's own path, which only file servers take.
    File,
}

/// A body of frames, with or without a length that is told.
#[derive(Debug, Default)]
pub(crate) struct Body {
    frames: VecDeque<Bytes>,
    unknown: bool,
}

impl Body {
    /// A body whose length is told.
    pub(crate) fn known(frames: Vec<Bytes>) -> Self {
        Self { frames: frames.into(), unknown: false }
    }

    /// A body that is sent in HTTP's chunks.
    pub(crate) fn unknown(frames: Vec<Bytes>) -> Self {
        Self { frames: frames.into(), unknown: true }
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
        if self.unknown {
            return SizeHint::default();
        }
        SizeHint::with_exact(self.frames.iter().map(|frame| frame.len() as u64).sum())
    }
}

/// A connection, which is opened again when the server has closed it.
#[derive(Debug)]
pub(crate) struct Client {
    address: String,
    sender: SendRequest<Body>,
}

impl Client {
    /// Connects to `host:port`.
    pub(crate) async fn connect(address: &str) -> anyhow::Result<Self> {
        Ok(Self { address: address.to_owned(), sender: open(address).await? })
    }

    /// Sends a request; the answer's body is still to come.
    pub(crate) async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, &str)],
        body: Body,
    ) -> anyhow::Result<Response<Incoming>> {
        if self.sender.ready().await.is_err() {
            self.sender = open(&self.address).await?;
        }
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = path.parse()?;
        request.headers_mut().insert(header::HOST, self.address.parse()?);
        for (name, value) in headers {
            request.headers_mut().insert(name, value.parse()?);
        }
        Ok(self.sender.send_request(request).await?)
    }

    /// Sends a request whose answer must have this status; where it leads to,
    /// if it says so.
    async fn expect(
        &mut self,
        status: StatusCode,
        method: Method,
        path: &str,
        headers: &[(HeaderName, &str)],
        body: Body,
    ) -> anyhow::Result<Option<String>> {
        let what = format!("{method} {path}");
        let answer = self.send(method, path, headers, body).await.context(what.clone())?;
        let (parts, body) = answer.into_parts();
        let bytes = body.collect().await.with_context(|| what.clone())?.to_bytes();
        if parts.status != status {
            let text = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN)]).into_owned();
            anyhow::bail!("{what}: {} {text}", parts.status);
        }
        let Some(location) = parts.headers.get(header::LOCATION) else { return Ok(None) };
        let location: Uri = location.to_str()?.parse()?;
        Ok(location.path_and_query().map(ToString::to_string))
    }

    /// HEAD, which must be answered with this status.
    pub(crate) async fn head(&mut self, path: &str, status: StatusCode) -> anyhow::Result<()> {
        let accept = (header::ACCEPT, MANIFEST_TYPE);
        self.expect(status, Method::HEAD, path, &[accept], Body::default()).await.map(|_| ())
    }

    /// GET; how many bytes came, which are thrown away.
    pub(crate) async fn get(&mut self, path: &str) -> anyhow::Result<u64> {
        let accept = (header::ACCEPT, MANIFEST_TYPE);
        let answer = self.send(Method::GET, path, &[accept], Body::default()).await?;
        anyhow::ensure!(answer.status() == StatusCode::OK, "GET {path}: {}", answer.status());
        let mut body = answer.into_body();
        let mut count = 0;
        while let Some(frame) = body.frame().await {
            count += frame?.data_ref().map_or(0, Bytes::len) as u64;
        }
        Ok(count)
    }

    /// Pushes a blob.
    pub(crate) async fn push(
        &mut self,
        name: &str,
        blob: &Blob,
        style: Style,
    ) -> anyhow::Result<()> {
        let (created, accepted) = (StatusCode::CREATED, StatusCode::ACCEPTED);
        let all = || blob.frames(0, blob.size);
        if style == Style::File {
            let path = format!("/v2/{name}/blobs/{}", blob.digest);
            self.expect(created, Method::PUT, &path, &[BYTES], Body::known(all())).await?;
            return Ok(());
        }
        let start = format!("/v2/{name}/blobs/uploads/");
        let opened = self.expect(accepted, Method::POST, &start, &[], Body::default()).await?;
        let mut session = opened.context("an upload without Location")?;
        let mut last = Body::default();
        match style {
            Style::Put | Style::File => last = Body::known(all()),
            Style::Patch => {
                let body = Body::unknown(all());
                let next = self.expect(accepted, Method::PATCH, &session, &[BYTES], body).await?;
                session = next.unwrap_or(session);
            }
            Style::Chunks => {
                for start in (0..blob.size).step_by(CHUNK) {
                    let end = (start + CHUNK).min(blob.size);
                    let range = format!("{start}-{}", end - 1);
                    let headers = [BYTES, (header::CONTENT_RANGE, range.as_str())];
                    let body = Body::known(blob.frames(start, end));
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
        let body = Body::known(vec![manifest.clone()]);
        self.expect(StatusCode::CREATED, Method::PUT, path, &[kind], body).await.map(|_| ())
    }
}

async fn open(address: &str) -> anyhow::Result<SendRequest<Body>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    // Its failures are told to whoever waits for an answer.
    tokio::spawn(connection);
    Ok(sender)
}
