//! Keys: relative paths that cannot leave the root.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A `/`-separated relative path of an object.
///
/// At most [`Key::MAX_LENGTH`] bytes in segments of 1 to
/// [`Key::MAX_SEGMENT`] bytes; no segment is `.` or `..` or holds a NUL, a
/// control character or a backslash; the first is not [`crate::PRIVATE`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Key(String);

impl Key {
    /// The longest key, in bytes, as in S3.
    pub const MAX_LENGTH: usize = 1024;
    /// The longest segment, in bytes: `NAME_MAX` of common file systems.
    pub const MAX_SEGMENT: usize = 255;

    /// Parses a key.
    ///
    /// # Errors
    /// [`InvalidKey`] when a rule of the type is broken.
    pub fn parse(key: &str) -> Result<Self, InvalidKey> {
        let good_segment = |segment: &str| {
            (1..=Self::MAX_SEGMENT).contains(&segment.len())
                && !matches!(segment, "." | "..")
                && !segment.chars().any(|c| c.is_control() || c == '\\')
        };
        let private = key.split('/').next() == Some(crate::PRIVATE);
        if key.len() <= Self::MAX_LENGTH && key.split('/').all(good_segment) && !private {
            Ok(Self(key.to_owned()))
        } else {
            Err(InvalidKey)
        }
    }

    /// This key with one more segment, which the caller gives as a constant.
    pub(crate) fn child(&self, segment: &'static str) -> Self {
        Self(format!("{}/{segment}", self.0))
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether what the key holds need not survive a loss of power: upload
    /// sessions, which clients start over, and hints, which help to find what
    /// other objects say.
    pub(crate) fn unsynced(&self) -> bool {
        self.0.split('/').any(|segment| segment == "_uploads" || segment.starts_with("_hint-"))
    }
}

impl TryFrom<String> for Key {
    type Error = InvalidKey;

    fn try_from(key: String) -> Result<Self, InvalidKey> {
        Self::parse(&key)
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        key.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text is no [`Key`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InvalidKey;

impl fmt::Display for InvalidKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a key is a relative path of at most {} bytes, without empty, '.' or '..' segments",
            Key::MAX_LENGTH
        )
    }
}

impl std::error::Error for InvalidKey {}

#[cfg(test)]
mod tests {
    use super::Key;

    #[test]
    fn accepts_and_refuses() {
        let long = "a".repeat(256);
        for good in ["a", "a/b", "docker/registry/v2/blobs/sha256/ab/abcd/data", "a/..b", "é/ü"] {
            assert_eq!(Key::parse(good).map(|k| k.to_string()), Ok(good.to_owned()));
        }
        for bad in [
            "",
            "/",
            "/a",
            "a/",
            "a//b",
            ".",
            "..",
            "a/../b",
            "a/.",
            "a\0b",
            "a\\b",
            "a\nb",
            ".roadstead",
            ".roadstead/tmp/x",
            &long,
            &"a/".repeat(600),
        ] {
            assert!(Key::parse(bad).is_err(), "{bad:?}");
        }
    }
}
