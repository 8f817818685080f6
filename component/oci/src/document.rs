//! The JSON of a manifest, as it is deserialized.

use std::fmt;

use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::descriptor::{non_empty_media_type, null_is_default, optional_media_type};
use super::media_type::MediaType;
use super::target::{Annotations, Counted, Target};

/// The properties that every manifest may have, whatever its media type.
const COMMON_KEYS: [&str; 4] = ["mediaType", "artifactType", "subject", "annotations"];

/// The properties that only image manifests and indexes have.
const SCHEMA_KEYS: [&str; 4] = ["schemaVersion", "config", "layers", "manifests"];

/// What has to be known about a document before the rest can be read.
#[derive(Debug, Default)]
pub(super) struct Head {
    /// The `mediaType` property.
    pub(super) media_type: Option<MediaType>,
    /// A property whose name differs only in case from a common one.
    ///
    /// Go's JSON decoder ignores the case of names, so clients written in Go
    /// would read such a property, possibly in place of the one read here.
    pub(super) odd_common_key: Option<String>,
    /// A property whose name differs only in case from one of a schema.
    pub(super) odd_schema_key: Option<String>,
}

/// The properties that every manifest may have, besides `mediaType`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Common {
    pub(super) subject: Option<Target>,
    #[serde(default, deserialize_with = "optional_media_type")]
    pub(super) artifact_type: Option<MediaType>,
    #[serde(default, deserialize_with = "null_is_default")]
    pub(super) annotations: Annotations,
}

/// The properties of image manifests and indexes, besides those in
/// [`Common`].
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Body {
    pub(super) schema_version: Option<u64>,
    pub(super) config: Option<Target>,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(super) layers: Option<Counted<Target>>,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(super) manifests: Option<Counted<Target>>,
}

impl<'de> Deserialize<'de> for Head {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeadVisitor)
    }
}

struct HeadVisitor;

impl<'de> Visitor<'de> for HeadVisitor {
    type Value = Head;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Head, A::Error> {
        let mut head = Head::default();
        let mut seen = false;
        while let Some(key) = map.next_key::<String>()? {
            if key == "mediaType" {
                if seen {
                    return Err(A::Error::duplicate_field("mediaType"));
                }
                seen = true;
                head.media_type =
                    non_empty_media_type(map.next_value()?).map_err(A::Error::custom)?;
                continue;
            }
            map.next_value::<IgnoredAny>()?;
            if is_odd(&key, &COMMON_KEYS) {
                head.odd_common_key = Some(key);
            } else if is_odd(&key, &SCHEMA_KEYS) {
                head.odd_schema_key = Some(key);
            }
        }
        Ok(head)
    }
}

/// Whether `key` differs only in case from one of `names`.
fn is_odd(key: &str, names: &[&str]) -> bool {
    names.iter().any(|name| *name != key && key.chars().map(fold).eq(name.chars().map(fold)))
}

/// Folds case as Go's JSON decoder does: besides upper case, two characters
/// outside ASCII have an ASCII letter as their folded form.
const fn fold(character: char) -> char {
    match character {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        _ => character.to_ascii_lowercase(),
    }
}

/// For `deserialize_with`: an absent list is `None`, `null` is an empty one,
/// because that is how Go writes a list without elements.
fn null_is_empty<'de, D>(deserializer: D) -> Result<Option<Counted<Target>>, D::Error>
where
    D: Deserializer<'de>,
{
    null_is_default(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::{Head, is_odd};

    #[test]
    fn odd_keys_differ_by_case_only() {
        let names = ["layers", "blink"];
        for key in ["Layers", "LAYERS", "layer\u{17f}", "blin\u{212a}"] {
            assert!(is_odd(key, &names), "{key}");
        }
        for key in ["", "layers", "blink", "layer", "layerss", "l\u{e4}yers"] {
            assert!(!is_odd(key, &names), "{key}");
        }
    }

    #[test]
    fn heads() {
        let read = |json| {
            serde_json::from_str::<Head>(json).ok().map(|head| {
                (
                    head.media_type.map(|media_type| media_type.to_string()),
                    head.odd_common_key,
                    head.odd_schema_key,
                )
            })
        };
        let some = |text: &str| Some(text.to_owned());
        for (json, head) in [
            ("{}", Some((None, None, None))),
            (r#"{"mediaType":null}"#, Some((None, None, None))),
            (r#"{"mediaType":""}"#, Some((None, None, None))),
            (r#"{"x":[{}],"mediaType":"a/b"}"#, Some((some("a/b"), None, None))),
            (r#"{"Subject":1,"Config":2}"#, Some((None, some("Subject"), some("Config")))),
            (r#"{"mediaType":"a"}"#, None),
            (r#"{"mediaType":1}"#, None),
            (r#"{"mediaType":"a/b","mediaType":"a/b"}"#, None),
            (r#"{"mediaType":null,"mediaType":"a/b"}"#, None),
            ("[]", None),
            ("null", None),
            ("{}{}", None),
        ] {
            assert_eq!(read(json), head, "{json}");
        }
    }
}
