//! Takes events that other hosts have left in the storage into the outbox of this one.
//!
//! They are removed from the storage once the outbox has them on disk. A crash in between, or
//! another instance that takes them at the same time, has them sent twice, with the same identifiers.

use super::changes::events;
use crate::collect::answer;
use crate::engine::Engine;
use futures::future::join_all;
use roadstead_bridge::collect::Overrides;
use roadstead_bridge::outbox::{EventsAnswer, LeftEvent, PATH, TakeRequest};
use roadstead_events::{Event, Notifications, Request};
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The pause before the storage is asked for events again, after it had some.
///
/// Limit: time until a native host looks for events of other hosts again, after it found some; test:
/// `a_look_at_the_storage_is_taken_seldom_if_there_is_nothing`.
const PAUSE: Duration = Duration::from_secs(1);

/// The longest pause: each time that it has none, or fails, doubles it.
///
/// Limit: longest time until a native host looks for events of other hosts again; test:
/// `a_look_at_the_storage_is_taken_seldom_if_there_is_nothing`.
const LONGEST_PAUSE: Duration = Duration::from_secs(16);

/// Takes events until the task is dropped.
pub(crate) async fn run(engine: Engine, notifications: Arc<Notifications>) {
    let (mut pause, mut taken) = (PAUSE, Vec::new());
    let mut cause = None;
    loop {
        let ask = TakeRequest { taken: std::mem::take(&mut taken) };
        let result = take(&engine, &notifications, &ask).await;
        let found = match result {
            Ok(names) => {
                cause = None;
                taken = names;
                !taken.is_empty()
            }
            Err(now) => {
                // They are removed by the next request, or taken once more.
                taken = ask.taken;
                if cause.as_ref() != Some(&now) {
                    tracing::error!("the events of other hosts cannot be taken: {now}");
                    cause = Some(now);
                }
                false
            }
        };
        pause = after(pause, found);
        // What was taken is removed at once.
        if !found {
            tokio::time::sleep(pause).await;
        }
    }
}

/// The pause after a look.
fn after(pause: Duration, found: bool) -> Duration {
    if found { PAUSE } else { (pause * 2).min(LONGEST_PAUSE) }
}

/// Removes what was taken before, and takes what comes next: the names of the objects.
async fn take(
    engine: &Engine,
    notifications: &Notifications,
    ask: &TakeRequest,
) -> Result<Vec<String>, String> {
    let answer: EventsAnswer = answer(engine, PATH, &Overrides::default(), ask)
        .await
        .map_err(|failure| failure.to_string())?;
    let mut names = Vec::with_capacity(answer.objects.len());
    for object in answer.objects {
        if object.events.is_empty() {
            tracing::error!("the events {} cannot be read, and are dropped", object.name);
        }
        let published =
            object.events.iter().flat_map(of_others).map(|it| notifications.publish(it));
        // They are written together, in their order.
        let results: io::Result<Vec<()>> = join_all(published).await.into_iter().collect();
        match results {
            // It will never fit.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
            results => drop(results.map_err(|error| format!("the outbox: {error}"))?),
        }
        names.push(object.name);
    }
    Ok(names)
}

/// The events of something that another host has left, which have the same identifiers each time.
fn of_others(left: &LeftEvent) -> Vec<Event> {
    let LeftEvent { id, time, change, request, user } = left;
    let about = Request {
        id: request.id.clone(),
        addr: String::new(),
        host: request.host.clone(),
        method: request.method.clone(),
        user_agent: request.user_agent.clone(),
    };
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(*time);
    let all = events(change, &about, &request.base, &request.path, user.as_deref());
    let numbered = (0..).zip(all);
    numbered.map(|(number, event)| event.made(id ^ number, time)).collect()
}

#[cfg(test)]
mod tests {
    use super::{LONGEST_PAUSE, PAUSE, after, of_others};
    use roadstead_bridge::change::{Change, ChangeKind};
    use roadstead_bridge::outbox::{LeftEvent, LeftRequest};

    #[test]
    fn a_look_at_the_storage_is_taken_seldom_if_there_is_nothing() {
        let mut pause = PAUSE;
        for _ in 0..100 {
            pause = after(pause, false);
        }
        assert_eq!(pause, LONGEST_PAUSE);
        assert_eq!(after(pause, true), PAUSE);
    }

    #[test]
    fn each_time_they_are_the_same_events() {
        let change = Change {
            kind: ChangeKind::Push,
            repository: "a".to_owned(),
            digest: Some("sha256:1".to_owned()),
            media_type: None,
            size: Some(1),
            tags: vec!["b".to_owned(), "c".to_owned()],
            from: None,
            references: Vec::new(),
        };
        let left = LeftEvent {
            id: 6,
            time: 1 << 50,
            change,
            request: LeftRequest {
                path: "/v2/a/manifests/b".to_owned(),
                base: "http://r".to_owned(),
                ..LeftRequest::default()
            },
            user: None,
        };
        let events = of_others(&left);
        assert_eq!(events, of_others(&left));
        let urls: Vec<_> = events.iter().map(|it| it.target.url.as_deref()).collect();
        assert_eq!(urls, [Some("http://r/v2/a/manifests/sha256:1"); 2]);
        assert_eq!(events.len(), 2);
        assert_ne!(events[0], events[1]);
    }
}
