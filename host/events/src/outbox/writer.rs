//! The thread that writes the outbox.

use super::queue::Work;
use super::{Position, Publishing, Reader, START, Shared, Wanted, files, record};
use crate::counters::add;
use crate::event::Head;
use crate::log::{Level, Log, Trouble};
use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// A segment is at most this part of the whole outbox: as much is lost at once when that is full.
///
/// Limit: part of the outbox that a segment takes; test: `a_full_outbox`.
const SEGMENTS: u64 = 16;

/// The largest segment in bytes: longer only by what is written at once.
///
/// Limit: bytes of a segment of the outbox; test: `a_full_outbox`.
const SEGMENT_LIMIT: u64 = 8 * 1024 * 1024;

/// How full the outbox may be for pull events, in percent.
///
/// Limit: percent of the outbox that pull events may fill; test: `a_full_outbox`.
const PULLS_PERCENT: u64 = 90;

/// Has nobody wait for a writer that has ended, also by a panic.
struct Abandoned(Arc<Shared>);

impl Drop for Abandoned {
    fn drop(&mut self) {
        self.0.queue.abandon();
    }
}

/// Writes events, saves cursors, and removes segments.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    /// All segments with their lengths.
    segments: VecDeque<(u64, u64)>,
    /// The last of them, if more is written to it.
    file: Option<File>,
    /// The number of the next segment, whether there are others or not.
    next: u64,
    /// The last segment cannot be relied on: a write has failed.
    broken: bool,
    limit: u64,
    log: Log,
    failed: Trouble,
    full: Trouble,
    pulls: Trouble,
    /// Held as long as the outbox is open.
    _lock: File,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, lock: File, limit: u64, log: Log) -> Self {
        let (failed, full, pulls) = Default::default();
        let (segments, file, next) = (VecDeque::new(), None, shared.end.borrow().segment);
        let broken = false;
        Self { shared, segments, file, next, broken, limit, log, failed, full, pulls, _lock: lock }
    }

    /// Knows of a segment.
    pub(super) fn add(&mut self, number: u64, length: u64) {
        self.segments.push_back((number, length));
        self.next = number + 1;
    }

    /// Works until the end.
    pub(crate) fn run(mut self) {
        let _abandoned = Abandoned(Arc::clone(&self.shared));
        loop {
            let Work { published, lazy, save, last } = self.shared.queue.take();
            self.write_all(published, lazy);
            if save {
                self.save();
            }
            if last {
                return;
            }
        }
    }

    /// Writes events, and tells whoever waits.
    pub(super) fn write_all(&mut self, published: Vec<Publishing>, lazy: Vec<(Vec<u8>, Wanted)>) {
        if published.is_empty() && lazy.is_empty() {
            return;
        }
        let (mut bytes, mut wanted) = (Vec::new(), Vec::new());
        for publishing in &published {
            record::append(&mut bytes, &publishing.event);
            wanted.push(publishing.wanted);
        }
        self.make_room(bytes.len() as u64);
        self.add_lazy(lazy, &mut bytes, &mut wanted);
        let result = if bytes.is_empty() { Ok(()) } else { self.write(&bytes) };
        match &result {
            Ok(()) => {
                self.count(&wanted, |counters| counters.queued(1));
                if let (Some(&(segment, offset)), false) = (self.segments.back(), bytes.is_empty())
                {
                    self.shared.end.send_replace(Position { segment, offset });
                }
            }
            Err(error) => {
                self.count(&wanted, |counters| add(&counters.dropped, 1));
                if let Some(count) = self.failed.happened(wanted.len() as u64, Instant::now()) {
                    self.say(
                        Level::Error,
                        &format!("{count} events cannot be written and are lost: {error}"),
                    );
                }
            }
        }
        self.shared.queue.hangs.store(false, Ordering::Relaxed);
        for publishing in published {
            let result = match &result {
                Ok(()) => Ok(()),
                Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
            };
            // The client may have gone.
            let _ = publishing.done.send(result);
        }
    }

    /// Adds events that may be dropped, as far as there is room for them.
    fn add_lazy(
        &mut self,
        lazy: Vec<(Vec<u8>, Wanted)>,
        bytes: &mut Vec<u8>,
        wanted: &mut Vec<Wanted>,
    ) {
        let room = self.limit / 100 * PULLS_PERCENT;
        let held = self.held();
        let mut dropped = Vec::new();
        for (event, wants) in lazy {
            if held + bytes.len() as u64 + event.len() as u64 > room {
                dropped.push(wants);
            } else {
                record::append(bytes, &event);
                wanted.push(wants);
            }
        }
        self.count(&dropped, |counters| add(&counters.dropped, 1));
        if dropped.is_empty() {
            return;
        }
        if let Some(count) = self.pulls.happened(dropped.len() as u64, Instant::now()) {
            self.say(
                Level::Warn,
                &format!("the outbox is nearly full: {count} events of pulls are lost"),
            );
        }
    }

    fn count(&self, wanted: &[Wanted], count: impl Fn(&crate::counters::Counters)) {
        for wanted in wanted {
            self.shared.counters(*wanted).for_each(&count);
        }
    }

    /// Bytes of all segments.
    fn held(&self) -> u64 {
        self.segments.iter().map(|(_, length)| length).sum()
    }

    /// Appends records, and syncs them. After a failure, what may be there of them is cut off, and
    /// the next ones go into another segment.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let size = (self.limit / SEGMENTS).min(SEGMENT_LIMIT);
        if self.segments.back().is_some_and(|(_, length)| *length >= size) {
            self.file = None;
        }
        let mut file = match self.file.take() {
            Some(file) => file,
            None => self.next_segment(size)?,
        };
        let written = file.write_all(bytes).and_then(|()| file.sync_data());
        let Some((_, length)) = self.segments.back_mut() else { return written };
        match written {
            Ok(()) => {
                *length += bytes.len() as u64;
                self.file = Some(file);
                Ok(())
            }
            Err(error) => {
                let _ = file.set_len(*length);
                self.broken = true;
                Err(error)
            }
        }
    }

    /// The last segment if there is room in it and nothing has failed, or a new one.
    fn next_segment(&mut self, size: u64) -> io::Result<File> {
        let directory = &self.shared.directory;
        if let Some(&(number, length)) = self.segments.back()
            && length < size
            && !self.broken
        {
            return files::append(directory, number);
        }
        let number = self.next;
        // Also if it fails.
        self.next += 1;
        let file = files::create(directory, number)?;
        self.segments.push_back((number, START));
        self.broken = false;
        Ok(file)
    }

    /// Removes the oldest events for new ones.
    fn make_room(&mut self, length: u64) {
        while self.held() + length > self.limit && self.segments.len() > 1 {
            let Some((number, _)) = self.segments.pop_front() else { return };
            let lost = self.drop_segment(number);
            if lost == 0 {
                continue;
            }
            if let Some(count) = self.full.happened(lost, Instant::now()) {
                self.say(
                    Level::Error,
                    &format!(
                        "the outbox is full ({} bytes, notifications.outbox.maxsize): the {count} \
                     oldest events are lost to endpoints that have not taken them",
                        self.limit
                    ),
                );
            }
        }
    }

    /// Removes a segment that endpoints may not have passed. Returns how many events are lost, each
    /// counted once for each of the endpoints.
    fn drop_segment(&self, number: u64) -> u64 {
        let mut events = Vec::new();
        let end = files::first(number + 1);
        let mut reader = Reader::new(self.shared.directory.clone());
        let mut at = files::first(number);
        while let Ok(Some(stored)) = reader.next(at, end) {
            at = stored.end;
            if let Some(head) = Head::parse(&stored.event) {
                let wanted = self.shared.wanted(&head.action, &head.target.media_type);
                events.push((stored.end, wanted));
            }
        }
        let mut lost = 0;
        let mut positions = self.shared.lock();
        for (index, position) in positions.of.iter_mut().enumerate().filter(|it| *it.1 < end) {
            let own =
                |(at, wanted): &&(Position, Wanted)| at > position && wanted >> index & 1 == 1;
            let count = events.iter().filter(own).count() as u64;
            *position = end;
            self.shared.counters[index].left(count);
            add(&self.shared.counters[index].dropped, count);
            lost += count;
        }
        positions.changed = true;
        drop(positions);
        let _ = fs::remove_file(files::segment(&self.shared.directory, number));
        lost
    }

    /// Saves the cursors, and removes the segments that all endpoints have passed.
    fn save(&mut self) {
        if !self.shared.lock().changed {
            return;
        }
        match files::save_cursors(&self.shared.directory, self.shared.cursors()) {
            Ok(()) => self.remove_passed(),
            Err(error) => {
                // They are saved later; until then, more is sent again after a crash.
                self.shared.lock().changed = true;
                if let Some(count) = self.failed.happened(1, Instant::now()) {
                    self.say(
                        Level::Error,
                        &format!("cursors cannot be saved ({count} times): {error}"),
                    );
                }
            }
        }
    }

    /// Removes the segments that all endpoints have passed, but for the last.
    pub(super) fn remove_passed(&mut self) {
        let passed = self.shared.lock().of.iter().copied().min();
        while let (Some(passed), Some(&(number, length)), true) =
            (passed, self.segments.front(), self.segments.len() > 1)
        {
            if passed < (Position { segment: number, offset: length }) {
                return;
            }
            let _ = fs::remove_file(files::segment(&self.shared.directory, number));
            self.segments.pop_front();
        }
    }

    fn say(&self, level: Level, text: &str) {
        (self.log)(level, &format!("notifications: {text}"));
    }
}
