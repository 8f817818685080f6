//! The `Range` header of blob downloads, and the `Content-Range` of responses.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::Range;

/// A byte range requested by a `Range` header (RFC 9110, section 14.2;
/// distribution-spec, "Pulling blobs").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ByteRange(ByteRangeSpec);

impl ByteRange {
    /// Reads a `Range` header with one range: `bytes=a-b`, `bytes=a-` or
    /// `bytes=-n`, the unit in any case.
    ///
    /// `None` means that the header is to be ignored, which RFC 9110 allows
    /// for any of them: another unit, more than one range, or no valid syntax.
    /// A range whose first position is after its last is kept, to be refused
    /// by [`Self::resolve`]; numbers beyond 64 bits count as the greatest.
    pub fn parse(header: &str) -> Option<Self> {
        let (unit, range) = header.split_once('=')?;
        if !unit.trim_matches(BLANKS).eq_ignore_ascii_case(BYTES) {
            return None;
        }
        let (first, last) = range.trim_matches(BLANKS).split_once('-')?;
        let spec = match (first, last) {
            ("", last) => ByteRangeSpec::Suffix(saturating(last)?),
            (first, "") => ByteRangeSpec::From(saturating(first)?),
            (first, last) => ByteRangeSpec::Between(saturating(first)?, saturating(last)?),
        };
        Some(Self(spec))
    }

    /// The positions to send of content with `size` bytes, end excluded, never
    /// empty.
    ///
    /// `None` means that the range cannot be satisfied (416): it starts at or
    /// after the end, is reversed, or is a suffix of zero bytes. Nothing of an
    /// empty content can be sent either, because `Content-Range` cannot say so.
    pub fn resolve(self, size: u64) -> Option<Range<u64>> {
        let range = match self.0 {
            ByteRangeSpec::Between(first, last) => first..last.saturating_add(1).min(size),
            ByteRangeSpec::From(first) => first..size,
            ByteRangeSpec::Suffix(length) => size.saturating_sub(length)..size,
        };
        (!range.is_empty()).then_some(range)
    }
}

impl ByteRange {
    /// What is requested, before the size of the content is known.
    pub const fn spec(self) -> ByteRangeSpec {
        self.0
    }
}

impl fmt::Display for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ByteRangeSpec::Between(first, last) => write!(f, "{BYTES}={first}-{last}"),
            ByteRangeSpec::From(first) => write!(f, "{BYTES}={first}-"),
            ByteRangeSpec::Suffix(length) => write!(f, "{BYTES}=-{length}"),
        }
    }
}

/// The `Content-Range` of a response with the positions `part`, end excluded and
/// not empty, of a content of `size` bytes (RFC 9110, section 14.4).
pub fn content_range(part: &Range<u64>, size: u64) -> String {
    let last = part.end.saturating_sub(1);
    format!("{BYTES} {}-{last}/{size}", part.start)
}

/// The three forms of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ByteRangeSpec {
    /// The first and the last position. The last may be before the first.
    Between(u64, u64),
    /// Everything from this position on.
    From(u64),
    /// This many bytes at the end.
    Suffix(u64),
}

/// The range unit of RFC 9110, section 14.1.2.
pub(super) const BYTES: &str = "bytes";

/// The optional white space of RFC 9110, section 5.6.3.
pub(super) const BLANKS: [char; 2] = [' ', '\t'];

/// Whether `text` is one or more of the digits 0 to 9; Rust's own parsers
/// would also take a sign.
pub(super) fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The number in `text`, or the maximum if it does not fit.
fn saturating(text: &str) -> Option<u64> {
    is_number(text).then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::{ByteRange, content_range};

    const HUGE: &str = "99999999999999999999999";

    #[test]
    fn ranges_resolve() {
        for (header, size, expected) in [
            ("bytes=0-0", 10, Some(0..1)),
            ("bytes=2-5", 10, Some(2..6)),
            ("bytes=2-", 10, Some(2..10)),
            ("bytes=-3", 10, Some(7..10)),
            ("bytes=-30", 10, Some(0..10)),
            ("bytes=9-9", 10, Some(9..10)),
            ("bytes=9-20", 10, Some(9..10)),
            ("Bytes=00-09", 10, Some(0..10)),
            (" bytes = 1-2\t", 10, Some(1..3)),
            (&format!("bytes=1-{HUGE}"), 10, Some(1..10)),
            (&format!("bytes=-{HUGE}"), 10, Some(0..10)),
            ("bytes=10-", 10, None),
            ("bytes=10-20", 10, None),
            ("bytes=5-4", 10, None),
            ("bytes=5-0", 10, None),
            ("bytes=-0", 10, None),
            (&format!("bytes={HUGE}-"), 10, None),
            (&format!("bytes={HUGE}-{HUGE}"), u64::MAX, None),
            ("bytes=0-", 0, None),
            ("bytes=0-0", 0, None),
            ("bytes=-1", 0, None),
            ("bytes=0-18446744073709551615", u64::MAX, Some(0..u64::MAX)),
            ("bytes=18446744073709551614-", u64::MAX, Some(u64::MAX - 1..u64::MAX)),
        ] {
            let range = ByteRange::parse(header);
            let resolved = range.map(|range| range.resolve(size));
            assert_eq!(resolved, Some(expected), "{header} of {size}");
        }
    }

    #[test]
    fn content_ranges() {
        assert_eq!(content_range(&(2..6), 10), "bytes 2-5/10");
        assert_eq!(content_range(&(0..1), 1), "bytes 0-0/1");
    }

    #[test]
    fn other_headers_are_ignored() {
        for header in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=5",
            "bytes=a-b",
            "bytes=0x1-2",
            "bytes=+1-2",
            "bytes=1--2",
            "bytes=--2",
            "bytes=1 - 2",
            "bytes=0-1,3-4",
            "bytes=0-1,",
            "bytes 0-1",
            "items=0-1",
            "bytes=0-1/2",
            "bytes==0-1",
            "bytes=\u{661}-2",
        ] {
            assert_eq!(ByteRange::parse(header), None, "{header:?}");
        }
    }
}
