//! A scrub, as far as it moves damaged data out of the way. Each step is one request to
//! the storage; it dies or stalls between any two.

use super::{CONDEMNED, Data, Defect, Remover, Scenario, Tombstone, World};
use crate::store::Age;

/// The next step of a scrub.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum At {
    /// Hashes the data.
    #[default]
    Idle,
    /// It is damaged: writes the marker.
    Mark,
    /// Reads the tombstone.
    LookAtTombstone,
    /// A removal has died: writes that it removes, so that uploads wait for any other one.
    Claim,
    /// Writes that the data is suspect.
    Announce,
    /// Lists the blob's directory and the marker, and waits until they are old.
    List,
    /// Reads the tombstone.
    Read,
    /// Hashes the data again.
    Hash,
    /// Has copied the data: reads the tombstone again.
    ReadAgain,
    /// Writes that it removes.
    Remove,
    /// The last look: lists the blob's directory.
    LastList,
    /// The last look: reads the tombstone, which must be its own.
    LastRead,
    /// Deletes the data.
    Delete,
    /// Writes again that the data is suspect.
    TakeBack,
    /// Deletes the tombstone after some time.
    Clear,
    /// Deletes the tombstone of what is not damaged any longer.
    Withdraw,
}

/// A scrub.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Scrub {
    /// Its next step.
    pub at: At,
    /// Whose data it found damaged.
    data: Option<usize>,
    /// Whether the announcement was too old.
    is_old: bool,
    /// Time since the need was written that it found.
    need: Option<Age>,
    /// Time since it has read what its next step rests on, or written that it removes, by
    /// a clock of its own.
    since: Age,
}

impl Scrub {
    pub(super) fn tick(&mut self) {
        self.need.iter_mut().for_each(Age::tick);
        if matches!(self.at, At::Claim | At::Announce) || self.at > At::List {
            self.since.tick();
        }
    }

    /// Another slice goes on: what it knows is what it has found damaged.
    pub(super) fn resume(&mut self) {
        let at = match self.at {
            At::Idle => At::Idle,
            At::Mark | At::LookAtTombstone | At::Claim | At::Announce => At::Mark,
            At::Clear => At::Clear,
            _ => At::List,
        };
        *self = Self { at, data: self.data, ..Self::default() };
    }
}

/// Does the next step, unless it waits.
pub(super) fn step(scenario: &Scenario, world: &mut World, number: usize) -> bool {
    let mut scrub = world.scrubs[number].clone();
    let next = if scrub.at < At::Hash {
        announce(scenario, world, &mut scrub, number)
    } else {
        remove(scenario, world, &mut scrub, number)
    };
    let Some(next) = next else { return false };
    scrub.at = next;
    world.scrubs[number] = if next == At::Idle { Scrub::default() } else { scrub };
    true
}

fn announce(
    scenario: &Scenario,
    world: &mut World,
    scrub: &mut Scrub,
    number: usize,
) -> Option<At> {
    let store = &mut world.store;
    let keep = |defect| scenario.broken.keep(defect);
    let is_late = |scrub: &Scrub| scrub.since > Age::NEW && keep(Defect::GoesOnLate);
    Some(match scrub.at {
        At::Idle => {
            scrub.data = Some(store.data.filter(|data| data.is_damaged())?.by);
            if keep(Defect::NoAnnouncement) { At::Mark } else { At::Remove }
        }
        At::Mark => {
            if keep(Defect::NoMarker) {
                store.mark();
            }
            At::LookAtTombstone
        }
        At::LookAtTombstone => match store.tombstone {
            Some((Tombstone::Suspect, _)) => At::List,
            Some((Tombstone::Removing(_), age)) if age >= Age::OLD => {
                scrub.since = Age::NEW;
                if keep(Defect::TakesOverAtOnce) { At::Claim } else { At::Announce }
            }
            Some(_) if keep(Defect::TakesOver) => At::Idle,
            _ => {
                scrub.since = Age::NEW;
                At::Announce
            }
        },
        At::Claim | At::Announce if is_late(scrub) => At::LookAtTombstone,
        At::Claim => {
            store.write(Tombstone::Removing(Remover::Scrub(number)));
            scrub.since = Age::NEW;
            At::TakeBack
        }
        At::Announce => {
            store.write(Tombstone::Suspect);
            At::List
        }
        At::List => {
            if store.data.map(|data| data.by) != scrub.data {
                let is_ours = store.says() == Some(Tombstone::Suspect);
                return Some(if is_ours { At::Withdraw } else { At::Idle });
            }
            let Some((_, announced)) = store.tombstone else { return Some(At::Idle) };
            scrub.is_old = announced >= CONDEMNED && keep(Defect::OldAnnouncement);
            let is_old = |age: Option<Age>| age.is_none_or(|age| age >= Age::OLD);
            let marked = store.marker.filter(|_| keep(Defect::NoMarker));
            // Who trusts that there is no marker begins up to as long as that later.
            let trusted = if keep(Defect::WaitsForTheLonger) { Age::HIGHEST } else { Age::OLD };
            let ready = is_old(Some(announced))
                && (is_old(store.needed) || !keep(Defect::ForgetsNeeds))
                && marked.is_none_or(|age| age >= trusted);
            if !ready && keep(Defect::NoWait) {
                return None;
            }
            scrub.need = store.needed;
            scrub.since = Age::NEW;
            At::Read
        }
        _ => match store.says() {
            // A collector may be about to take it for forgotten.
            Some(Tombstone::Suspect) if scrub.is_old => At::Announce,
            Some(Tombstone::Suspect) => At::Hash,
            _ => At::Idle,
        },
    })
}

fn remove(scenario: &Scenario, world: &mut World, scrub: &mut Scrub, number: usize) -> Option<At> {
    let store = &mut world.store;
    let keep = |defect| scenario.broken.keep(defect);
    let own = Some(Tombstone::Removing(Remover::Scrub(number)));
    Some(match scrub.at {
        At::Hash => match store.data {
            Some(data) if data.is_damaged() => At::ReadAgain,
            _ => At::Withdraw,
        },
        At::ReadAgain if store.says() != Some(Tombstone::Suspect) => At::Idle,
        At::ReadAgain if !keep(Defect::LooksFirst) => At::LastList,
        At::ReadAgain => At::Remove,
        // What it found is too old.
        At::Remove if scrub.since > Age::NEW && keep(Defect::GoesOnLate) => At::List,
        At::Remove => {
            store.tombstone = own.map(|tombstone| (tombstone, Age::NEW));
            scrub.since = Age::NEW;
            if keep(Defect::NoLastLook) && keep(Defect::LooksFirst) {
                At::LastList
            } else {
                At::Delete
            }
        }
        At::LastList => {
            let same = store.data.map(|data| data.by) == scrub.data;
            let needed = store.needed != scrub.need && keep(Defect::LooksForNoNeed);
            let leave = needed || (!same && keep(Defect::LooksForNoData));
            match (leave, keep(Defect::LooksFirst)) {
                (true, true) => At::TakeBack,
                (true, false) => At::Idle,
                (false, true) => At::LastRead,
                (false, false) => At::Remove,
            }
        }
        At::LastRead if store.says() != own && keep(Defect::LooksForNoTombstone) => At::Idle,
        At::LastRead => At::Delete,
        At::Delete if scrub.since > Age::NEW && keep(Defect::NoSecondLook) => At::List,
        At::Delete => {
            world.moved |= store.data.take().is_some_and(Data::is_damaged);
            At::Clear
        }
        At::TakeBack => {
            if scrub.since == Age::NEW && keep(Defect::TakesBackAtOnce) {
                return None;
            }
            if store.says() == own || !keep(Defect::TakesBackAtOnce) {
                store.write(Tombstone::Suspect);
            }
            At::Idle
        }
        At::Clear => {
            if scrub.since == Age::NEW && keep(Defect::EndsEarly) {
                return None;
            }
            if store.is_removing() {
                store.tombstone = None;
            }
            At::Idle
        }
        _ => {
            store.tombstone = None;
            At::Idle
        }
    })
}
