//! Pauses between attempts.

use std::time::Duration;

/// The pause after the first attempt that fails; it doubles with each, up to the endpoint's
/// `backoff`.
///
/// Limit: first pause between attempts to deliver events; test: `pauses_grow`.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// How long an endpoint can have events wait by `Retry-After`: more is cut down to it.
///
/// Limit: pause that an endpoint can ask for; test: `pauses_grow`.
const ASKED_PAUSE: Duration = Duration::from_mins(5);

/// How long to wait after so many failures in a row: `random` is from 0 to 1.
pub(super) fn pause(
    failures: u64,
    threshold: u64,
    backoff: Duration,
    asked: Option<Duration>,
    random: f64,
) -> Duration {
    let own = if failures >= threshold {
        backoff
    } else {
        let doubled = u32::try_from(failures.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
        (FIRST_PAUSE * (1 << doubled)).min(backoff)
    };
    // From half of it to all of it, so that registries do not come back in step.
    let own = own / 2 + (own / 2).mul_f64(random);
    asked.map_or(own, |asked| asked.min(ASKED_PAUSE).max(own))
}

#[cfg(test)]
mod tests {
    use super::{ASKED_PAUSE, pause};
    use std::time::Duration;

    #[test]
    fn pauses_grow() {
        let milliseconds = Duration::from_millis;
        for (failures, threshold, backoff, asked, random, expected) in [
            (1, 10, 1000, None, 1.0, 100),
            (1, 10, 1000, None, 0.0, 50),
            (2, 10, 1000, None, 1.0, 200),
            (4, 10, 1000, None, 1.0, 800),
            (5, 10, 1000, None, 1.0, 1000),
            (1_000_000, 2_000_000, 1000, None, 1.0, 1000),
            (3, 3, 60_000, None, 1.0, 60_000),
            (3, 3, 60_000, None, 0.5, 45_000),
            (1, 10, 1000, Some(3000), 1.0, 3000),
            (1, 10, 1000, Some(1), 1.0, 100),
        ] {
            let asked = asked.map(milliseconds);
            let pause = pause(failures, threshold, milliseconds(backoff), asked, random);
            assert_eq!(pause, milliseconds(expected), "{failures} of {threshold}");
        }
        let days = Some(Duration::from_hours(48));
        assert_eq!(pause(1, 10, milliseconds(1000), days, 1.0), ASKED_PAUSE);
    }
}
