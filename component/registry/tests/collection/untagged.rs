//! Manifests to which nothing leads are deleted, come back when they are needed, and go
//! for good with what they refer to.

use super::world::{Client, DAY, IMAGE, INDEX, World, blob, exists, image, layer, name, order};
use bytes::Bytes;
use roadstead_kit::bucket::MemoryBucket;
use roadstead_kit::contract::sha256;
use roadstead_kit::native::NativeRegistry;
use roadstead_oci::{Digest, MediaType};
use roadstead_registry::{Report, SliceOptions};
use roadstead_storage::{Collection, Key, MovedRevision, Storage};
use serde_json::{Value, json};

/// Runs a test over a directory and a bucket.
macro_rules! over_both {
    ($test:ident) => {
        $test(MemoryBucket::default()).await;
        $test(tempfile::tempdir().unwrap()).await;
    };
}

/// With untagged manifests deleted after a day.
fn untagged() -> SliceOptions {
    SliceOptions { untagged: Some(DAY), ..order() }
}

fn exclusive() -> SliceOptions {
    SliceOptions { exclusive: true, ..untagged() }
}

fn index(children: &[&Digest]) -> Value {
    let of = |digest: &&Digest| json!({ "mediaType": IMAGE, "digest": digest, "size": 1 });
    let manifests: Vec<Value> = children.iter().map(of).collect();
    json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests })
}

fn revision(digest: &Digest) -> Key {
    Key::Revision(name("a"), digest.clone())
}

fn moved(digest: &Digest) -> Key {
    Key::MovedRevision(name("a"), digest.clone())
}

fn path(reference: &str) -> String {
    format!("/v2/a/manifests/{reference}")
}

/// What [`nightly`] has pushed.
struct Nightly {
    old_index: Digest,
    old: Digest,
    shared: Digest,
    new: Digest,
    /// It refers to the old index.
    signature: Digest,
}

impl Nightly {
    fn gone(&self) -> [&Digest; 3] {
        [&self.old_index, &self.old, &self.signature]
    }
}

/// Pushes an index by a tag, and then another one that has one image of it.
async fn nightly(client: &Client) -> Nightly {
    let old = client.push_image("a", "", "old config", "old layer").await;
    let shared = client.push_image("a", "", "shared config", "shared layer").await;
    let old_index = client.push("a", "nightly", INDEX, &index(&[&old, &shared])).await;
    let signature = client.push("a", "", IMAGE, &signature_of(client, &old_index).await).await;
    let new = client.push_image("a", "", "new config", "new layer").await;
    client.push("a", "nightly", INDEX, &index(&[&new, &shared])).await;
    Nightly { old_index, old, shared, new, signature }
}

async fn signature_of(client: &Client, subject: &Digest) -> Value {
    client.push_blob("a", b"{}").await;
    client.push_blob("a", b"signature").await;
    let mut signature = image("{}", "signature");
    signature["subject"] = json!({ "mediaType": INDEX, "digest": subject, "size": 1 });
    signature
}

async fn referrers(client: &Client, subject: &Digest) -> usize {
    let path = format!("/v2/a/referrers/{subject}");
    let response = client.ask("GET", &path, IMAGE, Bytes::new()).await;
    let list: Value = serde_json::from_slice(response.body()).unwrap();
    list["manifests"].as_array().unwrap().len()
}

/// What [`nightly`] leaves, taken away.
async fn taken_away<W: World>(world: &W, client: &Client) -> Nightly {
    let nightly = nightly(client).await;
    world.pass(2 * DAY);
    let report = client.run(world, untagged()).await;
    assert_eq!((report.untagged, report.manifests), (3, 6), "{report:?}");
    nightly
}

#[tokio::test]
async fn what_nothing_leads_to_goes() {
    async fn check<W: World>(world: W) {
        let (client, storage) = (Client(world.registry()), world.storage());
        let nightly = nightly(&client).await;
        // It is young.
        world.pass(DAY / 2);
        assert_eq!(client.run(&world, untagged()).await.untagged, 0);
        world.pass(2 * DAY);
        // Nobody asked for it.
        assert_eq!(client.run(&world, order()).await.untagged, 0);
        world.pass(DAY);
        let dry = client.run(&world, SliceOptions { dry_run: true, ..untagged() }).await;
        let report = client.run(&world, untagged()).await;
        for digest in nightly.gone() {
            assert!(!exists(&storage, revision(digest)).await);
            let value = storage.read(&moved(digest)).await.unwrap();
            let found = MovedRevision::parse(&value).unwrap();
            assert_eq!(
                (&found.digest, format!("{:032x}", found.run)),
                (digest, report.run.clone())
            );
            assert!(dry.eligible.contains(&format!("a@{digest}")), "{dry:?}");
        }
        for digest in [&nightly.shared, &nightly.new] {
            assert_eq!(client.status("GET", &path(digest.as_str())).await, 200);
        }
        assert_eq!(client.status("GET", &path("nightly")).await, 200);
        assert_eq!(referrers(&client, &nightly.old_index).await, 0);
        assert_eq!((report.untagged, report.untagged_bytes), (3, dry.untagged_bytes));
        assert_eq!(dry.untagged, 3);
        assert!(report.untagged_bytes > 500, "{report:?}");
        // Announcements are over.
        let deletions = Collection::Deletions(name("a"));
        let left = storage.enumerate(&deletions, None, 1000).await.unwrap().entries;
        assert!(left.iter().all(|entry| entry.size == 0), "{left:?}");
    }
    over_both!(check);
}

/// With what they refer to: two sightings, a time condemned, and no longer held.
#[tokio::test]
async fn what_was_taken_away_goes_for_good() {
    async fn check<W: World>(world: W) {
        let (client, storage) = (Client(world.registry()), world.storage());
        let nightly = taken_away(&world, &client).await;
        let mut removed = 0;
        for day in 1..=12 {
            world.pass(DAY);
            let report = client.run(&world, untagged()).await;
            removed += report.removed;
            let is_there = exists(&storage, moved(&nightly.old)).await;
            assert!(day > 7 || (is_there && removed == 0), "{day} {report:?}");
            assert!(removed == 0 || !is_there, "{day} {report:?}");
            if day == 8 {
                let path = path(nightly.old.as_str());
                assert_eq!(client.status("GET", &path).await, 404, "it has expired");
            }
        }
        // Manifests, and config and layer of the image and of the signature.
        assert_eq!(removed, 7);
        for digest in nightly.gone() {
            assert!(!exists(&storage, Key::Blob(digest.clone())).await);
        }
        assert!(!exists(&storage, blob("old layer")).await);
        assert_eq!(client.status("GET", &path("nightly")).await, 200);
        let path = format!("/v2/a/blobs/{}", sha256(b"shared layer"));
        assert_eq!(client.status("GET", &path).await, 200);
    }
    over_both!(check);
}

/// However long runs have not come, and whatever was condemned before.
#[tokio::test]
async fn what_may_be_restored_is_not_removed() {
    async fn check<W: World>(world: W) {
        let (client, storage) = (Client(world.registry()), world.storage());
        let nightly = taken_away(&world, &client).await;
        // Sighted, and condemned.
        for _ in 0..2 {
            world.pass(2 * DAY);
            client.run(&world, untagged()).await;
        }
        world.pass(20 * DAY);
        let report = client.run(&world, untagged()).await;
        assert_eq!((report.removed, report.kept), (0, 7), "{report:?}");
        let value = storage.read(&moved(&nightly.old)).await.unwrap();
        assert!(MovedRevision::parse(&value).unwrap().expired, "since this run");
        // A request had read it before that.
        let link = revision(&nightly.old);
        let media_type = MediaType::parse(IMAGE).unwrap();
        storage.link(&link, &nightly.old, Some(&media_type)).await.unwrap();
        world.pass(2 * DAY);
        let report = client.run(&world, SliceOptions { untagged: None, ..untagged() }).await;
        assert_eq!((report.given_back, report.removed), (3, 4), "{report:?}");
        let path = format!("/v2/a/blobs/{}", sha256(b"old layer"));
        assert_eq!(client.status("GET", &path).await, 200);
    }
    over_both!(check);
}

#[tokio::test]
async fn what_is_needed_again_comes_back() {
    async fn check<W: World>(world: W) {
        let (client, storage) = (Client(world.registry()), world.storage());
        let nightly = taken_away(&world, &client).await;
        world.pass(DAY);
        client.run(&world, untagged()).await;
        world.pass(2 * DAY);
        assert!(client.run(&world, untagged()).await.condemned > 0);
        // By its digest, with its type, as a referrer; and by no tag. Another instance, as
        // this one believes for a while that nothing is taken away.
        let client = Client(world.registry());
        let old = &nightly.old_index;
        let head = client.ask("HEAD", &path(old.as_str()), INDEX, Bytes::new()).await;
        assert_eq!(head.status(), 200);
        assert_eq!(head.headers()["content-type"], INDEX);
        assert_eq!(client.status("GET", &path(old.as_str())).await, 200);
        assert_eq!(client.status("GET", &path("gone")).await, 404);
        assert_eq!(referrers(&client, old).await, 0);
        assert_eq!(client.status("GET", &path(nightly.signature.as_str())).await, 200);
        assert_eq!(referrers(&client, old).await, 1);
        for digest in nightly.gone() {
            assert_eq!(exists(&storage, revision(digest)).await, digest != &nightly.old);
        }
        // The next run brings back what the index lists, and the blobs.
        world.pass(DAY / 2);
        let soon = SliceOptions { interval: DAY / 4, ..untagged() };
        let dry = client.run(&world, SliceOptions { dry_run: true, ..soon }).await;
        let real = client.run(&world, soon).await;
        for report in [dry, real] {
            assert_eq!((report.restored, report.untagged), (1, 0), "{report:?}");
            assert!(report.given_back > 0, "{report:?}");
        }
        assert!(exists(&storage, revision(&nightly.old)).await);
        for bytes in ["old config", "old layer"] {
            assert!(exists(&storage, layer("a", bytes)).await, "{bytes}");
        }
        // Moved links are tidied up.
        world.pass(3 * DAY);
        client.run(&world, order()).await;
        let left = Collection::MovedRevisions(name("a"));
        assert_eq!(storage.enumerate(&left, None, 10).await.unwrap().entries, []);
        // And all goes again.
        world.pass(DAY);
        assert_eq!(client.run(&world, untagged()).await.untagged, 3);
    }
    over_both!(check);
}

#[tokio::test]
async fn a_push_brings_back_what_it_names() {
    async fn check<W: World>(world: W) {
        let (client, storage) = (Client(world.registry()), world.storage());
        let nightly = taken_away(&world, &client).await;
        client.push("a", "again", INDEX, &index(&[&nightly.old])).await;
        assert!(exists(&storage, revision(&nightly.old)).await);
        assert!(!exists(&storage, revision(&nightly.old_index)).await);
        // Of any type that is no image.
        let other = json!({ "things": [nightly.signature] });
        client.push("a", "other", "application/vnd.example+json", &other).await;
        assert!(exists(&storage, revision(&nightly.signature)).await);
        assert_eq!(referrers(&client, &nightly.old_index).await, 1);
        // Itself.
        client.push("a", "old", INDEX, &index(&[&nightly.old, &nightly.shared])).await;
        assert_eq!(client.status("GET", &path("old")).await, 200);
        world.pass(5 * DAY);
        let report = client.run(&world, untagged()).await;
        assert_eq!((report.untagged, report.restored), (0, 0), "{report:?}");
    }
    over_both!(check);
}

/// A deletion by request is for good.
#[tokio::test]
async fn what_was_taken_away_can_be_deleted() {
    async fn check<W: World>(world: W) {
        let (client, storage) = (Client(world.registry()), world.storage());
        let nightly = taken_away(&world, &client).await;
        client.delete("a", &nightly.old).await;
        assert_eq!(client.status("GET", &path(nightly.old.as_str())).await, 404);
        assert_eq!(client.status("DELETE", &path(nightly.old.as_str())).await, 404);
        // Also of one that was restored.
        assert_eq!(client.status("GET", &path(nightly.old_index.as_str())).await, 200);
        client.delete("a", &nightly.old_index).await;
        assert_eq!(client.status("GET", &path(nightly.old_index.as_str())).await, 404);
        client.push("a", "again", INDEX, &index(&[&nightly.old])).await;
        assert!(!exists(&storage, revision(&nightly.old)).await, "as ever");
        // Of the whole repository.
        assert_eq!(client.status("DELETE", "/v2/a/_roadstead/repository").await, 202);
        assert!(!exists(&storage, moved(&nightly.signature)).await);
        assert_eq!(client.status("GET", &path(nightly.signature.as_str())).await, 404);
        assert_eq!(client.status("DELETE", "/v2/a/_roadstead/repository").await, 404);
    }
    over_both!(check);
}

#[tokio::test]
async fn a_read_only_registry_restores_nothing() {
    async fn check<W: World>(world: W) {
        let client = Client(world.registry());
        let nightly = taken_away(&world, &client).await;
        let read_only = [("REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED", "true")];
        let reader = Client(NativeRegistry::new(world.storage(), &read_only).unwrap());
        assert_eq!(reader.status("GET", &path(nightly.old.as_str())).await, 404);
        assert_eq!(client.status("GET", &path(nightly.old.as_str())).await, 200);
        assert_eq!(reader.status("GET", &path(nightly.old.as_str())).await, 200);
    }
    over_both!(check);
}

/// In one run, as with distribution's command.
#[tokio::test]
async fn without_others_space_comes_back_at_once() {
    async fn check<W: World>(world: W) {
        let (client, storage) = (Client(world.registry()), world.storage());
        let nightly = nightly(&client).await;
        assert_eq!(client.run(&world, exclusive()).await.untagged, 0, "they are young");
        let exclusive = SliceOptions { untagged: Some(std::time::Duration::ZERO), ..exclusive() };
        let dry = client.run(&world, SliceOptions { dry_run: true, ..exclusive }).await;
        let real = client.run(&world, SliceOptions { budget: 2, ..exclusive }).await;
        let comparable = |report: &Report| Report {
            run: String::new(),
            begun: 0,
            dry_run: false,
            operations: 0,
            eligible: Vec::new(),
            ..report.clone()
        };
        assert_eq!(comparable(&dry), comparable(&real));
        assert_eq!((real.untagged, real.removed, real.manifests), (3, 7, 6), "{real:?}");
        assert_eq!(dry.eligible.len(), 3);
        for digest in nightly.gone() {
            assert!(
                !exists(&storage, revision(digest)).await && !exists(&storage, moved(digest)).await
            );
        }
        for bytes in ["old layer", "signature"] {
            assert!(!exists(&storage, blob(bytes)).await);
        }
        assert_eq!(client.status("GET", &path(nightly.shared.as_str())).await, 200);
        assert_eq!(client.status("GET", &path("nightly")).await, 200);
        // What was taken away before goes at once, unless it is needed again.
        client.push_image("a", "", "config 2", "layer 2").await;
        let child = client.push_image("a", "", "config 3", "layer 3").await;
        let parent = client.push("a", "", INDEX, &index(&[&child])).await;
        world.pass(2 * DAY);
        assert_eq!(client.run(&world, untagged()).await.untagged, 3);
        assert_eq!(client.status("GET", &path(parent.as_str())).await, 200);
        let exclusive = SliceOptions { untagged: None, ..exclusive };
        let dry = client.run(&world, SliceOptions { dry_run: true, ..exclusive }).await;
        let real = client.run(&world, exclusive).await;
        assert_eq!(comparable(&dry), comparable(&real));
        assert_eq!((real.restored, real.removed), (1, 3), "{real:?}");
        assert_eq!(client.status("GET", &path(child.as_str())).await, 200);
        let path = format!("/v2/a/blobs/{}", sha256(b"layer 3"));
        assert_eq!(client.status("GET", &path).await, 200);
    }
    over_both!(check);
}

/// Of another registry: manifests stay while it writes, and come back with the media
/// type that they say.
#[tokio::test]
async fn untagged_manifests_of_another_registry() {
    async fn check<W: World>(world: W) {
        let (client, storage) = (Client(world.registry()), world.storage());
        let manifest = Bytes::from(image("config", "layer").to_string());
        let digest = sha256(&manifest);
        storage.write(&Key::Blob(digest.clone()), manifest).await.unwrap();
        storage.link(&revision(&digest), &digest, None).await.unwrap();
        world.pass(5 * DAY);
        let report = client.run(&world, untagged()).await;
        assert_eq!((report.untagged, report.foreign), (0, true), "{report:?}");
        let alone = SliceOptions { dry_run: true, ..exclusive() };
        assert!(!client.run(&world, alone).await.foreign, "nobody else uses it");
        world.pass(30 * DAY);
        let report = client.run(&world, untagged()).await;
        assert_eq!((report.untagged, report.foreign), (1, false), "{report:?}");
        let response = client.ask("GET", &path(digest.as_str()), IMAGE, Bytes::new()).await;
        assert_eq!(
            (response.status().as_u16(), response.headers()["content-type"].as_bytes()),
            (200, IMAGE.as_bytes())
        );
        world.pass(DAY);
        assert!(!client.run(&world, untagged()).await.foreign, "it is ours now");
    }
    over_both!(check);
}

#[tokio::test]
async fn many_untagged_manifests_go_in_slices() {
    async fn check<W: World>(world: W) {
        let (client, storage) = (Client(world.registry()), world.storage());
        let mut all = Vec::new();
        for number in 0..150 {
            let other = json!({ "number": number });
            all.push(client.push("a", "", "application/vnd.example+json", &other).await);
        }
        let kept = client.push("b", "v", "application/vnd.example+json", &json!({})).await;
        world.pass(2 * DAY);
        let report = client.run(&world, SliceOptions { budget: 1, ..untagged() }).await;
        assert_eq!((report.untagged, report.manifests), (150, 151), "{report:?}");
        for digest in &all {
            assert!(!exists(&storage, revision(digest)).await);
        }
        assert_eq!(client.status("GET", &format!("/v2/b/manifests/{kept}")).await, 200);
        let response = client.ask("GET", &path(all[7].as_str()), IMAGE, Bytes::new()).await;
        assert_eq!(response.headers()["content-type"], "application/vnd.example+json");
    }
    over_both!(check);
}

/// A repository of which nothing is left but what was taken away is still looked at, and
/// not in the catalog.
#[tokio::test]
async fn a_repository_of_what_was_taken_away() {
    async fn check<W: World>(world: W) {
        let (client, storage) = (Client(world.registry()), world.storage());
        let digest = client.push("a", "", "application/vnd.example+json", &json!({})).await;
        world.pass(2 * DAY);
        client.run(&world, untagged()).await;
        let catalog = client.ask("GET", "/v2/_catalog", IMAGE, Bytes::new()).await;
        assert_eq!(catalog.body().as_ref(), br#"{"repositories":[]}"#);
        for _ in 0..12 {
            world.pass(DAY);
            client.run(&world, order()).await;
        }
        assert!(
            !exists(&storage, moved(&digest)).await && !exists(&storage, Key::Blob(digest)).await
        );
    }
    over_both!(check);
}

#[tokio::test]
async fn a_run_that_took_manifests_away_is_undone() {
    async fn check<W: World>(world: W) {
        let (client, storage) = (Client(world.registry()), world.storage());
        let nightly = nightly(&client).await;
        world.pass(2 * DAY);
        let report = client.run(&world, untagged()).await;
        let undo = Some(u128::from_str_radix(&report.run, 16).unwrap());
        let other = SliceOptions { undo: Some(7), ..order() };
        assert_eq!(client.run(&world, other).await.restored, 0);
        let undo = SliceOptions { undo, ..order() };
        let dry = client.run(&world, SliceOptions { dry_run: true, ..undo }).await;
        assert_eq!((dry.restored, client.run(&world, undo).await.restored), (3, 3));
        for digest in nightly.gone() {
            assert!(exists(&storage, revision(digest)).await);
        }
        assert_eq!(referrers(&client, &nightly.old_index).await, 1);
    }
    over_both!(check);
}
