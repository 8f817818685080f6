//! What is counted of an endpoint.

use roadstead_telemetry::metrics::EndpointReading;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// The counters of an endpoint, which [`EndpointReading`] has: those of distribution's `EndpointMetrics`,
/// and ours.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) pending: AtomicU64,
    pub(crate) events: AtomicU64,
    pub(crate) successes: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) errors: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) refused: AtomicU64,
    /// By status: at most a thousand.
    statuses: Mutex<BTreeMap<u16, u64>>,
}

impl Counters {
    /// Events for the endpoint are in the outbox.
    pub(crate) fn queued(&self, count: u64) {
        add(&self.events, count);
        add(&self.pending, count);
    }

    /// Events were in the outbox at the start.
    pub(crate) fn waiting(&self, count: u64) {
        add(&self.pending, count);
    }

    /// Events wait no longer.
    pub(crate) fn left(&self, count: u64) {
        let less = |pending: u64| Some(pending.saturating_sub(count));
        let _ = self.pending.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// A request had a response.
    pub(crate) fn status(&self, status: u16) {
        let mut statuses = self.statuses.lock().unwrap_or_else(PoisonError::into_inner);
        *statuses.entry(status.min(1000)).or_default() += 1;
    }

    pub(crate) fn read(&self, name: &str, url: &str) -> EndpointReading {
        EndpointReading {
            name: name.to_owned(),
            url: url.to_owned(),
            pending: load(&self.pending),
            events: load(&self.events),
            successes: load(&self.successes),
            failures: load(&self.failures),
            errors: load(&self.errors),
            dropped: load(&self.dropped),
            refused: load(&self.refused),
            statuses: self.statuses.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
