//! Which tags expire by the policies of the settings, and why. Times are in seconds since
//! 1970, by the storage's clock.

use serde::{Deserialize, Serialize};

/// The path at which is which tags the next run removes: an [`ExpiringAnswer`]. Its parameter
/// `last` is where the answer before ended.
pub const PATH: &str = "/v2/_roadstead/retention";

/// What a path has after a repository's name, and before a tag, at which is what is decided of
/// that: a [`TagAnswer`].
pub const TAG: &str = "/_roadstead/retention/";

/// Which tags the next run removes.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ExpiringAnswer {
    /// Whether it only says so, as `policy.retention.dryrun` is set.
    pub dry_run: bool,
    /// By repository, in lexical order.
    pub repositories: Vec<ExpiringIn>,
    /// Where the next answer goes on, unless this is the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Which tags of a repository the next run removes.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ExpiringIn {
    /// The repository.
    pub name: String,
    /// The policy that decides.
    pub policy: String,
    /// The tags, in lexical order.
    pub tags: Vec<ExpiringTag>,
    /// Whether it has too many tags, so that none is removed.
    #[serde(default)]
    pub passed_over: bool,
}

/// A tag that the next run removes.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ExpiringTag {
    /// The tag.
    pub tag: String,
    /// When it was pushed.
    pub pushed: u64,
    /// When it was pulled last, as far as that was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pulled: Option<u64>,
}

/// What is decided of a tag.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TagAnswer {
    /// Whether the next run removes it, if it is none that only looks.
    pub expires: bool,
    /// Whether runs only look, as `policy.retention.dryrun` is set.
    pub dry_run: bool,
    /// Why, in words.
    pub reason: String,
    /// The policy that decides, if one is for the repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// What each rule says that is about the tag, in words.
    pub rules: Vec<String>,
    /// When the tag was pushed; none if there is no such tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pushed: Option<u64>,
    /// When it was pulled last, as far as that was recorded: to the day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pulled: Option<u64>,
    /// Since when pulls are recorded, if rules are about them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recorded: Option<u64>,
    /// If a run has removed it: where it led, and the run as 32 hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub removed: Option<RemovedTag>,
}

/// A tag that a run has removed.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct RemovedTag {
    /// The manifest that it led to.
    pub digest: String,
    /// The run, as 32 hexadecimal digits.
    pub run: String,
    /// When that was.
    pub at: u64,
}
