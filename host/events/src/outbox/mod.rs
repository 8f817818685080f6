//! The outbox: events on disk, until every endpoint has passed them.
//!
//! ```text
//!  publish ─▶ queue ─▶ writer (a thread) ─▶ 00…7.events ─▶ Reader of each endpoint
//!                          │                00…8.events        │
//!                          └── cursors.json ◀──── passed ──────┘
//! ```
//!
//! Events are appended to segments. Whoever publishes waits for one sync together with all others
//! who do at the time. An endpoint's position is saved about once a second, so that after a crash
//! events are sent again and none is missed. A segment that all endpoints have passed is removed.

pub(crate) mod files;
mod open;
mod queue;
pub(crate) mod reader;
mod record;
mod writer;

#[cfg(test)]
mod tests;

pub(crate) use open::open;
pub(crate) use queue::{Publishing, Queue, closed};
pub(crate) use reader::{Batch, Reader, Stored};
pub(crate) use record::EVENT_LIMIT;
pub(crate) use writer::Writer;

use crate::counters::Counters;
use crate::settings::Endpoint;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Where the records of a segment begin.
pub(crate) const START: u64 = record::PREFIX.len() as u64;

/// A place in the outbox: that of a record, or the end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub(crate) struct Position {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
}

/// Which endpoints want an event, a bit for each.
pub(crate) type Wanted = u64;

/// What the writer, the endpoints' tasks and whoever publishes share.
pub(crate) struct Shared {
    pub(crate) directory: PathBuf,
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) counters: Vec<Counters>,
    pub(crate) queue: Queue,
    /// Where the events end that are on disk.
    pub(crate) end: watch::Sender<Position>,
    positions: Mutex<Positions>,
}

/// How far endpoints have come, in their order.
#[derive(Debug)]
struct Positions {
    of: Vec<Position>,
    /// They have changed since they were saved.
    changed: bool,
}

impl Shared {
    pub(crate) fn new(
        directory: PathBuf,
        endpoints: Vec<Endpoint>,
        positions: Vec<Position>,
        end: Position,
    ) -> Self {
        let counters = endpoints.iter().map(|_| Counters::default()).collect();
        let positions = Mutex::new(Positions { of: positions, changed: false });
        let (queue, end) = (Queue::default(), watch::Sender::new(end));
        Self { directory, endpoints, counters, queue, end, positions }
    }

    /// Which endpoints want an event.
    pub(crate) fn wanted(&self, action: &str, media_type: &str) -> Wanted {
        let wants = |endpoint: &Endpoint| endpoint.wants(action, media_type);
        let mut wanted = 0;
        for (index, _) in self.endpoints.iter().enumerate().filter(|(_, it)| wants(it)) {
            wanted |= 1 << index;
        }
        wanted
    }

    /// The counters of the endpoints among these.
    pub(crate) fn counters(&self, wanted: Wanted) -> impl Iterator<Item = &Counters> {
        let chosen = self.counters.iter().enumerate();
        chosen.filter(move |(index, _)| wanted >> index & 1 == 1).map(|(_, counters)| counters)
    }

    /// How far an endpoint has come.
    pub(crate) fn position(&self, endpoint: usize) -> Position {
        self.lock().of[endpoint]
    }

    /// An endpoint is done with these events, and with all up to `end`. Some may have been dropped
    /// in the meantime, and are counted already.
    pub(crate) fn passed(&self, endpoint: usize, events: &[Stored], end: Position) {
        let mut positions = self.lock();
        let position = positions.of[endpoint];
        if end <= position {
            return;
        }
        positions.of[endpoint] = end;
        positions.changed = true;
        drop(positions);
        let left = events.iter().filter(|stored| stored.end > position).count();
        self.counters[endpoint].left(left as u64);
        self.queue.passed();
    }

    fn lock(&self) -> MutexGuard<'_, Positions> {
        // Nothing panics while it is held.
        self.positions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
