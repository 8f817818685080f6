//! Quarantine in a bucket: a scrub moves damaged data out of the way, beside uploads
//! of the same blob, a collector, and another scrub.
//!
//! This is about one blob. Links are left out: quarantine moves none, and what a
//! collector makes of them is in the model of the whole protocol. Instead of them, the
//! age of the data keeps it from a collector here.

pub mod collector;
pub mod fair;
pub mod scrub;
pub mod upload;

use crate::check::{self, Broken};
use crate::store::Age;
use collector::Collector;
use scrub::Scrub;
use stateright::{Model, Property};
use upload::Upload;

/// After so many ticks a collector takes a tombstone for forgotten that says `suspect`,
/// and removes what it has condemned: longer than the grace, and than what an instance
/// believes of the marker besides.
pub const CONDEMNED: Age = Age::of(4);

/// The highest age of a tombstone: that, seen by a run that is one tick old.
const HIGHEST: Age = Age::of(5);

/// The bytes of the blob.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Data {
    /// Whose they are: the number of the upload, from 1 on. Those of nobody are damaged.
    /// This takes the place of the size and time that a scrub compares.
    pub by: usize,
    /// Time since they were written.
    pub age: Age,
}

impl Data {
    /// Whether they do not have their digest.
    pub fn is_damaged(self) -> bool {
        self.by == 0
    }
}

/// What a tombstone says.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Tombstone {
    /// A scrub has found the data damaged.
    Suspect,
    /// A scrub or a collector is about to remove the data.
    Removing(Remover),
    /// A collector moves the links.
    Condemned,
    /// No link is left.
    Unlinked,
}

/// Who removes data.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Remover {
    /// A collector.
    Collector,
    /// A scrub, by its number.
    Scrub(usize),
}

/// The objects of the blob, with the marker.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Store {
    /// Its bytes.
    pub data: Option<Data>,
    /// The tombstone beside them.
    pub tombstone: Option<(Tombstone, Age)>,
    /// That somebody needs it.
    pub needed: Option<Age>,
    /// That there is something to look for.
    pub marker: Option<Age>,
    /// Whether a manifest refers to it.
    pub manifest: bool,
}

impl Store {
    /// A blob whose data was damaged long ago, with or without a manifest that refers to
    /// it; nothing was ever condemned.
    pub fn damaged(manifest: bool) -> Self {
        let data = Some(Data { by: 0, age: Age::HIGHEST });
        Self { data, manifest, ..Self::default() }
    }

    /// The same where something was condemned long ago.
    #[must_use]
    pub fn marked(self) -> Self {
        Self { marker: Some(Age::HIGHEST), ..self }
    }

    /// The same after a collector that died long ago, about to remove the data.
    #[must_use]
    pub fn left_by_a_collector(self) -> Self {
        Self { tombstone: Some((Tombstone::Removing(Remover::Collector), HIGHEST)), ..self }
    }

    /// What the tombstone says.
    pub fn says(&self) -> Option<Tombstone> {
        self.tombstone.map(|(tombstone, _)| tombstone)
    }

    /// Whether the tombstone says that the data is about to be removed.
    pub fn is_removing(&self) -> bool {
        matches!(self.says(), Some(Tombstone::Removing(_)))
    }

    fn write(&mut self, tombstone: Tombstone) {
        self.tombstone = Some((tombstone, Age::NEW));
    }

    fn mark(&mut self) {
        self.marker.get_or_insert(Age::NEW);
    }

    fn tick(&mut self) {
        self.data.iter_mut().for_each(|data| data.age.tick());
        self.tombstone.iter_mut().for_each(|(_, age)| age.tick_to(HIGHEST));
        self.needed.iter_mut().chain(&mut self.marker).for_each(Age::tick);
    }
}

/// A rule that is broken.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Defect {
    /// A scrub does not say that the data is suspect before it removes it.
    NoAnnouncement,
    /// A scrub writes no marker.
    NoMarker,
    /// A scrub does not wait after it has announced.
    NoWait,
    /// A scrub waits until the marker is as old as the longer of what it waits for, and
    /// not as both together.
    WaitsForTheLonger,
    /// A scrub does not count the wait from the last need.
    ForgetsNeeds,
    /// A scrub announces what a collector has condemned.
    TakesOver,
    /// A scrub says at once that it removes nothing, in the place of a removal that seems
    /// to have died.
    TakesOverAtOnce,
    /// A scrub does not look again before it deletes.
    NoLastLook,
    /// A scrub looks last, and then says that it removes.
    LooksFirst,
    /// The last look is not about needs.
    LooksForNoNeed,
    /// The last look is not about the data.
    LooksForNoData,
    /// The last look is not about the tombstone.
    LooksForNoTombstone,
    /// A scrub that stalled after the last look deletes.
    NoSecondLook,
    /// A scrub that stalled before that writes tombstones by what it read once.
    GoesOnLate,
    /// A scrub that finds a need says at once that it removes nothing, although another
    /// one may be about to.
    TakesBackAtOnce,
    /// The tombstone goes with the data.
    EndsEarly,
    /// A scrub goes on however old its announcement is.
    OldAnnouncement,
    /// A collector condemns what is suspect.
    CondemnsSuspects,
    /// A collector never gives back what is suspect.
    SuspectForever,
    /// A collector that gives back does not look whether a scrub removes the data.
    DoesNotGiveWay,
    /// An upload does not look for a tombstone.
    UploadDoesNotLook,
    /// An upload does not say that it needs the blob.
    UploadDoesNotNeed,
    /// An upload does not wait for a removal.
    UploadDoesNotWait,
}

/// Where a check begins, and what may happen.
#[derive(Clone, Debug, Default)]
pub struct Scenario {
    /// What is stored.
    pub store: Store,
    /// How many uploads there are.
    pub uploads: usize,
    /// How many scrubs there are.
    pub scrubs: usize,
    /// How many runs a collector begins.
    pub runs: u8,
    /// How often scrubs and collectors die, in all.
    pub crashes: u8,
    /// Whether each state is asked what is left when all that goes on has ended.
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

/// A state.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct World {
    /// What is stored.
    pub store: Store,
    /// Uploads.
    pub uploads: Vec<Upload>,
    /// Scrubs.
    pub scrubs: Vec<Scrub>,
    /// The collector.
    pub collector: Collector,
    /// Whether a scrub has moved damaged data away.
    pub moved: bool,
    runs: u8,
    crashes: u8,
}

impl World {
    fn tick(&mut self) {
        self.store.tick();
        self.uploads.iter_mut().for_each(Upload::tick);
        self.scrubs.iter_mut().for_each(Scrub::tick);
        self.collector.tick();
    }
}

/// What can happen next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// The grace passes.
    Tick,
    /// An upload does its next step.
    Upload(usize),
    /// A scrub does its next step.
    Scrub(usize),
    /// A scrub dies for good.
    Die(usize),
    /// A slice of a scrub dies, and another one goes on from the record of the last.
    Resume(usize),
    /// The collector does its next step.
    Collector,
    /// The collector dies.
    Crash,
}

/// What an upload has written stays.
pub const KEPT: &str = "what an upload has written stays as long as it is relied on";

/// The damaged data goes in some history.
pub const MOVED: &str = "damaged data is moved out of the way";

impl Model for Scenario {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World {
            store: self.store.clone(),
            uploads: vec![Upload::default(); self.uploads],
            scrubs: vec![Scrub::default(); self.scrubs],
            collector: Collector::default(),
            moved: false,
            runs: self.runs,
            crashes: self.crashes,
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        actions.push(Action::Tick);
        actions.extend((0..world.uploads.len()).map(Action::Upload));
        for (number, scrub) in world.scrubs.iter().enumerate() {
            actions.push(Action::Scrub(number));
            if world.crashes > 0 && scrub.at != scrub::At::Idle {
                actions.push(Action::Die(number));
                actions.push(Action::Resume(number));
            }
        }
        let is_idle = world.collector.at == collector::At::Idle;
        if !is_idle || world.runs > 0 {
            actions.push(Action::Collector);
        }
        if !is_idle && world.crashes > 0 {
            actions.push(Action::Crash);
        }
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        match action {
            Action::Tick => next.tick(),
            Action::Upload(number) => {
                if !upload::step(self, &mut next, number) {
                    return None;
                }
            }
            Action::Scrub(number) => {
                if !scrub::step(self, &mut next, number) {
                    return None;
                }
            }
            Action::Die(number) => {
                next.crashes -= 1;
                next.scrubs[number] = Scrub::default();
            }
            Action::Resume(number) => {
                next.crashes -= 1;
                next.scrubs[number].resume();
            }
            Action::Collector => {
                next.runs -= u8::from(world.collector.at == collector::At::Idle);
                if !collector::step(self, &mut next) {
                    return None;
                }
            }
            Action::Crash => {
                next.crashes -= 1;
                next.collector = Collector::default();
            }
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut all = vec![
            Property::always(KEPT, |_, world: &World| {
                let is_good = world.store.data.is_some_and(|data| !data.is_damaged());
                is_good || !world.uploads.iter().any(Upload::is_relied_on)
            }),
            Property::sometimes(MOVED, |_, world: &World| world.moved),
        ];
        if self.fair {
            all.extend(fair::always());
        }
        all
    }
}
