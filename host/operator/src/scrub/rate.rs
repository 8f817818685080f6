//! How much is read in a second.

use std::str::FromStr;
use std::time::Duration;

/// A number of bytes in a second, such as `50MiB`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate(u64);

impl Rate {
    /// The bytes.
    pub(super) fn bytes(self) -> u64 {
        self.0
    }

    /// How long so many bytes take.
    pub(super) fn time_of(self, bytes: u64) -> Duration {
        let milliseconds = u128::from(bytes) * 1000 / u128::from(self.0);
        Duration::from_millis(u64::try_from(milliseconds).unwrap_or(u64::MAX))
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no size; give for example 50MiB, or 500KiB");
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let unit: u64 = match unit {
            "" | "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return Err(wrong()),
        };
        let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
        bytes.filter(|bytes| *bytes > 0).map(Self).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::Rate;
    use std::time::Duration;

    #[test]
    fn rates() {
        for (text, bytes) in [
            ("1", Some(1)),
            ("500KiB", Some(512_000)),
            ("50MiB", Some(50 << 20)),
            ("2GiB", Some(2 << 30)),
            ("0", None),
            ("", None),
            ("MiB", None),
            ("-1", None),
            ("1.5MiB", None),
            ("50MB", None),
            ("99999999999999GiB", None),
        ] {
            assert_eq!(text.parse::<Rate>().ok().map(Rate::bytes), bytes, "{text}");
        }
        assert_eq!("2MiB".parse::<Rate>().unwrap().time_of(1 << 20), Duration::from_millis(500));
    }
}
