//! What is remembered of the quotas of the settings, by rule.

use super::{InvalidKey, number};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Where it is: beside what clients push, so that no other registry sees it.
pub(crate) const DIRECTORY: &str = ".roadstead/quotas/";

/// The name of a rule of quotas, which is the name of a directory.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct QuotaName(String);

/// What is remembered of a rule of quotas. `docs/policies.md` says what for.
///
/// What pushes have added comes first in the order of keys, so that a list of it ends early.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum QuotaRecord {
    /// A push adds a blob: an empty object.
    AddedBlob {
        /// The beginning of its digest.
        blob: u128,
        /// Its size in bytes.
        size: u64,
        /// Sets the push apart from others.
        id: u128,
    },
    /// A push adds a tag: an empty object.
    AddedTag {
        /// The beginning of a hash of its repository and name.
        tag: u128,
        /// Sets the push apart from others.
        id: u128,
    },
    /// That a slice of a count has begun: an empty object, for its time.
    Begun(u128),
    /// What a complete count has found. Of several, the one counts that began last.
    Count {
        /// When it began, in milliseconds since 1970 by the storage's clock.
        begun: u64,
        /// The name of the blobs that it has found.
        id: u128,
    },
    /// How far a count has come that is not complete.
    Counting,
    /// The blobs that a count has found, with their sizes: those of one of its parts.
    Found(u128, u8),
}

/// The longest name of a rule, in bytes: the settings allow no longer one.
///
/// Limit: bytes of the name of a directory of what is remembered of a quota; test: `what_is_no_key`.
const NAME_LIMIT: usize = 64;

/// The largest part of the blobs that a count has found, in bytes.
///
/// Limit: bytes of a part of the blobs that a quota counts; test: none, parts are smaller.
const FOUND_LIMIT: usize = 8 * 1024 * 1024;

/// The largest result of a count, in bytes.
///
/// Limit: bytes of the result of a count for a quota; test: none, ours are shorter.
const COUNT_LIMIT: usize = 64 * 1024;

impl QuotaName {
    /// Reads a name: letters, digits and `.`, `_` or `-` after the first.
    pub fn parse(text: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let begins = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        let valid = begins && text.len() <= NAME_LIMIT && text.bytes().all(plain);
        valid.then(|| Self(text.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for QuotaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for QuotaName {
    type Error = InvalidKey;

    fn try_from(text: String) -> Result<Self, InvalidKey> {
        Self::parse(&text).ok_or(InvalidKey)
    }
}

impl From<QuotaName> for String {
    fn from(name: QuotaName) -> Self {
        name.0
    }
}

impl QuotaRecord {
    /// See [`crate::Key::is_durable`]. What is lost is counted again.
    pub(super) fn is_durable(self) -> bool {
        matches!(self, Self::Count { .. })
    }

    /// See [`crate::Key::value_limit`].
    pub(super) fn value_limit(self) -> usize {
        match self {
            Self::AddedBlob { .. } | Self::AddedTag { .. } | Self::Begun(_) => 0,
            Self::Count { .. } | Self::Counting => COUNT_LIMIT,
            Self::Found(..) => FOUND_LIMIT,
        }
    }

    /// Parses `<rule>/<record>`.
    pub(super) fn parse(text: &str) -> Option<(QuotaName, Self)> {
        let (name, record) = text.split_once('/')?;
        let name = QuotaName::parse(name)?;
        let parts: Vec<&str> = record.split('-').collect();
        let parsed = match *parts.as_slice() {
            ["added", "blob", blob, size, id] => {
                let (blob, id) = (number(blob)?, number(id)?);
                Self::AddedBlob { blob, size: size.parse().ok()?, id }
            }
            ["added", "tag", tag, id] => Self::AddedTag { tag: number(tag)?, id: number(id)? },
            ["begun", id] => Self::Begun(number(id)?),
            ["count", begun, id] => {
                Self::Count { begun: u64::from_str_radix(begun, 16).ok()?, id: number(id)? }
            }
            ["counting"] => Self::Counting,
            ["found", id, part] => Self::Found(number(id)?, u8::from_str_radix(part, 16).ok()?),
            _ => return None,
        };
        // Such as leading zeros.
        (parsed.to_string() == record).then_some((name, parsed))
    }
}

impl fmt::Display for QuotaRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddedBlob { blob, size, id } => {
                write!(f, "added-blob-{blob:032x}-{size}-{id:032x}")
            }
            Self::AddedTag { tag, id } => write!(f, "added-tag-{tag:032x}-{id:032x}"),
            Self::Begun(id) => write!(f, "begun-{id:032x}"),
            Self::Count { begun, id } => write!(f, "count-{begun:016x}-{id:032x}"),
            Self::Counting => f.write_str("counting"),
            Self::Found(id, part) => write!(f, "found-{id:032x}-{part:02x}"),
        }
    }
}
