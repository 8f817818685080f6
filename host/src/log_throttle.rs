//! A limit for log lines that clients can cause at will.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The shortest time between two such lines.
///
/// Limit: time between two warnings that clients can cause; test: none, it would take
/// as long.
const PAUSE: Duration = Duration::from_secs(10);

/// Limits a log line to one every [`PAUSE`].
#[derive(Debug)]
pub(crate) struct LogThrottle(Mutex<Option<Instant>>);

impl LogThrottle {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// Whether the line may be logged now. If so, it may not be again for
    /// [`PAUSE`].
    pub(crate) fn is_due(&self) -> bool {
        let Ok(mut last) = self.0.lock() else { return false };
        let due = last.is_none_or(|last| last.elapsed() >= PAUSE);
        if due {
            *last = Some(Instant::now());
        }
        due
    }
}
