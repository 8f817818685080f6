//! The address that is listened on: binding it, and what an operator may not expect of who
//! can reach it.

use crate::log;
use anyhow::bail;
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
    refuse_plain_passwords(config, listener.local_addr()?)?;
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

/// A warning where anyone who reaches the address may do everything.
fn open_to_all(config: &Config, address: SocketAddr) -> Option<String> {
    let certificates = config
        .tls
        .as_ref()
        .is_some_and(|tls| !tls.client_cas.is_empty() && !tls.client_certificate_optional);
    if config.auth.enabled() || certificates || address.ip().to_canonical().is_loopback() {
        return None;
    }
    let can = if config.read_only { "pull everything" } else { "pull and push everything" };
    Some(format!(
        "there is no authentication: anyone who can connect to {address} can {can}; set \
         REGISTRY_AUTH=htpasswd and REGISTRY_AUTH_HTPASSWD_PATH (`roadstead htpasswd` creates the \
         file), or REGISTRY_HTTP_ADDR=127.0.0.1:{} to listen on this machine only",
        address.port()
    ))
}

/// Whether users would send passwords to this address unencrypted, for all that is known
/// here.
fn passwords_unencrypted(config: &Config, address: SocketAddr) -> bool {
    config.auth.takes_passwords()
        && config.tls.is_none()
        && !address.ip().to_canonical().is_loopback()
}

/// Refuses passwords over plain HTTP, except on loopback or when the operator
/// allows them.
fn refuse_plain_passwords(config: &Config, address: SocketAddr) -> anyhow::Result<()> {
    if passwords_unencrypted(config, address) && !config.auth.plain_http {
        bail!(
            "users would send their passwords to {address} unencrypted; set one of:\n\
             REGISTRY_HTTP_TLS_CERTIFICATE and REGISTRY_HTTP_TLS_KEY, for TLS; `roadstead cert` makes \
             a certificate\n\
             REGISTRY_HTTP_ADDR=127.0.0.1:{}, to listen on this machine only\n\
             REGISTRY_AUTH_PLAINHTTP=true, behind a proxy that terminates TLS",
            address.port()
        );
    }
    Ok(())
}

/// Warns of what strangers can do or see who reach the address.
pub(crate) fn warn(config: &Config, address: SocketAddr) {
    if let Some(warning) = open_to_all(config, address) {
        tracing::warn!(target: log::UNLIMITED, "{warning}");
    }
    if passwords_unencrypted(config, address) {
        tracing::warn!(
            target: log::UNLIMITED,
            "passwords sent to {address} are unencrypted, unless a proxy in front terminates \
             TLS; REGISTRY_AUTH_PLAINHTTP allows it"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::{cannot_listen, open_to_all};
    use roadstead_config::Config;
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

    #[test]
    fn open_registries_are_warned_of() {
        let tls = |more: &[(&'static str, &'static str)]| {
            let files = [("HTTP_TLS_CERTIFICATE", "a"), ("HTTP_TLS_KEY", "b")];
            [&files[..], &[("HTTP_TLS_CLIENTCAS_0", "c")], more].concat()
        };
        let optional = [("HTTP_TLS_CLIENTAUTH", "verify-client-cert-if-given")];
        for (settings, address, expected) in [
            (vec![], "0.0.0.0:5000", Some("can pull and push everything")),
            (vec![], "[::]:5000", Some("REGISTRY_HTTP_ADDR=127.0.0.1:5000")),
            (vec![], "10.0.0.5:80", Some("REGISTRY_AUTH=htpasswd and REGISTRY_AUTH_HTPASSWD_PATH")),
            (vec![], "127.0.0.1:5000", None),
            (vec![], "[::1]:5000", None),
            (vec![], "[::ffff:127.0.0.1]:5000", None),
            (vec![("AUTH_HTPASSWD_ENTRIES", "")], "[::]:5000", Some("no authentication")),
            (vec![("AUTH_HTPASSWD_PATH", "a")], "[::]:5000", None),
            (vec![("AUTH_RULES", "anonymous pull **")], "[::]:5000", None),
            (
                vec![("STORAGE_MAINTENANCE_READONLY_ENABLED", "true")],
                "[::]:5000",
                Some("can pull everything"),
            ),
            (tls(&[]), "[::]:5000", None),
            (tls(&optional), "[::]:5000", Some("no authentication")),
        ] {
            let variables =
                settings.iter().map(|(n, v)| (format!("REGISTRY_{n}"), (*v).to_owned()));
            let config = Config::from_variables(variables).unwrap();
            let warning = open_to_all(&config, address.parse().unwrap());
            assert_eq!(warning.is_some(), expected.is_some(), "{settings:?} {address}");
            let (said, expected) = (warning.unwrap_or_default(), expected.unwrap_or_default());
            assert!(said.contains(expected), "{said}");
        }
    }
}
