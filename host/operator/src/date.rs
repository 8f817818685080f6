//! Times as people compare them with a clock.

use std::time::{Duration, UNIX_EPOCH};

/// The last second that a date of HTTP can have, the end of the year 9999.
const LAST: u64 = 253_402_300_799;

/// A time with its time of day, as HTTP writes dates. `seconds` are since 1970; what is
/// outside of HTTP's dates becomes the nearest one.
pub fn with_time_of_day(seconds: i64) -> String {
    let seconds = u64::try_from(seconds).unwrap_or(0).min(LAST);
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::with_time_of_day;

    #[test]
    fn dates_of_http() {
        for (seconds, expected) in [
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (-1, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (i64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(with_time_of_day(seconds), expected);
        }
    }
}
