//! Manifests.

use std::collections::BTreeMap;

use super::descriptor::Descriptor;
use super::document::{Body, Common, Head};
use super::manifest_error::InvalidManifest;
use super::manifest_limits;
use super::media_type::MediaType;

/// What the registry needs to know about a pushed manifest (image-spec, "OCI
/// Image Manifest" and "OCI Image Index"; distribution-spec, "Pushing
/// Manifests").
///
/// It does not contain the bytes, whose digest identifies the manifest; the
/// caller keeps them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    media_type: MediaType,
    kind: ManifestKind,
    subject: Option<Descriptor>,
    artifact_type: Option<MediaType>,
    annotations: BTreeMap<String, String>,
}

/// The kind of a manifest, by its media type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManifestKind {
    /// An OCI or Docker (schema 2) image manifest.
    Image {
        /// The `config` property.
        config: Descriptor,
        /// The `layers` property.
        layers: Vec<Descriptor>,
    },
    /// An OCI image index or a Docker manifest list.
    Index {
        /// The `manifests` property.
        manifests: Vec<Descriptor>,
    },
    /// A manifest of any other media type.
    Other,
}

impl Manifest {
    /// The maximum size in bytes, 4 MiB: the distribution-spec, section
    /// "Pushing Manifests", asks registries to accept at least this. Callers
    /// refuse larger bodies with 413 before they have read all of them.
    pub const MAX_SIZE: usize = manifest_limits::MAX_SIZE;

    /// The maximum number of descriptors, `config` and `subject` included:
    /// far more than images have, and few enough to look up on each push.
    pub const MAX_DESCRIPTORS: usize = manifest_limits::MAX_DESCRIPTORS;

    /// Parses a manifest that was sent with this `Content-Type`.
    ///
    /// The media type is the `mediaType` property, which the header must not
    /// contradict; without it, the header; without both, it follows from the
    /// structure:
    /// `manifests` makes an OCI index, `config` or `layers` an OCI image.
    ///
    /// Images and indexes must have `schemaVersion` 2 and the properties of
    /// their type and not those of the other. Manifests of other media types
    /// are any JSON object, except that `subject`, `artifactType` and
    /// `annotations` have the same meaning in all of them. Values of other
    /// properties are checked for JSON syntax only and skipped without
    /// recursion, however deeply nested.
    pub fn parse(bytes: &[u8], content_type: Option<&MediaType>) -> Result<Self, InvalidManifest> {
        if bytes.len() > Self::MAX_SIZE {
            return Err(InvalidManifest::TooLarge { size: bytes.len() });
        }
        let text = std::str::from_utf8(bytes)
            .map_err(|error| InvalidManifest::not_utf8(bytes, error.valid_up_to()))?;
        let head: Head = serde_json::from_str(text)?;
        let declared = resolve(head.media_type, content_type)?;
        if let Some(key) = head.odd_common_key {
            return Err(InvalidManifest::KeyCase { key });
        }
        let (media_type, kind) = match declared {
            Some(media_type) if media_type.is_schema1() => return Err(InvalidManifest::Schema1),
            Some(media_type) if !(media_type.is_image_manifest() || media_type.is_index()) => {
                (media_type, ManifestKind::Other)
            }
            known => {
                if let Some(key) = head.odd_schema_key {
                    return Err(InvalidManifest::KeyCase { key });
                }
                read_kind(known, serde_json::from_str(text)?)?
            }
        };
        let common: Common = serde_json::from_str(text)?;
        let manifest = Self {
            media_type,
            kind,
            subject: common.subject,
            artifact_type: common.artifact_type,
            annotations: common.annotations,
        };
        match manifest.count() {
            count if count > Self::MAX_DESCRIPTORS => {
                Err(InvalidManifest::TooManyDescriptors { count })
            }
            _ => Ok(manifest),
        }
    }

    /// The media type, which is sent when the manifest is pulled.
    pub const fn media_type(&self) -> &MediaType {
        &self.media_type
    }

    /// The kind of manifest.
    pub const fn kind(&self) -> &ManifestKind {
        &self.kind
    }

    /// The manifest that this one refers to (`subject`).
    pub const fn subject(&self) -> Option<&Descriptor> {
        self.subject.as_ref()
    }

    /// The `artifactType` property.
    pub const fn artifact_type(&self) -> Option<&MediaType> {
        self.artifact_type.as_ref()
    }

    /// The artifact type in a list of referrers: for an image manifest without
    /// `artifactType` it is the media type of the config (distribution-spec,
    /// "Listing Referrers").
    pub const fn effective_artifact_type(&self) -> Option<&MediaType> {
        match (&self.artifact_type, &self.kind) {
            (Some(artifact_type), _) => Some(artifact_type),
            (None, ManifestKind::Image { config, .. }) => Some(&config.media_type),
            (None, ManifestKind::Index { .. } | ManifestKind::Other) => None,
        }
    }

    /// The `annotations` property.
    pub const fn annotations(&self) -> &BTreeMap<String, String> {
        &self.annotations
    }

    /// The blobs that must be in the repository: config and layers of an image
    /// manifest, except layers that are downloaded from elsewhere, because of
    /// their media type or because they have URLs.
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        let (config, layers) = match &self.kind {
            ManifestKind::Image { config, layers } => (Some(config), layers.as_slice()),
            ManifestKind::Index { .. } | ManifestKind::Other => (None, [].as_slice()),
        };
        let layers = layers
            .iter()
            .filter(|layer| layer.urls.is_empty() && !layer.media_type.is_non_distributable());
        config.into_iter().chain(layers)
    }

    /// The manifests that an index lists.
    pub fn children(&self) -> impl Iterator<Item = &Descriptor> {
        match &self.kind {
            ManifestKind::Index { manifests } => manifests.as_slice(),
            ManifestKind::Image { .. } | ManifestKind::Other => &[],
        }
        .iter()
    }

    const fn count(&self) -> usize {
        let own = match &self.kind {
            ManifestKind::Image { layers, .. } => layers.len() + 1,
            ManifestKind::Index { manifests } => manifests.len(),
            ManifestKind::Other => 0,
        };
        own + self.subject.is_some() as usize
    }
}

/// The only `schemaVersion` of images and indexes (image-spec).
const SCHEMA_VERSION: u64 = 2;

fn resolve(
    field: Option<MediaType>,
    header: Option<&MediaType>,
) -> Result<Option<MediaType>, InvalidManifest> {
    match (field, header) {
        (Some(field), Some(header)) if field != *header => {
            let header = header.clone();
            Err(InvalidManifest::MediaTypeMismatch { header, field })
        }
        (Some(field), _) => Ok(Some(field)),
        (None, header) => Ok(header.cloned()),
    }
}

/// Parses an image manifest or an index of the `declared` media type; without
/// one, the structure decides.
fn read_kind(
    declared: Option<MediaType>,
    body: Body,
) -> Result<(MediaType, ManifestKind), InvalidManifest> {
    let Body { schema_version, config, layers, manifests } = body;
    if schema_version == Some(1) {
        return Err(InvalidManifest::Schema1);
    }
    let is_like_image = config.is_some() || layers.is_some();
    if manifests.is_some() && is_like_image {
        return Err(InvalidManifest::Ambiguous);
    }
    let media_type = match declared {
        Some(media_type) => media_type,
        None if manifests.is_some() => MediaType::oci_image_index(),
        None if is_like_image => MediaType::oci_image_manifest(),
        None => return Err(InvalidManifest::UnknownMediaType),
    };
    let missing = |field| InvalidManifest::MissingField { media_type: media_type.clone(), field };
    let unexpected =
        |field| InvalidManifest::UnexpectedField { media_type: media_type.clone(), field };
    match schema_version {
        Some(SCHEMA_VERSION) => {}
        Some(found) => return Err(InvalidManifest::SchemaVersion { found }),
        None => return Err(missing("schemaVersion")),
    }
    let kind = if media_type.is_index() {
        if is_like_image {
            let field = if config.is_some() { "config" } else { "layers" };
            return Err(unexpected(field));
        }
        let manifests = manifests.ok_or_else(|| missing("manifests"))?;
        ManifestKind::Index { manifests }
    } else {
        if manifests.is_some() {
            return Err(unexpected("manifests"));
        }
        let config = config.ok_or_else(|| missing("config"))?;
        let layers = layers.ok_or_else(|| missing("layers"))?;
        ManifestKind::Image { config, layers }
    };
    Ok((media_type, kind))
}
