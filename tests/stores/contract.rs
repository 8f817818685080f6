//! The contract of the storage port, over real object stores.

use object_store::path::Path;
use roadstead_buckets::Backend;
use roadstead_cloud::{CloudStorage, Options};
use roadstead_kit::body::NativeBodies;
use roadstead_kit::contract;
use roadstead_tests::{Azurite, Garage, Gcs, bucket, skip};
use std::sync::Arc;

/// The least that S3 takes for a part that is not the last one.
const PART: u64 = 5 * 1024 * 1024;

/// Checks the contract over a bucket. `conditional` says whether the store
/// honours conditional writes; without them, two requests that append to a
/// session at once are not kept apart.
async fn check(settings: Vec<(String, String)>, root: &str, conditional: bool) {
    let bucket = bucket(settings).unwrap();
    let backend = Backend {
        store: Arc::clone(&bucket) as _,
        multipart: Arc::clone(&bucket) as _,
        lists: bucket as _,
        // Bodies that pass through are those of a component; see
        // `tests/instances/passing.rs`.
        s3: None,
        uploads: None,
        signer: None,
        root: Path::from(root),
        conditional,
        equal_parts: false,
        part_size: PART,
    };
    let options = Options { secret: Some(b"secret".to_vec()), ..Options::default() };
    let storage: CloudStorage<NativeBodies> = CloudStorage::new(backend, options);
    contract::check(&storage, conditional).await;
}

#[tokio::test]
async fn over_garage() {
    let Some(garage) = Garage::start().unwrap() else {
        skip("contract::over_garage", "there is no garage; .ci/install-garage builds it");
        return;
    };
    garage.bucket("contract").unwrap();
    check(garage.settings("contract", 0), "", false).await;
}

#[tokio::test]
async fn over_what_google_describes() {
    let gcs = Gcs::start().unwrap();
    check(gcs.settings("contract"), "", true).await;
}

#[tokio::test]
async fn over_azurite() {
    let Some(azurite) = Azurite::start().unwrap() else {
        skip("contract::over_azurite", "there is no Azurite; .ci/install-azurite fetches it");
        return;
    };
    azurite.container("contract").await.unwrap();
    check(azurite.settings("contract"), "some/place", true).await;
}
