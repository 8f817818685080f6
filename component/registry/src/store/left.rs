//! Events that wait in the storage, under hosts that send no notifications themselves.
//!
//! An event is an object of its own, named by its time: nobody changes it, and whoever sends it
//! deletes it. One that is read twice has the same identifier both times.

use super::Store;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use roadstead_bridge::outbox::{EventsAnswer, LeftEvent, LeftEvents};
use roadstead_storage::{Collection, Cursor, Entry, EventName, Key, Storage, StorageError};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// How many objects with events an answer has.
///
/// Limit: objects with events that the native host takes from the storage at once; test:
/// `events_are_taken_in_their_order`.
const OBJECTS: usize = 100;

/// How many bytes an answer has, about: it ends with the object that exceeds this.
///
/// Limit: bytes of events that the native host takes from the storage at once; test: none, the rest
/// is taken next.
const BYTES: u64 = 1024 * 1024;

/// How many objects are read or deleted at a time.
///
/// Limit: objects with events that are read at a time; test: none, more are read in steps.
const AT_ONCE: usize = 16;

/// How many pulls of an instance wait to be written; more are lost.
///
/// Limit: pulls whose events wait to be written to the storage; test: `pulls_are_left_together`.
const WAITING: usize = 64;

/// How long events of changes wait to be taken. Garbage collection removes older ones.
///
/// Limit: time for which events wait in the storage to be taken; test:
/// `events_that_nobody_takes_are_removed`.
const KEPT: Duration = Duration::from_hours(7 * 24);

/// How long those of pulls wait.
///
/// Limit: time for which events of pulls wait in the storage to be taken; test:
/// `events_that_nobody_takes_are_removed`.
const PULLS_KEPT: Duration = Duration::from_hours(24);

/// The pulls that wait to be written.
#[derive(Debug, Default)]
pub(super) struct Left(Mutex<Vec<LeftEvent>>);

impl<S: Storage> Store<S> {
    /// Writes an event: it is durable when this returns. To be called after the operation is
    /// durable, and before the client is answered.
    pub(crate) async fn leave(&self, event: LeftEvent) -> Result<(), StorageError> {
        self.write_events(vec![event], false).await
    }

    /// Keeps an event until [`Self::write_pulls`].
    pub(crate) fn leave_pull(&self, event: LeftEvent) {
        let mut waiting = self.left.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.read_only && waiting.len() < WAITING {
            waiting.push(event);
        }
    }

    /// Whether events of pulls wait to be written.
    pub(crate) fn has_left_pulls(&self) -> bool {
        !self.left.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Writes the events of pulls.
    pub(crate) async fn write_pulls(&self) -> Result<(), StorageError> {
        let waiting = {
            let mut waiting = self.left.0.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *waiting)
        };
        if waiting.is_empty() { Ok(()) } else { self.write_events(waiting, true).await }
    }

    async fn write_events(&self, events: Vec<LeftEvent>, pulls: bool) -> Result<(), StorageError> {
        let Some(LeftEvent { time, id, .. }) = events.first() else { return Ok(()) };
        let name = EventName { pulls, time: *time, id: *id };
        let value = serde_json::to_vec(&events);
        let value = value.map_err(|error| StorageError::Failed(error.to_string()))?;
        self.storage.write(&Key::Events(name), value.into()).await
    }

    /// The oldest events, those of changes first.
    pub(crate) async fn left_events(&self) -> Result<EventsAnswer, StorageError> {
        let listing = self.storage.enumerate(&Collection::Events, None, OBJECTS).await?;
        let (mut names, mut bytes) = (Vec::new(), 0);
        for Entry { key, size, .. } in listing.entries {
            let Key::Events(name) = key else { continue };
            if bytes > BYTES {
                break;
            }
            bytes += size;
            names.push(name);
        }
        let reads = names.into_iter().map(|name| async move {
            match self.storage.read(&Key::Events(name)).await {
                Ok(value) => {
                    let events = serde_json::from_slice(&value).unwrap_or_default();
                    Ok(Some(LeftEvents { name: name.to_string(), events }))
                }
                // Another host has taken it.
                Err(StorageError::NotFound) => Ok(None),
                Err(error) => Err(error),
            }
        });
        let objects: Vec<_> = stream::iter(reads).buffered(AT_ONCE).try_collect().await?;
        Ok(EventsAnswer { objects: objects.into_iter().flatten().collect() })
    }

    /// Removes events that have been taken.
    pub(crate) async fn take_events(&self, names: &[EventName]) -> Result<(), StorageError> {
        let deletions = names.iter().map(|name| async move {
            match self.storage.delete(&Key::Events(*name)).await {
                Err(StorageError::NotFound) => Ok(()),
                result => result,
            }
        });
        stream::iter(deletions).buffer_unordered(AT_ONCE).try_collect().await
    }

    /// Removes events that nobody has taken for long, at most so many objects of each kind. Says how
    /// many there were.
    pub(crate) async fn drop_events(
        &self,
        now: SystemTime,
        most: usize,
    ) -> Result<usize, StorageError> {
        let mut dropped = 0;
        for (pulls, kept) in [(false, KEPT), (true, PULLS_KEPT)] {
            // The first one of the kind has a higher name.
            let first = Cursor(EventName { pulls, time: 0, id: 0 }.to_string());
            let listing = self.storage.enumerate(&Collection::Events, Some(&first), most).await?;
            let is_old = |time| now.duration_since(time).is_ok_and(|age| age > kept);
            let old = listing.entries.into_iter().filter(|entry| is_old(entry.modified));
            let names: Vec<EventName> = old
                .filter_map(|entry| match entry.key {
                    Key::Events(name) if name.pulls == pulls => Some(name),
                    _ => None,
                })
                .collect();
            self.take_events(&names).await?;
            dropped += names.len();
        }
        Ok(dropped)
    }
}
