//! Images: a manifest with its config and layer.

use crate::content::Content;
use crate::support::{ask, request};
use bytes::Bytes;
use http::Request;
use roadstead_tests::digest;
use serde_json::{Value, json};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// An image, defined by the seeds of its contents.
#[derive(Clone, Copy, Debug)]
pub struct Image {
    pub config: Content,
    pub layer: Content,
}

impl Image {
    pub fn blobs(self) -> [Content; 2] {
        [self.config, self.layer]
    }

    pub fn manifest(self) -> Bytes {
        self.manifest_of_size(0)
    }

    /// The manifest, with an annotation that gives it this minimum size.
    pub fn manifest_of_size(self, size: usize) -> Bytes {
        let descriptor = |media_type: &str, content: Content| json!({ "mediaType": media_type, "digest": content.digest(), "size": content.size });
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor("application/vnd.oci.image.config.v1+json", self.config),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", self.layer)],
            "annotations": { "test.padding": "" },
        });
        let short = manifest.to_string().len();
        manifest["annotations"]["test.padding"] = "x".repeat(size.saturating_sub(short)).into();
        manifest.to_string().into()
    }

    /// Pushes the blobs.
    pub async fn push_blobs(self, address: &str, repository: &str) {
        for blob in self.blobs() {
            crate::support::push_blob(address, repository, &blob.bytes()).await;
        }
    }
}

pub fn put_manifest(repository: &str, reference: &str, manifest: Bytes) -> Request<Bytes> {
    let mut request = request(&format!("PUT /v2/{repository}/manifests/{reference}"), manifest);
    request.headers_mut().insert(http::header::CONTENT_TYPE, MANIFEST.parse().unwrap());
    request
}

/// Pulls a whole image and verifies every digest. Returns that of the manifest.
pub async fn pull(address: &str, repository: &str, reference: &str) -> String {
    let line = format!("GET /v2/{repository}/manifests/{reference}");
    let answer = ask(address, request(&line, ""), 200).await;
    let found = digest(answer.body());
    assert_eq!(answer.headers()["docker-content-digest"], found, "{line}");
    assert_eq!(answer.headers()["content-type"], MANIFEST, "{line}");
    let manifest: Value = serde_json::from_slice(answer.body()).unwrap();
    for blob in [&manifest["config"], &manifest["layers"][0]] {
        let digest = blob["digest"].as_str().unwrap();
        crate::support::assert_blob(address, repository, digest).await;
    }
    found
}
