//! The contract over buckets of every kind.

mod lists;
mod many;
mod passing;
mod races;
mod requests;
mod uploads;

use super::{Backend, CloudStorage, Options};
use crate::native::{Conditions, MemoryBucket, NativeBodies};
use crate::store::contract;

pub(super) fn storage(backend: Backend, secret: bool) -> CloudStorage<NativeBodies> {
    CloudStorage::new(
        backend,
        Options { secret: secret.then(|| b"secret".to_vec()), ..Options::default() },
    )
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
