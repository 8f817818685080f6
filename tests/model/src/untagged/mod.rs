//! Untagged manifests: a collector moves their links aside, and requests bring them back.
//!
//! This is about one manifest of one repository, an index that may name it, and what is
//! lost with it: its own bytes and one blob. Links to that blob are left out, which the
//! model of the whole protocol has: here the age of the data stands for them.

pub mod blobs;
pub mod client;
pub mod collector;
pub mod fair;

use crate::check::{self, Broken};
use crate::store::{Age, Announced, COLLECTORS};
use client::{Client, Task};
use collector::Collector;
use stateright::{Model, Property};

/// After so many ticks twice the grace has certainly passed: the least that condemned
/// blobs are kept, and moved links until they expire.
pub const CONDEMNED: Age = Age::of(3);

/// The highest age: that, seen by a run that is one tick old.
pub const HIGHEST: Age = Age::of(4);

/// A moved link.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Moved {
    /// Whether requests find nothing in it any longer.
    pub expired: bool,
    /// Time since it was written.
    pub age: Age,
}

/// What a tombstone says.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Tombstone {
    /// The blob is condemned.
    Unlinked,
    /// A collector is about to remove the data.
    Removing(usize),
}

/// The manifest's bytes, or its blob.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Content {
    /// Time since the data was written.
    pub data: Option<Age>,
    /// The tombstone beside it.
    pub tombstone: Option<(Tombstone, Age)>,
    /// That somebody needs it.
    pub needed: Option<Age>,
}

impl Content {
    /// Whether the tombstone says that the data is about to be removed.
    pub fn is_removing(&self) -> bool {
        matches!(self.tombstone, Some((Tombstone::Removing(_), _)))
    }

    fn tick(&mut self) {
        let ages = self.data.iter_mut().chain(&mut self.needed);
        ages.for_each(|age| age.tick_to(HIGHEST));
        self.tombstone.iter_mut().for_each(|(_, age)| age.tick_to(HIGHEST));
    }
}

/// The objects that concern the manifest.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Store {
    /// Its link in the repository.
    pub link: Option<Age>,
    /// Its moved link.
    pub moved: Option<Moved>,
    /// Whether a tag leads to it.
    pub tag: bool,
    /// The link of an index that names it.
    pub index: Option<Age>,
    /// Whether a tag leads to the index.
    pub index_tag: bool,
    /// The manifest's bytes, and its blob.
    pub content: [Content; 2],
    /// What collectors have announced.
    pub announced: [Option<(Announced, Age)>; COLLECTORS],
    /// That somebody is deleting the manifest.
    pub deleting: Option<Age>,
}

impl Store {
    /// A manifest that has long been without a tag.
    pub fn untagged() -> Self {
        let content = Content { data: Some(HIGHEST), ..Content::default() };
        Self { link: Some(HIGHEST), content: [content.clone(), content], ..Self::default() }
    }

    /// One that was taken away just now.
    pub fn taken() -> Self {
        let moved = Some(Moved { expired: false, age: Age::NEW });
        Self { link: None, moved, ..Self::untagged() }
    }

    /// One that was taken away so long ago that its moved link expires with the next run;
    /// its blobs are condemned for as long.
    pub fn condemned() -> Self {
        let mut store = Self::taken();
        store.moved = Some(Moved { expired: false, age: HIGHEST });
        for content in &mut store.content {
            content.tombstone = Some((Tombstone::Unlinked, HIGHEST));
        }
        store
    }

    /// One whose moved link has expired, and goes with the next run.
    pub fn expired() -> Self {
        let moved = Some(Moved { expired: true, age: HIGHEST });
        Self { moved, ..Self::condemned() }
    }

    /// Whether all is there that the manifest consists of.
    pub fn is_whole(&self) -> bool {
        self.content.iter().all(|content| content.data.is_some())
    }

    /// Whether a collector that lives moves the link.
    pub fn is_moving(&self) -> bool {
        let moving =
            |(what, age): &(Announced, Age)| *what == Announced::Moving && *age == Age::NEW;
        self.announced.iter().flatten().any(moving)
    }

    /// Whether somebody moves or deletes the link.
    pub fn is_going(&self) -> bool {
        self.is_moving() || self.deleting == Some(Age::NEW)
    }

    fn tick(&mut self) {
        let ages = self.link.iter_mut().chain(&mut self.index).chain(&mut self.deleting);
        let moved = self.moved.iter_mut().map(|moved| &mut moved.age);
        ages.chain(moved).for_each(|age| age.tick_to(HIGHEST));
        self.content.iter_mut().for_each(Content::tick);
        self.announced.iter_mut().flatten().for_each(|(_, age)| age.tick());
    }
}

/// A rule that is broken.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Defect {
    /// A collector does not announce what it takes away.
    NoAnnouncement,
    /// A collector does not list links and tags again after it has announced.
    NoSecondGraph,
    /// A collector deletes the link before it has written the moved one.
    LinkGoesFirst,
    /// A collector does not read the link before it writes the moved one.
    NoLinkAgain,
    /// A collector reads the link after it has written the moved one too, and deletes that
    /// if the link is gone.
    DropsMoved,
    /// A collector that stalled after the second look deletes the link.
    NoSecondLook,
    /// A collector removes what a manifest refers to that was taken away.
    HoldsNothing,
    /// What has expired holds nothing any longer.
    ExpiredHoldsNothing,
    /// A moved link goes as soon as it has expired.
    ExpiredGoesAtOnce,
    /// A moved link holds nothing once the link is back.
    RestoredHoldsNothing,
    /// A moved link goes as soon as the link is back.
    RestoredGoesAtOnce,
    /// Requests find what has expired.
    ExpiredIsFound,
    /// A run restores what has expired, if something leads to it.
    RunRestoresExpired,
    /// A run restores nothing.
    RunRestoresNothing,
    /// A push does not wait for announced moves of what it needs.
    PushDoesNotWait,
    /// A push does not look at its links after it has published.
    NoLookAfterPublish,
    /// A push of an index does not look for what was moved.
    IndexDoesNotRestore,
    /// A pull that finds no link does not look for a moved one.
    PullDoesNotRestore,
    /// Who restores writes the need after it has read the bytes.
    NeedsLate,
    /// A deletion leaves the moved link.
    DeletionLeavesMoved,
    /// A deletion deletes the moved link before the link only.
    DeletesMovedOnce,
    /// A deletion does not wait for announced moves before it deletes the moved link again.
    DeletionDoesNotWait,
}

/// Where a check begins, and what may happen.
#[derive(Clone, Debug, Default)]
pub struct Scenario {
    /// What is stored.
    pub store: Store,
    /// What clients do.
    pub clients: Vec<Task>,
    /// How many collectors there are.
    pub collectors: usize,
    /// How many runs they begin, in all.
    pub runs: u8,
    /// How often collectors die, in all.
    pub crashes: u8,
    /// Whether each state is asked what a collector without disturbance makes of it.
    pub fair: bool,
    /// What is wrong.
    pub broken: Broken<Defect>,
}

impl check::Scenario for Scenario {
    type Defect = Defect;

    fn broken(&mut self) -> &mut Broken<Defect> {
        &mut self.broken
    }
}

/// What was answered, and still holds.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Answers {
    /// A push of the manifest with a tag was acknowledged.
    pub pushed: bool,
    /// A push of the index was, whose client had seen the manifest.
    pub indexed: bool,
    /// A request was answered that there is no such manifest, although nobody has deleted
    /// it and the moved link had not expired.
    pub missed: bool,
    /// The moved link has expired since the link was there.
    pub expired: bool,
    /// A push was refused.
    pub refused: bool,
    /// A deletion has deleted the link, and nobody has written it since.
    pub unlinked: bool,
    /// That deletion was acknowledged.
    pub deleted: bool,
}

/// A state.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct World {
    /// What is stored.
    pub store: Store,
    /// Clients.
    pub clients: Vec<Client>,
    /// Collectors.
    pub collectors: Vec<Collector>,
    /// What was answered.
    pub answers: Answers,
    runs: u8,
    crashes: u8,
}

impl World {
    fn tick(&mut self) {
        self.store.tick();
        self.clients.iter_mut().for_each(Client::tick);
        self.collectors.iter_mut().for_each(Collector::tick);
    }
}

/// What can happen next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// The grace passes.
    Tick,
    /// A client does its next step.
    Client(usize),
    /// A collector does its next step.
    Collector(usize),
    /// A collector dies.
    Crash(usize),
}

/// A manifest of the repository is complete, also one that was restored.
pub const COMPLETE: &str = "a manifest whose link is there has its content";

/// What was taken away is held for as long as it can be restored.
pub const HELD: &str = "what was taken away has its content until the moved link has expired";

/// What was acknowledged can be pulled.
pub const RESOLVES: &str = "what an acknowledged tag leads to is a manifest of the repository";

/// Who pulls by digest finds what was not deleted.
pub const FOUND: &str = "what was neither deleted nor has expired is found";

/// No push is refused.
pub const NOT_REFUSED: &str = "no push is refused";

/// What was deleted by request does not come back.
pub const DELETED: &str = "what was deleted by request cannot be restored";

/// All is gone in some history.
pub const GONE: &str = "an untagged manifest goes, with its content";

impl Model for Scenario {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World {
            store: self.store.clone(),
            clients: self.clients.iter().map(|task| Client::new(*task)).collect(),
            collectors: vec![Collector::default(); self.collectors],
            answers: Answers::default(),
            runs: self.runs,
            crashes: self.crashes,
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        actions.push(Action::Tick);
        actions.extend((0..world.clients.len()).map(Action::Client));
        for (number, collector) in world.collectors.iter().enumerate() {
            let is_idle = collector.at == collector::At::Idle;
            if !is_idle || world.runs > 0 {
                actions.push(Action::Collector(number));
            }
            if !is_idle && world.crashes > 0 {
                actions.push(Action::Crash(number));
            }
        }
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        match action {
            Action::Tick => next.tick(),
            Action::Client(number) => {
                if !client::step(self, &mut next, number) {
                    return None;
                }
            }
            Action::Collector(number) => {
                next.runs -= u8::from(world.collectors[number].at == collector::At::Idle);
                if !collector::step(self, &mut next, number) {
                    return None;
                }
            }
            Action::Crash(number) => {
                next.crashes -= 1;
                next.collectors[number] = Collector::default();
            }
        }
        let Store { link, moved, .. } = &next.store;
        next.answers.expired |= moved.is_some_and(|moved| moved.expired);
        next.answers.expired &= link.is_none();
        let is_written = link.is_some() && world.store.link.is_none();
        next.answers.unlinked &= !is_written;
        next.answers.deleted &= !is_written;
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut all = vec![
            Property::always(COMPLETE, |_, world: &World| {
                world.store.link.is_none() || world.store.is_whole()
            }),
            Property::always(RESOLVES, |_, world: &World| {
                let relied_on = world.answers.pushed || world.answers.indexed;
                !relied_on || (world.store.link.is_some() && world.store.is_whole())
            }),
            Property::always(HELD, |_, world: &World| {
                // A request may have read it just before it expired.
                let over = |moved: Moved| moved.expired && moved.age > Age::NEW;
                // A run may write as expired what a deletion has taken away before it.
                let deleted = world.store.deleting.is_some() || world.answers.unlinked;
                world.store.moved.is_none_or(over) || world.store.is_whole() || deleted
            }),
            Property::always(FOUND, |_, world: &World| !world.answers.missed),
            Property::always(NOT_REFUSED, |_, world: &World| !world.answers.refused),
            Property::always(DELETED, |_, world: &World| {
                let is_idle = world.collectors.iter().all(|one| one.at == collector::At::Idle);
                let Store { link, moved, .. } = &world.store;
                let is_there = link.is_some() || moved.is_some_and(|moved| !moved.expired);
                !(world.answers.deleted && is_idle && is_there)
            }),
        ];
        if self.clients.is_empty() {
            all.push(Property::sometimes(GONE, |_, world: &World| {
                let Store { link, moved, content, .. } = &world.store;
                let none = content.iter().all(|content| *content == Content::default());
                link.is_none() && moved.is_none() && none
            }));
        }
        if self.fair {
            all.extend(fair::always());
        }
        all
    }
}
