//! What the log is told.

use std::sync::Arc;
use std::time::{Duration, Instant};

/// How important a line is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Level {
    /// Events are lost.
    Error,
    /// Something needs attention; nothing is lost yet.
    Warn,
    /// It is good to know.
    Info,
}

/// Where lines of the log go.
pub type Log = Arc<dyn Fn(Level, &str) + Send + Sync>;

/// Time between two lines about the same trouble.
///
/// Limit: time between two lines of the log about the same trouble of notifications; test:
/// `trouble_is_logged_once_a_minute`.
pub(crate) const LOG_PAUSE: Duration = Duration::from_mins(1);

/// Says that there is trouble, but not each time.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    last: Option<Instant>,
    /// How often since the last line.
    count: u64,
}

impl Trouble {
    /// Counts trouble; how often there was some since the last line, if it is time for one.
    pub(crate) fn happened(&mut self, count: u64, now: Instant) -> Option<u64> {
        self.count += count;
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < LOG_PAUSE) {
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.count))
    }

    /// Whether there was trouble until now.
    pub(crate) fn is_over(&mut self) -> bool {
        self.count = 0;
        self.last.take().is_some()
    }
}
