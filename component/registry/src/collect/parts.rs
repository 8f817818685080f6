//! Parts of what is known of a repository's manifests, as they are stored.

use super::references::References;
use roadstead_oci::Digest;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The first line of a part: other versions are made again.
const VERSION: &str = "references 1";

/// What one manifest refers to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Known {
    pub(super) references: References,
    /// Whether another registry wrote its link.
    pub(super) foreign: bool,
}

/// What the manifests of a repository from one digest up to the next part refer to.
#[derive(Debug, Default)]
pub(super) struct Part(pub(super) BTreeMap<Digest, Known>);

impl Part {
    /// Parses a stored part; `None` if it is damaged, or of another version.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let mut part = BTreeMap::new();
        let mut lines = std::str::from_utf8(text).ok()?.lines();
        lines.next().filter(|version| *version == VERSION)?;
        for line in lines {
            let mut words = line.split(' ');
            let digest = Digest::parse(words.next()?).ok()?;
            let mut known =
                Known { foreign: words.next()? == "foreign", references: References::default() };
            let count: usize = words.next()?.parse().ok()?;
            for word in words {
                let (kind, digest) = word.split_at_checked(1)?;
                let digest = Digest::parse(digest).ok()?;
                if kind == "m" {
                    known.references.manifests.insert(digest.clone());
                }
                known.references.content.insert(digest);
            }
            if known.references.content.len() != count {
                return None;
            }
            part.insert(digest, known);
        }
        Some(Self(part))
    }

    /// Prints a part, or some of it.
    pub(super) fn print<'a>(part: impl Iterator<Item = (&'a Digest, &'a Known)>) -> String {
        let mut text = format!("{VERSION}\n");
        for (digest, known) in part {
            let foreign = if known.foreign { "foreign" } else { "own" };
            // Writing to a String cannot fail.
            let _ = write!(text, "{digest} {foreign} {}", known.references.content.len());
            for content in &known.references.content {
                let kind = if known.references.manifests.contains(content) { "m" } else { "b" };
                let _ = write!(text, " {kind}{content}");
            }
            text.push('\n');
        }
        text
    }
}
