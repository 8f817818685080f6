//! The contract of the storage port over buckets of every kind, and what only
//! this adapter promises.

mod enumeration;
mod gone;
mod lists;
mod many;
mod purge;
mod races;
mod requests;
mod uploads;
mod verified;

use crate::{CloudStorage, Options};
use bytes::Bytes;
use roadstead_buckets::Backend;
use roadstead_kit::body::NativeBodies;
use roadstead_kit::bucket::{Conditions, MemoryBucket};
use roadstead_kit::contract;
use roadstead_oci::RepositoryName;
use roadstead_storage::{Key, Storage as _};

pub(crate) use contract::{body, broken, commit_of, content, new_session, repository, sha256};

/// Storage in a bucket, with or without a secret for upload sessions.
fn storage(backend: Backend, secret: bool) -> CloudStorage<NativeBodies> {
    let secret = secret.then(|| b"secret".to_vec());
    CloudStorage::new(backend, Options { secret, ..Options::default() })
}

fn name(text: &str) -> RepositoryName {
    RepositoryName::parse(text).unwrap()
}

#[tokio::test]
async fn keeps_the_contract() {
    let bucket = MemoryBucket::default();
    contract::check(&storage(bucket.backend(""), true), true).await;
    assert_eq!(bucket.open_uploads(), 0);
}

#[tokio::test]
async fn keeps_the_contract_with_what_s3_can_do() {
    let bucket = MemoryBucket::default();
    contract::check(&storage(bucket.like_s3(""), true), true).await;
}

/// A store writes whole objects, so that an empty link is damaged, unlike in a directory.
#[tokio::test]
async fn an_empty_link_to_a_manifest_is_none() {
    let storage = storage(MemoryBucket::default().backend(""), true);
    let (repository, bytes) = (repository(), content(9));
    let digest = sha256(&bytes);
    storage.write(&Key::Blob(digest.clone()), bytes).await.unwrap();
    let link = Key::Revision(repository.clone(), digest.clone());
    for (is_empty, missing) in [(false, vec![]), (true, vec![digest.clone()])] {
        storage.link(&link, &digest, None).await.unwrap();
        if is_empty {
            storage.write(&link, Bytes::new()).await.unwrap();
        }
        assert_eq!(storage.missing_manifests(&repository, &[&digest]).await, Ok(missing));
    }
}

#[tokio::test]
async fn keeps_the_contract_below_a_root_without_a_secret() {
    let bucket = MemoryBucket::default();
    contract::check(&storage(bucket.backend("some/place"), false), true).await;
    assert!(bucket.keys().await.iter().all(|key| key.starts_with("some/place/docker/")));
}

#[tokio::test]
async fn keeps_the_contract_with_equal_parts() {
    let bucket = MemoryBucket::default().with_equal_parts();
    contract::check(&storage(bucket.backend(""), true), true).await;
}

#[tokio::test]
async fn keeps_the_contract_without_conditional_writes() {
    for conditions in [Conditions::Refused, Conditions::Ignored] {
        let bucket = MemoryBucket::default().with_conditions(conditions);
        contract::check(&storage(bucket.backend(""), true), false).await;
    }
}
