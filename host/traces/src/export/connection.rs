//! A connection to a collector.

use super::{Message, Protocol, Sent, chain};
use bytes::Bytes;
use http::HeaderValue;
use http_body_util::Full;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Whether a connection is encrypted, and how.
#[derive(Clone)]
pub(crate) enum Scheme {
    Http,
    Https(Arc<ClientConfig>),
}

/// A collector's address.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) scheme: Scheme,
    /// A name or an address, without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// `host:port`, as requests name it.
    pub(crate) authority: String,
    /// Of OTLP/HTTP's requests.
    pub(crate) path: String,
}

impl Endpoint {
    pub(crate) fn scheme(&self) -> &'static str {
        match self.scheme {
            Scheme::Http => "http",
            Scheme::Https(_) => "https",
        }
    }

    /// For the log.
    pub(crate) fn origin(&self) -> String {
        format!("{}://{}", self.scheme(), self.authority)
    }
}

/// Why a request was not answered.
pub(super) struct Failure {
    pub(super) cause: String,
    /// The connection was an older one, which the collector has closed.
    pub(super) stale: bool,
}

/// A connection that is made when it is needed, and kept.
pub(super) struct Connection {
    endpoint: Endpoint,
    protocol: Protocol,
    sender: Option<Sender>,
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Connection {
    pub(super) fn new(endpoint: Endpoint, protocol: Protocol) -> Self {
        Self { endpoint, protocol, sender: None }
    }

    pub(super) fn close(&mut self) {
        self.sender = None;
    }

    pub(super) async fn send(&mut self, request: Message) -> Sent {
        let used = self.sender.is_some();
        let mut sender = if let Some(sender) = self.sender.take() {
            sender
        } else {
            let failed = |error: io::Error| Failure { cause: chain(&error), stale: false };
            self.connect().await.map_err(failed)?
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

    async fn connect(&self) -> io::Result<Sender> {
        let Endpoint { scheme, host, port, .. } = &self.endpoint;
        let socket = TcpStream::connect((host.as_str(), *port)).await?;
        socket.set_nodelay(true)?;
        match scheme {
            Scheme::Http => self.handshake(socket).await,
            Scheme::Https(config) => {
                let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
                let connector = TlsConnector::from(Arc::clone(config));
                let stream = connector.connect(name, socket).await?;
                if self.protocol == Protocol::Grpc
                    && stream.get_ref().1.alpn_protocol() != Some(b"h2")
                {
                    return Err(io::Error::other("it does not offer HTTP/2, which gRPC needs"));
                }
                self.handshake(stream).await
            }
        }
    }

    async fn handshake(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> io::Result<Sender> {
        let io = TokioIo::new(stream);
        Ok(match self.protocol {
            Protocol::Http => {
                let (sender, connection) = http1::handshake(io).await.map_err(io::Error::other)?;
                // It ends with the sender. Requests have its errors.
                tokio::spawn(connection);
                Sender::Http1(sender)
            }
            Protocol::Grpc => {
                let made = http2::handshake(TokioExecutor::new(), io).await;
                let (sender, connection) = made.map_err(io::Error::other)?;
                tokio::spawn(connection);
                Sender::Http2(sender)
            }
        })
    }
}

/// What requests say that they come from.
pub(super) fn user_agent() -> HeaderValue {
    HeaderValue::from_static(concat!("OTel-OTLP-Exporter-Roadstead/", env!("CARGO_PKG_VERSION")))
}
