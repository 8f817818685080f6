//! A collector. Each step is one request to the storage; it can die or stall
//! between any two.

use crate::rules::{Defect, Rules};
use crate::store::{Age, Announced, REPOSITORIES, Store, Tombstone};
use crate::world::World;

/// The next step of a collector.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum At {
    /// No run goes on.
    Idle,
    /// Lists the links of a repository.
    Links(usize),
    /// Lists the manifests of a repository.
    Manifests(usize),
    /// Lists the blob's directory, and decides.
    Blob,
    /// Writes the tombstone.
    Condemn,
    /// Announces the move of a repository's link.
    Announce(usize),
    /// Lists the repository's manifests again.
    ManifestsAgain(usize),
    /// Writes the moved link.
    CopyLink(usize),
    /// Deletes the link.
    DeleteLink(usize),
    /// Says in the announcement that the move is done.
    EndMove(usize),
    /// Says in the tombstone that no link is left.
    Unlinked,
    /// Says in the tombstone that the data is about to be removed.
    Removing,
    /// Reads the tombstone, which must be its own.
    LastLook,
    /// Looks whether the blob is needed.
    LookForNeed,
    /// Looks whether the data is there, and is still the old one.
    LookAtData,
    /// Removes the data.
    RemoveData,
    /// Deletes the moved link of a repository.
    DropMoved(usize),
    /// Reads the tombstone, which must be its own.
    LookAtTombstone,
    /// Deletes the tombstone.
    DropTombstone,
    /// Writes that the blob is needed, as it is given back.
    Need,
    /// Looks whether another collector is about to remove the data.
    GiveWay,
    /// Writes the link of a repository that has a moved one.
    GiveBack(usize),
    /// Deletes the tombstone of a blob that was given back.
    Acquit,
    /// Deletes what is left over.
    Tidy,
}

/// A collector.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Collector {
    /// Its next step.
    pub at: At,
    /// Time since its run began.
    age: Age,
    /// Whether the run has found a manifest that refers to the blob.
    referenced: bool,
    /// Time since it announced what it is about to delete, by a clock of its own.
    since: Age,
    /// The links that the run has found.
    links: [bool; REPOSITORIES],
    /// Whether one of them is young.
    young: bool,
    /// Whether the last look has found that the blob is needed.
    needed: bool,
    /// The moved links that the run has found or made.
    moved: [bool; REPOSITORIES],
    /// What is left of what has ended, and goes at the end of the run.
    leftover: Leftover,
}

/// Objects that nobody needs any more.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
struct Leftover {
    needed: bool,
    moved: [bool; REPOSITORIES],
    announced: [bool; REPOSITORIES],
}

impl Default for Collector {
    fn default() -> Self {
        Self {
            at: At::Idle,
            age: Age::NEW,
            referenced: false,
            since: Age::NEW,
            links: [false; REPOSITORIES],
            young: false,
            needed: false,
            moved: [false; REPOSITORIES],
            leftover: Leftover::default(),
        }
    }
}

impl Collector {
    /// A tick passes.
    pub fn tick(&mut self) {
        if self.at != At::Idle {
            self.age.tick();
            self.since.tick();
        }
    }

    /// Whether its next step is a list that may fail.
    pub fn is_listing(&self) -> bool {
        matches!(self.at, At::Links(_) | At::Manifests(_))
    }

    /// A collector that takes back what was done about the blob.
    pub fn undoing(moved: [bool; REPOSITORIES]) -> Self {
        Self { at: At::Need, moved, ..Self::default() }
    }

    fn goes_to(&mut self, at: At) {
        self.at = at;
    }
}

/// Does the next step of a collector.
pub fn step(world: &mut World, number: usize) {
    let mut collector = world.collectors[number].clone();
    if collector.age >= Age::OLD && world.rules.keep(Defect::NoSecondLook) {
        collector = Collector::default();
    } else {
        advance(world, number, &mut collector);
    }
    if collector.at == At::Idle {
        collector = Collector::default();
    }
    world.collectors[number] = collector;
}

/// A list fails.
pub fn fail(world: &mut World, number: usize) {
    let collector = &mut world.collectors[number];
    if world.rules.keep(Defect::FailedListIsEmpty) {
        *collector = Collector::default();
    } else {
        // As distribution does it: the walk over this repository ends.
        let (At::Links(repository) | At::Manifests(repository)) = collector.at else { return };
        collector.at = after_list(At::Manifests(repository));
    }
}

fn after_list(at: At) -> At {
    match at {
        At::Links(repository) => At::Manifests(repository),
        At::Manifests(repository) if repository + 1 < REPOSITORIES => At::Links(repository + 1),
        _ => At::Blob,
    }
}

fn advance(world: &mut World, number: usize, collector: &mut Collector) {
    let store = &mut world.store;
    match collector.at {
        At::Idle => collector.goes_to(At::Links(0)),
        At::Links(repository) => {
            let link = store.link[repository];
            collector.links[repository] = link.is_some();
            collector.young |= link.is_some_and(|age| !age.was_old(collector.age));
            collector.goes_to(after_list(collector.at));
        }
        At::Manifests(repository) => {
            collector.referenced |= store.manifest[repository];
            let moved = store.moved[repository];
            let old = |age: Option<Age>| age.is_some_and(|age| age.was_old(collector.age));
            let announced = store.announced[repository].iter().flatten();
            let in_time = announced.clone().any(|(_, age)| !age.was_old(collector.age));
            collector.moved[repository] = moved.is_some();
            collector.leftover.moved[repository] = old(moved) && collector.links[repository];
            collector.leftover.announced[repository] =
                moved.is_none() && announced.count() > 0 && !in_time;
            collector.goes_to(after_list(collector.at));
        }
        At::Blob => decide(store, &world.rules, collector),
        At::Condemn => {
            store.tombstone = Some((Tombstone::Condemned, Age::NEW));
            let stay = !world.rules.keep(Defect::LinksStay);
            collector.goes_to(if stay { At::Unlinked } else { next_move(collector, 0) });
        }
        At::Announce(_)
        | At::ManifestsAgain(_)
        | At::CopyLink(_)
        | At::DeleteLink(_)
        | At::EndMove(_)
        | At::Unlinked => move_links(store, &world.rules, number, collector),
        At::Removing
        | At::LastLook
        | At::LookForNeed
        | At::LookAtData
        | At::RemoveData
        | At::DropMoved(_)
        | At::LookAtTombstone
        | At::DropTombstone => remove(store, &world.rules, number, collector),
        At::Need | At::GiveWay | At::GiveBack(_) | At::Acquit => {
            give_back(store, &world.rules, collector);
        }
        At::Tidy => tidy(store, collector),
    }
}

/// What to do about the blob, by what the run has found.
fn decide(store: &mut Store, rules: &Rules, collector: &mut Collector) {
    let begun = collector.age;
    let old = |age: Option<Age>| age.is_some_and(|age| age.was_old(begun));
    let linked = collector.links.contains(&true);
    let lost = (0..REPOSITORIES).any(|r| collector.moved[r] && !collector.links[r]);
    let settled = store.tombstone.is_none();
    collector.leftover.needed = settled && old(store.needed);
    let next = if store.data.is_none() {
        store.sighted = None;
        without_data(store, collector)
    } else if collector.referenced || store.needed.is_some() || (settled && lost) {
        store.sighted = None;
        if settled && !lost { At::Tidy } else { At::Need }
    } else if (collector.young || !old(store.data)) && !rules.impatient {
        store.sighted = None;
        if settled { At::Tidy } else { At::Need }
    } else {
        garbage(store, rules, collector, linked)
    };
    collector.goes_to(next);
}

/// The data is gone, by a collector that died.
fn without_data(store: &Store, collector: &mut Collector) -> At {
    let old = |age: Option<Age>| age.is_some_and(|age| age.was_old(collector.age));
    match store.tombstone {
        Some((_, age)) if old(Some(age)) => At::Removing,
        Some(_) => At::Idle,
        None => {
            collector.leftover.moved = collector.moved;
            At::Tidy
        }
    }
}

fn garbage(store: &mut Store, rules: &Rules, collector: &Collector, linked: bool) -> At {
    let begun = collector.age;
    match store.tombstone {
        None => match store.sighted {
            None => {
                store.sighted = Some(Age::NEW);
                At::Tidy
            }
            Some(age) if age.was_old(begun) || rules.impatient => At::Condemn,
            Some(_) => At::Tidy,
        },
        Some((Tombstone::Condemned, _)) => At::Condemn,
        Some((Tombstone::Unlinked, age)) => {
            if linked && rules.keep(Defect::LinksStay) {
                At::Condemn
            } else if rules.foreign && rules.keep(Defect::RemovesBesideForeign) {
                At::Idle
            } else if age.was_old(begun) || !rules.keep(Defect::NoWait) {
                At::Removing
            } else {
                At::Idle
            }
        }
        Some((Tombstone::Removing(_), age)) if age.was_old(begun) => At::Removing,
        Some((Tombstone::Removing(_), _)) => At::Idle,
    }
}

/// The first repository from one on whose link is to be moved.
fn next_move(collector: &Collector, from: usize) -> At {
    let next = (from..REPOSITORIES).find(|repository| collector.links[*repository]);
    next.map_or(At::Unlinked, At::Announce)
}

fn move_links(store: &mut Store, rules: &Rules, number: usize, collector: &mut Collector) {
    let next = match collector.at {
        At::Announce(repository) => {
            store.announced[repository][number] = Some((Announced::Moving, Age::NEW));
            collector.since = Age::NEW;
            At::ManifestsAgain(repository)
        }
        At::ManifestsAgain(repository) => {
            if store.manifest[repository] && rules.keep(Defect::NoReadAfterAnnounce) {
                collector.referenced = true;
                At::EndMove(repository)
            } else {
                At::CopyLink(repository)
            }
        }
        At::CopyLink(repository) => {
            store.moved[repository] = Some(Age::NEW);
            collector.moved[repository] = true;
            At::DeleteLink(repository)
        }
        At::DeleteLink(repository)
            if collector.since > Age::NEW && rules.keep(Defect::NoSecondLook) =>
        {
            At::Announce(repository)
        }
        At::DeleteLink(repository) => {
            store.link[repository] = None;
            At::EndMove(repository)
        }
        At::EndMove(repository) => {
            let moved = (Announced::Moved, Age::NEW);
            store.announced[repository][number] = rules.keep(Defect::ForgetsMoves).then_some(moved);
            if collector.referenced { At::Need } else { next_move(collector, repository + 1) }
        }
        _ => {
            let early = store.tombstone.filter(|_| !rules.keep(Defect::WaitsFromTombstone));
            let age = early.map_or(Age::NEW, |(_, age)| age);
            store.tombstone = Some((Tombstone::Unlinked, age));
            At::Idle
        }
    };
    collector.goes_to(next);
}

fn remove(store: &mut Store, rules: &Rules, number: usize, collector: &mut Collector) {
    let own =
        store.tombstone.is_some_and(|(tombstone, _)| tombstone == Tombstone::Removing(number));
    let next = match collector.at {
        At::Removing => {
            store.tombstone = Some((Tombstone::Removing(number), Age::NEW));
            collector.since = Age::NEW;
            At::LastLook
        }
        At::LastLook if !rules.keep(Defect::NoLookBeforeRemoval) => At::RemoveData,
        At::LastLook if own => At::LookForNeed,
        At::LookForNeed => {
            collector.needed = store.needed.is_some();
            At::LookAtData
        }
        At::LookAtData => match store.data {
            None => At::DropMoved(0),
            Some(_) if collector.needed => At::Need,
            Some(age) if !age.was_old(collector.age) && !rules.impatient => At::Need,
            Some(_) => At::RemoveData,
        },
        At::RemoveData if collector.since > Age::NEW && rules.keep(Defect::NoSecondLook) => {
            At::Removing
        }
        At::RemoveData => {
            store.data = None;
            if !rules.keep(Defect::LinksStay) {
                store.link = [None; REPOSITORIES];
            }
            At::DropMoved(0)
        }
        At::DropMoved(repository) => {
            store.moved[repository] = None;
            if repository + 1 < REPOSITORIES {
                At::DropMoved(repository + 1)
            } else {
                At::LookAtTombstone
            }
        }
        // Another collector may have looked before this one wrote the tombstone. Its
        // removal is carried out by now or not at all.
        At::LookAtTombstone if collector.since == Age::NEW && rules.keep(Defect::EndsEarly) => {
            At::LookAtTombstone
        }
        At::LookAtTombstone if own => At::DropTombstone,
        At::LastLook | At::LookAtTombstone => At::Idle,
        _ => {
            store.tombstone = None;
            At::Idle
        }
    };
    collector.goes_to(next);
}

fn give_back(store: &mut Store, rules: &Rules, collector: &mut Collector) {
    let next = match collector.at {
        At::Need => {
            if rules.keep(Defect::GivesBackSilently) {
                store.needed = Some(Age::NEW);
            }
            At::GiveWay
        }
        // The next run goes on.
        At::GiveWay
            if rules.keep(Defect::DoesNotGiveWay)
                && store.removing().is_some_and(|age| !age.was_old(collector.age)) =>
        {
            At::Idle
        }
        At::GiveWay => At::GiveBack(0),
        At::GiveBack(repository) => {
            if collector.moved[repository] {
                store.link[repository] = Some(Age::NEW);
                if !rules.keep(Defect::MovedGoesAtOnce) {
                    store.moved[repository] = None;
                }
            }
            if repository + 1 < REPOSITORIES { At::GiveBack(repository + 1) } else { At::Acquit }
        }
        _ => {
            store.tombstone = None;
            store.sighted = None;
            At::Idle
        }
    };
    collector.goes_to(next);
}

fn tidy(store: &mut Store, collector: &mut Collector) {
    let leftover = &collector.leftover;
    if leftover.needed {
        store.needed = None;
    }
    for repository in 0..REPOSITORIES {
        if leftover.moved[repository] {
            store.moved[repository] = None;
        }
        if leftover.announced[repository] {
            store.announced[repository] = Default::default();
        }
    }
    collector.goes_to(At::Idle);
}
