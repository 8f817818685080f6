//! A run, and its slices.

use super::lease::{LEASE, Records, Stopwatch};
use super::live::{Found, lost};
use super::names;
use super::pace::Pace;
use super::state::{Act, Phase, Stage, State};
use super::{Progress, SliceOptions};
use crate::store::Store;
use bytes::Bytes;
use roadstead_access::Times;
use roadstead_bridge::log;
use roadstead_oci::Digest;
use roadstead_storage::{Entry, Key, Pages, Record, Storage, StorageError};
use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};
use uuid::Uuid;

/// How many objects are listed in one operation.
///
/// Limit: objects that a collector lists in one operation; test: none, more are listed in steps.
pub(super) const PAGE: usize = 1000;

/// How old a look may be when something is removed because of it.
///
/// Limit: age of a collector's last look; test: none, it takes a store that is slow.
pub(crate) const LOOK_VALID: Duration = Duration::from_secs(5);

/// How many objects with events that nobody takes are removed at once.
///
/// Limit: objects with events that a collector removes in one step; test: none, more are removed in
/// steps.
const EVENTS: usize = 100;

/// How many bytes that are read or written count as one more operation: at the default
/// rate, 3.1 MiB in a second.
///
/// Limit: bytes that count as an operation of garbage collection; test: `bytes_are_spent_too`.
const BYTES: u64 = 64 * 1024;

/// How many reports are kept, and as many of runs that ended early.
///
/// Limit: reports of garbage collection that are kept; test: `reports_are_kept`.
const REPORTS: usize = 100;

/// How much a report says of why a run ended early: an answer has many reports.
///
/// Limit: characters of the cause in the report of a run that ended early; test: none, causes are shorter.
const CAUSE: usize = 300;

/// A slice of a run.
pub(super) struct Run<'a, S> {
    pub(super) store: &'a Store<S>,
    pub(super) order: &'a SliceOptions,
    pub(super) id: u128,
    /// Sets this slice apart from others, also of the same run.
    pub(super) slice: u128,
    /// When the run began, by the clock of the storage.
    pub(super) begun: SystemTime,
    /// When this slice began, by the same clock.
    pub(super) now: SystemTime,
    /// How fast it goes, since the same moment by the clocks of this process.
    pub(super) pace: Pace,
    /// When the lease was renewed.
    pub(super) renewed: Stopwatch,
    /// Operations of the storage.
    pub(super) spent: u32,
    pub(super) state: State,
    pub(super) found: Found,
    /// How long the next slice has nothing to do.
    pub(super) wait: Duration,
    /// Whether the marker has been written or seen.
    pub(super) marked: bool,
    /// Manifests of the current repository that would be gone.
    pub(super) left_out: Option<BTreeSet<Digest>>,
    /// By what times tags expire by their pulls, once that was looked up.
    pub(super) by_pulls: Option<Times>,
}

impl<S: Storage> Store<S> {
    /// Does a slice of a run: about as many operations of the storage as its order
    /// says, and one step at least.
    ///
    /// # Errors
    /// Any error of the storage ends the run; what it has found so far is forgotten,
    /// so that nothing is done by partial evidence.
    pub(crate) async fn collect(&self, order: &SliceOptions) -> Result<Progress, StorageError> {
        let adopted =
            if order.adopt && order.run.is_none() { self.leaseholder().await? } else { None };
        let Some(id) = order.run.or(adopted) else {
            return match self.begin_run(order).await? {
                Ok(run) => run.slice().await,
                Err(progress) => Ok(progress),
            };
        };
        match self.resume(order, id).await {
            Ok(Ok(run)) => run.slice().await,
            Ok(Err(progress)) => Ok(progress),
            Err(error) => {
                self.give_up(id).await;
                Err(error)
            }
        }
    }

    /// Lets another run begin, if the lease is of this one: says whether it was.
    async fn give_up(&self, id: u128) -> bool {
        if self.leaseholder().await.ok().flatten() != Some(id) {
            return false;
        }
        let _ = self.storage.delete(&Key::Record(Record::Lease)).await;
        self.forget(id).await;
        true
    }

    async fn begin_run<'a>(
        &'a self,
        order: &'a SliceOptions,
    ) -> Result<Result<Run<'a, S>, Progress>, StorageError> {
        let id = Uuid::new_v4().as_u128();
        let begun = Key::Record(Record::Begun(id));
        let (now, records) = self.clock(id).await?;
        // What is of the future, by a clock that was wrong, says nothing.
        let rest = |since: SystemTime, limit: Duration| {
            now.duration_since(since).ok().and_then(|age| limit.checked_sub(age))
        };
        let last = records.reports.iter().map(|(_, time)| *time).max();
        // What an operator asks for begins at once.
        let due = last.filter(|_| !order.exclusive && !order.dry_run && order.undo.is_none());
        let wait = match records.lease.and_then(|lease| rest(lease, LEASE)) {
            Some(wait) if !order.exclusive => Some(wait),
            _ => due.and_then(|last| rest(last, order.interval)),
        };
        if let Some(wait) = wait {
            self.storage.delete(&begun).await?;
            return Ok(Err(Progress::NotDue { seconds: wait.as_secs() + 1 }));
        }
        let SliceOptions { dry_run, exclusive, undo, .. } = *order;
        let mut state = State { dry_run, exclusive, undo, ..State::default() };
        let marked = records.marker.and_then(|marker| now.duration_since(marker).ok());
        state.untagged.age = order.untagged.map(|age| age.as_secs());
        state.marked = marked.map(|age| age.as_secs());
        state.report.run = format!("{id:032x}");
        state.report.begun = seconds(now);
        state.report.dry_run = dry_run;
        state.report.undone = undo.map(|run| format!("{run:032x}"));
        if undo.is_some() {
            // What is condemned, or was taken away, says which run did it.
            state.stage = Stage::Untagged { done: None, within: None };
        }
        let run = self.slice_of(order, id, now, now, state);
        self.take_lease(&run).await?;
        if !self.has_lease(&run).await? {
            self.storage.delete(&begun).await?;
            return Ok(Err(Progress::NotDue { seconds: LEASE.as_secs() }));
        }
        // Of runs that died.
        let old =
            |time| now.duration_since(time).is_ok_and(|age| age > (2 * order.grace).max(LEASE));
        for (run, time, record) in records.of_runs {
            if run != id && old(time) {
                self.storage.delete(&Key::Record(record)).await?;
            }
        }
        Ok(Ok(run))
    }

    async fn resume<'a>(
        &'a self,
        order: &'a SliceOptions,
        id: u128,
    ) -> Result<Result<Run<'a, S>, Progress>, StorageError> {
        let state = match self.storage.read(&Key::Record(Record::State(id))).await {
            Err(StorageError::NotFound) => return Ok(Err(Progress::NotDue { seconds: 0 })),
            other => other?,
        };
        if self.leaseholder().await? != Some(id) {
            return Ok(Err(Progress::NotDue { seconds: LEASE.as_secs() }));
        }
        let state: State = serde_json::from_slice(&state).map_err(|error| {
            StorageError::Failed(format!("the state of run {id:032x}: {error}"))
        })?;
        let kind = (order.dry_run, order.exclusive, order.undo);
        if (state.dry_run, state.exclusive, state.undo) != kind {
            // It goes on as what it is.
            return Ok(Err(Progress::NotDue { seconds: LEASE.as_secs() }));
        }
        let mut run =
            self.slice_of(order, id, SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH, state);
        self.take_lease(&run).await?;
        (run.begun, run.now) = self.times(id).await?;
        Ok(Ok(run))
    }

    pub(super) fn slice_of<'a>(
        &'a self,
        order: &'a SliceOptions,
        id: u128,
        begun: SystemTime,
        now: SystemTime,
        state: State,
    ) -> Run<'a, S> {
        Run {
            store: self,
            order,
            id,
            slice: Uuid::new_v4().as_u128(),
            begun,
            now,
            pace: Pace::new(order.pace),
            renewed: Stopwatch::start(),
            spent: 5,
            state,
            found: Found::default(),
            wait: Duration::ZERO,
            marked: false,
            left_out: None,
            by_pulls: None,
        }
    }
}

impl<S: Storage> Run<'_, S> {
    /// Does a slice. If that fails, the run ends, and says in a report what it has done.
    async fn slice(mut self) -> Result<Progress, StorageError> {
        let result = match self.in_time() {
            Ok(()) => self.steps().await,
            Err(error) => Err(error),
        };
        if let Err(error) = &result
            && self.store.give_up(self.id).await
            && !self.order.dry_run
        {
            let cause = error.cause().map_or_else(|| format!("{error:?}"), str::to_owned);
            let safe = |of: char| if of.is_ascii_graphic() || of == ' ' { of } else { '?' };
            self.state.report.failure = Some(cause.chars().take(CAUSE).map(safe).collect());
            // The error that is returned is that of the slice.
            let _ = self.keep_report(Record::Failure(self.id)).await;
        }
        result
    }

    /// Does steps until the slice has used its share, or has to wait.
    async fn steps(&mut self) -> Result<Progress, StorageError> {
        loop {
            let before = self.spent;
            if self.step().await? {
                return self.end().await;
            }
            // Each step counts, also one that finds nothing to do.
            self.spent = self.spent.max(before + 1);
            if self.spent >= self.order.budget || !self.wait.is_zero() {
                break;
            }
        }
        self.store_found().await?;
        if !self.store.has_lease(self).await? {
            // Another slice of the same run goes on, or another run.
            return Ok(Progress::NotDue { seconds: LEASE.as_secs() });
        }
        self.state.report.operations += u64::from(self.spent);
        let state = serde_json::to_vec(&self.state);
        let state = state.map_err(|error| StorageError::Failed(error.to_string()))?;
        self.store.storage.write(&Key::Record(Record::State(self.id)), state.into()).await?;
        Ok(Progress::Running {
            run: format!("{:032x}", self.id),
            stage: self.state.stage.name().to_owned(),
            percent: self.percent(),
            operations: self.spent,
            wait: u64::try_from(self.wait.as_millis()).unwrap_or(u64::MAX),
        })
    }

    /// Does one step. `true` says that the run has ended.
    async fn step(&mut self) -> Result<bool, StorageError> {
        match self.state.stage.clone() {
            Stage::Manifests { done, within } => self.manifests(done, within).await?,
            Stage::Children { shard, more } => self.children(shard, more).await?,
            Stage::Tags { done, within } => self.expire_tags(done, within).await?,
            Stage::Untagged { done, within } => self.untagged(done, within).await?,
            Stage::Blobs { shard } => self.blobs(shard).await?,
            Stage::Act(act) => self.act(act).await?,
            // Of what is left now.
            Stage::End => return Ok(!self.drop_events().await? && self.count_quotas().await?),
        }
        Ok(false)
    }

    /// Removes some of the events that nobody has taken for long. `true` says that there may be more.
    async fn drop_events(&mut self) -> Result<bool, StorageError> {
        if !self.store.leaves_events || self.order.dry_run {
            return Ok(false);
        }
        self.alive().await?;
        let dropped = match self.store.drop_events(self.now, EVENTS).await {
            Ok(dropped) => dropped,
            Err(error) => {
                // The run has done all else.
                let line = format!("old events of notifications are left in the storage: {error}");
                eprintln!("{}", log::error(&line));
                0
            }
        };
        self.state.report.dropped_events += dropped as u64;
        self.spend(2 + u32::try_from(dropped).unwrap_or(u32::MAX), 0);
        self.keep_pace().await;
        Ok(dropped >= EVENTS)
    }

    fn percent(&self) -> u8 {
        let shards = |shard: u8| shard.saturating_mul(6);
        match &self.state.stage {
            Stage::Manifests { done: Some(name), .. }
            | Stage::Tags { done: Some(name), .. }
            | Stage::Untagged { done: Some(name), .. } => names::percent(name),
            Stage::Manifests { .. } | Stage::Tags { .. } | Stage::Untagged { .. } => 0,
            Stage::Children { .. } => 99,
            Stage::Blobs { shard } => shards(*shard),
            Stage::Act(Act { part, phase, .. }) => {
                let done = u64::from(*part) * 100 / u64::from(self.state.actions.max(1));
                let more = u8::from(*phase != Phase::Announce);
                u8::try_from(done).unwrap_or(99).saturating_add(more).min(99)
            }
            Stage::End => 100,
        }
    }

    /// Deletes what is left over of this run, and writes the report. The marker stays:
    /// another collector may have relied on it a moment ago.
    async fn end(&mut self) -> Result<Progress, StorageError> {
        // Where nobody else uses the storage, it changes nothing.
        self.state.report.foreign = self.state.foreign && !self.order.exclusive;
        if self.order.dry_run {
            self.state.report.operations += u64::from(self.spent);
        } else {
            self.keep_report(Record::Report(self.id)).await?;
        }
        self.store.forget(self.id).await;
        self.store.storage.delete(&Key::Record(Record::Lease)).await?;
        Ok(Progress::Done { report: Box::new(self.state.report.clone()) })
    }

    /// Stores the report, and deletes the oldest ones of its kind.
    async fn keep_report(&mut self, record: Record) -> Result<(), StorageError> {
        let storage = &self.store.storage;
        let Records { reports, failures, .. } = self.store.records().await?;
        self.state.report.operations += u64::from(self.spent);
        let report = serde_json::to_vec(&self.state.report);
        let report = report.map_err(|error| StorageError::Failed(error.to_string()))?;
        storage.write(&Key::Record(record.clone()), report.into()).await?;
        let (mut kept, of): (_, fn(u128) -> Record) = match record {
            Record::Failure(_) => (failures, Record::Failure),
            _ => (reports, Record::Report),
        };
        kept.sort_unstable_by_key(|(_, time)| std::cmp::Reverse(*time));
        for (run, _) in kept.iter().skip(REPORTS - 1) {
            storage.delete(&Key::Record(of(*run))).await?;
        }
        Ok(())
    }

    /// The next page of a collection.
    pub(super) async fn next(
        &mut self,
        pages: &mut Pages<'_>,
    ) -> Result<Option<Vec<Entry>>, StorageError> {
        self.spent += 1;
        pages.next(&self.store.storage).await
    }

    /// The bytes of a record of this run.
    pub(super) async fn record(&mut self, record: Record) -> Result<Bytes, StorageError> {
        let found = self.store.storage.read(&Key::Record(record)).await;
        let bytes = found.map_err(|error| lost(error, "what it was about to do"))?;
        self.spend(1, bytes.len() as u64);
        Ok(bytes)
    }

    /// Counts operations that have read or written so many bytes.
    pub(super) fn spend(&mut self, operations: u32, bytes: u64) {
        let more = u32::try_from(bytes / BYTES).unwrap_or(u32::MAX);
        self.spent = self.spent.saturating_add(operations).saturating_add(more);
    }

    /// Fails if what the run has found is too old to act upon.
    pub(super) fn in_time(&self) -> Result<(), StorageError> {
        let age = self.now.duration_since(self.begun).unwrap_or_default() + self.pace.elapsed();
        if age <= self.order.valid || self.order.exclusive {
            return Ok(());
        }
        Err(StorageError::Unavailable(format!(
            "the run has taken {} s, more than half of the grace time; raise \
             REGISTRY_STORAGE_MAINTENANCE_GC_GRACE or _RATE. The next run is faster, since it knows \
             the manifests that this one has read",
            age.as_secs()
        )))
    }

    /// Spreads the operations of a slice over its time, so that clients do not wait for
    /// all of them at once.
    pub(super) async fn keep_pace(&mut self) {
        let rest = self.pace.rest(self.spent);
        if !rest.is_zero() {
            self.store.storage.pause(rest).await;
        }
    }

    /// How many items are dealt with at once, each of which takes so many operations.
    pub(super) fn at_once(&self, most: usize, operations: u32) -> usize {
        self.pace.at_once(self.spent, most, operations)
    }

    /// Whether this slice has used its share.
    pub(super) fn is_spent(&self) -> bool {
        self.spent >= self.order.budget
    }

    /// How much older than the beginning of the run something is.
    pub(super) fn age(&self, time: SystemTime) -> Duration {
        self.begun.duration_since(time).unwrap_or_default()
    }
}

/// Seconds since 1970.
pub(super) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}
