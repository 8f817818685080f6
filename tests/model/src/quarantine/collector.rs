//! A collector, as far as it meets a scrub: it decides about a blob with a tombstone,
//! and writes tombstones itself. What it does about links is left out.

use super::{CONDEMNED, Data, Defect, Remover, Scenario, Store, Tombstone, World};
use crate::store::Age;

/// The next step of a collector.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum At {
    /// No run goes on.
    #[default]
    Idle,
    /// Lists the blob's directory, reads its tombstone, and decides.
    Blob,
    /// Writes the need, as it gives back.
    Need,
    /// Looks whether somebody is about to remove the data.
    GiveWay,
    /// Deletes the tombstone of what was given back.
    Acquit,
    /// Writes the marker.
    Mark,
    /// Writes the tombstone `condemned`.
    Condemn,
    /// Has moved the links: writes `unlinked`.
    Unlinked,
    /// Reads the tombstone again, which must be as it was.
    LookAgain,
    /// Writes that it removes.
    Remove,
    /// The last look: lists the blob's directory.
    LastList,
    /// The last look: reads the tombstone, which must be its own.
    LastRead,
    /// Deletes the data.
    Delete,
    /// Says that the blob is needed after all.
    Keep,
    /// Deletes the tombstone after some time.
    Clear,
    /// Deletes the tombstone of what is gone, if it is as it was.
    Forget,
}

/// A collector.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Collector {
    /// Its next step.
    pub at: At,
    /// Time since its run began.
    age: Age,
    /// Whether a manifest refers to the blob.
    is_live: bool,
    /// Whose data it has found.
    data: Option<usize>,
    /// The tombstone that it has found.
    tombstone: Option<(Tombstone, Age)>,
    /// Time since it wrote that it removes, by a clock of its own.
    since: Age,
}

impl Collector {
    pub(super) fn tick(&mut self) {
        if self.at != At::Idle {
            self.age.tick();
            self.since.tick();
            self.tombstone.iter_mut().for_each(|(_, age)| age.tick_to(super::HIGHEST));
        }
    }
}

/// Does the next step, unless it waits.
pub(super) fn step(scenario: &Scenario, world: &mut World) -> bool {
    let mut collector = world.collector.clone();
    let next = match collector.at {
        _ if collector.age >= Age::OLD => Some(At::Idle),
        At::Idle => {
            collector.is_live = world.store.manifest;
            Some(At::Blob)
        }
        At::Blob => Some(decide(scenario, world, &mut collector)),
        _ => act(scenario, world, &mut collector),
    };
    let Some(next) = next else { return false };
    collector.at = next;
    world.collector = if next == At::Idle { Collector::default() } else { collector };
    true
}

fn decide(scenario: &Scenario, world: &mut World, collector: &mut Collector) -> At {
    let store = &mut world.store;
    let keep = |defect| scenario.broken.keep(defect);
    let begun = collector.age;
    let old = |age: Age| age.was_old(begun);
    collector.data = store.data.map(|data| data.by);
    collector.tombstone = store.tombstone;
    let leftover = store.needed.is_some_and(old);
    let Some(Data { age: written, .. }) = store.data else {
        return match store.tombstone {
            Some((_, age)) if old(age) => At::Forget,
            Some(_) => At::Idle,
            None => {
                store.needed.take_if(|_| leftover);
                At::Idle
            }
        };
    };
    let suspect = |(tombstone, age): (Tombstone, Age)| {
        let is_forgotten = age.was(CONDEMNED, begun) && keep(Defect::SuspectForever);
        tombstone == Tombstone::Suspect && !is_forgotten
    };
    let is_suspect = store.tombstone.is_some_and(suspect);
    let tombstone = store.tombstone.filter(|found| !suspect(*found));
    if collector.is_live || !old(written) || store.needed.is_some() {
        if tombstone.is_some() {
            return At::Need;
        }
        store.needed.take_if(|_| leftover);
        return At::Idle;
    }
    match tombstone {
        None if is_suspect && keep(Defect::CondemnsSuspects) => At::Idle,
        None | Some((Tombstone::Condemned | Tombstone::Suspect, _)) => At::Mark,
        Some((Tombstone::Unlinked, age))
            if age.was(CONDEMNED, begun) && store.marker.is_some_and(old) =>
        {
            At::LookAgain
        }
        Some((Tombstone::Removing(_), age)) if old(age) => At::LookAgain,
        Some(_) => At::Idle,
    }
}

fn act(scenario: &Scenario, world: &mut World, collector: &mut Collector) -> Option<At> {
    let store = &mut world.store;
    let keep = |defect| scenario.broken.keep(defect);
    Some(match collector.at {
        At::Need => {
            store.needed = Some(Age::NEW);
            At::GiveWay
        }
        At::GiveWay => match store.tombstone {
            Some((Tombstone::Removing(_), age))
                if !age.was_old(collector.age) && keep(Defect::DoesNotGiveWay) =>
            {
                At::Idle
            }
            _ => At::Acquit,
        },
        At::Acquit => {
            store.tombstone = None;
            At::Idle
        }
        At::Mark => {
            store.mark();
            At::Condemn
        }
        At::Condemn => {
            store.write(Tombstone::Condemned);
            At::Unlinked
        }
        At::Unlinked => {
            store.write(Tombstone::Unlinked);
            At::Idle
        }
        At::Forget => {
            if store.data.is_none() && store.tombstone == collector.tombstone {
                store.tombstone = None;
            }
            At::Idle
        }
        _ => return remove(store, collector),
    })
}

fn remove(store: &mut Store, collector: &mut Collector) -> Option<At> {
    let own = Some(Tombstone::Removing(Remover::Collector));
    Some(match collector.at {
        At::LookAgain if store.tombstone != collector.tombstone || store.needed.is_some() => {
            At::Idle
        }
        At::LookAgain => At::Remove,
        At::Remove => {
            store.tombstone = own.map(|tombstone| (tombstone, Age::NEW));
            collector.since = Age::NEW;
            At::LastList
        }
        At::LastList => match store.data {
            None => At::Idle,
            Some(data) if store.needed.is_some() || Some(data.by) != collector.data => At::Keep,
            Some(_) => At::LastRead,
        },
        At::LastRead if store.says() != own => At::Idle,
        At::LastRead => At::Delete,
        At::Delete if collector.since > Age::NEW => At::Remove,
        At::Delete => {
            store.data = None;
            At::Clear
        }
        At::Keep => {
            store.needed = Some(Age::NEW);
            At::Clear
        }
        At::Clear if collector.since == Age::NEW => return None,
        _ => {
            if store.is_removing() && store.data.is_some() {
                store.write(Tombstone::Condemned);
            } else if store.is_removing() {
                store.tombstone = None;
            }
            At::Idle
        }
    })
}
