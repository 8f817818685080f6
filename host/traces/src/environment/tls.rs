//! TLS to a collector: the system's CAs, or those of a file, and maybe a certificate.

use super::values::Variables;
use crate::export::Protocol;
use roadstead_http_client::read_pem;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::Arc;

pub(super) fn client(
    variables: &Variables<'_>,
    protocol: Protocol,
    trusted: fn() -> RootCertStore,
) -> Result<Arc<ClientConfig>, String> {
    let roots = match variables.of_exporter("CERTIFICATE") {
        Some((name, file)) => chosen(&name, &file)?,
        None => trusted(),
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("traces: {error}"))?
        .with_root_certificates(roots);
    let certificate = variables.of_exporter("CLIENT_CERTIFICATE");
    let key = variables.of_exporter("CLIENT_KEY");
    let mut config = match (certificate, key) {
        (None, None) => builder.with_no_client_auth(),
        (Some((name, file)), Some((key_name, key_file))) => {
            let chain = certificates(&name, &file)?;
            let text =
                read_pem(key_file.as_ref()).map_err(|error| format!("{key_name}: {error}"))?;
            let key = PrivateKeyDer::from_pem_slice(&text)
                .map_err(|error| format!("{key_name}: {key_file}: {error}"))?;
            let config = builder.with_client_auth_cert(chain, key);
            config.map_err(|error| format!("{key_name}: {key_file}: {error}"))?
        }
        (Some((name, _)), None) => return Err(format!("{name}: the key is missing, _CLIENT_KEY")),
        (None, Some((name, _))) => {
            return Err(format!("{name}: the certificate is missing, _CLIENT_CERTIFICATE"));
        }
    };
    config.alpn_protocols = vec![match protocol {
        Protocol::Http => b"http/1.1".to_vec(),
        Protocol::Grpc => b"h2".to_vec(),
    }];
    Ok(Arc::new(config))
}

/// The CAs of a file.
fn chosen(name: &str, file: &str) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(name, file)? {
        roots.add(certificate).map_err(|error| format!("{name}: {file}: {error}"))?;
    }
    Ok(roots)
}

fn certificates(name: &str, file: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    roadstead_http_client::certificates(file.as_ref()).map_err(|error| format!("{name}: {error}"))
}
