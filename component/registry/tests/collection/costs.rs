//! What runs keep, and what they cost.

use super::world::{Client, DAY, DELETES, World, blob, name, order};
use bytes::Bytes;
use roadstead_cloud::{CloudStorage, Options};
use roadstead_kit::body::NativeBodies;
use roadstead_kit::bucket::{GeneratedBucket, LAYERS, MemoryBucket};
use roadstead_kit::contract::sha256;
use roadstead_kit::native::NativeRegistry;
use roadstead_oci::Digest;
use roadstead_registry::SliceOptions;
use roadstead_storage::Key;
use roadstead_storage::Storage as _;
use serde_json::json;
use std::time::Duration;

/// What manifests refer to is read once, and kept in parts.
#[tokio::test]
async fn references_are_split() {
    const MANIFESTS: usize = 9_000;
    let bucket = MemoryBucket::default();
    let (client, storage) = (Client(bucket.registry()), World::storage(&bucket));
    let media_type = roadstead_oci::MediaType::parse("application/vnd.example+json").unwrap();
    for number in 0..MANIFESTS {
        let manifest = Bytes::from(json!({ "number": number }).to_string());
        let digest = sha256(&manifest);
        storage.write(&Key::Blob(digest.clone()), manifest).await.unwrap();
        let revision = Key::Revision(name("a"), digest.clone());
        storage.link(&revision, &digest, Some(&media_type)).await.unwrap();
    }
    let reads = || {
        let requests = bucket.requests();
        let is_read = |request: &&String| request.starts_with("GET") && request.ends_with("/data");
        requests.iter().filter(is_read).count()
    };
    reads();
    let report = client.run(&bucket, SliceOptions { budget: 3000, ..order() }).await;
    assert!(report.manifests >= MANIFESTS as u64, "{report:?}");
    assert_eq!(reads(), MANIFESTS);
    let parts = roadstead_storage::Collection::References(name("a"));
    let parts = storage.enumerate(&parts, None, 100).await.unwrap().entries;
    assert!((3..30).contains(&parts.len()), "{}", parts.len());
    // Nothing is read again, but what is new and what was lost.
    bucket.pass(DAY);
    assert_eq!(client.run(&bucket, order()).await.manifests, MANIFESTS as u64);
    assert_eq!(reads(), 0);
    client.push("a", "new", "application/vnd.example+json", &json!({})).await;
    storage.delete(&parts[1].key).await.unwrap();
    bucket.pass(DAY);
    assert_eq!(client.run(&bucket, order()).await.manifests, MANIFESTS as u64 + 1);
    let lost = reads();
    assert!((100..=MANIFESTS / 2).contains(&lost), "{lost}");
}

/// More than is held at a time.
#[tokio::test]
async fn what_is_live_is_kept_in_parts() {
    const DIGESTS: usize = 40_000;
    let bucket = MemoryBucket::default();
    let (client, storage) = (Client(bucket.registry()), World::storage(&bucket));
    let media_type = roadstead_oci::MediaType::parse("application/vnd.example+json").unwrap();
    for number in 0..2 {
        let digest_of = |n: usize| sha256(format!("{number} {n}").as_bytes());
        let digests: Vec<Digest> = (0..DIGESTS).map(digest_of).collect();
        let manifest = Bytes::from(json!({ "digests": digests }).to_string());
        let digest = sha256(&manifest);
        storage.write(&Key::Blob(digest.clone()), manifest).await.unwrap();
        let revision = Key::Revision(name(&format!("a/{number}")), digest.clone());
        storage.link(&revision, &digest, Some(&media_type)).await.unwrap();
        let live = format!("{number} 39999");
        storage.write(&blob(&live), live.into()).await.unwrap();
    }
    storage.write(&blob("orphan"), "orphan".into()).await.unwrap();
    bucket.pass(2 * DAY);
    let report = client.run(&bucket, order()).await;
    assert_eq!((report.sighted, report.blobs), (1, 5), "{report:?}");
}

/// A run that reads much takes as long as one that reads often.
#[tokio::test]
async fn bytes_are_spent_too() {
    let mut operations = Vec::new();
    for annotation in [1, 3 * 1024 * 1024] {
        let bucket = MemoryBucket::default();
        let client = Client(bucket.registry());
        let manifest = json!({ "annotation": "a".repeat(annotation) });
        client.push("a", "v", "application/vnd.example+json", &manifest).await;
        operations.push(client.run(&bucket, order()).await.operations);
    }
    // 48 times 64 KiB, and up to 16 for where the blobs are among the shards.
    let more = operations[1] - operations[0];
    assert!((32..=64).contains(&more), "{operations:?}");
}

/// Requests to a bucket, of a storage of which half is garbage. `MEASURE_BLOBS=4000`
/// prints more than it checks.
#[tokio::test]
async fn what_a_run_costs() {
    const LAYERS: usize = 20;
    let blobs = std::env::var("MEASURE_BLOBS").ok().and_then(|blobs| blobs.parse().ok());
    let (measured, blobs) = (blobs.is_some(), blobs.unwrap_or(400));
    let bucket = MemoryBucket::default();
    let (client, storage) = (Client(bucket.registry()), World::storage(&bucket));
    let media_type = roadstead_oci::MediaType::parse("application/vnd.example+json").unwrap();
    for image in 0..blobs / LAYERS {
        let repository = name(&format!("r{}", image % 20));
        let mut digests = Vec::new();
        for layer in 0..LAYERS {
            let bytes = format!("{image} {layer}");
            let digest = sha256(bytes.as_bytes());
            storage.write(&Key::Blob(digest.clone()), bytes.into()).await.unwrap();
            let link = Key::Layer(repository.clone(), digest.clone());
            storage.link(&link, &digest, None).await.unwrap();
            digests.push(digest);
        }
        if image % 2 == 0 {
            let manifest = Bytes::from(json!({ "layers": digests }).to_string());
            let digest = sha256(&manifest);
            storage.write(&Key::Blob(digest.clone()), manifest).await.unwrap();
            let revision = Key::Revision(repository, digest.clone());
            storage.link(&revision, &digest, Some(&media_type)).await.unwrap();
        }
    }
    let garbage = (blobs / LAYERS / 2 * LAYERS) as u64;
    bucket.requests();
    for (what, pass, most) in [
        ("manifests read, blobs seen for the first time", 2 * DAY, 2.0),
        ("blobs condemned", 2 * DAY, 8.0),
        ("blobs kept", DAY, 2.0),
        ("blobs removed", 8 * DAY, 12.0),
        ("nothing to do", 4 * DAY, 3.0),
    ] {
        bucket.pass(pass);
        let report = client.run(&bucket, SliceOptions { budget: 1000, ..order() }).await;
        let requests = bucket.requests();
        let mut kinds = std::collections::BTreeMap::<&str, u64>::new();
        for request in &requests {
            *kinds.entry(request.split(' ').next().unwrap()).or_default() += 1;
        }
        if measured {
            println!("{what}: {} requests, {kinds:?}; {report:?}", requests.len());
        }
        let each = u32::try_from(requests.len()).map(f64::from).unwrap()
            / f64::from(u32::try_from(blobs).unwrap());
        assert!(each < most, "{what}: {each} requests for each blob");
        assert!(report.condemned == 0 || report.condemned == garbage, "{report:?}");
        assert!(report.removed == 0 || report.removed == garbage, "{report:?}");
    }
}

/// A bucket of any size: what the first runs cost, which know no manifest yet, and what
/// later ones do. Time passes with requests, 200 in a second, the rate that the
/// documentation recommends for millions of manifests. `MEASURE_REVISIONS=10000000` prints
/// more than it checks.
#[tokio::test]
async fn what_many_revisions_cost() {
    const TICK: Duration = Duration::from_millis(5);
    let revisions = std::env::var("MEASURE_REVISIONS").ok();
    let revisions: u64 = revisions.and_then(|number| number.parse().ok()).unwrap_or(3_000);
    let repositories = (revisions / 10_000).max(30);
    let (files, written) = (tempfile::tempdir().unwrap(), MemoryBucket::default().with_tick(TICK));
    let large = files.path().to_owned();
    let bucket = GeneratedBucket::new(repositories, revisions, written.clone(), large);
    let storage = CloudStorage::<NativeBodies>::new(bucket.backend(), Options::default());
    let client = Client(NativeRegistry::new(storage, DELETES).unwrap());
    written.pass(10 * DAY);
    let mut known = false;
    // A day at a time: as long as a run is valid, it reads manifests, and the next one
    // knows them.
    for run in 1..=20 {
        let begun = written.passed();
        let result = client.try_run(&written, SliceOptions { budget: 1000, ..order() }).await;
        let took = written.passed().saturating_sub(begun);
        let requests = bucket.requests();
        let total: u64 = requests.values().sum();
        println!("run {run}: {total} requests, {requests:?}, {took:?}, {}: {result:?}", memory());
        written.pass(DAY);
        match result {
            // It has taken too long.
            Err(_) => assert!(took > order().valid && !known, "{took:?}"),
            Ok(report) => {
                let report = report.unwrap();
                assert_eq!((report.manifests, report.repositories), (revisions, repositories));
                assert_eq!((report.blobs, report.sighted), (revisions * (1 + LAYERS), 0));
                if std::mem::replace(&mut known, true) {
                    let most = revisions / 50 + 40 * repositories + 500;
                    assert!(total < most, "{total} requests, more than {most}");
                    return;
                }
            }
        }
    }
    panic!("no run reaches the end");
}

/// The most memory that this process has had.
fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default().to_owned()
}
