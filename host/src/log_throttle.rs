//! Log lines that clients can cause at will.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long after such a line the next one is due.
const PAUSE: Duration = Duration::from_secs(10);

/// Says when a line is due.
pub(crate) struct Rarely(Mutex<Option<Instant>>);

impl Rarely {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// Whether it is; after that, for [`PAUSE`] it is not.
    pub(crate) fn is_due(&self) -> bool {
        let Ok(mut last) = self.0.lock() else { return false };
        let due = last.is_none_or(|last| last.elapsed() >= PAUSE);
        if due {
            *last = Some(Instant::now());
        }
        due
    }
}
