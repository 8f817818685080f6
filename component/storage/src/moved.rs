//! What a collector keeps of links that it has taken away: to manifests to which nothing led, and of
//! tags that had expired.

use roadstead_oci::{Digest, MediaType};
use std::fmt;

/// The value of [`crate::Key::MovedRevision`]: what is needed to write the link again,
/// and which run has moved it. It is kept for some days; then it expires, and is deleted
/// once nobody can be restoring it any longer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MovedRevision {
    /// The manifest.
    pub digest: Digest,
    /// The run that has moved it.
    pub run: u128,
    /// The media type of the manifest, where it is known.
    pub media_type: Option<MediaType>,
    /// Whether requests find nothing in it any longer.
    pub expired: bool,
}

impl MovedRevision {
    /// Parses what it prints, and nothing else.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?;
        let mut lines = text.lines();
        let digest = Digest::parse(lines.next()?).ok()?;
        let run = u128::from_str_radix(lines.next()?, 16).ok()?;
        let media_type = match lines.next()? {
            UNKNOWN => None,
            text => Some(MediaType::parse(text).ok()?),
        };
        let expired = lines.next() == Some(EXPIRED);
        let parsed = Self { digest, run, media_type, expired };
        (parsed.to_string() == text).then_some(parsed)
    }
}

/// The value of [`crate::Key::MovedTag`]: where the tag led, and which run has removed it. For as
/// long as it is there, the manifest stays, and an undo brings the tag back for some days.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MovedTag {
    /// The manifest.
    pub digest: Digest,
    /// The run that has removed the tag.
    pub run: u128,
    /// Whether an undo has brought it back: then it stays until it is pushed again or deleted.
    pub restored: bool,
}

impl MovedTag {
    /// Parses what it prints, and nothing else.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?;
        let mut lines = text.lines();
        let digest = Digest::parse(lines.next()?).ok()?;
        let run = u128::from_str_radix(lines.next()?, 16).ok()?;
        let parsed = Self { digest, run, restored: lines.next() == Some(RESTORED) };
        (parsed.to_string() == text).then_some(parsed)
    }
}

impl fmt::Display for MovedTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{:032x}", self.digest, self.run)?;
        if self.restored { writeln!(f, "{RESTORED}") } else { Ok(()) }
    }
}

/// The last line of a tag that is there again.
const RESTORED: &str = "restored";

/// Stands for a media type that is not known: no media type is without a slash.
const UNKNOWN: &str = "-";

/// The last line of one that has expired.
const EXPIRED: &str = "expired";

impl fmt::Display for MovedRevision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let media_type = self.media_type.as_ref().map_or(UNKNOWN, MediaType::as_str);
        writeln!(f, "{}\n{:032x}\n{media_type}", self.digest, self.run)?;
        if self.expired { writeln!(f, "{EXPIRED}") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::{MovedRevision, MovedTag};
    use crate::Key;
    use roadstead_oci::{Digest, MediaType, RepositoryName, Tag};

    #[test]
    fn moved_tags_are_parsed_as_they_are_printed() {
        let digest = Digest::parse(&format!("sha512:{}", "a".repeat(128))).unwrap();
        let name = RepositoryName::parse("a").unwrap();
        let key = Key::MovedTag(name, Tag::parse(&"t".repeat(128)).unwrap());
        for restored in [false, true] {
            let moved = MovedTag { digest: digest.clone(), run: 7, restored };
            let text = moved.to_string();
            assert_eq!(MovedTag::parse(text.as_bytes()), Some(moved));
            assert!(text.len() <= key.value_limit());
            for length in 0..text.len() {
                let part = MovedTag::parse(&text.as_bytes()[..length]);
                assert!(part.is_none_or(|part| restored && !part.restored), "{length}");
            }
        }
    }

    #[test]
    fn moved_revisions_are_parsed_as_they_are_printed() {
        let digest = Digest::parse(&format!("sha512:{}", "a".repeat(128))).unwrap();
        let part = "a".repeat((MediaType::MAX_LENGTH - 1) / 2);
        let longest = MediaType::parse(&format!("{part}/{part}")).unwrap();
        let key = Key::MovedRevision(RepositoryName::parse("a").unwrap(), digest.clone());
        for media_type in [None, Some(longest)] {
            for expired in [false, true] {
                let (digest, media_type) = (digest.clone(), media_type.clone());
                let moved = MovedRevision { digest, run: 7, media_type, expired };
                let text = moved.to_string();
                assert_eq!(MovedRevision::parse(text.as_bytes()), Some(moved));
                assert!(text.len() <= key.value_limit());
                // Whatever a loss of power leaves, and what is not ours.
                for length in 0..text.len() {
                    let part = MovedRevision::parse(&text.as_bytes()[..length]);
                    assert!(part.is_none_or(|part| expired && !part.expired), "{length}");
                }
                for other in [format!("{text}\n"), format!(" {text}"), text.replace('\n', "\r\n")] {
                    assert_eq!(MovedRevision::parse(other.as_bytes()), None, "{other}");
                }
            }
        }
    }
}
