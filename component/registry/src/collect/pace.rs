//! How fast a slice goes.

use super::lease::Stopwatch;
use std::time::Duration;

/// The longest pause between two operations of a slice. What is left of the time is waited
/// for after the slice.
///
/// Limit: pause between two operations of a slice of garbage collection; test: `operations_are_spread`.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause while moves are announced, since pushes may wait for their end. Only
/// the steps of one batch pause then; what is read meanwhile is waited for afterwards.
///
/// Limit: pause between two operations of a collector while moves are announced; test: `operations_are_spread`.
const SHORT_PAUSE: Duration = Duration::from_millis(20);

/// A slice that has taken so long pauses no more: a step that cannot be cut off, such as a
/// shard with very many tombstones, would outlast the patience of a proxy.
///
/// Limit: time after which a slice of garbage collection no longer pauses; test: `operations_are_spread`.
const LONG_SLICE: Duration = Duration::from_secs(20);

/// Operations that the pace spreads over this time may be done at once.
///
/// Limit: time whose operations a collector may do at once; test: `tombstones_are_read_at_the_pace`.
const AT_ONCE: Duration = Duration::from_millis(50);

/// The pace of a slice.
pub(super) struct Pace {
    /// The time that an operation takes at least, on average.
    each: Duration,
    since: Stopwatch,
    paused: Duration,
    /// Whether moves are announced.
    pub(super) announces: bool,
}

impl Pace {
    pub(super) fn new(each: Duration) -> Self {
        Self { each, since: Stopwatch::start(), paused: Duration::ZERO, announces: false }
    }

    /// How long ago the slice began, by the clocks of this process.
    pub(super) fn elapsed(&self) -> Duration {
        self.since.elapsed()
    }

    /// The same. In tests, pauses pass on a simulated clock only.
    fn passed(&self) -> Duration {
        self.elapsed().max(self.paused)
    }

    /// How long to pause after so many operations. The pause counts as taken.
    pub(super) fn rest(&mut self, spent: u32) -> Duration {
        let passed = self.passed();
        if passed > LONG_SLICE {
            return Duration::ZERO;
        }
        let longest = if self.announces { SHORT_PAUSE } else { LONGEST_PAUSE };
        let rest = (self.each * spent).saturating_sub(passed).min(longest);
        self.paused += rest;
        rest
    }

    /// How many items are dealt with at once after so many operations, each of which takes
    /// `operations`: as many as the pace allows, more if the storage is slower than that, and
    /// at least one. While moves are announced others wait, and after [`LONG_SLICE`] the
    /// caller does.
    pub(super) fn at_once(&self, spent: u32, most: usize, operations: u32) -> usize {
        let passed = self.passed();
        if self.announces || passed > LONG_SLICE {
            return most;
        }
        let allowed = (AT_ONCE + passed).saturating_sub(self.each * spent);
        let fits = allowed.as_nanos().checked_div((self.each * operations).as_nanos());
        fits.map_or(most, |fits| usize::try_from(fits).unwrap_or(most).clamp(1, most))
    }
}

#[cfg(test)]
mod tests {
    use super::Pace;
    use std::time::Duration;

    /// At 50 operations a second, as if `passed` had passed.
    fn pace(passed: u64) -> Pace {
        Pace { paused: Duration::from_millis(passed), ..Pace::new(Duration::from_millis(20)) }
    }

    #[test]
    fn as_much_at_once_as_the_pace_allows() {
        for (passed, spent, operations, announces, expected) in [
            (0, 0, 1, false, 2..=16),
            (0, 1_000, 4, false, 1..=1),
            (0, 1_000, 1, false, 1..=1),
            // The storage is slower than the pace.
            (1_000, 10, 1, false, 16..=16),
            (0, 100, 1, true, 16..=16),
            // The slice has taken long.
            (20_001, 10_000, 1, false, 16..=16),
        ] {
            let pace = Pace { announces, ..pace(passed) };
            let found = pace.at_once(spent, 16, operations);
            assert!(expected.contains(&found), "{passed} {spent} {operations}: {found}");
        }
        assert_eq!(Pace::new(Duration::ZERO).at_once(100, 16, 4), 16);
    }

    #[test]
    fn pauses() {
        let of = |passed, spent, announces| Pace { announces, ..pace(passed) }.rest(spent);
        assert_eq!(of(0, 1_000, false), Duration::from_secs(1));
        assert_eq!(of(0, 1_000, true), Duration::from_millis(20));
        assert_eq!(of(20_001, 10_000, false), Duration::ZERO);
        assert_eq!(of(1_000, 10, false), Duration::ZERO);
    }
}
