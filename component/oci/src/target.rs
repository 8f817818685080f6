//! What is kept of the descriptors and annotations of a manifest.
//!
//! A manifest of 4 MiB may have several hundred thousand annotations or URLs, and
//! each would take ten times as much memory as its text. So what the registry
//! does not need is checked and not kept, and of what it needs no more than the
//! limits allow.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::descriptor::{int64, null_is_default, optional_media_type};
use super::digest::Digest;
use super::manifest_limits::{MAX_ANNOTATIONS, MAX_DESCRIPTORS};
use super::media_type::MediaType;

/// The target of a descriptor in a manifest: what the registry needs of a
/// [`crate::Descriptor`], which has the same properties.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "Read")]
pub struct Target {
    /// The media type of the content.
    pub media_type: MediaType,
    /// The digest of the content.
    pub digest: Digest,
    /// The length of the content in bytes.
    pub size: u64,
    /// Whether the content can be downloaded from elsewhere: it has URLs, or a
    /// media type of such layers.
    pub elsewhere: bool,
}

/// A descriptor as it is read: every property is checked.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Read {
    media_type: MediaType,
    digest: Digest,
    #[serde(deserialize_with = "int64")]
    size: u64,
    #[serde(rename = "artifactType", default, deserialize_with = "optional_media_type")]
    _artifact_type: Option<MediaType>,
    #[serde(rename = "annotations", default, deserialize_with = "null_is_default")]
    _annotations: TextMap,
    #[serde(default, deserialize_with = "null_is_default")]
    urls: Counted<Text>,
}

impl From<Read> for Target {
    fn from(read: Read) -> Self {
        let Read { media_type, digest, size, urls, .. } = read;
        let elsewhere = urls.count > 0 || media_type.is_non_distributable();
        Self { media_type, digest, size, elsewhere }
    }
}

/// A list of which [`Keep::LIMIT`] elements are kept and all are counted.
pub(super) struct Counted<T> {
    pub(super) kept: Vec<T>,
    pub(super) count: usize,
}

/// How many elements of a list are kept.
pub(super) trait Keep {
    const LIMIT: usize;
}

impl Keep for Target {
    const LIMIT: usize = MAX_DESCRIPTORS;
}

impl Keep for Text {
    const LIMIT: usize = 0;
}

impl<T> Default for Counted<T> {
    fn default() -> Self {
        Self { kept: Vec::new(), count: 0 }
    }
}

impl<'de, T: Deserialize<'de> + Keep> Deserialize<'de> for Counted<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(CountedVisitor(PhantomData))
    }
}

struct CountedVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de> + Keep> Visitor<'de> for CountedVisitor<T> {
    type Value = Counted<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Counted<T>, A::Error> {
        let mut counted = Counted::default();
        while let Some(element) = list.next_element()? {
            counted.count += 1;
            if counted.kept.len() < T::LIMIT {
                counted.kept.push(element);
            }
        }
        Ok(counted)
    }
}

/// A string that is not kept.
pub(super) struct Text;

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor)
    }
}

struct TextVisitor;

impl Visitor<'_> for TextVisitor {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E>(self, _: &str) -> Result<Text, E> {
        Ok(Text)
    }
}

/// A map of strings that is not kept.
#[derive(Default)]
struct TextMap;

impl<'de> Deserialize<'de> for TextMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(TextMapVisitor)
    }
}

struct TextMapVisitor;

impl<'de> Visitor<'de> for TextMapVisitor {
    type Value = TextMap;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<TextMap, A::Error> {
        while map.next_entry::<Text, Text>()?.is_some() {}
        Ok(TextMap)
    }
}

/// The annotations of a manifest itself, as far as the limit allows.
#[derive(Default)]
pub(super) struct Annotations {
    pub(super) kept: BTreeMap<String, String>,
    /// How many there are.
    pub(super) count: usize,
}

impl<'de> Deserialize<'de> for Annotations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(AnnotationsVisitor)
    }
}

struct AnnotationsVisitor;

impl<'de> Visitor<'de> for AnnotationsVisitor {
    type Value = Annotations;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Annotations, A::Error> {
        let mut annotations = Annotations::default();
        while let Some((name, value)) = map.next_entry::<String, String>()? {
            annotations.count += 1;
            if annotations.count <= MAX_ANNOTATIONS {
                annotations.kept.insert(name, value);
            }
        }
        Ok(annotations)
    }
}
