//! Several instances under different hosts on one bucket of a real object store:
//! they do not know each other, and each request may go to any of them.

mod large;
mod streamed_layers;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use roadstead_tests::{Answer, Garage, Registry, Wasmtime, digest, send, skip};
use std::time::Duration;
use tempfile::TempDir;

const BUCKET: &str = "registry";
const NAME: &str = "many/instances";

/// The size of a chunk in bytes: not a multiple of a part's.
const CHUNK: usize = 3 * 1024 * 1024 + 11;

/// The chunks of an upload: enough for more than one part.
const CHUNKS: usize = 7;

/// How long an exchange with a registry may take.
const LIMIT: Duration = Duration::from_mins(1);

/// The number of blobs pushed while a node is killed, and their size in bytes.
const PUSHES: usize = 24;
const SMALL: usize = 300 * 1024;

struct Instances {
    registries: Vec<Registry>,
    garage: Garage,
    _directory: TempDir,
}

impl Instances {
    /// Two native hosts and, if it is installed, one wasmtime; `None` without
    /// Garage.
    fn start(test: &str) -> Option<Self> {
        let Some(garage) = Garage::start().unwrap() else {
            skip(test, "garage is not installed; run .ci/install-garage");
            return None;
        };
        garage.bucket(BUCKET).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let deletes = ("REGISTRY_STORAGE_DELETE_ENABLED", "true");
        // One serves blobs itself, the others redirect clients to the bucket.
        let streaming = ("REGISTRY_STORAGE_REDIRECT_DISABLE", "true");
        let store = |node| garage.settings(BUCKET, node);
        let mut registries = vec![
            Registry::start_over(&store(0), &[deletes]).unwrap(),
            Registry::start_over(&store(1), &[deletes, streaming]).unwrap(),
        ];
        println!("component in roadstead serve: {}", digest(roadstead_embedded::COMPONENT));
        let (component, third) = (directory.path().join("component.wasm"), store(2));
        let mut variables: Vec<_> = third.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        variables.push(deletes);
        match Wasmtime::start_bare(&component, &variables).unwrap() {
            Some(wasmtime) => {
                let file = std::fs::read(component).unwrap();
                println!("component in wasmtime serve: {}", digest(&file));
                assert_eq!(digest(&file), digest(roadstead_embedded::COMPONENT));
                registries.push(wasmtime);
            }
            None => drop(skip(test, "wasmtime is neither $WASMTIME nor on the PATH")),
        }
        Some(Self { registries, garage, _directory: directory })
    }

    /// Sends a request to the next instance.
    async fn ask(&self, turn: usize, request: Request<Bytes>) -> Answer {
        let address = &self.registries[turn % self.registries.len()].address;
        let what = format!("{} {}", request.method(), request.uri());
        let answer = tokio::time::timeout(LIMIT, send(address, request)).await;
        answer.unwrap_or_else(|_| panic!("{what}: no answer")).unwrap()
    }

    /// Pulls a blob from an instance, following its redirect.
    async fn pull(&self, turn: usize, blob: &str) -> Answer {
        let path = format!("/v2/{NAME}/blobs/{blob}");
        let answer = self.ask(turn, request("GET", &path, &[], Bytes::new())).await;
        if answer.status() != StatusCode::TEMPORARY_REDIRECT {
            return answer;
        }
        let location: http::Uri = header_of(&answer, "location").parse().unwrap();
        let authority = location.authority().unwrap().to_string();
        let path = location.path_and_query().unwrap().as_str();
        send(&authority, request("GET", path, &[], Bytes::new())).await.unwrap()
    }
}

fn request(method: &str, path: &str, headers: &[(&str, &str)], body: Bytes) -> Request<Bytes> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body).unwrap()
}

fn header_of<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.headers()[name].to_str().unwrap()
}

/// Bytes in which no two chunks are equal.
fn content(seed: usize, length: usize) -> Bytes {
    let mut state = seed as u64 * 2 + 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..length.div_ceil(8)).flat_map(|_| next()).take(length).collect()
}

fn closing(location: &str, blob: &str) -> String {
    let joint = if location.contains('?') { '&' } else { '?' };
    format!("{location}{joint}digest={blob}")
}

#[tokio::test]
async fn chunks_of_one_upload_go_to_any_instance() {
    let Some(all) = Instances::start("chunks_of_one_upload_go_to_any_instance") else { return };
    let whole = content(1, CHUNK * CHUNKS);
    let blob = digest(&whole);
    let uploads = format!("/v2/{NAME}/blobs/uploads/");
    let begun = all.ask(0, request("POST", &uploads, &[], Bytes::new())).await;
    assert_eq!(begun.status(), 202, "{begun:?}");
    let mut location = header_of(&begun, "location").to_owned();
    for turn in 0..CHUNKS {
        let (start, end) = (turn * CHUNK, (turn + 1) * CHUNK);
        let range = format!("{start}-{}", end - 1);
        let chunk = whole.slice(start..end);
        let headers = [("content-range", range.as_str())];
        let answer = all.ask(turn, request("PATCH", &location, &headers, chunk.clone())).await;
        assert_eq!(answer.status(), 202, "{turn}: {answer:?}");
        assert_eq!(header_of(&answer, "range"), format!("0-{}", end - 1));
        location = header_of(&answer, "location").to_owned();
        // The same chunk again, at another instance, which has its bytes
        // already.
        let again = all.ask(turn + 1, request("PATCH", &location, &headers, chunk)).await;
        assert_eq!(again.status(), 416, "{turn}: {again:?}");
    }
    let end = request("PUT", &closing(&location, &blob), &[], Bytes::new());
    let answer = all.ask(CHUNKS, end).await;
    assert_eq!(answer.status(), 201, "{answer:?}");
    for turn in 0..all.registries.len() {
        let pulled = all.pull(turn, &blob).await;
        assert!(pulled.status() == 200 && *pulled.body() == whole, "{turn}: {}", pulled.status());
        // Not all stores support suffix ranges, so there is no redirect.
        let path = format!("/v2/{NAME}/blobs/{blob}");
        let last =
            all.ask(turn, request("GET", &path, &[("range", "bytes=-5")], Bytes::new())).await;
        assert_eq!(last.status(), 206, "{turn}: {last:?}");
        assert_eq!(*last.body(), whole.slice(whole.len() - 5..));
    }
}

#[tokio::test]
async fn two_that_append_at_once_tear_nothing() {
    let Some(all) = Instances::start("two_that_append_at_once_tear_nothing") else { return };
    let uploads = format!("/v2/{NAME}/blobs/uploads/");
    for round in 0..4 {
        let begun = all.ask(round, request("POST", &uploads, &[], Bytes::new())).await;
        let location = header_of(&begun, "location").to_owned();
        let contents = [content(10 + round, 2 * CHUNK), content(20 + round, 2 * CHUNK)];
        let headers = [("content-range", &*format!("0-{}", 2 * CHUNK - 1))];
        let chunk =
            |at: usize| all.ask(at, request("PATCH", &location, &headers, contents[at].clone()));
        let (one, two) = futures::join!(chunk(0), chunk(1));
        let taken = [one, two].map(|answer| answer.status());
        assert!(taken.contains(&StatusCode::ACCEPTED), "{taken:?}");
        // Whichever request wins, all of its bytes count.
        let mut committed = 0;
        for (at, content) in contents.iter().enumerate() {
            let blob = digest(content);
            let end = request("PUT", &closing(&location, &blob), &[], Bytes::new());
            let ended = all.ask(round + at, end).await.status();
            let pulled = all.pull(round, &blob).await;
            if ended == StatusCode::CREATED {
                committed += 1;
                assert!(pulled.status() == 200 && pulled.body() == content);
            } else {
                assert!(ended.is_client_error(), "{ended}");
                assert_eq!(pulled.status(), 404);
            }
        }
        assert!(committed <= 1, "one session became two blobs");
    }
}

#[tokio::test]
async fn what_one_instance_writes_all_have() {
    let Some(all) = Instances::start("what_one_instance_writes_all_have") else { return };
    let config = Bytes::from_static(b"{}");
    let blob = digest(&config);
    let upload = format!("/v2/{NAME}/blobs/uploads/?digest={blob}");
    assert_eq!(all.ask(0, request("POST", &upload, &[], config)).await.status(), 201);
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let descriptor = serde_json::json!({
        "mediaType": "application/vnd.oci.image.config.v1+json", "digest": blob, "size": 2
    });
    let path = format!("/v2/{NAME}/manifests/latest");
    let turns = all.registries.len();
    for version in 0..4 {
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": kind, "config": descriptor, "layers": [],
            "annotations": { "version": version.to_string() }
        });
        let manifest = Bytes::from(manifest.to_string());
        let put = request("PUT", &path, &[("content-type", kind)], manifest.clone());
        let answer = all.ask(version, put).await;
        assert_eq!(answer.status(), 201, "{answer:?}");
        for turn in 0..turns {
            let found = all.ask(turn, request("GET", &path, &[], Bytes::new())).await;
            assert_eq!(found.body(), &manifest, "{turn}");
            assert_eq!(header_of(&found, "content-type"), kind);
            assert_eq!(header_of(&found, "docker-content-digest"), digest(&manifest));
        }
        let by_digest = format!("/v2/{NAME}/manifests/{}", digest(&manifest));
        let gone = all.ask(version + 1, request("DELETE", &by_digest, &[], Bytes::new())).await;
        assert_eq!(gone.status(), 202, "{gone:?}");
        for turn in 0..turns {
            for path in [&path, &by_digest] {
                let found = all.ask(turn, request("GET", path, &[], Bytes::new())).await;
                assert_eq!(found.status(), 404, "{turn} {path}");
            }
        }
    }
}

/// Two of three nodes are enough, whichever one is killed at whatever time.
#[tokio::test]
async fn a_node_dies_during_pushes() {
    let Some(mut all) = Instances::start("a_node_dies_during_pushes") else { return };
    let path = |blob: &str| format!("/v2/{NAME}/blobs/uploads/?digest={blob}");
    let mut pushed = Vec::new();
    for number in 0..PUSHES {
        if number == PUSHES / 3 {
            // Not a node of the first two instances.
            all.garage.kill(2).unwrap();
        }
        let content = content(100 + number, SMALL);
        let blob = digest(&content);
        let headers = [("content-type", "application/octet-stream")];
        // The third instance's node is gone.
        let answer = all.ask(number % 2, request("POST", &path(&blob), &headers, content)).await;
        assert_eq!(answer.status(), 201, "{number}: {answer:?}");
        pushed.push(blob);
    }
    for blob in &pushed {
        let pulled = all.pull(1, blob).await;
        assert_eq!(pulled.status(), 200);
        assert_eq!(digest(pulled.body()), *blob);
    }
    if all.registries.len() > 2 {
        // It answers with an error and does not hang.
        let answer =
            all.ask(2, request("GET", &format!("/v2/{NAME}/tags/list"), &[], Bytes::new()));
        let answer = answer.await;
        assert!(answer.status().is_server_error(), "{answer:?}");
        assert!(answer.headers().contains_key(header::CONTENT_TYPE), "{answer:?}");
    }
}
