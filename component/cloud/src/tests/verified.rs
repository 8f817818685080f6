//! Bodies that the store itself verifies.

use super::{body, broken, commit_of, content, new_session, repository, sha256, storage};
use async_trait::async_trait;
use bytes::Bytes;
use http::request::Parts;
use object_store::multipart::PartId;
use object_store::path::Path;
use object_store::{MultipartId, Result};
use roadstead_buckets::{Backend, S3Operations};
use roadstead_kit::body::MemoryBody;
use roadstead_kit::bucket::MemoryBucket;
use roadstead_oci::Digest;
use roadstead_storage::condemned::{Tombstone, TombstoneState};
use roadstead_storage::{Key, Record, Storage as _, StorageError};
use std::ops::Range;
use std::sync::Arc;

const LARGE: usize = 6 * 1024 * 1024;
const PROBE: &str = "PUT .roadstead/checked-writes";

/// A store that takes whatever it is sent.
#[derive(Debug)]
struct Careless(MemoryBucket);

#[async_trait]
impl S3Operations for Careless {
    async fn copy_part(
        &self,
        from: &Path,
        range: Range<u64>,
        to: &Path,
        id: &MultipartId,
        index: usize,
    ) -> Result<PartId> {
        self.0.copy_part(from, range, to, id, index).await
    }

    async fn put_verified(&self, _: &Path, _: &[u8], _: Option<(&str, &str)>) -> Result<Parts> {
        panic!("it verifies nothing");
    }

    async fn get(&self, key: &Path, range: Option<&str>) -> Result<Parts> {
        S3Operations::get(&self.0, key, range).await
    }

    async fn verifies(&self, _: &Path) -> Result<bool> {
        Ok(false)
    }
}

/// Stores a body several times by one instance. Returns the last result, and the
/// requests to the store except those for links and for the marker of garbage
/// collection.
async fn store(
    bucket: &MemoryBucket,
    backend: Backend,
    times: usize,
    body: impl Fn() -> MemoryBody,
    digest: &Digest,
) -> (Result<u64, StorageError>, Vec<String>) {
    let storage = storage(backend, true);
    let mut result = Ok(0);
    bucket.requests();
    for _ in 0..times {
        let session = new_session(&storage, &repository());
        result = storage.store(&commit_of(&session, digest), body()).await;
    }
    let mut requests = bucket.requests();
    requests
        .retain(|request| !request.ends_with("/link") && !request.ends_with("collect/condemned"));
    (result, requests)
}

#[tokio::test]
async fn a_large_body_takes_one_request() {
    let bucket = MemoryBucket::default();
    let bytes = content(LARGE);
    let digest = sha256(&bytes);
    let put = format!("PUT {}", Key::Blob(digest.clone()));
    let (stored, requests) = store(&bucket, bucket.like_s3(""), 2, || body(&bytes), &digest).await;
    assert_eq!(stored, Ok(LARGE as u64));
    // Whether the store verifies is found out once.
    assert_eq!(requests, [PROBE, &put, &put]);
}

/// A condemned blob is needed before its bytes are passed on.
#[tokio::test]
async fn a_body_is_passed_on_after_a_look() {
    let bucket = MemoryBucket::default();
    let bytes = content(LARGE);
    let digest = sha256(&bytes);
    let other = storage(bucket.backend(""), true);
    let tombstone = Tombstone { state: TombstoneState::Unlinked, slice: 7, run: 7 }.to_string();
    other.write(&Key::Record(Record::Marker), Bytes::new()).await.unwrap();
    other.write(&Key::Tombstone(digest.clone()), tombstone.into()).await.unwrap();
    let (stored, requests) = store(&bucket, bucket.like_s3(""), 1, || body(&bytes), &digest).await;
    assert_eq!(stored, Ok(LARGE as u64));
    let [tombstone, need, blob] = [
        ("GET", Key::Tombstone(digest.clone())),
        ("PUT", Key::Need(digest.clone())),
        ("PUT", Key::Blob(digest)),
    ]
    .map(|(what, key)| format!("{what} {key}"));
    assert_eq!(requests, [PROBE, &tombstone, &need, &tombstone, &blob]);
}

#[tokio::test]
async fn a_body_that_is_another_one_leaves_nothing() {
    let bytes = content(LARGE);
    let (right, wrong) = (sha256(&bytes), sha256(b"other"));
    let bucket = MemoryBucket::default();
    let (stored, _) = store(&bucket, bucket.like_s3(""), 1, || body(&bytes), &wrong).await;
    assert_eq!(stored, Err(StorageError::DigestMismatch(None)));
    let (stored, _) = store(&bucket, bucket.like_s3(""), 1, || broken(&bytes), &right).await;
    assert_eq!(stored, Err(StorageError::Aborted));
    assert_eq!(bucket.keys().await, [] as [&str; 0]);
    assert_eq!(bucket.open_uploads(), 0);
}

#[tokio::test]
async fn the_last_request_of_a_session_is_passed_on() {
    let bucket = MemoryBucket::default();
    let storage = storage(bucket.like_s3(""), true);
    let bytes = content(LARGE);
    let (right, wrong) = (sha256(&bytes), sha256(b"other"));
    for (digest, expected) in
        [(&right, Ok(LARGE as u64)), (&wrong, Err(StorageError::DigestMismatch(None)))]
    {
        let session = new_session(&storage, &repository());
        storage.begin(&session).await.unwrap();
        bucket.requests();
        let commit = commit_of(&session, digest);
        assert_eq!(storage.append_and_commit(&commit, body(&bytes)).await, expected);
        let requests = bucket.requests();
        let put = format!("PUT {}", Key::Blob(digest.clone()));
        assert!(requests.contains(&put), "{requests:?}");
        assert!(!requests.iter().any(|request| request.starts_with("PART")), "{requests:?}");
        // It has ended.
        assert_eq!(storage.status(&session).await, Err(StorageError::NotFound));
    }
    assert!(!bucket.keys().await.contains(&Key::Blob(wrong).to_string()));
}

#[tokio::test]
async fn what_a_store_does_not_verify_is_verified_here() {
    let bucket = MemoryBucket::default();
    let careless = Backend { s3: Some(Arc::new(Careless(bucket.clone()))), ..bucket.backend("") };
    let bytes = content(LARGE);
    let (right, wrong) = (sha256(&bytes), sha256(b"other"));
    let (stored, _) = store(&bucket, careless.clone(), 1, || body(&bytes), &wrong).await;
    assert_eq!(stored, Err(StorageError::DigestMismatch(Some(right.clone()))));
    let (stored, requests) = store(&bucket, careless, 1, || body(&bytes), &right).await;
    assert_eq!(stored, Ok(LARGE as u64));
    assert!(requests.iter().any(|request| request.starts_with("PART")), "{requests:?}");
}
