//! Tags that never change, where requests meet: in threads over a directory with and without a
//! journal, and over buckets.

use bytes::Bytes;
use futures::future::join_all;
use http::Request;
use roadstead_cloud::{CloudStorage, Options};
use roadstead_directory::{Directory, DirectoryStorage, Options as Opening};
use roadstead_kit::body::NativeBodies;
use roadstead_kit::bucket::{Conditions, MemoryBucket};
use roadstead_kit::contract::sha256;
use roadstead_kit::directory::NativeDirectory;
use roadstead_kit::native::NativeRegistry;
use roadstead_oci::{Digest, MediaType, RepositoryName, Tag};
use roadstead_storage::{Created, Key, Storage as _, StorageError};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const SETTINGS: &[(&str, &str)] = &[
    ("REGISTRY_STORAGE_DELETE_ENABLED", "true"),
    ("REGISTRY_POLICY_IMMUTABLE", "releases ** v.*"),
];

fn manifest(number: usize) -> String {
    let annotations = json!({ "number": number.to_string() });
    json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [], "annotations": annotations })
        .to_string()
}

fn digest(number: usize) -> Digest {
    sha256(manifest(number).as_bytes())
}

fn tag(text: &str) -> Tag {
    Tag::parse(text).unwrap()
}

fn name() -> RepositoryName {
    RepositoryName::parse("a").unwrap()
}

fn in_bucket(bucket: &MemoryBucket) -> CloudStorage<NativeBodies> {
    CloudStorage::new(bucket.backend(""), Options::default())
}

async fn send(registry: &NativeRegistry, method: &str, path: &str, body: String) -> (u16, Value) {
    let request = Request::builder().method(method).uri(path).header("content-type", INDEX);
    let response = registry.send(request.body(Bytes::from(body)).unwrap()).await;
    let body = serde_json::from_slice(response.body()).unwrap_or(Value::Null);
    (response.status().as_u16(), body)
}

async fn push(registry: &NativeRegistry, tag: &str, number: usize) -> u16 {
    let path = format!("/v2/a/manifests/{tag}");
    send(registry, "PUT", &path, manifest(number)).await.0
}

/// Many threads, many of them with the same manifest: each tag has one winner, and all that push
/// the same are told so.
#[test]
fn of_many_pushes_at_once_one_decides() {
    const THREADS: usize = 8;
    const TAGS: usize = 20;
    for journal in [false, true] {
        let root = tempfile::tempdir().unwrap();
        let opening = Opening { journal, ..Opening::default() };
        let directory = Arc::new(Directory::open_with(root.path(), opening).unwrap());
        let won: Vec<[AtomicUsize; 4]> = (0..TAGS).map(|_| Default::default()).collect();
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let (directory, won) = (Arc::clone(&directory), &won);
                scope.spawn(move || {
                    let storage = DirectoryStorage(NativeDirectory::new(directory));
                    let registry = NativeRegistry::new(storage, SETTINGS).unwrap();
                    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                    for (at, won) in won.iter().enumerate() {
                        let number = thread % 4;
                        let status = runtime.block_on(push(&registry, &format!("v{at}"), number));
                        match status {
                            201 => drop(won[number].fetch_add(1, Ordering::Relaxed)),
                            409 => {}
                            other => panic!("{other}"),
                        }
                    }
                });
            }
        });
        for (at, won) in won.iter().enumerate() {
            let won: Vec<usize> = won.iter().map(|won| won.load(Ordering::Relaxed)).collect();
            let winners: Vec<usize> = (0..4).filter(|number| won[*number] > 0).collect();
            let [winner] = winners.as_slice() else { panic!("v{at}: {won:?}") };
            assert_eq!(won[*winner], THREADS / 4, "v{at}");
            let link = directory.path(&Key::Tag(name(), tag(&format!("v{at}"))));
            assert_eq!(std::fs::read_to_string(link).unwrap(), digest(*winner).as_str());
        }
    }
}

/// What a directory's files say after a loss of power, or from another program, is no tag.
#[tokio::test]
async fn a_damaged_tag_is_pushed_anew() {
    for journal in [false, true] {
        let root = tempfile::tempdir().unwrap();
        let opening = Opening { journal, ..Opening::default() };
        let directory = Arc::new(Directory::open_with(root.path(), opening).unwrap());
        let storage = DirectoryStorage(NativeDirectory::new(Arc::clone(&directory)));
        let registry = NativeRegistry::new(storage, SETTINGS).unwrap();
        assert_eq!(push(&registry, "v1", 1).await, 201);
        for damage in ["", "\0\0\0", "text", &"x".repeat(1000)] {
            let link = directory.path(&Key::Tag(name(), tag("v1")));
            std::fs::write(&link, damage).unwrap();
            assert_eq!(push(&registry, "v1", 2).await, 201, "{damage:.9}");
            assert_eq!(push(&registry, "v1", 1).await, 409, "{damage:.9}");
        }
    }
}

/// Stores that honour conditions, refuse or ignore them.
#[tokio::test]
async fn buckets_of_all_kinds() {
    for conditions in [Conditions::Honoured, Conditions::Refused, Conditions::Ignored] {
        let bucket = MemoryBucket::default().with_conditions(conditions);
        let registry = NativeRegistry::new(in_bucket(&bucket), SETTINGS).unwrap();
        let pushes = (0..12).map(|at| push(&registry, "v1", at % 3));
        let statuses = join_all(pushes).await;
        let won = statuses.iter().zip(0..).filter(|(status, _)| **status == 201);
        let won: std::collections::BTreeSet<usize> = won.map(|(_, at)| at % 3).collect();
        assert!(won.len() <= 1, "{conditions:?}: {statuses:?}");
        assert!(statuses.iter().all(|status| [201, 409, 503].contains(status)), "{statuses:?}");
        if conditions == Conditions::Honoured {
            assert_eq!(won.len(), 1, "{statuses:?}");
        }
        // What claimed it in vain is forgotten.
        bucket.pass(Duration::from_mins(2));
        let winner = won.first().copied().unwrap_or(0);
        assert_eq!(push(&registry, "v1", winner).await, 201, "{conditions:?}");
        assert_eq!(push(&registry, "v1", winner + 1).await, 409, "{conditions:?}");
    }
}

/// Claims in a store that knows no conditions: one that is new counts, one that is old does not,
/// and a tag that exists decides.
#[tokio::test]
async fn claims_expire() {
    let bucket = MemoryBucket::default().with_conditions(Conditions::Ignored);
    let storage = in_bucket(&bucket);
    let media_type = MediaType::parse(INDEX).unwrap();
    let claim = Key::TagHistory(name(), tag("v1"), digest(1));
    storage.link(&claim, &digest(1), None).await.unwrap();
    let create =
        async |number| storage.create_tag(&name(), &tag("v1"), &digest(number), &media_type).await;
    assert!(matches!(create(2).await, Err(StorageError::Unavailable(_))));
    bucket.pass(Duration::from_mins(2));
    assert_eq!(create(2).await, Ok(Created::Here));
    assert_eq!(create(1).await, Ok(Created::Elsewhere(digest(2))));
    assert_eq!(create(2).await, Ok(Created::Here));
}

/// A response that was lost is no other push.
#[tokio::test]
async fn a_repeated_request_of_the_store_is_the_same_push() {
    let bucket = MemoryBucket::default();
    let registry = NativeRegistry::new(in_bucket(&bucket), SETTINGS).unwrap();
    bucket.repeat_next_conditional_put();
    assert_eq!(push(&registry, "v1", 1).await, 201);
    assert_eq!(push(&registry, "v1", 2).await, 409);
}

/// An immutable tag among so many that they are not on one page keeps its manifest, with all other
/// tags of it, and the repository.
#[tokio::test]
async fn one_tag_among_many_keeps_its_manifest() {
    let root = tempfile::tempdir().unwrap();
    let directory = Arc::new(Directory::open(root.path()).unwrap());
    let storage = DirectoryStorage(NativeDirectory::new(Arc::clone(&directory)));
    let registry = NativeRegistry::new(storage, SETTINGS).unwrap();
    assert_eq!(push(&registry, "v1", 1).await, 201);
    for number in 0..1200 {
        let link = directory.path(&Key::Tag(name(), tag(&format!("a{number}"))));
        std::fs::create_dir_all(link.parent().unwrap()).unwrap();
        std::fs::write(link, digest(1).as_str()).unwrap();
    }
    for path in [format!("/v2/a/manifests/{}", digest(1)), "/v2/a/_roadstead/repository".into()] {
        let (status, body) = send(&registry, "DELETE", &path, String::new()).await;
        let error = &body["errors"][0];
        assert_eq!((status, &error["code"]), (409, &json!("DENIED")), "{path}: {body}");
        assert_eq!(error["detail"]["tag"], "v1");
        assert_eq!(error["detail"]["digest"], digest(1).as_str());
        assert_eq!(error["detail"]["rule"], "releases");
    }
    let (_, body) = send(&registry, "GET", "/v2/a/tags/list?n=2000", String::new()).await;
    assert_eq!(body["tags"].as_array().unwrap().len(), 1201);
    // No push waits for what was refused.
    assert_eq!(push(&registry, "b", 1).await, 201);
    let left = directory.root().join("docker/registry/v2/repositories/a/_deletions");
    assert!(!left.exists());
}
