//! The address that is listened on: binding it, and what an operator may not expect of who
//! can reach it.

use crate::log;
use roadstead_config::Config;
use std::io::ErrorKind;
use std::net::SocketAddr;
use tokio::net::TcpListener;

/// `EAFNOSUPPORT` and `EADDRNOTAVAIL` of Linux, for addresses of IPv6.
const NO_IPV6: [Option<i32>; 2] = [Some(97), Some(99)];

/// The first port that needs no capability on Linux, unless its administrator says otherwise.
const PORTS_OF_ALL: u16 = 1024;

/// Binds the address, unless passwords would come to it unencrypted.
pub(crate) async fn listen(config: &Config) -> anyhow::Result<TcpListener> {
    let mut listener = TcpListener::bind(&config.address).await;
    // `:port` on a system without IPv6.
    if listener.as_ref().is_err_and(|error| NO_IPV6.contains(&error.raw_os_error()))
        && let Some(port) = config.address.strip_prefix("[::]:")
    {
        listener = TcpListener::bind(format!("0.0.0.0:{port}")).await;
    }
    let listener = listener.map_err(|error| {
        let advice = cannot_listen(&config.address, error.kind());
        anyhow::Error::from(error).context(advice)
    })?;
    let address = listener.local_addr()?;
    config.refuse_plain_passwords(address).map_err(anyhow::Error::msg)?;
    Ok(listener)
}

/// What to say and to advise where an address cannot be bound.
fn cannot_listen(address: &str, error: ErrorKind) -> String {
    let port = address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    if error == ErrorKind::PermissionDenied && port.is_some_and(|port| port < PORTS_OF_ALL) {
        return format!(
            "cannot listen on {address}: below port {PORTS_OF_ALL}, a process needs the capability \
             CAP_NET_BIND_SERVICE; give it with sudo setcap cap_net_bind_service=+ep \"$(command -v \
             roadstead)\", or in a systemd unit with AmbientCapabilities=CAP_NET_BIND_SERVICE, or \
             choose another port with REGISTRY_HTTP_ADDR"
        );
    }
    format!("cannot listen on {address}; choose another address with REGISTRY_HTTP_ADDR")
}

/// Warns of what strangers can do or see who reach the address.
pub(crate) fn warn(config: &Config, address: SocketAddr) {
    for warning in config.exposed(address) {
        tracing::warn!(target: log::UNLIMITED, "{warning}");
    }
}

#[cfg(test)]
mod tests {
    use super::cannot_listen;
    use std::io::ErrorKind;

    /// Ports that need a capability say so; tests may run as root, who has it.
    #[test]
    fn ports_of_the_system_need_a_capability() {
        for (address, error, capability) in [
            ("[::]:443", ErrorKind::PermissionDenied, true),
            ("127.0.0.1:1023", ErrorKind::PermissionDenied, true),
            ("127.0.0.1:1024", ErrorKind::PermissionDenied, false),
            ("[::]:443", ErrorKind::AddrInUse, false),
        ] {
            let said = cannot_listen(address, error);
            assert_eq!(said.contains("cap_net_bind_service=+ep"), capability, "{said}");
            assert!(said.contains(address) && said.contains("REGISTRY_HTTP_ADDR"), "{said}");
        }
    }
}
