//! How far a run has come, as it is stored between slices.

use super::Report;
use roadstead_oci::Digest;
use roadstead_storage::Cursor;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// How far a run has come.
#[expect(clippy::struct_excessive_bools, reason = "each is a finding of its own")]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) stage: Stage,
    /// How many parts of what is live are stored, by shard.
    pub(super) parts: BTreeMap<u8, u32>,
    /// How many parts of what is to be done are stored.
    pub(super) actions: u32,
    /// How many are in the last of them.
    pub(super) in_last: usize,
    /// Whether something was condemned when the run began.
    pub(super) marked: bool,
    /// Whether a blob is condemned.
    pub(super) condemned: bool,
    /// Whether a moved link was found.
    pub(super) moved: bool,
    /// Whether a manifest has come lately that Roadstead did not write.
    pub(super) foreign: bool,
    pub(super) report: Report,
}

/// What a run does next.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Stage {
    /// Reads what the manifests of a repository refer to, of those after a digest.
    Manifests {
        /// The repositories up to this one are done.
        done: Option<String>,
        /// The next one is done up to this manifest.
        within: Option<Digest>,
    },
    /// Reads manifests to which only indexes refer.
    Children {
        /// How often all shards were looked through.
        round: u32,
        /// The next shard.
        shard: u8,
        /// Whether this round found more of them.
        more: bool,
    },
    /// Decides about the blobs of a shard.
    Blobs {
        /// The next one.
        shard: u8,
    },
    /// Carries out a part of what is to be done.
    Act {
        /// The part.
        part: u32,
        step: Step,
    },
    /// Deletes what is left over.
    End,
}

impl Default for Stage {
    fn default() -> Self {
        Self::Manifests { done: None, within: None }
    }
}

/// A step of a part of what is to be done.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Step {
    /// Says of each blob what is about to happen.
    Announce {
        /// So many are done.
        done: usize,
        /// Blobs that stay as they are until the next run.
        left: BTreeSet<Digest>,
    },
    /// Moves links, gives them back, and looks for those that should not be there.
    Links {
        /// The repositories up to this one are done.
        done: Option<String>,
        /// Of the next one, moved links up to this place are done, and layer links are.
        within: Option<Cursor>,
        left: BTreeSet<Digest>,
        /// Blobs that a repository links again.
        linked: BTreeSet<Digest>,
    },
    /// Says of each blob what has happened.
    Conclude {
        /// So many are done.
        done: usize,
        left: BTreeSet<Digest>,
        linked: BTreeSet<Digest>,
    },
    /// Removes blobs.
    Remove {
        /// So many are done.
        done: usize,
        left: BTreeSet<Digest>,
        linked: BTreeSet<Digest>,
    },
    /// Deletes the tombstones of what was removed.
    Tombstones {
        /// So many are done.
        done: usize,
    },
}

impl Step {
    /// The first one of a part.
    pub(super) fn first() -> Self {
        Self::Announce { done: 0, left: BTreeSet::new() }
    }
}

impl Stage {
    /// The name of it for people.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Manifests { .. } | Self::Children { .. } => "manifests",
            Self::Blobs { .. } => "blobs",
            Self::Act { step: Step::Remove { .. } | Step::Tombstones { .. }, .. } => "removal",
            Self::Act { .. } => "links",
            Self::End => "end",
        }
    }
}
