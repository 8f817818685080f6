//! The official conformance program of the distribution specification, with
//! every feature on, against the native host, with and without TLS and a
//! password, over a directory and over object stores, and against the same
//! component under `wasmtime serve` and, where it is installed, Spin.
//!
//! The Go tool builds the program at a pinned version. Its exit status is not
//! reliable if its configuration does not load, so the result is read from its
//! `junit.xml`; reports are kept in `target/conformance/`.

use roadstead_tests::{
    Azurite, Garage, Gcs, PASSWORD, Pair, Registry, Spin, USER, Wasmtime, entry, skip,
    target_directory,
};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The version of the program: that of 31 August 2026.
const PROGRAM: &str =
    "github.com/opencontainers/distribution-spec/conformance@v0.0.0-20260831232431-97274622c111";

/// How long the program may run, in seconds: its HTTP client has no timeout.
const TIMEOUT: &str = "300";

/// A configuration with every feature on.
const FEATURES: [&str; 31] = [
    "API_PING",
    "API_PULL",
    "API_PUSH",
    "API_REFERRER",
    "API_BLOBS_ATOMIC",
    "API_BLOBS_DELETE",
    "API_BLOBS_DIGEST_HEADER",
    "API_BLOBS_MOUNT_ANONYMOUS",
    "API_BLOBS_UPLOAD_CANCEL",
    "API_MANIFESTS_ATOMIC",
    "API_MANIFESTS_DELETE",
    "API_MANIFESTS_DIGEST_HEADER",
    "API_MANIFESTS_TAG_PARAM",
    "API_TAGS_ATOMIC",
    "API_TAGS_DELETE",
    "API_TAGS_LIST",
    "DATA_IMAGE",
    "DATA_INDEX",
    "DATA_INDEX_LIST",
    "DATA_SPARSE",
    "DATA_ARTIFACT",
    "DATA_SUBJECT",
    "DATA_SUBJECT_MISSING",
    "DATA_ARTIFACT_LIST",
    "DATA_SUBJECT_LIST",
    "DATA_DATA_FIELD",
    "DATA_NONDISTRIBUTABLE",
    "DATA_CUSTOM_FIELDS",
    "DATA_NO_LAYERS",
    "DATA_EMPTY_BLOB",
    "DATA_SHA512",
];

/// Settings that the program needs beyond the defaults: deletes, and images that
/// lack layers.
const SETTINGS: [(&str, &str); 2] =
    [("REGISTRY_STORAGE_DELETE_ENABLED", "true"), ("REGISTRY_VALIDATION_MANIFESTS_SPARSE", "true")];

/// Settings over object stores. Their responses have no `Docker-Content-Digest`,
/// which the program expects after it has followed a redirect.
const OVER_STORES: [(&str, &str); 3] =
    [SETTINGS[0], SETTINGS[1], ("REGISTRY_STORAGE_REDIRECT_DISABLE", "true")];

#[test]
fn native_host() {
    let Some(program) = program("native_host") else { return };
    let root = tempfile::tempdir().unwrap();
    let registry = Registry::start(&root.path().join("data"), &SETTINGS, &[]).unwrap();
    judge("roadstead serve", &program, &registry.address, None);
}

/// Over TLS, with a password for each request.
#[test]
fn native_host_with_passwords() {
    let Some(program) = program("native_host_with_passwords") else { return };
    secure("roadstead serve TLS password", &program, "htpasswd");
}

/// Over TLS, with tokens that are issued for a password.
#[test]
fn native_host_with_tokens() {
    let Some(program) = program("native_host_with_tokens") else { return };
    secure("roadstead serve TLS token", &program, "token");
}

/// Over a Garage cluster.
#[test]
fn native_host_over_garage() {
    let Some(program) = program("native_host_over_garage") else { return };
    let Some(garage) = Garage::start().unwrap() else {
        skip("native_host_over_garage", "garage is not installed; run .ci/install-garage");
        return;
    };
    garage.bucket("conformance").unwrap();
    let settings = garage.settings("conformance", 0);
    let registry = Registry::start_over(&settings, &OVER_STORES).unwrap();
    judge("roadstead serve S3", &program, &registry.address, None);
}

/// The same component under another host.
#[test]
fn wasmtime_serve_over_garage() {
    let Some(program) = program("wasmtime_serve_over_garage") else { return };
    let Some(garage) = Garage::start().unwrap() else {
        skip("wasmtime_serve_over_garage", "garage is not installed; run .ci/install-garage");
        return;
    };
    garage.bucket("conformance").unwrap();
    let store = garage.settings("conformance", 0);
    let mut settings: Vec<_> = store.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    settings.extend(OVER_STORES);
    let directory = tempfile::tempdir().unwrap();
    let component = directory.path().join("component.wasm");
    let Some(registry) = Wasmtime::start_bare(&component, &settings).unwrap() else {
        skip("wasmtime_serve_over_garage", "wasmtime is neither $WASMTIME nor on the PATH");
        return;
    };
    judge("wasmtime serve S3", &program, &registry.address, None);
}

/// Over Azurite, an emulator of Azure Blob Storage.
#[tokio::test]
async fn native_host_over_azurite() {
    let Some(program) = program("native_host_over_azurite") else { return };
    let Some(azurite) = Azurite::start().unwrap() else {
        skip("native_host_over_azurite", "Azurite is not installed; run .ci/install-azurite");
        return;
    };
    azurite.container("conformance").await.unwrap();
    let settings = azurite.settings("conformance");
    let registry = Registry::start_over(&settings, &OVER_STORES).unwrap();
    judge("roadstead serve Azure", &program, &registry.address, None);
}

/// Over a stand-in for Google Cloud Storage.
#[test]
fn native_host_over_gcs() {
    let Some(program) = program("native_host_over_gcs") else { return };
    let gcs = Gcs::start().unwrap();
    let registry = Registry::start_over(&gcs.settings("conformance"), &OVER_STORES).unwrap();
    judge("roadstead serve GCS", &program, &registry.address, None);
}

#[test]
fn wasmtime_serve() {
    let Some(program) = program("wasmtime_serve") else { return };
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let Some(registry) = Wasmtime::start_with(&data, &SETTINGS).unwrap() else {
        skip("wasmtime_serve", "wasmtime is neither $WASMTIME nor on the PATH");
        return;
    };
    judge("wasmtime serve", &program, &registry.address, None);
}

#[test]
fn spin_up() {
    let Some(program) = program("spin_up") else { return };
    let Some(project) = Spin::project().unwrap() else {
        skip("spin_up", "spin is not on the PATH");
        return;
    };
    let running = project.up(&Spin::FLAGS, &SETTINGS).unwrap();
    judge("spin up", &program, &running.address, None);
}

/// Builds the program, once; `None` without Go.
fn program(test: &str) -> Option<PathBuf> {
    let tools = target_directory().unwrap().join("tools/bin");
    let program = tools.join("conformance");
    let version = Command::new("go").arg("version").stdout(Stdio::null()).status();
    if !version.is_ok_and(|status| status.success()) {
        skip(test, "Go, which builds the conformance program, is not installed");
        return None;
    }
    // Does nothing if that version is installed already.
    let built = Command::new("go")
        .args(["install", PROGRAM])
        .env("GOBIN", &tools)
        .env("GOFLAGS", "-mod=mod")
        .output()
        .unwrap();
    if built.status.success() && program.is_file() {
        return Some(program);
    }
    let problem = format!("go install {PROGRAM}: {}", String::from_utf8_lossy(&built.stderr));
    assert!(std::env::var_os("ROADSTEAD_REQUIRE_CLIENTS").is_none(), "{problem}");
    skip(test, &problem);
    None
}

fn secure(host: &str, program: &Path, scheme: &str) {
    let root = tempfile::tempdir().unwrap();
    let pair = Pair::new(&["127.0.0.1"]).unwrap();
    let users = entry().unwrap();
    let files = pair.settings();
    let mut settings = SETTINGS.to_vec();
    settings.extend(files.iter().map(|(name, value)| (*name, value.as_str())));
    settings.extend([("REGISTRY_AUTH", scheme), ("REGISTRY_AUTH_HTPASSWD_ENTRIES", &users)]);
    let registry = Registry::start(&root.path().join("data"), &settings, &[]).unwrap();
    judge(host, program, &registry.address, Some(&pair));
}

/// Runs the program; with a certificate, over TLS and as the user.
fn judge(host: &str, program: &Path, address: &str, pair: Option<&Pair>) {
    let results = target_directory().unwrap().join("conformance").join(host.replace(' ', "-"));
    let _ = std::fs::remove_dir_all(&results);
    std::fs::create_dir_all(&results).unwrap();
    let log = std::fs::File::create(results.join("log.txt")).unwrap();
    let mut command = Command::new("timeout");
    command
        .arg(TIMEOUT)
        .arg(program)
        .env("OCI_REGISTRY", address)
        .env("OCI_VERSION", "dev")
        .env("OCI_REPO1", "conformance/one")
        .env("OCI_REPO2", "conformance/two")
        .env("OCI_RESULTS_DIR", &results)
        .envs(FEATURES.map(|feature| (format!("OCI_{feature}"), "true")))
        .stdout(log.try_clone().unwrap())
        .stderr(log);
    match pair {
        None => command.env("OCI_TLS", "disabled"),
        Some(pair) => command
            .env("OCI_TLS", "enabled")
            .env("OCI_USERNAME", USER)
            .env("OCI_PASSWORD", PASSWORD)
            // Go's variable for the trusted CAs.
            .env("SSL_CERT_FILE", pair.authority()),
    };
    let status = command.status().unwrap();
    let junit = std::fs::read_to_string(results.join("junit.xml"))
        .unwrap_or_else(|error| panic!("{host}: no verdict ({status}): {error}"));
    let suite = junit.split("<testsuite ").nth(1).and_then(|rest| rest.split('>').next()).unwrap();
    let count = |name: &str| {
        let value =
            suite.split(&format!("{name}=\"")).nth(1).and_then(|rest| rest.split('"').next());
        value.map_or(0, |value| value.parse::<u32>().unwrap())
    };
    let (total, skipped) = (count("tests"), count("skipped"));
    let failed = count("failures") + count("errors");
    println!(
        "conformance of {host}: pass {}, fail {failed}, skip {skipped}; {}",
        total - failed - skipped,
        results.join("report.html").display()
    );
    assert!(total > 1000, "{host}: only {total} tests ran");
    assert_eq!((failed, skipped), (0, 0), "{host}: see {}", results.join("log.txt").display());
}
