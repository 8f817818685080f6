//! Garage 2.5, three nodes.

use crate::{expect, failures, list, send};
use http::{Method, StatusCode};
use object_store::multipart::PartId;
use object_store::path::Path;
use object_store::{GetOptions, ObjectStoreExt as _, PutMode, PutPayload, UpdateVersion};
use roadstead_buckets::{Bucket, OpenBucket, SentParts, honours_conditions};
use roadstead_tests::{Garage, bucket, open_bucket, skip};
use std::sync::Arc;

/// S3's minimum size of a part that is not the last one.
const PART: usize = 5 * 1024 * 1024;

fn start(test: &str) -> Option<Garage> {
    let garage = Garage::start().unwrap();
    if garage.is_none() {
        skip(test, "garage is not installed; run .ci/install-garage");
    }
    garage
}

#[tokio::test]
async fn object_stores_suite() {
    let Some(garage) = start("garage::object_stores_suite") else { return };
    let failed = failures(true, async |name| {
        garage.bucket(name).unwrap();
        bucket(garage.settings(name, 0)).unwrap()
    });
    expect(
        &failed.await,
        &[
            // See `lists`.
            ("put_get_delete_list", r#"Some(Path { raw: "a" }) - Path { raw: "a" }"#),
            // Conditional writes are ignored.
            ("copy_if_not_exists", "AlreadyExists"),
            ("put_opts", "on an `Ok` value"),
            // A part must have at least one byte.
            ("multipart", "Bad request: Empty body"),
        ],
    );
}

/// It seems to honour conditional writes.
#[tokio::test]
async fn conditions_of_writes_are_ignored() {
    let Some(garage) = start("garage::conditions_of_writes_are_ignored") else { return };
    garage.bucket("facts").unwrap();
    let store = bucket(garage.settings("facts", 0)).unwrap();
    let key = Path::from("a");
    store.put(&key, "one".into()).await.unwrap();
    store.put_opts(&key, "two".into(), PutMode::Create.into()).await.unwrap();
    let version = UpdateVersion { e_tag: Some("\"another\"".to_owned()), version: None };
    store.put_opts(&key, "three".into(), PutMode::Update(version).into()).await.unwrap();
    assert_eq!(store.get(&key).await.unwrap().bytes().await.unwrap(), "three");
    // Each test of the store detects that.
    for node in 0..3 {
        let store = bucket(garage.settings("facts", node)).unwrap();
        assert!(!honours_conditions(&*store, &Path::from("root")).await.unwrap());
    }
    // Conditional reads are honoured.
    let found = store.head(&key).await.unwrap().e_tag;
    let options = GetOptions { if_none_match: found, ..GetOptions::default() };
    let unchanged = store.get_opts(&key, options).await.unwrap_err();
    assert!(matches!(unchanged, object_store::Error::NotModified { .. }), "{unchanged}");
}

#[tokio::test]
async fn signed_urls() {
    let Some(garage) = start("garage::signed_urls") else { return };
    garage.bucket("facts").unwrap();
    let store = bucket(garage.settings("facts", 0)).unwrap();
    store.put(&Path::from("a"), "content".into()).await.unwrap();
    let range = [("range", "bytes=1-3")];
    let (status, headers, body) = send(&*store, Method::GET, "a", &[], &[], &range, "").await;
    assert_eq!((status, body.as_str()), (StatusCode::PARTIAL_CONTENT, "ont"));
    assert_eq!(headers["content-range"], "bytes 1-3/7");
    let (status, headers, _) = send(&*store, Method::HEAD, "a", &[], &[], &[], "").await;
    assert_eq!((status, headers["content-length"].as_bytes()), (StatusCode::OK, &b"7"[..]));
    let as_what = [("response-content-type", "application/octet-stream")];
    let (_, headers, body) = send(&*store, Method::GET, "a", &as_what, &[], &[], "").await;
    assert_eq!(headers["content-type"], "application/octet-stream");
    assert_eq!(body, "content");
    // The hash of "abc", and of nothing.
    for (sum, status) in [
        ("ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=", StatusCode::OK),
        ("47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", StatusCode::BAD_REQUEST),
    ] {
        let sum = [("x-amz-checksum-sha256", sum)];
        let (found, _, body) = send(&*store, Method::PUT, "sum", &[], &sum, &[], "abc").await;
        assert_eq!(found, status, "{sum:?}: {body}");
    }
}

#[tokio::test]
async fn lists() {
    let Some(garage) = start("garage::lists") else { return };
    garage.bucket("facts").unwrap();
    let store = bucket(garage.settings("facts", 0)).unwrap();
    for name in ["l a", "l/a", "l/a-b", "l/a/1", "l/b/1", "l/b/2", "l/c"] {
        store.put(&Path::from(name), "x".into()).await.unwrap();
    }
    for (offset, expected, more) in [
        ("", &["l/a", "l/a-b"][..], true),
        ("l/a", &["l/a-b", "l/a/"], true),
        // A directory is excluded by a start key after everything in it.
        ("l/a/", &["l/a/", "l/b/"], true),
        ("l/a/1", &["l/b/", "l/c"], false),
        ("l/b/1", &["l/b/", "l/c"], false),
        ("l/a0", &["l/b/", "l/c"], false),
        ("l/b0", &["l/c"], false),
        // A list may begin at its prefix, but not before: the first key
        // without the prefix ends it, even if that is `l a`.
        ("l/", &["l/a", "l/a-b"], true),
        ("l", &[], false),
        ("k", &[], false),
        ("m", &[], false),
    ] {
        let (names, has_more) = list(&*store, "l/", offset, 2).await;
        assert_eq!(
            (names, has_more),
            (expected.iter().map(|n| (*n).to_owned()).collect(), more),
            "{offset}"
        );
    }
}

#[tokio::test]
async fn parts() {
    let Some(garage) = start("garage::parts") else { return };
    garage.bucket("facts").unwrap();
    let store = bucket(garage.settings("facts", 0)).unwrap();
    store.put(&Path::from("source"), PutPayload::from(vec![7; PART + 10])).await.unwrap();
    let target = Path::from("target");
    // A part can be copied from another object.
    let id = store.create_multipart(&target).await.unwrap();
    let part = [("partNumber", "1"), ("uploadId", id.as_str())];
    let from =
        [("x-amz-copy-source", "/facts/source"), ("x-amz-copy-source-range", "bytes=0-5242879")];
    let (status, _, copied) = send(&*store, Method::PUT, "target", &part, &from, &[], "").await;
    assert_eq!(status, StatusCode::OK, "{copied}");
    let copied = copied.split("&quot;").nth(1).unwrap();
    let copied = PartId { content_id: format!("\"{copied}\"") };
    let tail = store.put_part(&target, &id, 1, "tail".into()).await.unwrap();
    // The completed parts must be the ones that were sent.
    let other = PartId { content_id: "\"00000000000000000000000000000000\"".to_owned() };
    let wrong = store.complete_multipart(&target, &id, vec![other, tail.clone()]).await;
    assert!(format!("{:?}", wrong.unwrap_err()).contains("InvalidPart"));
    store.complete_multipart(&target, &id, vec![copied, tail.clone()]).await.unwrap();
    assert_eq!(store.head(&target).await.unwrap().size, PART as u64 + 4);
    // Once completed, the upload is unknown: a retry cannot tell that the
    // first attempt succeeded.
    let again = store.complete_multipart(&target, &id, vec![tail]).await.unwrap_err();
    assert!(matches!(again, object_store::Error::NotFound { .. }), "{again}");
    // Parts may have different sizes, be sent again, and be small.
    let id = store.create_multipart(&target).await.unwrap();
    let mut parts = Vec::new();
    for (number, sizes) in [(0, &[PART, PART + 9][..]), (1, &[PART + 1]), (2, &[3]), (3, &[4])] {
        for &size in sizes {
            parts.truncate(number);
            let part = store.put_part(&target, &id, number, PutPayload::from(vec![1; size])).await;
            parts.push(part.unwrap());
        }
    }
    store.complete_multipart(&target, &id, parts).await.unwrap();
    assert_eq!(store.head(&target).await.unwrap().size, 2 * PART as u64 + 17);
}

/// Multipart uploads that nobody completes are found by the store's list, by pages
/// that go on after a key; and their parts say when the last one arrived.
#[tokio::test]
async fn open_uploads() {
    let Some(garage) = start("garage::open_uploads") else { return };
    garage.bucket("facts").unwrap();
    let OpenBucket { bucket: store, uploads, .. } =
        open_bucket(garage.settings("facts", 0)).unwrap();
    let lists = uploads.unwrap();
    let mut ids = Vec::new();
    for key in ["below/a", "below/b", "below/b", "elsewhere/c"] {
        let path = Path::from(key);
        let id = store.create_multipart(&path).await.unwrap();
        for index in 0..2 {
            let part = PutPayload::from(vec![1; 1000 + index]);
            store.put_part(&path, &id, index, part).await.unwrap();
        }
        ids.push(id);
    }
    let (mut found, mut next) = (Vec::new(), None);
    loop {
        let page = lists.list_uploads("below/", next.as_ref(), 1).await.unwrap();
        found.extend(page.uploads.into_iter().map(|upload| upload.key.to_string()));
        next = page.next;
        if next.is_none() {
            break;
        }
    }
    // Of one key whose uploads a page cuts off, the rest may be passed by.
    assert_eq!(found[..2], ["below/a", "below/b"]);
    let whole = lists.list_uploads("below/", None, 10).await.unwrap();
    assert_eq!((whole.uploads.len(), whole.next), (3, None));
    let (path, id) = (Path::from("below/a"), &ids[0]);
    let sent = lists.sent_parts(&path, id, 0).await.unwrap();
    let newer = lists.sent_parts(&path, id, 1).await.unwrap();
    assert_eq!((sent.bytes, newer.bytes, sent.newest), (2001, 1001, newer.newest));
    assert_eq!(lists.sent_parts(&path, id, 2).await.unwrap(), SentParts::default());
    store.abort_multipart(&path, id).await.unwrap();
    let gone = lists.sent_parts(&path, id, 0).await;
    assert!(matches!(gone, Err(object_store::Error::NotFound { .. })), "{gone:?}");
    let again = store.abort_multipart(&path, id).await;
    assert!(matches!(again, Err(object_store::Error::NotFound { .. })), "{again:?}");
}

/// One node of three may be down; with two down, nothing is written.
#[tokio::test]
async fn nodes_that_are_gone() {
    let Some(mut garage) = start("garage::nodes_that_are_gone") else { return };
    garage.bucket("facts").unwrap();
    let store: Arc<dyn Bucket> = bucket(garage.settings("facts", 0)).unwrap();
    let key = Path::from("a/b");
    garage.kill(2).unwrap();
    store.put(&key, "two nodes".into()).await.unwrap();
    assert_eq!(store.get(&key).await.unwrap().bytes().await.unwrap(), "two nodes");
    assert_eq!(list(&*store, "", "", 10).await.0, ["a/"]);
    garage.kill(1).unwrap();
    // It answers that it is unavailable, so requests are retried.
    let error = store.put(&key, "one node".into()).await.unwrap_err();
    assert!(format!("{error:?}").contains("503"), "{error:?}");
}
