//! Repository names.

use std::error::Error;
use std::fmt;

use super::text::{text_serde, text_traits};

/// A repository name: the `<name>` of the distribution-spec, section "Pulling
/// manifests".
///
/// It matches
/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*`
/// as a whole and is at most [`Self::MAX_LENGTH`] bytes long. Names that
/// contain words of the API, such as `a/blobs/uploads`, are valid.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepositoryName(String);

impl RepositoryName {
    /// The maximum length in bytes, which is that of the CNCF distribution
    /// registry (`RepositoryNameTotalLengthMax`); the specification only notes
    /// that many clients stop at 255 characters including the host.
    ///
    /// Limit: bytes of a repository's name; test: `bad_names`.
    pub const MAX_LENGTH: usize = 255;

    /// Reads a name, in time linear to its length.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        if text.is_empty() {
            return Err(InvalidName::Empty);
        }
        if text.len() > Self::MAX_LENGTH {
            return Err(InvalidName::TooLong { length: text.len() });
        }
        let mut offset = 0;
        for segment in text.split('/') {
            check_segment(segment, offset)?;
            offset += segment.len() + 1;
        }
        Ok(Self(text.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

text_traits!(RepositoryName, InvalidName);
text_serde!(RepositoryName);

/// Why a text is not a [`RepositoryName`]. Positions are byte offsets from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidName {
    /// The text is empty.
    Empty,
    /// The text is longer than [`RepositoryName::MAX_LENGTH`].
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// A character that no name contains.
    Character {
        /// The character.
        character: char,
        /// Where it is.
        position: usize,
    },
    /// Nothing before, after or between slashes.
    EmptySegment {
        /// Where the segment would start.
        position: usize,
    },
    /// A segment that starts or ends with `.`, `_` or `-`.
    SegmentEdge {
        /// The character.
        character: char,
        /// Where it is.
        position: usize,
    },
    /// Separators in a row that are not `.`, `_`, `__` or dashes only.
    Separators {
        /// Where the row starts.
        position: usize,
    },
}

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "repository name is empty"),
            Self::TooLong { length } => write!(
                f,
                "repository name is {length} bytes long; at most {} are allowed",
                RepositoryName::MAX_LENGTH
            ),
            Self::Character { character, position } => write!(
                f,
                "repository name has {character:?} at position {position}; \
                 allowed are a-z, 0-9, '.', '_', '-' and '/'"
            ),
            Self::EmptySegment { position } => write!(
                f,
                "repository name has an empty segment at position {position}; \
                 put one '/' between segments, none at the ends"
            ),
            Self::SegmentEdge { character, position } => write!(
                f,
                "repository name has {character:?} at position {position}; \
                 each segment must start and end with a-z or 0-9"
            ),
            Self::Separators { position } => write!(
                f,
                "repository name has wrong separators at position {position}; \
                 letters and digits may be separated by '.', '_', '__' or dashes"
            ),
        }
    }
}

impl Error for InvalidName {}

fn check_segment(segment: &str, offset: usize) -> Result<(), InvalidName> {
    for (index, character) in segment.char_indices() {
        if !(is_alphanumeric(character) || matches!(character, '.' | '_' | '-')) {
            let position = offset + index;
            return Err(InvalidName::Character { character, position });
        }
    }
    let mut edges = segment.char_indices();
    let Some(first) = edges.next() else {
        return Err(InvalidName::EmptySegment { position: offset });
    };
    for (index, character) in [first, edges.next_back().unwrap_or(first)] {
        if !is_alphanumeric(character) {
            let position = offset + index;
            return Err(InvalidName::SegmentEdge { character, position });
        }
    }
    let mut position = offset;
    for run in segment.split(is_alphanumeric) {
        let dashes = run.bytes().all(|byte| byte == b'-');
        if !(dashes || matches!(run, "." | "_" | "__")) {
            return Err(InvalidName::Separators { position });
        }
        position += run.len() + 1;
    }
    Ok(())
}

const fn is_alphanumeric(character: char) -> bool {
    matches!(character, 'a'..='z' | '0'..='9')
}

#[cfg(test)]
mod tests {
    use super::{InvalidName, RepositoryName};

    #[test]
    fn good_names() {
        let longest = "a".repeat(RepositoryName::MAX_LENGTH);
        for text in [
            "a",
            "0",
            "library/alpine",
            "a/b/c/d",
            "a.b_c__d-e---f",
            "1.2/3-4",
            "a/blobs/uploads",
            longest.as_str(),
        ] {
            let name = RepositoryName::parse(text);
            assert_eq!(name.as_ref().map(RepositoryName::as_str), Ok(text));
            assert_eq!(text.parse(), name);
            assert_eq!(name.map(|name| name.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn bad_names() {
        use InvalidName::{Character, Empty, EmptySegment, SegmentEdge, Separators, TooLong};
        let character = |character, position| Character { character, position };
        let edge = |character, position| SegmentEdge { character, position };
        let too_long = "a".repeat(RepositoryName::MAX_LENGTH + 1);
        for (text, error) in [
            ("", Empty),
            (too_long.as_str(), TooLong { length: 256 }),
            ("/", EmptySegment { position: 0 }),
            ("/a", EmptySegment { position: 0 }),
            ("a/", EmptySegment { position: 2 }),
            ("a//b", EmptySegment { position: 2 }),
            ("aB", character('B', 1)),
            ("ab/c d", character(' ', 4)),
            ("a:b", character(':', 1)),
            ("a\u{e9}", character('\u{e9}', 1)),
            ("a\0", character('\0', 1)),
            ("-", edge('-', 0)),
            (".a", edge('.', 0)),
            ("a/b_", edge('_', 3)),
            ("..", edge('.', 0)),
            ("a/../b", edge('.', 2)),
            ("a..b", Separators { position: 1 }),
            ("a___b", Separators { position: 1 }),
            ("x/a-b-_c", Separators { position: 5 }),
            ("a._b", Separators { position: 1 }),
        ] {
            assert_eq!(RepositoryName::parse(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn messages_say_what_is_wrong() {
        for (text, part) in [
            ("aB", "'B' at position 1"),
            ("", "empty"),
            ("a//b", "empty segment at position 2"),
            ("a-", "start and end with a-z or 0-9"),
        ] {
            let message = RepositoryName::parse(text).map_err(|error| error.to_string());
            assert!(message.is_err_and(|m| m.contains(part)), "{text:?}");
        }
    }
}
