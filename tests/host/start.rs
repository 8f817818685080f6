//! Errors are reported at startup, with the name of the setting.

use crate::support::{TEST_LIMIT, assert_well, within};
use roadstead_tests::{Registry, command};
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// How long a host may take to report an error and exit. One that does not exit
/// would serve.
const REFUSAL_LIMIT: Duration = Duration::from_mins(1);

/// How often to check whether it has.
const POLL_PAUSE: Duration = Duration::from_millis(10);

/// `roadstead serve` with these variables, without those of the test.
pub fn serve(variables: &[(&str, &str)], arguments: &[&Path]) -> Command {
    let mut command = command(["serve"]);
    command.args(arguments);
    command.envs(variables.iter().copied());
    command
}

/// Runs a command that must fail, and returns its output.
pub fn refusal(mut command: Command) -> String {
    let mut process =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let deadline = Instant::now() + REFUSAL_LIMIT;
    while process.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            process.kill().unwrap();
            panic!("{command:?} still runs: {:?}", process.wait_with_output());
        }
        std::thread::sleep(POLL_PAUSE);
    }
    let Output { status, stderr, .. } = process.wait_with_output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{command:?}: {stderr}");
    stderr
}

pub fn assert_says(said: &str, expected: &[&str]) {
    for expected in expected {
        assert!(said.contains(expected), "{said:?} does not say {expected:?}");
    }
}

#[test]
fn mistakes_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let root = path("root").to_str().unwrap().to_owned();
    let here = ("REGISTRY_HTTP_ADDR", "127.0.0.1:0");
    let there = ("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", root.as_str());

    let said = refusal(serve(&[there, ("REGISTRY_HTTP_ADR", "127.0.0.1:0")], &[]));
    assert_says(&said, &["REGISTRY_HTTP_ADR ", "did you mean REGISTRY_HTTP_ADDR?"]);

    let said = refusal(serve(&[there, ("REGISTRY_HTTP_ADDR", "nonsense")], &[]));
    assert_says(&said, &["REGISTRY_HTTP_ADDR", "nonsense"]);

    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap().to_string();
    let said = refusal(serve(&[there, ("REGISTRY_HTTP_ADDR", &taken)], &[]));
    assert_says(&said, &["REGISTRY_HTTP_ADDR", &taken]);
    assert_eq!(said.lines().count(), 1, "{said}");

    let nowhere = "nowhere.invalid:5000";
    let said = refusal(serve(&[there, ("REGISTRY_HTTP_ADDR", nowhere)], &[]));
    assert_says(&said, &["REGISTRY_HTTP_ADDR", nowhere]);
    assert_eq!(said.lines().count(), 1, "{said}");

    let users = path("users").to_str().unwrap().to_owned();
    fs::write(&users, "").unwrap();
    let passwords =
        [("REGISTRY_AUTH", "htpasswd"), ("REGISTRY_AUTH_HTPASSWD_PATH", users.as_str())];
    let everywhere = ("REGISTRY_HTTP_ADDR", "0.0.0.0:0");
    let said = refusal(serve(&[&passwords[..], &[there, everywhere]].concat(), &[]));
    assert!(said.starts_with("Error: users would send their passwords"), "{said}");
    assert!(!said.contains("ERROR"), "{said}");

    let file = path("file").to_str().unwrap().to_owned();
    fs::write(&file, "").unwrap();
    let variable = ("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", file.as_str());
    let said = refusal(serve(&[here, variable], &[]));
    assert_says(&said, &["REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", &file]);

    let missing = path("missing");
    let said = refusal(serve(&[here, there], &[&missing]));
    assert_says(&said, &[missing.to_str().unwrap()]);

    let config = path("wrong.yml");
    fs::write(&config, "http: {adr: ':5000'}").unwrap();
    let said = refusal(serve(&[here, there], &[&config]));
    let name = format!("http.adr in {} ", config.display());
    assert_says(&said, &[&name, "did you mean http.addr?"]);

    // Not the user's own directory, but nothing at all.
    fs::write(&config, "storage: {inmemory: {}}").unwrap();
    let said = refusal(serve(&[here], &[&config]));
    assert_says(&said, &["storage.inmemory in ", "is not supported"]);
}

/// An error is its causes, whatever Rust is asked to add.
#[test]
fn errors_have_no_backtrace() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let root = file.to_str().unwrap();
    for variables in [
        [("REGISTRY_HTTP_ADR", ""), ("RUST_BACKTRACE", "1")],
        [("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", root), ("RUST_BACKTRACE", "full")],
        [("REGISTRY_HTTP_TLS_CERTIFICATE", root), ("REGISTRY_HTTP_TLS_KEY", root)],
    ] {
        let mut command = serve(&variables, &[]);
        command.env("RUST_LIB_BACKTRACE", "1");
        let said = refusal(command);
        assert!(said.starts_with("Error: ") && said.ends_with('\n'), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn components_that_are_none() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    let variables = [
        ("REGISTRY_HTTP_ADDR", "127.0.0.1:0"),
        ("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", root.to_str().unwrap()),
    ];
    let file = directory.path().join("component.wasm");
    let component = |bytes: &[u8]| {
        fs::write(&file, bytes).unwrap();
        refusal(serve(&variables, &[Path::new("--component"), &file]))
    };
    assert_says(&component(b"garbage"), &["cannot load the component"]);
    assert_says(&component(b""), &["cannot load the component"]);
    // A core module instead of a component, and a component without exports.
    assert_says(&component(b"\0asm\x01\0\0\0"), &["cannot load the component"]);
    assert_says(&component(b"\0asm\x0d\0\x01\0"), &["exports wasi:http/handler@0.3"]);
    // Neither sockets nor files of WASI 0.3 are there.
    for interface in ["wasi:sockets/network@0.2.6", "wasi:filesystem/types@0.3.0"] {
        let said = component(&importing(interface));
        assert_says(&said, &[interface, "wit/world.wit", "nothing else of WASI"]);
    }
    let half = &roadstead_embedded::COMPONENT[..roadstead_embedded::COMPONENT.len() / 2];
    assert_says(&component(half), &["cannot load the component"]);

    fs::remove_file(&file).unwrap();
    let said = refusal(serve(&variables, &[Path::new("--component"), &file]));
    assert_says(&said, &["cannot read", file.to_str().unwrap()]);
}

/// A component that imports a function `f` of an interface.
fn importing(interface: &str) -> Vec<u8> {
    let length = u8::try_from(interface.len()).unwrap();
    let header = b"\0asm\x0d\0\x01\0";
    // A type of instances that export a function without parameters and results.
    let types = b"\x07\x0e\x01\x42\x02\x01\x40\x00\x01\x00\x04\x00\x01f\x01\x00";
    let import = [0x0a, length + 5, 1, 0, length];
    [header, &types[..], &import, interface.as_bytes(), &[5, 0]].concat()
}

/// Different loopback addresses show which setting took effect.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_file_and_the_environment() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("config.yml");
    let [of_file, of_environment] = ["file", "environment"].map(|name| directory.path().join(name));
    let shown = of_file.display();
    let text = format!(
        "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {shown}}}}}\nhttp: {{addr: '127.0.0.2:0'}}\n"
    );
    fs::write(&config, text).unwrap();
    within(TEST_LIMIT, async {
        let host = Registry::serve(serve(&[], &[&config])).unwrap();
        assert!(host.address.starts_with("127.0.0.2:"), "{}", host.address);
        assert_well(&host.address).await;
        assert!(of_file.is_dir() && !of_environment.exists());
        drop(host);

        let environment = [
            ("REGISTRY_HTTP_ADDR", "127.0.0.3:0"),
            ("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", of_environment.to_str().unwrap()),
            // Someone else's.
            ("REGISTRY_URL", "https://registry.example"),
            ("REGISTRY_PASSWORD", "password"),
        ];
        let host = Registry::serve(serve(&environment, &[&config])).unwrap();
        assert!(host.address.starts_with("127.0.0.3:"), "{}", host.address);
        assert_well(&host.address).await;
        assert!(of_environment.is_dir());
    })
    .await;
}
