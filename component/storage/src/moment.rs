//! Moments by two clocks.

use std::time::{Duration, Instant, SystemTime};

/// A moment by two clocks: one may stop while the platform has frozen the process, the other one
/// may be set.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    instant: Instant,
    time: SystemTime,
}

impl Moment {
    /// This moment.
    pub fn now() -> Self {
        Self { instant: Instant::now(), time: SystemTime::now() }
    }

    /// Whether less than `limit` has passed until `now`, by both clocks.
    pub fn is_within(&self, limit: Duration, now: &Self) -> bool {
        let passed = now.time.duration_since(self.time);
        now.instant.duration_since(self.instant) < limit && passed.is_ok_and(|time| time < limit)
    }

    /// The moment that comes `duration` later, by both clocks.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self { instant: self.instant + duration, time: self.time + duration }
    }
}

#[cfg(test)]
mod tests {
    use super::Moment;
    use std::time::Duration;

    #[test]
    fn both_clocks_count() {
        let (now, limit) = (Moment::now(), Duration::from_mins(10));
        let short = limit / 2;
        assert!(now.is_within(limit, &now));
        assert!(now.is_within(limit, &now.after(short)));
        assert!(!now.is_within(limit, &now.after(limit)));
        let later = now.after(limit);
        assert!(!now.is_within(limit, &Moment { time: later.time, ..now }), "it was frozen");
        assert!(!now.is_within(limit, &Moment { instant: later.instant, ..now }));
        assert!(!later.is_within(limit, &Moment { time: now.time, ..later }), "it was set back");
    }
}
