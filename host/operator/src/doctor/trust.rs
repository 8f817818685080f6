//! Trusted CAs, and whether a certificate chain ends at one.

use super::tls::provider;
use anyhow::Context as _;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Error, RootCertStore};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The largest file of CA certificates that is read.
///
/// Limit: bytes of a file of CAs; test: none, it comes from the operator.
const MAX_FILE: u64 = 1024 * 1024;

/// CAs that a client trusts.
#[derive(Clone)]
pub(crate) struct Roots {
    pub(crate) store: RootCertStore,
    certificates: Vec<CertificateDer<'static>>,
}

/// Whether a client trusts a chain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    Trusted,
    /// The server's certificate is itself a trusted CA certificate: Docker
    /// accepts it, and programs with rustls do not.
    TrustedAsAuthority,
    /// It does not lead to a trusted CA.
    Unknown,
    /// It leads to a trusted CA, but something else is wrong.
    Refused(String),
}

impl Roots {
    /// The CAs of the system's trust store; empty if there is none.
    pub(crate) fn of_system() -> Self {
        let mut roots = Self { store: RootCertStore::empty(), certificates: Vec::new() };
        roots.add(rustls_native_certs::load_native_certs().certs);
        roots
    }

    fn add(&mut self, certificates: Vec<CertificateDer<'static>>) {
        // Unusable certificates are skipped, as clients do.
        self.store.add_parsable_certificates(certificates.iter().cloned());
        self.certificates.extend(certificates);
    }

    /// Adds the CAs of a PEM file.
    pub(crate) fn with_file(mut self, path: &Path) -> anyhow::Result<Self> {
        let text = crate::files::read(path, MAX_FILE)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let certificates = CertificateDer::pem_slice_iter(&text)
            .collect::<Result<Vec<_>, _>>()
            .with_context(|| format!("{} is not PEM", path.display()))?;
        anyhow::ensure!(
            !certificates.is_empty(),
            "{} has no certificate; it should start with -----BEGIN CERTIFICATE-----",
            path.display(),
        );
        self.add(certificates);
        Ok(self)
    }

    /// Whether one of them has this name, in DER.
    pub(super) fn know(&self, name: &[u8]) -> bool {
        // A trust anchor's subject is stored without its tag and length.
        self.store.roots.iter().any(|root| name.ends_with(root.subject.as_ref()))
    }

    /// Whether a client with these CAs trusts the chain at a time; does not
    /// check names.
    pub(super) fn judge(&self, chain: &[CertificateDer<'_>], moment: Duration) -> Verdict {
        let Some((own, rest)) = chain.split_first() else { return Verdict::Unknown };
        let algorithms = provider().signature_verification_algorithms.all;
        let now = UnixTime::since_unix_epoch(moment);
        let result = ParsedCertificate::try_from(own).and_then(|own| {
            verify_server_cert_signed_by_trust_anchor(&own, &self.store, rest, now, algorithms)
        });
        match result {
            Ok(()) => Verdict::Trusted,
            // As Go does, and therefore Docker.
            Err(_) if self.certificates.iter().any(|root| root == own) => {
                Verdict::TrustedAsAuthority
            }
            // A CA that only has the name of a trusted one is unknown too.
            Err(Error::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::BadSignature,
            )) => Verdict::Unknown,
            Err(Error::InvalidCertificate(error)) => Verdict::Refused(error.to_string()),
            Err(error) => Verdict::Refused(error.to_string()),
        }
    }
}

/// The CAs that Docker on this machine trusts for a registry.
pub(crate) struct Docker {
    /// The file of their certificates, whether or not it exists.
    pub(super) file: PathBuf,
    /// They and the system's, if the file exists.
    pub(crate) roots: Option<Roots>,
}

impl Docker {
    pub(crate) fn read(base: &Path, authority: &str, system: &Roots) -> Self {
        let file = base.join(authority).join("ca.crt");
        // An unreadable file counts as empty, as Docker cannot read it either.
        let roots =
            file.exists().then(|| system.clone().with_file(&file).unwrap_or(system.clone()));
        Self { file, roots }
    }
}
