//! Events on their way to the writer.

use super::Wanted;
use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Bytes of events whose publishers wait; more of them wait for a turn first.
///
/// Limit: bytes of events that wait to be written with a client waiting; test:
/// `many_publish_at_a_time`.
pub(crate) const PUBLISHED_BYTES: u32 = 16 * 1024 * 1024;

/// Bytes of events that wait to be written without anybody waiting; more are dropped.
///
/// Limit: bytes of pull events that wait to be written; test: `pulls_beyond_the_queue_are_dropped`.
pub(crate) const LAZY_BYTES: usize = 4 * 1024 * 1024;

/// How long such an event waits for others.
///
/// Limit: time until a pull event is written; test: none, tests do not measure time.
const LAZY_DELAY: Duration = Duration::from_millis(500);

/// Time between two saves of the cursors: after a crash, the events of that time are sent again.
///
/// Limit: time between two saves of the cursors; test: none, tests do not measure time.
const SAVE_PAUSE: Duration = Duration::from_secs(1);

/// An event that someone waits for.
pub(crate) struct Publishing {
    pub(crate) event: Vec<u8>,
    pub(crate) wanted: Wanted,
    pub(crate) done: oneshot::Sender<io::Result<()>>,
    /// Its part of [`PUBLISHED_BYTES`].
    pub(crate) _permit: OwnedSemaphorePermit,
}

/// What the writer is to do.
#[derive(Default)]
pub(crate) struct Work {
    pub(crate) published: Vec<Publishing>,
    pub(crate) lazy: Vec<(Vec<u8>, Wanted)>,
    /// It is time to save the cursors.
    pub(crate) save: bool,
    /// Nothing comes after this.
    pub(crate) last: bool,
}

/// The queue.
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    pub(crate) turns: Arc<Semaphore>,
    /// Whether somebody has waited in vain, and the writer has not written since.
    pub(crate) hangs: AtomicBool,
}

#[derive(Default)]
struct Waiting {
    work: Work,
    lazy_bytes: usize,
    lazy_since: Option<Instant>,
    /// When the cursors first changed after they were saved.
    passed_since: Option<Instant>,
    /// No event is taken any more.
    closed: bool,
    /// The writer has something to do.
    writing: bool,
}

impl Default for Queue {
    fn default() -> Self {
        let turns = Arc::new(Semaphore::new(PUBLISHED_BYTES as usize));
        let (waiting, changed) = (Mutex::default(), Condvar::new());
        Self { waiting, changed, turns, hangs: AtomicBool::new(false) }
    }
}

impl Queue {
    /// Adds an event that someone waits for.
    pub(crate) fn publish(&self, publishing: Publishing) -> io::Result<()> {
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(closed());
        }
        waiting.work.published.push(publishing);
        self.changed.notify_one();
        Ok(())
    }

    /// Adds an event that nobody waits for; `false` if there is no room.
    pub(crate) fn publish_lazily(&self, event: Vec<u8>, wanted: Wanted) -> bool {
        let mut waiting = self.lock();
        if waiting.closed || waiting.lazy_bytes + event.len() > LAZY_BYTES {
            return false;
        }
        waiting.lazy_bytes += event.len();
        waiting.work.lazy.push((event, wanted));
        if waiting.lazy_since.is_none() {
            waiting.lazy_since = Some(Instant::now());
            self.changed.notify_one();
        }
        true
    }

    /// An endpoint has come further.
    pub(crate) fn passed(&self) {
        let mut waiting = self.lock();
        if waiting.passed_since.is_none() {
            waiting.passed_since = Some(Instant::now());
            self.changed.notify_one();
        }
    }

    /// Takes no more events. Those that are here are written at once.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }

    /// Ends the writer, which saves the cursors.
    pub(crate) fn end(&self) {
        let mut waiting = self.lock();
        waiting.closed = true;
        waiting.work.last = true;
        self.changed.notify_one();
    }

    /// Nothing is taken from it any more: whoever waits is told.
    pub(super) fn abandon(&self) {
        let mut waiting = self.lock();
        waiting.closed = true;
        waiting.work = Work::default();
    }

    /// Whether all that was published is written.
    pub(crate) fn is_idle(&self) -> bool {
        let waiting = self.lock();
        let Work { published, lazy, .. } = &waiting.work;
        !waiting.writing && published.is_empty() && lazy.is_empty()
    }

    /// Waits for something to do.
    pub(super) fn take(&self) -> Work {
        let mut waiting = self.lock();
        waiting.writing = false;
        loop {
            let now = Instant::now();
            let due = |since: Option<Instant>, pause: Duration| since.map(|since| since + pause);
            let lazy = due(waiting.lazy_since, LAZY_DELAY).map(|due| (due, waiting.closed));
            let lazy = lazy.map(|(due, closed)| if closed { now } else { due });
            let save = due(waiting.passed_since, SAVE_PAUSE);
            let is_due = |due: Option<Instant>| due.is_some_and(|due| due <= now);
            let last = waiting.work.last;
            if last || !waiting.work.published.is_empty() || is_due(lazy) || is_due(save) {
                let save = last || is_due(save);
                if save {
                    waiting.passed_since = None;
                }
                waiting.lazy_since = None;
                waiting.lazy_bytes = 0;
                waiting.writing = true;
                return Work { save, ..std::mem::take(&mut waiting.work) };
            }
            let next = [lazy, save].into_iter().flatten().min();
            let wait = next.map_or(Duration::MAX, |next| next - now);
            waiting = if wait == Duration::MAX {
                self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner)
            } else {
                let woken = self.changed.wait_timeout(waiting, wait);
                woken.unwrap_or_else(PoisonError::into_inner).0
            };
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing panics while it is held.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The error of whoever publishes after the end.
pub(crate) fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "notifications have been stopped")
}
