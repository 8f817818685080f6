//! Blobs larger than the memory that the host may use, pushed in each way that
//! clients use.

use crate::content::{Content, Hash, Length, Upload};
use crate::disk::Disk;
use crate::support::{Client, build, closing, content_range, location, within};
use http::header;
use roadstead_tests::Registry;
use std::path::Path;
use std::time::{Duration, Instant};

/// The size of a blob in bytes, overridden by `ROADSTEAD_BLOB_SIZE`: more than
/// [`MEMORY_LIMIT`], so that a host that holds a blob in memory is detected.
const SIZE: u64 = 256 * 1024 * 1024;

/// Resident memory that the host may use, in bytes, whatever the blob's size.
const MEMORY_LIMIT: u64 = 100 * 1024 * 1024;

/// The size of a chunk in bytes: S3's minimum part, which clients also use.
const CHUNK: u64 = 5 * 1024 * 1024;

/// The slowest disk that the tests tolerate, in bytes per second.
const SLOWEST: u64 = 4 * 1024 * 1024;

const REPOSITORY: &str = "big/blob";

#[derive(Clone, Copy, Debug)]
enum Style {
    /// Docker: one PATCH without a length, then a PUT without a body.
    OnePatch,
    /// containerd: one PUT.
    OnePut,
    /// In chunks with `Content-Range`.
    Chunks,
}

#[tokio::test]
async fn one_patch() {
    push_and_pull(Style::OnePatch).await;
}

#[tokio::test]
async fn one_put() {
    push_and_pull(Style::OnePut).await;
}

#[tokio::test]
async fn chunks() {
    push_and_pull(Style::Chunks).await;
}

async fn push_and_pull(style: Style) {
    let size = std::env::var("ROADSTEAD_BLOB_SIZE").map_or(SIZE, |size| size.parse().unwrap());
    let content = Content { seed: style as u64 + 1, size };
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    let host = Registry::start(&data, &[], &[]).unwrap();
    let limit = Duration::from_secs(60 + size / SLOWEST);
    within(limit, push_and_pull_at(&host.address, style, content, &data)).await;
    let peak = host.peak_memory().unwrap();
    println!("{style:?}: peak memory {} MiB", peak >> 20);
    assert!(peak < MEMORY_LIMIT, "{style:?} took {peak} bytes of memory");
}

async fn push_and_pull_at(address: &str, style: Style, content: Content, data: &Path) {
    let mut client = Client::connect(address).await;
    let started = Instant::now();
    let digest = push(&mut client, style, content).await;
    let pushed = started.elapsed();
    assert_eq!(Disk(data).blobs(), std::slice::from_ref(&digest));
    assert!(Disk(data).layer_link(REPOSITORY, &digest).exists());
    assert!(Disk(data).sessions(REPOSITORY).is_empty());
    let started = Instant::now();
    assert_eq!(client.pull(REPOSITORY, &digest).await, (content.size, digest));
    let (mebibytes, pulled) = (content.size >> 20, started.elapsed());
    println!("{style:?}: {mebibytes} MiB pushed in {pushed:.1?}, pulled in {pulled:.1?}");
}

/// Pushes the content and returns its digest.
async fn push(client: &mut Client, style: Style, content: Content) -> String {
    let whole = 0..content.size;
    let start = build(&format!("POST /v2/{REPOSITORY}/blobs/uploads/"));
    let mut upload = location(&client.ask(start, Upload::empty(), 202).await);
    let (digest, last) = match style {
        Style::OnePatch => {
            let body = Upload::new(content, whole, Length::Unknown);
            upload = location(&client.ask(build(&format!("PATCH {upload}")), body, 202).await);
            (content.digest(), Upload::empty())
        }
        Style::OnePut => (content.digest(), Upload::new(content, whole, Length::Announced)),
        Style::Chunks => {
            let mut hash = Hash::default();
            let mut at = 0;
            while at < content.size {
                let end = content.size.min(at + CHUNK);
                content.pieces(at..end).for_each(|piece| hash.add(&piece));
                let chunk = build(&format!("PATCH {upload}"))
                    .header(header::CONTENT_RANGE, content_range(at, end));
                let body = Upload::new(content, at..end, Length::Announced);
                let answer = client.ask(chunk, body, 202).await;
                let range = answer.headers()[header::RANGE].to_str().unwrap();
                assert_eq!(range, content_range(0, end));
                upload = location(&answer);
                at = end;
            }
            (hash.digest(), Upload::empty())
        }
    };
    let end = build(&format!("PUT {}", closing(&upload, &digest)));
    let answer = client.ask(end, last, 201).await;
    assert_eq!(answer.headers()["docker-content-digest"], digest);
    assert_eq!(location(&answer), format!("/v2/{REPOSITORY}/blobs/{digest}"));
    digest
}
