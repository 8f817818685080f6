//! A connection that is made when it is needed, and kept.

use crate::chain;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// A request with its whole body.
pub type Message = Request<Full<Bytes>>;

/// The version of HTTP that a server is spoken to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, without TLS by prior knowledge.
    Http2,
}

/// How a server is reached.
#[derive(Clone)]
pub struct Server {
    /// A name or an address, without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whether the connection is encrypted, and how.
    pub tls: Option<Arc<ClientConfig>>,
    /// What it is spoken to.
    pub version: Version,
}

/// A connection to a server.
pub struct Connection {
    server: Server,
    sender: Option<Sender>,
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// Why a request was not answered.
struct Failure {
    cause: String,
    /// The connection was an older one, which the server may have closed.
    stale: bool,
}

impl Connection {
    /// A connection that is made for the first request.
    pub const fn new(server: Server) -> Self {
        Self { server, sender: None }
    }

    /// Has the next request make another connection.
    pub fn close(&mut self) {
        self.sender = None;
    }

    /// Sends a request, and again if that may only have met the end of the kept connection.
    ///
    /// # Errors
    /// Why there is no response. There is no time limit: the caller has one.
    pub async fn send(
        &mut self,
        request: impl Fn() -> Message,
    ) -> Result<Response<Incoming>, String> {
        let mut sent = self.send_once(request()).await;
        // A server may close an idle connection at any time: that says nothing of it.
        if let Err(Failure { stale: true, .. }) = sent {
            sent = self.send_once(request()).await;
        }
        sent.map_err(|failure| failure.cause)
    }

    async fn send_once(&mut self, request: Message) -> Result<Response<Incoming>, Failure> {
        let used = self.sender.is_some();
        let mut sender = if let Some(sender) = self.sender.take() {
            sender
        } else {
            let failed = |error: io::Error| Failure { cause: chain(&error), stale: false };
            self.server.connect().await.map_err(failed)?
        };
        let failed = |error: hyper::Error| Failure { cause: chain(&error), stale: used };
        let response = match &mut sender {
            Sender::Http1(sender) => {
                sender.ready().await.map_err(failed)?;
                sender.send_request(request).await
            }
            Sender::Http2(sender) => {
                sender.ready().await.map_err(failed)?;
                sender.send_request(request).await
            }
        };
        // After a failure, the connection is not used again.
        let response = response.map_err(failed)?;
        self.sender = Some(sender);
        Ok(response)
    }
}

impl Server {
    async fn connect(&self) -> io::Result<Sender> {
        let socket = TcpStream::connect((self.host.as_str(), self.port)).await?;
        socket.set_nodelay(true)?;
        let Some(config) = &self.tls else { return self.handshake(socket).await };
        let name = ServerName::try_from(self.host.clone()).map_err(io::Error::other)?;
        let stream = TlsConnector::from(Arc::clone(config)).connect(name, socket).await?;
        if self.version == Version::Http2 && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err(io::Error::other("it does not offer HTTP/2, which gRPC needs"));
        }
        self.handshake(stream).await
    }

    async fn handshake(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> io::Result<Sender> {
        let io = TokioIo::new(stream);
        Ok(match self.version {
            Version::Http1 => {
                let (sender, connection) = http1::handshake(io).await.map_err(io::Error::other)?;
                // It ends with the sender. Requests have its errors.
                tokio::spawn(connection);
                Sender::Http1(sender)
            }
            Version::Http2 => {
                let made = http2::handshake(TokioExecutor::new(), io).await;
                let (sender, connection) = made.map_err(io::Error::other)?;
                tokio::spawn(connection);
                Sender::Http2(sender)
            }
        })
    }
}
