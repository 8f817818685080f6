//! The records of a journal.
//!
//! A segment begins with a line, `roadstead journal 1 `, the boot id of the kernel, and a
//! line feed. Each record is
//!
//! ```text
//! bytes  4     4           8          1     2            path   rest
//!        CRC   its length  time (ns)  kind  path length  path   content
//! ```
//!
//! Numbers are in little endian; the CRC-32 (IEEE) is that of all that follows the length,
//! content first, and the length counts the same. A record that is cut off or has another
//! CRC ends the segment: whoever appended it was not answered. The path is relative to the
//! root. The time is when the file was last modified (mtime) that is put, or when one was
//! removed, in nanoseconds since 1970.

use super::CONTENT_LIMIT;
use rustix::time::{ClockId, clock_gettime};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path};

/// What the first line begins with.
const MAGIC: &str = "roadstead journal 1 ";

/// The length of a boot id: a UUID.
const BOOT_ID: usize = 36;

/// Bytes of a record before its path.
const HEAD: usize = 4 + 4 + 8 + 1 + 2;

/// What a change makes of a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Record<'a> {
    /// A file with this content, which was modified at this time.
    Put(&'a [u8], u64),
    /// A file that is durable without the journal.
    Placed,
    /// Nothing, since this time.
    Gone(u64),
}

impl Record<'_> {
    fn kind(self) -> u8 {
        match self {
            Self::Put(..) => 1,
            Self::Placed => 2,
            Self::Gone(_) => 3,
        }
    }

    fn time(self) -> u64 {
        match self {
            Self::Put(_, time) | Self::Gone(time) => time,
            Self::Placed => 0,
        }
    }

    fn content(&self) -> &[u8] {
        if let Self::Put(content, _) = self { content } else { &[] }
    }
}

/// The first line of a segment.
pub(super) fn header(boot_id: &str) -> String {
    format!("{MAGIC}{boot_id}\n")
}

/// The records of a segment. `None` if not even the header is there.
pub(super) fn parse(segment: &[u8]) -> Option<Records<'_>> {
    let (header, records) = segment.split_at_checked(MAGIC.len() + BOOT_ID + 1)?;
    header.starts_with(MAGIC.as_bytes()).then_some(Records(records))
}

/// When a file was modified, in the units of a record.
pub(crate) fn modified(found: &fs::Metadata) -> u64 {
    nanoseconds_since_1970(found.mtime(), found.mtime_nsec())
}

/// The time by the clock that stamps files.
pub(crate) fn now() -> u64 {
    let now = clock_gettime(ClockId::RealtimeCoarse);
    nanoseconds_since_1970(now.tv_sec, now.tv_nsec)
}

/// Times before 1970 are 1970.
fn nanoseconds_since_1970(seconds: i64, nanoseconds: i64) -> u64 {
    let all = i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
    u64::try_from(all.max(0)).unwrap_or(u64::MAX)
}

/// A record that is to be appended.
pub(super) struct Entry<'a> {
    path: &'a [u8],
    path_length: u16,
    length: u32,
    record: Record<'a>,
    /// Of the content, which takes longest.
    crc: crc32fast::Hasher,
}

impl<'a> Entry<'a> {
    pub(super) fn new(path: &'a Path, record: Record<'a>) -> io::Result<Self> {
        let path = path.as_os_str().as_bytes();
        let content = record.content();
        if content.len() > CONTENT_LIMIT {
            return Err(io::Error::other("content is too long for the journal"));
        }
        let path_length = u16::try_from(path.len()).map_err(io::Error::other)?;
        let length = u32::try_from(HEAD - 8 + path.len() + content.len());
        let length = length.map_err(io::Error::other)?;
        let mut crc = crc32fast::Hasher::new();
        crc.update(content);
        Ok(Self { path, path_length, length, record, crc })
    }

    pub(super) fn append_to(self, records: &mut Vec<u8>) {
        let mut head = Vec::with_capacity(HEAD - 8 + self.path.len());
        head.extend(self.record.time().to_le_bytes());
        head.push(self.record.kind());
        head.extend(self.path_length.to_le_bytes());
        head.extend(self.path);
        let mut crc = self.crc;
        crc.update(&head);
        records.extend(crc.finalize().to_le_bytes());
        records.extend(self.length.to_le_bytes());
        records.extend(head);
        records.extend(self.record.content());
    }
}

/// A record that was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Parsed<'a> {
    pub(super) path: &'a Path,
    pub(super) record: Record<'a>,
}

/// The records of a segment, as far as they are whole.
pub(super) struct Records<'a>(&'a [u8]);

impl<'a> Iterator for Records<'a> {
    type Item = Parsed<'a>;

    fn next(&mut self) -> Option<Parsed<'a>> {
        let (parsed, rest) = read(self.0)?;
        self.0 = rest;
        Some(parsed)
    }
}

fn read(bytes: &[u8]) -> Option<(Parsed<'_>, &[u8])> {
    let (crc, rest) = bytes.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (body, rest) = rest.split_at_checked(u32::from_le_bytes(*length).try_into().ok()?)?;
    let (time, after) = body.split_first_chunk()?;
    let (&kind, after) = after.split_first()?;
    let (path_length, after) = after.split_first_chunk()?;
    let (path, content) = after.split_at_checked(u16::from_le_bytes(*path_length).into())?;
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(content);
    hasher.update(&body[..body.len() - content.len()]);
    if hasher.finalize() != u32::from_le_bytes(*crc) {
        return None;
    }
    let time = u64::from_le_bytes(*time);
    let record = match kind {
        1 => Record::Put(content, time),
        2 => Record::Placed,
        3 => Record::Gone(time),
        _ => return None,
    };
    let path = Path::new(std::ffi::OsStr::from_bytes(path));
    let is_below = path.components().all(|component| matches!(component, Component::Normal(_)));
    (is_below && !path.as_os_str().is_empty()).then_some((Parsed { path, record }, rest))
}

#[cfg(test)]
mod tests {
    use super::{Entry, Parsed, Record, header, parse};
    use std::path::Path;

    const BOOT_ID: &str = "00000000-0000-0000-0000-000000000000";

    fn segment(records: &[(&str, Record<'_>)]) -> Vec<u8> {
        let mut segment = header(BOOT_ID).into_bytes();
        for (path, record) in records {
            Entry::new(Path::new(path), *record).unwrap().append_to(&mut segment);
        }
        segment
    }

    #[test]
    fn what_was_appended_is_read() {
        let records = [
            ("a/b", Record::Put(b"content", 7)),
            ("a/c", Record::Put(b"", 8)),
            ("a/b", Record::Gone(9)),
            ("a/d", Record::Placed),
        ];
        let bytes = segment(&records);
        let read: Vec<_> = parse(&bytes).unwrap().collect();
        let expected: Vec<_> = records
            .iter()
            .map(|(path, record)| Parsed { path: Path::new(path), record: *record })
            .collect();
        assert_eq!(read, expected);
    }

    #[test]
    fn what_is_torn_or_damaged_ends_a_segment() {
        let bytes = segment(&[("a", Record::Put(b"one", 7)), ("b", Record::Put(b"two", 7))]);
        let whole = |bytes: &[u8]| parse(bytes).map_or(0, Iterator::count);
        let first = segment(&[("a", Record::Put(b"one", 7))]).len();
        for length in 0..bytes.len() {
            assert_eq!(whole(&bytes[..length]), usize::from(length >= first), "{length}");
        }
        let start = header(BOOT_ID).len();
        for at in start..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert_eq!(whole(&damaged), usize::from(at >= first), "{at}");
        }
        // Zeros, which some file systems leave at the end.
        let zeros = [&bytes[..], &[0; 100]].concat();
        assert_eq!(whole(&zeros), 2);
    }

    #[test]
    fn paths_stay_below_the_root() {
        for path in ["/etc/passwd", "../a", "a/../../b", ""] {
            let bytes = segment(&[(path, Record::Put(b"x", 7))]);
            assert_eq!(parse(&bytes).unwrap().count(), 0, "{path}");
        }
    }
}
