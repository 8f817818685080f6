//! How far a run has come, as it is stored between slices.

use super::Report;
use roadstead_oci::Digest;
use roadstead_storage::Cursor;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// How far a run has come.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct State {
    pub(super) stage: Stage,
    /// How many parts of what is live are stored, by shard.
    pub(super) parts: BTreeMap<u8, u32>,
    /// How many parts of what is to be done are stored.
    pub(super) actions: u32,
    /// How many are in the last of them.
    pub(super) in_last: usize,
    pub(super) dry_run: bool,
    pub(super) exclusive: bool,
    pub(super) untagged: Untagged,
    /// The run that is undone.
    pub(super) undo: Option<u128>,
    /// For how many seconds something had been condemned when the run began.
    pub(super) marked: Option<u64>,
    /// Whether a manifest has come lately that Roadstead did not write.
    pub(super) foreign: bool,
    /// For how many rules of quotas it was counted again.
    pub(super) quotas: usize,
    pub(super) report: Report,
}

/// What is known of manifests to which nothing leads.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Untagged {
    /// How many seconds old one is when it is deleted, if it is at all.
    pub(super) age: Option<u64>,
    /// Whether some were deleted, so that the rest is marked again where nobody else uses
    /// the storage.
    pub(super) freed: bool,
    /// Whether the rest is marked again.
    pub(super) again: bool,
    /// Whether more may be restored than is known, so that nothing is removed.
    pub(super) holds_all: bool,
}

/// What a run does next.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Stage {
    /// Reads what the manifests of a repository refer to, of those after a digest.
    Manifests {
        /// The repositories up to this one are done.
        done: Option<String>,
        /// This one is done up to this manifest.
        within: Option<(String, Digest)>,
    },
    /// Reads manifests to which only indexes refer.
    Children {
        /// The next shard.
        shard: u8,
        /// Whether this round over all shards found more of them.
        more: bool,
    },
    /// Removes the tags of a repository that have expired.
    Tags {
        /// The repositories up to this one are done.
        done: Option<String>,
        /// This one is done up to this tag.
        within: Option<(String, String)>,
    },
    /// Deletes the manifests of a repository to which nothing leads.
    Untagged {
        /// The repositories up to this one are done.
        done: Option<String>,
        /// This one is done up to this manifest.
        within: Option<(String, Digest)>,
    },
    /// Decides about the blobs of a shard.
    Blobs {
        /// The next one.
        shard: u8,
    },
    /// Carries out a part of what is to be done.
    Act(Act),
    /// Deletes what is left over.
    End,
}

impl Default for Stage {
    fn default() -> Self {
        Self::Manifests { done: None, within: None }
    }
}

/// How far a part of what is to be done is carried out.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Act {
    /// The part.
    pub(super) part: u32,
    pub(super) phase: Phase,
    /// So many actions are done in this phase.
    pub(super) done: usize,
    /// The links of repositories up to this one are done.
    pub(super) repository: Option<String>,
    /// Of this one, layer links are done, and moved links up to this place.
    pub(super) within: Option<(String, Cursor)>,
    /// Blobs that stay as they are until the next run.
    pub(super) left: BTreeSet<Digest>,
    /// Blobs that a repository links again.
    pub(super) linked: BTreeSet<Digest>,
}

/// What is done with a part of the actions, in this order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Phase {
    /// To say of each blob what is about to happen.
    #[default]
    Announce,
    /// To move links, to give them back, and to look for those that should not be
    /// there, in each repository.
    Links,
    /// To say of each blob what has happened.
    Conclude,
    /// To remove blobs.
    Remove,
    /// To delete the tombstones of what was removed.
    Tombstones,
}

impl Act {
    /// The beginning of a part.
    pub(super) fn new(part: u32) -> Self {
        Self { part, ..Self::default() }
    }

    /// Goes on with the next phase. `false` if this was the last one.
    pub(super) fn advance(&mut self) -> bool {
        self.done = 0;
        self.phase = match self.phase {
            Phase::Announce => Phase::Links,
            Phase::Links => Phase::Conclude,
            Phase::Conclude => Phase::Remove,
            Phase::Remove => Phase::Tombstones,
            Phase::Tombstones => return false,
        };
        true
    }
}

impl Stage {
    /// The name of it for people.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Manifests { .. } | Self::Children { .. } => "manifests",
            Self::Tags { .. } => "tags",
            Self::Untagged { .. } => "untagged",
            Self::Blobs { .. } => "blobs",
            Self::Act(Act { phase: Phase::Remove | Phase::Tombstones, .. }) => "removal",
            Self::Act(_) => "links",
            Self::End => "end",
        }
    }
}
