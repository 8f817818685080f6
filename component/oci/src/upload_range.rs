//! The ranges of chunked uploads.

use std::error::Error;
use std::fmt;

use super::range::{BLANKS, BYTES, is_number};

/// The `Content-Range` header of an upload chunk (distribution-spec, "Pushing
/// a blob in chunks"): at least one byte, and fewer than 2^64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ContentRange {
    start: u64,
    end_inclusive: u64,
}

impl ContentRange {
    /// Parses any of the forms that clients send: `a-b`, as in the
    /// distribution-spec, `bytes a-b/total` or `bytes a-b/*`, as in RFC 9110,
    /// section 14.4, and the mixtures `bytes a-b` and `bytes=a-b`. A total
    /// must be greater than `b` and is not kept.
    pub fn parse(header: &str) -> Result<Self, InvalidContentRange> {
        let header = header.trim_matches(BLANKS);
        let (range, total) = split(header).ok_or(InvalidContentRange::Malformed)?;
        let (first, last) = range
            .split_once('-')
            .filter(|(first, last)| is_number(first) && is_number(last))
            .ok_or(InvalidContentRange::Malformed)?;
        let (start, end_inclusive) = (number(first)?, number(last)?);
        if start > end_inclusive {
            return Err(InvalidContentRange::Reversed);
        }
        if let Some(total) = total
            && number(total)? <= end_inclusive
        {
            return Err(InvalidContentRange::BeyondTotal);
        }
        Ok(Self { start, end_inclusive })
    }

    /// The position of the first byte.
    pub const fn start(self) -> u64 {
        self.start
    }

    /// The position of the last byte.
    pub const fn end_inclusive(self) -> u64 {
        self.end_inclusive
    }

    /// The number of bytes, at least one.
    pub const fn length(self) -> u64 {
        (self.end_inclusive - self.start).saturating_add(1)
    }
}

impl fmt::Display for ContentRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.start, self.end_inclusive)
    }
}

/// Why a text is not a [`ContentRange`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidContentRange {
    /// None of the accepted forms.
    Malformed,
    /// The first position is after the last.
    Reversed,
    /// The last position is not below the total.
    BeyondTotal,
    /// A number is not below 2^64 - 1, so the length would not fit in 64 bits.
    TooLarge,
}

impl fmt::Display for InvalidContentRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "Content-Range is not of the form <first>-<last>",
            Self::Reversed => "Content-Range has its first position after its last",
            Self::BeyondTotal => "Content-Range has its last position beyond its total length",
            Self::TooLarge => "Content-Range has a number that is too large",
        })
    }
}

impl Error for InvalidContentRange {}

/// The `Range` header that answers an upload request (distribution-spec,
/// "Pushing a blob in chunks"), given the number of bytes received so far.
///
/// It is `0-<last position>`. This form cannot express that nothing was
/// received, so zero bytes give `0-0`, as one byte does; the CNCF distribution
/// registry does the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UploadRange(pub u64);

impl fmt::Display for UploadRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0-{}", self.0.saturating_sub(1))
    }
}

/// Splits the header into positions and, if it is a number, the total.
fn split(header: &str) -> Option<(&str, Option<&str>)> {
    match header.split_at_checked(BYTES.len()) {
        Some((unit, rest)) if unit.eq_ignore_ascii_case(BYTES) => {
            if let Some(range) = rest.strip_prefix('=') {
                return Some((range, None));
            }
            let range = rest.strip_prefix(' ')?;
            match range.split_once('/') {
                None => Some((range, None)),
                Some((range, "*")) => Some((range, None)),
                Some((range, total)) => is_number(total).then_some((range, Some(total))),
            }
        }
        _ => Some((header, None)),
    }
}

fn number(text: &str) -> Result<u64, InvalidContentRange> {
    match text.parse() {
        Ok(u64::MAX) | Err(_) => Err(InvalidContentRange::TooLarge),
        Ok(number) => Ok(number),
    }
}

#[cfg(test)]
mod tests {
    use super::{ContentRange, InvalidContentRange, UploadRange};

    #[test]
    fn good_content_ranges() {
        for (header, start, end, length) in [
            ("0-0", 0, 0, 1),
            ("3-9", 3, 9, 7),
            (" 3-9\t", 3, 9, 7),
            ("003-009", 3, 9, 7),
            ("bytes 3-9", 3, 9, 7),
            ("bytes 3-9/*", 3, 9, 7),
            ("bytes 3-9/10", 3, 9, 7),
            ("Bytes 3-9/10", 3, 9, 7),
            ("bytes=3-9", 3, 9, 7),
            ("0-18446744073709551614", 0, 18_446_744_073_709_551_614, u64::MAX),
        ] {
            let range = ContentRange::parse(header);
            let parts = range.map(|r| (r.start(), r.end_inclusive(), r.length()));
            assert_eq!(parts, Ok((start, end, length)), "{header:?}");
            let again = range.map(|range| ContentRange::parse(&range.to_string()));
            assert_eq!(again, Ok(range), "{header:?}");
        }
    }

    #[test]
    fn bad_content_ranges() {
        use InvalidContentRange::{BeyondTotal, Malformed, Reversed, TooLarge};
        for (header, error) in [
            ("", Malformed),
            ("-", Malformed),
            ("5", Malformed),
            ("5-", Malformed),
            ("-5", Malformed),
            ("a-b", Malformed),
            ("+1-2", Malformed),
            ("1--2", Malformed),
            ("1 - 2", Malformed),
            ("0-1,2-3", Malformed),
            ("1-2/3", Malformed),
            ("bytes", Malformed),
            ("bytes1-2", Malformed),
            ("bytes  1-2", Malformed),
            ("bytes=1-2/3", Malformed),
            ("bytes */10", Malformed),
            ("bytes 1-2/", Malformed),
            ("bytes 1-2/x", Malformed),
            ("items 1-2", Malformed),
            ("byte\u{e9} 1-2", Malformed),
            ("2-1", Reversed),
            ("bytes 2-1/10", Reversed),
            ("bytes 0-9/9", BeyondTotal),
            ("0-18446744073709551615", TooLarge),
            ("0-18446744073709551616", TooLarge),
            ("bytes 0-1/18446744073709551616", TooLarge),
        ] {
            assert_eq!(ContentRange::parse(header), Err(error), "{header:?}");
        }
    }

    #[test]
    fn upload_ranges() {
        for (offset, text) in
            [(0, "0-0"), (1, "0-0"), (2, "0-1"), (u64::MAX, "0-18446744073709551614")]
        {
            assert_eq!(UploadRange(offset).to_string(), text);
        }
    }
}
