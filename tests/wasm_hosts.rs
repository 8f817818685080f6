//! The same bytes under hosts of other projects: wasmCloud's `wash dev`. What
//! `wasmtime serve` does with them is in the tables of `api.rs`.

use roadstead_tests::{Target, binary_named, digest, get, post, run, skip};
use std::fs;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long wash may take: it compiles the component first.
const START_LIMIT: Duration = Duration::from_mins(3);

/// How often to look whether it has.
const START_PAUSE: Duration = Duration::from_millis(500);

/// A process that is ended when it is dropped.
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
        skip("wash_dev", "there is no wash; .ci/install-wash fetches it");
        return;
    };
    let project = tempfile::tempdir().unwrap();
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for directory in [".wash", "data", "home"] {
        fs::create_dir(project.path().join(directory)).unwrap();
    }
    fs::write(project.path().join("component.wasm"), roadstead::COMPONENT).unwrap();
    // As the repository's own, but for where things are.
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
        let request = http::Request::get("/v2/").body(bytes::Bytes::new()).unwrap();
        match target.send(request).await {
            Ok(answer) if answer.status() == http::StatusCode::OK => break,
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
