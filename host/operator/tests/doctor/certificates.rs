//! Faults of certificates.

use super::servers::{Authority, NAME, OK, always, between, config, mutual, named, tls};
use super::{doctor, examine, file};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use roadstead_operator::doctor::Level::{Fail, Ok, Warn};

/// Checks a server with such a certificate, whose CA is trusted.
fn trusted(params: &CertificateParams, host: &str) -> super::Outcome {
    let root = Authority::root("Test Root");
    let server = root.serve(params, always(OK));
    let (_directory, ca) = file(&root.certificate.pem());
    doctor(&format!("https://{host}:{}", server.port), &["--ca", &ca])
}

#[test]
fn a_good_one_is_good() {
    let outcome = trusted(&named(NAME, &[NAME, "127.0.0.1"]), NAME);
    outcome.fails(false);
    outcome.has(Ok, "TLS: TLSv1_3", "");
    let issued = "certificate 1 of 1: CN=registry.example, issued by CN=Test Root, valid until ";
    outcome.has(Ok, issued, "");
    outcome.has(Ok, "valid for registry.example: registry.example, 127.0.0.1", "");
    outcome.has(Ok, "it is trusted with --ca, but not by this machine's trust store", "");
    outcome.has(Warn, "Docker on this machine does not trust it", "sudo install -D -m 644");
    outcome.has(Ok, "GET /v2/: 200 OK; no login is required", "");
    trusted(&named(NAME, &[NAME, "127.0.0.1"]), "127.0.0.1").fails(false);
    trusted(&named(NAME, &["*.registry.example"]), "a.registry.example").fails(false);
}

#[test]
fn dates_are_checked() {
    let own = || named(NAME, &[NAME]);
    trusted(&between(own(), -30, -2), NAME)
        .has(Fail, "x509: certificate has expired or is not yet valid", "roadstead cert NAME")
        .has(Ok, "it is trusted with --ca", "");
    trusted(&between(own(), 2, 30), NAME).has(
        Fail,
        "certificate 1 is valid only from",
        "timedatectl set-ntp true",
    );
    // With the time of day of both clocks.
    let params = between(own(), -30, -2);
    let end = httpdate::fmt_http_date(params.not_after.into());
    let outcome = trusted(&params, NAME);
    outcome.has(Fail, &format!("expired on {end}, and here it is "), "clock");
    let line = outcome.text.lines().find(|line| line.contains(&end)).unwrap();
    assert_eq!(line.matches(" GMT").count(), 2, "{line}");
    trusted(&between(own(), -30, 13), NAME)
        .has(Warn, "expires in 13 days", "roadstead cert NAME")
        .fails(false);
    assert!(!trusted(&between(own(), -30, 20), NAME).text.contains("expires in"));
}

#[test]
fn names_are_checked() {
    trusted(&named(NAME, &[]), NAME).fails(true).has(
        Fail,
        "x509: certificate relies on legacy Common Name field, use SANs instead",
        "roadstead cert registry.example",
    );
    trusted(&named(NAME, &["other.example", "10.0.0.5"]), NAME).fails(true).has(
        Fail,
        "x509: certificate is valid for other.example, 10.0.0.5, not registry.example",
        "roadstead cert registry.example",
    );
    trusted(&named(NAME, &[NAME]), "127.0.0.1").fails(true).has(
        Fail,
        "x509: cannot validate certificate for 127.0.0.1 because it doesn't contain any IP SANs",
        "roadstead cert 127.0.0.1",
    );
    trusted(&named(NAME, &["::1"]), "127.0.0.1").has(
        Fail,
        "x509: certificate is valid for ::1, not 127.0.0.1",
        "roadstead cert",
    );
}

const UNKNOWN: &str = "x509: certificate signed by unknown authority";

#[test]
fn cas_are_checked() {
    let root = Authority::root("Test Root");
    let (_directory, ca) = file(&root.certificate.pem());
    let other = Authority::root("Other Root");
    let server = other.serve(&named(NAME, &[NAME]), always(OK));
    let url = format!("https://{NAME}:{}", server.port);
    for arguments in [&[][..], &["--ca", &ca]] {
        doctor(&url, arguments)
            .fails(true)
            .has(Fail, "the certificate of its issuer, CN=Other Root, is neither", "own root")
            .has(Fail, UNKNOWN, "/nonexistent/registry.example:");
    }
    // Docker accepts any certificate on its own machine; others do not.
    let server = other.serve(&named("x", &["localhost", "127.0.0.1"]), always(OK));
    examine(&format!("https://127.0.0.1:{}", server.port), &[], "").fails(true).has(
        Fail,
        "Docker accepts any on its own machine; other clients will say: x509",
        "own root",
    );
    // The CA was created again with the same name.
    let again = Authority::root("Test Root");
    let server = again.serve(&named(NAME, &[NAME]), always(OK));
    doctor(&format!("https://{NAME}:{}", server.port), &["--ca", &ca]).fails(true).has(
        Fail,
        "a CA with the name CN=Test Root is trusted here, but did not issue it",
        "created again",
    );
    // The CA is sent, but not trusted.
    let (certificate, key) = other.sign(&named(NAME, &[NAME]));
    let chain = vec![certificate, other.certificate.der().clone()];
    let server = tls(config(chain, &key), always(OK));
    doctor(&format!("https://{NAME}:{}", server.port), &["--ca", &ca])
        .has(Ok, "certificate 2 of 2: CN=Other Root, issued by itself", "")
        .has(Fail, "its CA, CN=Other Root, is not trusted here", "--ca FILE");
}

#[test]
fn a_missing_intermediate_is_found() {
    let root = Authority::root("Test Root");
    let middle = root.below("Test Middle");
    let (_directory, ca) = file(&root.certificate.pem());
    let (certificate, key) = middle.sign(&named(NAME, &[NAME]));
    let server = tls(config(vec![certificate.clone()], &key), always(OK));
    doctor(&format!("https://{NAME}:{}", server.port), &["--ca", &ca]).fails(true).has(
        Fail,
        "the certificate of its issuer, CN=Test Middle, is neither sent nor trusted",
        "append its certificate to the file of REGISTRY_HTTP_TLS_CERTIFICATE",
    );
    let chain = vec![certificate, middle.certificate.der().clone()];
    let server = tls(config(chain, &key), always(OK));
    doctor(&format!("https://{NAME}:{}", server.port), &["--ca", &ca]).fails(false);
}

#[test]
fn self_signed_certificates_are_explained() {
    // With CA:TRUE, as from `openssl req -x509`, and without.
    for authority in [true, false] {
        let key = KeyPair::generate().unwrap();
        let mut params = named(NAME, &[NAME]);
        if authority {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        let certificate = params.self_signed(&key).unwrap();
        let server = tls(config(vec![certificate.der().clone()], &key), always(OK));
        let url = format!("https://{NAME}:{}", server.port);
        doctor(&url, &[]).fails(true).has(
            Fail,
            "the certificate is self-signed and not trusted here; Docker will say: x509:",
            "--ca",
        );
        let (_directory, ca) = file(&certificate.pem());
        let outcome = doctor(&url, &["--ca", &ca, "--user", "alice", "--password-stdin"]);
        outcome.fails(false);
        if authority {
            outcome.has(Warn, "it is a CA certificate (CA:TRUE)", "roadstead cert");
        } else {
            outcome.has(Ok, "it is trusted with --ca", "");
        }
    }
}

#[test]
fn dockers_cas_are_checked() {
    let root = Authority::root("Test Root");
    let server = root.serve(&named(NAME, &[NAME]), always(OK));
    let url = format!("https://{NAME}:{}", server.port);
    let base = tempfile::tempdir().unwrap();
    let place = base.path().join(format!("{NAME}:{}", server.port));
    std::fs::create_dir(&place).unwrap();
    let directory = base.path().to_str().unwrap();
    let arguments = ["--address", "127.0.0.1", "--docker-directory", directory];
    let (_directory, ca) = file(&root.certificate.pem());
    let with_ca = [&arguments[..], &["--ca", &ca]].concat();
    std::fs::write(place.join("ca.crt"), root.certificate.pem()).unwrap();
    examine(&url, &arguments, "")
        .fails(false)
        .has(Ok, "Docker on this machine trusts it with ", "")
        .has(Ok, "ca.crt; other programs do not", "");
    examine(&url, &with_ca, "").fails(false).has(Ok, "Docker on this machine trusts it", "");
    std::fs::write(place.join("ca.crt"), Authority::root("Test Root").certificate.pem()).unwrap();
    examine(&url, &arguments, "").fails(true).has(
        Fail,
        "ca.crt exists, but does not make Docker trust it",
        "replace",
    );
    examine(&url, &with_ca, "").fails(false).has(
        Warn,
        "is another CA's certificate",
        "sudo install -D -m 644",
    );
    std::fs::write(place.join("ca.crt"), "nonsense").unwrap();
    examine(&url, &arguments, "").fails(true).has(Fail, "does not make Docker trust it", "replace");
}

#[test]
fn a_wrong_key_is_found() {
    let root = Authority::root("Test Root");
    let (_directory, ca) = file(&root.certificate.pem());
    let (certificate, _) = root.sign(&named(NAME, &[NAME]));
    let server = tls(config(vec![certificate], &KeyPair::generate().unwrap()), always(OK));
    let arguments = ["--ca", &ca, "--user", "alice", "--password-stdin"];
    doctor(&format!("https://{NAME}:{}", server.port), &arguments).fails(true).has(
        Fail,
        "signature does not match its certificate",
        "REGISTRY_HTTP_TLS_KEY",
    );
    let seen = server.seen.lock().unwrap();
    assert!(seen.iter().all(|head| !head.contains("authorization")), "{seen:?}");
}

#[test]
fn required_client_certificates_are_found() {
    let root = Authority::root("Test Root");
    let (_directory, ca) = file(&root.certificate.pem());
    let (certificate, key) = root.sign(&named(NAME, &[NAME]));
    let server = tls(mutual(vec![certificate], &key, &root), always(OK));
    let url = format!("https://{NAME}:{}", server.port);
    doctor(&url, &["--ca", &ca]).fails(true).has(Ok, "asks for a client certificate", "").has(
        Fail,
        "the registry requires a client certificate",
        "roadstead cert --client NAME",
    );
    let files = tempfile::tempdir().unwrap();
    let mut params = named("alice", &[]);
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let (certificate, key) = root.sign(&params);
    let path = |name: &str| files.path().join(name).to_str().unwrap().to_owned();
    let (own, own_key) = (path("client.cert"), path("client.key"));
    std::fs::write(&own, encode(&certificate)).unwrap();
    std::fs::write(&own_key, key.serialize_pem()).unwrap();
    let arguments = ["--ca", &ca, "--client-cert", &own, "--client-key", &own_key];
    doctor(&url, &arguments).fails(false).has(Ok, "GET /v2/: 200 OK", "");
}

fn encode(der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}

#[test]
fn names_cannot_contain_terminal_escapes() {
    let mut params = named("evil\u{1b}[2J\nok    fine", &[NAME]);
    params.is_ca = IsCa::ExplicitNoCa;
    let outcome = trusted(&params, NAME);
    assert!(!outcome.text.contains('\u{1b}'), "{}", outcome.text);
    assert!(outcome.text.lines().all(|line| !line.starts_with("ok    fine")), "{}", outcome.text);
}
