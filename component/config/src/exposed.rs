//! What whoever reaches the address that is listened on can do or see.

use crate::Config;
use crate::settings::UI_ENABLED;
use std::net::{IpAddr, SocketAddr};

/// To whom the page for browsers is served (`REGISTRY_UI_ENABLED`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Page {
    /// To nobody.
    #[default]
    Off,
    /// To browsers that name the registry by `localhost` or an address.
    Local,
    /// To all.
    On,
}

impl Page {
    /// The value of the setting.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "false",
            Self::Local => "local",
            Self::On => "true",
        }
    }
}

impl Config {
    /// The variable with which the native host tells the component to whom the page is served,
    /// where the settings do not say it: to this machine, if the address is one of this machine
    /// only, and nothing says that a proxy makes it public.
    pub fn page_variable(&self) -> Option<(String, String)> {
        let is_behind_a_proxy =
            self.host.is_some() || self.auth.plain_http || !self.trusted_proxies.is_empty();
        let is_local = is_loopback(&self.address) && !is_behind_a_proxy;
        let page = if is_local { Page::Local } else { Page::Off };
        self.page.is_none().then(|| (UI_ENABLED.row.variable(), page.as_str().to_owned()))
    }

    /// Whether users would send passwords to this address unencrypted, for all that is known
    /// here.
    fn passwords_unencrypted(&self, address: SocketAddr) -> bool {
        self.auth.takes_passwords()
            && self.tls.is_none()
            && !address.ip().to_canonical().is_loopback()
    }

    /// Refuses passwords over plain HTTP, except on loopback or when the operator allows
    /// them. `address` is what is listened on.
    ///
    /// # Errors
    /// With each way to mend it, a line each.
    pub fn refuse_plain_passwords(&self, address: SocketAddr) -> Result<(), String> {
        if !self.passwords_unencrypted(address) || self.auth.plain_http {
            return Ok(());
        }
        Err(format!(
            "users would send their passwords to {address} unencrypted; set one of:\n\
             REGISTRY_HTTP_TLS_CERTIFICATE and REGISTRY_HTTP_TLS_KEY, for TLS; `roadstead cert` makes \
             a certificate\n\
             REGISTRY_HTTP_ADDR=127.0.0.1:{}, to listen on this machine only\n\
             REGISTRY_AUTH_PLAINHTTP=true, behind a proxy that terminates TLS",
            address.port()
        ))
    }

    /// Warnings of what strangers can do or see who reach the address, a line each.
    pub fn exposed(&self, address: SocketAddr) -> Vec<String> {
        let passwords = self.passwords_unencrypted(address).then(|| {
            format!(
                "passwords sent to {address} are unencrypted, unless a proxy in front terminates \
                 TLS; REGISTRY_AUTH_PLAINHTTP allows it"
            )
        });
        self.open_to_all(address).into_iter().chain(passwords).collect()
    }

    /// A warning where anyone who reaches the address may do everything.
    fn open_to_all(&self, address: SocketAddr) -> Option<String> {
        let certificates = self
            .tls
            .as_ref()
            .is_some_and(|tls| !tls.client_cas.is_empty() && !tls.client_certificate_optional);
        if self.auth.enabled() || certificates || address.ip().to_canonical().is_loopback() {
            return None;
        }
        let can = if self.read_only { "pull everything" } else { "pull and push everything" };
        Some(format!(
            "there is no authentication: anyone who can connect to {address} can {can}; set \
             REGISTRY_AUTH=htpasswd and REGISTRY_AUTH_HTPASSWD_PATH (`roadstead htpasswd` creates the \
             file), or REGISTRY_HTTP_ADDR=127.0.0.1:{} to listen on this machine only",
            address.port()
        ))
    }
}

/// Whether `host:port` can be reached from this machine only.
fn is_loopback(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    ip.map_or(host == "localhost", |ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::{Page, is_loopback};
    use crate::Config;

    #[test]
    fn the_page_is_for_this_machine_unless_settings_say_otherwise() {
        for (address, expected) in [
            ("127.0.0.1:5000", true),
            ("127.1.2.3:0", true),
            ("[::1]:5000", true),
            ("[::ffff:127.0.0.1]:5000", true),
            ("localhost:5000", true),
            ("[::]:5000", false),
            ("0.0.0.0:5000", false),
            ("192.0.2.7:5000", false),
            (":5000", false),
            ("localhost.example:5000", false),
        ] {
            assert_eq!(is_loopback(address), expected, "{address}");
        }
        let told = |settings: &[(&str, &str)]| config(settings).page_variable().map(|told| told.1);
        assert_eq!(told(&[]).as_deref(), Some("local"));
        for settings in [
            ("HTTP_ADDR", ":5000"),
            ("HTTP_HOST", "https://registry.example"),
            ("HTTP_TRUSTEDPROXIES", "127.0.0.1/32"),
            ("AUTH_PLAINHTTP", "true"),
        ] {
            assert_eq!(told(&[settings]).as_deref(), Some("false"), "{settings:?}");
        }
        // It is told as it is.
        assert_eq!(told(&[("UI_ENABLED", "false")]), None);
        for (text, page) in [("true", Page::On), ("false", Page::Off), ("local", Page::Local)] {
            assert_eq!(config(&[("UI_ENABLED", text)]).page, Some(page));
            assert_eq!(page.as_str(), text);
        }
        assert_eq!(config(&[("UI_ENABLED", "")]).page, None);
    }

    fn config(settings: &[(&str, &str)]) -> Config {
        let variables = settings.iter().map(|(n, v)| (format!("REGISTRY_{n}"), (*v).to_owned()));
        Config::from_variables(variables).unwrap()
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
            let warning = config(&settings).open_to_all(address.parse().unwrap());
            assert_eq!(warning.is_some(), expected.is_some(), "{settings:?} {address}");
            let (said, expected) = (warning.unwrap_or_default(), expected.unwrap_or_default());
            assert!(said.contains(expected), "{said}");
        }
    }

    #[test]
    fn passwords_over_plain_http() {
        const USERS: (&str, &str) = ("AUTH_HTPASSWD_PATH", "a");
        const TLS: [(&str, &str); 2] = [("HTTP_TLS_CERTIFICATE", "a"), ("HTTP_TLS_KEY", "b")];
        for (settings, address, refused, warned) in [
            (&[USERS][..], "[::]:5000", true, true),
            (&[USERS], "127.0.0.1:5000", false, false),
            (&[USERS, ("AUTH_PLAINHTTP", "true")], "[::]:5000", false, true),
            (&[USERS, TLS[0], TLS[1]], "[::]:5000", false, false),
            (&[("AUTH_RULES", "anonymous pull **")], "[::]:5000", false, false),
        ] {
            let (config, address) = (config(settings), address.parse().unwrap());
            let result = config.refuse_plain_passwords(address);
            assert_eq!(result.is_err(), refused, "{settings:?}: {result:?}");
            let warnings = config.exposed(address);
            assert_eq!(!warnings.is_empty(), warned, "{settings:?}: {warnings:?}");
        }
    }
}
