//! Scrubbing, slice by slice: stored content is read again and compared with what
//! refers to it. The component does a slice for each request to its route; the
//! response's body is a [`Progress`]. Nothing is stored between slices: all of the
//! state is in the cursor, so any instance can do the next one.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The path of the route.
pub const PATH: &str = "/v2/_roadstead/scrub";

/// The most bytes that a slice hashes, whatever is asked for: 1 GiB.
///
/// Limit: bytes that a slice of a scrub hashes; test: `limits_of_a_slice`.
pub const LARGEST_SLICE: u64 = 1024 * 1024 * 1024;

/// The bytes that a slice hashes, if the request does not say: 32 MiB.
///
/// Limit: bytes that a slice of a scrub hashes, by default; test: `limits_of_a_slice`.
pub const DEFAULT_SLICE: u64 = 32 * 1024 * 1024;

/// The longest cursor, in bytes.
///
/// Limit: bytes of a scrub's cursor; test: `cursors_have_a_limit`.
pub const CURSOR_LIMIT: usize = 64 * 1024;

/// The body of a request. Without it, a scrub begins.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScrubRequest {
    /// Where the scrub goes on: [`Progress::cursor`] of the slice before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// How many bytes the slice may hash: at least 1, at most [`LARGEST_SLICE`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Whether the data of blobs is hashed.
    pub hash: bool,
    /// Whether data that does not have its digest is moved out of the way.
    pub quarantine: bool,
}

impl Default for ScrubRequest {
    fn default() -> Self {
        Self { cursor: None, bytes: None, hash: true, quarantine: false }
    }
}

/// How far a scrub has come after a slice.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// What this slice has found.
    pub findings: Vec<Finding>,
    /// What this slice has looked at.
    pub counts: Counts,
    /// Where the next slice goes on; none after the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// What comes next: `blobs`, `repositories`, `quarantine` or `end`.
    pub stage: String,
    /// How much of this stage is done, from 0 to 100, about.
    pub percent: u8,
    /// Operations of the storage that the slice took.
    pub operations: u32,
    /// Bytes that the slice hashed.
    pub hashed: u64,
    /// Milliseconds after which the next slice can do something.
    pub wait: u64,
}

/// What was looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Blobs in the storage.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Repositories.
    pub repositories: u64,
    /// Manifests in them.
    pub manifests: u64,
    /// Tags in them.
    pub tags: u64,
    /// Entries of referrers in them.
    pub referrers: u64,
    /// Links to blobs whose data is gone, in a directory. Harmless if no manifest
    /// needs them: the blob can be pushed again.
    pub empty_links: u64,
    /// Blobs of images that the repository has no link to, where that is allowed.
    pub sparse: u64,
    /// Findings of one manifest beyond those that are listed.
    pub unlisted: u64,
}

impl Counts {
    /// Adds those of another slice.
    pub fn add(&mut self, other: &Self) {
        self.blobs += other.blobs;
        self.bytes += other.bytes;
        self.repositories += other.repositories;
        self.manifests += other.manifests;
        self.tags += other.tags;
        self.referrers += other.referrers;
        self.empty_links += other.empty_links;
        self.sparse += other.sparse;
        self.unlisted += other.unlisted;
    }
}

/// Something that is not as it should be.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Finding {
    /// What it is.
    pub kind: Kind,
    /// The content that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The repository, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// The tag that leads to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// The manifest that refers to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// The size of the data in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// The size in bytes that the manifest says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<u64>,
    /// The digest that the data has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub computed: Option<String>,
    /// What is known besides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
}

impl Finding {
    /// A finding of which no more is known.
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            digest: None,
            repository: None,
            tag: None,
            manifest: None,
            size: None,
            expected: None,
            computed: None,
            cause: None,
        }
    }
}

/// The kinds of findings.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The data of a blob does not have its digest.
    Corrupt,
    /// The data of a blob cannot be read.
    Unreadable,
    /// Data that did not have its digest was moved out of the way.
    Quarantined,
    /// Data that does not have its digest could not be moved out of the way.
    NotQuarantined,
    /// A repository holds a manifest whose bytes are gone.
    ManifestMissing,
    /// An image refers to a blob that is gone, or that its repository does not hold.
    ContentMissing,
    /// An image refers to a blob whose data does not have its digest.
    ContentCorrupt,
    /// A manifest says another size than its content has.
    WrongSize,
    /// An index refers to a manifest that its repository does not hold: that is
    /// allowed, and no damage by itself.
    ChildMissing,
    /// A link does not hold the digest that its place says.
    LinkDamaged,
    /// A tag leads to a manifest that the repository does not hold.
    TagDangling,
    /// A tag does not hold a digest.
    TagDamaged,
    /// A list of referrers names a manifest that the repository does not hold.
    ReferrerDangling,
}

impl Kind {
    /// All of them, with their names.
    pub const ALL: [(Self, &'static str); 13] = [
        (Self::Corrupt, "corrupt"),
        (Self::Unreadable, "unreadable"),
        (Self::Quarantined, "quarantined"),
        (Self::NotQuarantined, "not-quarantined"),
        (Self::ManifestMissing, "manifest-missing"),
        (Self::ContentMissing, "content-missing"),
        (Self::ContentCorrupt, "content-corrupt"),
        (Self::WrongSize, "wrong-size"),
        (Self::ChildMissing, "child-missing"),
        (Self::LinkDamaged, "link-damaged"),
        (Self::TagDangling, "tag-dangling"),
        (Self::TagDamaged, "tag-damaged"),
        (Self::ReferrerDangling, "referrer-dangling"),
    ];

    /// Whether something is broken: not if an index has only some of its platforms, if
    /// clients do not see it, or if damaged data was moved away.
    pub fn is_damage(self) -> bool {
        !matches!(self, Self::ChildMissing | Self::ReferrerDangling | Self::Quarantined)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.into_iter().find(|(kind, _)| kind == self);
        f.write_str(name.map_or("", |(_, name)| name))
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, ScrubRequest};

    #[test]
    fn kinds_have_one_name() {
        for (kind, name) in Kind::ALL {
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{name}\""));
            assert_eq!(kind.to_string(), name);
        }
    }

    #[test]
    fn what_is_asked_by_default() {
        let parse = |text: &str| serde_json::from_str::<ScrubRequest>(text);
        assert_eq!(parse("{}").unwrap(), ScrubRequest::default());
        let ask = parse(r#"{"hash":false,"bytes":7}"#).unwrap();
        assert_eq!((ask.hash, ask.bytes, ask.quarantine), (false, Some(7), false));
        assert!(parse(r#"{"grace":0}"#).is_err());
    }
}
