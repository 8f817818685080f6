//! Errors of certificates and keys are reported at startup.

use crate::secure::{Authority, NAME, Pair, called, skip_without};
use crate::start::{assert_says, refusal, serve};
use rcgen::{CertificateParams, date_time_ymd};
use roadstead_tests::Registry;
use std::fs;
use std::path::Path;
use std::process::Command;

const CERTIFICATE: &str = "REGISTRY_HTTP_TLS_CERTIFICATE";
const KEY: &str = "REGISTRY_HTTP_TLS_KEY";

/// `roadstead serve` with the pair in a directory.
fn host(directory: &Path, variables: &[(&str, &str)]) -> Command {
    let [certificate, key] = Pair::files(directory);
    let root = directory.join("root");
    let own = [
        ("REGISTRY_HTTP_ADDR", "127.0.0.1:0"),
        ("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", root.to_str().unwrap()),
        (CERTIFICATE, certificate.to_str().unwrap()),
        (KEY, key.to_str().unwrap()),
    ];
    serve(&[&own, variables].concat(), &[])
}

#[test]
fn pairs_that_are_none() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let authority = Authority::new("authority");
    let (good, other) = (authority.server(1), authority.server(2));
    let [certificate, key] = Pair::files(directory);
    let encrypted = good.key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let two = format!("{}{}", good.key, other.key);
    let rows: [(&str, &str, &[&str]); 9] = [
        ("", &good.key, &[CERTIFICATE, "no certificate in"]),
        (&good.key, &good.key, &[CERTIFICATE, "no certificate in"]),
        ("garbage", &good.key, &[CERTIFICATE, "-----BEGIN CERTIFICATE-----"]),
        (&good.certificate, "", &[KEY, "no private key in"]),
        (&good.certificate, &good.certificate, &[KEY, "no private key in"]),
        (&good.certificate, &two, &[KEY, "several keys"]),
        (&good.certificate, &encrypted, &[KEY, "passphrase", "openssl pkey -in"]),
        (&good.certificate, &other.key, &[CERTIFICATE, KEY, "does not belong to"]),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            &good.key,
            &[CERTIFICATE],
        ),
    ];
    for (first, second, expected) in rows {
        fs::write(&certificate, first).unwrap();
        fs::write(&key, second).unwrap();
        assert_says(&refusal(host(directory, &[])), expected);
    }
    good.write(directory);
    fs::remove_file(&key).unwrap();
    let said = refusal(host(directory, &[]));
    assert_says(&said, &[KEY, key.to_str().unwrap(), "No such file", "roadstead cert"]);
    fs::remove_file(&certificate).unwrap();
    assert_says(&refusal(host(directory, &[])), &[CERTIFICATE, certificate.to_str().unwrap()]);
    fs::create_dir(&certificate).unwrap();
    let said = refusal(host(directory, &[]));
    assert_says(&said, &[CERTIFICATE, "directory"]);
    // There is something, which a new one might replace.
    assert!(!said.contains("roadstead cert"), "{said}");
    fs::remove_dir(&certificate).unwrap();

    good.write(directory);
    let clients = directory.join("clients.pem");
    let variable = [("REGISTRY_HTTP_TLS_CLIENTCAS_0", clients.to_str().unwrap())];
    let expected = ["REGISTRY_HTTP_TLS_CLIENTCAS", clients.to_str().unwrap()];
    assert_says(&refusal(host(directory, &variable)), &expected);
    fs::write(&clients, "").unwrap();
    assert_says(&refusal(host(directory, &variable)), &expected);
}

/// Certificates that some clients refuse are served, with a warning.
#[test]
fn pairs_with_problems() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let authority = Authority::new("authority");
    let named = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
    let mut expired = named.clone();
    expired.not_after = date_time_ymd(2001, 2, 3);
    expired.not_before = date_time_ymd(2000, 2, 3);
    let mut early = named;
    early.not_before = date_time_ymd(4000, 2, 3);
    let mut unnamed = CertificateParams::default();
    unnamed.distinguished_name = called(NAME);
    for (parameters, expected) in [
        (&expired, "expired on Sat, 03 Feb 2001 00:00:00 GMT, and here it is "),
        (&early, "03 Feb 4000 00:00:00 GMT, and here it is "),
        (&unnamed, "clients refuse certificates without subjectAltName"),
    ] {
        authority.sign(parameters).write(directory);
        let host = Registry::serve(host(directory, &[])).unwrap();
        let log = host.log();
        let line = log.lines().find(|line| line.contains(" WARN TLS: ")).unwrap();
        assert!(line.contains(expected), "{line}");
    }
}

/// Keys in the formats of different programs.
#[test]
fn forms_of_keys() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let openssl = |arguments: &str| {
        let mut command = Command::new("openssl");
        command.args(arguments.split(' ')).current_dir(directory);
        command.output().is_ok_and(|output| output.status.success())
    };
    if !openssl("version") {
        return skip_without("openssl", "forms_of_keys");
    }
    for steps in [
        &["genrsa -out key.pem 2048"][..],
        &["genrsa -traditional -out key.pem 2048"],
        // With an EC PARAMETERS block before the key.
        &["ecparam -genkey -name prime256v1 -out key.pem"],
        &["genpkey -algorithm ed25519 -out key.pem"],
    ] {
        for step in steps {
            assert!(openssl(step), "{step}");
        }
        assert!(openssl(
            "req -x509 -new -key key.pem -out certificate.pem -days 2 -subj /CN=a -addext \
             subjectAltName=DNS:registry.test"
        ));
        Registry::serve(host(directory, &[])).unwrap();
    }
    assert!(openssl("genrsa -traditional -aes128 -passout pass:secret -out key.pem 2048"));
    assert_says(&refusal(host(directory, &[])), &[KEY, "passphrase"]);
}

/// Passwords are not accepted in the clear over a network, unless a setting
/// allows it.
#[test]
fn passwords_without_tls() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    let there = ("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", root.to_str().unwrap());
    let everywhere = ("REGISTRY_HTTP_ADDR", "0.0.0.0:0");
    let users = (
        "REGISTRY_AUTH_HTPASSWD_ENTRIES",
        "user:$2y$04$otXFflgnRBs5/.9WB5WXoua48NmO/aSlvckSzhnCBf6fuoSZfGhni",
    );
    let said = refusal(serve(&[there, everywhere, users], &[]));
    let expected = [
        CERTIFICATE,
        KEY,
        "roadstead cert",
        "REGISTRY_HTTP_ADDR=127.0.0.1:",
        "REGISTRY_AUTH_PLAINHTTP=true",
    ];
    assert_says(&said, &expected);

    let plain = ("REGISTRY_AUTH_PLAINHTTP", "true");
    let loopback = ("REGISTRY_HTTP_ADDR", "127.0.0.1:0");
    Registry::serve(serve(&[there, everywhere], &[])).unwrap();
    Registry::serve(serve(&[there, everywhere, users, plain], &[])).unwrap();
    Registry::serve(serve(&[there, loopback, users], &[])).unwrap();
    Authority::new("authority").server(1).write(directory.path());
    Registry::serve(host(directory.path(), &[everywhere, users])).unwrap();
}
