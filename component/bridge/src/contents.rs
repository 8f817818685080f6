//! What repositories hold, blob by blob, and how much of their quotas is used. The component
//! answers `GET` requests; `roadstead du` adds up.

use serde::{Deserialize, Serialize};

/// The path at which is what repositories hold: a [`ContentsAnswer`]. Its parameter `last` is
/// [`ContentsAnswer::next`] of the answer before.
pub const CONTENTS: &str = "/v2/_roadstead/collect/contents";

/// The path at which is how much of quotas is used: a [`QuotasAnswer`].
pub const QUOTAS: &str = "/v2/_roadstead/collect/quotas";

/// What repositories hold.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ContentsAnswer {
    /// In lexical order.
    pub repositories: Vec<RepositoryContents>,
    /// Where the next answer goes on, unless there are no repositories left: the name of the last
    /// one, or its name, `@` and its last blob if it has more of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What a repository holds, or some more of it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RepositoryContents {
    /// Its name.
    pub name: String,
    /// Manifests, those without a tag included; 0 if more of it is in an answer before.
    pub manifests: u64,
    /// Tags; 0 if more of it is in an answer before.
    pub tags: u64,
    /// The first 32 digits of each digest, in order, and the size in bytes.
    pub blobs: Vec<(String, u64)>,
    /// The names of the rules of quotas that are for it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
    /// Whether there are blobs whose size is not known.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub incomplete: bool,
}

/// How much of quotas is used.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct QuotasAnswer {
    /// In the order of the settings.
    pub quotas: Vec<QuotaUsage>,
}

/// How much of a quota is used, as pushes are admitted by it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct QuotaUsage {
    /// The name of the rule.
    pub name: String,
    /// The patterns of its repositories.
    pub repositories: String,
    /// How many bytes they may hold.
    pub bytes_limit: Option<u64>,
    /// How many tags they may have.
    pub tags_limit: Option<u64>,
    /// Bytes that were counted, and that were pushed since.
    pub bytes: u64,
    /// Tags that were counted, and that were pushed since.
    pub tags: u64,
    /// When the count began, in seconds since 1970 by the storage's clock; none if nothing has
    /// been counted yet.
    pub counted: Option<u64>,
    /// Whether there are more blobs than are counted.
    pub incomplete: bool,
}
