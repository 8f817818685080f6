//! Garbage collection in slices. `docs/collection.md` has the protocol.
//!
//! A run goes through these stages, each of them in steps: `manifests` reads what
//! manifests refer to, `blobs` decides about each blob, `links` moves the links of
//! what is condemned and gives back those of what is needed, `removal` removes what
//! has been condemned for long enough. What a slice has found is stored at its end
//! ([`roadstead_storage::Record`]), so that any instance can do the next.

mod blobs;
mod links;
mod live;
mod manifests;
mod references;
mod removal;
mod run;
mod state;

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What one slice of a run is to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Order {
    /// The run that goes on; `None` begins one.
    pub run: Option<u128>,
    /// How long a client may rely on an answer. Content that is younger is no
    /// candidate.
    pub grace: Duration,
    /// How long condemned content is kept.
    pub keep: Duration,
    /// A run begins only if the last one began longer ago.
    pub interval: Duration,
    /// Whether nothing is condemned, given back or removed.
    pub dry_run: bool,
    /// Whether nobody else uses the storage, so that nothing is waited for.
    pub alone: bool,
    /// About how many operations of the storage the slice may take.
    pub budget: u32,
}

/// How far a run has come after a slice.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "status")]
pub enum Progress {
    /// The run goes on with another slice.
    Running {
        /// The run, as 32 hexadecimal digits.
        run: String,
        /// What it does: `manifests`, `blobs`, `links`, `removal` or `end`.
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
        report: Report,
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
    /// Repositories that were read.
    pub repositories: u64,
    /// Manifests in them.
    pub manifests: u64,
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
}
