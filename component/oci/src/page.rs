//! Page sizes of lists.

use std::error::Error;
use std::fmt;

use super::range::is_number;

/// How many entries a page of a list has: the `n` query parameter
/// (distribution-spec, "Listing Tags").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PageSize(usize);

impl PageSize {
    /// The size if the client sends none.
    pub const DEFAULT: Self = Self(1000);

    /// The maximum size. Clients that ask for more get this many entries and a
    /// link to the next page, as the specification allows.
    pub const MAX: Self = Self(10_000);

    /// Reads the parameter's value, which is absent when it is `None`; an
    /// empty value is an error. Zero is allowed and means an empty list.
    pub fn parse(value: Option<&str>) -> Result<Self, InvalidPageSize> {
        let Some(text) = value else {
            return Ok(Self::DEFAULT);
        };
        if is_number(text) {
            return Ok(text.parse().map_or(Self::MAX, Self).min(Self::MAX));
        }
        Err(match text.strip_prefix('-') {
            Some(rest) if is_number(rest) => InvalidPageSize::Negative,
            _ => InvalidPageSize::NotANumber,
        })
    }

    /// The number of entries.
    pub const fn get(self) -> usize {
        self.0
    }
}

impl Default for PageSize {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl fmt::Display for PageSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a value is not a [`PageSize`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidPageSize {
    /// It is negative.
    Negative,
    /// It contains characters other than the digits 0 to 9.
    NotANumber,
}

impl fmt::Display for InvalidPageSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Negative => "n is negative; it must be zero or more",
            Self::NotANumber => "n is not a whole number",
        })
    }
}

impl Error for InvalidPageSize {}

#[cfg(test)]
mod tests {
    use super::{InvalidPageSize, PageSize};

    #[test]
    fn good_sizes() {
        for (value, size) in [
            (None, 1000),
            (Some("0"), 0),
            (Some("1"), 1),
            (Some("007"), 7),
            (Some("9999"), 9999),
            (Some("10000"), 10_000),
            (Some("10001"), 10_000),
            (Some("99999999999999999999999"), 10_000),
        ] {
            let parsed = PageSize::parse(value);
            assert_eq!(parsed.map(PageSize::get), Ok(size), "{value:?}");
            let again = parsed.map(|size| PageSize::parse(Some(&size.to_string())));
            assert_eq!(again, Ok(parsed), "{value:?}");
        }
        assert_eq!(PageSize::default(), PageSize::DEFAULT);
    }

    #[test]
    fn bad_sizes() {
        use InvalidPageSize::{Negative, NotANumber};
        for (value, error) in [
            ("-1", Negative),
            ("-0", Negative),
            ("-99999999999999999999999", Negative),
            ("", NotANumber),
            ("-", NotANumber),
            ("--1", NotANumber),
            ("+1", NotANumber),
            (" 1", NotANumber),
            ("1.0", NotANumber),
            ("1e3", NotANumber),
            ("0x1", NotANumber),
            ("ten", NotANumber),
            ("\u{661}", NotANumber),
        ] {
            assert_eq!(PageSize::parse(Some(value)), Err(error), "{value:?}");
        }
    }
}
