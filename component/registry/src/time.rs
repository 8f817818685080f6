//! Times as clients read them.

use chrono::{DateTime, SecondsFormat, Utc};
use std::time::SystemTime;

/// A time of RFC 3339, as exact as the storage knows it. What is before 1970, or after all that
/// it can say, is 1970.
pub(crate) fn written(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or_default();
    let time = DateTime::<Utc>::from_timestamp(seconds, since.subsec_nanos()).unwrap_or_default();
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

#[cfg(test)]
mod tests {
    use super::written;
    use std::time::{Duration, SystemTime};

    #[test]
    fn times_are_written() {
        let at = |seconds, nanos| SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos);
        for (time, expected) in [
            (at(1_777_863_721, 0), "2026-05-04T03:02:01Z"),
            (at(1_777_863_721, 120_000_000), "2026-05-04T03:02:01.120Z"),
            (at(1_777_863_721, 1), "2026-05-04T03:02:01.000000001Z"),
            (SystemTime::UNIX_EPOCH - Duration::from_secs(9), "1970-01-01T00:00:00Z"),
            (at(u64::MAX >> 1, 0), "1970-01-01T00:00:00Z"),
        ] {
            assert_eq!(written(time), expected);
        }
    }
}
