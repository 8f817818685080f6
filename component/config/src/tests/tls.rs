//! How connections are encrypted.

use super::{problem, read};
use crate::{Acme, Certificate, Tls, TlsVersion};

/// A setting's name and value.
type Variable = (&'static str, &'static str);

const CERTIFICATE: Variable = ("HTTP_TLS_CERTIFICATE", "/certs/domain.crt");
const KEY: Variable = ("HTTP_TLS_KEY", "/certs/domain.key");
const CA: Variable = ("HTTP_TLS_CLIENTCAS_0", "/certs/ca.crt");
const CACHE: Variable = ("HTTP_TLS_LETSENCRYPT_CACHEFILE", "/acme");
const HOST: Variable = ("HTTP_TLS_LETSENCRYPT_HOSTS", "[registry.example]");

fn files() -> Tls {
    Tls {
        certificate: Certificate::Files {
            certificate: "/certs/domain.crt".into(),
            key: "/certs/domain.key".into(),
        },
        minimum: TlsVersion::V12,
        client_cas: Vec::new(),
        client_certificate_optional: false,
    }
}

fn acme() -> Acme {
    Acme {
        hosts: vec!["registry.example".to_owned()],
        email: None,
        cache: "/acme".into(),
        directory: None,
        directory_ca: None,
    }
}

#[test]
fn certificates_in_files() {
    let mutual = || Tls { client_cas: vec!["/certs/ca.crt".into()], ..files() };
    for (more, expected) in [
        (&[][..], files()),
        (&[("HTTP_TLS_MINIMUMTLS", "tls1.2")], files()),
        (&[("HTTP_TLS_MINIMUMTLS", "tls1.3")], Tls { minimum: TlsVersion::V13, ..files() }),
        (&[("HTTP_TLS_MINIMUMTLS", "")], files()),
        (&[CA], mutual()),
        (&[("HTTP_TLS_CLIENTCAS", "[\"/certs/ca.crt\"]")], mutual()),
        (&[CA, ("HTTP_TLS_CLIENTAUTH", "require-and-verify-client-cert")], mutual()),
        (
            &[CA, ("HTTP_TLS_CLIENTAUTH", "verify-client-cert-if-given")],
            Tls { client_certificate_optional: true, ..mutual() },
        ),
        (
            &[CA, ("HTTP_TLS_CLIENTCAS_1", "/certs/b.crt")],
            Tls { client_cas: vec!["/certs/ca.crt".into(), "/certs/b.crt".into()], ..files() },
        ),
        // As the section stands in files that do not use it.
        (
            &[
                ("HTTP_TLS_LETSENCRYPT_CACHEFILE", ""),
                ("HTTP_TLS_LETSENCRYPT_EMAIL", ""),
                ("HTTP_TLS_CLIENTAUTH", ""),
            ],
            files(),
        ),
    ] {
        let config = read(&[&[CERTIFICATE, KEY], more].concat());
        assert_eq!(config.unwrap().tls, Some(expected), "{more:?}");
    }
    assert_eq!(read(&[]).unwrap().tls, None);
    let empty = [("HTTP_TLS_CERTIFICATE", ""), ("HTTP_TLS_KEY", "")];
    assert_eq!(read(&empty).unwrap().tls, None);
}

#[test]
fn certificates_by_acme() {
    let several = vec!["a.example".to_owned(), "b.example".to_owned()];
    for (variables, expected) in [
        (&[CACHE, HOST][..], acme()),
        (&[CACHE, ("HTTP_TLS_LETSENCRYPT_HOSTS_0", "registry.example")], acme()),
        (
            &[CACHE, ("HTTP_TLS_LETSENCRYPT_HOSTS", "a.example,b.example")],
            Acme { hosts: several, ..acme() },
        ),
        (
            &[
                CACHE,
                HOST,
                ("HTTP_TLS_LETSENCRYPT_EMAIL", "a@b.example"),
                ("HTTP_TLS_LETSENCRYPT_DIRECTORYURL", "https://acme.example/directory"),
                ("HTTP_TLS_LETSENCRYPT_DIRECTORYCA", "/acme.pem"),
            ],
            Acme {
                email: Some("a@b.example".to_owned()),
                directory: Some("https://acme.example/directory".to_owned()),
                directory_ca: Some("/acme.pem".into()),
                ..acme()
            },
        ),
    ] {
        let tls = read(variables).unwrap().tls.unwrap();
        assert_eq!(tls.certificate, Certificate::Acme(expected), "{variables:?}");
    }
}

#[test]
fn mistakes() {
    for (variables, expected) in [
        (&[CERTIFICATE][..], "REGISTRY_HTTP_TLS_CERTIFICATE needs REGISTRY_HTTP_TLS_KEY too"),
        (&[KEY], "REGISTRY_HTTP_TLS_KEY needs REGISTRY_HTTP_TLS_CERTIFICATE too"),
        (&[CERTIFICATE, ("HTTP_TLS_KEY", " ")], "needs REGISTRY_HTTP_TLS_KEY too"),
        (&[CERTIFICATE, KEY, CACHE, HOST], "are both set; keep one of them"),
        (&[CACHE], "needs REGISTRY_HTTP_TLS_LETSENCRYPT_HOSTS, the names"),
        (&[HOST], "and REGISTRY_HTTP_TLS_LETSENCRYPT_CACHEFILE, the directory"),
        (
            &[("HTTP_TLS_LETSENCRYPT_EMAIL", "a@b.example")],
            "needs REGISTRY_HTTP_TLS_LETSENCRYPT_HOSTS",
        ),
        (&[CA], "REGISTRY_HTTP_TLS_CLIENTCAS needs TLS"),
        (&[CERTIFICATE, KEY, ("HTTP_TLS_MINIMUMTLS", "tls1.0")], "older than TLS 1.2 is broken"),
        (&[CERTIFICATE, KEY, ("HTTP_TLS_MINIMUMTLS", "1.3")], "must be tls1.2 or tls1.3"),
        (
            &[CERTIFICATE, KEY, CA, ("HTTP_TLS_CLIENTAUTH", "request-client-cert")],
            "a certificate that nobody verifies proves nothing",
        ),
        (
            &[CERTIFICATE, KEY, CA, ("HTTP_TLS_CLIENTAUTH", "require-any-client-cert")],
            "a certificate that nobody verifies proves nothing",
        ),
        // Nobody would be asked for one.
        (
            &[CERTIFICATE, KEY, ("HTTP_TLS_CLIENTAUTH", "require-and-verify-client-cert")],
            "REGISTRY_HTTP_TLS_CLIENTAUTH needs REGISTRY_HTTP_TLS_CLIENTCAS,",
        ),
        (&[("HTTP_TLS_CIPHERSUITES_0", "x")], "only safe ones are offered"),
        (
            &[("HTTP_TLS_CERT", "x")],
            "is not a setting; did you mean REGISTRY_HTTP_TLS_CERTIFICATE?",
        ),
        (&[("HTTP_TLS_CERTIFICATES", "x")], "did you mean REGISTRY_HTTP_TLS_CERTIFICATE?"),
    ] {
        let problem = problem(variables);
        assert!(problem.contains(expected), "{variables:?}: {problem}");
    }
}
