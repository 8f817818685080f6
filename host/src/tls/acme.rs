//! Certificates by ACME, as from Let's Encrypt: ordered, cached and renewed. The
//! server validates by TLS-ALPN-01, on the registry's own port.

use anyhow::Context as _;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use roadstead_config::Acme;
use roadstead_operator::pem;
use rustls::ClientConfig;
use rustls::crypto::ring;
use rustls::server::{ClientHello, ResolvesServerCert, ServerConfig};
use rustls_acme::caches::DirCache;
use rustls_acme::{AcmeConfig, EventOk, ResolvesServerCertAcme, is_tls_alpn_challenge};
use std::path::Path;
use std::sync::Arc;

/// Answers the ACME server's TLS-ALPN-01 challenges, and holds the certificate.
#[derive(Clone)]
pub(crate) struct Challenges {
    resolver: Arc<ResolvesServerCertAcme>,
    config: Arc<ServerConfig>,
}

impl Challenges {
    /// Whether a client is an ACME server that validates a challenge.
    pub(super) fn is_challenge(hello: &ClientHello<'_>) -> bool {
        is_tls_alpn_challenge(hello)
    }

    /// The TLS configuration for such a client.
    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// The certificate for all other clients, once there is one.
    pub(super) fn certificates(&self) -> Arc<dyn ResolvesServerCert> {
        Arc::clone(&self.resolver) as _
    }
}

/// Prepares to order a certificate. The future orders and renews it, and never
/// ends.
pub(super) fn order(settings: &Acme) -> anyhow::Result<(Challenges, BoxFuture<'static, ()>)> {
    make_private(&settings.cache).with_context(|| {
        format!(
            "REGISTRY_HTTP_TLS_LETSENCRYPT_CACHEFILE: {} cannot be a directory for keys and \
             certificates",
            settings.cache.display()
        )
    })?;
    // Clients send names in lower case.
    let hosts: Vec<_> = settings.hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
    let mut config = AcmeConfig::new(&hosts)
        .contact(settings.email.iter().map(|email| format!("mailto:{email}")))
        .cache(DirCache::new(settings.cache.clone()))
        .directory_lets_encrypt(true);
    if let Some(directory) = &settings.directory {
        config = config.directory(directory);
    }
    if let Some(file) = &settings.directory_ca {
        let roots = pem::read_roots("REGISTRY_HTTP_TLS_LETSENCRYPT_DIRECTORYCA", file)?;
        let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config = config.client_tls_config(Arc::new(client));
    }
    let mut state = config.state();
    let challenges =
        Challenges { resolver: state.resolver(), config: state.challenge_rustls_config() };
    let names = hosts.join(", ");
    let orders = async move {
        while let Some(event) = state.next().await {
            match event {
                Ok(EventOk::DeployedCachedCert) => {
                    tracing::info!("TLS: certificate of {names}, from the cache");
                }
                Ok(EventOk::DeployedNewCert) => {
                    tracing::info!("TLS: new certificate of {names} from the ACME server");
                }
                Ok(EventOk::CertCacheStore | EventOk::AccountCacheStore) => {}
                Err(error) => tracing::error!(
                    "TLS: no certificate of {names} from the ACME server; retrying: {error}"
                ),
            }
        }
    };
    Ok((challenges, Box::pin(orders)))
}

/// Makes a directory that only this user can read: it will hold keys.
fn make_private(directory: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(directory)
}
