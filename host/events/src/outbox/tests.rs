//! The files of an outbox after crashes and damage.

use super::files::{self, Cursors};
use super::record::{self, EVENT_LIMIT, HEADER, Parsed};
use super::{Position, Reader, START, Shared, Writer, open};
use crate::log::Level;
use crate::outbox::queue::Queue;
use crate::tests::{Lines, endpoint, settings, unlocked};
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

fn opened(directory: &Path, names: &[&str]) -> (Arc<Shared>, Writer, Lines) {
    let endpoints = names.iter().map(|name| endpoint(name, "http://127.0.0.1:1/")).collect();
    let (settings, lines) = (settings(endpoints, 64 << 20), Lines::default());
    let begin = || open(directory, settings.endpoints.clone(), 64 << 20, &lines.log());
    let is_locked = |error: &io::Error| error.kind() == io::ErrorKind::ResourceBusy;
    let (shared, writer) = unlocked(begin, is_locked).unwrap();
    (shared, writer, lines)
}

fn json(number: usize) -> Vec<u8> {
    let target = format!(r#"{{"mediaType":"","digest":"","size":0,"tag":"{number}"}}"#);
    format!(r#"{{"id":"","timestamp":"","action":"push","target":{target}}}"#).into_bytes()
}

/// A segment with events of these numbers.
fn segment(directory: &Path, number: u64, events: std::ops::Range<usize>) -> Vec<u8> {
    let mut bytes = record::PREFIX.to_vec();
    for event in events {
        record::append(&mut bytes, &json(event));
    }
    fs::write(files::segment(directory, number), &bytes).unwrap();
    bytes
}

fn save(directory: &Path, name: &str, position: Position) {
    files::save_cursors(directory, Cursors::from([(name.to_owned(), position)])).unwrap();
}

/// All events of an outbox.
fn read(directory: &Path, shared: &Shared) -> Vec<Vec<u8>> {
    let (mut reader, end) = (Reader::new(directory.to_owned()), *shared.end.borrow());
    let (mut at, mut events) = (shared.position(0), Vec::new());
    while let Some(stored) = reader.next(at, end).unwrap() {
        events.push(stored.event.to_vec());
        at = stored.end;
    }
    events
}

fn jsons(numbers: impl IntoIterator<Item = usize>) -> Vec<Vec<u8>> {
    numbers.into_iter().map(json).collect()
}

#[test]
fn records() {
    let mut bytes = Vec::new();
    record::append(&mut bytes, b"{}");
    assert_eq!(record::parse(&bytes), Parsed::Event(b"{}", HEADER + 2));
    for length in 0..HEADER {
        assert_eq!(record::parse(&bytes[..length]), Parsed::Short(HEADER));
    }
    assert_eq!(record::parse(&bytes[..=HEADER]), Parsed::Short(HEADER + 2));
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut wrong = bytes.clone();
            wrong[at] ^= 1 << bit;
            assert!(!matches!(record::parse(&wrong), Parsed::Event(..)), "{at}");
        }
    }
    let mut long = bytes.clone();
    long[4..8].copy_from_slice(&u32::try_from(EVENT_LIMIT + 1).unwrap().to_le_bytes());
    assert_eq!(record::parse(&long), Parsed::Damaged);
}

/// After a crash at any byte, all events before it are there, and more can be written.
#[test]
fn a_tail_that_is_cut_anywhere() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let whole = segment(path, 2, 3..6);
    let length = (whole.len() - record::PREFIX.len()) / 3;
    for cut in 0..=whole.len() {
        for number in files::segments(path).unwrap() {
            fs::remove_file(files::segment(path, number)).unwrap();
        }
        segment(path, 1, 0..3);
        fs::write(files::segment(path, 2), &whole[..cut]).unwrap();
        save(path, "alice", files::first(1));
        let (shared, mut writer, lines) = opened(path, &["alice"]);
        let complete = cut.saturating_sub(record::PREFIX.len()) / length;
        assert_eq!(read(path, &shared), jsons(0..3 + complete), "{cut}");
        assert_eq!(shared.counters[0].read("", "").pending, 3 + complete as u64);
        let clean = cut.checked_sub(record::PREFIX.len()).is_some_and(|it| it % length == 0);
        assert_eq!(lines.all().is_empty(), clean, "{cut}: {:?}", lines.all());
        writer.write_all(Vec::new(), vec![(json(9), 1)]);
        assert_eq!(read(path, &shared), jsons((0..3 + complete).chain([9])), "{cut}");
        drop(writer);
        let (shared, _writer, _) = opened(path, &["alice"]);
        assert_eq!(read(path, &shared), jsons((0..3 + complete).chain([9])), "{cut}");
    }
}

/// Damage costs the events that it touches, in whatever segment.
#[test]
fn bytes_that_are_damaged() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let mut random = fastrand::Rng::with_seed(5);
    for round in 0..500 {
        for number in files::segments(path).unwrap() {
            fs::remove_file(files::segment(path, number)).unwrap();
        }
        let segments = [segment(path, 1, 0..4), segment(path, 2, 4..8)];
        let chosen = random.usize(..2);
        let mut bytes = segments[chosen].clone();
        let length = (bytes.len() - record::PREFIX.len()) / 4;
        let from = random.usize(record::PREFIX.len()..bytes.len());
        let to = (from + random.usize(1..=2 * length)).min(bytes.len());
        let kind = random.usize(..3);
        for byte in &mut bytes[from..to] {
            *byte = [0, random.u8(..), 0xff][kind];
        }
        fs::write(files::segment(path, chosen as u64 + 1), &bytes).unwrap();
        save(path, "alice", files::first(1));
        let (shared, _writer, _) = opened(path, &["alice"]);
        let found = read(path, &shared);
        let first = (from - record::PREFIX.len()) / length;
        let last = (to - 1 - record::PREFIX.len()) / length;
        let touched = chosen * 4 + first..=chosen * 4 + last;
        let untouched = jsons((0..8).filter(|number| !touched.contains(number)));
        assert!(untouched.iter().all(|event| found.contains(event)), "{round}: {touched:?}");
        assert!(found.iter().all(|event| jsons(0..8).contains(event)), "{round}");
        assert!(found.is_sorted(), "{round}");
    }
}

#[test]
fn cursors_that_cannot_be_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let cursors = path.join("cursors.json");
    for (text, expected) in [
        ("", "EOF while parsing"),
        ("{}", "missing field"),
        (r#"{"version":1,"endpoints":{"alice":7}}"#, "invalid type"),
        (&" ".repeat(2 << 20), "it is larger than 1048576 bytes"),
    ] {
        segment(path, 1, 0..3);
        fs::write(&cursors, text).unwrap();
        let (shared, _writer, lines) = opened(path, &["alice"]);
        // Rather twice than never.
        assert_eq!(read(path, &shared), jsons(0..3));
        let (level, line) = &lines.all()[0];
        assert_eq!(*level, Level::Error);
        assert!(line.contains(expected) && line.contains("are sent again"), "{line}");
    }
    fs::write(&cursors, r#"{"version":2,"endpoints":{}}"#).unwrap();
    let later = open(path, Vec::new(), 1, &Lines::default().log()).err().unwrap();
    assert!(later.to_string().contains("a later version"), "{later}");
    // Missing, with events: the same as one that cannot be read.
    fs::remove_file(&cursors).unwrap();
    let (shared, ..) = opened(path, &["alice"]);
    assert_eq!(read(path, &shared), jsons(0..3));
}

#[test]
fn where_endpoints_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let one = segment(path, 4, 0..4);
    let length = (one.len() as u64 - START) / 4;
    let at = |segment, events: u64| Position { segment, offset: START + events * length };
    segment(path, 5, 4..6);
    for (saved, expected) in [
        (at(4, 2), vec![2, 3, 4, 5]),
        (at(4, 4), vec![4, 5]),
        (at(5, 1), vec![5]),
        (at(5, 2), vec![]),
        // Beyond the ends.
        (at(1, 1), vec![0, 1, 2, 3, 4, 5]),
        (at(5, 7), vec![]),
        (at(9, 0), vec![]),
        // Within a record: the next one is found.
        (Position { segment: 4, offset: START + 3 }, vec![1, 2, 3, 4, 5]),
    ] {
        segment(path, 4, 0..4);
        save(path, "alice", saved);
        let (shared, _writer, _) = opened(path, &["alice", "new"]);
        assert_eq!(read(path, &shared), jsons(expected.clone()), "{saved:?}");
        assert_eq!(shared.counters[0].read("", "").pending, expected.len() as u64);
        assert_eq!(shared.position(1), *shared.end.borrow());
        // Segments that all have passed are gone.
        assert_eq!(files::segments(path).unwrap().contains(&4), saved < at(4, 4));
    }
    // Numbers are not used again.
    for number in files::segments(path).unwrap() {
        fs::remove_file(files::segment(path, number)).unwrap();
    }
    save(path, "alice", at(7, 1));
    let (shared, mut writer, _) = opened(path, &["alice"]);
    writer.write_all(Vec::new(), vec![(json(1), 1)]);
    assert_eq!(read(path, &shared), jsons([1]));
    assert_eq!(files::segments(path).unwrap(), [8]);
}

#[test]
fn events_are_read_in_batches() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    segment(path, 1, 0..250);
    save(path, "alice", files::first(1));
    let (shared, _writer, _) = opened(path, &["alice"]);
    let end = *shared.end.borrow();
    let mut reader = Reader::new(path.to_owned());
    let (mut at, mut sizes) = (files::first(1), Vec::new());
    while at < end {
        let batch = reader.batch(at, end, usize::MAX, |_| true).unwrap();
        sizes.push(batch.events.len());
        at = batch.end;
    }
    assert_eq!(sizes, [100, 100, 50]);
    let one = reader.batch(files::first(1), end, 1, |_| true).unwrap();
    assert_eq!(one.events.len(), 1);
    // An endpoint that ignores them all.
    let none = reader.batch(files::first(1), end, 1, |_| false).unwrap();
    assert_eq!((none.events.len(), none.end), (0, end));
    // By their bytes; the first may be longer, and longer than a window.
    let long = |bytes: usize| {
        let id = "x".repeat(bytes);
        let target = r#"{"mediaType":"","digest":""}"#;
        format!(r#"{{"id":"{id}","timestamp":"","action":"","target":{target}}}"#).into_bytes()
    };
    let mut bytes = record::PREFIX.to_vec();
    for kilobytes in [600, 300, 300, 3000, 100, 1] {
        record::append(&mut bytes, &long(kilobytes << 10));
    }
    fs::write(files::segment(path, 2), &bytes).unwrap();
    let end = Position { segment: 2, offset: bytes.len() as u64 };
    let (mut at, mut sizes) = (files::first(2), Vec::new());
    while at < end {
        let batch = reader.batch(at, end, usize::MAX, |_| true).unwrap();
        sizes.push(batch.events.len());
        at = batch.end;
    }
    assert_eq!(sizes, [2, 1, 1, 2]);
    // More than are looked at, all ignored.
    let bytes = segment(path, 3, 0..10_050);
    let end = Position { segment: 3, offset: bytes.len() as u64 };
    let some = reader.batch(files::first(3), end, 100, |_| false).unwrap();
    assert!(some.events.is_empty() && files::first(3) < some.end && some.end < end);
}

#[test]
fn the_queue_is_taken_when_it_is_due() {
    let queue = Queue::default();
    assert!(queue.is_idle());
    assert!(queue.publish_lazily(json(1), 1));
    assert!(!queue.is_idle());
    queue.close();
    // Closed: it does not wait for others.
    let work = queue.take();
    assert_eq!((work.lazy.len(), work.last, work.save), (1, false, false));
    assert!(!queue.is_idle() && !queue.publish_lazily(json(1), 1));
    queue.end();
    let work = queue.take();
    assert!(work.last && work.save);
}
