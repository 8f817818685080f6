//! Concurrent requests: one of them wins, and nothing is left half done.

use bytes::Bytes;
use http::Request;
use roadstead_tests::{Answer, Registry, digest, send};

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
