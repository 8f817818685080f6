//! The same component under other projects' hosts: wasmCloud's `wash dev`, and
//! many instances of `wasmtime serve` in one directory. The tables of `api.rs`
//! also run under `wasmtime serve`; `spin.rs` covers Spin.

use bytes::Bytes;
use futures::stream::{self, StreamExt as _};
use http::{Request, StatusCode};
use roadstead_tests::{
    BY_SLICES, Target, Wasmtime, binary_named, digest, get, post, run, runs_by_slices, send, skip,
};
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// How long wash may take: it compiles the component first.
const START_LIMIT: Duration = Duration::from_mins(3);

/// How often to check whether it is ready.
const START_PAUSE: Duration = Duration::from_millis(500);

/// The number of requests, and of concurrent ones: enough for four instances,
/// each of which ends after 128.
const REQUESTS: usize = 1500;
const AT_ONCE: usize = 64;

/// The number of entries that are created and removed together.
const ENTRIES: usize = 20;

/// A process, killed when dropped.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn wash_dev() {
    let Some(wash) = binary_named(&["wash"]) else {
        skip("wash_dev", "wash is not installed; run .ci/install-wash");
        return;
    };
    let project = tempfile::tempdir().unwrap();
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for directory in [".wash", "data", "home"] {
        fs::create_dir(project.path().join(directory)).unwrap();
    }
    fs::write(project.path().join("component.wasm"), roadstead_embedded::COMPONENT).unwrap();
    // Like the repository's own, with other paths.
    let configuration = include_str!("../.wash/config.yaml")
        .replace("target/wasm32-wasip2/component/roadstead_component.wasm", "component.wasm")
        .replace("127.0.0.1:5000", &address.to_string());
    let mut lines: Vec<_> = configuration.lines().collect();
    let build = lines.iter().position(|line| line.contains("cargo build")).unwrap();
    lines[build] = "  command: \"true\"";
    fs::write(project.path().join(".wash/config.yaml"), lines.join("\n")).unwrap();
    let wash = Command::new(wash)
        .args(["dev", "--non-interactive"])
        .current_dir(project.path())
        .env("HOME", project.path().join("home"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _wash = Ended(wash.unwrap());
    let target = Target::Server(address.to_string());
    let deadline = Instant::now() + START_LIMIT;
    loop {
        let request = Request::get("/v2/").body(Bytes::new()).unwrap();
        match target.send(request).await {
            Ok(answer) if answer.status() == StatusCode::OK => break,
            last => assert!(Instant::now() < deadline, "not within {START_LIMIT:?}: {last:?}"),
        }
        tokio::time::sleep(START_PAUSE).await;
    }
    let blob = digest(b"content");
    let steps = [
        post(format!("/v2/a/blobs/uploads/?digest={blob}"))
            .header("content-type", "application/octet-stream")
            .body("content")
            .status(201),
        get(format!("/v2/a/blobs/{blob}")).content("content"),
    ];
    run(&target, &steps).await;
}

/// WASI stops reading a directory when an entry vanishes meanwhile, such as
/// another instance's temporary file or a tag. A regression test: tags were
/// missing then, and instances did not start.
#[tokio::test]
async fn entries_vanish_while_directories_are_read() {
    const LINK: &str = "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";
    let files = tempfile::tempdir().unwrap();
    let root = files.path().join("data");
    let tags = root.join("docker/registry/v2/repositories/a/_manifests/tags");
    let temporary = root.join(".roadstead/tmp");
    let tag = |name: &Path| {
        fs::create_dir_all(name.join("current")).unwrap();
        fs::write(name.join("current/link"), LINK).unwrap();
    };
    tag(&tags.join("stays"));
    fs::create_dir_all(&temporary).unwrap();
    let Some(registry) = Wasmtime::start(&root).unwrap() else {
        let test = "entries_vanish_while_directories_are_read";
        skip(test, "wasmtime is neither $WASMTIME nor on the PATH");
        return;
    };
    let ended = Arc::new(AtomicBool::new(false));
    let until = Arc::clone(&ended);
    let coming_and_going = std::thread::spawn(move || {
        while !until.load(Ordering::Relaxed) {
            let names = (0..ENTRIES).map(|at| temporary.join(at.to_string()));
            names.clone().for_each(|name| fs::write(name, "").unwrap());
            names.for_each(|name| fs::remove_file(name).unwrap());
            let names = (0..ENTRIES).map(|at| tags.join(format!("goes-{at}")));
            names.clone().for_each(|name| tag(&name));
            names.for_each(|name| fs::remove_dir_all(name).unwrap());
        }
    });
    let ask = async |_| {
        let request = Request::get("/v2/a/tags/list").body(Bytes::new()).unwrap();
        let answer = send(&registry.address, request).await.unwrap();
        let body = String::from_utf8_lossy(answer.body());
        assert!(answer.status() == StatusCode::OK && body.contains("\"stays\""), "{body}");
    };
    stream::iter(0..REQUESTS).for_each_concurrent(AT_ONCE, ask).await;
    ended.store(true, Ordering::Relaxed);
    coming_and_going.join().unwrap();
}

/// Nothing else drives it there: no slice is done without a request.
#[tokio::test]
async fn garbage_is_collected_by_requests() {
    let files = tempfile::tempdir().unwrap();
    let root = files.path().join("data");
    fs::create_dir(&root).unwrap();
    let Some(registry) = Wasmtime::start_with(&root, &BY_SLICES).unwrap() else {
        let test = "garbage_is_collected_by_requests";
        skip(test, "wasmtime is neither $WASMTIME nor on the PATH");
        return;
    };
    runs_by_slices(&registry.address, &root).await;
}

/// No process owns the sessions there: some of those who push remove what others left.
#[tokio::test]
async fn abandoned_uploads_are_removed_by_requests() {
    let files = tempfile::tempdir().unwrap();
    let root = files.path().join("data");
    let session = |repository: &str, name: &str, age| {
        let repositories = root.join("docker/registry/v2/repositories");
        let session = repositories.join(repository).join("_uploads").join(name);
        fs::create_dir_all(&session).unwrap();
        fs::write(session.join("startedat"), "2020-01-01T00:00:00Z").unwrap();
        let time = SystemTime::now() - age;
        File::open(session.join("startedat")).unwrap().set_modified(time).unwrap();
        session
    };
    let (old, new) = (Duration::from_hours(25), Duration::from_hours(23));
    let (one, two) =
        ("11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222");
    let [old, idle] = ["a", "b/idle"].map(|repository| session(repository, one, old));
    let new = session("a", two, new);
    let age = ("REGISTRY_STORAGE_MAINTENANCE_UPLOADPURGING_AGE", "24h");
    let Some(registry) = Wasmtime::start_with(&root, &[age]).unwrap() else {
        let test = "abandoned_uploads_are_removed_by_requests";
        skip(test, "wasmtime is neither $WASMTIME nor on the PATH");
        return;
    };
    let mut begun = 0;
    while old.exists() || idle.exists() {
        begun += 1;
        assert!(begun < 500, "of which one of 16 purges, by turns");
        let request = Request::post("/v2/a/blobs/uploads/").body(Bytes::new()).unwrap();
        assert_eq!(send(&registry.address, request).await.unwrap().status(), StatusCode::ACCEPTED);
    }
    assert!(new.exists());
}
