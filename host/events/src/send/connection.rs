//! A connection to an endpoint, which is made when it is needed, and kept.

use crate::settings::Address;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Why a request was not answered.
pub(super) struct Failure {
    pub(super) cause: String,
    /// The connection was an older one, which the endpoint may have closed.
    pub(super) stale: bool,
}

pub(super) struct Connection {
    sender: Option<http1::SendRequest<Full<Bytes>>>,
}

impl Connection {
    pub(super) const fn new() -> Self {
        Self { sender: None }
    }

    pub(super) fn close(&mut self) {
        self.sender = None;
    }

    pub(super) async fn send(
        &mut self,
        address: &Address,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Failure> {
        let used = self.sender.is_some();
        let mut sender = match self.sender.take() {
            Some(sender) => sender,
            None => connect(address)
                .await
                .map_err(|error| Failure { cause: chain(&error), stale: false })?,
        };
        let failed = |error: hyper::Error| Failure { cause: chain(&error), stale: used };
        sender.ready().await.map_err(failed)?;
        let response = sender.send_request(request).await.map_err(failed)?;
        self.sender = Some(sender);
        Ok(response)
    }
}

async fn connect(address: &Address) -> io::Result<http1::SendRequest<Full<Bytes>>> {
    let socket = TcpStream::connect((address.host.as_str(), address.port)).await?;
    socket.set_nodelay(true)?;
    match &address.tls {
        None => handshake(socket).await,
        Some(config) => {
            let name = ServerName::try_from(address.host.clone()).map_err(io::Error::other)?;
            let stream = TlsConnector::from(Arc::clone(config)).connect(name, socket).await?;
            handshake(stream).await
        }
    }
}

async fn handshake(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> io::Result<http1::SendRequest<Full<Bytes>>> {
    let made = http1::handshake(TokioIo::new(stream)).await;
    let (sender, connection) = made.map_err(io::Error::other)?;
    // It ends with the sender. Requests have its errors.
    tokio::spawn(connection);
    Ok(sender)
}

/// An error with its causes.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        // Some repeat what their source says.
        if !text.ends_with(&cause) {
            text.extend([": ", &cause]);
        }
        source = error.source();
    }
    text
}
