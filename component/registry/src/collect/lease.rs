//! Which run goes on, and what is stored of runs.

use super::run::{PAGE, Run};
use bytes::Bytes;
use roadstead_storage::{Collection, Cursor, Key, Pages, Record, Storage, StorageError};
use std::time::{Duration, Instant, SystemTime};

use crate::store::Store;

/// After what time without a slice a run is taken to have died.
///
/// Limit: time after which another run takes the lease of one that died; test: `one_run_at_a_time`.
pub(super) const LEASE: Duration = Duration::from_mins(10);

/// After what time a slice renews its lease.
///
/// Limit: age of a lease that a slice renews; test: none, it takes a slice that is slow.
const LEASE_RENEWED: Duration = Duration::from_mins(1);

/// Measures time by a clock that stops while a process is frozen, and by one that may
/// be set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch(Instant, SystemTime);

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self(Instant::now(), SystemTime::now())
    }

    /// How long ago it was started, by the clock by which that is longer.
    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed().max(self.1.elapsed().unwrap_or_default())
    }
}

/// What the records say about runs.
#[derive(Default)]
pub(crate) struct Records {
    pub(super) lease: Option<SystemTime>,
    pub(crate) marker: Option<SystemTime>,
    pub(crate) begun: Vec<(u128, SystemTime)>,
    pub(super) reports: Vec<(u128, SystemTime)>,
    pub(super) failures: Vec<(u128, SystemTime)>,
    /// Records of runs, with their times: the first [`PAGE`] of them.
    pub(super) of_runs: Vec<(u128, SystemTime, Record)>,
}

impl Records {
    fn add(&mut self, record: Record, modified: SystemTime) {
        match &record {
            Record::Lease => self.lease = Some(modified),
            Record::Marker => self.marker = Some(modified),
            Record::Begun(run) => self.begun.push((*run, modified)),
            Record::Report(run) => self.reports.push((*run, modified)),
            Record::Failure(run) => self.failures.push((*run, modified)),
            _ => {}
        }
        if let Some(run) = record.run().filter(|_| self.of_runs.len() < PAGE) {
            self.of_runs.push((run, modified, record));
        }
    }
}

impl<S: Storage> Store<S> {
    /// Reads which records there are.
    pub(crate) async fn records(&self) -> Result<Records, StorageError> {
        let mut records = Records::default();
        let mut pages = Pages::new(&Collection::Records, None, PAGE);
        while let Some(entries) = pages.next(&self.storage).await? {
            for entry in entries {
                if let Key::Record(record) = entry.key {
                    records.add(record, entry.modified);
                }
            }
        }
        Ok(records)
    }

    /// The time by the storage's clock, as the record that a run `id` has begun, and all
    /// records as they are then.
    pub(crate) async fn clock(&self, id: u128) -> Result<(SystemTime, Records), StorageError> {
        self.storage.write(&Key::Record(Record::Begun(id)), Bytes::new()).await?;
        let records = self.records().await?;
        let now = records.begun.iter().find(|(run, _)| *run == id).map(|(_, time)| *time);
        let now = now.ok_or_else(|| {
            StorageError::Failed("a list does not show what was written".to_owned())
        })?;
        Ok((now, records))
    }

    /// Deletes the records of a run that has ended, as far as possible.
    pub(super) async fn forget(&self, id: u128) {
        let mut pages = Pages::new(&Collection::Records, None, PAGE);
        while let Ok(Some(entries)) = pages.next(&self.storage).await {
            for entry in entries {
                if matches!(&entry.key, Key::Record(record) if record.run() == Some(id)) {
                    let _ = self.storage.delete(&entry.key).await;
                }
            }
        }
    }

    pub(super) async fn take_lease(&self, run: &Run<'_, S>) -> Result<(), StorageError> {
        self.storage.write(&Key::Record(Record::Lease), run.lease().into()).await
    }

    pub(super) async fn has_lease(&self, run: &Run<'_, S>) -> Result<bool, StorageError> {
        match self.storage.read(&Key::Record(Record::Lease)).await {
            Ok(lease) => Ok(lease == run.lease()),
            Err(StorageError::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The run that goes on.
    pub(super) async fn leaseholder(&self) -> Result<Option<u128>, StorageError> {
        match self.storage.read(&Key::Record(Record::Lease)).await {
            Ok(lease) => {
                let run =
                    std::str::from_utf8(&lease).ok().and_then(|lease| lease.split(' ').next());
                Ok(run.and_then(|run| u128::from_str_radix(run, 16).ok()))
            }
            Err(StorageError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// When a run began, and when its lease was renewed.
    pub(super) async fn times(&self, id: u128) -> Result<(SystemTime, SystemTime), StorageError> {
        // Before both, and after what runs are to do. What is live comes after them, in
        // very many records.
        let mut pages = Pages::new(&Collection::Records, Some(Cursor("b".to_owned())), PAGE);
        let (mut begun, mut lease) = (None, None);
        while let Some(entries) = pages.next(&self.storage).await? {
            for entry in entries {
                match entry.key {
                    Key::Record(Record::Begun(run)) if run == id => begun = Some(entry.modified),
                    Key::Record(Record::Lease) => lease = Some(entry.modified),
                    _ => {}
                }
            }
            if let Some(both) = begun.zip(lease) {
                return Ok(both);
            }
        }
        Err(StorageError::Failed("the run has lost its lease".to_owned()))
    }
}

impl<S: Storage> Run<'_, S> {
    /// What the lease says while this slice has it.
    fn lease(&self) -> String {
        format!("{:032x} {:032x}", self.id, self.slice)
    }

    /// Called before each step of some length: keeps the pace, fails if the run is too
    /// old, or if another one has its lease, and renews that.
    pub(super) async fn alive(&mut self) -> Result<(), StorageError> {
        self.keep_pace().await;
        self.in_time()?;
        if self.renewed.elapsed() < LEASE_RENEWED {
            return Ok(());
        }
        self.spent += 2;
        if !self.store.has_lease(self).await? {
            return Err(StorageError::Unavailable("another run has taken the lease".to_owned()));
        }
        self.store.take_lease(self).await?;
        self.renewed = Stopwatch::start();
        Ok(())
    }
}
