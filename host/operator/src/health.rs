//! `roadstead health`: whether the registry of these settings answers, for the health
//! checks of containers, whose images have no other program to ask it.

use crate::doctor::{connect, http, tls};
use anyhow::{Context as _, bail};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::net::lookup_host;

/// How long each step may take.
///
/// Limit: time of each step of a health check; test: none, it would take as long.
const STEP_TIME: Duration = Duration::from_secs(5);

/// How rustls names the alert for clients without a certificate (RFC 8446, section 6).
const REFUSED: &str = "CertificateRequired";

/// Asks for `GET /` at the address that the registry listens on, which answers everyone
/// with 200. Its certificate is not verified: it is for the name that clients use.
///
/// # Errors
/// When nothing answers at the address, or not as a registry.
pub async fn check(address: &str, https: bool) -> anyhow::Result<()> {
    let mut last = None;
    let listening =
        lookup_host(address).await.with_context(|| format!("cannot resolve {address}"))?;
    for address in listening.flat_map(reachable) {
        match ask(address, https).await {
            Ok(()) => return Ok(()),
            Err(error) => last = Some(error.context(address.to_string())),
        }
    }
    Err(last.unwrap_or_else(|| anyhow::anyhow!("{address} has no address")))
}

/// Addresses at which one that is listened on is reached from this machine.
fn reachable(listening: SocketAddr) -> Vec<SocketAddr> {
    let port = listening.port();
    let loopback: &[IpAddr] = match listening.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => &[IpAddr::V4(Ipv4Addr::LOCALHOST)],
        // Both are listened on.
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => {
            &[IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]
        }
        _ => return vec![listening],
    };
    loopback.iter().map(|address| SocketAddr::new(*address, port)).collect()
}

async fn ask(address: SocketAddr, https: bool) -> anyhow::Result<()> {
    let stream = connect::open(address, STEP_TIME).await?;
    let (stream, wants_certificate): (Box<dyn http::Stream>, _) = if https {
        match tls::handshake(stream, "localhost", None, STEP_TIME).await {
            Ok((session, stream)) => (stream, session.asks_for_certificate),
            Err(tls::Failure::NotTls(problem) | tls::Failure::Other(problem)) => bail!(problem),
            Err(tls::Failure::Refused(alert)) => bail!("TLS alert {alert:?}"),
        }
    } else {
        (Box::new(stream), false)
    };
    match http::get(stream, &address.to_string(), "/", None, STEP_TIME).await {
        Ok(answer) if answer.status.is_success() => Ok(()),
        Ok(answer) => bail!("GET / is answered with {}", answer.status),
        // A client without a certificate is refused, only after the handshake.
        Err(problem) if wants_certificate && problem.contains(REFUSED) => Ok(()),
        Err(problem) => bail!(problem),
    }
}

#[cfg(test)]
mod tests {
    use super::reachable;

    #[test]
    fn where_a_listener_is_reached() {
        for (listening, expected) in [
            ("0.0.0.0:5000", &["127.0.0.1:5000"][..]),
            ("[::]:5000", &["127.0.0.1:5000", "[::1]:5000"]),
            ("192.0.2.7:443", &["192.0.2.7:443"]),
        ] {
            let found: Vec<_> =
                reachable(listening.parse().unwrap()).iter().map(ToString::to_string).collect();
            assert_eq!(found, expected, "{listening}");
        }
    }
}
