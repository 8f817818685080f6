//! What the page shows of a manifest.

use super::text::{List, Number, Text, TextMap};
use roadstead_oci::{Digest, MediaType};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeSet;

/// The media type of the config of a Helm chart.
const HELM: &str = "application/vnd.cncf.helm.config.v1+json";

/// The media types of configs of images.
const CONFIGS: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];

/// What a manifest is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Index,
    Image,
    Chart,
    Artifact,
}

/// A manifest as far as it is shown. What is damaged is empty.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Shown {
    media_type: Text,
    artifact_type: Text,
    pub(super) config: Option<Part>,
    pub(super) layers: List<Part>,
    pub(super) manifests: List<Part>,
    pub(super) subject: Option<Part>,
    pub(super) annotations: TextMap,
}

/// A descriptor.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Part {
    #[serde(deserialize_with = "digest")]
    pub(super) digest: Digest,
    #[serde(default)]
    media_type: Text,
    #[serde(default)]
    pub(super) size: Number,
    #[serde(default)]
    artifact_type: Text,
    #[serde(default)]
    pub(super) annotations: TextMap,
    #[serde(default)]
    pub(super) platform: Option<Platform>,
}

/// For what an image is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Platform {
    pub(super) os: Text,
    pub(super) architecture: Text,
    pub(super) variant: Text,
}

/// A manifest that has other properties than images and indexes.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Other {
    media_type: Text,
    artifact_type: Text,
    subject: Option<Part>,
    annotations: TextMap,
}

fn digest<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
    let Text(text) = Text::deserialize(deserializer)?;
    Digest::parse(&text.unwrap_or_default()).map_err(serde::de::Error::custom)
}

impl Shown {
    /// Reads a manifest that was pushed with this media type, if that is known.
    pub(super) fn of(bytes: &[u8], pushed: Option<&MediaType>) -> Self {
        let is_other =
            pushed.is_some_and(|pushed| !pushed.is_index() && !pushed.is_image_manifest());
        let mut shown = if is_other {
            let Other { media_type, artifact_type, subject, annotations } =
                serde_json::from_slice(bytes).unwrap_or_default();
            Self { media_type, artifact_type, subject, annotations, ..Self::default() }
        } else {
            serde_json::from_slice(bytes).unwrap_or_default()
        };
        if let Some(pushed) = pushed {
            shown.media_type = Text(Some(pushed.as_str().to_owned()));
        }
        shown
    }

    /// The media type, or that which follows from the properties.
    pub(super) fn media_type(&self) -> Option<String> {
        match &self.media_type.0 {
            Some(media_type) => Some(media_type.clone()),
            None if !self.manifests.kept.is_empty() => {
                Some(MediaType::oci_image_index().as_str().to_owned())
            }
            None if self.config.is_some() => {
                Some(MediaType::oci_image_manifest().as_str().to_owned())
            }
            None => None,
        }
    }

    pub(super) fn artifact_type(&self) -> Option<String> {
        self.artifact_type.said()
    }

    pub(super) fn kind(&self) -> Kind {
        let media_type = self.media_type().and_then(|text| MediaType::parse(&text).ok());
        if media_type.as_ref().is_some_and(MediaType::is_index) {
            return Kind::Index;
        }
        match self.config.as_ref().and_then(|config| config.media_type.0.as_deref()) {
            Some(HELM) => Kind::Chart,
            Some(config) if CONFIGS.contains(&config) && self.artifact_type().is_none() => {
                Kind::Image
            }
            _ => Kind::Artifact,
        }
    }

    /// The bytes of config and layers, each once; `None` if a size is not known.
    pub(super) fn content_size(&self) -> Option<u64> {
        let mut seen = BTreeSet::new();
        let parts = self.config.iter().chain(&self.layers.kept);
        let mut sizes = parts.filter(|part| seen.insert(&part.digest)).map(|part| part.size.0);
        let sum = sizes.try_fold(0_u64, |sum, size| size.map(|size| sum.saturating_add(size)));
        sum.filter(|_| !self.layers.is_cut)
    }
}

impl Part {
    pub(super) fn media_type(&self) -> Option<String> {
        self.media_type.0.clone()
    }

    pub(super) fn artifact_type(&self) -> Option<String> {
        self.artifact_type.said()
    }

    pub(super) fn platform(&self) -> Option<String> {
        self.platform.as_ref().and_then(Platform::text)
    }
}

impl Platform {
    /// As Docker writes it: `linux/arm64/v8`. `None` if it says nothing, as the one of an
    /// attestation.
    pub(super) fn text(&self) -> Option<String> {
        let is_known = |text: &String| text != "unknown";
        let os = self.os.said().filter(is_known)?;
        let architecture = self.architecture.said().filter(is_known)?;
        Some(match self.variant.said() {
            Some(variant) => format!("{os}/{architecture}/{variant}"),
            None => format!("{os}/{architecture}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, Shown};
    use roadstead_oci::MediaType;
    use serde_json::{Value, json};

    const DIGEST: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

    fn shown(value: &Value, media_type: Option<&str>) -> Shown {
        let media_type = media_type.map(|text| MediaType::parse(text).unwrap());
        Shown::of(value.to_string().as_bytes(), media_type.as_ref())
    }

    #[test]
    fn kinds() {
        let config = |media_type| {
            json!({ "config": { "mediaType": media_type, "digest": DIGEST, "size": 2 },
                    "layers": [] })
        };
        let oci = "application/vnd.oci.image.manifest.v1+json";
        for (value, pushed, expected) in [
            (json!({ "manifests": [] }), Some("application/vnd.oci.image.index.v1+json"), {
                Kind::Index
            }),
            (json!({ "manifests": [{ "digest": DIGEST, "size": 1 }] }), None, Kind::Index),
            (config("application/vnd.oci.image.config.v1+json"), Some(oci), Kind::Image),
            (config("application/vnd.docker.container.image.v1+json"), None, Kind::Image),
            (config("application/vnd.cncf.helm.config.v1+json"), Some(oci), Kind::Chart),
            (config("application/vnd.oci.empty.v1+json"), Some(oci), Kind::Artifact),
            (json!({ "layers": 7, "annotations": { "a": "b" } }), Some("application/x+json"), {
                Kind::Artifact
            }),
            (json!([]), None, Kind::Artifact),
        ] {
            assert_eq!(shown(&value, pushed).kind(), expected, "{value}");
        }
        let other = json!({ "layers": 7, "annotations": { "a": "b" } });
        assert_eq!(shown(&other, Some("application/x+json")).annotations.texts["a"], "b");
    }

    #[test]
    fn platforms_and_sizes() {
        let child = |platform| json!({ "digest": DIGEST, "size": 1, "platform": platform });
        let index = json!({ "manifests": [
            child(json!({ "os": "linux", "architecture": "arm64", "variant": "v8" })),
            child(json!({ "os": "linux", "architecture": "amd64" })),
            child(json!({ "os": "unknown", "architecture": "unknown" })),
            child(json!(null)),
        ] });
        let found: Vec<_> =
            shown(&index, None).manifests.kept.iter().map(super::Part::platform).collect();
        let said = |text: &str| Some(text.to_owned());
        assert_eq!(found, [said("linux/arm64/v8"), said("linux/amd64"), None, None]);
        let part = |size| json!({ "digest": DIGEST, "size": size });
        let image = json!({ "config": part(json!(7)), "layers": [part(json!(7))] });
        assert_eq!(shown(&image, None).content_size(), Some(7), "each blob once");
        let image = json!({ "config": part(json!(-7)), "layers": [] });
        assert_eq!(shown(&image, None).content_size(), None);
    }
}
