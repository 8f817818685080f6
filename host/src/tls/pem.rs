//! Certificates and keys in files, and what they say.

use anyhow::{Context as _, anyhow, bail, ensure};
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::fs::File;
use std::io::Read as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

/// Largest file of certificates or keys, in bytes.
const SIZE_LIMIT: u64 = 1024 * 1024;

const CERTIFICATE: &str = "REGISTRY_HTTP_TLS_CERTIFICATE";
const KEY: &str = "REGISTRY_HTTP_TLS_KEY";
const CLIENT_CAS: &str = "REGISTRY_HTTP_TLS_CLIENTCAS";

/// A certificate, what leads from it to an authority, and its key; out of files
/// in PEM.
pub(crate) fn read_pair(
    certificate: &Path,
    key: &Path,
    provider: &CryptoProvider,
) -> anyhow::Result<CertifiedKey> {
    let chain = certificates(CERTIFICATE, certificate)?;
    let private = private_key(key)?;
    CertifiedKey::from_der(chain, private, provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => anyhow!(
            "the key in {} ({KEY}) does not belong to the first certificate in {} ({CERTIFICATE}); \
             a server's own certificate comes first in its file, its authority's after it",
            key.display(),
            certificate.display()
        ),
        rustls::Error::InvalidCertificate(_) => anyhow!(
            "{CERTIFICATE}: {}: the first certificate makes no sense: {error}",
            certificate.display()
        ),
        error => anyhow!(
            "{KEY}: {}: {error}; keys are RSA of 2048 bits and more, ECDSA (P-256 or P-384) or \
             Ed25519",
            key.display()
        ),
    })
}

/// The authorities whose clients are known.
pub(crate) fn read_authorities(setting: &str, file: &Path) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(setting, file)? {
        roots.add(certificate).with_context(|| format!("{setting}: {}", file.display()))?;
    }
    Ok(roots)
}

/// The authorities of clients, out of all their files.
pub(crate) fn read_client_authorities(files: &[PathBuf]) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for file in files {
        roots.extend(read_authorities(CLIENT_CAS, file)?.roots);
    }
    Ok(roots)
}

fn certificates(setting: &str, file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let pem = read(setting, file)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let chain = chain.map_err(|error| anyhow!("{setting}: {}: {error}", file.display()))?;
    ensure!(
        !chain.is_empty(),
        "{setting}: there is no certificate in {}; it is a text that begins with -----BEGIN \
         CERTIFICATE-----",
        file.display()
    );
    Ok(chain)
}

fn private_key(file: &Path) -> anyhow::Result<PrivateKeyDer<'static>> {
    let pem = read(KEY, file)?;
    let shown = file.display();
    let has = |text: &[u8]| pem.windows(text.len()).any(|part| part == text);
    if has(b"ENCRYPTED PRIVATE KEY") || has(b"Proc-Type: 4,ENCRYPTED") {
        bail!(
            "{KEY}: the key in {shown} is encrypted with a passphrase, which nobody could enter \
             here; openssl pkey -in {shown} -out FILE writes it without"
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
    ensure!(keys.next().is_none(), "{KEY}: there are several keys in {shown}; leave one");
    Ok(key)
}

fn read(setting: &str, file: &Path) -> anyhow::Result<Vec<u8>> {
    let shown = file.display();
    let advice = || format!("{setting}: cannot read {shown}; roadstead cert makes a certificate");
    let mut content = Vec::new();
    let opened = File::open(file).with_context(advice)?;
    opened.take(SIZE_LIMIT + 1).read_to_end(&mut content).with_context(advice)?;
    ensure!(
        content.len() as u64 <= SIZE_LIMIT,
        "{setting}: {shown} has more than {SIZE_LIMIT} bytes; a file of certificates has not"
    );
    Ok(content)
}

/// What people want to know of a certificate.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Facts {
    /// Whom it is for.
    pub(crate) names: Vec<String>,
    /// The day on which it ends.
    pub(crate) until: String,
    /// Why clients may refuse it.
    pub(crate) problems: Vec<String>,
}

/// What a server's certificate says, to someone who reads it `now`, in seconds
/// since 1970.
pub(crate) fn facts(certificate: &CertificateDer<'_>, now: i64) -> anyhow::Result<Facts> {
    let (_, certificate) = X509Certificate::from_der(certificate)?;
    let validity = certificate.validity();
    let until = validity.not_after.to_datetime().date().to_string();
    let names: Vec<String> = alternative_names(&certificate).collect();
    let mut problems = Vec::new();
    if validity.not_after.timestamp() < now {
        problems.push(format!("it expired on {until}; renew it"));
    }
    if validity.not_before.timestamp() > now {
        let from = validity.not_before.to_datetime().date();
        problems.push(format!("it is not valid before {from}; is the clock right?"));
    }
    if names.is_empty() {
        problems.push(
            "clients refuse certificates without subjectAltName (\"relies on legacy Common \
             Name\"); roadstead cert makes one with it"
                .to_owned(),
        );
    }
    Ok(Facts { names, until, problems })
}

/// The name of a client: its certificate's Common Name, or, without one, the
/// first DNS name or e-mail address.
pub(crate) fn client_name(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let common = certificate.subject().iter_common_name().next();
    let common = common.and_then(|name| name.as_str().ok()).filter(|name| !name.is_empty());
    common.map(str::to_owned).or_else(|| {
        let names = &certificate.subject_alternative_name().ok()??.value.general_names;
        names.iter().find_map(|name| match name {
            GeneralName::DNSName(name) | GeneralName::RFC822Name(name) => Some((*name).to_owned()),
            _ => None,
        })
    })
}

fn alternative_names(certificate: &X509Certificate<'_>) -> impl Iterator<Item = String> {
    let extension = certificate.subject_alternative_name().ok().flatten();
    let names = extension.into_iter().flat_map(|extension| &extension.value.general_names);
    names.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
        _ => None,
    })
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}
