//! Small images, and a client that pushes them to a registry of this process.

#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "these are tests")]

use crate::contract::sha256;
use crate::native::NativeRegistry;
use bytes::Bytes;
use http::{Request, Response};
use roadstead_oci::Digest;
use serde_json::{Value, json};

/// The media type of an image's manifest.
pub const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";

/// The media type of an index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A descriptor of these bytes.
pub fn descriptor(media_type: &str, bytes: &str) -> Value {
    json!({ "mediaType": media_type, "digest": sha256(bytes.as_bytes()), "size": bytes.len() })
}

/// The manifest of an image whose configuration and layer have these bytes.
pub fn image(config: &str, layer: &str) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": IMAGE,
        "config": descriptor("application/vnd.oci.image.config.v1+json", config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", layer)],
    })
}

impl NativeRegistry {
    /// The response to a request whose body is of this media type.
    pub async fn ask(
        &self,
        method: &str,
        path: &str,
        media_type: &str,
        body: Bytes,
    ) -> Response<Bytes> {
        let request = Request::builder().method(method).uri(path);
        self.send(request.header("content-type", media_type).body(body).unwrap()).await
    }

    /// The status of the response to a request without a body.
    pub async fn status(&self, method: &str, path: &str) -> u16 {
        self.ask(method, path, IMAGE, Bytes::new()).await.status().as_u16()
    }

    /// Pushes a blob in one request.
    pub async fn push_blob(&self, repository: &str, bytes: impl AsRef<[u8]>) -> Digest {
        let digest = sha256(bytes.as_ref());
        let path = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        let bytes = Bytes::copy_from_slice(bytes.as_ref());
        let response = self.ask("POST", &path, "application/octet-stream", bytes).await;
        assert_eq!(response.status(), 201, "{response:?}");
        digest
    }

    /// Pushes a manifest, by its digest if there is no tag.
    pub async fn push(
        &self,
        repository: &str,
        tag: &str,
        media_type: &str,
        manifest: &Value,
    ) -> Digest {
        let bytes = Bytes::from(manifest.to_string());
        let digest = sha256(&bytes);
        let tag = if tag.is_empty() { digest.as_str() } else { tag };
        let path = format!("/v2/{repository}/manifests/{tag}");
        let response = self.ask("PUT", &path, media_type, bytes).await;
        assert_eq!(response.status(), 201, "{response:?}");
        digest
    }

    /// Pushes an image whose configuration and layer have these bytes.
    pub async fn push_image(
        &self,
        repository: &str,
        tag: &str,
        config: &str,
        layer: &str,
    ) -> Digest {
        self.push_blob(repository, config).await;
        self.push_blob(repository, layer).await;
        self.push(repository, tag, IMAGE, &image(config, layer)).await
    }
}
