//! Reads `http.tls`.

use crate::reader::Reader;
use crate::settings as rows;
use std::path::PathBuf;

/// How connections are encrypted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tls {
    /// Where the certificate comes from.
    pub certificate: Certificate,
    /// `REGISTRY_HTTP_TLS_MINIMUMTLS`.
    pub minimum: TlsVersion,
    /// `REGISTRY_HTTP_TLS_CLIENTCAS`: files with the CAs that issue clients'
    /// certificates; none if clients need no certificate.
    pub client_cas: Vec<PathBuf>,
    /// `REGISTRY_HTTP_TLS_CLIENTAUTH`: whether clients without a certificate are
    /// served as well.
    pub client_certificate_optional: bool,
}

/// Where a server's certificate comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Certificate {
    /// Files, in PEM.
    Files {
        /// `REGISTRY_HTTP_TLS_CERTIFICATE`: the certificate and its intermediate
        /// certificates.
        certificate: PathBuf,
        /// `REGISTRY_HTTP_TLS_KEY`: its private key.
        key: PathBuf,
    },
    /// An ACME server such as Let's Encrypt.
    Acme(Acme),
}

/// `REGISTRY_HTTP_TLS_LETSENCRYPT_*`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Acme {
    /// `_HOSTS`: the names that the certificate is for; at least one.
    pub hosts: Vec<String>,
    /// `_EMAIL`: the account's contact.
    pub email: Option<String>,
    /// `_CACHEFILE`: the directory that keeps the account and certificates.
    pub cache: PathBuf,
    /// `_DIRECTORYURL`: the ACME server, if it is not Let's Encrypt.
    pub directory: Option<String>,
    /// `_DIRECTORYCA`: a file with the CA that issued the ACME server's own
    /// certificate, if it is not a public one.
    pub directory_ca: Option<PathBuf>,
}

/// A version of TLS.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum TlsVersion {
    /// TLS 1.2. The default.
    V12,
    /// TLS 1.3.
    V13,
}

impl Tls {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let minimum = reader.read(&rows::HTTP_TLS_MINIMUMTLS);
        let client_certificate_optional = reader.read(&rows::HTTP_TLS_CLIENTAUTH);
        let client_cas: Vec<PathBuf> =
            reader.list(&rows::HTTP_TLS_CLIENTCAS).into_iter().map(PathBuf::from).collect();
        if client_cas.is_empty() && reader.is_set(&rows::HTTP_TLS_CLIENTAUTH.row) {
            // Clients would not be asked for a certificate.
            reader.problem(format!(
                "{} needs {}, the CA that issues clients' certificates",
                reader.name(&rows::HTTP_TLS_CLIENTAUTH.row),
                reader.name(&rows::HTTP_TLS_CLIENTCAS.row)
            ));
        }
        let Some(certificate) = certificate(reader) else {
            let found = [&rows::HTTP_TLS_CERTIFICATE.row, &rows::HTTP_TLS_KEY.row];
            let asked =
                reader.has(&rows::LETSENCRYPT) || found.iter().any(|row| reader.is_set(row));
            if !asked && !client_cas.is_empty() {
                reader.problem(format!(
                    "{} needs TLS: set {} and {}",
                    reader.name(&rows::HTTP_TLS_CLIENTCAS.row),
                    reader.name(&rows::HTTP_TLS_CERTIFICATE.row),
                    reader.name(&rows::HTTP_TLS_KEY.row)
                ));
            }
            return None;
        };
        Some(Self { certificate, minimum, client_cas, client_certificate_optional })
    }
}

/// Where the certificate comes from; `None` if there is none, or if that is a
/// problem.
fn certificate(reader: &mut Reader<'_>) -> Option<Certificate> {
    let certificate = reader.read(&rows::HTTP_TLS_CERTIFICATE);
    let key = reader.read(&rows::HTTP_TLS_KEY);
    let acme = reader.has(&rows::LETSENCRYPT);
    let names = [&rows::HTTP_TLS_CERTIFICATE.row, &rows::HTTP_TLS_KEY.row];
    let [of_certificate, of_key] = names.map(|row| reader.name(row));
    match (certificate, key) {
        (Some(_), Some(_)) if acme => {
            let acme = reader.section(&rows::LETSENCRYPT);
            reader.problem(format!("{of_certificate} and {acme} are both set; keep one of them"));
            None
        }
        (Some(certificate), Some(key)) => Some(Certificate::Files { certificate, key }),
        (Some(_), None) => {
            reader.problem(format!("{of_certificate} needs {of_key} too"));
            None
        }
        (None, Some(_)) => {
            reader.problem(format!("{of_key} needs {of_certificate} too"));
            None
        }
        (None, None) if acme => read_acme(reader).map(Certificate::Acme),
        (None, None) => None,
    }
}

fn read_acme(reader: &mut Reader<'_>) -> Option<Acme> {
    let hosts = reader.list(&rows::HTTP_TLS_LETSENCRYPT_HOSTS);
    let cache = reader.read(&rows::HTTP_TLS_LETSENCRYPT_CACHEFILE);
    let Some(cache) = cache.filter(|_| !hosts.is_empty()) else {
        reader.problem(format!(
            "{} needs {}, the names to get a certificate for, and {}, the directory that keeps it",
            reader.section(&rows::LETSENCRYPT),
            reader.name(&rows::HTTP_TLS_LETSENCRYPT_HOSTS.row),
            reader.name(&rows::HTTP_TLS_LETSENCRYPT_CACHEFILE.row)
        ));
        return None;
    };
    Some(Acme {
        hosts,
        cache,
        email: reader.read(&rows::HTTP_TLS_LETSENCRYPT_EMAIL),
        directory: reader.read(&rows::HTTP_TLS_LETSENCRYPT_DIRECTORYURL),
        directory_ca: reader.read(&rows::HTTP_TLS_LETSENCRYPT_DIRECTORYCA),
    })
}
