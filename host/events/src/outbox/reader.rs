//! Reads events from segments, a window at a time.

use super::record::{self, HEADER, Parsed};
use super::{Position, files};
use crate::event::Head;
use bytes::Bytes;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;

/// How much of a segment is in memory for an endpoint, in bytes: more only for a longer event.
///
/// Limit: bytes of the outbox in memory for an endpoint; test: `events_are_read_in_batches`.
const WINDOW: u64 = 1024 * 1024;

/// Events of a request, at most.
///
/// Limit: events in a request to an endpoint; test: `events_are_read_in_batches`.
pub(crate) const BATCH_EVENTS: usize = 100;

/// Bytes of a request's events: one event may be longer.
///
/// Limit: bytes of the events in a request to an endpoint; test: `events_are_read_in_batches`.
pub(crate) const BATCH_BYTES: usize = 1024 * 1024;

/// Events that are looked at for a batch, most of which the endpoint may ignore.
///
/// Limit: events that are looked at for a request; test: `events_are_read_in_batches`.
const SCAN_EVENTS: usize = 10_000;

/// An event, and where the next one begins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Stored {
    pub(crate) event: Bytes,
    pub(crate) end: Position,
}

/// Events to be sent.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) events: Vec<Stored>,
    /// What comes after them, and after all that the endpoint ignores.
    pub(crate) end: Position,
    /// How many times something was skipped that is no event.
    pub(crate) damaged: u64,
}

/// A place in the segments.
pub(crate) struct Reader {
    directory: PathBuf,
    /// The segment that the window shows, where that begins, and its bytes.
    window: (u64, u64, Vec<u8>),
    /// How many times something was skipped that is no event.
    pub(crate) damaged: u64,
}

impl Reader {
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory, window: Default::default(), damaged: 0 }
    }

    /// Reads what is to be sent of the events from `start` to `end`.
    pub(crate) fn batch(
        &mut self,
        start: Position,
        end: Position,
        most: usize,
        wanted: impl Fn(&Head<'_>) -> bool,
    ) -> io::Result<Batch> {
        let (mut events, mut at, mut bytes) = (Vec::new(), start, 0);
        for _ in 0..SCAN_EVENTS {
            let Some(found) = self.next(at, end)? else {
                at = end;
                break;
            };
            let length = found.event.len();
            let is_wanted = Head::parse(&found.event).is_some_and(|head| wanted(&head));
            if is_wanted && !events.is_empty() && bytes + length > BATCH_BYTES {
                break;
            }
            at = found.end;
            if is_wanted {
                bytes += length;
                events.push(found);
            }
            if events.len() >= most.min(BATCH_EVENTS) {
                break;
            }
        }
        Ok(Batch { events, end: at, damaged: std::mem::take(&mut self.damaged) })
    }

    /// The first event from `at` on, before `end`.
    pub(crate) fn next(&mut self, mut at: Position, end: Position) -> io::Result<Option<Stored>> {
        let mut skipping = false;
        while at < end {
            let Some(limit) = self.limit(at.segment, end)?.filter(|limit| at.offset < *limit)
            else {
                at = files::first(at.segment + 1);
                continue;
            };
            let here = self.fill(at, HEADER as u64, limit)?;
            let (skip, needed) = match record::parse(here) {
                Parsed::Event(event, length) => {
                    let event = Bytes::copy_from_slice(event);
                    let end = Position { offset: at.offset + length as u64, ..at };
                    return Ok(Some(Stored { event, end }));
                }
                Parsed::Short(needed) if at.offset + needed as u64 <= limit => (0, needed),
                // It goes on beyond the end: what follows may be a record nevertheless.
                Parsed::Short(_) | Parsed::Damaged => (record::damaged(here), 0),
            };
            if needed > 0 {
                self.fill(at, needed as u64, limit)?;
                continue;
            }
            self.damaged += u64::from(!skipping);
            skipping = true;
            at.offset += skip as u64;
        }
        Ok(None)
    }

    /// Where a segment ends; `None` if it is gone.
    fn limit(&self, segment: u64, end: Position) -> io::Result<Option<u64>> {
        if segment == end.segment {
            return Ok(Some(end.offset));
        }
        match std::fs::metadata(files::segment(&self.directory, segment)) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The bytes from `at` on that are in memory: at least so many as are needed, or all up to
    /// the limit.
    fn fill(&mut self, at: Position, needed: u64, limit: u64) -> io::Result<&[u8]> {
        let needed = needed.min(limit - at.offset);
        let (segment, start, bytes) = &self.window;
        let held = *start..=*start + bytes.len() as u64;
        let holds = *segment == at.segment
            && held.contains(&at.offset)
            && held.contains(&(at.offset + needed));
        if !holds {
            let mut file = File::open(files::segment(&self.directory, at.segment))?;
            file.seek(SeekFrom::Start(at.offset))?;
            let wanted = needed.max(WINDOW).min(limit - at.offset);
            let mut bytes = Vec::new();
            file.take(wanted).read_to_end(&mut bytes)?;
            if (bytes.len() as u64) < needed {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    format!("segment {} of the outbox is shorter than it was", at.segment),
                ));
            }
            self.window = (at.segment, at.offset, bytes);
        }
        let (_, start, bytes) = &self.window;
        let from = usize::try_from(at.offset - start).unwrap_or(usize::MAX);
        // Not beyond the limit, which may have been less than now when it was read.
        let to = usize::try_from(limit - start).unwrap_or(usize::MAX).min(bytes.len());
        Ok(bytes.get(from..to).unwrap_or_default())
    }
}
