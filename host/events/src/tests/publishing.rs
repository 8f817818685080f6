//! Publishing: waits, queues, and restarts.

use super::receiver::Receiver;
use super::{LONG, endpoint, event, start};
use crate::{Action, Source};
use roadstead_config::NotificationEndpoint;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

#[tokio::test]
async fn many_publish_at_a_time() {
    let (receiver, directory) = (Receiver::start([]).await, tempfile::tempdir().unwrap());
    let notifications = Arc::new(start(vec![endpoint("alice", &receiver.url())], directory.path()));
    let mut tasks = JoinSet::new();
    for number in 0..500 {
        let notifications = Arc::clone(&notifications);
        tasks.spawn(async move {
            let mut event = event(Action::Push, number);
            // Together they are longer than what may wait.
            event.target.url = Some("x".repeat(50_000));
            notifications.publish(event).await.unwrap();
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    notifications.stop(LONG).await;
    let found: BTreeSet<_> = receiver.tags().into_iter().collect();
    assert_eq!((found.len(), receiver.tags().len()), (500, 500));
}

#[tokio::test]
async fn pulls_are_written_without_anybody_waiting() {
    let (receiver, directory) = (Receiver::start([]).await, tempfile::tempdir().unwrap());
    let pushes = NotificationEndpoint {
        ignored_actions: vec!["pull".to_owned()],
        ..endpoint("pushes", &receiver.url())
    };
    let all = Receiver::start([]).await;
    let endpoints = vec![pushes, endpoint("all", &all.url())];
    let notifications = start(endpoints, directory.path());
    for number in 0..10 {
        notifications.publish_lazily(event(Action::Pull, number));
    }
    // Without a stop, after a while.
    all.until(|receiver| receiver.tags().len() >= 10).await;
    notifications.publish_lazily(event(Action::Pull, 10));
    notifications.publish(event(Action::Push, 11)).await.unwrap();
    notifications.publish_lazily(event(Action::Pull, 12));
    notifications.stop(LONG).await;
    assert_eq!(receiver.tags(), ["11"]);
    let found: BTreeSet<_> = all.tags().into_iter().collect();
    assert_eq!(found.len(), 13);
    let [pushes, all] = notifications.metrics().try_into().unwrap();
    assert_eq!((pushes.events, all.events), (1, 13));
    assert_eq!((pushes.pending, all.pending), (0, 0));
}

#[tokio::test]
async fn pulls_beyond_the_queue_are_dropped() {
    let (receiver, directory) = (Receiver::start([]).await, tempfile::tempdir().unwrap());
    let notifications = start(vec![endpoint("alice", &receiver.url())], directory.path());
    let mut long = event(Action::Pull, 1);
    long.target.url = Some("x".repeat(1 << 20));
    // On one thread, without waiting: only the writer's own could come between.
    for _ in 0..100 {
        notifications.publish_lazily(long.clone());
    }
    notifications.stop(LONG).await;
    notifications.publish_lazily(long);
    let [metrics] = notifications.metrics().try_into().unwrap();
    assert_eq!(metrics.events + metrics.dropped, 101);
    assert!(metrics.dropped > 1, "{metrics:?}");
    assert_eq!(metrics.events, receiver.tags().len() as u64);
}

/// After a restart, endpoints go on where they were; new ones get new events, and those that are
/// gone hold nothing up.
#[tokio::test]
async fn restarts() {
    let directory = tempfile::tempdir().unwrap();
    let (one, two) = (Receiver::start([]).await, Receiver::start([]).await);
    let down = || endpoint("down", "http://127.0.0.1:1/");
    let notifications = start(vec![endpoint("one", &one.url()), down()], directory.path());
    notifications.publish(event(Action::Push, 1)).await.unwrap();
    one.until(|receiver| receiver.tags().len() == 1).await;
    notifications.stop(Duration::ZERO).await;
    drop(notifications);
    let endpoints = vec![endpoint("two", &two.url()), endpoint("one", &one.url())];
    let notifications = start(endpoints, directory.path());
    notifications.publish(event(Action::Push, 2)).await.unwrap();
    notifications.stop(LONG).await;
    drop(notifications);
    // A stop may come between a response and the note of it.
    let mut tags = one.tags();
    tags.dedup();
    assert_eq!(tags, ["1", "2"]);
    assert_eq!(two.tags(), ["2"]);
    // It was forgotten.
    let back = Receiver::start([]).await;
    let notifications = start(vec![endpoint("down", &back.url())], directory.path());
    notifications.publish(event(Action::Push, 3)).await.unwrap();
    notifications.stop(LONG).await;
    assert_eq!(back.tags(), ["3"]);
}

/// Dropped without a stop, it loses nothing that was published.
#[tokio::test]
async fn without_a_stop() {
    let directory = tempfile::tempdir().unwrap();
    let down = || endpoint("alice", "http://127.0.0.1:1/");
    let notifications = start(vec![down()], directory.path());
    for number in 0..20 {
        notifications.publish(event(Action::Push, number)).await.unwrap();
    }
    drop(notifications);
    // The lock is free when the writer has ended.
    let settings = || super::settings(vec![down()], 64 << 20);
    let again = loop {
        let log = super::Lines::default().log();
        match crate::Notifications::start(settings(), directory.path(), Source::default(), log) {
            Ok(again) => break again,
            Err(error) => assert!(error.contains("another process"), "{error}"),
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(again.metrics()[0].pending, 20);
    again.stop(Duration::ZERO).await;
}
