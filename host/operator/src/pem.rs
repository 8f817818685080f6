//! PEM files with certificates and keys, read with errors that name the setting
//! and the file.

use crate::permissions;
use anyhow::{Context as _, anyhow, bail, ensure};
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

/// Largest file of certificates or keys, in bytes.
///
/// Limit: bytes of a file of certificates or keys; test: none, it comes from the
/// operator.
const SIZE_LIMIT: u64 = 1024 * 1024;

const CERTIFICATE: &str = "REGISTRY_HTTP_TLS_CERTIFICATE";
const KEY: &str = "REGISTRY_HTTP_TLS_KEY";
/// The setting for the CAs that issue clients' certificates.
pub const CLIENT_CAS: &str = "REGISTRY_HTTP_TLS_CLIENTCAS";

/// The server's certificate with its intermediate certificates, and its key.
///
/// # Errors
/// When a file cannot be used, or the key is not the certificate's; the error names the setting.
pub fn read_pair(
    certificate: &Path,
    key: &Path,
    provider: &CryptoProvider,
) -> anyhow::Result<CertifiedKey> {
    let chain = certificates(CERTIFICATE, certificate)?;
    let private = private_key(key)?;
    CertifiedKey::from_der(chain, private, provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => anyhow!(
            "the key in {} ({KEY}) does not belong to the first certificate in {} ({CERTIFICATE}); \
             the server's own certificate comes first in its file, intermediate certificates follow",
            key.display(),
            certificate.display()
        ),
        rustls::Error::InvalidCertificate(_) => anyhow!(
            "{CERTIFICATE}: {}: the first certificate is invalid: {error}",
            certificate.display()
        ),
        error => anyhow!(
            "{KEY}: {}: {error}; supported are RSA keys of at least 2048 bits, ECDSA (P-256 or P-384) \
             and Ed25519",
            key.display()
        ),
    })
}

/// The root certificates in a file, which `setting` names.
///
/// # Errors
/// When the file cannot be used, or has no certificate.
pub fn read_roots(setting: &str, file: &Path) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(setting, file)? {
        roots.add(certificate).with_context(|| format!("{setting}: {}", file.display()))?;
    }
    Ok(roots)
}

/// The root certificates that clients' certificates are verified against.
///
/// # Errors
/// As [`read_roots`].
pub fn read_client_roots(files: &[PathBuf]) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for file in files {
        roots.extend(read_roots(CLIENT_CAS, file)?.roots);
    }
    Ok(roots)
}

fn certificates(setting: &str, file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let pem = read(setting, file)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let chain = chain.map_err(|error| anyhow!("{setting}: {}: {error}", file.display()))?;
    ensure!(
        !chain.is_empty(),
        "{setting}: there is no certificate in {}; a PEM certificate begins with -----BEGIN \
         CERTIFICATE-----",
        file.display()
    );
    Ok(chain)
}

fn private_key(file: &Path) -> anyhow::Result<PrivateKeyDer<'static>> {
    let pem = read(KEY, file)?;
    let shown = file.display();
    let contains = |text: &[u8]| pem.windows(text.len()).any(|part| part == text);
    if contains(b"ENCRYPTED PRIVATE KEY") || contains(b"Proc-Type: 4,ENCRYPTED") {
        bail!(
            "{KEY}: the key in {shown} is encrypted with a passphrase, which a server \
             cannot be asked for; openssl pkey -in {shown} -out FILE removes it"
        );
    }
    let sections: Result<Vec<(SectionKind, Vec<u8>)>, _> =
        PemObject::pem_slice_iter(&pem).collect();
    let sections = sections.map_err(|error| anyhow!("{KEY}: {shown}: {error}"))?;
    let mut keys =
        sections.into_iter().filter_map(|(kind, der)| PrivateKeyDer::from_pem(kind, der));
    let key = keys.next().with_context(|| {
        format!(
            "{KEY}: there is no private key in {shown}; one begins with -----BEGIN PRIVATE KEY-----"
        )
    })?;
    ensure!(keys.next().is_none(), "{KEY}: there are several keys in {shown}; keep one");
    Ok(key)
}

fn read(setting: &str, file: &Path) -> anyhow::Result<Vec<u8>> {
    let shown = file.display();
    // To make one is advised only where there is none.
    let advice = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => {
            anyhow!("{setting}: cannot read {shown}: {error}; `roadstead cert` makes a certificate")
        }
        kind => match permissions::advice(kind, file) {
            Some(advice) => anyhow!("{setting}: cannot read {shown}: {error}; {advice}"),
            None => anyhow!("{setting}: cannot read {shown}: {error}"),
        },
    };
    let mut content = Vec::new();
    let opened = File::open(file).map_err(advice)?;
    opened.take(SIZE_LIMIT + 1).read_to_end(&mut content).map_err(advice)?;
    ensure!(
        content.len() as u64 <= SIZE_LIMIT,
        "{setting}: {shown} has more than {SIZE_LIMIT} bytes, which is too large for certificates"
    );
    Ok(content)
}
