//! `http.tls`.

use super::kinds::{Choice, List, Path, Text, Tree};
use super::{Scope, Section, Setting, table};
use crate::TlsVersion;

pub(crate) static LETSENCRYPT: Section = Section::new("http.tls.letsencrypt");

table! {
    TLS_TABLE:

    HTTP_TLS_CERTIFICATE: Path = Setting::new(
        "http.tls.certificate",
        Scope::Host,
        Path("file in PEM"),
        "The server's certificate, followed by its intermediate certificates.",
    )
    .help("certificate file; with _KEY, HTTPS is served");

    HTTP_TLS_KEY: Path = Setting::new(
        "http.tls.key",
        Scope::Host,
        Path("file in PEM"),
        "The certificate's private key, without a passphrase.",
    )
    .help("private key file; both are reloaded when they change");

    HTTP_TLS_MINIMUMTLS: Choice<TlsVersion> = Setting::new(
        "http.tls.minimumtls",
        Scope::Host,
        Choice {
            default: TlsVersion::V12,
            words: &[("tls1.2", TlsVersion::V12), ("tls1.3", TlsVersion::V13)],
            also: &[],
            refused: &[("tls1.0", OLD_TLS), ("tls1.1", OLD_TLS)],
            boolean: None,
            blank: true,
        },
        "The oldest version of TLS that is accepted.",
    )
    .help("oldest version of TLS: tls1.2 or tls1.3")
    .differs("`tls1.0` and `tls1.1` are refused");

    HTTP_TLS_CLIENTCAS: List = Setting::new(
        "http.tls.clientcas",
        Scope::Host,
        List("files in PEM"),
        "Certificate authorities: clients must show a certificate that one of them issued.",
    )
    .help("CA files; clients need a certificate of theirs");

    HTTP_TLS_CLIENTAUTH: Choice<bool> = Setting::new(
        "http.tls.clientauth",
        Scope::Host,
        Choice {
            default: false,
            words: &[
                ("require-and-verify-client-cert", false),
                ("verify-client-cert-if-given", true),
            ],
            also: &[],
            refused: &[
                ("request-client-cert", UNVERIFIED),
                ("require-any-client-cert", UNVERIFIED),
            ],
            boolean: None,
            blank: true,
        },
        "Whether clients without a certificate are refused or served as well. Needs \
         `http.tls.clientcas`.",
    )
    .differs("`request-client-cert` and `require-any-client-cert` are refused");

    HTTP_TLS_LETSENCRYPT_HOSTS: List = Setting::new(
        "http.tls.letsencrypt.hosts",
        Scope::Host,
        List("host names"),
        "Names to get a certificate for by ACME, in place of `http.tls.certificate` and `.key`.",
    )
    .help("names to get a certificate for; needs _CACHEFILE");

    HTTP_TLS_LETSENCRYPT_CACHEFILE: Path = Setting::new(
        "http.tls.letsencrypt.cachefile",
        Scope::Host,
        Path("directory"),
        "Keeps the ACME account, the certificate and their keys. Created if it is missing, \
         readable by this user only.",
    )
    .by_default("none; required for ACME")
    .differs("it is a directory");

    HTTP_TLS_LETSENCRYPT_EMAIL: Text = Setting::new(
        "http.tls.letsencrypt.email",
        Scope::Host,
        Text("address"),
        "ACME account contact.",
    );

    HTTP_TLS_LETSENCRYPT_DIRECTORYURL: Text = Setting::new(
        "http.tls.letsencrypt.directoryurl",
        Scope::Host,
        Text("URL"),
        "The directory of another ACME server.",
    )
    .by_default("Let's Encrypt's");

    HTTP_TLS_LETSENCRYPT_DIRECTORYCA: Path = Setting::new(
        "http.tls.letsencrypt.directoryca",
        Scope::Host,
        Path("file in PEM"),
        "The CA that issued the ACME server's own certificate.",
    )
    .by_default("public root certificates")
    .ours();

    CIPHERSUITES: Tree = Setting::refused(
        "http.tls.ciphersuites",
        "only safe ones are offered (those of TLS 1.3, and in TLS 1.2 ECDHE with AEAD); remove it",
        Tree(&[]),
    );
}

const OLD_TLS: &str = "older than TLS 1.2 is broken and not spoken; set tls1.2";

const UNVERIFIED: &str = "must be require-and-verify-client-cert or verify-client-cert-if-given; a \
                          certificate that nobody verifies proves nothing";
