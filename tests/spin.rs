//! The project's own `spin.toml` under `spin up`, with the same component as
//! everywhere: over a mounted directory, over a bucket, and over those mounts of
//! Spin that would lose pushes.
//!
//! No package registry has Spin, so it is used where it is on the `PATH`, and
//! never required.
#![cfg(unix)]

use bytes::Bytes;
use http::{Request, StatusCode};
use roadstead_tests::{
    BY_SLICES, Garage, Registry, Spin, SpinUp, Step, Target, digest, get, head, patch, post, put,
    run, runs_by_slices, send, skip,
};
use std::fs;
use std::time::{Duration, Instant};

const KIND: &str = "application/vnd.oci.image.manifest.v1+json";
const BUCKET: &str = "spin";

/// The size of a layer in bytes: read and written in many pieces.
const LAYER: usize = 3 * 1024 * 1024 + 17;

/// How long a line of the log may take to appear, and how often to check.
const LOG_LIMIT: Duration = Duration::from_secs(10);
const LOG_PAUSE: Duration = Duration::from_millis(20);

#[tokio::test]
async fn a_directory() {
    let Some(project) = project("a_directory") else { return };
    let image = Image::new();
    let running = project.up(&Spin::FLAGS, &[]).unwrap();
    run(&target(&running), &image.pushed()).await;
    run(&target(&running), &image.pulled()).await;
    drop(running);
    let running = project.up(&Spin::FLAGS, &[]).unwrap();
    run(&target(&running), &image.pulled()).await;
    drop(running);
    // The native host reads the same directory.
    let native = Registry::start(&project.path(Spin::DATA), &[], &[]).unwrap();
    println!("component in roadstead serve: {}", digest(roadstead_embedded::COMPONENT));
    run(&Target::Process(native), &image.pulled()).await;
}

#[tokio::test]
async fn mounts_that_lose_a_push() {
    let Some(project) = project("mounts_that_lose_a_push") else { return };
    let command = format!("spin up {}", Spin::FLAGS.join(" "));
    let unmounted: Vec<_> =
        Spin::MANIFEST.lines().filter(|line| !line.starts_with("files")).collect();
    let unmounted = unmounted.join("\n");
    assert_ne!(unmounted, Spin::MANIFEST.trim_end());
    for (manifest, flags, what) in [
        (Spin::MANIFEST, &[][..], "/var/lib/registry is a copy"),
        (Spin::MANIFEST, &Spin::FLAGS[1..], "/var/lib/registry is a copy"),
        (Spin::MANIFEST, &Spin::FLAGS[..1], "/var/lib/registry is mounted read-only"),
        (&unmounted, &Spin::FLAGS, "nothing is mounted at /var/lib/registry"),
    ] {
        fs::write(project.path("spin.toml"), manifest).unwrap();
        let running = project.up(flags, &[]).unwrap();
        let steps = [
            get("/v2/").error(503, "UNAVAILABLE"),
            head("/v2/").status(503),
            post("/v2/a/blobs/uploads/").error(503, "UNAVAILABLE"),
            post(format!("/v2/a/blobs/uploads/?digest={}", digest(b"content")))
                .body("content")
                .error(503, "UNAVAILABLE"),
        ];
        run(&target(&running), &steps).await;
        says(&running, &[what, &command]).await;
        drop(running);
        assert_eq!(fs::read_dir(project.path(Spin::DATA)).unwrap().count(), 0, "{flags:?}");
    }
}

#[tokio::test]
async fn a_bucket() {
    let Some(project) = project("a_bucket") else { return };
    let Some(garage) = Garage::start().unwrap() else {
        skip("a_bucket", "garage is not installed; run .ci/install-garage");
        return;
    };
    garage.bucket(BUCKET).unwrap();
    let settings = garage.settings(BUCKET, 0);
    let settings: Vec<_> = settings.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let (_, endpoint) = settings.iter().find(|(n, _)| n.ends_with("_REGIONENDPOINT")).unwrap();
    let image = Image::new();

    // Spin lets a component send requests only to hosts in the manifest.
    let running = project.up(&[], &settings).unwrap();
    run(&target(&running), &[get("/v2/").error(503, "UNAVAILABLE")]).await;
    says(&running, &["cannot write to s3://spin", endpoint]).await;
    drop(running);

    let allowed = format!("object_store={endpoint}");
    let running = project.up(&["--variable", &allowed], &settings).unwrap();
    run(&target(&running), &image.pushed()).await;
    image.pulled_by_redirect(&running.address).await;
    // Another host, on the same bucket.
    let native = Registry::start_over(&garage.settings(BUCKET, 1), &[]).unwrap();
    println!("component in roadstead serve: {}", digest(roadstead_embedded::COMPONENT));
    image.pulled_by_redirect(&native.address).await;
    drop(running);
    // Without the manifest: as an app from a registry.
    let app = format!("{}/roadstead/app:0.1.0", native.address);
    let pushed = project.command(&["registry", "push", "--insecure", &app]).output().unwrap();
    assert!(pushed.status.success(), "{pushed:?}");
    let from = ["--insecure", "--from", &app, "--variable", &allowed];
    let running = project.up(&from, &settings).unwrap();
    image.pulled_by_redirect(&running.address).await;
    assert_eq!(fs::read_dir(project.path(Spin::DATA)).unwrap().count(), 0);
}

#[tokio::test]
async fn garbage_is_collected_by_requests() {
    let Some(project) = project("garbage_is_collected_by_requests") else { return };
    let running = project.up(&Spin::FLAGS, &BY_SLICES).unwrap();
    runs_by_slices(&running.address, &project.path(Spin::DATA)).await;
}

/// A project for the test; `None` without Spin.
fn project(test: &str) -> Option<Spin> {
    let Some(project) = Spin::project().unwrap() else {
        skip(test, "spin is not on the PATH");
        return None;
    };
    let file = digest(&fs::read(project.component()).unwrap());
    println!("component in spin up: {file}");
    assert_eq!(file, digest(roadstead_embedded::COMPONENT));
    Some(project)
}

fn target(running: &SpinUp) -> Target {
    Target::Server(running.address.clone())
}

/// Waits until a line of the log contains all of these, or fails.
async fn says(running: &SpinUp, parts: &[&str]) {
    let deadline = Instant::now() + LOG_LIMIT;
    loop {
        let log = running.log();
        if log.lines().any(|line| parts.iter().all(|part| line.contains(part))) {
            return;
        }
        assert!(Instant::now() < deadline, "no line with {parts:?} in:\n{log}");
        tokio::time::sleep(LOG_PAUSE).await;
    }
}

/// An image of one layer.
struct Image {
    config: Bytes,
    layer: Bytes,
    manifest: Bytes,
}

impl Image {
    fn new() -> Self {
        let config = Bytes::from_static(b"{}");
        let layer: Bytes = (0..LAYER).map(|at| (at * at % 251).to_le_bytes()[0]).collect();
        let descriptor = |kind: &str, bytes: &[u8]| serde_json::json!({ "mediaType": kind, "digest": digest(bytes), "size": bytes.len() });
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": KIND,
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
        });
        Self { config, layer, manifest: manifest.to_string().into() }
    }

    /// A push: one blob in one request, the other in three.
    fn pushed(&self) -> [Step; 5] {
        let (config, layer) = (digest(&self.config), digest(&self.layer));
        [
            post(format!("/v2/library/image/blobs/uploads/?digest={config}"))
                .header("content-type", "application/octet-stream")
                .body(self.config.clone())
                .status(201),
            post("/v2/library/image/blobs/uploads/").status(202),
            patch("{location}").body(self.layer.clone()).status(202),
            put(format!("{{location}}{{&}}digest={layer}")).status(201),
            put("/v2/library/image/manifests/latest")
                .header("content-type", KIND)
                .body(self.manifest.clone())
                .expect("docker-content-digest", digest(&self.manifest))
                .status(201),
        ]
    }

    fn pulled(&self) -> [Step; 5] {
        let manifest = digest(&self.manifest);
        let blob = |bytes: &Bytes| {
            get(format!("/v2/library/image/blobs/{}", digest(bytes))).content(bytes.clone())
        };
        [
            get("/v2/library/image/tags/list")
                .content(r#"{"name":"library/image","tags":["latest"]}"#),
            head("/v2/library/image/manifests/latest").expect("docker-content-digest", &manifest),
            get(format!("/v2/library/image/manifests/{manifest}")).content(self.manifest.clone()),
            blob(&self.config),
            blob(&self.layer),
        ]
    }

    /// Pulls the layer from the bucket, to which the registry redirects.
    async fn pulled_by_redirect(&self, address: &str) {
        let [tags, head, manifest, ..] = self.pulled();
        run(&Target::Server(address.to_owned()), &[tags, head, manifest]).await;
        let ask = |path: &str| Request::get(path).body(Bytes::new()).unwrap();
        let path = format!("/v2/library/image/blobs/{}", digest(&self.layer));
        let answer = send(address, ask(&path)).await.unwrap();
        assert_eq!(answer.status(), StatusCode::TEMPORARY_REDIRECT, "{answer:?}");
        let location: http::Uri = answer.headers()["location"].to_str().unwrap().parse().unwrap();
        let path = location.path_and_query().unwrap().as_str();
        let answer = send(location.authority().unwrap().as_str(), ask(path)).await.unwrap();
        assert!(answer.status() == 200 && *answer.body() == self.layer, "{}", answer.status());
    }
}
