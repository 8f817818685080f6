//! Opens an outbox: cuts what a crash has left incomplete, and finds out how far each endpoint has
//! come.

use super::files::{self, Cursors, Known};
use super::{Position, Reader, START, Shared, Writer};
use crate::event::Head;
use crate::log::{Level, Log};
use crate::settings::Endpoint;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Opens the outbox in a directory, which is created.
pub(crate) fn open(
    directory: &Path,
    endpoints: Vec<Endpoint>,
    limit: u64,
    log: &Log,
) -> io::Result<(Arc<Shared>, Writer)> {
    fs::create_dir_all(directory)?;
    let lock = files::lock(directory)?;
    let known = files::read_cursors(directory)?;
    let (numbers, end) = mend(directory, &known, log)?;
    let first = files::first(numbers.first().copied().unwrap_or(end.segment));
    let positions = positions(&endpoints, &known, first, end, log);
    let shared = Arc::new(Shared::new(directory.to_owned(), endpoints, positions, end));
    // At once: an endpoint that is new must not be new again after a crash.
    files::save_cursors(directory, shared.cursors())?;
    if let Some(parent) = directory.parent() {
        files::sync_directory(parent)?;
    }
    count(&shared, end, log)?;
    let mut writer = Writer::new(Arc::clone(&shared), lock, limit, Arc::clone(log));
    for number in numbers {
        writer.add(number, fs::metadata(files::segment(directory, number))?.len());
    }
    writer.remove_passed();
    Ok((shared, writer))
}

impl Shared {
    /// How far endpoints have come, by their names.
    pub(super) fn cursors(&self) -> Cursors {
        let mut positions = self.lock();
        positions.changed = false;
        let names = self.endpoints.iter().map(|endpoint| endpoint.name.clone());
        names.zip(positions.of.iter().copied()).collect()
    }
}

/// The segments, and where they end. The last one may end within a record, which is cut off.
fn mend(directory: &Path, known: &Known, log: &Log) -> io::Result<(Vec<u64>, Position)> {
    let mut numbers = files::segments(directory)?;
    while let Some(&last) = numbers.last() {
        let path = files::segment(directory, last);
        let length = fs::metadata(&path)?.len();
        let mut end = files::first(last);
        let beyond = Position { segment: last, offset: length };
        let mut reader = Reader::new(directory.to_owned());
        while let Some(stored) = reader.next(end, beyond)? {
            end = stored.end;
        }
        if end.offset < length || length < START {
            let cut = length.saturating_sub(end.offset);
            log(
                Level::Warn,
                &format!(
                    "notifications: {cut} bytes of an event that was not complete were cut off"
                ),
            );
        }
        if length < START {
            fs::remove_file(path)?;
            numbers.pop();
            continue;
        }
        let file = files::append(directory, last)?;
        file.set_len(end.offset)?;
        // What was written before a crash, and was not synced, is sent too.
        file.sync_all()?;
        return Ok((numbers, end));
    }
    // Numbers are never used again: a cursor of the former segments would be wrong.
    let used = match known {
        Known::Cursors(cursors) => cursors.values().map(|cursor| cursor.segment).max(),
        _ => None,
    };
    Ok((numbers, files::first(used.unwrap_or_default().saturating_add(1))))
}

/// Where the endpoints go on: new ones at the end.
fn positions(
    endpoints: &[Endpoint],
    known: &Known,
    first: Position,
    end: Position,
    log: &Log,
) -> Vec<Position> {
    let none = Cursors::new();
    let (cursors, unknown) = match known {
        Known::New if first == end => (&none, end),
        Known::New => (&none, first),
        Known::Cursors(cursors) => (cursors, end),
        Known::Unreadable(reason) => {
            let text = format!(
                "notifications: the file of cursors cannot be read ({reason}): all events of the \
                 outbox are sent again"
            );
            log(Level::Error, &text);
            (&none, first)
        }
    };
    let position = |endpoint: &Endpoint| match cursors.get(&endpoint.name) {
        Some(cursor) => (*cursor).clamp(first, end),
        None => unknown,
    };
    endpoints.iter().map(position).collect()
}

/// Counts the events that wait.
fn count(shared: &Shared, end: Position, log: &Log) -> io::Result<()> {
    let positions: Vec<_> = (0..shared.endpoints.len()).map(|n| shared.position(n)).collect();
    let mut reader = Reader::new(shared.directory.clone());
    let mut at = positions.iter().copied().min().unwrap_or(end);
    while let Some(stored) = reader.next(at, end)? {
        if let Some(Head { action, target, .. }) = Head::parse(&stored.event) {
            let wanted = shared.wanted(&action, &target.media_type);
            let own = |index: &usize| wanted >> index & 1 == 1 && positions[*index] < stored.end;
            for index in (0..positions.len()).filter(own) {
                shared.counters[index].waiting(1);
            }
        }
        at = stored.end;
    }
    if reader.damaged > 0 {
        let text = format!("notifications: {} parts of the outbox are damaged", reader.damaged);
        log(Level::Error, &text);
    }
    Ok(())
}
