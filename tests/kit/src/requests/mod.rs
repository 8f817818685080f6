//! The protocol as tables of requests: each row is a request and what the
//! response must be. Runners send them to every form of the registry.
//!
//! A table is a function in the file of its endpoint, and a line in [`all`].

#![allow(clippy::unwrap_used, reason = "a row with a mistake fails the test that it is of")]

mod base;
mod blobs;
mod collect;
mod deletes;
pub mod filled;
mod history;
mod lists;
mod manifests;
mod mounts;
mod page;
mod policies;
mod referrers;
mod scrub;
mod settings;
mod step;
mod uploads;
mod views;

use bytes::Bytes;
use http::{Request, Response};
use std::fmt;

use step::location;
pub use step::{Step, basic, data_key, delete, digest, digest_sha512, get, head, patch, post, put};

/// The media type of an OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The media type of an OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// What makes stored content inert in a browser.
const INERT: &str = "sandbox; default-src 'none'";

/// The SHA-256 digest of the empty blob.
const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// The setting that allows deletes.
pub const DELETE: Setting = ("REGISTRY_STORAGE_DELETE_ENABLED", "true");

/// A setting: the environment variable, and its value.
pub type Setting = (&'static str, &'static str);

/// Requests in order, against a registry that is empty before the first.
#[derive(Clone, Debug)]
pub struct Table {
    /// What the table is about; unique.
    pub name: &'static str,
    /// The settings of the registry.
    pub settings: &'static [Setting],
    /// The requests.
    pub steps: Vec<Step>,
}

impl Table {
    /// Requests against a registry with the default settings.
    fn new(steps: Vec<Step>) -> Self {
        Self::with(&[], steps)
    }

    /// Requests against a registry with these settings.
    fn with(settings: &'static [Setting], steps: Vec<Step>) -> Self {
        Self { name: "", settings, steps }
    }
}

/// All tables of these functions, named like them.
macro_rules! tables {
    ($($file:ident::$name:ident),* $(,)?) => {
        vec![$(Table { name: stringify!($name), ..$file::$name() }),*]
    };
}

/// All tables.
pub fn all() -> Vec<Table> {
    tables![
        base::base_and_unknown_endpoints,
        base::invalid_requests,
        base::tokens_are_not_issued,
        blobs::blob_in_one_post,
        blobs::ranges_of_a_blob,
        uploads::upload_as_docker_pushes,
        uploads::upload_in_the_closing_put,
        uploads::upload_in_chunks,
        uploads::upload_with_a_wrong_digest_leaves_nothing,
        uploads::upload_cancelled_or_of_another_repository,
        mounts::mounts,
        mounts::mounts_without_a_source,
        mounts::repositories_with_the_longest_names,
        manifests::manifest_of_an_image,
        manifests::media_types_are_kept_and_checked,
        manifests::content_is_inert_in_browsers,
        manifests::manifest_of_the_largest_size_and_one_byte_more,
        manifests::tags_by_parameter_and_sha512,
        manifests::conditional_requests,
        lists::pages_of_tags_and_of_the_catalog,
        lists::text_that_headers_cannot_hold,
        referrers::referrers,
        deletes::deletes,
        collect::collection_is_off,
        collect::collection_without_permission,
        collect::collection,
        scrub::scrubbing_is_off,
        scrub::scrubbing,
        scrub::quarantine_is_off,
        scrub::scrubbing_what_is_read_only,
        deletes::a_repository,
        deletes::a_repository_that_holds_little,
        settings::deletes_are_off,
        settings::read_only,
        settings::warning,
        settings::sparse_images,
        policies::immutable_tags,
        policies::immutable_tags_of_several,
        policies::quotas_of_bytes,
        policies::quotas_of_tags,
        history::history_of_a_tag,
        history::extensions,
        page::the_page,
        page::no_page,
        page::other_sites,
        views::the_registry_itself,
        views::the_registry_itself_to_others,
        views::levels_of_repositories,
        views::tags_in_orders,
        views::images,
        views::previews_of_deletions,
        views::maintenance,
        views::maintenance_is_off,
    ]
}

/// Sends requests in order, and checks each response. `send` knows the registry.
///
/// # Errors
/// Which step failed, and how.
pub async fn run<E: fmt::Display>(
    steps: &[Step],
    send: impl AsyncFn(Request<Bytes>) -> Result<Response<Bytes>, E>,
) -> Result<(), String> {
    let mut last_location = String::new();
    for (number, step) in steps.iter().enumerate() {
        let failed = |error: String| format!("step {number}, {step}: {error}");
        let request = step.request(&last_location).map_err(|error| failed(error.to_string()))?;
        let response = send(request).await.map_err(|error| failed(format!("{error:#}")))?;
        step.check(&response).map_err(failed)?;
        if let Some(location) = location(&response).map_err(failed)? {
            last_location = location;
        }
    }
    Ok(())
}

/// Pushes a blob in one request.
fn push(name: &str, blob: &[u8]) -> Step {
    post(format!("/v2/{name}/blobs/uploads/?digest={}", digest(blob)))
        .header("content-type", "application/octet-stream")
        .body(blob.to_vec())
        .status(201)
        .expect("location", format!("/v2/{name}/blobs/{}", digest(blob)))
}

/// The manifest of an image with these blobs.
fn image(config: &[u8], layers: &[&[u8]]) -> String {
    let descriptor = |media_type: &str, blob: &[u8]| serde_json::json!({ "mediaType": media_type, "digest": digest(blob), "size": blob.len() });
    let layers: Vec<_> = layers
        .iter()
        .map(|layer| descriptor("application/vnd.oci.image.layer.v1.tar", layer))
        .collect();
    serde_json::json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", config),
        "layers": layers,
    })
    .to_string()
}

/// Pushes the manifest of an image.
fn put_manifest(name: &str, reference: &str, manifest: &str) -> Step {
    put(format!("/v2/{name}/manifests/{reference}"))
        .header("content-type", OCI_MANIFEST)
        .body(manifest.to_owned())
}
