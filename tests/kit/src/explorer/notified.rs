//! Requests that leave an event in the storage, with a fault at each of their steps: whatever was
//! acknowledged has its event, unless that itself could not be written, and no event is invented.

use super::ask::{Ask, Item, Upload};
use super::schedule::DepthFirst;
use super::search::{Found, send, steps_of};
use super::stage::{Fault, FaultKind, Performance, Task, perform};
use super::world::{Medium, Work, World};
use roadstead_bridge::outbox::LeftEvent;
use roadstead_storage::{Collection, Storage, StorageError};
use std::sync::{Mutex, PoisonError};

/// The setting of what is left.
const SETTING: &str = "REGISTRY_NOTIFICATIONS_OUTBOX_STORAGE";

/// Has a request fail at each of its steps in turn, and looks for its event.
pub fn notify(medium: Medium, before: &[Ask], ask: Ask, kind: FaultKind) -> Found {
    let mut found = Found::default();
    // Without an event: those before the first step of the event.
    let mut silent = 0;
    while run(medium, "off", before, ask, Fault { at: silent, kind }).faulted {
        silent += 1;
    }
    for at in 0.. {
        let ended = run(medium, "changes", before, ask, Fault { at, kind });
        let may_be_lost = at >= silent;
        if let Err(problem) = ended.check(ask, may_be_lost) {
            found.violation = Some(format!(
                "{kind:?} at step {at} of {ask:?} over {medium:?}, after {before:?}: {problem}\n{}",
                steps_of(&ended.performance)
            ));
            return found;
        }
        if !ended.faulted {
            found.complete = true;
            return found;
        }
        found.runs += 1;
    }
    found
}

/// What came of a request.
struct Ended {
    performance: Performance,
    faulted: bool,
    /// Its status, unless its process has died.
    status: Option<u16>,
    /// Whether what was asked for is so.
    done: bool,
    events: usize,
}

impl Ended {
    fn check(&self, ask: Ask, may_be_lost: bool) -> Result<(), String> {
        let Self { status, done, events, .. } = *self;
        let acknowledged = status.is_some_and(|status| status < 300);
        // With a fault, it may have been carried out before, and be refused or told only now.
        let least = usize::from(acknowledged && !(self.faulted && may_be_lost));
        if events < least || events > 1 {
            return Err(format!("{ask:?} was answered {status:?}, and there are {events} events"));
        }
        if events > 0 && !done {
            return Err(format!("{ask:?} was answered {status:?}; there is an event, but no deed"));
        }
        Ok(())
    }
}

fn run(medium: Medium, stored: &str, before: &[Ask], ask: Ask, fault: Fault) -> Ended {
    let world = World::new(medium, 1);
    for earlier in before {
        let status = send(&world, 0, *earlier, &Upload::default()).status();
        assert!(status.is_success(), "{earlier:?}: {status}");
    }
    let mut world = world.with_setting(SETTING, stored);
    let place = Mutex::new(None);
    let task: Task<'_> = Box::new(|| {
        let status = send(&world, 0, ask, &Upload::default()).status().as_u16();
        *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(status);
    });
    let only = Box::new(DepthFirst::default());
    let performance = perform(vec![task], only, &[Some(fault)], world.root());
    let died = performance.faulted && fault.kind == FaultKind::Stops;
    let status = place.into_inner().unwrap_or_else(PoisonError::into_inner).filter(|_| !died);
    if died {
        world.reopen(1);
    }
    let events = world.work(0, Events);
    let events = events.unwrap_or_else(|error| panic!("the events of {ask:?}: {error}"));
    let (look, expected) = match ask {
        Ask::Put(_, Some(tag)) => (Ask::GetTag(tag), 200),
        Ask::DeleteTag(tag) => (Ask::GetTag(tag), 404),
        Ask::Delete(item) => (Ask::Get(item), 404),
        Ask::DeleteRepository => (Ask::Get(Item::Plain), 404),
        Ask::DeleteBlob => (Ask::HeadBlob, 404),
        _ => (Ask::HeadBlob, 200),
    };
    let done = send(&world, 0, look, &Upload::default()).status() == expected;
    let faulted = performance.faulted;
    Ended { performance, faulted, status, done, events }
}

/// Counts the events, all of which can be read.
struct Events;

impl Work for Events {
    type Output = usize;

    async fn run<S: Storage>(self, storage: &S) -> Result<usize, StorageError> {
        let mut count = 0;
        for entry in storage.enumerate(&Collection::Events, None, 100).await?.entries {
            let value = storage.read(&entry.key).await?;
            let events: Result<Vec<LeftEvent>, _> = serde_json::from_slice(&value);
            count += events.map_err(|error| StorageError::Failed(error.to_string()))?.len();
        }
        Ok(count)
    }
}
