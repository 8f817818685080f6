//! An outbox that is full, or cannot be written.

use super::receiver::Receiver;
use super::{LONG, Lines, endpoint, event, start_with};
use crate::{Action, Level};
use std::path::Path;
use std::time::Duration;

/// Bytes of the segments.
fn held(directory: &Path) -> u64 {
    let files = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    let segments = files.filter(|file| file.file_name().to_str().unwrap().ends_with(".events"));
    segments.map(|file| file.metadata().unwrap().len()).sum()
}

#[tokio::test]
async fn a_full_outbox() {
    const LIMIT: u64 = 160_000;
    let (directory, lines) = (tempfile::tempdir().unwrap(), Lines::default());
    let alice = || endpoint("alice", "http://127.0.0.1:1/");
    let notifications = start_with(vec![alice()], LIMIT, directory.path(), &lines);
    // Nearly full: pulls are dropped, pushes are not.
    let mut number = 0;
    while held(directory.path()) < LIMIT / 100 * 91 {
        notifications.publish(event(Action::Push, number)).await.unwrap();
        number += 1;
    }
    assert_eq!(notifications.metrics()[0].dropped, 0);
    for _ in 0..10 {
        notifications.publish_lazily(event(Action::Pull, 0));
    }
    while notifications.metrics()[0].dropped < 10 {
        notifications.publish(event(Action::Push, number)).await.unwrap();
        number += 1;
        assert!(number < 1_000_000);
    }
    // Full: the oldest go.
    for _ in 0..1000 {
        notifications.publish(event(Action::Push, number)).await.unwrap();
        number += 1;
        assert!(held(directory.path()) <= LIMIT);
    }
    let [metrics] = notifications.metrics().try_into().unwrap();
    assert_eq!(metrics.pending + (metrics.dropped - 10), number as u64);
    assert_eq!(metrics.events, number as u64);
    notifications.stop(Duration::ZERO).await;
    drop(notifications);
    let receiver = Receiver::start([]).await;
    let alice = endpoint("alice", &receiver.url());
    let again = start_with(vec![alice], LIMIT, directory.path(), &lines);
    assert_eq!(again.metrics()[0].pending, metrics.pending);
    again.stop(LONG).await;
    let kept = usize::try_from(metrics.pending).unwrap();
    let expected: Vec<_> = (number - kept..number).map(|number| number.to_string()).collect();
    assert_eq!(receiver.tags(), expected);
    let said = |level, text: &str| {
        lines.all().iter().filter(|(l, t)| *l == level && t.contains(text)).count()
    };
    assert_eq!(said(Level::Error, "the outbox is full (160000 bytes"), 1);
    assert!(said(Level::Warn, "nearly full: ") <= 1);
}

/// A sender that is within the segment that goes away.
#[tokio::test]
async fn full_while_it_is_sent() {
    const LIMIT: u64 = 100_000;
    let receiver = Receiver::start([]).await;
    let directory = tempfile::tempdir().unwrap();
    let alice = vec![endpoint("alice", &receiver.url())];
    let notifications = start_with(alice, LIMIT, directory.path(), &Lines::default());
    for number in 0..5000 {
        // On and off.
        let down = number / 500 % 2 == 0;
        receiver.down.store(down, std::sync::atomic::Ordering::Relaxed);
        notifications.publish(event(Action::Push, number)).await.unwrap();
    }
    receiver.down.store(false, std::sync::atomic::Ordering::Relaxed);
    notifications.stop(LONG).await;
    let [metrics] = notifications.metrics().try_into().unwrap();
    assert_eq!((metrics.events, metrics.pending), (5000, 0));
    // Some may have been delivered while they were dropped, and count as both.
    assert!(metrics.successes + metrics.dropped >= 5000, "{metrics:?}");
    let tags: Vec<usize> = receiver.tags().iter().map(|tag| tag.parse().unwrap()).collect();
    assert!(tags.is_sorted_by(|a, b| a < b));
    assert_eq!(tags.last(), Some(&4999));
}

/// The registry goes on without a disk, and so do events when there is one again.
#[cfg(unix)]
#[tokio::test]
async fn a_disk_that_takes_nothing() {
    let (receiver, directory) = (Receiver::start([]).await, tempfile::tempdir().unwrap());
    let (path, away) = (directory.path().join("events"), directory.path().join("away"));
    let lines = Lines::default();
    let alice = vec![endpoint("alice", &receiver.url())];
    let notifications = start_with(alice, 64 << 20, &path, &lines);
    std::fs::rename(&path, &away).unwrap();
    for number in 0..3 {
        notifications.publish(event(Action::Push, number)).await.unwrap_err();
    }
    std::fs::rename(&away, &path).unwrap();
    notifications.publish(event(Action::Push, 3)).await.unwrap();
    notifications.stop(LONG).await;
    assert_eq!(receiver.tags(), ["3"]);
    let [metrics] = notifications.metrics().try_into().unwrap();
    assert_eq!((metrics.events, metrics.dropped, metrics.pending), (1, 3, 0));
    let all = lines.all();
    let error = all.iter().find(|(level, _)| *level == Level::Error).unwrap();
    assert!(error.1.starts_with("notifications: 1 events cannot be written and are lost: "));
}
