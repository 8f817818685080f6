//! Records of a segment: a marker, the length, a checksum, and an event in JSON.

/// What a record begins with. The first and the last byte are in no UTF-8, and so in no event:
/// after damage, the next record is found by it.
const MARKER: [u8; 4] = [0xff, b'e', b'v', 0xfe];

/// Bytes before an event: the marker, the length, and CRC-32 of the length and the event.
pub(crate) const HEADER: usize = 12;

/// The longest event in bytes; one with more references is kept without them.
///
/// Limit: bytes of an event; test: `events_that_are_too_long_lose_their_references`.
pub(crate) const EVENT_LIMIT: usize = 4 * 1024 * 1024;

/// Bytes of a segment before its first record: the version of the format.
pub(crate) const PREFIX: &[u8; 8] = b"rsevent1";

/// Adds a record to `buffer`.
pub(crate) fn append(buffer: &mut Vec<u8>, event: &[u8]) {
    // Events are no longer than their limit.
    let length = u32::try_from(event.len()).unwrap_or(u32::MAX).to_le_bytes();
    buffer.extend_from_slice(&MARKER);
    buffer.extend_from_slice(&length);
    buffer.extend_from_slice(&checksum(&length, event).to_le_bytes());
    buffer.extend_from_slice(event);
}

/// What bytes begin with.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Parsed<'a> {
    /// An event; with its header, it has this many bytes.
    Event(&'a [u8], usize),
    /// The beginning of a record: with this many bytes, more can be said.
    Short(usize),
    /// No record.
    Damaged,
}

/// Reads the record that `bytes` begin with.
pub(crate) fn parse(bytes: &[u8]) -> Parsed<'_> {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER>() else {
        let known = bytes.len().min(MARKER.len());
        let begins = bytes[..known] == MARKER[..known];
        return if begins { Parsed::Short(HEADER) } else { Parsed::Damaged };
    };
    let [m0, m1, m2, m3, l0, l1, l2, l3, c0, c1, c2, c3] = *header;
    let length = [l0, l1, l2, l3];
    let count = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if [m0, m1, m2, m3] != MARKER || count == 0 || count > EVENT_LIMIT {
        return Parsed::Damaged;
    }
    let Some((event, _)) = rest.split_at_checked(count) else {
        return Parsed::Short(HEADER + count);
    };
    if checksum(&length, event) == u32::from_le_bytes([c0, c1, c2, c3]) {
        Parsed::Event(event, HEADER + count)
    } else {
        Parsed::Damaged
    }
}

/// How many bytes to skip of those that begin with no record: to the next marker, or as far as
/// there is none.
pub(crate) fn damaged(bytes: &[u8]) -> usize {
    let next = bytes.iter().skip(1).position(|byte| *byte == MARKER[0]);
    next.map_or(bytes.len(), |at| at + 1)
}

fn checksum(length: &[u8], event: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(length);
    hasher.update(event);
    hasher.finalize()
}
