//! `roadstead cert`, checked by OpenSSL and by rustls.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "the helpers of tests are tests")]

use clap::Parser;
use roadstead_operator::cert::{Args, run};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use tempfile::TempDir;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

/// Runs the command with its files in `directory`.
fn cert(directory: &Path, arguments: &[&str]) -> Result<String, String> {
    let output = ["cert", "--output", directory.to_str().unwrap()];
    let args = Cli::try_parse_from(output.iter().chain(arguments)).map_err(|e| e.to_string())?;
    let mut out = Vec::new();
    run(&args.args, &mut out).map_err(|error| format!("{error:#}"))?;
    Ok(String::from_utf8(out).unwrap())
}

/// Runs OpenSSL; where it is missing, prints that the test is skipped.
fn openssl(directory: &Path, arguments: &[&str]) -> Option<(bool, String)> {
    match Command::new("openssl").args(arguments).current_dir(directory).output() {
        Ok(output) => {
            let text = [output.stdout, output.stderr].concat();
            Some((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
        }
        Err(error) => {
            assert!(
                std::env::var_os("ROADSTEAD_REQUIRE_CLIENTS").is_none(),
                "no openssl: {error}; install it"
            );
            println!("SKIPPED: no openssl ({error})");
            None
        }
    }
}

fn directory() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn certificates(path: PathBuf) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(path).unwrap().map(Result::unwrap).collect()
}

/// A handshake in memory: a client that trusts `ca`, and the server's files.
fn handshake(ca: &Path, directory: &Path, name: &str) -> Result<(), rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    for certificate in certificates(ca.to_owned()) {
        roots.add(certificate)?;
    }
    let client = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(
            certificates(directory.join("server.crt")),
            PrivateKeyDer::from_pem_file(directory.join("server-key.pem")).unwrap(),
        )?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(client), name)?;
    let mut server = rustls::ServerConnection::new(Arc::new(server))?;
    while client.is_handshaking() || server.is_handshaking() {
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        server.read_tls(&mut bytes.as_slice()).unwrap();
        server.process_new_packets()?;
        bytes.clear();
        server.write_tls(&mut bytes).unwrap();
        client.read_tls(&mut bytes.as_slice()).unwrap();
        client.process_new_packets()?;
    }
    Ok(())
}

#[test]
fn openssl_accepts_what_is_made() {
    let files = directory();
    let files = files.path();
    cert(files, &["registry.example", "*.pages.example", "10.0.0.5", "fd00::5"]).unwrap();
    cert(files, &["--client", "alice"]).unwrap();
    for (arguments, expected) in [
        (&["verify", "-x509_strict", "-CAfile", "ca.crt", "server.crt"][..], true),
        (&["verify", "-purpose", "sslserver", "-CAfile", "ca.crt", "server.crt"], true),
        (&["verify", "-purpose", "sslclient", "-CAfile", "ca.crt", "server.crt"], false),
        (
            &["verify", "-verify_hostname", "registry.example", "-CAfile", "ca.crt", "server.crt"],
            true,
        ),
        (
            &["verify", "-verify_hostname", "a.pages.example", "-CAfile", "ca.crt", "server.crt"],
            true,
        ),
        (
            &["verify", "-verify_hostname", "other.example", "-CAfile", "ca.crt", "server.crt"],
            false,
        ),
        (&["verify", "-verify_ip", "10.0.0.5", "-CAfile", "ca.crt", "server.crt"], true),
        (&["verify", "-verify_ip", "::1", "-CAfile", "ca.crt", "server.crt"], true),
        (
            &[
                "verify",
                "-purpose",
                "sslclient",
                "-x509_strict",
                "-CAfile",
                "ca.crt",
                "client-alice.cert",
            ],
            true,
        ),
        (&["verify", "-purpose", "sslserver", "-CAfile", "ca.crt", "client-alice.cert"], false),
        (&["pkey", "-in", "server-key.pem", "-check", "-noout"], true),
    ] {
        let Some((accepted, text)) = openssl(files, arguments) else { return };
        assert_eq!(accepted, expected, "{arguments:?}: {text}");
    }
}

#[test]
fn extensions_are_those_of_their_kind() {
    let files = directory();
    let files = files.path();
    cert(files, &["registry.example", "*.pages.example", "10.0.0.5", "fd00::5"]).unwrap();
    cert(files, &["--client", "alice"]).unwrap();
    for (file, expected) in [
        (
            "ca.crt",
            &[
                "Subject: CN = Roadstead CA of registry.example",
                "X509v3 Basic Constraints: critical",
                "CA:TRUE, pathlen:0",
                "X509v3 Key Usage: critical",
                "Certificate Sign, CRL Sign",
                "X509v3 Subject Key Identifier",
            ][..],
        ),
        (
            "server.crt",
            &[
                "Subject: CN = registry.example",
                "DNS:registry.example, DNS:*.pages.example, IP Address:10.0.0.5, \
                 IP Address:FD00:0:0:0:0:0:0:5, DNS:localhost, IP Address:127.0.0.1, \
                 IP Address:0:0:0:0:0:0:0:1",
                "TLS Web Server Authentication",
                "Digital Signature",
                "CA:FALSE",
                "X509v3 Authority Key Identifier",
                "X509v3 Subject Key Identifier",
            ],
        ),
        ("client-alice.cert", &["Subject: CN = alice", "TLS Web Client Authentication"]),
    ] {
        let arguments = ["x509", "-in", file, "-noout", "-text", "-nameopt", "oneline,-esc_msb"];
        let Some((_, text)) = openssl(files, &arguments) else { return };
        for part in expected {
            assert!(text.contains(part), "{file} lacks {part}:\n{text}");
        }
    }
}

#[test]
fn rustls_accepts_what_is_made() {
    let files = directory();
    let ca = files.path().join("ca.crt");
    cert(files.path(), &["registry.example", "10.0.0.5"]).unwrap();
    for name in ["registry.example", "10.0.0.5", "localhost", "127.0.0.1", "::1"] {
        handshake(&ca, files.path(), name).unwrap();
    }
    assert!(handshake(&ca, files.path(), "other.example").is_err());
    let other = directory();
    cert(other.path(), &["registry.example"]).unwrap();
    assert!(handshake(&other.path().join("ca.crt"), files.path(), "localhost").is_err());
}

#[cfg(unix)]
#[test]
fn keys_are_for_their_owner() {
    use std::os::unix::fs::PermissionsExt as _;
    let files = directory();
    cert(files.path(), &["registry.example", "--client", "alice"]).unwrap();
    let mut seen: Vec<_> = std::fs::read_dir(files.path())
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode() & 0o7777;
            (entry.file_name().into_string().unwrap(), mode)
        })
        .collect();
    seen.sort();
    let expected = [
        ("ca-key.pem", 0o600),
        ("ca.crt", 0o644),
        ("client-alice.cert", 0o644),
        ("client-alice.key", 0o600),
        ("server-key.pem", 0o600),
        ("server.crt", 0o644),
    ];
    assert_eq!(seen, expected.map(|(name, mode)| (name.to_owned(), mode)));
}

#[test]
fn a_second_run_renews() {
    let files = directory();
    let read = |name: &str| std::fs::read(files.path().join(name)).unwrap();
    let names = ["ca.crt", "ca-key.pem", "server-key.pem", "server.crt"];
    cert(files.path(), &["registry.example"]).unwrap();
    let first = names.map(read);
    let said = cert(files.path(), &["registry.example", "new.example"]).unwrap();
    let second = names.map(read);
    assert_eq!(first[..3], second[..3]);
    assert_ne!(first[3], second[3]);
    assert!(said.contains("server-key.pem: its key; unchanged"), "{said}");
    handshake(&files.path().join("ca.crt"), files.path(), "new.example").unwrap();
    // A run that was interrupted before it wrote the CA's certificate.
    std::fs::remove_file(files.path().join("ca.crt")).unwrap();
    cert(files.path(), &["registry.example"]).unwrap();
    assert_eq!(read("ca-key.pem"), first[1]);
    handshake(&files.path().join("ca.crt"), files.path(), "registry.example").unwrap();
    std::fs::remove_file(files.path().join("ca-key.pem")).unwrap();
    let refused = cert(files.path(), &["registry.example"]).unwrap_err();
    assert!(refused.contains("without its key"), "{refused}");
}

/// `root` and, below it, `middle`: CAs created by OpenSSL, with non-ASCII
/// names and with kinds of keys that `roadstead cert` does not create.
fn authorities() -> Option<TempDir> {
    let made = directory();
    let Some((true, _)) = openssl(
        made.path(),
        &[
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            "root.key",
            "-out",
            "root.crt",
            "-days",
            "30",
            "-subj",
            "/C=DE/O=Müller & Co/CN=Root",
            "-utf8",
        ],
    ) else {
        return None;
    };
    let (done, text) = openssl(
        made.path(),
        &[
            "req",
            "-new",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-384",
            "-nodes",
            "-keyout",
            "middle.key",
            "-out",
            "middle.csr",
            "-subj",
            "/O=Müller/CN=Middle",
            "-utf8",
        ],
    )
    .unwrap();
    assert!(done, "{text}");
    std::fs::write(made.path().join("extensions"), "basicConstraints=critical,CA:TRUE\n").unwrap();
    let (done, text) = openssl(
        made.path(),
        &[
            "x509",
            "-req",
            "-in",
            "middle.csr",
            "-CA",
            "root.crt",
            "-CAkey",
            "root.key",
            "-CAcreateserial",
            "-out",
            "middle.crt",
            "-days",
            "20",
            "-extfile",
            "extensions",
        ],
    )
    .unwrap();
    assert!(done, "{text}");
    Some(made)
}

#[test]
fn an_authority_of_openssl_signs() {
    let Some(made) = authorities() else { return };
    let path = |name: &str| made.path().join(name).to_str().unwrap().to_owned();
    for authority in ["root", "middle"] {
        let files = directory();
        let (ca, key) = (path(&format!("{authority}.crt")), path(&format!("{authority}.key")));
        cert(files.path(), &["registry.example", "--ca-cert", &ca, "--ca-key", &key]).unwrap();
        assert!(!files.path().join("ca-key.pem").exists());
        handshake(Path::new(&path("root.crt")), files.path(), "registry.example").unwrap();
        let sent = certificates(files.path().join("server.crt")).len();
        // A root is not sent; an intermediate CA is.
        assert_eq!(sent, if authority == "root" { 1 } else { 2 });
        let root = path("root.crt");
        let arguments = ["verify", "-CAfile", &root, "-untrusted", "server.crt", "server.crt"];
        let (accepted, text) = openssl(files.path(), &arguments).unwrap();
        assert!(accepted, "{text}");
    }
}

#[test]
fn what_cannot_sign_is_refused() {
    let Some(made) = authorities() else { return };
    let path = |name: &str| made.path().join(name).to_str().unwrap().to_owned();
    let refused = |ca: &str, key: &str| {
        let files = directory();
        let arguments = ["a.example", "--ca-cert", &path(ca), "--ca-key", &path(key)];
        cert(files.path(), &arguments).unwrap_err()
    };
    assert!(refused("root.crt", "middle.key").contains("is not the key of"));
    assert!(refused("root.key", "root.key").contains("has no certificate"));
    assert!(refused("root.crt", "root.crt").contains("PKCS #8"));
    assert!(refused("none.crt", "root.key").contains("cannot read"));
    let files = directory();
    cert(files.path(), &["a.example"]).unwrap();
    let server = |name: &str| files.path().join(name).to_str().unwrap().to_owned();
    let arguments =
        ["b.example", "--ca-cert", &server("server.crt"), "--ca-key", &server("server-key.pem")];
    let refused = cert(directory().path(), &arguments).unwrap_err();
    assert!(refused.contains("is not a CA certificate"), "{refused}");
}

#[test]
fn nothing_outlives_its_authority() {
    let files = directory();
    cert(files.path(), &["a.example", "--ca-days", "3"]).unwrap();
    let Some((expires, text)) =
        openssl(files.path(), &["x509", "-in", "server.crt", "-noout", "-checkend", "259300"])
    else {
        return;
    };
    assert!(!expires, "{text}");
    assert!(cert(files.path(), &["a.example", "--days", "826"]).is_err());
}

#[test]
fn steps_name_the_registry() {
    let files = directory();
    let said =
        cert(files.path(), &["registry.example", "--port", "443", "--client", "bob"]).unwrap();
    let output = files.path().to_str().unwrap();
    for part in [
        &format!("REGISTRY_HTTP_ADDR=:443 REGISTRY_HTTP_TLS_CERTIFICATE={output}/server.crt "),
        "\"/etc/docker/certs.d/registry.example/ca.crt\"",
        "\"/etc/docker/certs.d/registry.example:443/ca.crt\"",
        "\"/etc/containers/certs.d/registry.example:443/ca.crt\"",
        "\"/etc/docker/certs.d/registry.example:443/client.key\"",
        "/usr/local/share/ca-certificates/registry.example.crt",
        "security add-trusted-cert",
        "certutil -addstore",
        "update-ca-trust enable",
        "/etc/containers/certs.d/registry.example/ca.crt",
        "/etc/containerd/certs.d/registry.example/hosts.toml",
        "/etc/rancher/k3s/registries.yaml",
        "REGISTRY_HTTP_TLS_CLIENTCAS_0=",
        "client-bob.key",
        "roadstead doctor https://registry.example --ca",
    ] {
        assert!(said.contains(part), "no {part} in:\n{said}");
    }
    let said = cert(files.path(), &["*.example.org", "fd00::5"]).unwrap();
    assert!(said.contains("\"/etc/docker/certs.d/[fd00::5]:5000/ca.crt\""), "{said}");
    assert!(said.contains("ca-certificates/-fd00--5--5000.crt"), "{said}");
    for (arguments, said) in [
        (&[][..], "required"),
        (&["registry.example:5000"], "--port 5000"),
        (&["a.example", "--ca-cert", "x"], "--ca-key"),
    ] {
        let problem = cert(files.path(), arguments).unwrap_err();
        assert!(problem.contains(said), "{problem}");
    }
}

#[test]
fn docker_is_told() {
    let (files, base) = (directory(), directory());
    let base_name = base.path().to_str().unwrap();
    let arguments = ["a.example", "*.b.example", "::1", "--install-docker", "--docker-directory"];
    let arguments = [&arguments[..], &[base_name]].concat();
    let said = cert(files.path(), &arguments).unwrap();
    let ca = std::fs::read(files.path().join("ca.crt")).unwrap();
    let mut places: Vec<_> =
        std::fs::read_dir(base.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    places.sort();
    assert_eq!(places, ["[::1]:5000", "a.example:5000"]);
    for place in places {
        assert_eq!(std::fs::read(base.path().join(place).join("ca.crt")).unwrap(), ca);
    }
    assert!(said.contains("a.example:5000/ca.crt written"), "{said}");
    let said = cert(files.path(), &arguments).unwrap();
    assert!(said.contains("a.example:5000/ca.crt is up to date"), "{said}");
    // Image names can have port 443 or leave it out.
    let again = directory();
    let arguments = ["a.example", "--port", "443", "--install-docker", "--docker-directory"];
    cert(files.path(), &[&arguments[..], &[again.path().to_str().unwrap()]].concat()).unwrap();
    for place in ["a.example", "a.example:443"] {
        assert_eq!(std::fs::read(again.path().join(place).join("ca.crt")).unwrap(), ca);
    }
    let file = base.path().join("file");
    std::fs::write(&file, "").unwrap();
    let arguments = ["a.example", "--install-docker", "--docker-directory", file.to_str().unwrap()];
    assert!(cert(files.path(), &arguments).unwrap_err().contains("cannot write"));
}

/// Clients read all of a directory that is given as `--cert-dir` or is in `certs.d`, and refuse
/// a `.key` without its `.cert`, and the other way round.
#[test]
fn the_directory_is_one_of_certificates() {
    let files = directory();
    cert(files.path(), &["registry.example", "--client", "alice"]).unwrap();
    let names: Vec<_> = std::fs::read_dir(files.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let mut pairs = 0;
    for name in &names {
        let other = match name.rsplit_once('.') {
            Some((name, "key")) => format!("{name}.cert"),
            Some((name, "cert")) => format!("{name}.key"),
            _ => continue,
        };
        assert!(names.contains(&other), "{name} without {other}");
        pairs += 1;
    }
    assert_eq!(pairs, 2, "{names:?}");
}

/// Directories of older versions keep their keys.
#[test]
fn older_names_of_keys_stay() {
    let files = directory();
    let path = |name: &str| files.path().join(name);
    cert(files.path(), &["registry.example"]).unwrap();
    for name in ["ca", "server"] {
        std::fs::rename(path(&format!("{name}-key.pem")), path(&format!("{name}.key"))).unwrap();
    }
    let ca = std::fs::read(path("ca.crt")).unwrap();
    let said = cert(files.path(), &["registry.example"]).unwrap();
    assert_eq!(std::fs::read(path("ca.crt")).unwrap(), ca);
    assert!(said.contains("server.key: its key; unchanged"), "{said}");
    assert!(!path("ca-key.pem").exists() && !path("server-key.pem").exists());
}
