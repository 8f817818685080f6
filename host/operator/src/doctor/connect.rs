//! Name resolution and TCP connections.

use super::report::Report;
use super::target::{Target, authority};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

/// The most addresses of a name that are tried.
///
/// Limit: addresses of a name that are tried; test: none, more are left out.
const MAX_ADDRESSES: usize = 8;

/// All addresses of the host.
pub(super) async fn addresses(
    target: &Target,
    given: Option<IpAddr>,
    limit: Duration,
    report: &mut Report<'_>,
) -> Vec<IpAddr> {
    let host = &target.host;
    if let Some(address) = given.or(target.address()) {
        if given.is_some() {
            report.ok(format!("using {address} for {host}, because of --address"));
        }
        return vec![address];
    }
    let fix = format!(
        "check the spelling; or add {host} to DNS, or ADDRESS {host} to /etc/hosts of each client"
    );
    let found = match timeout(limit, lookup_host((host.as_str(), 0))).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => {
            report.fail(format!("cannot resolve {host}: {error}"), fix);
            return Vec::new();
        }
        Err(_) => {
            report.fail(
                format!("no name server answered within {} s", limit.as_secs()),
                "check the network and the name servers in /etc/resolv.conf",
            );
            return Vec::new();
        }
    };
    let mut addresses: Vec<_> = found.map(|address| address.ip()).collect();
    addresses.dedup();
    addresses.truncate(MAX_ADDRESSES);
    if addresses.is_empty() {
        report.fail(format!("the name {host} has no address"), fix);
    } else {
        let list: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        report.ok(format!("{host} resolves to {}", list.join(", ")));
    }
    addresses
}

/// Connects to each address; the first that works is used. `another` means that
/// there is another port to try.
pub(super) async fn tcp(
    addresses: &[IpAddr],
    port: u16,
    another: bool,
    limit: Duration,
    report: &mut Report<'_>,
) -> Option<SocketAddr> {
    let mut working = None;
    let mut problems = Vec::new();
    for address in addresses.iter().map(|address| SocketAddr::new(*address, port)) {
        match open(address, limit).await {
            Ok(_) => {
                report.ok(format!("connected to {address}"));
                working = working.or(Some(address));
            }
            Err(error) => problems.push((address, error)),
        }
    }
    for (address, error) in problems {
        let (what, fix) = explain(address, &error, limit);
        if working.is_none() && !another {
            report.fail(what, fix);
        } else if working.is_none() {
            report.warn(what, "nothing to do, if the registry is on another port");
        } else if !no_route(error.kind()) {
            // An unreachable address, such as one of IPv6 on a host without
            // it, is skipped by clients.
            report.warn(what, format!("{fix}; or remove this address from DNS"));
        }
    }
    working
}

/// Where no registry answered at the default ports: reports whether something listens at the
/// port that most registries have, which may have been forgotten.
pub(super) async fn forgotten_port(
    target: &Target,
    addresses: &[IpAddr],
    usual: u16,
    limit: Duration,
    report: &mut Report<'_>,
) {
    if target.port.is_some() {
        return;
    }
    let search = async {
        for address in addresses.iter().map(|address| SocketAddr::new(*address, usual)) {
            if open(address, limit).await.is_ok() {
                return Some(address);
            }
        }
        None
    };
    if let Ok(Some(address)) = timeout(limit, search).await {
        let authority = authority(&target.host, Some(usual));
        report.fail(
            format!("no port was given, and something listens at {address}"),
            format!(
                "give the port, here and in image names: roadstead doctor {authority}; docker pull \
                 {authority}/…"
            ),
        );
    }
}

/// Opens a TCP connection.
pub(crate) async fn open(address: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
    match timeout(limit, TcpStream::connect(address)).await {
        Ok(result) => result,
        Err(_) => Err(ErrorKind::TimedOut.into()),
    }
}

fn no_route(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable | ErrorKind::AddrNotAvailable
    )
}

fn explain(address: SocketAddr, error: &io::Error, limit: Duration) -> (String, String) {
    let port = address.port();
    match error.kind() {
        ErrorKind::ConnectionRefused => (
            format!("{address} refuses connections: nothing listens there"),
            format!(
                "start the registry; if it runs, let it listen on all addresses \
                 (REGISTRY_HTTP_ADDR=:{port}); if it runs in a container, publish the port (-p \
                 {port}:{port})"
            ),
        ),
        ErrorKind::TimedOut => (
            format!("{address} did not answer within {} s", limit.as_secs()),
            format!("open port {port} in the firewall or security group; check the address"),
        ),
        kind if no_route(kind) => (
            format!("no route to {address}: {error}"),
            "check the address, the network and the VPN".to_owned(),
        ),
        _ => (format!("cannot connect to {address}: {error}"), "check the network".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::forgotten_port;
    use crate::doctor::report::{Level, Report};
    use std::time::Duration;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_forgotten_port_is_named() {
        let address = "127.0.0.1".parse().unwrap();
        let listener = TcpListener::bind((address, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let find = async |target: &str| {
            let mut out = Vec::new();
            let mut report = Report::new(&mut out);
            let (target, limit) = (target.parse().unwrap(), Duration::from_secs(10));
            forgotten_port(&target, &[address], port, limit, &mut report).await;
            report.findings
        };
        for target in ["registry.example", "https://registry.example"] {
            let [finding] = find(target).await.try_into().unwrap();
            assert_eq!(finding.level, Level::Fail);
            assert!(finding.what.contains(&format!("something listens at 127.0.0.1:{port}")));
            let fix =
                format!("doctor registry.example:{port}; docker pull registry.example:{port}/");
            assert!(finding.fix.contains(&fix), "{}", finding.fix);
        }
        assert_eq!(find("registry.example:443").await, []);
        drop(listener);
        assert_eq!(find("registry.example").await, []);
    }
}
