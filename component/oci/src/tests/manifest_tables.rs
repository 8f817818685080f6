//! Tables of valid and invalid manifests: media types and structure.

use serde_json::{Value, json};

use super::super::media_type::{
    DOCKER_MANIFEST, DOCKER_MANIFEST_LIST, DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED, OCI_IMAGE_INDEX,
    OCI_IMAGE_MANIFEST,
};
use super::super::{InvalidManifest, ManifestKind};
use super::samples::{OTHER, descriptor, image, index, media_type, parse, with, without};

#[test]
fn media_types_are_resolved() {
    let typed = |json, text: &str| with(json, "mediaType", json!(text));
    for (json, header, expected, kind) in [
        (image(), None, OCI_IMAGE_MANIFEST, "image"),
        (index(), None, OCI_IMAGE_INDEX, "index"),
        (image(), Some(DOCKER_MANIFEST), DOCKER_MANIFEST, "image"),
        (index(), Some(DOCKER_MANIFEST_LIST), DOCKER_MANIFEST_LIST, "index"),
        (image(), Some(OTHER), OTHER, "other"),
        (typed(image(), DOCKER_MANIFEST), None, DOCKER_MANIFEST, "image"),
        (typed(index(), OCI_IMAGE_INDEX), Some(OCI_IMAGE_INDEX), OCI_IMAGE_INDEX, "index"),
        (typed(image(), ""), None, OCI_IMAGE_MANIFEST, "image"),
        (typed(json!({}), OTHER), None, OTHER, "other"),
        (json!({}), Some(OTHER), OTHER, "other"),
        (
            json!({"layers": 1, "manifests": {}, "Config": 0, "schemaVersion": 1}),
            Some(OTHER),
            OTHER,
            "other",
        ),
        (with(image(), "layers", Value::Null), None, OCI_IMAGE_MANIFEST, "image"),
        (with(index(), "manifests", Value::Null), None, OCI_IMAGE_INDEX, "index"),
    ] {
        let manifest = parse(&json.to_string(), header);
        let found = manifest.as_ref().map(|manifest| {
            let kind = match manifest.kind() {
                ManifestKind::Image { .. } => "image",
                ManifestKind::Index { .. } => "index",
                ManifestKind::Other => "other",
            };
            (manifest.media_type().as_str(), kind)
        });
        assert_eq!(found, Ok((expected, kind)), "{json} as {header:?}");
    }
}

#[test]
fn structures_are_checked() {
    use InvalidManifest::{
        Ambiguous, MissingField, Schema1, SchemaVersion, UnexpectedField, UnknownMediaType,
    };
    let image_type = || media_type(OCI_IMAGE_MANIFEST);
    let index_type = || media_type(OCI_IMAGE_INDEX);
    let missing = |media_type, field| MissingField { media_type, field };
    let unexpected = |media_type, field| UnexpectedField { media_type, field };
    let odd = |key: &str| InvalidManifest::KeyCase { key: key.to_owned() };
    let version = |number| with(image(), "schemaVersion", number);
    let both = with(image(), "manifests", json!([]));
    for (json, header, error) in [
        (json!({}), None, UnknownMediaType),
        (json!({"schemaVersion": 2}), None, UnknownMediaType),
        (both.clone(), None, Ambiguous),
        (both.clone(), Some(OCI_IMAGE_MANIFEST), Ambiguous),
        (both, Some(OCI_IMAGE_INDEX), Ambiguous),
        (with(index(), "layers", Value::Null), None, Ambiguous),
        (with(index(), "config", descriptor('c', "a/b")), Some(OCI_IMAGE_INDEX), Ambiguous),
        (index(), Some(OCI_IMAGE_MANIFEST), unexpected(image_type(), "manifests")),
        (image(), Some(OCI_IMAGE_INDEX), unexpected(index_type(), "config")),
        (without(image(), "config"), Some(OCI_IMAGE_INDEX), unexpected(index_type(), "layers")),
        (without(image(), "config"), None, missing(image_type(), "config")),
        (without(image(), "layers"), None, missing(image_type(), "layers")),
        (without(index(), "manifests"), Some(OCI_IMAGE_INDEX), missing(index_type(), "manifests")),
        (without(image(), "schemaVersion"), None, missing(image_type(), "schemaVersion")),
        (version(json!(3)), None, SchemaVersion { found: 3 }),
        (version(json!(1)), None, Schema1),
        (json!({"schemaVersion": 1, "fsLayers": []}), None, Schema1),
        (json!({}), Some(DOCKER_SCHEMA1), Schema1),
        (json!({}), Some(DOCKER_SCHEMA1_SIGNED), Schema1),
        (json!({"mediaType": DOCKER_SCHEMA1}), None, Schema1),
        (with(image(), "Manifests", json!([])), None, odd("Manifests")),
        (with(image(), "layer\u{17f}", json!([])), None, odd("layer\u{17f}")),
        (json!({"MediaType": "a/b"}), Some(OTHER), odd("MediaType")),
        (
            json!({"mediaType": "a/b"}),
            None,
            InvalidManifest::NotJson { media_type: media_type("a/b") },
        ),
    ] {
        assert_eq!(parse(&json.to_string(), header), Err(error), "{json} as {header:?}");
    }
    let json = with(image(), "mediaType", json!(OCI_IMAGE_MANIFEST)).to_string();
    let (header, field) = (media_type(DOCKER_MANIFEST), image_type());
    let error = InvalidManifest::MediaTypeMismatch { header, field };
    assert_eq!(parse(&json, Some(DOCKER_MANIFEST)), Err(error));
}
