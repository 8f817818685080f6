//! A storage directory that is full, gone, read-only, or full of what clients
//! have abandoned.

use crate::content::{Content, Length, Upload};
use crate::disk::Disk;
use crate::support::{
    Client, TEST_LIMIT, ask, assert_blob, assert_well, begin, build, closing, code, eventually,
    logged, push_blob, received, request, within,
};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use roadstead_tests::{Registry, digest, skip};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

const REPOSITORY: &str = "some/where";

/// A file system of 8 MiB in memory, unmounted when dropped.
struct Mount(PathBuf);

impl Mount {
    /// Mounts one; `None` where that is not permitted.
    fn new(test: &str, path: &Path) -> Option<Self> {
        fs::create_dir_all(path).unwrap();
        let mount = ["-t", "tmpfs", "-o", "size=8m", "tmpfs"];
        if run("mount", &mount, path) {
            return Some(Self(path.to_owned()));
        }
        skip(test, "file systems cannot be mounted; run it as root");
        None
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        run("umount", &["-l"], &self.0);
    }
}

fn run(program: &str, arguments: &[&str], path: &Path) -> bool {
    let mut command = Command::new(program);
    let command = command.args(arguments).arg(path).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// The code of the refusal of a request.
async fn refused(address: &str, line: &str, body: Bytes, status: u16) -> String {
    code(ask(address, request(line, body), status).await.body())
}

#[tokio::test]
async fn a_full_disk_is_answered_and_mended_without_a_restart() {
    let parent = tempfile::tempdir().unwrap();
    let root = parent.path().join("root");
    let Some(_mount) = Mount::new("a_full_disk_is_answered_and_mended_without_a_restart", &root)
    else {
        return;
    };
    within(TEST_LIMIT, full_disk(&root)).await;
}

async fn full_disk(root: &Path) {
    let host = Registry::start(root, &[], &[]).unwrap();
    let address = host.address.as_str();
    let small = Bytes::from(vec![7; 1000]);
    let held = push_blob(address, REPOSITORY, &small).await;
    // A layer that fits neither on the disk nor among the bytes that are read of
    // a refused request.
    let layer = Content { seed: 1, size: 40 * 1024 * 1024 };
    for length in [Length::Announced, Length::Unknown] {
        let upload = begin(address, REPOSITORY).await;
        let mut client = Client::connect(address).await;
        let body = Upload::new(layer, 0..layer.size, length);
        let response = client.ask(build(&format!("PATCH {upload}")), body, 507).await;
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(code(&body), "UNAVAILABLE");
        // Nothing of it takes up the disk, and the session goes on.
        assert_eq!(received(address, &upload).await, 0);
        assert_eq!(Disk(root).arriving(REPOSITORY), 0);
        ask(address, request(&format!("DELETE {upload}"), ""), 204).await;
    }
    push_blob(address, REPOSITORY, &Bytes::from(vec![8; 1000])).await;
    logged(&host, "free space on its file system").await;
    logged(&host, &format!("write {}", root.display())).await;

    // Something else fills it up.
    let ballast = root.join("ballast");
    let mut pieces = 0;
    let full = || Bytes::from(vec![0; 4096]);
    let file = File::create(&ballast).unwrap();
    while std::io::Write::write_all(&mut &file, &full()).is_ok() {
        pieces += 1;
    }
    assert!(pieces > 100);
    // An open file keeps its room after it is removed.
    drop(file);
    let other = Bytes::from(vec![9; 300_000]);
    for _ in 0..3 {
        // The upload takes no room before its bytes come.
        let upload = begin(address, REPOSITORY).await;
        let line = format!("PATCH {upload}");
        assert_eq!(refused(address, &line, other.clone(), 507).await, "UNAVAILABLE");
        assert_eq!(received(address, &upload).await, 0);
    }
    let whole = format!("POST /v2/{REPOSITORY}/blobs/uploads/?digest={}", digest(&other));
    assert_eq!(refused(address, &whole, other.clone(), 507).await, "UNAVAILABLE");
    assert_eq!(Disk(root).sessions(REPOSITORY), [] as [PathBuf; 0]);
    assert_eq!(Disk(root).temporary(), [] as [PathBuf; 0]);
    assert_blob(address, REPOSITORY, &held).await;
    // And a restart serves what is there.
    let again = Registry::start(root, &[], &[]).unwrap();
    assert_blob(&again.address, REPOSITORY, &held).await;
    drop(again);
    fs::remove_file(ballast).unwrap();
    let pushed = push_blob(address, REPOSITORY, &other).await;
    assert_blob(address, REPOSITORY, &pushed).await;
}

#[tokio::test]
async fn storage_that_is_gone_is_neither_empty_nor_made_again() {
    let parent = tempfile::tempdir().unwrap();
    within(TEST_LIMIT, gone(parent.path())).await;
}

async fn gone(parent: &Path) {
    let (root, elsewhere) = (parent.join("root"), parent.join("elsewhere"));
    let host = Registry::start(&root, &[], &[]).unwrap();
    let address = host.address.as_str();
    let bytes = Bytes::from_static(b"bytes");
    let held = push_blob(address, REPOSITORY, &bytes).await;
    let upload = begin(address, REPOSITORY).await;
    fs::rename(&root, &elsewhere).unwrap();
    for mount_point in [false, true] {
        if mount_point {
            fs::create_dir(&root).unwrap();
        }
        for line in [
            format!("GET /v2/{REPOSITORY}/blobs/{held}"),
            format!("GET /v2/{REPOSITORY}/manifests/v1"),
            format!("GET /v2/{REPOSITORY}/tags/list"),
            "GET /v2/_catalog".to_owned(),
            format!("GET {upload}"),
            format!("PATCH {upload}"),
            format!("PUT {}", closing(&upload, &held)),
            format!("POST /v2/{REPOSITORY}/blobs/uploads/?digest={held}"),
        ] {
            assert_eq!(refused(address, &line, bytes.clone(), 503).await, "UNAVAILABLE", "{line}");
        }
        // Nothing is stored for an upload that begins.
        begin(address, REPOSITORY).await;
        assert_eq!(root.exists(), mount_point);
    }
    assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
    logged(&host, &format!("{} is not the directory that was opened", root.display())).await;
    assert_well(address).await;
    // It goes on without a restart; what this program keeps there is made again.
    fs::remove_dir(&root).unwrap();
    fs::rename(&elsewhere, &root).unwrap();
    fs::remove_dir_all(root.join(".roadstead")).unwrap();
    assert_blob(address, REPOSITORY, &held).await;
    ask(address, request(&format!("PATCH {upload}"), bytes), 202).await;
    ask(address, request(&format!("PUT {}", closing(&upload, &held)), ""), 201).await;
}

#[tokio::test]
async fn a_read_only_mount_is_served() {
    let parent = tempfile::tempdir().unwrap();
    let root = parent.path().join("root");
    let Some(_mount) = Mount::new("a_read_only_mount_is_served", &root) else { return };
    within(TEST_LIMIT, read_only_mount(&root)).await;
}

async fn read_only_mount(root: &Path) {
    let host = Registry::start(root, &[], &[]).unwrap();
    let held = push_blob(&host.address, REPOSITORY, &Bytes::from_static(b"bytes")).await;
    let upload = begin(&host.address, REPOSITORY).await;
    drop(host);
    assert!(run("mount", &["-o", "remount,ro"], root));
    let problem = Registry::start(root, &[], &[]).unwrap_err().to_string();
    for expected in [root.to_str().unwrap(), "REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED=true"] {
        assert!(problem.contains(expected), "{problem}");
    }
    let read_only = [("REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED", "true")];
    let host = Registry::start(root, &read_only, &[]).unwrap();
    let address = host.address.as_str();
    assert_blob(address, REPOSITORY, &held).await;
    ask(address, request("GET /v2/_catalog", ""), 200).await;
    let line = format!("POST /v2/{REPOSITORY}/blobs/uploads/");
    for line in [line, format!("PATCH {upload}")] {
        assert_eq!(refused(address, &line, Bytes::new(), 405).await, "UNSUPPORTED");
    }
}

/// Makes an upload's directory and its files look as if nothing had arrived for
/// longer than a week.
fn age(session: &Path) {
    let old = SystemTime::now() - Duration::from_hours(169);
    let files = fs::read_dir(session).unwrap().map(|entry| entry.unwrap().path());
    for path in files.chain([session.to_owned()]) {
        File::open(path).unwrap().set_modified(old).unwrap();
    }
}

#[tokio::test]
async fn abandoned_uploads_are_purged() {
    let root = tempfile::tempdir().unwrap();
    within(TEST_LIMIT, purged(root.path())).await;
}

async fn purged(root: &Path) {
    const SETTING: &str = "REGISTRY_STORAGE_MAINTENANCE_UPLOADPURGING";
    let host = Registry::start(root, &[], &[]).unwrap();
    let (old, young) = (begin(&host.address, "old").await, begin(&host.address, "young").await);
    for upload in [&old, &young] {
        ask(&host.address, request(&format!("PATCH {upload}"), "bytes"), 202).await;
    }
    drop(host);
    age(&Disk(root).sessions("old")[0]);
    let (dry_run, enabled) = (format!("{SETTING}_DRYRUN"), format!("{SETTING}_ENABLED"));
    let host = Registry::start(root, &[(&dry_run, "true")], &[]).unwrap();
    eventually("the purge", async || {
        host.log().contains("abandoned uploads would be removed: 1 with").then_some(())
    })
    .await;
    drop(host);
    let host = Registry::start(root, &[(&enabled, "false")], &[]).unwrap();
    assert_eq!(received(&host.address, &old).await, 5);
    drop(host);
    let host = Registry::start(root, &[], &[]).unwrap();
    eventually("the purge", async || {
        host.log().contains("abandoned uploads removed: 1 with").then_some(())
    })
    .await;
    ask(&host.address, request(&format!("GET {old}"), ""), 404).await;
    assert_eq!(received(&host.address, &young).await, 5);
    assert_eq!(Disk(root).sessions("old"), [] as [PathBuf; 0]);
}
