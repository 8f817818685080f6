//! Takes events that other hosts have left in the storage into the outbox of this one.
//!
//! They are removed from the storage once the outbox has them on disk. A crash in between, or
//! another instance that takes them at the same time, has them sent twice, with the same identifiers.

use super::changes::events;
use crate::collect::answer;
use crate::engine::Engine;
use futures::future::join_all;
use roadstead_bridge::collect::Overrides;
use roadstead_bridge::outbox::{EventsAnswer, LeftEvent, LeftEvents, PATH, TakeRequest};
use roadstead_events::{Action, Event, Notifications, Request};
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
    let (mut pause, mut taken, mut cause) = (PAUSE, Vec::new(), None);
    loop {
        let ask = TakeRequest { taken: std::mem::take(&mut taken) };
        let problem = match next(&engine, &ask).await {
            Ok(objects) => {
                let (names, problem) = keep(&notifications, objects).await;
                taken = names;
                problem
            }
            Err(problem) => {
                // They are removed by the next request, or taken once more.
                taken = ask.taken;
                Some(problem)
            }
        };
        if let Some(problem) = problem.as_ref().filter(|_| problem != cause) {
            tracing::error!("the events of other hosts cannot be taken: {problem}");
        }
        let goes_on = problem.is_none() && !taken.is_empty();
        cause = problem;
        pause = after(pause, goes_on);
        // What was taken is removed at once.
        if !goes_on {
            tokio::time::sleep(pause).await;
        }
    }
}

/// The pause after a look.
fn after(pause: Duration, found: bool) -> Duration {
    if found { PAUSE } else { (pause * 2).min(LONGEST_PAUSE) }
}

/// Removes what was taken before, and asks for what comes next.
async fn next(engine: &Engine, ask: &TakeRequest) -> Result<Vec<LeftEvents>, String> {
    let answer: Result<EventsAnswer, _> = answer(engine, PATH, &Overrides::default(), ask).await;
    Ok(answer.map_err(|failure| failure.to_string())?.objects)
}

/// Puts events into the outbox, all at once and in their order. Gives the names of the objects of which
/// it has all, and why it does not have those of others.
async fn keep(
    notifications: &Notifications,
    objects: Vec<LeftEvents>,
) -> (Vec<String>, Option<String>) {
    let kept = objects.into_iter().map(async |LeftEvents { name, events }| {
        if events.is_empty() {
            tracing::error!("the events {name} of other hosts cannot be read, and are dropped");
        }
        let events = events.iter().flat_map(of_others);
        let results = join_all(events.map(|event| keep_one(notifications, event))).await;
        (name, results.into_iter().collect::<io::Result<()>>())
    });
    let (mut names, mut problem) = (Vec::new(), None);
    for (name, result) in join_all(kept).await {
        match result {
            Ok(()) => names.push(name),
            Err(error) => problem = Some(format!("the outbox: {error}")),
        }
    }
    (names, problem)
}

/// Puts an event into the outbox.
async fn keep_one(notifications: &Notifications, event: Event) -> io::Result<()> {
    if event.action == Action::Pull {
        // They have the room that changes leave, as those of this host.
        notifications.publish_lazily(event);
        return Ok(());
    }
    match notifications.publish(event).await {
        // It will never fit, which was logged.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        result => result,
    }
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
