//! Times as text, of which all but the fraction is made once a second.

use chrono::{DateTime, Datelike as _, Timelike as _};
use std::cell::RefCell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A second as text.
#[derive(Clone)]
struct Second {
    since_1970: u64,
    /// `2026-11-26T14:30:11`.
    rfc3339: String,
    /// `26/Nov/2026:14:30:11 +0000`.
    apache: String,
}

thread_local! {
    static LAST: RefCell<Option<Second>> = const { RefCell::new(None) };
}

/// Writes a time as RFC 3339 in UTC, with microseconds.
pub(crate) fn rfc3339(time: SystemTime, line: &mut Vec<u8>) {
    let since = since_1970(time);
    with(since.as_secs(), |second| line.extend_from_slice(second.rfc3339.as_bytes()));
    let mut digits = *b".000000Z";
    let mut rest = since.subsec_micros();
    for digit in digits[1..7].iter_mut().rev() {
        // A remainder of ten fits.
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or_default();
        rest /= 10;
    }
    line.extend_from_slice(&digits);
}

/// Writes a time as in Apache's log, without its brackets.
pub(crate) fn apache(time: SystemTime, line: &mut Vec<u8>) {
    with(since_1970(time).as_secs(), |second| line.extend_from_slice(second.apache.as_bytes()));
}

fn since_1970(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn with(seconds: u64, write: impl FnOnce(&Second)) {
    LAST.with_borrow_mut(|last| {
        let is_last = last.as_ref().is_some_and(|second| second.since_1970 == seconds);
        if !is_last {
            *last = Some(Second::new(seconds));
        }
        last.as_ref().map(write);
    });
}

impl Second {
    fn new(since_1970: u64) -> Self {
        let seconds = i64::try_from(since_1970).unwrap_or(i64::MAX);
        // Until the year 262,000.
        let time = DateTime::from_timestamp(seconds, 0).unwrap_or_default();
        let (year, month, day) = (time.year(), time.month(), time.day());
        let (hour, minute, second) = (time.hour(), time.minute(), time.second());
        let name = MONTHS[time.month0() as usize % 12];
        Self {
            since_1970,
            rfc3339: format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"),
            apache: format!("{day:02}/{name}/{year:04}:{hour:02}:{minute:02}:{second:02} +0000"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{apache, rfc3339};
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn times_as_text() {
        for (micros, expected, other) in [
            (0, "1970-01-01T00:00:00.000000Z", "01/Jan/1970:00:00:00 +0000"),
            (951_782_400_000_001, "2000-02-29T00:00:00.000001Z", "29/Feb/2000:00:00:00 +0000"),
            (1_795_703_411_369_915, "2026-11-26T14:30:11.369915Z", "26/Nov/2026:14:30:11 +0000"),
            (1_795_703_411_999_999, "2026-11-26T14:30:11.999999Z", "26/Nov/2026:14:30:11 +0000"),
            (253_402_300_799_000_000, "9999-12-31T23:59:59.000000Z", "31/Dec/9999:23:59:59 +0000"),
        ] {
            let time = UNIX_EPOCH + Duration::from_micros(micros);
            let (mut line, mut second) = (Vec::new(), Vec::new());
            rfc3339(time, &mut line);
            apache(time, &mut second);
            assert_eq!(String::from_utf8(line).unwrap(), expected);
            assert_eq!(String::from_utf8(second).unwrap(), other);
        }
    }
}
