//! The project's own `spin.toml` under `spin up`, with the same bytes as
//! everywhere: over a mounted directory, over a bucket, and over the mounts of
//! Spin's that would lose a push.
//!
//! No package registry has Spin, so it is used where it is on the path, and
//! never required.
#![cfg(unix)]

use bytes::Bytes;
use http::{Request, StatusCode};
use roadstead_tests::{
    Garage, Registry, Step, Target, binary_named, digest, get, head, patch, post, put, run, send,
    skip,
};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const MANIFEST: &str = include_str!("../spin.toml");

/// Where it says that the component is, and the directory.
const COMPONENT: &str = "target/wasm32-wasip2/component/roadstead_component.wasm";
const DATA: &str = "data";

/// What makes Spin mount the directory itself, for writing.
const FLAGS: [&str; 2] = ["--direct-mounts", "--allow-transient-write"];

const KIND: &str = "application/vnd.oci.image.manifest.v1+json";
const BUCKET: &str = "spin";

/// Bytes of a layer: read and written in many pieces.
const LAYER: usize = 3 * 1024 * 1024 + 17;

/// How long a line of the log may take to arrive, and how often to look.
const LOG_LIMIT: Duration = Duration::from_secs(10);
const LOG_PAUSE: Duration = Duration::from_millis(20);

#[tokio::test]
async fn a_directory() {
    let Some(project) = Project::new("a_directory") else { return };
    let image = Image::new();
    let running = project.up(&FLAGS, &[]);
    run(&running.target(), &image.pushed()).await;
    run(&running.target(), &image.pulled()).await;
    drop(running);
    let running = project.up(&FLAGS, &[]);
    run(&running.target(), &image.pulled()).await;
    drop(running);
    // It is the directory that everyone else reads.
    let native = Registry::start(&project.path(DATA), &[], &[]).unwrap();
    println!("component in roadstead serve: {}", digest(roadstead::COMPONENT));
    run(&Target::Process(native), &image.pulled()).await;
}

#[tokio::test]
async fn mounts_that_lose_a_push() {
    let Some(project) = Project::new("mounts_that_lose_a_push") else { return };
    let command = format!("spin up {}", FLAGS.join(" "));
    let unmounted: Vec<_> = MANIFEST.lines().filter(|line| !line.starts_with("files")).collect();
    let unmounted = unmounted.join("\n");
    assert_ne!(unmounted, MANIFEST.trim_end());
    for (manifest, flags, what) in [
        (MANIFEST, &[][..], "/var/lib/registry is a copy"),
        (MANIFEST, &FLAGS[1..], "/var/lib/registry is a copy"),
        (MANIFEST, &FLAGS[..1], "/var/lib/registry is mounted read-only"),
        (&unmounted, &FLAGS, "nothing is mounted at /var/lib/registry"),
    ] {
        fs::write(project.path("spin.toml"), manifest).unwrap();
        let running = project.up(flags, &[]);
        let steps = [
            get("/v2/").error(503, "UNAVAILABLE"),
            head("/v2/").status(503),
            post("/v2/a/blobs/uploads/").error(503, "UNAVAILABLE"),
            post(format!("/v2/a/blobs/uploads/?digest={}", digest(b"content")))
                .body("content")
                .error(503, "UNAVAILABLE"),
        ];
        run(&running.target(), &steps).await;
        running.says(&[what, &command]).await;
        drop(running);
        assert_eq!(fs::read_dir(project.path(DATA)).unwrap().count(), 0, "{flags:?}");
    }
}

#[tokio::test]
async fn a_bucket() {
    let Some(project) = Project::new("a_bucket") else { return };
    let Some(garage) = Garage::start().unwrap() else {
        skip("a_bucket", "there is no garage: .ci/install-garage builds it");
        return;
    };
    garage.bucket(BUCKET).unwrap();
    let settings = garage.settings(BUCKET, 0);
    let endpoint = settings.iter().find(|(name, _)| name.ends_with("_REGIONENDPOINT")).unwrap();
    let image = Image::new();

    // Spin lets a component send requests only where the manifest says.
    let running = project.up(&[], &settings);
    run(&running.target(), &[get("/v2/").error(503, "UNAVAILABLE")]).await;
    running.says(&["cannot write to s3://spin", &endpoint.1]).await;
    drop(running);

    let allowed = format!("object_store={}", endpoint.1);
    let running = project.up(&["--variable", &allowed], &settings);
    run(&running.target(), &image.pushed()).await;
    image.pulled_by_redirect(&running.registry.address).await;
    // Another host, on the same bucket.
    let native = Registry::start_over(&garage.settings(BUCKET, 1), &[]).unwrap();
    println!("component in roadstead serve: {}", digest(roadstead::COMPONENT));
    image.pulled_by_redirect(&native.address).await;
    drop(running);
    let running = project.up(&["--variable", &allowed], &settings);
    image.pulled_by_redirect(&running.registry.address).await;
    assert_eq!(fs::read_dir(project.path(DATA)).unwrap().count(), 0);
}

/// A directory like the project's, as far as Spin looks at it.
struct Project {
    spin: PathBuf,
    directory: TempDir,
}

impl Project {
    /// `None` if there is no Spin.
    fn new(test: &str) -> Option<Self> {
        let Some(spin) = binary_named(&["spin"]) else {
            skip(test, "spin is not on the path");
            return None;
        };
        let project = Self { spin, directory: tempfile::tempdir().unwrap() };
        let component = project.path(COMPONENT);
        fs::create_dir_all(component.parent().unwrap()).unwrap();
        fs::create_dir(project.path(DATA)).unwrap();
        fs::create_dir(project.path("home")).unwrap();
        fs::write(project.path("spin.toml"), MANIFEST).unwrap();
        fs::write(&component, roadstead::COMPONENT).unwrap();
        let file = digest(&fs::read(&component).unwrap());
        println!("component in spin up: {file}");
        assert_eq!(file, digest(roadstead::COMPONENT));
        Some(project)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Runs `spin up` in the directory, on a port that the system chooses.
    fn up(&self, arguments: &[&str], variables: &[(String, String)]) -> Running {
        let mut command = Command::new("sh");
        command
            // It says on standard output where it listens.
            .args(["-c", "exec \"$@\" >&2", "sh"])
            .arg(&self.spin)
            .args(["up", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .args(variables.iter().flat_map(|(n, v)| ["-e".to_owned(), format!("{n}={v}")]))
            .current_dir(self.directory.path())
            // Where compiled code is cached.
            .env("HOME", self.path("home"))
            .env_remove("XDG_CACHE_HOME");
        let address = |line: &str| Some(line.split_once("Serving http://")?.1.trim().to_owned());
        Running { registry: Registry::spawn(command, address).unwrap() }
    }
}

/// Spin, which is two processes: only by a signal does the first end both.
struct Running {
    registry: Registry,
}

impl Running {
    fn target(&self) -> Target {
        Target::Server(self.registry.address.clone())
    }

    /// Waits until the log holds all of these in one line, or fails.
    async fn says(&self, parts: &[&str]) {
        let deadline = Instant::now() + LOG_LIMIT;
        loop {
            let log = self.registry.log();
            if log.lines().any(|line| parts.iter().all(|part| line.contains(part))) {
                return;
            }
            assert!(Instant::now() < deadline, "no line with {parts:?} in:\n{log}");
            tokio::time::sleep(LOG_PAUSE).await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let ended = self.registry.signal("TERM").and_then(|()| self.registry.wait());
        if let Err(error) = ended
            && !std::thread::panicking()
        {
            panic!("spin does not end: {error}");
        }
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

    /// How clients push: one blob in one request, the other in three.
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

    /// The layer from the bucket itself, to which the registry leads.
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
