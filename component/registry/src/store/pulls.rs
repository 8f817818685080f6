//! When tags were pulled, as far as rules of retention ask for it.
//!
//! A pull only notes its tag in memory, unless it was noted less than a day ago. What was noted is
//! recorded after the response: an object for each tag, whose time counts. It is a hint and is
//! not synced. That a record is missing does no harm to what is pulled again the next day.
//!
//! Since when that goes on is said by one object of the storage, which names the repositories: a
//! tag expires by its pulls only if they were recorded for long enough.

use super::Store;
use roadstead_oci::{Reference, RepositoryName, Tag};
use roadstead_storage::{Collection, Cursor, Key, Record, Storage, StorageError};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// How old the record of a pull is when the next pull renews it.
///
/// Limit: age of the record of a pull that the next one renews; test: `pulls_are_recorded_once_a_day`.
const RENEWED_AFTER: Duration = Duration::from_hours(24);

/// How many tags are remembered as recorded; beyond that all are forgotten, and looked up again.
///
/// Limit: tags of which an instance remembers that their pulls are recorded; test: none, others are looked up.
const REMEMBERED: usize = 4096;

/// How many tags wait to be recorded; more are left to their next pulls.
///
/// Limit: tags whose pulls wait to be recorded; test: none, more are recorded with their next pulls.
const WAITING: usize = 64;

/// The pulls of an instance.
#[derive(Debug, Default)]
pub(super) struct Pulls(Mutex<Noted>);

#[derive(Debug, Default)]
struct Noted {
    waiting: Vec<(RepositoryName, Tag)>,
    /// When the pulls of tags were recorded, or found to be.
    recorded: HashMap<(RepositoryName, Tag), SystemTime>,
    /// Whether the storage says since when pulls are recorded.
    begun: bool,
}

impl Pulls {
    fn lock(&self) -> MutexGuard<'_, Noted> {
        // What a thread that panicked left is a hint too.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a time is less than a day ago.
fn is_of_today(time: SystemTime, now: SystemTime) -> bool {
    now.duration_since(time).is_ok_and(|age| age < RENEWED_AFTER)
}

impl<S: Storage> Store<S> {
    /// Notes that a manifest was pulled, if that was by a tag and rules ask for it. Nothing
    /// is read or written.
    pub(super) fn note_pull(&self, name: &RepositoryName, reference: &Reference) {
        let Reference::Tag(tag) = reference else { return };
        if self.read_only || !self.retention.asks_for_pulls(name.as_str()) {
            return;
        }
        let place = (name.clone(), tag.clone());
        let mut noted = self.pulls.lock();
        let now = SystemTime::now();
        let known = noted.recorded.get(&place).is_some_and(|time| is_of_today(*time, now));
        if !known && noted.waiting.len() < WAITING && !noted.waiting.contains(&place) {
            noted.waiting.push(place);
        }
    }

    /// Whether pulls wait to be recorded.
    pub(crate) fn has_pulls(&self) -> bool {
        !self.pulls.lock().waiting.is_empty()
    }

    /// Records the pulls that wait for it. What fails is left to the next pulls.
    pub(crate) async fn record_pulls(&self) {
        let (waiting, begun) = {
            let mut noted = self.pulls.lock();
            (std::mem::take(&mut noted.waiting), noted.begun)
        };
        if waiting.is_empty() {
            return;
        }
        if !begun {
            if self.begin_pulls().await.is_err() {
                return;
            }
            self.pulls.lock().begun = true;
        }
        for place in waiting {
            if let Ok(time) = self.record_pull(&place).await {
                let mut noted = self.pulls.lock();
                if noted.recorded.len() >= REMEMBERED {
                    noted.recorded.clear();
                }
                noted.recorded.insert(place, time);
            }
        }
    }

    /// Says when a pull was recorded that counts for today: now, if none was.
    async fn record_pull(
        &self,
        (name, tag): &(RepositoryName, Tag),
    ) -> Result<SystemTime, StorageError> {
        let (key, now) = (Key::Pulled(name.clone(), tag.clone()), SystemTime::now());
        match self.storage.read(&key).await {
            Ok(text) => {
                if let Some(time) = recorded(&text).filter(|time| is_of_today(*time, now)) {
                    return Ok(time);
                }
            }
            Err(StorageError::NotFound) => {}
            Err(error) => return Err(error),
        }
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.storage.write(&key, since.as_secs().to_string().into()).await?;
        Ok(now)
    }

    /// Says in the storage for which repositories pulls are recorded from now on, unless it
    /// says so.
    async fn begin_pulls(&self) -> Result<(), StorageError> {
        let Some(text) = self.retention.recorded() else { return Ok(()) };
        let key = Key::Record(Record::Pulls);
        match self.storage.read(&key).await {
            Ok(found) if found == text.as_bytes() => return Ok(()),
            Ok(_) | Err(StorageError::NotFound) => {}
            Err(error) => return Err(error),
        }
        self.storage.write(&key, text.into()).await
    }

    /// Since when pulls are recorded for the repositories of the settings, by the storage's
    /// clock; `None` if they are not.
    pub(crate) async fn pulls_recorded(&self) -> Result<Option<SystemTime>, StorageError> {
        let Some(text) = self.retention.recorded() else { return Ok(None) };
        let Some(time) = self.pulls_begun().await? else { return Ok(None) };
        match self.storage.read(&Key::Record(Record::Pulls)).await {
            Ok(found) => Ok((found == text.as_bytes()).then_some(time)),
            Err(StorageError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// When it was written for which repositories pulls are recorded.
    pub(crate) async fn pulls_begun(&self) -> Result<Option<SystemTime>, StorageError> {
        let key = Key::Record(Record::Pulls);
        // What comes right before it.
        let cursor = Cursor("pull".to_owned());
        let found = self.storage.enumerate(&Collection::Records, Some(&cursor), 1).await?;
        let found = found.entries.into_iter().find(|entry| entry.key == key);
        Ok(found.map(|entry| entry.modified))
    }
}

/// The time that the record of a pull says.
pub(crate) fn recorded(text: &[u8]) -> Option<SystemTime> {
    let seconds = std::str::from_utf8(text).ok()?.parse().ok()?;
    Some(SystemTime::UNIX_EPOCH + seconds_of(seconds))
}

/// Seconds of which no time is too far away.
fn seconds_of(seconds: u64) -> Duration {
    Duration::from_secs(seconds.min(u64::from(u32::MAX)))
}
