//! What clients share: the processes, the tags, and the counts.

use crate::content::Version;
use crate::settings::Settings;
use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, RwLock};
use std::time::Instant;

pub const REPOSITORIES: u32 = 4;
pub const TAGS: u32 = 16;

/// Untagged versions that stay, and deleted ones that are pushed again.
const UNTAGGED: usize = 1;
const DELETED: usize = 3;

/// A process that serves.
#[derive(Debug, Default)]
pub struct Instance {
    pub address: RwLock<String>,
    pub is_down: AtomicBool,
    pub deaths: AtomicU64,
}

/// A tag of a repository. One client at a time changes it.
#[derive(Debug, Default)]
pub struct Tag {
    pub writer: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Counts beginnings and ends of changes: it is odd within one.
    changes: u64,
    changed: Option<Instant>,
    current: Option<Version>,
    untagged: VecDeque<Version>,
    deleted: VecDeque<Version>,
}

/// What a tag should be, at a moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub changes: u64,
    pub changed: Option<Instant>,
    pub current: Option<Version>,
    pub untagged: Vec<Version>,
}

impl Snapshot {
    /// Whether nobody has changed it since.
    pub fn still_holds(&self, tag: &Tag) -> bool {
        self.changes.is_multiple_of(2) && tag.state.lock().unwrap().changes == self.changes
    }
}

impl Tag {
    pub fn snapshot(&self) -> Snapshot {
        let state = self.state.lock().unwrap();
        Snapshot {
            changes: state.changes,
            changed: state.changed,
            current: state.current.clone(),
            untagged: state.untagged.iter().cloned().collect(),
        }
    }

    pub fn begin(&self) {
        self.state.lock().unwrap().changes += 1;
    }

    pub fn end(&self) {
        let mut state = self.state.lock().unwrap();
        state.changes += 1;
        state.changed = Some(Instant::now());
    }

    /// The tag leads to this version now, or to none.
    pub fn moved_to(&self, version: Option<Version>) {
        let mut state = self.state.lock().unwrap();
        if let Some(former) = std::mem::replace(&mut state.current, version) {
            state.untagged.push_back(former);
        }
    }

    /// An untagged version that is to be deleted.
    pub fn superfluous(&self) -> Option<Version> {
        let state = self.state.lock().unwrap();
        (state.untagged.len() > UNTAGGED).then(|| state.untagged.front().cloned()).flatten()
    }

    /// The version that the tag leads to is deleted with it.
    pub fn forget_current(&self) {
        let mut state = self.state.lock().unwrap();
        if let Some(version) = state.current.take() {
            state.remember(version);
        }
    }

    pub fn forget_untagged(&self) {
        let mut state = self.state.lock().unwrap();
        if let Some(version) = state.untagged.pop_front() {
            state.remember(version);
        }
    }

    /// A version that was deleted and can be pushed again.
    pub fn deleted(&self, random: &mut fastrand::Rng) -> Option<Version> {
        let mut state = self.state.lock().unwrap();
        let count = state.deleted.len();
        (count > 0).then(|| state.deleted.remove(random.usize(..count))).flatten()
    }

    /// All versions that must be there.
    pub fn versions(&self) -> Vec<Version> {
        let state = self.state.lock().unwrap();
        state.current.iter().chain(&state.untagged).cloned().collect()
    }
}

impl State {
    fn remember(&mut self, version: Version) {
        self.deleted.push_back(version);
        if self.deleted.len() > DELETED {
            self.deleted.pop_front();
        }
    }
}

macro_rules! counts {
    ($($(#[doc = $doc:literal])* $name:ident: $text:literal),* $(,)?) => {
        /// What happened.
        #[derive(Debug, Default)]
        pub struct Counts {
            $($(#[doc = $doc])* pub $name: AtomicU64,)*
        }

        impl fmt::Display for Counts {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut between = "";
                $(
                    write!(f, "{between}{} {}", self.$name.load(Ordering::Relaxed), $text)?;
                    between = ", ";
                )*
                Ok(())
            }
        }
    };
}

counts! {
    pushes: "images and indexes pushed",
    manifests: "manifests",
    reused: "blobs found by HEAD",
    mounted: "mounted",
    uploaded: "uploaded",
    pulls: "pulls",
    pulled: "blobs and manifests pulled",
    listed: "lists of referrers",
    tags_deleted: "tags deleted",
    manifests_deleted: "manifests deleted",
    kills: "kills",
    /// Attempts that a kill has cut off.
    cut: "attempts cut off by them",
    /// Attempts that took longer than a client relies on an answer.
    overdue: "begun again after the grace time",
    /// Manifests refused after that time.
    late: "refused after it",
    /// What a second registry refused, which was then repeated.
    refused: "pushes and deletes refused by the second registry",
    missed: "pulls that the second registry failed",
}

/// One is done.
pub fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// All of it.
#[derive(Debug)]
pub struct World {
    pub settings: Settings,
    pub instances: Vec<Instance>,
    pub tags: Vec<Vec<Tag>>,
    pub counts: Counts,
    pub stopping: AtomicBool,
    pub faults: Mutex<Vec<String>>,
    pub begun: Instant,
}

impl World {
    pub fn new(settings: &Settings) -> Self {
        Self {
            settings: settings.clone(),
            instances: (0..settings.instances()).map(|_| Instance::default()).collect(),
            tags: (0..REPOSITORIES).map(|_| (0..TAGS).map(|_| Tag::default()).collect()).collect(),
            counts: Counts::default(),
            stopping: AtomicBool::default(),
            faults: Mutex::default(),
            begun: Instant::now(),
        }
    }

    pub fn fault(&self, what: impl Into<String>) {
        let text = format!("{:?}: {}", self.begun.elapsed(), what.into());
        eprintln!("FAULT {text}");
        self.faults.lock().unwrap().push(text);
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }
}
