//! Garbage collection in slices. `docs/collection.md` has the protocol.
//!
//! A run goes through these stages, each of them in steps: `manifests` reads what
//! manifests refer to, `tags` removes tags that have expired, `untagged` deletes those to which nothing leads, `blobs` decides about each blob, `links` moves the links of
//! what is condemned and gives back those of what is needed, `removal` removes what
//! has been condemned for long enough. What a slice has found is stored at its end
//! ([`roadstead_storage::Record`]), so that any instance can do the next.

mod act;
mod blobs;
mod contents;
mod counting;
mod decisions;
mod found;
mod lease;
mod links;
mod live;
mod manifests;
mod names;
mod pace;
mod parts;
mod queries;
mod references;
mod removal;
mod run;
mod sizes;
mod state;
mod tags;
mod untagged;

pub(crate) use counting::{CountOrder, LOOKED_UP_BY_PUSH};
pub(crate) use decisions::Objects;
pub(crate) use lease::Stopwatch;
pub(crate) use names::percent as percent_of_names;
pub(crate) use references::References;
pub use removal::TOMBSTONE_KEPT;
pub use roadstead_bridge::collect::{Progress, Report};
pub(crate) use run::LOOK_VALID;
use std::time::Duration;

/// What one slice of a run is to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SliceOptions {
    /// The run that goes on; `None` begins one.
    pub run: Option<u128>,
    /// If no run is named: whether the one that has the lease goes on. Its process may
    /// have died.
    pub adopt: bool,
    /// How long a client may rely on an answer. Content that is younger is no
    /// candidate.
    pub grace: Duration,
    /// How long condemned content is kept.
    pub keep: Duration,
    /// A run begins only if the last one began longer ago.
    pub interval: Duration,
    /// How old a run may become before it ends without having done everything.
    pub valid: Duration,
    /// How long the tombstone of a removed blob stays.
    pub settled: Duration,
    /// Whether nothing is condemned, given back or removed.
    pub dry_run: bool,
    /// How old a manifest to which nothing leads is when it is deleted; `None` keeps it.
    /// The first slice of a run decides.
    pub untagged: Option<Duration>,
    /// Whether nobody else uses the storage, so that nothing is waited for.
    pub exclusive: bool,
    /// The run that is undone: the blobs that it condemned, the tags that it removed and the
    /// manifests that it deleted as untagged come back, and nothing else is done.
    pub undo: Option<u128>,
    /// The time that an operation of the storage takes at least, on average: zero where
    /// nobody else uses the storage.
    pub pace: Duration,
    /// About how many operations of the storage the slice may take.
    pub budget: u32,
}
