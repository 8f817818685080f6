//! What doctor says of Docker's `insecure-registries` on this machine.

use super::servers::{Authority, NAME, OK, always, named, plain};
use super::{Outcome, examine};
use roadstead_operator::doctor::Level::{Ok, Warn};
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::Path;

/// Checks a registry, with this `daemon.json`, and an engine that answers `info` if there is one.
fn with(url: &str, file: &str, info: Option<&str>) -> Outcome {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("daemon.json");
    std::fs::write(&path, file).unwrap();
    let socket = directory.path().join("docker.sock");
    if let Some(info) = info {
        engine(&socket, info);
    }
    let arguments = [
        "--address",
        "127.0.0.1",
        "--docker-directory",
        "/nonexistent",
        "--docker-config",
        path.to_str().unwrap(),
        "--docker-socket",
        socket.to_str().unwrap(),
    ];
    examine(url, &arguments, "")
}

/// An engine that answers one request.
fn engine(socket: &Path, info: &str) {
    let listener = UnixListener::bind(socket).unwrap();
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{info}", info.len());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 1024];
        let read = stream.read(&mut head).unwrap();
        assert!(head[..read].starts_with(b"GET /info HTTP/1.1\r\n"));
        stream.write_all(answer.as_bytes()).unwrap();
    });
}

#[test]
fn listed_registries_are_accepted() {
    let server = plain(always(OK));
    let (url, port) = (format!("{NAME}:{}", server.port), server.port);
    let accepts = "Docker on this machine accepts plain HTTP: ";
    for entry in [&url, &format!("http://{url}"), "127.0.0.0/8"] {
        let outcome = with(&url, &format!("{{\"insecure-registries\": [\"{entry}\"]}}"), None);
        outcome.fails(false).has(Ok, accepts, "").has(Ok, "daemon.json lists ", "");
        assert!(!outcome.text.contains("Docker will say"), "{}", outcome.text);
        assert!(!outcome.text.contains("{\"insecure-registries\""), "{}", outcome.text);
    }
    for file in ["", "{}", "{\"insecure-registries\": [\"other.example\", \"10.0.0.0/8\"]}"] {
        let outcome = with(&url, file, None);
        outcome.fails(false).has(Warn, "Docker will say: http: server gave", "insecure-registries");
        assert!(!outcome.text.contains("lists"), "{}", outcome.text);
    }
    // Without the port, or with another.
    for entry in [NAME, "registry.example:1"] {
        let file = format!("{{\"insecure-registries\": [\"{entry}\"]}}");
        with(&url, &file, None).fails(false).has(
            Warn,
            &format!("lists {entry} under insecure-registries, which is not {NAME}:{port}"),
            &format!("list \"{NAME}:{port}\" there"),
        );
    }
    for file in ["nonsense", "{\"insecure-registries\": \"registry.example\"}"] {
        with(&url, file, None).has(Warn, "Docker does not start with it", "correct ");
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    let arguments = ["--address", "127.0.0.1", "--docker-directory", path, "--docker-config", path];
    examine(&url, &arguments, "").has(Warn, "cannot be read", "correct ");
}

/// The engine has the file as it was when it started, and what its flags add.
#[test]
fn the_engine_is_asked() {
    let server = plain(always(OK));
    let url = format!("{NAME}:{}", server.port);
    let file = format!("{{\"insecure-registries\": [\"{url}\"]}}");
    let info = |index: &str| {
        format!(
            "{{\"RegistryConfig\": {{\"InsecureRegistryCIDRs\": [\"::1/128\"], \"IndexConfigs\": \
             {{\"docker.io\": {{\"Secure\": true}}, \"{index}\": {{\"Secure\": false}}}}}}}}"
        )
    };
    with(&url, &file, Some(&info(&url))).has(Ok, "daemon.json lists ", "");
    with(&url, "{}", Some(&info(&url))).has(Ok, "docker info lists ", "");
    with(&url, &file, Some(&info("other.example"))).has(
        Warn,
        "but Docker has not read it",
        "sudo systemctl restart docker",
    );
    with(&url, &file, Some("nonsense")).has(Ok, "daemon.json lists ", "");
}

#[test]
fn certificates_are_not_verified() {
    let root = Authority::root("Test Root");
    let server = root.serve(&named(NAME, &[NAME]), always(OK));
    let url = format!("{NAME}:{}", server.port);
    with(&url, &format!("{{\"insecure-registries\": [\"{url}\"]}}"), None).fails(true).has(
        Warn,
        "Docker on this machine does not verify the certificate: ",
        "remove the entry",
    );
}
