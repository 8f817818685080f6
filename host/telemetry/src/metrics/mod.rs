//! Metrics: what happens is counted in a [`Metrics`], and written as text for Prometheus.
//!
//! A process has one value of it, which all share by an [`Arc`]; nothing is global. [`GROUPS`] is
//! the table of what there is. Names that begin with `registry_` are distribution's
//! (`metrics/prometheus.go`, and docker/go-metrics for those of requests), so that its dashboards
//! and alerts go on working; ours begin with `roadstead_`.
//!
//! Every event is counted at one place. Where two families show the same, such as the counters
//! of both versions of distribution, one is derived from the other at the scrape.

mod cells;
mod debug;
mod families;
mod labels;
mod notifications;
mod output;
mod process;
mod readings;
mod recorded;
mod repositories;
mod status;

#[cfg(test)]
mod tests;

pub use crate::target::Handler;
pub use cells::Answered;
pub use debug::{Health, JSON, health};
pub use families::{Family, GROUPS, Group, Kind};
pub use labels::{
    Action, Cached, CollectionOutcome, CollectionStage, Direction, InstanceEnd, Login, Method,
    Refused, StorageFailure, StorageOperation,
};
pub use notifications::EndpointReading;
pub use prometheus::Error;
pub use readings::{CacheReading, Readings, Share};
pub use repositories::{REPOSITORIES_LIMIT, RepositoryUse};

use cells::Cells;
use families::{INSTANCES, UPLOADS};
use output::Output;
use recorded::Recorded;
use repositories::Repositories;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The media type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What does not change while the process runs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct About {
    /// The version of the program.
    pub version: String,
    /// The commit that it was built from.
    pub commit: String,
    /// The digest of the component, `sha256:…`.
    pub component: String,
    /// The kind of storage, as distribution names its drivers: `filesystem`, `s3aws`, `gcs` or
    /// `azure`.
    pub driver: String,
    /// How many repositories get series of their own, at most [`REPOSITORIES_LIMIT`]; 0 for none.
    pub repositories: usize,
}

/// How a run of garbage collection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CollectionRun {
    /// How it ended.
    pub outcome: CollectionOutcome,
    /// How long it took.
    pub time: Duration,
    /// Blobs that it removed.
    pub removed: u64,
    /// Their bytes.
    pub freed: u64,
}

/// All metrics of a process.
pub struct Metrics {
    cells: Cells,
    recorded: Recorded,
    uploads_purged: AtomicU64,
    repositories: Repositories,
}

/// A request that is in flight until this is dropped.
#[derive(Debug)]
pub struct InFlight {
    metrics: Arc<Metrics>,
    handler: Handler,
}

impl Metrics {
    /// Metrics without anything counted.
    ///
    /// # Errors
    /// If two families of the table contradict each other, which tests rule out.
    pub fn new(about: &About) -> Result<Arc<Self>, Error> {
        let recorded = Recorded::new(&about.driver)?;
        recorded.build([&about.commit, &about.component, &about.version])?;
        Ok(Arc::new(Self {
            cells: Cells::new(),
            recorded,
            uploads_purged: AtomicU64::new(0),
            repositories: Repositories::new(about.repositories),
        }))
    }

    /// Counts a request that was answered, or whose client has gone. Does not wait, and allocates
    /// only for the first request of its kind and method.
    pub fn answered(&self, answered: &Answered) {
        self.cells.answered(answered);
    }

    /// Counts a request as in flight. The result may be dropped on any thread.
    pub fn in_flight(self: &Arc<Self>, handler: Handler) -> InFlight {
        self.cells.in_flight(handler, 1);
        InFlight { metrics: Arc::clone(self), handler }
    }

    /// Counts bytes of bodies as they pass, so that a long transfer shows while it lasts. They
    /// are part of [`Answered::received`] and [`Answered::sent`] as well, which go into other
    /// metrics.
    pub fn transferred(&self, direction: Direction, bytes: u64) {
        self.cells.transferred(direction, bytes);
    }

    /// Counts a storage operation, and why it failed if that was no client's doing
    /// ([`StorageFailure::of`]).
    pub fn storage(
        &self,
        operation: StorageOperation,
        time: Duration,
        failure: Option<StorageFailure>,
    ) {
        self.recorded.storage(operation, time, failure);
    }

    /// An instance of the component was started.
    pub fn instance_started(&self) {
        self.recorded.instances_started.inc();
    }

    /// An instance of the component ended.
    pub fn instance_ended(&self, end: InstanceEnd) {
        self.recorded.instances_ended[end.index()].inc();
    }

    /// A request got its turn after it had to wait for one.
    pub fn waited(&self, time: Duration) {
        self.recorded.turn_wait.observe(time.as_secs_f64());
    }

    /// A request or a connection was refused.
    pub fn refused(&self, cause: Refused) {
        self.recorded.refused[cause.index()].inc();
    }

    /// A question about credentials was answered.
    pub fn login(&self, outcome: Login) {
        self.recorded.logins[outcome.index()].inc();
    }

    /// So many abandoned upload sessions were removed.
    pub fn uploads_purged(&self, sessions: u64) {
        self.uploads_purged.fetch_add(sessions, Ordering::Relaxed);
    }

    /// A run of garbage collection goes on, in this stage if it is known.
    pub fn collection_goes_on(&self, stage: Option<CollectionStage>) {
        self.recorded.collection.running.set(1.0);
        self.recorded.collection.stage(stage);
    }

    /// A run of garbage collection has ended, now.
    pub fn collection_ended(&self, run: &CollectionRun) {
        let collection = &self.recorded.collection;
        collection.runs[run.outcome.index()].inc();
        collection.removed.inc_by(run.removed);
        collection.freed.inc_by(run.freed);
        collection.last.set(now());
        collection.seconds.set(run.time.as_secs_f64());
        if run.outcome == CollectionOutcome::Done {
            collection.success.set(now());
        }
        collection.running.set(0.0);
        collection.stage(None);
    }

    /// No run was due, as another process did the last one, which did not fail.
    pub fn collection_not_due(&self) {
        self.recorded.collection.success.set(now());
        self.recorded.collection.running.set(0.0);
        self.recorded.collection.stage(None);
    }

    /// Counts what was done with a repository, if repositories have series of their own: call
    /// this only after a request that succeeded, or anyone can use up the places.
    pub fn repository(&self, name: &str, more: RepositoryUse) {
        self.repositories.add(name, more);
    }

    /// All metrics in Prometheus's text format, of type [`CONTENT_TYPE`].
    ///
    /// # Errors
    /// If a family is malformed, which tests rule out.
    pub fn render(&self, readings: &Readings) -> Result<Vec<u8>, Error> {
        let mut output = Output::new(self.recorded.registry.gather());
        self.cells.write(&mut output);
        output.counter(&UPLOADS, &["purged"], self.uploads_purged.load(Ordering::Relaxed));
        // Read in this order, it is not too low.
        let ended: u64 =
            self.recorded.instances_ended.iter().map(prometheus::IntCounter::get).sum();
        let started = self.recorded.instances_started.get();
        output.gauge(&INSTANCES, &[], started.saturating_sub(ended));
        self.repositories.write(&mut output);
        readings.write(&mut output);
        process::write(&mut output);
        Ok(output.text()?.into_bytes())
    }

    /// The answer of `/debug/vars`, of type [`JSON`]: of what distribution has there by Go's
    /// `expvar`, its own part. `registry.cache` is version 2's.
    pub fn debug_vars(&self, endpoints: &[EndpointReading]) -> Vec<u8> {
        let (hits, misses) = (self.cells.cached(Cached::Hit), self.cells.cached(Cached::Miss));
        let cache = json!({ "Requests": hits + misses, "Hits": hits, "Misses": misses });
        let vars = json!({ "registry": {
            "cache": { "storage": { "blobdescriptor": cache } },
            "notifications": notifications::vars(endpoints),
        } });
        vars.to_string().into_bytes()
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.metrics.cells.in_flight(self.handler, -1);
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
