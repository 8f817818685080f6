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
    /// Looks whether the blob is needed, and whether the tombstone is its own.
    LastLook,
    /// Removes the data.
    RemoveData,
    /// Deletes the moved link of a repository.
    DropMoved(usize),
    /// Deletes the tombstone.
    DropTombstone,
    /// Writes that the blob is needed, as it is given back.
    Need,
    /// Writes the link of a repository that has a moved one.
    GiveBack(usize),
    /// Deletes the tombstone of a blob that was given back.
    Acquit,
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
    /// The links that the run has found.
    links: [bool; REPOSITORIES],
    /// Whether one of them is young.
    young: bool,
}

impl Default for Collector {
    fn default() -> Self {
        Self {
            at: At::Idle,
            age: Age::NEW,
            referenced: false,
            links: [false; REPOSITORIES],
            young: false,
        }
    }
}

impl Collector {
    /// A tick passes.
    pub fn tick(&mut self) {
        if self.at != At::Idle {
            self.age.tick();
        }
    }

    /// Whether its next step is a list that may fail.
    pub fn is_listing(&self) -> bool {
        matches!(self.at, At::Links(_) | At::Manifests(_))
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
        collector.at = after_list(collector.at);
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
            collector.goes_to(after_list(collector.at));
        }
        At::Blob => decide(store, &world.rules, collector),
        At::Condemn => {
            store.tombstone = Some((Tombstone::Condemned, Age::NEW));
            collector.goes_to(next_move(collector, 0));
        }
        At::Announce(_)
        | At::ManifestsAgain(_)
        | At::CopyLink(_)
        | At::DeleteLink(_)
        | At::EndMove(_)
        | At::Unlinked => move_links(store, &world.rules, number, collector),
        At::Removing | At::LastLook | At::RemoveData | At::DropMoved(_) | At::DropTombstone => {
            remove(store, &world.rules, number, collector);
        }
        At::Need | At::GiveBack(_) | At::Acquit => give_back(store, &world.rules, collector),
    }
}

/// What to do about the blob, by what the run has found.
fn decide(store: &mut Store, rules: &Rules, collector: &mut Collector) {
    let begun = collector.age;
    let old = |age: Option<Age>| age.is_some_and(|age| age.was_old(begun));
    let young = |age: Option<Age>| age.is_some_and(|age| !age.was_old(begun));
    let linked = collector.links.contains(&true);
    let any_moved = store.moved.iter().any(Option::is_some);
    for repository in 0..REPOSITORIES {
        for announced in &mut store.announced[repository] {
            let gone = store.moved[repository].is_none();
            if gone && old(announced.map(|(_, age)| age)) {
                *announced = None;
            }
        }
    }
    let next = if store.data.is_none() {
        without_data(store, linked || collector.referenced, old)
    } else if collector.referenced {
        store.sighted = None;
        settled(store, old)
    } else if store.needed.is_some() && store.tombstone.is_some() {
        At::Need
    } else if store.tombstone.is_none() && (any_moved || store.needed.is_some()) {
        store.sighted = None;
        settled(store, old)
    } else if young(store.data) || collector.young {
        store.sighted = None;
        if store.tombstone.is_some() { At::Need } else { At::Idle }
    } else {
        garbage(store, rules, collector, linked)
    };
    collector.goes_to(next);
}

/// The data is gone, by a collector that died or for a foreign writer.
fn without_data(store: &mut Store, wanted: bool, old: impl Fn(Option<Age>) -> bool) -> At {
    store.sighted = None;
    match store.tombstone {
        _ if wanted && store.trash.is_some() => {
            store.data = store.trash.take().map(|_| Age::NEW);
            At::Idle
        }
        Some((_, age)) if old(Some(age)) => At::DropMoved(0),
        Some(_) => At::Idle,
        None => {
            for age in [&mut store.trash, &mut store.needed].into_iter().chain(&mut store.moved) {
                if old(*age) {
                    *age = None;
                }
            }
            At::Idle
        }
    }
}

/// The blob is to stay: what was done about it is undone.
fn settled(store: &mut Store, old: impl Fn(Option<Age>) -> bool) -> At {
    let lost = |store: &Store, r: usize| store.moved[r].is_some() && store.link[r].is_none();
    if store.tombstone.is_some() || (0..REPOSITORIES).any(|r| lost(store, r)) {
        return At::Need;
    }
    if old(store.needed) {
        store.needed = None;
    }
    for repository in 0..REPOSITORIES {
        if old(store.moved[repository]) {
            store.moved[repository] = None;
        }
    }
    At::Idle
}

fn garbage(store: &mut Store, rules: &Rules, collector: &Collector, linked: bool) -> At {
    let begun = collector.age;
    match store.tombstone {
        None => match store.sighted {
            None => {
                store.sighted = Some(Age::NEW);
                At::Idle
            }
            Some(age) if age.was_old(begun) => At::Condemn,
            Some(_) => At::Idle,
        },
        Some((Tombstone::Condemned, _)) => At::Condemn,
        Some((Tombstone::Unlinked, age)) => {
            if linked && rules.keep(Defect::LinksStay) {
                At::Condemn
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
    // An announcement counts while it is its own and new.
    let announced = |store: &Store, repository: usize| {
        store.announced[repository][number] == Some((Announced::Moving, Age::NEW))
            || !rules.keep(Defect::NoSecondLook)
    };
    let next = match collector.at {
        At::Announce(repository) => {
            store.announced[repository][number] = Some((Announced::Moving, Age::NEW));
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
            At::DeleteLink(repository)
        }
        At::DeleteLink(repository) if announced(store, repository) => {
            store.link[repository] = None;
            At::EndMove(repository)
        }
        At::DeleteLink(repository) => At::Announce(repository),
        At::EndMove(repository) => {
            let moved = (Announced::Moved, Age::NEW);
            store.announced[repository][number] =
                rules.keep(Defect::ForgetsMoves).then_some(moved);
            if collector.referenced { At::Need } else { next_move(collector, repository + 1) }
        }
        _ => {
            if let Some((Tombstone::Condemned, age)) = store.tombstone {
                let counted = rules.keep(Defect::WaitsFromTombstone);
                let age = if counted { Age::NEW } else { age };
                store.tombstone = Some((Tombstone::Unlinked, age));
            }
            At::Idle
        }
    };
    collector.goes_to(next);
}

fn remove(store: &mut Store, rules: &Rules, number: usize, collector: &mut Collector) {
    let own = Some((Tombstone::Removing(number), Age::NEW));
    let next = match collector.at {
        At::Removing if store.tombstone.is_none() => At::Idle,
        At::Removing => {
            store.tombstone = own;
            At::LastLook
        }
        At::LastLook if !rules.keep(Defect::NoLookBeforeRemoval) => At::RemoveData,
        At::LastLook => match store.data {
            _ if store.needed.is_some() => At::Need,
            Some(age) if !age.was_old(collector.age) => At::Need,
            _ if store.tombstone != own => At::Idle,
            _ => At::RemoveData,
        },
        At::RemoveData if store.tombstone != own && rules.keep(Defect::NoSecondLook) => At::Idle,
        At::RemoveData => {
            let data = store.data.take();
            if rules.trash && rules.keep(Defect::NoTrash) && data.is_some() {
                store.trash = Some(Age::NEW);
            }
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
                At::DropTombstone
            }
        }
        _ => {
            if store.removing().is_some() {
                store.tombstone = None;
            }
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
            At::GiveBack(0)
        }
        At::GiveBack(repository) => {
            if store.moved[repository].is_some() {
                let link = &mut store.link[repository];
                *link = link.or(Some(Age::NEW));
                if !rules.keep(Defect::MovedGoesAtOnce) {
                    store.moved[repository] = None;
                }
            }
            if repository + 1 < REPOSITORIES {
                At::GiveBack(repository + 1)
            } else {
                At::Acquit
            }
        }
        _ => {
            store.tombstone = None;
            store.sighted = None;
            At::Idle
        }
    };
    collector.goes_to(next);
}
