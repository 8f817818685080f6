//! What a count for a quota has found.

use roadstead_access::QuotaRule;
use roadstead_oci::Digest;
use roadstead_storage::QuotaRecord;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::time::{Duration, SystemTime};

/// How many blobs one part of what a count has found has, about.
///
/// Limit: blobs in one part of what a count for a quota has found, about; test:
/// `blobs_are_kept_in_parts`.
const PART: u64 = 4096;

/// What a count has found, or has found so far.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Count {
    /// A hash of the rule's patterns.
    repositories: String,
    /// The name under which the blobs are stored, as 32 hexadecimal digits.
    pub(crate) id: String,
    /// In how many parts.
    parts: u16,
    pub(crate) blobs: u64,
    pub(crate) bytes: u64,
    pub(crate) tags: u64,
    /// When it began, in milliseconds since 1970 by the storage's clock.
    pub(crate) begun: u64,
    /// Operations of the storage that it took.
    pub(crate) operations: u32,
    /// If it goes on: the last repository that was visited.
    pub(crate) done: Option<String>,
    /// Those of the tags that pushes say to add and that it has counted, as their records name
    /// them.
    pub(crate) added_tags: Vec<String>,
    /// Whether there are more blobs than were counted.
    pub(crate) incomplete: bool,
}

impl Count {
    /// The beginning of a count.
    pub(crate) fn begin(rule: &QuotaRule, begun: u64) -> Self {
        Self { repositories: patterns(rule), begun, ..Self::default() }
    }

    /// Whether it is of the repositories that the rule is for.
    pub(crate) fn is_of(&self, rule: &QuotaRule) -> bool {
        self.repositories == patterns(rule)
    }

    /// How long before `now` it began, both by the storage's clock.
    pub(crate) fn age(&self, now: SystemTime) -> Duration {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        now.saturating_sub(Duration::from_millis(self.begun))
    }

    /// The record of it when it is complete.
    pub(crate) fn record(&self) -> QuotaRecord {
        let id = u128::from_str_radix(&self.id, 16).unwrap_or_default();
        QuotaRecord::Count { begun: self.begun, id }
    }

    /// Whether it has counted a tag that a push says to add.
    pub(crate) fn has_tag(&self, tag: u128) -> bool {
        let text = format!("{tag:032x}");
        self.added_tags.contains(&text)
    }

    /// The parts of the blobs, unless there are none.
    pub(crate) fn found(&self) -> impl Iterator<Item = QuotaRecord> + use<> {
        let id = u128::from_str_radix(&self.id, 16).ok();
        let parts = (0..self.parts.min(256)).filter_map(|part| u8::try_from(part).ok());
        parts.filter_map(move |part| Some(QuotaRecord::Found(id?, part)))
    }

    /// The part in which a blob is, if it was found.
    pub(crate) fn part(&self, blob: u128) -> Option<QuotaRecord> {
        let id = u128::from_str_radix(&self.id, 16).ok()?;
        let shift = match self.parts {
            0 => return None,
            1 => return Some(QuotaRecord::Found(id, 0)),
            16 => 124,
            _ => 120,
        };
        u8::try_from(blob >> shift).ok().map(|part| QuotaRecord::Found(id, part))
    }

    /// Divides so many blobs into parts that are stored under a name.
    pub(super) fn divide(&mut self, id: u128, blobs: u64) {
        self.id = format!("{id:032x}");
        self.parts = match blobs {
            0..=PART => 1,
            _ if blobs <= 16 * PART => 16,
            _ => 256,
        };
    }
}

/// A hash of a rule's patterns.
fn patterns(rule: &QuotaRule) -> String {
    format!("{:032x}", hash(rule.repositories()))
}

/// By what a blob is told apart from others: the first 128 bits of its digest.
pub(crate) fn blob_hash(digest: &Digest) -> u128 {
    let digits = digest.encoded().get(..32).unwrap_or_default();
    u128::from_str_radix(digits, 16).unwrap_or_default()
}

/// By what a tag of a repository is told apart from others.
pub(crate) fn tag_hash(repository: &str, tag: &str) -> u128 {
    hash(&format!("{repository}:{tag}"))
}

/// The first 128 bits of a text's SHA-256.
fn hash(text: &str) -> u128 {
    let hash = Sha256::digest(text);
    hash.iter().take(16).fold(0, |number, byte| number << 8 | u128::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::{Count, PART, tag_hash};
    use roadstead_storage::QuotaRecord;

    #[test]
    fn blobs_are_kept_in_parts() {
        for (blobs, parts) in [(0, 1), (PART, 1), (PART + 1, 16), (65_536, 16), (65_537, 256)] {
            let mut count = Count::default();
            assert_eq!(count.part(7), None);
            count.divide(9, blobs);
            let all: Vec<_> = count.found().collect();
            assert_eq!(all.len(), parts, "{blobs}");
            for blob in [0, 7, u128::MAX, u128::MAX / 3] {
                assert!(all.contains(&count.part(blob).unwrap()), "{blobs} {blob}");
            }
            assert_eq!(all.last(), count.part(u128::MAX).as_ref());
            assert!(matches!(all[0], QuotaRecord::Found(9, 0)));
        }
    }

    #[test]
    fn tags_are_told_apart() {
        assert_eq!(tag_hash("a", "b"), tag_hash("a", "b"));
        assert_ne!(tag_hash("a", "b"), tag_hash("a/b", "b"));
    }
}
