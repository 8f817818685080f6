//! Garbage collection, slice by slice. The component does a slice for each
//! request to its route; the native host sends such requests itself, and is
//! known by the header [`OVERRIDES`], which no client can send (see
//! [`crate::client`]). The response's body is a [`Progress`].

use http::HeaderName;
use serde::{Deserialize, Serialize};

/// The header of the host's own requests: [`Overrides`] as JSON.
pub const OVERRIDES: HeaderName = HeaderName::from_static("x-roadstead-collect");

/// The path of the route.
pub const PATH: &str = "/v2/_roadstead/collect";

/// The path at which the reports of former runs are: a [`ReportsAnswer`].
pub const REPORTS: &str = "/v2/_roadstead/collect/reports";

/// The path at which is how much repositories hold: a [`UsageAnswer`]. Its parameter
/// `last` is the repository after which the answer begins.
pub const USAGE: &str = "/v2/_roadstead/collect/usage";

/// The path at which is which runs can be undone, for as long as it is known what they moved away.
pub const TRASH: &str = "/v2/_roadstead/collect/trash";

/// What the path begins with at which is why a blob is there, a [`WhyAnswer`]; the rest
/// is the digest. It has the same parameter.
pub const WHY: &str = "/v2/_roadstead/collect/why/";

/// What the host orders otherwise than the settings say. Times are in
/// milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Overrides {
    /// How long a client may rely on an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace: Option<u64>,
    /// How long condemned content is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep: Option<u64>,
    /// How long ago the last run must have begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<u64>,
    /// How old a run may become; half of the grace time by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid: Option<u64>,
    /// How long the tombstone of a removed blob stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settled: Option<u64>,
    /// Operations of the storage that a slice may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<u32>,
    /// Whether nobody else uses the storage, so that nothing is waited for.
    pub exclusive: bool,
    /// If no run is named: whether the one that has the lease goes on.
    pub adopt: bool,
}

/// The body of a request. Without it, a run begins if one is due.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SliceRequest {
    /// The run that goes on, as 32 hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// Whether nothing is to be condemned, given back or removed.
    pub dry_run: bool,
    /// Deletes manifests that nothing leads to, if their links are at least so many
    /// seconds old, whatever the settings say. For the first request of a run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub untagged: Option<u64>,
    /// The run that is undone, as 32 hexadecimal digits: the blobs that it condemned, the tags
    /// that it removed and the manifests that it deleted as untagged come back, and nothing else
    /// is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undo: Option<String>,
}

/// How far a run has come after a slice.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "status")]
pub enum Progress {
    /// The run goes on with another slice.
    Running {
        /// The run, as 32 hexadecimal digits.
        run: String,
        /// What it does: `manifests`, `tags`, `untagged`, `blobs`, `links`, `removal` or `end`.
        stage: String,
        /// How much of this stage is done, from 0 to 100.
        percent: u8,
        /// Operations of the storage that the slice took.
        operations: u32,
        /// Milliseconds after which the next slice can do something.
        wait: u64,
    },
    /// The run has ended.
    Done {
        /// What it has done.
        report: Box<Report>,
    },
    /// Another run goes on, or the last one began less than the interval ago.
    NotDue {
        /// Seconds until it may be asked again.
        seconds: u64,
    },
}

/// What a run has done, or would do.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// The run, as 32 hexadecimal digits.
    pub run: String,
    /// Seconds since 1970, by the clock of the storage.
    pub begun: u64,
    /// Whether it only looked.
    pub dry_run: bool,
    /// The run that it undid, as 32 hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undone: Option<String>,
    /// Repositories that were read.
    pub repositories: u64,
    /// Manifests in them.
    pub manifests: u64,
    /// Tags that had expired, and that the run removed.
    pub expired: u64,
    /// Tags that have expired, and stay, as `policy.retention.dryrun` is set.
    pub expiring: u64,
    /// The first of either as `<name>:<tag>`, if they were only looked at.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub expired_tags: Vec<String>,
    /// Tags that were removed as expired, and are there again.
    pub restored_tags: u64,
    /// Objects with events of notifications that were removed, as nobody has taken them for a week.
    pub dropped_events: u64,
    /// Manifests that nothing led to, and that the run deleted.
    pub untagged: u64,
    /// Their bytes, without what they refer to.
    pub untagged_bytes: u64,
    /// The first of them as `<name>@<digest>`, if it only looked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub eligible: Vec<String>,
    /// Manifests that were deleted as nothing led to them, and are needed again.
    pub restored: u64,
    /// The first of the repositories of which it is not known to which manifests nothing
    /// leads: there are too many, or a tag is damaged.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub passed_over: Vec<String>,
    /// Whether another registry has written to the storage lately, so that nothing is
    /// deleted or removed.
    pub foreign: bool,
    /// Blobs in the storage.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Blobs that nothing refers to, seen for the first time or not long ago.
    pub sighted: u64,
    /// Their bytes.
    pub sighted_bytes: u64,
    /// Blobs that this run condemned.
    pub condemned: u64,
    /// Their bytes.
    pub condemned_bytes: u64,
    /// Blobs that are condemned and kept for now.
    pub kept: u64,
    /// Their bytes.
    pub kept_bytes: u64,
    /// Blobs that were condemned and are needed again.
    pub given_back: u64,
    /// Blobs that were removed.
    pub removed: u64,
    /// Their bytes: what came back.
    pub removed_bytes: u64,
    /// Operations of the storage.
    pub operations: u64,
    /// Why it ended early, if it did. What it has done by then is counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// The reports of former runs.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ReportsAnswer {
    /// The last one first.
    pub reports: Vec<Report>,
}

/// How much repositories hold.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct UsageAnswer {
    /// In lexical order.
    pub repositories: Vec<RepositoryUsage>,
    /// The last of them, unless there are none: the next answer may have more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// How much a repository holds. What several hold is counted in each of them.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct RepositoryUsage {
    /// Its name.
    pub name: String,
    /// Manifests, those without a tag included.
    pub manifests: u64,
    /// Different blobs: these manifests, and what they refer to.
    pub blobs: u64,
    /// Their bytes, by what the manifests say.
    pub bytes: u64,
    /// Links to blobs that no manifest of the repository needs.
    pub unneeded: u64,
    /// Whether there are more blobs than were counted.
    #[serde(default)]
    pub incomplete: bool,
}

/// Why a blob is there.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct WhyAnswer {
    /// What is known of the blob itself, in the first answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blob: Option<BlobState>,
    /// Repositories that have something to do with it, in lexical order.
    pub repositories: Vec<WhyRepository>,
    /// The last repository that was searched, unless there are none left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What is known of a blob. Times are in seconds since 1970, by the storage's clock.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct BlobState {
    /// Its size in bytes; none if the storage does not have its data.
    pub size: Option<u64>,
    /// When its data was written.
    pub written: Option<u64>,
    /// If it is condemned: `condemned`, `unlinked` or `removing`; or `suspect`, if a scrub is
    /// about to move its data away.
    pub state: Option<String>,
    /// Since when it is in this state.
    pub since: Option<u64>,
    /// The run that did that, as 32 hexadecimal digits.
    pub run: Option<String>,
    /// When somebody needed it although it was condemned.
    pub needed: Option<u64>,
    /// When a run first saw that nothing refers to it.
    pub sighted: Option<u64>,
}

/// What a repository has to do with a blob.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct WhyRepository {
    /// Its name.
    pub name: String,
    /// Whether it links to the blob. A link alone does not keep a blob.
    pub linked: bool,
    /// Whether its link was moved, as the blob is condemned.
    pub moved: bool,
    /// The run that deleted the manifest here, as nothing led to it: 32 hexadecimal
    /// digits. It can still be restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub untagged: Option<String>,
    /// How many manifests keep the blob.
    pub count: u64,
    /// The first of them.
    pub holders: Vec<Holder>,
}

/// A manifest that keeps a blob.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Holder {
    /// Its digest: the blob's own, if the blob is the manifest.
    pub manifest: String,
    /// The index by which alone the repository has this manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<String>,
    /// Some tags that lead to it, or to the index.
    pub tags: Vec<String>,
}
