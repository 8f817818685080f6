//! Spans that wait to be sent: a bounded queue, which never makes a request wait.

use crate::record::Record;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// How many spans have gone where, since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// A collector has them.
    pub exported: u64,
    /// They were dropped since the queue was full.
    pub queue_full: u64,
    /// They were dropped since no collector took them.
    pub not_exported: u64,
}

/// [`Counts`] that are counted.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) exported: AtomicU64,
    pub(crate) queue_full: AtomicU64,
    pub(crate) not_exported: AtomicU64,
}

impl Counters {
    pub(crate) fn read(&self) -> Counts {
        Counts {
            exported: self.exported.load(Ordering::Relaxed),
            queue_full: self.queue_full.load(Ordering::Relaxed),
            not_exported: self.not_exported.load(Ordering::Relaxed),
        }
    }
}

/// Ended spans.
#[derive(Debug)]
pub(crate) struct Queue {
    spans: Mutex<Waiting>,
    /// The most spans.
    size: usize,
    /// How many are sent at once.
    batch: usize,
    /// Told of the first span, and of one that completes a batch.
    pub(crate) notify: Notify,
    pub(crate) counters: Counters,
}

#[derive(Debug, Default)]
struct Waiting {
    spans: VecDeque<Record>,
    /// Nothing is sent any more.
    closed: bool,
}

impl Queue {
    pub(crate) fn new(size: usize, batch: usize) -> Self {
        let (notify, counters) = (Notify::new(), Counters::default());
        Self { spans: Mutex::default(), size, batch, notify, counters }
    }

    /// Adds a span, or drops it if there is no room.
    pub(crate) fn push(&self, span: Record) {
        let mut waiting = self.lock();
        if waiting.closed || waiting.spans.len() >= self.size {
            let closed = waiting.closed;
            drop(waiting);
            let counter =
                if closed { &self.counters.not_exported } else { &self.counters.queue_full };
            counter.fetch_add(1, Ordering::Relaxed);
            return;
        }
        waiting.spans.push_back(span);
        let length = waiting.spans.len();
        drop(waiting);
        if length == 1 || length == self.batch {
            self.notify.notify_one();
        }
    }

    /// Whether there are no spans, and whether there are enough for a batch.
    pub(crate) fn state(&self) -> (bool, bool) {
        let length = self.lock().spans.len();
        (length == 0, length >= self.batch)
    }

    /// Takes a batch, or what there is.
    pub(crate) fn take(&self) -> Vec<Record> {
        let mut waiting = self.lock();
        let count = waiting.spans.len().min(self.batch);
        waiting.spans.drain(..count).collect()
    }

    /// Drops what is there, and all that comes.
    pub(crate) fn close(&self) {
        let mut waiting = self.lock();
        waiting.closed = true;
        let dropped = std::mem::take(&mut waiting.spans).len();
        drop(waiting);
        self.counters.not_exported.fetch_add(dropped as u64, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing panics while it is held.
        self.spans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
