//! Real clients against the real host.
//!
//! Each test needs installed programs, and is skipped with a message without
//! them. With `ROADSTEAD_REQUIRE_CLIENTS=1`, for machines that should have
//! them, it fails instead.
#![cfg(unix)]

mod docker;
mod jobs;

use bytes::Bytes;
use http::{Request, StatusCode};
use roadstead_tests::docker_engine::Engine;
use roadstead_tests::image::{self, Layout, Platform};
use roadstead_tests::program::{clients_required, output, poll, required, run, run_text};
use roadstead_tests::{Registry, Wasmtime, digest, send, skip};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::process::Command;

/// How long a push may take until its first bytes arrive.
const ARRIVAL_LIMIT: Duration = Duration::from_mins(1);

/// The size of a small layer, in bytes.
const SMALL_LAYER: usize = 100 << 10;

/// The size of a layer whose push takes long enough to be interrupted.
const LARGE_LAYER: usize = 200 << 20;

/// The minimum number of its bytes that arrive before the interruption.
const INTERRUPTED_AFTER: u64 = 4 << 20;

#[tokio::test]
async fn skopeo_copies_an_index_in_and_out() {
    if !required("skopeo_copies_an_index_in_and_out", "skopeo").await {
        return;
    }
    let files = tempfile::tempdir().unwrap();
    let root = files.path().join("registry");
    let layout = multi(&files.path().join("in")).await;
    let registry = Registry::start(&root, &[], &[]).unwrap();
    let name = "library/multi";
    push(&layout, &registry, name).await;
    check(&layout, &registry, name, &files.path().join("out")).await;
    let catalog = content(&registry, "/v2/_catalog").await;
    assert_eq!(catalog, r#"{"repositories":["library/multi"]}"#);
    stop(registry);

    let registry = Registry::start(&root, &[], &[]).unwrap();
    check(&layout, &registry, name, &files.path().join("again")).await;
    assert_eq!(content(&registry, "/v2/_catalog").await, catalog);
}

#[tokio::test]
async fn skopeo_copies_in_and_out_of_wasmtime_serve() {
    let test = "skopeo_copies_in_and_out_of_wasmtime_serve";
    if !required(test, "skopeo").await {
        return;
    }
    let files = tempfile::tempdir().unwrap();
    let root = files.path().join("registry");
    fs::create_dir(&root).unwrap();
    let Some(registry) = Wasmtime::start(&root).unwrap() else {
        let reason = "wasmtime is neither $WASMTIME nor on the PATH";
        assert!(!clients_required(), "{reason}, and is required");
        skip(test, reason);
        return;
    };
    let layout = multi(&files.path().join("in")).await;
    push(&layout, &registry, "library/multi").await;
    check(&layout, &registry, "library/multi", &files.path().join("out")).await;
}

#[tokio::test]
async fn docker_pushes_and_pulls() {
    let test = "docker_pushes_and_pulls";
    let files = tempfile::tempdir().unwrap();
    let dockerd = Ok(std::process::Command::new("dockerd"));
    let Some((engine, id)) = docker::engine_with_image(test, files.path(), dockerd).await else {
        return;
    };
    let root = files.path().join("registry");
    let registry = Registry::start(&root, &[], &[]).unwrap();
    // As users type it; the engine uses plain HTTP on its own machine.
    let port = registry.address.rsplit_once(':').unwrap().1;
    let image = format!("localhost:{port}/k8s.nginx");
    run(engine.docker().args(["tag", &id, &image])).await;
    run(engine.docker().args(["push", &image])).await;
    pull(&engine, &image, &id).await;
    assert_eq!(content(&registry, "/v2/_catalog").await, r#"{"repositories":["k8s.nginx"]}"#);

    let address = registry.address.clone();
    stop(registry);
    let registry =
        Registry::start(&root, &[("REGISTRY_HTTP_ADDR", address.as_str())], &[]).unwrap();
    pull(&engine, &image, &id).await;
    assert_eq!(content(&registry, "/v2/_catalog").await, r#"{"repositories":["k8s.nginx"]}"#);
}

#[tokio::test]
async fn a_push_survives_kill_9() {
    if !required("a_push_survives_kill_9", "skopeo").await {
        return;
    }
    let files = tempfile::tempdir().unwrap();
    let root = files.path().join("registry");
    let small = multi(&files.path().join("small")).await;
    let platform = Platform { architecture: "amd64", layer: LARGE_LAYER, gzip: false };
    let large = Layout::create(&files.path().join("large"), &[platform]).await;
    let mut registry = Registry::start(&root, &[], &[]).unwrap();
    push(&small, &registry, "library/small").await;
    let before = content(&registry, "/v2/_catalog").await;

    let mut command = copy(&large.reference(), &remote(&registry, "library/large"));
    let interrupted = tokio::spawn(async move { output(&mut command).await });
    // Where the first bytes of an upload arrive.
    let uploads = root.join(".roadstead/tmp");
    poll("no upload arrives", ARRIVAL_LIMIT, || {
        assert!(!interrupted.is_finished(), "the push ended before it could be interrupted");
        (arrived(&uploads) >= INTERRUPTED_AFTER).then_some(())
    })
    .await;
    registry.kill().unwrap();
    assert!(arrived(&uploads) < LARGE_LAYER as u64, "all had arrived already");
    let interrupted = interrupted.await.unwrap().unwrap();
    assert!(!interrupted.status.success(), "a push to a killed registry: {interrupted:?}");
    check_blobs(&root);

    let registry = Registry::start(&root, &[], &[]).unwrap();
    check_blobs(&root);
    assert_eq!(content(&registry, "/v2/_catalog").await, before);
    let manifest = format!("/v2/library/large/manifests/{}", image::TAG);
    assert_eq!(status(&registry, &manifest).await, StatusCode::NOT_FOUND);
    check(&small, &registry, "library/small", &files.path().join("small-out")).await;
    push(&large, &registry, "library/large").await;
    check(&large, &registry, "library/large", &files.path().join("large-out")).await;
    check_blobs(&root);
    assert_eq!(
        content(&registry, "/v2/_catalog").await,
        r#"{"repositories":["library/large","library/small"]}"#
    );
}

/// An index of two platforms with a layer each.
async fn multi(directory: &Path) -> Layout {
    let platforms = ["amd64", "arm64"].map(|architecture| Platform {
        architecture,
        layer: SMALL_LAYER,
        gzip: true,
    });
    Layout::create(directory, &platforms).await
}

/// skopeo's name of a repository's [`image::TAG`].
fn remote(registry: &Registry, name: &str) -> String {
    format!("docker://{}/{name}:{}", registry.address, image::TAG)
}

fn skopeo() -> Command {
    let mut skopeo = Command::new("skopeo");
    // The machine's policy may require signatures.
    skopeo.arg("--insecure-policy");
    skopeo
}

/// `skopeo copy` of all images, unchanged.
fn copy(from: &str, to: &str) -> Command {
    let mut skopeo = skopeo();
    skopeo.args(["copy", "--all", "--preserve-digests"]);
    skopeo.args(["--src-tls-verify=false", "--dest-tls-verify=false"]).args([from, to]);
    skopeo
}

async fn push(layout: &Layout, registry: &Registry, name: &str) {
    run(&mut copy(&layout.reference(), &remote(registry, name))).await;
}

/// Asserts that the registry has the tag and everything that it references,
/// byte for byte; copies it to the directory `out`.
async fn check(layout: &Layout, registry: &Registry, name: &str, out: &Path) {
    let repository = format!("docker://{}/{name}", registry.address);
    let tags = run(skopeo().args(["list-tags", "--tls-verify=false", &repository])).await;
    let tags: Value = serde_json::from_slice(&tags).unwrap();
    assert_eq!(tags["Tags"], json!([image::TAG]));
    let remote = remote(registry, name);
    let raw = run(skopeo().args(["inspect", "--raw", "--tls-verify=false", &remote])).await;
    assert_eq!(digest(&raw), layout.digest);
    run(&mut copy(&remote, &image::reference(out))).await;
    let copied = Layout::open(out);
    assert_eq!(copied.digest, layout.digest);
    assert_eq!(copied.digests(), layout.digests());
}

/// The engine pulls the image from the registry, even if it has it already.
async fn pull(engine: &Engine, image: &str, id: &str) {
    run(engine.docker().args(["image", "rm", "--force", id])).await;
    assert_eq!(run_text(engine.docker().args(["image", "ls", "--quiet"])).await, "");
    run(engine.docker().args(["pull", image])).await;
    let pulled = run_text(engine.docker().args(["inspect", "--format={{.Id}}", image])).await;
    assert_eq!(pulled, id);
}

/// Stops a registry as an operator does, and waits until it is gone.
fn stop(mut registry: Registry) {
    registry.signal("TERM").unwrap();
    let status = registry.wait().unwrap();
    assert!(status.success(), "{status}\n{}", registry.log());
}

async fn answer(registry: &Registry, path: &str) -> roadstead_tests::Answer {
    let request = Request::get(path).body(Bytes::new()).unwrap();
    send(&registry.address, request).await.unwrap()
}

async fn status(registry: &Registry, path: &str) -> StatusCode {
    answer(registry, path).await.status()
}

/// A file as text.
async fn content(registry: &Registry, path: &str) -> String {
    let answer = answer(registry, path).await;
    assert_eq!(answer.status(), StatusCode::OK, "{path}: {:?}", answer.body());
    String::from_utf8(answer.into_body().to_vec()).unwrap()
}

/// The size of the largest file of all upload sessions.
fn arrived(uploads: &Path) -> u64 {
    files_below(uploads)
        .iter()
        .filter_map(|file| file.metadata().ok())
        .map(|file| file.len())
        .max()
        .unwrap_or(0)
}

/// Asserts that every blob on disk has its digest.
fn check_blobs(root: &Path) {
    let blobs = root.join("docker/registry/v2/blobs/sha256");
    // A blob's directory may also contain the registry's hints.
    let mut files = files_below(&blobs);
    files.retain(|file| file.ends_with("data"));
    assert!(!files.is_empty());
    for file in files {
        let name = file.parent().and_then(Path::file_name).unwrap().to_str().unwrap();
        assert_eq!(image::file_digest(&file), format!("sha256:{name}"), "{}", file.display());
    }
}

/// All files below a directory; none if it does not exist. Files may appear and
/// disappear meanwhile.
fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() { directories.push(path) } else { files.push(path) }
        }
    }
    files
}
