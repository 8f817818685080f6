//! Scrubbing: of a registry that runs, and of its directory.

use crate::disk::Disk;
use crate::start::assert_says;
use crate::support::{TEST_LIMIT, eventually, push_blob, within};
use bytes::Bytes;
use http::Request;
use roadstead_tests::{Registry, command, digest, send};
use serde_json::{Value, json};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

const DELETE: (&str, &str) = ("REGISTRY_STORAGE_DELETE_ENABLED", "true");
const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";

fn scrub(arguments: &[&str]) -> Output {
    command(["scrub"].iter().chain(arguments)).output().unwrap()
}

/// The result as JSON, with the exit status.
fn result(arguments: &[&str]) -> (i32, Value) {
    let output = scrub(&[&["--json"], arguments].concat());
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let json = serde_json::from_slice(&output.stdout);
    (output.status.code().unwrap(), json.unwrap_or_else(|error| panic!("{error}: {errors}")))
}

fn kinds(result: &Value) -> Vec<&str> {
    let findings = result["findings"].as_array().unwrap();
    findings.iter().map(|finding| finding["kind"].as_str().unwrap()).collect()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

async fn status(host: &Registry, method: &str, path: &str, body: Bytes) -> u16 {
    let request = Request::builder().method(method).uri(path).header("content-type", IMAGE);
    send(&host.address, request.body(body).unwrap()).await.unwrap().status().as_u16()
}

fn data(root: &Path, blob: &[u8]) -> PathBuf {
    Disk(root).blob(&digest(blob))
}

/// A byte of a layer is damaged on disk: it is found, moved away, pushed again and
/// pulled.
#[tokio::test]
async fn a_damaged_layer_is_found_and_healed() {
    let root = tempfile::tempdir().unwrap();
    within(TEST_LIMIT, async {
        let host = Registry::start(root.path(), &[DELETE], &[]).unwrap();
        let url = format!("http://{}", host.address);
        let (config, layer) = (Bytes::from("{}"), Bytes::from(vec![7; 3_000_000]));
        let of = |bytes: &Bytes| json!({ "mediaType": "a/b", "digest": digest(bytes), "size": bytes.len() });
        let manifest = json!({ "schemaVersion": 2, "mediaType": IMAGE, "config": of(&config),
            "layers": [of(&layer)] });
        for blob in [&config, &layer] {
            push_blob(&host.address, "a", blob).await;
        }
        let manifest = Bytes::from(manifest.to_string());
        assert_eq!(status(&host, "PUT", "/v2/a/manifests/t", manifest.clone()).await, 201);
        assert_eq!(result(&[&url]).0, 0);
        let path = data(root.path(), &layer);
        let mut bytes = layer.to_vec();
        bytes[1_500_000] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        // By the registry, and beside it.
        for target in [url.as_str(), text(root.path())] {
            let (code, found) = result(&[target]);
            assert_eq!((code, kinds(&found)), (1, vec!["corrupt", "content-corrupt"]), "{found}");
            assert_eq!(found["findings"][0]["digest"], digest(&layer));
            assert_eq!(found["findings"][0]["computed"], digest(&bytes));
        }
        let output = scrub(&["--quarantine", text(root.path())]);
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_says(&said, &["another process serves", "by its URL"]);
        let (code, found) = result(&["--quarantine", &url]);
        let expected = ["corrupt", "quarantined", "content-missing"];
        assert_eq!((code, kinds(&found)), (1, expected.to_vec()), "{found}");
        assert!(!path.exists());
        assert_eq!(std::fs::read(path.with_file_name("_quarantined")).unwrap(), bytes);
        let blob = format!("/v2/a/blobs/{}", digest(&layer));
        assert_eq!(status(&host, "HEAD", &blob, Bytes::new()).await, 404);
        push_blob(&host.address, "a", &layer).await;
        assert_eq!(status(&host, "GET", &blob, Bytes::new()).await, 200);
        assert_eq!(std::fs::read(&path).unwrap(), layer);
        assert_eq!(result(&[&url]).0, 0);
    })
    .await;
}

/// The file of `--state`, over a directory that nobody serves.
#[tokio::test]
async fn a_scrub_of_a_directory_goes_on() {
    let root = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    let state = other.path().join("state.json");
    within(TEST_LIMIT, async {
        let mut host = Registry::start(root.path(), &[], &[]).unwrap();
        for number in 0..5_u8 {
            push_blob(&host.address, "a", &Bytes::from(vec![number; 100_000])).await;
        }
        host.kill().unwrap();
        std::fs::write(data(root.path(), &vec![3; 100_000]), "damaged").unwrap();
        let output = scrub(&[text(root.path()), "--state", text(&state)]);
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_says(&said, &["corrupt: sha256:", "5 blobs with 390.6 KiB", "corrupt: 1"]);
        let kept: Value = serde_json::from_slice(&std::fs::read(&state).unwrap()).unwrap();
        assert_eq!((kinds(&kept), &kept["cursor"]), (vec!["corrupt"], &Value::Null));
        let output = scrub(&[text(other.path())]);
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_says(&said, &["is no data directory"]);
        // Nothing of the program is left in the directory.
        assert!(!other.path().join(".roadstead").exists());
        let output = scrub(&[text(root.path()), "--cursor", "1.x"]);
        assert_eq!(output.status.code(), Some(2));
        assert_says(&String::from_utf8_lossy(&output.stderr), &["400", "the cursor is invalid"]);
    })
    .await;
}

/// Scrubs so slowly that it takes many slices, until something was found, and kills the process.
/// Returns what its file has then.
async fn killed_scrub(arguments: &[&str], state: &Path) -> Value {
    let saved = || -> Option<Value> { serde_json::from_slice(&std::fs::read(state).ok()?).ok() };
    let scrub = command([&["scrub", "--rate", "30000"], arguments].concat());
    let mut scrub = tokio::process::Command::from(scrub);
    scrub.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let mut process = scrub.spawn().unwrap();
    eventually("nothing was found", async || saved().filter(|kept| !kinds(kept).is_empty())).await;
    process.kill().await.unwrap();
    let ended = process.wait().await.unwrap();
    assert_eq!(ended.signal(), Some(9), "it ended by itself: {ended}");
    saved().unwrap()
}

/// A process that is killed in the middle of a blob: the next one reads nothing again, and counts
/// everything once.
#[tokio::test]
async fn a_scrub_that_is_killed_goes_on() {
    let root = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    let state = other.path().join("state.json");
    let mut blobs: Vec<_> = (0..24_u8).map(|number| Bytes::from(vec![number; 20_000])).collect();
    let bytes: u64 = 24 * 20_000;
    // In the order in which they are read.
    blobs.sort_by_cached_key(|blob| digest(blob));
    let [first, .., last] = &blobs[..] else { panic!("too few blobs") };
    within(TEST_LIMIT, async {
        let mut host = Registry::start(root.path(), &[], &[]).unwrap();
        for blob in &blobs {
            push_blob(&host.address, "a", blob).await;
        }
        host.kill().unwrap();
        for blob in [first, last] {
            std::fs::write(data(root.path(), blob), vec![255; 20_000]).unwrap();
        }
        let arguments = [text(root.path()), "--state", text(&state)];
        let kept = killed_scrub(&arguments, &state).await;
        assert_eq!(kinds(&kept), ["corrupt"], "{kept}");
        assert!(kept["cursor"].is_string(), "{kept}");
        assert!((1..bytes).contains(&kept["hashed"].as_u64().unwrap()), "{kept}");
        // A scrub that reads this one again does not find it.
        std::fs::write(data(root.path(), first), first).unwrap();
        let (code, found) = result(&arguments);
        assert_eq!((code, kinds(&found)), (1, vec!["corrupt"; 2]), "{found}");
        for (number, blob) in [first, last].into_iter().enumerate() {
            assert_eq!(found["findings"][number]["digest"], digest(blob), "{found}");
        }
        let counts = &found["counts"];
        assert_eq!((&counts["blobs"], &counts["bytes"]), (&24.into(), &bytes.into()), "{found}");
        assert_eq!((&found["done"], &found["hashed"]), (&true.into(), &bytes.into()), "{found}");
    })
    .await;
}
