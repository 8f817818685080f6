//! Clients of a storage in which a collector is at work, over a directory and a
//! bucket of this process.

use bytes::Bytes;
use futures::future::join;
use http::{Request, Response};
use roadstead_cloud::{CloudStorage, Options};
use roadstead_directory::{Directory, DirectoryStorage};
use roadstead_kit::body::NativeBodies;
use roadstead_kit::bucket::MemoryBucket;
use roadstead_kit::contract::sha256;
use roadstead_kit::directory::NativeDirectory;
use roadstead_kit::native::NativeRegistry;
use roadstead_oci::{Digest, RepositoryName};
use roadstead_storage::condemned::{Tombstone, TombstoneState};
use roadstead_storage::{Key, Record, Storage};
use serde_json::json;
use std::sync::Arc;

const DELETES: &[(&str, &str)] = &[("REGISTRY_STORAGE_DELETE_ENABLED", "true")];
const READ_ONLY: &[(&str, &str)] = &[("REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED", "true")];
const SPARSE: &[(&str, &str)] = &[("REGISTRY_VALIDATION_MANIFESTS_SPARSE", "true")];
const BLOB: &[u8] = b"the bytes of a blob";
const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";

fn name(text: &str) -> RepositoryName {
    RepositoryName::parse(text).unwrap()
}

/// A registry, and the storage below it for what a collector does.
struct Fixture<S> {
    registry: NativeRegistry,
    storage: S,
}

type InBucket = Fixture<CloudStorage<NativeBodies>>;

fn in_bucket(bucket: &MemoryBucket, settings: &[(&str, &str)]) -> InBucket {
    let options = || Options { secret: Some(b"secret".to_vec()), ..Options::default() };
    let storage = || CloudStorage::new(bucket.backend(""), options());
    Fixture { registry: NativeRegistry::new(storage(), settings).unwrap(), storage: storage() }
}

type Native = DirectoryStorage<NativeDirectory>;

fn in_directory(directory: &Arc<Directory>, settings: &[(&str, &str)]) -> Fixture<Native> {
    let storage = || DirectoryStorage(NativeDirectory::new(Arc::clone(directory)));
    Fixture { registry: NativeRegistry::new(storage(), settings).unwrap(), storage: storage() }
}

/// Runs a test over both.
macro_rules! over_both {
    ($settings:expr, $test:ident) => {
        $test(&in_bucket(&MemoryBucket::default(), $settings)).await;
        let root = tempfile::tempdir().unwrap();
        let directory = Arc::new(Directory::open(root.path()).unwrap());
        $test(&in_directory(&directory, $settings)).await;
    };
}

impl<S> Fixture<S>
where
    S: Storage,
{
    async fn send(&self, method: &str, path: &str, body: impl Into<Bytes>) -> Response<Bytes> {
        let request = Request::builder().method(method).uri(path).header("content-type", IMAGE);
        self.registry.send(request.body(body.into()).unwrap()).await
    }

    async fn status(&self, method: &str, path: &str, body: impl Into<Bytes>) -> u16 {
        self.send(method, path, body).await.status().as_u16()
    }

    async fn upload(&self, name: &str, bytes: &'static [u8]) -> u16 {
        let path = format!("/v2/{name}/blobs/uploads/?digest={}", sha256(bytes));
        self.status("POST", &path, bytes).await
    }

    async fn push(&self, tag: &str, blobs: &[&[u8]]) -> Response<Bytes> {
        self.send("PUT", &format!("/v2/a/manifests/{tag}"), image(blobs)).await
    }

    async fn write(&self, key: Key, value: impl Into<Bytes>) {
        self.storage.write(&key, value.into()).await.unwrap();
    }

    async fn exists(&self, key: Key) -> bool {
        self.storage.exists(&key).await.unwrap()
    }

    async fn mark(&self) {
        self.write(Key::Record(Record::Marker), "").await;
    }

    async fn bury(&self, digest: &Digest, state: TombstoneState) {
        self.mark().await;
        let tombstone = Tombstone { state, slice: 7, run: 7 }.to_string();
        self.write(Key::Tombstone(digest.clone()), tombstone).await;
    }

    async fn announce(&self, digests: &str) {
        self.write(Key::Moves { repository: name("a"), id: 7 }, digests.to_owned()).await;
    }

    async fn move_link(&self, digest: &Digest) {
        self.write(moved(digest), digest.to_string()).await;
        self.storage.delete(&layer(digest)).await.unwrap();
    }

    /// As a collector leaves a blob that it has condemned.
    async fn condemn(&self, digest: &Digest) {
        self.bury(digest, TombstoneState::Unlinked).await;
        self.move_link(digest).await;
        self.announce("").await;
    }
}

fn layer(digest: &Digest) -> Key {
    Key::Layer(name("a"), digest.clone())
}

fn moved(digest: &Digest) -> Key {
    Key::MovedLayer(name("a"), digest.clone())
}

fn image(blobs: &[&[u8]]) -> Bytes {
    let descriptor = |blob: &&[u8]| {
        let layer = "application/vnd.oci.image.layer.v1.tar";
        json!({ "mediaType": layer, "digest": sha256(blob).as_str(), "size": blob.len() })
    };
    let layers: Vec<_> = blobs.iter().map(descriptor).collect();
    let config = layers.first().cloned();
    json!({ "schemaVersion": 2, "config": config, "layers": layers }).to_string().into()
}

/// A GET restores; a HEAD only where that costs no request.
#[tokio::test]
async fn a_condemned_blob_can_be_pulled() {
    async fn check<S: Storage>(f: &Fixture<S>) {
        let digest = sha256(BLOB);
        let path = format!("/v2/a/blobs/{digest}");
        assert_eq!(f.upload("a", BLOB).await, 201);
        f.condemn(&digest).await;
        let is_cheap = f.storage.marker().is_none();
        assert_eq!(f.status("HEAD", &path, "").await, if is_cheap { 200 } else { 404 });
        assert_eq!(f.exists(layer(&digest)).await, is_cheap);
        assert_eq!(f.send("GET", &path, "").await.body(), BLOB);
        assert!(f.exists(layer(&digest)).await && f.exists(Key::Need(digest.clone())).await);
        assert!(f.exists(moved(&digest)).await, "others may be looking for it");
        assert_eq!(f.status("HEAD", &path, "").await, 200);
        // Once the data is gone, there is nothing to restore.
        f.condemn(&digest).await;
        f.storage.delete(&Key::Blob(digest.clone())).await.unwrap();
        assert_eq!(f.status("GET", &path, "").await, 404);
        assert!(!f.exists(layer(&digest)).await);
    }
    over_both!(DELETES, check);
}

#[tokio::test]
async fn a_read_only_registry_restores_nothing() {
    async fn check<S: Storage>(f: &Fixture<S>) {
        let digest = sha256(BLOB);
        f.write(Key::Blob(digest.clone()), BLOB).await;
        f.condemn(&digest).await;
        assert_eq!(f.status("GET", &format!("/v2/a/blobs/{digest}"), "").await, 404);
        assert!(!f.exists(Key::Need(digest)).await);
    }
    over_both!(READ_ONLY, check);
}

#[tokio::test]
async fn an_upload_says_that_a_condemned_blob_is_needed() {
    async fn check<S: Storage>(f: &Fixture<S>) {
        let empty = sha256(b"");
        f.mark().await;
        for (bytes, whole) in [(BLOB, true), (BLOB, false), (b"", true), (b"", false)] {
            let digest = sha256(bytes);
            f.bury(&digest, TombstoneState::Condemned).await;
            if whole {
                assert_eq!(f.upload("a", bytes).await, 201);
            } else {
                let begun = f.send("POST", "/v2/a/blobs/uploads/", "").await;
                let mut at = begun.headers()["location"].to_str().unwrap().to_owned();
                if !bytes.is_empty() {
                    let sent = f.send("PATCH", &at, bytes).await;
                    sent.headers()["location"].to_str().unwrap().clone_into(&mut at);
                }
                let joint = if at.contains('?') { '&' } else { '?' };
                let path = format!("{at}{joint}digest={digest}");
                assert_eq!(f.status("PUT", &path, "").await, 201);
            }
            assert!(f.exists(Key::Need(digest.clone())).await, "{whole} {bytes:?}");
            f.storage.delete(&Key::Need(digest)).await.unwrap();
        }
        // A manifest's own bytes are an upload too.
        let blobs: &[&[u8]] = &[b""];
        assert_eq!(f.upload("a", b"").await, 201);
        let manifest = sha256(&image(blobs));
        f.bury(&manifest, TombstoneState::Unlinked).await;
        f.storage.delete(&Key::Tombstone(empty.clone())).await.unwrap();
        assert_eq!(f.push("t", blobs).await.status(), 201);
        assert!(f.exists(Key::Need(manifest)).await);
    }
    over_both!(DELETES, check);
}

/// The data is written only when the removal is over.
#[tokio::test]
async fn an_upload_waits_for_a_removal() {
    async fn check<S: Storage>(f: &Fixture<S>) {
        let digest = sha256(BLOB);
        f.bury(&digest, TombstoneState::Removing).await;
        let remove = async {
            while !f.exists(Key::Need(digest.clone())).await {
                tokio::task::yield_now().await;
            }
            for _ in 0..20 {
                assert!(!f.exists(Key::Blob(digest.clone())).await);
                tokio::task::yield_now().await;
            }
            f.storage.delete(&Key::Tombstone(digest.clone())).await.unwrap();
        };
        let (status, ()) = join(f.upload("a", BLOB), remove).await;
        assert_eq!(status, 201);
        assert!(f.exists(Key::Blob(digest.clone())).await && f.exists(layer(&digest)).await);
    }
    over_both!(DELETES, check);
}

#[tokio::test]
async fn what_died_does_not_hold_up_uploads_and_pushes() {
    async fn check<S: Storage>(f: &Fixture<S>) {
        let digest = sha256(BLOB);
        f.bury(&digest, TombstoneState::Removing).await;
        assert_eq!(f.upload("a", BLOB).await, 201);
        f.announce(&format!("{}\n{digest}", sha256(b"other"))).await;
        assert_eq!(f.push("t", &[BLOB]).await.status(), 201);
        let announcement = Key::Moves { repository: name("a"), id: 7 };
        assert!(f.exists(announcement).await, "the next run ends it");
        // What may have been removed meanwhile is not restored.
        f.move_link(&digest).await;
        let refused = f.push("t", &[BLOB]).await;
        assert_eq!(refused.status(), 400);
        assert!(!f.exists(layer(&digest)).await);
    }
    over_both!(DELETES, check);
}

#[tokio::test]
async fn a_mount_looks_for_the_tombstone() {
    async fn check<S: Storage>(f: &Fixture<S>) {
        let digest = sha256(BLOB);
        f.mark().await;
        assert_eq!(f.upload("a", BLOB).await, 201);
        for (query, to) in [("&from=a", "b"), ("", "c")] {
            let path = format!("/v2/{to}/blobs/uploads/?mount={digest}{query}");
            f.bury(&digest, TombstoneState::Removing).await;
            assert_eq!(f.status("POST", &path, "").await, 202, "{query}");
            assert!(!f.exists(Key::Layer(name(to), digest.clone())).await);
            f.bury(&digest, TombstoneState::Condemned).await;
            assert_eq!(f.status("POST", &path, "").await, 201, "{query}");
            assert!(f.exists(Key::Need(digest.clone())).await);
            f.storage.delete(&Key::Need(digest.clone())).await.unwrap();
            f.storage.delete(&Key::Tombstone(digest.clone())).await.unwrap();
        }
        // A link without data.
        f.storage.delete(&Key::Blob(digest.clone())).await.unwrap();
        for path in [format!("?mount={digest}&from=a"), format!("?mount={digest}")] {
            assert_eq!(f.status("POST", &format!("/v2/d/blobs/uploads/{path}"), "").await, 202);
        }
    }
    over_both!(DELETES, check);
}

#[tokio::test]
async fn a_push_restores_many_links() {
    async fn check<S: Storage>(f: &Fixture<S>) {
        const BLOBS: &[&[u8]] =
            &[b"0", b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"8", b"9", b"10", b"11"];
        for blob in BLOBS {
            assert_eq!(f.upload("a", blob).await, 201);
            f.condemn(&sha256(blob)).await;
        }
        let missing = [BLOBS, &[b"missing"]].concat();
        let refused = f.push("t", &missing).await;
        assert_eq!(refused.status(), 400);
        let body = String::from_utf8_lossy(refused.body()).into_owned();
        assert!(body.contains(sha256(b"missing").as_str()), "{body}");
        assert!(!body.contains(sha256(b"0").as_str()), "{body}");
        assert_eq!(f.push("t", BLOBS).await.status(), 201);
        for blob in BLOBS {
            let digest = sha256(blob);
            assert!(f.exists(layer(&digest)).await && f.exists(Key::Need(digest)).await);
        }
    }
    over_both!(DELETES, check);
}

/// The push has found the link, and the collector moves it before the push is
/// acknowledged.
#[tokio::test]
async fn a_push_waits_for_moves_and_looks_again() {
    async fn check<S: Storage>(f: &Fixture<S>) {
        let (digest, manifest) = (sha256(BLOB), sha256(&image(&[BLOB])));
        assert_eq!(f.upload("a", BLOB).await, 201);
        f.bury(&digest, TombstoneState::Condemned).await;
        f.announce(digest.as_str()).await;
        let collect = async {
            while !f.exists(Key::Revision(name("a"), manifest.clone())).await {
                tokio::task::yield_now().await;
            }
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            f.move_link(&digest).await;
            f.announce("").await;
        };
        let push = async {
            let response = f.push("t", &[BLOB]).await;
            assert!(f.exists(layer(&digest)).await, "acknowledged, and restored");
            response
        };
        let (response, ()) = join(push, collect).await;
        assert_eq!(response.status(), 201);
        // Links that were moved before the push listed announcements.
        f.storage.delete(&Key::Revision(name("a"), manifest.clone())).await.unwrap();
        let collect = async {
            while !f.exists(Key::Revision(name("a"), manifest.clone())).await {
                tokio::task::yield_now().await;
            }
            f.move_link(&digest).await;
        };
        let (response, ()) = join(f.push("t", &[BLOB]), collect).await;
        assert_eq!(response.status(), 201);
    }
    over_both!(DELETES, check);
}

/// A blob that goes after it was found is unknown, unless manifests may be sparse.
#[tokio::test]
async fn what_is_missing_after_moves_is_refused() {
    async fn check<S: Storage>(f: &Fixture<S>) {
        let (digest, manifest) = (sha256(BLOB), sha256(&image(&[BLOB])));
        let is_sparse = f.push("t", &[b"missing"]).await.status() == 201;
        assert_eq!(f.upload("a", BLOB).await, 201);
        f.announce(digest.as_str()).await;
        let delete = async {
            while !f.exists(Key::Revision(name("a"), manifest.clone())).await {
                tokio::task::yield_now().await;
            }
            f.storage.delete(&layer(&digest)).await.unwrap();
            f.storage.delete(&Key::Blob(digest.clone())).await.unwrap();
            f.announce("").await;
        };
        let (response, ()) = join(f.push("t", &[BLOB]), delete).await;
        assert_eq!(response.status(), if is_sparse { 201 } else { 400 });
        assert!(!f.exists(layer(&digest)).await);
        assert_eq!(f.upload("a", BLOB).await, 201);
        f.condemn(&digest).await;
        assert_eq!(f.push("t", &[BLOB]).await.status(), 201);
        assert!(f.exists(layer(&digest)).await, "restored");
    }
    over_both!(DELETES, check);
    over_both!(SPARSE, check);
}

/// A link that a deletion takes away from a push is made again if its data is there,
/// like any link after a look for the tombstone; but not for a push that may be sparse,
/// which was not seen to hold the blob.
#[tokio::test]
async fn a_push_links_again_what_a_deletion_took() {
    async fn check<S: Storage>(f: &Fixture<S>) {
        let (digest, manifest) = (sha256(BLOB), sha256(&image(&[BLOB])));
        let is_sparse = f.push("t", &[b"missing"]).await.status() == 201;
        f.mark().await;
        assert_eq!(f.upload("a", BLOB).await, 201);
        f.bury(&digest, TombstoneState::Condemned).await;
        // So that the push waits.
        f.announce(digest.as_str()).await;
        let delete = async {
            while !f.exists(Key::Revision(name("a"), manifest.clone())).await {
                tokio::task::yield_now().await;
            }
            f.storage.delete(&layer(&digest)).await.unwrap();
            f.announce("").await;
        };
        let (response, ()) = join(f.push("t", &[BLOB]), delete).await;
        assert_eq!(response.status(), 201);
        assert_eq!(f.exists(layer(&digest)).await, !is_sparse);
        assert_eq!(f.exists(Key::Need(digest)).await, !is_sparse);
    }
    over_both!(DELETES, check);
    over_both!(SPARSE, check);
}

/// Also if nobody announces any longer that links were moved.
#[tokio::test]
async fn a_sparse_push_restores_links() {
    async fn check<S: Storage>(f: &Fixture<S>) {
        let digest = sha256(BLOB);
        assert_eq!(f.upload("a", BLOB).await, 201);
        f.bury(&digest, TombstoneState::Unlinked).await;
        f.move_link(&digest).await;
        assert_eq!(f.push("t", &[BLOB, b"missing"]).await.status(), 201);
        assert!(f.exists(layer(&digest)).await && f.exists(Key::Need(digest)).await);
    }
    over_both!(SPARSE, check);
}

/// Nor by who pulls it at the same time.
#[tokio::test]
async fn a_blob_that_is_deleted_beside_a_pull_is_not_restored() {
    for seed in 1..100 {
        let f = in_bucket(&MemoryBucket::default().with_seed(seed), DELETES);
        let digest = sha256(BLOB);
        let path = format!("/v2/a/blobs/{digest}");
        assert_eq!(f.upload("a", BLOB).await, 201);
        f.write(moved(&digest), digest.to_string()).await;
        let pulls = async {
            for _ in 0..20 {
                f.status("GET", &path, "").await;
            }
        };
        let (deleted, ()) = Box::pin(join(f.status("DELETE", &path, ""), pulls)).await;
        assert_eq!(deleted, 202);
        assert!(!f.exists(moved(&digest)).await && !f.exists(layer(&digest)).await, "{seed}");
    }
}

#[tokio::test]
async fn a_deleted_blob_is_not_restored() {
    async fn check<S: Storage>(f: &Fixture<S>) {
        let digest = sha256(BLOB);
        let path = format!("/v2/a/blobs/{digest}");
        for is_condemned in [true, false] {
            assert_eq!(f.upload("a", BLOB).await, 201);
            f.write(moved(&digest), digest.to_string()).await;
            if is_condemned {
                f.condemn(&digest).await;
            }
            assert_eq!(f.status("DELETE", &path, "").await, 202);
            assert!(!f.exists(moved(&digest)).await && !f.exists(layer(&digest)).await);
            assert_eq!(f.status("GET", &path, "").await, 404);
            assert_eq!(f.status("DELETE", &path, "").await, 404);
        }
    }
    over_both!(DELETES, check);
}
