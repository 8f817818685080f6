//! A limit for the rate of lines from the same place of the program.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tracing::callsite::Identifier;

/// Warnings and errors from one place of the program within [`WINDOW`].
///
/// Limit: WARN and ERROR lines of one kind in 10 s; test: `failures_of_one_kind_are_limited`.
const LINES: u64 = 20;

/// See [`LINES`].
///
/// Limit: time in which WARN and ERROR lines of one kind are counted; test: `failures_of_one_kind_are_limited`.
const WINDOW: Duration = Duration::from_secs(10);

/// Counts lines by the place that logs them. There are as many places as the
/// program has.
#[derive(Default)]
pub(super) struct RateLimit(Mutex<HashMap<Identifier, Window>>);

struct Window {
    began: Instant,
    lines: u64,
}

impl RateLimit {
    /// Counts a line. `None` if it is to be suppressed; otherwise, how many were
    /// suppressed since the last one.
    pub(super) fn count(&self, place: Identifier, now: Instant) -> Option<u64> {
        let Ok(mut windows) = self.0.lock() else { return Some(0) };
        let window = windows.entry(place).or_insert(Window { began: now, lines: 0 });
        let mut suppressed = 0;
        if now.duration_since(window.began) >= WINDOW {
            suppressed = window.lines.saturating_sub(LINES);
            *window = Window { began: now, lines: 0 };
        }
        window.lines += 1;
        (window.lines <= LINES).then_some(suppressed)
    }
}

#[cfg(test)]
mod tests {
    use super::{LINES, RateLimit, WINDOW};
    use std::time::{Duration, Instant};
    use tracing::callsite::Identifier;

    fn places() -> [Identifier; 2] {
        let one = tracing::span!(target: "one", tracing::Level::ERROR, "one");
        let two = tracing::span!(target: "two", tracing::Level::ERROR, "two");
        [one, two].map(|span| span.metadata().map(tracing::Metadata::callsite).unwrap())
    }

    #[test]
    fn lines_from_one_place_are_limited_and_counted() {
        let subscriber = tracing_subscriber::fmt().with_writer(std::io::sink).finish();
        let [one, two] = tracing::subscriber::with_default(subscriber, places);
        let (limit, start) = (RateLimit::default(), Instant::now());
        for _ in 0..LINES {
            assert_eq!(limit.count(one.clone(), start), Some(0));
        }
        for _ in 0..7 {
            assert_eq!(limit.count(one.clone(), start + WINDOW / 2), None);
        }
        assert_eq!(limit.count(two, start), Some(0), "another place");
        assert_eq!(limit.count(one.clone(), start + WINDOW), Some(7));
        assert_eq!(limit.count(one, start + WINDOW + Duration::from_secs(1)), Some(0));
    }
}
