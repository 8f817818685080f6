//! Responses to clients that speak TLS to a plain port, or plain HTTP to a TLS
//! port. Both are common mistakes, and neither side's error message explains
//! them.

use crate::log_throttle::LogThrottle;
use crate::net::socket::Socket;
use std::io;
use std::net::IpAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// How much is read of a plain request on a TLS port, in bytes: the request
/// line and, if no long header precedes it, `Host`.
///
/// Limit: bytes that are read of a plain request on a TLS port; test:
/// `plain_http_on_a_tls_port`.
const PLAIN_HEAD: usize = 8 * 1024;

/// How long the client may take to read the response.
///
/// Limit: time to read the answer to a wrong protocol; test: none, it would take as
/// long.
const LINGER: Duration = Duration::from_secs(2);

/// How much the client may go on to send meanwhile, in bytes.
///
/// Limit: bytes that a client may still send meanwhile; test: none, the connection is
/// closed.
const LINGER_LIMIT: u64 = 64 * 1024;

/// Longest host name that is repeated to a client, in bytes.
///
/// Limit: bytes of a host's name that is repeated; test:
/// `hosts_that_can_be_repeated`.
const HOST_LIMIT: usize = 255;

const TLS_ON_PLAIN_PORT: &str = "This port speaks plain HTTP, and the client spoke TLS.\n\
    Operators: set REGISTRY_HTTP_TLS_CERTIFICATE and REGISTRY_HTTP_TLS_KEY to serve HTTPS.\n\
    Clients: use http:// instead of https://; Docker does so for registries under \
    \"insecure-registries\" in its daemon.json.\n";

/// Tells a client that speaks TLS to a plain port what to do.
///
/// The response is plain HTTP and no TLS alert: Go's clients recognise it, and
/// containerd then falls back to plain HTTP if its configuration allows that.
pub(super) async fn refuse_tls(socket: Socket, client: IpAddr) -> io::Result<()> {
    static WARNING: LogThrottle = LogThrottle::new();
    if tries_tls_first(client) {
        tracing::debug!("a client on this machine tried TLS, and this port speaks plain HTTP");
    } else if WARNING.is_due() {
        tracing::warn!(
            "the client {client} spoke TLS, and this port speaks plain HTTP; set \
             REGISTRY_HTTP_TLS_CERTIFICATE and REGISTRY_HTTP_TLS_KEY, or have the client use plain \
             HTTP, as Docker does after such an attempt for registries under insecure-registries"
        );
    }
    respond(socket, TLS_ON_PLAIN_PORT).await
}

/// Whether a client is expected to try TLS, and to go on with plain HTTP: so does Docker with a
/// registry on its own machine.
fn tries_tls_first(client: IpAddr) -> bool {
    client.to_canonical().is_loopback()
}

/// Tells a client that speaks plain HTTP to a TLS port what to do.
pub(super) async fn refuse_plain_http(mut socket: Socket) -> io::Result<()> {
    static WARNING: LogThrottle = LogThrottle::new();
    let mut seen = 0;
    loop {
        let head = socket.peek(PLAIN_HEAD).await?;
        let ended = head.len() == seen || head.len() == PLAIN_HEAD;
        seen = head.len();
        if ended || head.windows(4).any(|end| end == b"\r\n\r\n") {
            break;
        }
    }
    if WARNING.is_due() {
        tracing::warn!(
            "a client spoke plain HTTP, and this port speaks HTTPS; have it use https://, and not \
             list the registry under insecure-registries"
        );
    }
    let text = plain_on_tls_port(socket.peeked());
    respond(socket, &text).await
}

fn plain_on_tls_port(head: &[u8]) -> String {
    let (host, url) = match host(head) {
        Some(host) => (host, format!("https://{host}/")),
        None => ("HOST", "https://".to_owned()),
    };
    format!(
        "This port speaks HTTPS, and the client spoke plain HTTP. Use {url}\n\
         Docker: the registry must not be listed under \"insecure-registries\". If its certificate \
         is not trusted, put its CA's certificate into /etc/docker/certs.d/{host}/ca.crt.\n"
    )
}

/// The value of `Host` in a request's head, if it is safe to repeat.
fn host(head: &[u8]) -> Option<&str> {
    let lines = std::str::from_utf8(head).ok()?.lines();
    let mut fields = lines.skip(1).filter_map(|line| line.split_once(':'));
    let (_, host) = fields.find(|(name, _)| name.eq_ignore_ascii_case("host"))?;
    let host = host.trim();
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    (!host.is_empty() && host.len() <= HOST_LIMIT && host.bytes().all(safe)).then_some(host)
}

/// Sends a 400 in HTTP/1.1 and closes the connection.
async fn respond(mut socket: Socket, text: &str) -> io::Result<()> {
    let response = format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{text}",
        text.len()
    );
    socket.write_all(response.as_bytes()).await?;
    socket.shutdown().await?;
    // To close with unread bytes would send a reset, which can discard the
    // response before the client has read it.
    let rest =
        async { tokio::io::copy(&mut socket.take(LINGER_LIMIT), &mut tokio::io::sink()).await };
    let _ = tokio::time::timeout(LINGER, rest).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{host, tries_tls_first};

    /// Others are warned of: their users may see an error.
    #[test]
    fn docker_on_this_machine_tries_tls_first() {
        for (client, expected) in
            [("127.0.0.1", true), ("::1", true), ("::ffff:127.0.0.1", true), ("10.0.0.5", false)]
        {
            assert_eq!(tries_tls_first(client.parse().unwrap()), expected, "{client}");
        }
    }

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
