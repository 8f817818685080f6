//! Concurrent requests: one of them wins, and nothing is left half done.

use bytes::Bytes;
use http::Request;
use roadstead_tests::{Answer, Registry, digest, send};
use std::fs;
use std::path::Path;
use std::time::Duration;
use tokio::task::JoinHandle;

/// How often each race is run.
const ROUNDS: usize = 20;

/// The number of concurrent requests of a race, besides special ones.
const RUNNERS: usize = 8;

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn start(root: &tempfile::TempDir) -> Registry {
    Registry::start(root.path(), &[("REGISTRY_STORAGE_DELETE_ENABLED", "true")], &[]).unwrap()
}

async fn ask(address: &str, method: &str, path: &str, body: impl Into<Bytes>) -> Answer {
    let request = Request::builder().method(method).uri(path).header("content-type", OCI_INDEX);
    send(address, request.body(body.into()).unwrap()).await.unwrap()
}

/// Runs requests concurrently and returns their statuses.
async fn together(address: &str, requests: Vec<(&str, String, Vec<u8>)>) -> Vec<u16> {
    let tasks: Vec<_> = requests
        .into_iter()
        .map(|(method, path, body)| {
            let (address, method) = (address.to_owned(), method.to_owned());
            tokio::spawn(async move { ask(&address, &method, &path, body).await.status().as_u16() })
        })
        .collect();
    let mut statuses = Vec::new();
    for task in tasks {
        statuses.push(task.await.unwrap());
    }
    statuses
}

fn index(note: usize) -> Vec<u8> {
    format!(r#"{{"schemaVersion":2,"manifests":[],"annotations":{{"note":"{note}"}}}}"#)
        .into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn pushes_of_the_same_blob_all_succeed() {
    let root = tempfile::tempdir().unwrap();
    let registry = start(&root);
    for round in 0..ROUNDS {
        let blob = vec![u8::try_from(round).unwrap(); 200_000];
        let at = digest(&blob);
        let push = |_| ("POST", format!("/v2/a/blobs/uploads/?digest={at}"), blob.clone());
        let statuses = together(&registry.address, (0..RUNNERS).map(push).collect()).await;
        assert_eq!(statuses, [201; RUNNERS]);
        let found = ask(&registry.address, "GET", &format!("/v2/a/blobs/{at}"), "").await;
        assert_eq!(found.body(), &blob);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_many_push_is_one_of_theirs() {
    let root = tempfile::tempdir().unwrap();
    let registry = start(&root);
    for round in 0..ROUNDS {
        let manifests: Vec<_> =
            (0..RUNNERS).map(|runner| index(round * RUNNERS + runner)).collect();
        let push = |m: &Vec<u8>| ("PUT", "/v2/a/manifests/tag".to_owned(), m.clone());
        let statuses = together(&registry.address, manifests.iter().map(push).collect()).await;
        assert_eq!(statuses, [201; RUNNERS]);
        let found = ask(&registry.address, "GET", "/v2/a/manifests/tag", "").await;
        assert!(manifests.iter().any(|manifest| manifest == found.body()), "{found:?}");
        assert_eq!(found.headers()["docker-content-digest"], digest(found.body()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_and_a_delete_of_a_manifest_leave_no_tag_that_leads_nowhere() {
    let root = tempfile::tempdir().unwrap();
    let registry = start(&root);
    for round in 0..ROUNDS {
        let manifest = index(round);
        let at = format!("/v2/a/manifests/{}", digest(&manifest));
        ask(&registry.address, "PUT", "/v2/a/manifests/tag", manifest.clone()).await;
        let mut requests: Vec<_> = (0..RUNNERS / 2)
            .map(|_| ("PUT", "/v2/a/manifests/tag".to_owned(), manifest.clone()))
            .collect();
        requests.extend((0..RUNNERS / 2).map(|_| ("DELETE", at.clone(), Vec::new())));
        for status in together(&registry.address, requests).await {
            assert!(matches!(status, 201 | 202 | 404), "{status}");
        }
        let listed = ask(&registry.address, "GET", "/v2/a/tags/list", "").await;
        let listed = String::from_utf8_lossy(listed.body()).contains(r#""tag""#);
        let found = ask(&registry.address, "GET", "/v2/a/manifests/tag", "").await.status();
        assert_eq!(found.as_u16(), if listed { 200 } else { 404 }, "round {round}");
    }
}

/// How many tags there are beside those of a race: reading them takes a while.
const OTHER_TAGS: usize = 30_000;

/// A type that the bytes of its manifests do not say.
const PLAIN: &str = "application/vnd.example.plain+json";

async fn push_plain(address: &str, reference: &str) -> u16 {
    let path = format!("/v2/a/manifests/{reference}");
    let request = Request::put(path).header("content-type", PLAIN).body(Bytes::from_static(b"{}"));
    send(address, request.unwrap()).await.unwrap().status().as_u16()
}

/// Begins to delete the plain manifest, which has the tag `old`, among many other
/// tags, and returns when some of it was done.
async fn begin_delete(root: &Path, address: &str) -> JoinHandle<anyhow::Result<Answer>> {
    assert_eq!(ask(address, "PUT", "/v2/a/manifests/other", index(0)).await.status(), 201);
    assert_eq!(push_plain(address, "old").await, 201);
    let repository = root.join("docker/registry/v2/repositories/a");
    for i in 0..OTHER_TAGS {
        let tag = repository.join(format!("_manifests/tags/t{i:05}/current"));
        fs::create_dir_all(&tag).unwrap();
        fs::write(tag.join("link"), digest(&index(0))).unwrap();
    }
    let at = digest(b"{}");
    let request = Request::delete(format!("/v2/a/manifests/{at}")).body(Bytes::new()).unwrap();
    let address = address.to_owned();
    let delete = tokio::spawn(async move { send(&address, request).await });
    let revisions = repository.join("_manifests/revisions/sha256");
    let link = revisions.join(at.trim_start_matches("sha256:")).join("link");
    // It has announced itself, or removed the link.
    while link.exists() && !repository.join("_deletions").exists() && !delete.is_finished() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    delete
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_beside_a_delete_by_digest_stays() {
    let root = tempfile::tempdir().unwrap();
    let registry = start(&root);
    let delete = begin_delete(root.path(), &registry.address).await;
    assert_eq!(push_plain(&registry.address, "new").await, 201);
    assert_eq!(delete.await.unwrap().unwrap().status(), 202);
    for (reference, status) in [("new", 200), (digest(b"{}").as_str(), 200), ("old", 404)] {
        let path = format!("/v2/a/manifests/{reference}");
        let found = ask(&registry.address, "GET", &path, "").await;
        assert_eq!(found.status(), status, "{reference}");
        if status == 200 {
            assert_eq!(found.headers()["content-type"], PLAIN, "{reference}");
            assert_eq!(found.body(), "{}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_by_digest_that_was_killed_can_be_repeated() {
    let root = tempfile::tempdir().unwrap();
    let registry = start(&root);
    let delete = begin_delete(root.path(), &registry.address).await;
    drop(registry);
    drop(delete.await);
    let registry = start(&root);
    let at = format!("/v2/a/manifests/{}", digest(b"{}"));
    let deleted = ask(&registry.address, "DELETE", &at, "").await.status().as_u16();
    // It may have been done just before.
    assert!(matches!(deleted, 202 | 404), "{deleted}");
    for path in [at.as_str(), "/v2/a/manifests/old"] {
        assert_eq!(ask(&registry.address, "GET", path, "").await.status(), 404, "{path}");
    }
    let listed = ask(&registry.address, "GET", "/v2/a/tags/list?n=1", "").await;
    assert_eq!(listed.body(), &r#"{"name":"a","tags":["other"]}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_chunks_at_the_same_place_one_counts() {
    let root = tempfile::tempdir().unwrap();
    let registry = start(&root);
    for _ in 0..ROUNDS {
        let started = ask(&registry.address, "POST", "/v2/a/blobs/uploads/", "").await;
        let upload = started.headers()["location"].to_str().unwrap().to_owned();
        let chunks: Vec<_> =
            (0..RUNNERS).map(|runner| vec![u8::try_from(runner).unwrap(); 300_000]).collect();
        let tasks: Vec<_> = chunks
            .iter()
            .map(|chunk| {
                let request = Request::patch(&upload)
                    .header("content-range", format!("0-{}", chunk.len() - 1))
                    .body(Bytes::from(chunk.clone()))
                    .unwrap();
                let address = registry.address.clone();
                tokio::spawn(
                    async move { send(&address, request).await.unwrap().status().as_u16() },
                )
            })
            .collect();
        let mut winners = Vec::new();
        for (task, chunk) in tasks.into_iter().zip(&chunks) {
            match task.await.unwrap() {
                202 => winners.push(chunk),
                status => assert!(matches!(status, 409 | 416), "{status}"),
            }
        }
        assert_eq!(winners.len(), 1);
        let at = digest(winners[0]);
        let ended = ask(&registry.address, "PUT", &format!("{upload}?digest={at}"), "").await;
        assert_eq!(ended.status(), 201, "{ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_is_pushed_and_deleted_is_whole_or_gone() {
    let root = tempfile::tempdir().unwrap();
    let registry = start(&root);
    let blob = vec![1_u8; 100_000];
    let at = digest(&blob);
    for round in 0..ROUNDS {
        let mut requests = Vec::new();
        for _ in 0..RUNNERS / 2 {
            requests.push(("POST", format!("/v2/a/blobs/uploads/?digest={at}"), blob.clone()));
            requests.push(("DELETE", format!("/v2/a/blobs/{at}"), Vec::new()));
        }
        for status in together(&registry.address, requests).await {
            assert!(matches!(status, 201 | 202 | 404), "round {round}: {status}");
        }
        let found = ask(&registry.address, "GET", &format!("/v2/a/blobs/{at}"), "").await;
        assert!(found.status() == 404 || found.body() == &blob, "{:?}", found.status());
    }
}
