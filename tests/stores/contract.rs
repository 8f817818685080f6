//! The registry's own adapter over real stores: the contract of the storage port.

use object_store::path::Path;
use roadstead_component::native::NativeBodies;
use roadstead_component::store::cloud::{Backend, CloudStorage, Options};
use roadstead_component::store::contract;
use roadstead_tests::{Azurite, Garage, Gcs, bucket, skip};
use std::sync::Arc;

/// S3's minimum size of a part that is not the last one.
const PART: u64 = 5 * 1024 * 1024;

/// Runs it over a bucket. `conditional` says whether the store honours
/// conditional writes; without them, concurrent requests are not separated.
async fn check(settings: Vec<(String, String)>, root: &str, conditional: bool) {
    let bucket = bucket(settings).unwrap();
    let backend = Backend {
        store: Arc::clone(&bucket) as _,
        multipart: Arc::clone(&bucket) as _,
        lists: bucket as _,
        // Only a component passes bodies through as stream handles; see
        // `tests/instances/passing.rs`.
        s3: None,
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
        skip("contract::over_garage", "garage is not installed; run .ci/install-garage");
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
        skip("contract::over_azurite", "Azurite is not installed; run .ci/install-azurite");
        return;
    };
    azurite.container("contract").await.unwrap();
    check(azurite.settings("contract"), "some/place", true).await;
}
