//! Manifests for tests.

use serde_json::{Value, json};

use super::super::media_type::OCI_IMAGE_MANIFEST;
use super::super::{InvalidManifest, Manifest, MediaType, Target};

/// A media type that the registry does not know.
pub(super) const OTHER: &str = "application/vnd.example+json";

pub(super) fn descriptor(digit: char, media_type: &str) -> Value {
    let digest = format!("sha256:{}", String::from(digit).repeat(64));
    json!({"mediaType": media_type, "digest": digest, "size": 1})
}

pub(super) fn image() -> Value {
    json!({
        "schemaVersion": 2,
        "config": descriptor('c', "a/config"),
        "layers": [descriptor('1', "a/layer")],
    })
}

pub(super) fn index() -> Value {
    json!({"schemaVersion": 2, "manifests": [descriptor('1', OCI_IMAGE_MANIFEST)]})
}

pub(super) fn with(mut json: Value, key: &str, value: Value) -> Value {
    json[key] = value;
    json
}

pub(super) fn without(mut json: Value, key: &str) -> Value {
    json.as_object_mut().map(|object| object.remove(key));
    json
}

pub(super) fn parse(text: &str, header: Option<&str>) -> Result<Manifest, InvalidManifest> {
    let header = header.and_then(|header| MediaType::parse(header).ok());
    Manifest::parse(text.as_bytes(), header.as_ref())
}

pub(super) fn media_type(text: &str) -> MediaType {
    MediaType::parse(text).unwrap_or_else(|_| MediaType::oci_image_index())
}

pub(super) fn digits<'a>(targets: impl Iterator<Item = &'a Target>) -> String {
    targets.filter_map(|target| target.digest.encoded().chars().next()).collect()
}
