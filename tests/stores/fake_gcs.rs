//! fake-gcs-server 1.56: which requests of `object_store` it supports.
//!
//! It is independent of this registry and of `object_store`, so it confirms reads,
//! lists and signed URLs better than a stand-in of our own.

use crate::{list, send};
use http::{Method, StatusCode};
use object_store::path::Path;
use object_store::{Error, GetOptions, GetRange, ObjectStoreExt as _};
use roadstead_buckets::Bucket;
use roadstead_tests::{FakeGcs, bucket, skip};
use std::fs;
use std::sync::Arc;
use tempfile::TempDir;

/// Its answer to a write without a signed URL.
const REFUSAL: &str = "invalid uploadType";

/// A bucket with four objects.
struct Filled {
    bucket: Arc<dyn Bucket>,
    _server: FakeGcs,
    _data: TempDir,
}

fn start(test: &str) -> Option<Filled> {
    let data = tempfile::tempdir().unwrap();
    let root = data.path().join("facts");
    for name in ["l/a-b", "l/a/1", "l/b/1", "l/c"] {
        let file = root.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "content").unwrap();
    }
    let Some(server) = FakeGcs::start(data.path()).unwrap() else {
        skip(test, "fake-gcs-server is not installed; run .ci/install-fake-gcs");
        return None;
    };
    let bucket = bucket(server.settings("facts")).unwrap();
    Some(Filled { bucket, _server: server, _data: data })
}

/// All kinds of reads of a registry.
#[tokio::test]
async fn reads() {
    let Some(Filled { bucket: store, _server, _data }) = start("fake_gcs::reads") else { return };
    let key = Path::from("l/a/1");
    assert_eq!(store.get(&key).await.unwrap().bytes().await.unwrap(), "content");
    let found = store.head(&key).await.unwrap();
    assert!(found.size == 7 && found.e_tag.is_some() && found.version.is_some(), "{found:?}");
    for (range, expected) in [
        (GetRange::Bounded(1..4), "ont"),
        (GetRange::Offset(4), "ent"),
        (GetRange::Suffix(2), "nt"),
    ] {
        let options = GetOptions { range: Some(range), ..GetOptions::default() };
        let part = store.get_opts(&key, options).await.unwrap();
        assert_eq!(part.bytes().await.unwrap(), expected);
    }
    let missing = store.get(&Path::from("l/none")).await.unwrap_err();
    assert!(matches!(missing, Error::NotFound { .. }), "{missing}");
    assert_eq!(
        list(&*store, "l/", "", 10).await,
        (vec!["l/a-b".into(), "l/a/".into(), "l/b/".into(), "l/c".into()], false)
    );
    store.delete(&key).await.unwrap();
    assert_eq!(list(&*store, "l/a/", "", 10).await, (vec![], false));
    // A signed URL, which is signed for Google's host name.
    let range = [("range", "bytes=1-3")];
    let (status, headers, body) = send(&*store, Method::GET, "l/c", &[], &[], &range, "").await;
    assert_eq!((status, body.as_str()), (StatusCode::PARTIAL_CONTENT, "ont"));
    assert_eq!(headers["content-range"], "bytes 1-3/7");
}

/// Why a registry cannot push to it.
#[tokio::test]
async fn what_it_lacks() {
    let Some(Filled { bucket: store, _server, _data }) = start("fake_gcs::what_it_lacks") else {
        return;
    };
    let key = Path::from("new");
    let refused = |error: Error| assert!(error.to_string().contains(REFUSAL), "{error}");
    refused(store.put(&key, "x".into()).await.unwrap_err());
    refused(store.create_multipart(&key).await.unwrap_err());
    refused(store.copy(&Path::from("l/c"), &key).await.unwrap_err());
    // With a signed URL it accepts an object, and ignores conditions.
    for content in ["one", "two"] {
        let condition = [("x-goog-if-generation-match", "0")];
        let (status, ..) = send(&*store, Method::PUT, "new", &[], &[], &condition, content).await;
        assert_eq!(status, StatusCode::OK);
    }
    assert_eq!(store.get(&key).await.unwrap().bytes().await.unwrap(), "two");
    // It lists everything, wherever a list is to begin or end.
    assert_eq!(
        list(&*store, "l/", "l/b", 1).await,
        (vec!["l/a-b".into(), "l/a/".into(), "l/b/".into(), "l/c".into()], false)
    );
}
