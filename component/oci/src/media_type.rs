//! Media types.

use std::error::Error;
use std::fmt;

use super::text::{text_serde, text_traits};

/// OCI image manifest (image-spec, "Media Types").
pub const OCI_IMAGE_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI image index (image-spec, "Media Types").
pub const OCI_IMAGE_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// OCI empty JSON (image-spec, "Guidance for an Empty Descriptor").
pub const OCI_EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// Docker image manifest, version 2, schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker manifest list, version 2.
pub const DOCKER_MANIFEST_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker image manifest, version 2, schema 1.
pub const DOCKER_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+json";
/// Docker image manifest, version 2, schema 1, signed.
pub const DOCKER_SCHEMA1_SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";
/// Docker layer that is downloaded from elsewhere.
pub const DOCKER_FOREIGN_LAYER: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
/// OCI layer with distribution restrictions (image-spec, "Non-Distributable Layers").
pub const OCI_NON_DISTRIBUTABLE_LAYER: &str =
    "application/vnd.oci.image.layer.nondistributable.v1.tar";
/// The same, compressed with gzip.
pub const OCI_NON_DISTRIBUTABLE_LAYER_GZIP: &str =
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
/// The same, compressed with zstd.
pub const OCI_NON_DISTRIBUTABLE_LAYER_ZSTD: &str =
    "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd";

/// A media type `type/subtype` (RFC 6838, section 4.2) without parameters.
///
/// Both parts match `[a-zA-Z0-9][a-zA-Z0-9!#$&^_.+-]{0,126}`. The text is kept
/// as sent and compared exactly: RFC 6838 ignores case, but clients compare
/// the media types of manifests byte by byte.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MediaType(String);

impl MediaType {
    /// The greatest length of either part in bytes (RFC 6838, section 4.2).
    ///
    /// Limit: the bytes of either part of a media type; test: `bad_media_types`.
    pub const MAX_PART_LENGTH: usize = 127;

    /// The greatest length of the whole in bytes, which follows.
    ///
    /// Limit: bytes of a media type; test: `bad_media_types`.
    pub const MAX_LENGTH: usize = 2 * Self::MAX_PART_LENGTH + 1;

    /// Reads a media type, as in a `Content-Type` header or in JSON. Blanks
    /// around it and parameters after it (`; charset=utf-8`) are dropped
    /// unread.
    pub fn parse(text: &str) -> Result<Self, InvalidMediaType> {
        let essence = text.split_once(';').map_or(text, |(essence, _)| essence);
        let essence = essence.trim_matches([' ', '\t']);
        let (kind, subtype) = essence.split_once('/').ok_or(InvalidMediaType::NoSlash)?;
        check_part(kind, 0)?;
        check_part(subtype, kind.len() + 1)?;
        Ok(Self(essence.to_owned()))
    }

    /// [`OCI_IMAGE_MANIFEST`].
    pub fn oci_image_manifest() -> Self {
        Self(OCI_IMAGE_MANIFEST.to_owned())
    }

    /// [`OCI_IMAGE_INDEX`].
    pub fn oci_image_index() -> Self {
        Self(OCI_IMAGE_INDEX.to_owned())
    }

    /// The media type as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is one of JSON: `application/json`, or any of `application/`
    /// with the suffix `+json` (RFC 6839, section 3.1). Case is ignored, as it
    /// is by browsers.
    pub fn is_json(&self) -> bool {
        let Some((kind, subtype)) = self.0.split_once('/') else { return false };
        let suffix = subtype.rsplit_once('+').map_or(subtype, |(_, suffix)| suffix);
        kind.eq_ignore_ascii_case("application") && suffix.eq_ignore_ascii_case("json")
    }

    /// Whether it is that of an OCI image index or a Docker manifest list.
    pub fn is_index(&self) -> bool {
        matches!(self.as_str(), OCI_IMAGE_INDEX | DOCKER_MANIFEST_LIST)
    }

    /// Whether it is that of an OCI or a Docker (schema 2) image manifest.
    pub fn is_image_manifest(&self) -> bool {
        matches!(self.as_str(), OCI_IMAGE_MANIFEST | DOCKER_MANIFEST)
    }

    /// Whether it is that of a Docker schema 1 manifest, signed or not.
    pub fn is_schema1(&self) -> bool {
        matches!(self.as_str(), DOCKER_SCHEMA1 | DOCKER_SCHEMA1_SIGNED)
    }

    /// Whether it is that of a layer that need not be in the registry
    /// (foreign or non-distributable).
    pub fn is_non_distributable(&self) -> bool {
        matches!(
            self.as_str(),
            DOCKER_FOREIGN_LAYER
                | OCI_NON_DISTRIBUTABLE_LAYER
                | OCI_NON_DISTRIBUTABLE_LAYER_GZIP
                | OCI_NON_DISTRIBUTABLE_LAYER_ZSTD
        )
    }
}

text_traits!(MediaType, InvalidMediaType);
text_serde!(MediaType);

/// Why a text is not a [`MediaType`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidMediaType {
    /// There is no slash.
    NoSlash,
    /// There is nothing before or after the slash.
    EmptyPart,
    /// A part is longer than [`MediaType::MAX_PART_LENGTH`].
    PartTooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// A character that a media type does not have at this place.
    Character {
        /// The character.
        character: char,
        /// Its byte offset from the first one that is not blank.
        position: usize,
    },
}

impl fmt::Display for InvalidMediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSlash | Self::EmptyPart => {
                write!(f, "media type is not of the form <type>/<subtype>")
            }
            Self::PartTooLong { length } => write!(
                f,
                "media type has a part of {length} bytes; at most {} are allowed",
                MediaType::MAX_PART_LENGTH
            ),
            Self::Character { character, position } => write!(
                f,
                "media type has {character:?} at position {position}, where RFC 6838 allows none"
            ),
        }
    }
}

impl Error for InvalidMediaType {}

fn check_part(part: &str, offset: usize) -> Result<(), InvalidMediaType> {
    if part.is_empty() {
        return Err(InvalidMediaType::EmptyPart);
    }
    if part.len() > MediaType::MAX_PART_LENGTH {
        return Err(InvalidMediaType::PartTooLong { length: part.len() });
    }
    for (index, character) in part.char_indices() {
        let inner = index > 0 && "!#$&^_.+-".contains(character);
        if !(character.is_ascii_alphanumeric() || inner) {
            let position = offset + index;
            return Err(InvalidMediaType::Character { character, position });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{InvalidMediaType, MediaType};

    #[test]
    fn good_media_types() {
        let long = format!("{0}/{0}", "a".repeat(MediaType::MAX_PART_LENGTH));
        assert_eq!(long.len(), MediaType::MAX_LENGTH);
        for (text, kept) in [
            ("a/b", "a/b"),
            ("Text/HTML", "Text/HTML"),
            (" text/plain\t; charset=utf-8; x=\"a/b;c\"", "text/plain"),
            ("text/plain;", "text/plain"),
            ("0!#$&-^_.+/0!#$&-^_.+", "0!#$&-^_.+/0!#$&-^_.+"),
            (long.as_str(), long.as_str()),
        ] {
            let media_type = MediaType::parse(text);
            assert_eq!(media_type.as_ref().map(MediaType::as_str), Ok(kept));
            assert_eq!(kept.parse(), media_type);
            assert_eq!(media_type.map(|m| m.to_string()), Ok(kept.to_owned()));
        }
    }

    #[test]
    fn bad_media_types() {
        use InvalidMediaType::{Character, EmptyPart, NoSlash, PartTooLong};
        let character = |character, position| Character { character, position };
        let long = format!("a/{}", "a".repeat(MediaType::MAX_PART_LENGTH + 1));
        for (text, error) in [
            ("", NoSlash),
            ("text", NoSlash),
            ("; a/b", NoSlash),
            ("/", EmptyPart),
            ("a/", EmptyPart),
            ("/a", EmptyPart),
            (long.as_str(), PartTooLong { length: 128 }),
            ("a/b/c", character('/', 3)),
            ("*/*", character('*', 0)),
            ("a/.b", character('.', 2)),
            ("a /b", character(' ', 1)),
            ("a/b,c/d", character(',', 3)),
            ("a/\u{e9}", character('\u{e9}', 2)),
            ("a/b\r\nX: y", character('\r', 3)),
        ] {
            assert_eq!(MediaType::parse(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn types_of_json() {
        for (text, expected) in [
            (super::OCI_IMAGE_MANIFEST, true),
            (super::DOCKER_MANIFEST_LIST, true),
            ("application/json", true),
            ("Application/JSON", true),
            ("application/a+b+json", true),
            ("application/jsonx", false),
            ("application/x.json", false),
            ("application/vnd.a", false),
            ("application/xhtml+xml", false),
            ("application/javascript", false),
            ("application/json+xml", false),
            ("application/octet-stream", false),
            ("text/json", false),
            ("text/html", false),
            ("text/a+json", false),
            ("image/svg+xml", false),
        ] {
            assert_eq!(MediaType::parse(text).map(|found| found.is_json()), Ok(expected), "{text}");
        }
    }

    #[test]
    fn known_types_are_sorted_into_their_kinds() {
        let docker = "application/vnd.docker.distribution.manifest";
        let oci = "application/vnd.oci.image";
        let layer = "application/vnd.oci.image.layer";
        let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
        for (text, kinds) in [
            (format!("{oci}.manifest.v1+json"), "image"),
            (format!("{docker}.v2+json"), "image"),
            (format!("{oci}.index.v1+json"), "index"),
            (format!("{docker}.list.v2+json"), "index"),
            (format!("{docker}.v1+json"), "schema1"),
            (format!("{docker}.v1+prettyjws"), "schema1"),
            (foreign.to_owned(), "foreign"),
            (format!("{layer}.nondistributable.v1.tar"), "foreign"),
            (format!("{layer}.nondistributable.v1.tar+gzip"), "foreign"),
            (format!("{layer}.nondistributable.v1.tar+zstd"), "foreign"),
            (format!("{layer}.v1.tar+gzip"), ""),
            (super::OCI_EMPTY.to_owned(), ""),
            (format!("{oci}.Index.v1+json"), ""),
        ] {
            let found = MediaType::parse(&text).map(|media_type| {
                [
                    (media_type.is_image_manifest(), "image"),
                    (media_type.is_index(), "index"),
                    (media_type.is_schema1(), "schema1"),
                    (media_type.is_non_distributable(), "foreign"),
                ]
                .into_iter()
                .filter_map(|(is, kind)| is.then_some(kind))
                .collect::<String>()
            });
            assert_eq!(found.as_deref(), Ok(kinds), "{text}");
        }
        assert!(MediaType::oci_image_manifest().is_image_manifest());
        assert!(MediaType::oci_image_index().is_index());
    }
}
