//! What happens to content, by what refers to it.

use super::world::{
    Client, DAY, GARBAGE, IMAGE, INDEX, World, blob, condemn, exists, fill, image, layer, name,
    order,
};
use bytes::Bytes;
use roadstead_kit::bucket::MemoryBucket;
use roadstead_kit::contract::sha256;
use roadstead_oci::Digest;
use roadstead_registry::{Progress, SliceOptions};
use roadstead_storage::Key;
use roadstead_storage::Storage as _;
use serde_json::json;

#[tokio::test]
async fn garbage_goes_after_its_time() {
    garbage_goes_after_its_time_over(MemoryBucket::default()).await;
    garbage_goes_after_its_time_over(tempfile::tempdir().unwrap()).await;
}

async fn garbage_goes_after_its_time_over<W: World>(world: W) {
    let (client, storage) = (Client(world.registry()), world.storage());
    fill(&client).await;
    // Nothing is old.
    let report = client.run(&world, order()).await;
    assert_eq!((report.sighted, report.condemned, report.manifests), (0, 0, 2), "{report:?}");
    assert_eq!(report.blobs, 3 + GARBAGE, "{report:?}");

    let report = condemn(&world, &client).await;
    assert_eq!((report.condemned, report.removed), (GARBAGE, 0), "{report:?}");
    for repository in ["a/b", "c"] {
        assert!(!exists(&storage, layer(repository, "orphan")).await);
        let moved = Key::MovedLayer(name(repository), sha256(b"orphan"));
        assert!(exists(&storage, moved).await);
    }
    assert!(exists(&storage, blob("orphan")).await, "it stays where it is");

    world.pass(6 * DAY);
    let report = client.run(&world, order()).await;
    assert_eq!((report.kept, report.removed), (GARBAGE, 0), "{report:?}");
    world.pass(2 * DAY);
    let report = client.run(&world, order()).await;
    assert_eq!(report.removed, GARBAGE, "{report:?}");
    assert!(!exists(&storage, blob("orphan")).await);
    assert!(!exists(&storage, blob("old config")).await);
    for path in ["/v2/a/b/manifests/new", "/v2/c/manifests/new"] {
        assert_eq!(client.status("GET", path).await, 200);
    }
    for bytes in ["new config", "shared layer"] {
        let path = format!("/v2/a/b/blobs/{}", sha256(bytes.as_bytes()));
        assert_eq!(client.status("GET", &path).await, 200, "{bytes}");
    }
    // Nothing is left over some days later.
    for _ in 0..2 {
        world.pass(3 * DAY);
        let report = client.run(&world, order()).await;
        assert_eq!((report.sighted, report.condemned, report.kept), (0, 0, 0), "{report:?}");
        assert_eq!((report.blobs, report.removed), (3, 0), "{report:?}");
    }
    let listed = storage.enumerate(&roadstead_storage::Collection::Records, None, 1000).await;
    for entry in listed.unwrap().entries {
        let text = entry.key.to_string();
        let stays = ["/report-", "/sighted-", "/condemned"];
        assert!(stays.iter().any(|part| text.contains(part)), "{text}");
    }
    for repository in ["a/b", "c"] {
        let moved = roadstead_storage::Collection::Moved(name(repository));
        assert_eq!(storage.enumerate(&moved, None, 1000).await.unwrap().entries, []);
    }
}

#[tokio::test]
async fn what_is_needed_comes_back() {
    what_is_needed_comes_back_over(MemoryBucket::default()).await;
    what_is_needed_comes_back_over(tempfile::tempdir().unwrap()).await;
}

async fn what_is_needed_comes_back_over<W: World>(world: W) {
    let (client, storage) = (Client(world.registry()), world.storage());
    fill(&client).await;
    condemn(&world, &client).await;
    let digest = sha256(b"orphan");
    storage.write(&Key::Need(digest.clone()), Bytes::new()).await.unwrap();
    world.pass(30 * DAY);
    let report = client.run(&world, order()).await;
    assert_eq!((report.given_back, report.removed), (1, GARBAGE - 1), "{report:?}");
    for repository in ["a/b", "c"] {
        assert!(exists(&storage, layer(repository, "orphan")).await);
        let path = format!("/v2/{repository}/blobs/{digest}");
        assert_eq!(client.status("GET", &path).await, 200);
    }
    assert!(!exists(&storage, Key::Tombstone(digest.clone())).await);
    // It can be condemned again, as nobody has used it.
    world.pass(5 * DAY);
    client.run(&world, order()).await;
    condemn(&world, &client).await;
    world.pass(30 * DAY);
    assert_eq!(client.run(&world, order()).await.removed, 1);
    assert!(!exists(&storage, Key::Blob(digest)).await);
}

#[tokio::test]
async fn live_content_stays() {
    live_content_stays_over(MemoryBucket::default()).await;
    live_content_stays_over(tempfile::tempdir().unwrap()).await;
}

async fn live_content_stays_over<W: World>(world: W) {
    let (client, storage) = (Client(world.registry()), world.storage());
    // Untagged, referred to by an index and by a referrer, of an unknown type.
    let one = client.push_image("a", "", "config 1", "layer 1").await;
    let two = client.push_image("a", "", "config 2", "layer 2").await;
    let index = json!({
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [{ "mediaType": IMAGE, "digest": one, "size": image("config 1", "layer 1").to_string().len() }],
    });
    client.push("a", "index", INDEX, &index).await;
    let mut referrer = image("config 3", "layer 3");
    client.push_blob("a", b"config 3").await;
    client.push_blob("a", b"layer 3").await;
    referrer["subject"] = json!({ "mediaType": IMAGE, "digest": two, "size": 1 });
    client.push("a", "", IMAGE, &referrer).await;
    client.push_blob("a", b"unknown").await;
    let unknown = json!({ "things": [{ "digest": sha256(b"unknown"), "size": 7 }] });
    client.push("a", "unknown", "application/vnd.example.unknown+json", &unknown).await;
    for _ in 0..4 {
        world.pass(20 * DAY);
        let report = client.run(&world, order()).await;
        assert_eq!((report.sighted, report.condemned), (0, 0), "{report:?}");
        assert_eq!((report.blobs, report.manifests), (12, 5), "{report:?}");
    }
    assert!(exists(&storage, blob("unknown")).await);
}

#[tokio::test]
async fn indexes_are_followed() {
    indexes_are_followed_over(MemoryBucket::default()).await;
    indexes_are_followed_over(tempfile::tempdir().unwrap()).await;
}

async fn indexes_are_followed_over<W: World>(world: W) {
    let (client, storage) = (Client(world.registry()), world.storage());
    let one = client.push_image("a", "", "config", "layer").await;
    let index = |digest: &Digest| {
        json!({
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": [{ "mediaType": INDEX, "digest": digest, "size": 1 }],
        })
    };
    let two = client.push("a", "", INDEX, &index(&one)).await;
    let three = client.push("a", "", INDEX, &index(&two)).await;
    client.push("a", "top", INDEX, &index(&three)).await;
    for digest in [&one, &two, &three] {
        client.delete("a", digest).await;
    }
    for _ in 0..4 {
        world.pass(20 * DAY);
        let report = client.run(&world, order()).await;
        assert_eq!((report.sighted, report.blobs), (0, 6), "{report:?}");
    }
    assert!(exists(&storage, blob("layer")).await);
}

#[tokio::test]
async fn what_nobody_uses_is_freed_at_once() {
    what_nobody_uses_is_freed_at_once_over(MemoryBucket::default()).await;
    what_nobody_uses_is_freed_at_once_over(tempfile::tempdir().unwrap()).await;
}

async fn what_nobody_uses_is_freed_at_once_over<W: World>(world: W) {
    let (client, storage) = (Client(world.registry()), world.storage());
    fill(&client).await;
    let exclusive = SliceOptions { exclusive: true, ..order() };
    let dry = client.run(&world, SliceOptions { dry_run: true, ..exclusive }).await;
    assert_eq!(dry.removed, GARBAGE, "{dry:?}");
    let report = client.run(&world, SliceOptions { budget: 3, ..exclusive }).await;
    assert_eq!((report.removed, report.removed_bytes), (dry.removed, dry.removed_bytes));
    for bytes in ["orphan", "old config"] {
        assert!(!exists(&storage, blob(bytes)).await);
        assert!(!exists(&storage, layer("a/b", bytes)).await);
    }
    assert_eq!(client.status("GET", "/v2/c/manifests/new").await, 200);
    assert_eq!(client.run(&world, exclusive).await.removed, 0);
    // What was condemned is freed too, also what another registry has linked since.
    for linked in [false, true] {
        client.push_blob("c", b"orphan").await;
        condemn(&world, &client).await;
        if linked {
            storage.link(&layer("a/b", "orphan"), &sha256(b"orphan"), None).await.unwrap();
        }
        assert_eq!(client.run(&world, exclusive).await.removed, 1, "{linked}");
        let moved = Key::MovedLayer(name("c"), sha256(b"orphan"));
        let tombstone = Key::Tombstone(sha256(b"orphan"));
        for key in [tombstone, moved, layer("c", "orphan"), layer("a/b", "orphan")] {
            assert!(!exists(&storage, key.clone()).await, "{key}");
        }
    }
}

#[tokio::test]
async fn a_link_that_came_back_keeps_the_data() {
    a_link_that_came_back_keeps_the_data_over(MemoryBucket::default()).await;
    a_link_that_came_back_keeps_the_data_over(tempfile::tempdir().unwrap()).await;
}

async fn a_link_that_came_back_keeps_the_data_over<W: World>(world: W) {
    let (client, storage) = (Client(world.registry()), world.storage());
    client.push_blob("a", b"orphan").await;
    condemn(&world, &client).await;
    storage.link(&layer("b", "orphan"), &sha256(b"orphan"), None).await.unwrap();
    world.pass(8 * DAY);
    let report = client.run(&world, order()).await;
    assert_eq!(report.removed, 0, "{report:?}");
    // It is condemned again, and goes after another time.
    world.pass(DAY);
    assert_eq!(client.run(&world, order()).await.condemned, 1);
    assert!(!exists(&storage, layer("b", "orphan")).await);
    world.pass(8 * DAY);
    assert_eq!(client.run(&world, order()).await.removed, 1);
}

#[tokio::test]
async fn manifests_of_another_registry() {
    manifests_of_another_registry_over(MemoryBucket::default()).await;
    manifests_of_another_registry_over(tempfile::tempdir().unwrap()).await;
}

async fn manifests_of_another_registry_over<W: World>(world: W) {
    let (client, storage) = (Client(world.registry()), world.storage());
    client.push_blob("a", b"orphan").await;
    condemn(&world, &client).await;
    let manifest = Bytes::from(image("config", "layer").to_string());
    let digest = sha256(&manifest);
    storage.write(&Key::Blob(digest.clone()), manifest).await.unwrap();
    let revision = Key::Revision(name("b"), digest.clone());
    storage.link(&revision, &digest, None).await.unwrap();
    for _ in 0..3 {
        world.pass(9 * DAY);
        let report = client.run(&world, order()).await;
        assert_eq!((report.removed, report.kept), (0, 1), "{report:?}");
    }
    world.pass(9 * DAY);
    assert_eq!(client.run(&world, order()).await.removed, 1);
}

#[tokio::test]
async fn tombstones_outlive_data() {
    tombstones_outlive_data_over(MemoryBucket::default()).await;
    tombstones_outlive_data_over(tempfile::tempdir().unwrap()).await;
}

async fn tombstones_outlive_data_over<W: World>(world: W) {
    let (client, storage) = (Client(world.registry()), world.storage());
    client.push_blob("a", b"orphan").await;
    condemn(&world, &client).await;
    world.pass(8 * DAY);
    let Progress::Running { wait, stage, .. } = client.0.collect(&order()).await.unwrap() else {
        panic!("it waits");
    };
    assert!(wait > 0 && wait <= 60_000 && stage == "removal", "{wait} {stage}");
    assert!(!exists(&storage, blob("orphan")).await);
    let tombstone = Key::Tombstone(sha256(b"orphan"));
    assert!(exists(&storage, tombstone.clone()).await);
    // The run dies. A later one clears up, and nothing else happens.
    world.pass(DAY);
    let report = client.run(&world, order()).await;
    assert_eq!((report.kept, report.removed), (1, 0), "{report:?}");
    world.pass(2 * DAY);
    client.run(&world, order()).await;
    assert!(!exists(&storage, tombstone).await);
}
