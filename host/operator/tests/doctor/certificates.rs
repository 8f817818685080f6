//! What is wrong with certificates.

use crate::servers::{Authority, NAME, OK, always, between, config, mutual, named, tls};
use crate::{doctor, examine, file};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use roadstead_operator::doctor::Level::{Fail, Ok, Warn};

/// Examines a server with such a certificate, whose authority is trusted.
fn trusted(params: &CertificateParams, host: &str) -> crate::Outcome {
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
    outcome.has(Ok, "certificate 1 of 1: CN=registry.example, signed by CN=Test Root, until ", "");
    outcome.has(Ok, "valid for registry.example: registry.example, 127.0.0.1", "");
    outcome.has(Ok, "it is trusted by --ca, and not by this machine without", "");
    outcome.has(Warn, "Docker on this machine would not trust it", "sudo install -D -m 644");
    outcome.has(Ok, "GET /v2/: 200 OK; no password is asked for", "");
    trusted(&named(NAME, &[NAME, "127.0.0.1"]), "127.0.0.1").fails(false);
    trusted(&named(NAME, &["*.registry.example"]), "a.registry.example").fails(false);
}

#[test]
fn dates_are_looked_at() {
    let own = || named(NAME, &[NAME]);
    trusted(&between(own(), -30, -2), NAME)
        .has(Fail, "x509: certificate has expired or is not yet valid", "roadstead cert NAME")
        .has(Ok, "it is trusted by --ca", "");
    trusted(&between(own(), 2, 30), NAME).has(
        Fail,
        "certificate 1 is valid only from",
        "timedatectl set-ntp true",
    );
    trusted(&between(own(), -30, 13), NAME)
        .has(Warn, "expires in 13 days", "roadstead cert NAME")
        .fails(false);
    assert!(!trusted(&between(own(), -30, 20), NAME).text.contains("expires in"));
}

#[test]
fn names_are_looked_at() {
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
fn authorities_are_looked_at() {
    let root = Authority::root("Test Root");
    let (_directory, ca) = file(&root.certificate.pem());
    let other = Authority::root("Other Root");
    let server = other.serve(&named(NAME, &[NAME]), always(OK));
    let url = format!("https://{NAME}:{}", server.port);
    for arguments in [&[][..], &["--ca", &ca]] {
        doctor(&url, arguments)
            .fails(true)
            .has(Fail, "the certificate of CN=Other Root, who signed it, is neither", "own root")
            .has(Fail, UNKNOWN, "/nonexistent/registry.example:");
    }
    // Docker takes what is on its own machine, which this does not hide.
    let server = other.serve(&named("x", &["localhost", "127.0.0.1"]), always(OK));
    examine(&format!("https://127.0.0.1:{}", server.port), &[], "").fails(true).has(
        Fail,
        "Docker takes any from its own machine, other clients will say: x509",
        "own root",
    );
    // The authority was made again under its old name.
    let again = Authority::root("Test Root");
    let server = again.serve(&named(NAME, &[NAME]), always(OK));
    doctor(&format!("https://{NAME}:{}", server.port), &["--ca", &ca]).fails(true).has(
        Fail,
        "of the name CN=Test Root is known here, but did not sign it",
        "made anew",
    );
    // The authority is sent, and unknown.
    let (certificate, key) = other.sign(&named(NAME, &[NAME]));
    let chain = vec![certificate, other.certificate.der().clone()];
    let server = tls(config(chain, &key), always(OK));
    doctor(&format!("https://{NAME}:{}", server.port), &["--ca", &ca])
        .has(Ok, "certificate 2 of 2: CN=Other Root, signed by itself", "")
        .has(Fail, "nobody here knows the authority, CN=Other Root", "--ca FILE");
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
        "the certificate of CN=Test Middle, who signed it, is neither sent nor known",
        "append its certificate to the file of REGISTRY_HTTP_TLS_CERTIFICATE",
    );
    let chain = vec![certificate, middle.certificate.der().clone()];
    let server = tls(config(chain, &key), always(OK));
    doctor(&format!("https://{NAME}:{}", server.port), &["--ca", &ca]).fails(false);
}

#[test]
fn what_signs_itself_is_weighed() {
    // As `openssl req -x509` makes it, an authority too, and without that.
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
            "it is signed by itself; Docker will say: x509: certificate signed",
            "--ca",
        );
        let (_directory, ca) = file(&certificate.pem());
        let outcome = doctor(&url, &["--ca", &ca, "--user", "alice", "--password-stdin"]);
        outcome.fails(false);
        if authority {
            outcome.has(Warn, "the certificate of an authority (CA:TRUE)", "roadstead cert");
        } else {
            outcome.has(Ok, "it is trusted by --ca", "");
        }
    }
}

#[test]
fn dockers_authorities_are_looked_at() {
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
        .has(Ok, "Docker on this machine trusts it, by ", "")
        .has(Ok, "ca.crt; other programs do not", "");
    examine(&url, &with_ca, "").fails(false).has(Ok, "Docker on this machine trusts it", "");
    std::fs::write(place.join("ca.crt"), Authority::root("Test Root").certificate.pem()).unwrap();
    examine(&url, &arguments, "").fails(true).has(
        Fail,
        "ca.crt is there, but does not make Docker trust it",
        "replace",
    );
    examine(&url, &with_ca, "").fails(false).has(
        Warn,
        "is another authority's certificate",
        "sudo install -D -m 644",
    );
    std::fs::write(place.join("ca.crt"), "nonsense").unwrap();
    examine(&url, &arguments, "").fails(true).has(Fail, "does not make Docker trust it", "replace");
}

#[test]
fn a_foreign_key_is_found() {
    let root = Authority::root("Test Root");
    let (_directory, ca) = file(&root.certificate.pem());
    let (certificate, _) = root.sign(&named(NAME, &[NAME]));
    let server = tls(config(vec![certificate], &KeyPair::generate().unwrap()), always(OK));
    let arguments = ["--ca", &ca, "--user", "alice", "--password-stdin"];
    doctor(&format!("https://{NAME}:{}", server.port), &arguments).fails(true).has(
        Fail,
        "signature does not fit its certificate",
        "REGISTRY_HTTP_TLS_KEY",
    );
    let seen = server.seen.lock().unwrap();
    assert!(seen.iter().all(|head| !head.contains("authorization")), "{seen:?}");
}

#[test]
fn a_certificate_of_the_client_is_asked_for() {
    let root = Authority::root("Test Root");
    let (_directory, ca) = file(&root.certificate.pem());
    let (certificate, key) = root.sign(&named(NAME, &[NAME]));
    let server = tls(mutual(vec![certificate], &key, &root), always(OK));
    let url = format!("https://{NAME}:{}", server.port);
    doctor(&url, &["--ca", &ca]).fails(true).has(Ok, "asks for a client's certificate", "").has(
        Fail,
        "serves only clients with a certificate",
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
fn a_name_does_not_steer_the_terminal() {
    let mut params = named("evil\u{1b}[2J\nok    fine", &[NAME]);
    params.is_ca = IsCa::ExplicitNoCa;
    let outcome = trusted(&params, NAME);
    assert!(!outcome.text.contains('\u{1b}'), "{}", outcome.text);
    assert!(outcome.text.lines().all(|line| !line.starts_with("ok    fine")), "{}", outcome.text);
}
