//! Manifests.

use std::collections::BTreeMap;

use super::document::{Body, Common, Head};
use super::manifest_error::InvalidManifest;
use super::manifest_limits;
use super::media_type::MediaType;
use super::target::{Annotations, Counted, Target};

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
    subject: Option<Target>,
    artifact_type: Option<MediaType>,
    annotations: BTreeMap<String, String>,
}

/// The kind of a manifest, by its media type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManifestKind {
    /// An OCI or Docker (schema 2) image manifest.
    Image {
        /// The `config` property.
        config: Target,
        /// The `layers` property.
        layers: Vec<Target>,
    },
    /// An OCI image index or a Docker manifest list.
    Index {
        /// The `manifests` property.
        manifests: Vec<Target>,
    },
    /// A manifest of any other media type.
    Other,
}

impl Manifest {
    /// The maximum size in bytes, 4 MiB: the distribution-spec, section
    /// "Pushing Manifests", asks registries to accept at least this. Callers
    /// refuse larger bodies with 413 before they have read all of them.
    ///
    /// Limit: the bytes of a manifest; test: `limits_hold_at_the_boundary`.
    pub const MAX_SIZE: usize = manifest_limits::MAX_SIZE;

    /// The maximum number of descriptors, `config` and `subject` included:
    /// far more than images have, and few enough to look up on each push.
    ///
    /// Limit: the descriptors of a manifest; test: `limits_hold_at_the_boundary`.
    pub const MAX_DESCRIPTORS: usize = manifest_limits::MAX_DESCRIPTORS;

    /// The maximum number of annotations of the manifest itself, which a list of
    /// referrers repeats. Those of its descriptors are not kept, nor limited.
    ///
    /// Limit: the annotations of a manifest; test: `annotations_are_limited`.
    pub const MAX_ANNOTATIONS: usize = manifest_limits::MAX_ANNOTATIONS;

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
    ///
    /// The media type must be one of JSON ([`MediaType::is_json`]): it is the
    /// `Content-Type` of every response with the manifest, and a browser must
    /// not take that for a page or a script.
    pub fn parse(bytes: &[u8], content_type: Option<&MediaType>) -> Result<Self, InvalidManifest> {
        let (manifest, limits) = Self::read(bytes, content_type)?;
        limits?;
        Ok(manifest)
    }

    /// Parses a manifest that is stored already, as [`Self::parse`] does, but
    /// whatever its number of descriptors and annotations and its media type:
    /// earlier versions and other registries have other limits, and such a
    /// manifest must be found and deleted like any other. Of what exceeds a
    /// limit, the beginning is kept.
    pub fn parse_stored(
        bytes: &[u8],
        content_type: Option<&MediaType>,
    ) -> Result<Self, InvalidManifest> {
        Self::read(bytes, content_type).map(|(manifest, _)| manifest)
    }

    /// A manifest, and whether it is within the limits for a push.
    fn read(
        bytes: &[u8],
        content_type: Option<&MediaType>,
    ) -> Result<(Self, Result<(), InvalidManifest>), InvalidManifest> {
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
        let (media_type, kind, listed) = match declared {
            Some(media_type) if media_type.is_schema1() => return Err(InvalidManifest::Schema1),
            Some(media_type) if !(media_type.is_image_manifest() || media_type.is_index()) => {
                (media_type, ManifestKind::Other, 0)
            }
            known => {
                if let Some(key) = head.odd_schema_key {
                    return Err(InvalidManifest::KeyCase { key });
                }
                read_kind(known, serde_json::from_str(text)?)?
            }
        };
        let Common { subject, artifact_type, annotations } = serde_json::from_str(text)?;
        let Annotations { kept: annotations, count } = annotations;
        let descriptors = listed + usize::from(subject.is_some());
        let limits = if !media_type.is_json() {
            Err(InvalidManifest::NotJson { media_type: media_type.clone() })
        } else if descriptors > Self::MAX_DESCRIPTORS {
            Err(InvalidManifest::TooManyDescriptors { count: descriptors })
        } else if count > Self::MAX_ANNOTATIONS {
            Err(InvalidManifest::TooManyAnnotations { count })
        } else {
            Ok(())
        };
        Ok((Self { media_type, kind, subject, artifact_type, annotations }, limits))
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
    pub const fn subject(&self) -> Option<&Target> {
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
    pub fn blobs(&self) -> impl Iterator<Item = &Target> {
        let (config, layers) = match &self.kind {
            ManifestKind::Image { config, layers } => (Some(config), layers.as_slice()),
            ManifestKind::Index { .. } | ManifestKind::Other => (None, [].as_slice()),
        };
        config.into_iter().chain(layers.iter().filter(|layer| !layer.elsewhere))
    }

    /// The manifests that an index lists.
    pub fn children(&self) -> impl Iterator<Item = &Target> {
        match &self.kind {
            ManifestKind::Index { manifests } => manifests.as_slice(),
            ManifestKind::Image { .. } | ManifestKind::Other => &[],
        }
        .iter()
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
/// one, the structure decides. Also returns the number of its descriptors.
fn read_kind(
    declared: Option<MediaType>,
    body: Body,
) -> Result<(MediaType, ManifestKind, usize), InvalidManifest> {
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
    let (kind, count) = if media_type.is_index() {
        if is_like_image {
            let field = if config.is_some() { "config" } else { "layers" };
            return Err(unexpected(field));
        }
        let Counted { kept: manifests, count } = manifests.ok_or_else(|| missing("manifests"))?;
        (ManifestKind::Index { manifests }, count)
    } else {
        if manifests.is_some() {
            return Err(unexpected("manifests"));
        }
        let config = config.ok_or_else(|| missing("config"))?;
        let Counted { kept: layers, count } = layers.ok_or_else(|| missing("layers"))?;
        (ManifestKind::Image { config, layers }, count + 1)
    };
    Ok((media_type, kind, count))
}
