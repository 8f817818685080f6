//! Deletions by digest and the referrers that they concern, over a directory and
//! a bucket of this process.

use bytes::Bytes;
use futures::future::{Either, select};
use http::{Request, Response};
use object_store::path::Path;
use roadstead_cloud::{CloudStorage, Options};
use roadstead_directory::{Directory, DirectoryStorage};
use roadstead_kit::body::NativeBodies;
use roadstead_kit::bucket::MemoryBucket;
use roadstead_kit::directory::NativeDirectory;
use roadstead_kit::native::NativeRegistry;
use roadstead_oci::{Algorithm, Digest, Manifest, MediaType, RepositoryName, Tag};
use roadstead_storage::{Key, PAGE_BYTES, Storage as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::pin::pin;
use std::time::{Duration, SystemTime};

const DELETES: &[(&str, &str)] = &[("REGISTRY_STORAGE_DELETE_ENABLED", "true")];
const READ_ONLY: &[(&str, &str)] = &[("REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED", "true")];
const PLAIN: &str = "application/vnd.example.plain+json";

fn registry(bucket: &MemoryBucket, settings: &[(&str, &str)]) -> NativeRegistry {
    NativeRegistry::new(storage(bucket), settings).unwrap()
}

fn storage(bucket: &MemoryBucket) -> CloudStorage<NativeBodies> {
    CloudStorage::new(bucket.backend(""), Options::default())
}

fn name() -> RepositoryName {
    RepositoryName::parse("a").unwrap()
}

fn sha256(bytes: &[u8]) -> Digest {
    Digest::from_bytes(Algorithm::Sha256, &Sha256::digest(bytes)).unwrap()
}

fn request(method: &str, path: &str, body: impl Into<Bytes>) -> Request<Bytes> {
    let request = Request::builder().method(method).uri(path).header("content-type", PLAIN);
    request.body(body.into()).unwrap()
}

fn put(tag: &str, manifest: &Bytes) -> Request<Bytes> {
    request("PUT", &format!("/v2/a/manifests/{tag}"), manifest.clone())
}

fn body(response: &Response<Bytes>) -> Value {
    serde_json::from_slice(response.body()).unwrap()
}

fn plain() -> Bytes {
    Bytes::from_static(b"{}")
}

fn deletion(digest: &Digest) -> Key {
    Key::Deletion { repository: name(), digest: digest.clone(), id: 7 }
}

#[tokio::test]
async fn a_deletion_that_died_does_not_hold_up_pushes() {
    let bucket = MemoryBucket::default();
    let registry = registry(&bucket, DELETES);
    let digest = sha256(&plain());
    storage(&bucket).write(&deletion(&digest), Bytes::new()).await.unwrap();
    assert_eq!(registry.send(put("x", &plain())).await.status(), 201);
    assert!(!storage(&bucket).exists(&deletion(&digest)).await.unwrap());
    // One of another manifest that names the tag is waited for too, and no other.
    let other = sha256(b"other");
    for (tags, stays) in [("w\nx", false), ("w\ny", true), ("", true)] {
        storage(&bucket).write(&deletion(&other), Bytes::from(tags)).await.unwrap();
        assert_eq!(registry.send(put("x", &plain())).await.status(), 201);
        assert_eq!(storage(&bucket).exists(&deletion(&other)).await.unwrap(), stays, "{tags:?}");
    }
}

#[tokio::test]
async fn a_deletion_removes_announcements_of_long_ago() {
    let root = tempfile::tempdir().unwrap();
    let storage = DirectoryStorage(NativeDirectory::new(Directory::open(root.path()).unwrap()));
    let registry = NativeRegistry::new(storage, DELETES).unwrap();
    assert_eq!(registry.send(put("x", &plain())).await.status(), 201);
    let announced = |key: Key, age| {
        let path = root.path().join(key.to_string());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let file = std::fs::File::create(&path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_hours(age)).unwrap();
        path
    };
    let deletion = |id| Key::Deletion { repository: name(), digest: sha256(b"other"), id };
    let (old, new) = (announced(deletion(1), 2), announced(deletion(2), 0));
    // A collector tidies up its own.
    let moves = announced(Key::Moves { repository: name(), id: 3 }, 2);
    let path = format!("/v2/a/manifests/{}", sha256(&plain()));
    assert_eq!(registry.send(request("DELETE", &path, "")).await.status(), 202);
    assert_eq!((old.exists(), new.exists(), moves.exists()), (false, true, true));
}

/// Pushes while something else goes on for ever, and returns the status.
async fn push_beside(bucket: &MemoryBucket, other: impl Future<Output = ()>) -> u16 {
    let registry = registry(bucket, DELETES);
    let push = pin!(registry.send(put("x", &plain())));
    match select(push, pin!(other)).await {
        Either::Left((response, _)) => response.status().as_u16(),
        Either::Right(_) => panic!("the other ended"),
    }
}

#[tokio::test]
async fn a_push_does_not_wait_for_ever() {
    let bucket = MemoryBucket::default();
    let digest = sha256(&plain());
    let renew = async {
        loop {
            storage(&bucket).write(&deletion(&digest), Bytes::new()).await.unwrap();
        }
    };
    assert_eq!(push_beside(&bucket, renew).await, 503);
    let bucket = MemoryBucket::default();
    let link = Path::from(Key::Revision(name(), digest.clone()).to_string());
    let remove = async {
        loop {
            let _ = bucket.objects().delete(&link).await;
            tokio::task::yield_now().await;
        }
    };
    assert_eq!(push_beside(&bucket, remove).await, 503);
}

#[tokio::test]
async fn tags_of_many_pages_are_deleted() {
    let root = tempfile::tempdir().unwrap();
    let directory = Directory::open(root.path()).unwrap();
    let (digest, media_type) = (sha256(&plain()), MediaType::parse(PLAIN).unwrap());
    let storage = DirectoryStorage(NativeDirectory::new(directory));
    for i in 0..1100 {
        // The longest names.
        let tag = Key::Tag(name(), Tag::parse(&format!("{i:0>128}")).unwrap());
        storage.link(&tag, &digest, Some(&media_type)).await.unwrap();
    }
    let registry = NativeRegistry::new(storage, DELETES).unwrap();
    assert_eq!(registry.send(put("x", &plain())).await.status(), 201);
    let path = format!("/v2/a/manifests/{digest}");
    assert_eq!(registry.send(request("DELETE", &path, "")).await.status(), 202);
    assert_eq!(registry.send(request("GET", "/v2/a/tags/list", "")).await.status(), 404);
    assert_eq!(registry.send(request("DELETE", &path, "")).await.status(), 404);
    let repositories = root.path().join("docker/registry/v2/repositories");
    assert!(!repositories.exists(), "the announcement is gone");
}

/// As an earlier version left them that died within a deletion.
#[tokio::test]
async fn tags_that_lead_nowhere_are_deleted_by_digest() {
    let bucket = MemoryBucket::default();
    let registry = registry(&bucket, DELETES);
    assert_eq!(registry.send(put("x", &plain())).await.status(), 201);
    let digest = sha256(&plain());
    storage(&bucket).delete(&Key::Revision(name(), digest.clone())).await.unwrap();
    let path = format!("/v2/a/manifests/{digest}");
    assert_eq!(registry.send(request("DELETE", &path, "")).await.status(), 202);
    assert_eq!(registry.send(request("GET", "/v2/a/manifests/x", "")).await.status(), 404);
    assert_eq!(registry.send(request("DELETE", &path, "")).await.status(), 404);
}

/// Like one that nobody has.
#[tokio::test]
async fn a_blob_that_is_too_long_for_a_manifest_is_unknown() {
    let bucket = MemoryBucket::default();
    let registry = registry(&bucket, DELETES);
    let blob = Bytes::from(vec![b' '; Manifest::MAX_SIZE + 1]);
    let digest = sha256(&blob);
    let at = Path::from(Key::Blob(digest.clone()).to_string());
    bucket.objects().put(&at, blob.into()).await.unwrap();
    let path = format!("/v2/a/manifests/{digest}");
    let response = registry.send(request("DELETE", &path, "")).await;
    assert_eq!(response.status(), 404);
    assert_eq!(body(&response)["errors"][0]["code"], "MANIFEST_UNKNOWN");
}

fn referrer(subject: &Digest, annotation: &str) -> Bytes {
    let subject = json!({ "mediaType": PLAIN, "digest": subject.as_str(), "size": 2 });
    let index = "application/vnd.oci.image.index.v1+json";
    let annotations = json!({ "note": annotation });
    let manifest = json!({
        "schemaVersion": 2, "mediaType": index, "manifests": [],
        "subject": subject, "annotations": annotations,
    });
    manifest.to_string().into()
}

fn put_referrer(manifest: &Bytes) -> Request<Bytes> {
    let path = format!("/v2/a/manifests/{}", sha256(manifest));
    Request::put(path).body(manifest.clone()).unwrap()
}

/// The digests that the referrers API lists.
async fn listed(registry: &NativeRegistry, query: &str) -> (Vec<String>, bool) {
    let path = format!("/v2/a/referrers/{}{query}", sha256(&plain()));
    let response = registry.send(request("GET", &path, "")).await;
    assert_eq!(response.status(), 200);
    let index = body(&response);
    let digests = index["manifests"].as_array().unwrap().iter();
    let digests = digests.map(|d| d["digest"].as_str().unwrap().to_owned()).collect();
    (digests, response.headers().contains_key("link"))
}

#[tokio::test]
async fn a_read_only_registry_lists_referrers_without_a_write() {
    let bucket = MemoryBucket::default();
    let writable = registry(&bucket, DELETES);
    let mut expected = Vec::new();
    for note in ["1", "2", "3"] {
        let manifest = referrer(&sha256(&plain()), note);
        assert_eq!(writable.send(put_referrer(&manifest)).await.status(), 201);
        let digest = sha256(&manifest);
        if note != "1" {
            // As if another registry had pushed it.
            let (repository, subject) = (name(), sha256(&plain()));
            let key = Key::Referrer { repository, subject, digest: digest.clone() };
            storage(&bucket).delete(&key).await.unwrap();
        }
        expected.push(digest.to_string());
    }
    expected.sort();
    let registry = registry(&bucket, READ_ONLY);
    bucket.requests();
    assert_eq!(listed(&registry, "").await, (expected.clone(), false));
    for n in 1..=3 {
        let (page, more) = listed(&registry, &format!("?n={n}")).await;
        assert_eq!((page.as_slice(), more), (&expected[..n], n < 3));
        let last = page.last().unwrap().replace(':', "-");
        let (rest, more) = listed(&registry, &format!("?n=9&last={last}")).await;
        assert_eq!((rest.as_slice(), more), (&expected[n..], false));
    }
    let requests = bucket.requests();
    let reads = ["GET ", "HEAD ", "LIST "];
    assert!(requests.iter().all(|r| reads.iter().any(|read| r.starts_with(read))), "{requests:?}");
    // What cannot be written is only a cache; and then it is.
    bucket.fail_next("PUT");
    assert_eq!(listed(&writable, "").await, (expected.clone(), false));
    assert_eq!(listed(&writable, "").await, (expected.clone(), false));
    assert_eq!(listed(&writable, "").await, (expected, false));
    assert!(storage(&bucket).exists(&Key::ReferrersComplete(name())).await.unwrap());
}

#[tokio::test]
async fn a_descriptor_that_no_page_has_room_for() {
    let bucket = MemoryBucket::default();
    let registry = registry(&bucket, DELETES);
    let subject = sha256(&plain());
    let long = referrer(&subject, &"x".repeat(PAGE_BYTES));
    let refused = registry.send(put_referrer(&long)).await;
    assert_eq!(refused.status(), 400);
    assert_eq!(body(&refused)["errors"][0]["code"], "MANIFEST_INVALID");
    assert_eq!(registry.send(put_referrer(&referrer(&subject, "short"))).await.status(), 201);
    // One that an earlier version stored is listed without its annotations.
    let digest = sha256(&long);
    let storage = storage(&bucket);
    let revision = Key::Revision(name(), digest.clone());
    storage.write(&Key::Blob(digest.clone()), long.clone()).await.unwrap();
    storage.link(&revision, &digest, Some(&MediaType::oci_image_index())).await.unwrap();
    let key =
        Key::Referrer { repository: name(), subject: subject.clone(), digest: digest.clone() };
    storage.write(&key, vec![b' '; PAGE_BYTES + 1].into()).await.unwrap();
    let response = registry.send(request("GET", &format!("/v2/a/referrers/{subject}"), "")).await;
    assert_eq!(response.status(), 200);
    let listed = body(&response);
    let listed = listed["manifests"].as_array().unwrap();
    assert_eq!(listed.len(), 2);
    let found = listed.iter().find(|d| d["digest"] == digest.as_str()).unwrap();
    assert_eq!((&found["annotations"], &found["size"]), (&Value::Null, &json!(long.len())));
}
