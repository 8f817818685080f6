//! Finds out which protocol a client speaks: HTTP/1.1, HTTP/2, TLS, or the wrong
//! one for the port.

use crate::net::socket::Socket;
use crate::net::wrong_protocol;
use crate::tls::{self, TlsAcceptor, certificate};
use std::io;
use std::net::IpAddr;
use std::time::Duration;
use tokio_rustls::server::TlsStream;

/// How long a client may take to send a request's head, and a connection may be
/// without a request. For the first request, the TLS handshake is included.
///
/// Limit: time for a request's head, and of a connection without a request; test:
/// `silent_connections`, `silence_after_a_handshake`.
pub(crate) const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a client may pause within a TLS handshake.
///
/// Limit: pause within a TLS handshake; test: `stalled_handshakes`.
const HANDSHAKE_PAUSE: Duration = Duration::from_secs(10);

/// The first byte of a TLS connection: the type of a handshake record.
const TLS_HANDSHAKE: u8 = 0x16;

/// The connection preface of HTTP/2 (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A version of HTTP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HttpVersion {
    Http1,
    Http2,
}

/// What the first bytes of a connection led to.
pub(crate) enum Negotiated {
    /// Plain HTTP; the connection is ready for requests.
    Plain(Socket, HttpVersion),
    /// HTTP over TLS; the connection is ready for requests. The name is that in
    /// the client's certificate, if it sent one.
    Tls(Box<TlsStream<Socket>>, HttpVersion, Option<String>),
    /// There will be no request: the client left, spoke the wrong protocol and
    /// was told so, or was an ACME server that validated a challenge.
    Closed,
}

/// Finds out what a client speaks, and completes the TLS handshake if the port
/// has one. `client` is the client's address.
pub(crate) async fn negotiate(
    socket: Socket,
    client: IpAddr,
    tls: Option<&TlsAcceptor>,
) -> io::Result<Negotiated> {
    let negotiated = async {
        match tls {
            Some(tls) => encrypted(socket, tls).await,
            None => plain(socket, client).await,
        }
    };
    tokio::time::timeout(HEAD_TIMEOUT, negotiated).await?
}

async fn plain(mut socket: Socket, client: IpAddr) -> io::Result<Negotiated> {
    let mut seen = 0;
    loop {
        let first = socket.peek(PREFACE.len()).await?;
        let ended = first.len() == seen;
        seen = first.len();
        if first.first() == Some(&TLS_HANDSHAKE) {
            wrong_protocol::refuse_tls(socket, client).await?;
            return Ok(Negotiated::Closed);
        }
        if ended && seen == 0 {
            return Ok(Negotiated::Closed);
        }
        if ended || !PREFACE.starts_with(first) {
            socket.set_read_timeout(None);
            return Ok(Negotiated::Plain(socket, HttpVersion::Http1));
        }
        if seen == PREFACE.len() {
            socket.set_read_timeout(None);
            return Ok(Negotiated::Plain(socket, HttpVersion::Http2));
        }
    }
}

async fn encrypted(mut socket: Socket, tls: &TlsAcceptor) -> io::Result<Negotiated> {
    match socket.peek(1).await?.first() {
        None => return Ok(Negotiated::Closed),
        Some(&TLS_HANDSHAKE) => {}
        Some(byte) if byte.is_ascii_uppercase() => {
            wrong_protocol::refuse_plain_http(socket).await?;
            return Ok(Negotiated::Closed);
        }
        Some(_) => return Err(io::Error::other("neither TLS nor HTTP")),
    }
    socket.set_read_timeout(Some(HANDSHAKE_PAUSE));
    let Some(mut stream) = tls.accept(socket).await? else { return Ok(Negotiated::Closed) };
    stream.get_mut().0.set_read_timeout(None);
    let (_, session) = stream.get_ref();
    // Over TLS, HTTP/2 needs ALPN (RFC 9113, section 3.2).
    let version = match session.alpn_protocol() {
        Some(protocol) if protocol == tls::HTTP2 => HttpVersion::Http2,
        _ => HttpVersion::Http1,
    };
    let name =
        session.peer_certificates().and_then(|chain| certificate::client_name(chain.first()?));
    Ok(Negotiated::Tls(Box::new(stream), version, name))
}
