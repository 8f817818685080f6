//! What a client speaks: HTTP/1.1, HTTP/2, TLS, or the one on the other's port.

use crate::log_throttle::Rarely;
use crate::net::connection::HEAD_TIMEOUT;
use crate::net::socket::Socket;
use crate::tls::{self, Tls};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::server::TlsStream;

/// How long a client may pause within a handshake.
const HANDSHAKE_PAUSE: Duration = Duration::from_secs(10);

/// How long it may take until a client has said what it speaks, handshake
/// included: as long as for the head of a request.
const OPENING_LIMIT: Duration = HEAD_TIMEOUT;

/// The first byte of TLS: a record of the handshake.
const TLS_HANDSHAKE: u8 = 0x16;

/// What HTTP/2 begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How much is read of a plain request on a TLS port, in bytes: the request
/// line and, if nothing long comes before it, the host that it is for.
const MISTAKEN_HEAD: usize = 8 * 1024;

/// How long a client that was told about its mistake may take to hear it.
const LINGER: Duration = Duration::from_secs(2);

/// How much such a client may go on to send, in bytes.
const LINGER_LIMIT: u64 = 64 * 1024;

/// Said of clients that speak TLS to a port that does not.
static TLS_ON_PLAIN: Rarely = Rarely::new();

/// Said of clients that do not speak TLS to a port that does.
static PLAIN_ON_TLS: Rarely = Rarely::new();

const TLS_ON_PLAIN_ANSWER: &str = "This port speaks plain HTTP, and the client spoke TLS.\n\
    Whoever runs the registry: set REGISTRY_HTTP_TLS_CERTIFICATE and REGISTRY_HTTP_TLS_KEY.\n\
    Whoever uses it: use http:// in place of https://; Docker does so for registries under \
    \"insecure-registries\" in its daemon.json.\n";

/// A version of HTTP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Version {
    Http1,
    Http2,
}

/// A connection that is ready for requests.
pub(crate) enum Opened {
    Plain(Socket, Version),
    /// With the name in the client's certificate, if it showed one.
    Tls(Box<TlsStream<Socket>>, Version, Option<String>),
    /// All that there was to say has been said.
    Answered,
}

/// Finds out what a client speaks, and shakes hands if that is TLS.
pub(crate) async fn open(socket: Socket, tls: Option<&Tls>) -> io::Result<Opened> {
    let opened = async {
        match tls {
            Some(tls) => encrypted(socket, tls).await,
            None => plain(socket).await,
        }
    };
    tokio::time::timeout(OPENING_LIMIT, opened).await?
}

async fn plain(mut socket: Socket) -> io::Result<Opened> {
    let mut seen = 0;
    loop {
        let first = socket.look(PREFACE.len()).await?;
        let ended = first.len() == seen;
        seen = first.len();
        if first.first() == Some(&TLS_HANDSHAKE) {
            if TLS_ON_PLAIN.is_due() {
                tracing::warn!(
                    "a client spoke TLS, and this port speaks plain HTTP; set \
                     REGISTRY_HTTP_TLS_CERTIFICATE and REGISTRY_HTTP_TLS_KEY, or have the client \
                     use plain HTTP, as Docker does for what is listed under insecure-registries"
                );
            }
            // Not an alert of TLS: Go's clients know this answer for what it
            // is, and containerd goes on with plain HTTP if it may.
            return answer(socket, TLS_ON_PLAIN_ANSWER).await;
        }
        if ended && seen == 0 {
            return Ok(Opened::Answered);
        }
        if ended || !PREFACE.starts_with(first) {
            socket.set_patience(None);
            return Ok(Opened::Plain(socket, Version::Http1));
        }
        if seen == PREFACE.len() {
            socket.set_patience(None);
            return Ok(Opened::Plain(socket, Version::Http2));
        }
    }
}

async fn encrypted(mut socket: Socket, tls: &Tls) -> io::Result<Opened> {
    match socket.look(1).await?.first() {
        None => return Ok(Opened::Answered),
        Some(&TLS_HANDSHAKE) => {}
        Some(byte) if byte.is_ascii_uppercase() => return mistaken(socket).await,
        Some(_) => return Err(io::Error::other("neither TLS nor HTTP")),
    }
    socket.set_patience(Some(HANDSHAKE_PAUSE));
    let Some(mut stream) = tls.accept(socket).await? else { return Ok(Opened::Answered) };
    stream.get_mut().0.set_patience(None);
    let (_, session) = stream.get_ref();
    // Over TLS, HTTP/2 is only spoken where both have said so.
    let version = match session.alpn_protocol() {
        Some(protocol) if protocol == tls::HTTP2 => Version::Http2,
        _ => Version::Http1,
    };
    let name =
        session.peer_certificates().and_then(|chain| tls::certificate::client_name(chain.first()?));
    Ok(Opened::Tls(Box::new(stream), version, name))
}

/// Tells a client that speaks plain HTTP to a TLS port what to do.
async fn mistaken(mut socket: Socket) -> io::Result<Opened> {
    let mut seen = 0;
    loop {
        let head = socket.look(MISTAKEN_HEAD).await?;
        let ended = head.len() == seen || head.len() == MISTAKEN_HEAD;
        seen = head.len();
        if ended || head.windows(4).any(|end| end == b"\r\n\r\n") {
            break;
        }
    }
    if PLAIN_ON_TLS.is_due() {
        tracing::warn!(
            "a client spoke plain HTTP, and this port speaks HTTPS; have it use https://, and not \
             list the registry under insecure-registries"
        );
    }
    let text = mistaken_answer(socket.first());
    answer(socket, &text).await
}

fn mistaken_answer(head: &[u8]) -> String {
    let (host, url) = match host(head) {
        Some(host) => (host, format!("https://{host}/")),
        None => ("HOST", "https://".to_owned()),
    };
    format!(
        "This port speaks HTTPS, and the client spoke plain HTTP. Use {url}\n\
         Docker: the registry must not be listed under \"insecure-registries\". If its certificate \
         is not known, put its authority's into /etc/docker/certs.d/{host}/ca.crt.\n"
    )
}

/// The host that a request is for, if it can be repeated as it is.
fn host(head: &[u8]) -> Option<&str> {
    const LONGEST: usize = 255;
    let lines = std::str::from_utf8(head).ok()?.lines();
    let mut fields = lines.skip(1).filter_map(|line| line.split_once(':'));
    let (_, host) = fields.find(|(name, _)| name.eq_ignore_ascii_case("host"))?;
    let host = host.trim();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    (!host.is_empty() && host.len() <= LONGEST && host.bytes().all(plain)).then_some(host)
}

/// Answers with an error in HTTP/1.1, and ends the connection.
async fn answer(mut socket: Socket, text: &str) -> io::Result<Opened> {
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{text}",
        text.len()
    );
    socket.write_all(answer.as_bytes()).await?;
    socket.shutdown().await?;
    // To close while there is something to read would take the answer back.
    let rest =
        async { tokio::io::copy(&mut socket.take(LINGER_LIMIT), &mut tokio::io::sink()).await };
    let _ = tokio::time::timeout(LINGER, rest).await;
    Ok(Opened::Answered)
}

#[cfg(test)]
mod tests {
    use super::host;

    #[test]
    fn hosts_that_can_be_repeated() {
        for (head, expected) in [
            ("GET / HTTP/1.1\r\nHost: registry.test:5000\r\n\r\n", Some("registry.test:5000")),
            ("GET / HTTP/1.1\r\nAccept: a\r\nhOST:[::1]:5000\r\n\r\n", Some("[::1]:5000")),
            ("GET / HTTP/1.1\r\nHost: a\nb\r\n\r\n", Some("a")),
            ("GET / HTTP/1.1\r\nHost: <script>\r\n\r\n", None),
            ("GET / HTTP/1.1\r\nHost:\r\n\r\n", None),
            ("GET / HTTP/1.1\r\nX: Host: a\r\n\r\n", None),
            ("GET Host: a", None),
            ("", None),
        ] {
            assert_eq!(host(head.as_bytes()), expected, "{head:?}");
        }
        assert_eq!(host(b"GET / HTTP/1.1\r\nHost: \xff\r\n\r\n"), None);
    }
}
