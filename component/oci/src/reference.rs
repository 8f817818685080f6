//! References: tags and digests.

use std::error::Error;
use std::fmt;

use super::digest::{Digest, InvalidDigest};
use super::text::{text_serde, text_traits};

/// A tag: the `<reference>` of the distribution-spec, section "Pulling
/// manifests", when it is not a digest.
///
/// It matches `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}` as a whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(String);

impl Tag {
    /// The greatest length in bytes, from the specification's regexp.
    ///
    /// Limit: bytes of a tag; test: `bad_tags`.
    pub const MAX_LENGTH: usize = 128;

    /// Reads a tag.
    pub fn parse(text: &str) -> Result<Self, InvalidTag> {
        if text.is_empty() {
            return Err(InvalidTag::Empty);
        }
        if text.len() > Self::MAX_LENGTH {
            return Err(InvalidTag::TooLong { length: text.len() });
        }
        for (position, character) in text.char_indices() {
            let inner = position > 0 && matches!(character, '.' | '-');
            if !(character.is_ascii_alphanumeric() || character == '_' || inner) {
                return Err(InvalidTag::Character { character, position });
            }
        }
        Ok(Self(text.to_owned()))
    }

    /// The tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

text_traits!(Tag, InvalidTag);
text_serde!(Tag);

/// Why a text is not a [`Tag`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidTag {
    /// The text is empty.
    Empty,
    /// The text is longer than [`Tag::MAX_LENGTH`].
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// A character that is not allowed at this position.
    Character {
        /// The character.
        character: char,
        /// Its byte offset from 0.
        position: usize,
    },
}

impl fmt::Display for InvalidTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "tag is empty"),
            Self::TooLong { length } => {
                write!(f, "tag is {length} bytes long; at most {} are allowed", Tag::MAX_LENGTH)
            }
            Self::Character { character, position: 0 } => {
                write!(f, "tag starts with {character:?}; allowed are A-Z, a-z, 0-9 and '_'")
            }
            Self::Character { character, position } => write!(
                f,
                "tag has {character:?} at position {position}; \
                 allowed are A-Z, a-z, 0-9, '_', '.' and '-'"
            ),
        }
    }
}

impl Error for InvalidTag {}

/// How a manifest is addressed: the `<reference>` of the distribution-spec,
/// section "Pulling manifests".
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reference {
    /// A tag.
    Tag(Tag),
    /// A digest.
    Digest(Digest),
}

impl Reference {
    /// Reads a text with a colon as a digest, any other as a tag; digests
    /// always have a colon and tags never do.
    pub fn parse(text: &str) -> Result<Self, InvalidReference> {
        if text.contains(':') {
            Digest::parse(text).map(Self::Digest).map_err(InvalidReference::Digest)
        } else {
            Tag::parse(text).map(Self::Tag).map_err(InvalidReference::Tag)
        }
    }

    /// The reference as text.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Tag(tag) => tag.as_str(),
            Self::Digest(digest) => digest.as_str(),
        }
    }
}

text_traits!(Reference, InvalidReference);
text_serde!(Reference);

/// Why a text is not a [`Reference`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidReference {
    /// It has no colon and is not a tag.
    Tag(InvalidTag),
    /// It has a colon and is not a digest.
    Digest(InvalidDigest),
}

impl fmt::Display for InvalidReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(error) => error.fmt(f),
            Self::Digest(error) => error.fmt(f),
        }
    }
}

impl Error for InvalidReference {}

#[cfg(test)]
mod tests {
    use super::super::digest::{Digest, InvalidDigest};
    use super::{InvalidReference, InvalidTag, Reference, Tag};

    #[test]
    fn good_tags() {
        let longest = "a".repeat(Tag::MAX_LENGTH);
        for text in ["a", "_", "0", "latest", "V1.2.3-rc_1", "_..--", longest.as_str()] {
            let tag = Tag::parse(text);
            assert_eq!(tag.as_ref().map(Tag::as_str), Ok(text));
            let reference = Reference::parse(text);
            assert_eq!(reference.as_ref().map(Reference::as_str), Ok(text));
            assert_eq!(reference, tag.map(Reference::Tag).map_err(InvalidReference::Tag));
        }
    }

    #[test]
    fn bad_tags() {
        let character = |character, position| InvalidTag::Character { character, position };
        let too_long = "a".repeat(Tag::MAX_LENGTH + 1);
        for (text, error) in [
            ("", InvalidTag::Empty),
            (too_long.as_str(), InvalidTag::TooLong { length: 129 }),
            (".a", character('.', 0)),
            ("-a", character('-', 0)),
            ("..", character('.', 0)),
            ("a/b", character('/', 1)),
            ("a b", character(' ', 1)),
            ("a+b", character('+', 1)),
            ("ab\u{e9}", character('\u{e9}', 2)),
            ("a\0", character('\0', 1)),
        ] {
            assert_eq!(Tag::parse(text), Err(error), "{text:?}");
            let reference = Reference::parse(text);
            assert_eq!(reference, Err(InvalidReference::Tag(error)), "{text:?}");
        }
        assert_eq!(Tag::parse("a:b"), Err(character(':', 1)));
    }

    #[test]
    fn a_colon_makes_a_digest() {
        let text = format!("sha256:{}", "a".repeat(64));
        let digest = Digest::parse(&text).map_err(InvalidReference::Digest);
        assert_eq!(Reference::parse(&text), digest.map(Reference::Digest));
        for text in ["a:b c", ":", "latest:"] {
            assert_eq!(
                Reference::parse(text),
                Err(InvalidReference::Digest(InvalidDigest::Malformed)),
                "{text:?}"
            );
        }
    }
}
