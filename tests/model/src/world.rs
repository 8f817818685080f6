//! The storage, with all that goes on over it: what the checker explores.

use crate::client::{self, Client, Task};
use crate::collector::{self, Collector};
use crate::rules::{Defect, Rules};
use crate::store::{REPOSITORIES, Store};
use crate::{check, fair, properties};
use stateright::{Model, Property};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Where a check begins, and what may happen.
#[derive(Clone, Debug, Default)]
pub struct Scenario {
    /// What is stored.
    pub store: Store,
    /// What clients do, each in a repository.
    pub clients: Vec<(Task, usize)>,
    /// How many collectors there are.
    pub collectors: usize,
    /// How often collectors die, in all.
    pub crashes: u8,
    /// How many runs collectors begin, in all; any number if it is `None`.
    pub runs: Option<u8>,
    /// Whether an operator takes back at some time what was done about the blob.
    pub undo: bool,
    /// How often lists of collectors fail, in all.
    pub failures: u8,
    /// Repositories whose manifest is deleted at some time.
    pub deleted_manifests: Vec<usize>,
    /// Repositories from which the blob is deleted at some time, by its link.
    pub deleted_links: Vec<usize>,
    /// Whether each state is asked what a collector without disturbance makes of it.
    pub fair: bool,
    /// The rules.
    pub rules: Rules,
}

impl check::Scenario for Scenario {
    type Defect = Defect;

    fn broken(&mut self) -> &mut check::Broken<Defect> {
        &mut self.rules.broken
    }
}

/// A state.
#[derive(Clone, Debug)]
pub struct World {
    /// What is stored.
    pub store: Store,
    /// Clients.
    pub clients: Vec<Client>,
    /// Collectors.
    pub collectors: Vec<Collector>,
    /// Repositories whose manifest was acknowledged and not deleted since.
    pub acknowledged: [bool; REPOSITORIES],
    /// Repositories whose manifest another registry has acknowledged.
    pub foreign: [bool; REPOSITORIES],
    /// Whether a push was refused although its client was told that the blob is
    /// there.
    pub refused: bool,
    crashes: u8,
    runs: Option<u8>,
    undo: bool,
    failures: u8,
    deleted_manifests: Vec<usize>,
    deleted_links: Vec<usize>,
    /// Repositories from which somebody has deleted the blob: they hold what others
    /// push later, and promise nothing of what was there.
    pub let_go: [bool; REPOSITORIES],
    /// The rules, which never change.
    pub rules: Arc<Rules>,
}

impl World {
    fn changing(&self) -> impl Hash + PartialEq {
        let Self { store, clients, collectors, acknowledged, foreign, refused, let_go, .. } = self;
        let left = (
            self.crashes,
            self.runs,
            self.undo,
            self.failures,
            &self.deleted_manifests,
            &self.deleted_links,
        );
        (store, clients, collectors, acknowledged, foreign, refused, let_go, left)
    }

    fn tick(&mut self) {
        self.store.tick();
        self.clients.iter_mut().for_each(Client::tick);
        self.collectors.iter_mut().for_each(Collector::tick);
    }

    /// The same state with nothing but one collector.
    #[must_use]
    pub fn alone(&self) -> Self {
        let mut alone = self.clone();
        alone.clients.clear();
        alone.collectors = vec![Collector::default()];
        alone
    }

    /// One run of the first collector, after a long time.
    pub fn run(&mut self) {
        for _ in 0..3 {
            self.tick();
        }
        collector::step(self, 0);
        self.finish();
    }

    fn finish(&mut self) {
        while self.collectors[0].at != collector::At::Idle {
            if self.collectors[0].at == collector::At::LookAtTombstone {
                self.tick();
            }
            collector::step(self, 0);
        }
    }

    /// Takes all back that was done about the blob, as `--undo` does.
    pub fn undo(&mut self) {
        let moved = self.store.moved.map(|moved| moved.is_some());
        self.collectors[0] = Collector::undoing(moved);
        self.finish();
    }
}

impl PartialEq for World {
    fn eq(&self, other: &Self) -> bool {
        self.changing() == other.changing()
    }
}

impl Hash for World {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.changing().hash(state);
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
    /// A collector begins to take back what was done about the blob.
    Undo(usize),
    /// A list that a collector asks for fails.
    Fail(usize),
    /// Somebody deletes the manifest of a repository.
    DeleteManifest(usize),
    /// Somebody deletes the blob from a repository.
    DeleteLink(usize),
}

impl Model for Scenario {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World {
            store: self.store.clone(),
            clients: self.clients.iter().map(|&(task, r)| Client::new(task, r)).collect(),
            collectors: vec![Collector::default(); self.collectors],
            acknowledged: self.store.manifest,
            foreign: [false; REPOSITORIES],
            refused: false,
            crashes: self.crashes,
            runs: self.runs,
            undo: self.undo,
            failures: self.failures,
            deleted_manifests: self.deleted_manifests.clone(),
            deleted_links: self.deleted_links.clone(),
            let_go: [false; REPOSITORIES],
            rules: Arc::new(self.rules.clone()),
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        actions.push(Action::Tick);
        actions.extend((0..world.clients.len()).map(Action::Client));
        for (number, collector) in world.collectors.iter().enumerate() {
            if world.runs != Some(0) || collector.at != collector::At::Idle {
                actions.push(Action::Collector(number));
            }
            if world.undo && collector.at == collector::At::Idle {
                actions.push(Action::Undo(number));
            }
            if world.crashes > 0 && collector.at != collector::At::Idle {
                actions.push(Action::Crash(number));
            }
            if world.failures > 0 && collector.is_listing() {
                actions.push(Action::Fail(number));
            }
        }
        actions.extend(world.deleted_manifests.iter().copied().map(Action::DeleteManifest));
        actions.extend(world.deleted_links.iter().copied().map(Action::DeleteLink));
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        match action {
            Action::Tick => next.tick(),
            Action::Client(number) => {
                if !client::step(&mut next, number) {
                    return None;
                }
            }
            Action::Collector(number) => {
                if next.collectors[number].at == collector::At::Idle {
                    next.runs = next.runs.map(|runs| runs - 1);
                }
                collector::step(&mut next, number);
            }
            Action::Undo(number) => {
                next.undo = false;
                next.collectors[number] =
                    Collector::undoing(world.store.moved.map(|m| m.is_some()));
            }
            Action::Crash(number) => {
                next.crashes -= 1;
                next.collectors[number] = Collector::default();
            }
            Action::Fail(number) => {
                next.failures -= 1;
                collector::fail(&mut next, number);
            }
            Action::DeleteManifest(repository) => {
                next.deleted_manifests.retain(|other| *other != repository);
                next.store.manifest[repository] = false;
                next.acknowledged[repository] = false;
            }
            Action::DeleteLink(repository) => {
                next.deleted_links.retain(|other| *other != repository);
                next.store.link[repository] = None;
                next.store.moved[repository] = None;
                next.let_go[repository] = true;
            }
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut all = properties::always();
        if self.fair {
            all.extend(fair::always());
        }
        all
    }
}
