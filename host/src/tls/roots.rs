//! The CAs that are trusted where the settings name none.

use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;

/// Those of the system's trust store. A system without one, as an image that holds
/// nothing but this program, gets those that browsers trust, as of the build, unless
/// variables name a trust store, which then has to be there.
pub(crate) fn trusted() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    // Certificates of the system that cannot be parsed are skipped.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let chosen = ["SSL_CERT_FILE", "SSL_CERT_DIR"].map(std::env::var_os);
    if roots.is_empty() && chosen.iter().all(Option::is_none) {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

/// TLS for requests to servers with a certificate of one of these CAs.
pub(crate) fn client(roots: RootCertStore) -> anyhow::Result<ClientConfig> {
    Ok(ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}
