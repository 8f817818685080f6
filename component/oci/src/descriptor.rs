//! Content descriptors.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::digest::Digest;
use super::media_type::{InvalidMediaType, MediaType};

/// A descriptor (image-spec, "OCI Content Descriptors").
///
/// `data`, `platform` and unknown properties are ignored when reading and so
/// are not written. Absent, `null` and empty collections are the same, as is
/// an empty `artifactType` to an absent one: clients written in Go send one for
/// the other. A property that occurs twice is an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The media type of the content.
    pub media_type: MediaType,
    /// The digest of the content.
    pub digest: Digest,
    /// The length of the content in bytes. It is an int64 in the image-spec:
    /// negative and larger numbers are errors when reading.
    #[serde(deserialize_with = "int64")]
    pub size: u64,
    /// The type of the artifact, when the content is one.
    #[serde(
        default,
        deserialize_with = "optional_media_type",
        skip_serializing_if = "Option::is_none"
    )]
    pub artifact_type: Option<MediaType>,
    /// Arbitrary metadata.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
    /// URLs from which the content can be downloaded.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
}

/// The media type in `text`; an empty text means none
/// (distribution-spec, "Listing Referrers": "empty or missing").
pub(super) fn non_empty_media_type(
    text: Option<String>,
) -> Result<Option<MediaType>, InvalidMediaType> {
    text.filter(|text| !text.is_empty()).map(|text| MediaType::parse(&text)).transpose()
}

/// For `deserialize_with`: see [`non_empty_media_type`].
pub(super) fn optional_media_type<'de, D>(deserializer: D) -> Result<Option<MediaType>, D::Error>
where
    D: Deserializer<'de>,
{
    non_empty_media_type(Option::deserialize(deserializer)?).map_err(D::Error::custom)
}

/// For `deserialize_with`: `null` means the default value.
pub(super) fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// For `deserialize_with`: an int64 that is not negative.
pub(super) fn int64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let number = i64::deserialize(deserializer)?;
    u64::try_from(number).map_err(|_| D::Error::custom("size is negative"))
}

#[cfg(test)]
mod tests {
    use super::{BTreeMap, Descriptor};
    use serde_json::{Value, json};

    fn minimal() -> Value {
        json!({
            "mediaType": "application/vnd.oci.empty.v1+json",
            "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
            "size": 2,
        })
    }

    fn with(key: &str, value: &Value) -> Value {
        let mut json = minimal();
        json[key] = value.clone();
        json
    }

    fn read(json: &Value) -> Option<Descriptor> {
        serde_json::from_str(&json.to_string()).ok()
    }

    #[test]
    fn full_descriptors_round_trip() {
        let mut json = minimal();
        json["artifactType"] = json!("text/x");
        json["annotations"] = json!({"b": "2", "a": ""});
        json["urls"] = json!(["https://example.com/"]);
        let descriptor = read(&json);
        assert!(descriptor.as_ref().is_some_and(|d| {
            let annotations = [("a", ""), ("b", "2")].map(|(k, v)| (k.into(), v.into()));
            d.media_type.as_str() == "application/vnd.oci.empty.v1+json"
                && d.digest.encoded().starts_with("44136fa3")
                && d.size == 2
                && d.artifact_type.as_ref().is_some_and(|t| t.as_str() == "text/x")
                && d.annotations == BTreeMap::from(annotations)
                && d.urls == ["https://example.com/"]
        }));
        assert_eq!(serde_json::to_value(descriptor).ok(), Some(json));
    }

    #[test]
    fn what_is_ignored_leaves_a_minimal_descriptor() {
        let expected = read(&minimal());
        assert_eq!(serde_json::to_value(&expected).ok(), Some(minimal()));
        for (key, value) in [
            ("artifactType", json!(null)),
            ("artifactType", json!("")),
            ("annotations", json!(null)),
            ("annotations", json!({})),
            ("urls", json!(null)),
            ("urls", json!([])),
            ("data", json!("e30=")),
            ("data", json!([1])),
            ("platform", json!({"os": "linux"})),
            ("Size", json!(-1)),
        ] {
            assert_eq!(read(&with(key, &value)), expected, "{key}: {value}");
        }
        assert!(expected.is_some());
    }

    #[test]
    fn bad_descriptors() {
        for (key, value) in [
            ("mediaType", json!(null)),
            ("mediaType", json!("")),
            ("mediaType", json!("text")),
            ("digest", json!(null)),
            ("digest", json!("sha256:44136f")),
            ("size", json!(null)),
            ("size", json!(-1)),
            ("size", json!(2.0)),
            ("size", json!("2")),
            ("size", json!(9_223_372_036_854_775_808_u64)),
            ("artifactType", json!("text")),
            ("annotations", json!({"a": 1})),
            ("annotations", json!([])),
            ("urls", json!("https://example.com/")),
        ] {
            assert_eq!(read(&with(key, &value)), None, "{key}: {value}");
        }
        for key in ["mediaType", "digest", "size"] {
            let mut json = minimal();
            json.as_object_mut().map(|object| object.remove(key));
            assert_eq!(read(&json), None, "without {key}");
        }
        let largest = read(&with("size", &json!(i64::MAX)));
        assert_eq!(largest.map(|d| d.size), Some(9_223_372_036_854_775_807));
        let twice = minimal().to_string().replace('}', ",\"size\":2}");
        assert!(serde_json::from_str::<Descriptor>(&twice).is_err());
    }
}
