//! `REGISTRY_HTTP_TLS_*`: distribution's `http.tls`.

use crate::reader::Reader;
use std::path::PathBuf;

/// How connections are encrypted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tls {
    /// Where the certificate comes from.
    pub certificate: Certificate,
    /// `REGISTRY_HTTP_TLS_MINIMUMTLS`.
    pub minimum: TlsVersion,
    /// `REGISTRY_HTTP_TLS_CLIENTCAS_0` and so on: files with the certificates
    /// of the authorities whose clients are known; none if clients need no
    /// certificate.
    pub client_cas: Vec<PathBuf>,
    /// `REGISTRY_HTTP_TLS_CLIENTAUTH`: whether a client without a certificate
    /// is served all the same.
    pub client_certificate_optional: bool,
}

/// Where a server's certificate comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Certificate {
    /// Files, in PEM.
    Files {
        /// `REGISTRY_HTTP_TLS_CERTIFICATE`: the certificate and what leads from
        /// it to a known authority.
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
    /// `_EMAIL`: whom the authority tells of trouble.
    pub email: Option<String>,
    /// `_CACHEFILE`: the directory that keeps the account and certificates.
    pub cache: PathBuf,
    /// `_DIRECTORYURL`: the ACME server, if it is not Let's Encrypt.
    pub directory: Option<String>,
    /// `_DIRECTORYCA`: a file with the authority of the ACME server's own
    /// certificate, if it is none that everybody knows.
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
    pub(crate) fn read(reader: &mut Reader) -> Option<Self> {
        let path = |text: Option<String>| text.map(PathBuf::from);
        let minimum = reader.read("HTTP_TLS_MINIMUMTLS", TlsVersion::V12, |value| match value {
            "tls1.2" | "" => Ok(TlsVersion::V12),
            "tls1.3" => Ok(TlsVersion::V13),
            "tls1.0" | "tls1.1" => Err("older than TLS 1.2 is broken and not spoken; set tls1.2"),
            _ => Err("must be tls1.2 or tls1.3"),
        });
        let client_certificate_optional =
            reader.read("HTTP_TLS_CLIENTAUTH", false, |value| match value {
                "" | "require-and-verify-client-cert" => Ok(false),
                "verify-client-cert-if-given" => Ok(true),
                _ => Err("must be require-and-verify-client-cert or verify-client-cert-if-given; \
                          a certificate that nobody verifies proves nothing"),
            });
        let client_cas: Vec<_> =
            reader.list("HTTP_TLS_CLIENTCAS").into_iter().map(PathBuf::from).collect();
        if client_cas.is_empty() && reader.text("HTTP_TLS_CLIENTAUTH").is_some() {
            // Nobody would be asked for a certificate.
            reader.problem(
                "REGISTRY_HTTP_TLS_CLIENTAUTH needs REGISTRY_HTTP_TLS_CLIENTCAS_0, the authority \
                 that clients' certificates come from",
            );
        }
        let certificate = path(reader.text("HTTP_TLS_CERTIFICATE"));
        let key = path(reader.text("HTTP_TLS_KEY"));
        let hosts = reader.list("HTTP_TLS_LETSENCRYPT_HOSTS");
        let acme = reader.has("HTTP_TLS_LETSENCRYPT_");
        let certificate = match (certificate, key) {
            (Some(_), Some(_)) if acme => {
                reader.problem(
                    "REGISTRY_HTTP_TLS_CERTIFICATE and REGISTRY_HTTP_TLS_LETSENCRYPT_* are both \
                     set; keep one of them",
                );
                return None;
            }
            (Some(certificate), Some(key)) => Certificate::Files { certificate, key },
            (Some(_), None) => {
                reader.problem("REGISTRY_HTTP_TLS_CERTIFICATE needs REGISTRY_HTTP_TLS_KEY too");
                return None;
            }
            (None, Some(_)) => {
                reader.problem("REGISTRY_HTTP_TLS_KEY needs REGISTRY_HTTP_TLS_CERTIFICATE too");
                return None;
            }
            (None, None) if acme => match path(reader.text("HTTP_TLS_LETSENCRYPT_CACHEFILE")) {
                Some(cache) if !hosts.is_empty() => Certificate::Acme(Acme {
                    hosts,
                    cache,
                    email: reader.text("HTTP_TLS_LETSENCRYPT_EMAIL"),
                    directory: reader.text("HTTP_TLS_LETSENCRYPT_DIRECTORYURL"),
                    directory_ca: path(reader.text("HTTP_TLS_LETSENCRYPT_DIRECTORYCA")),
                }),
                _ => {
                    reader.problem(
                        "REGISTRY_HTTP_TLS_LETSENCRYPT_* needs _HOSTS_0, a name that leads here, \
                         and _CACHEFILE, where certificates are kept",
                    );
                    return None;
                }
            },
            (None, None) => {
                if !client_cas.is_empty() {
                    reader.problem(
                        "REGISTRY_HTTP_TLS_CLIENTCAS needs TLS: set REGISTRY_HTTP_TLS_CERTIFICATE \
                         and REGISTRY_HTTP_TLS_KEY",
                    );
                }
                return None;
            }
        };
        Some(Self { certificate, minimum, client_cas, client_certificate_optional })
    }
}
