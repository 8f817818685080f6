//! Bodies that the store itself checks.

use super::storage;
use crate::native::{MemoryBody, MemoryBucket};
use crate::store::cloud::Backend;
use crate::store::contract::{body, broken, content, new_session, repository, sha256};
use crate::store::{Storage as _, StorageError, keys};
use async_trait::async_trait;
use bytes::Bytes;
use http::request::Parts;
use object_store::multipart::PartId;
use object_store::path::Path;
use object_store::{MultipartId, Result};
use roadstead_buckets::S3Operations;
use roadstead_oci::Digest;
use std::ops::Range;
use std::sync::Arc;

const LARGE: usize = 6 * 1024 * 1024;
const PROBE: &str = "PUT .roadstead/checked-writes";

/// One that takes whatever it is sent.
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

    fn put_verified(&self, _: &Path, _: &[u8], _: Option<(&str, &str)>) -> Result<Parts> {
        panic!("nothing is left to it");
    }

    fn get(&self, key: &Path, range: Option<&str>) -> Result<Parts> {
        self.0.get(key, range)
    }

    async fn verifies(&self, _: &Path) -> Result<bool> {
        Ok(false)
    }
}

/// Makes a body a blob in one step, and says what that asked of the store.
async fn store(
    bucket: &MemoryBucket,
    backend: Backend,
    times: usize,
    body: impl Fn() -> MemoryBody,
    digest: &Digest,
) -> (Result<u64, StorageError>, Vec<String>) {
    let storage = storage(backend, true);
    let mut outcome = Ok(0);
    bucket.requests();
    for _ in 0..times {
        let session = new_session(&storage, &repository());
        let to = keys::blob(digest);
        outcome = storage.store(&session, Some(body()), &to, digest, &[]).await;
    }
    (outcome, bucket.requests())
}

#[tokio::test]
async fn a_large_body_takes_one_request() {
    let bucket = MemoryBucket::default();
    let bytes = content(LARGE);
    let digest = sha256(&bytes);
    let put = format!("PUT {}", keys::blob(&digest));
    let (stored, requests) = store(&bucket, bucket.like_s3(""), 2, || body(&bytes), &digest).await;
    assert_eq!(stored, Ok(LARGE as u64));
    // Whether the store checks is asked once.
    assert_eq!(requests, [PROBE, &put, &put]);
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
        let (to, body) = (keys::blob(digest), Some(body(&bytes)));
        assert_eq!(storage.commit(&session, None, body, &to, digest, &[]).await, expected);
        let requests = bucket.requests();
        assert!(requests.contains(&format!("PUT {to}")), "{requests:?}");
        assert!(!requests.iter().any(|request| request.starts_with("PART")), "{requests:?}");
        // It has ended.
        assert_eq!(storage.status(&session).await, Err(StorageError::NotFound));
    }
    assert!(!bucket.keys().await.contains(&keys::blob(&wrong).to_string()));
}

#[tokio::test]
async fn what_a_store_does_not_check_is_checked_here() {
    let bucket = MemoryBucket::default();
    let careless = Backend { s3: Some(Arc::new(Careless(bucket.clone()))), ..bucket.backend("") };
    let bytes: Bytes = content(LARGE);
    let (right, wrong) = (sha256(&bytes), sha256(b"other"));
    let (stored, _) = store(&bucket, careless.clone(), 1, || body(&bytes), &wrong).await;
    assert_eq!(stored, Err(StorageError::DigestMismatch(Some(right.clone()))));
    let (stored, requests) = store(&bucket, careless, 1, || body(&bytes), &right).await;
    assert_eq!(stored, Ok(LARGE as u64));
    assert!(requests.iter().any(|request| request.starts_with("PART")), "{requests:?}");
}
