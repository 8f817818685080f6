//! The registry's own collector that removes tags which have expired, or brings them back, beside
//! clients; and the same protocol step by step, as a collector that may break a rule.
//!
//! The tags `a` and `b` expire thirty days after they were pushed. What clients push while it goes
//! on is young, so it has to be there afterwards.

use super::ask::{Ask, Item, NAME, Upload};
use super::collection::slices;
use super::schedule::Scheduler;
use super::search::{Bound, Found, explore_runs, send, steps_of};
use super::stage::{Fault, Task, perform};
use super::world::{Medium, Work, World};
use crate::native::default_order;
use bytes::Bytes;
use roadstead_oci::{Digest, RepositoryName, Tag};
use roadstead_registry::SliceOptions;
use roadstead_storage::{Collection, Key, MovedTag, Pages, Pointer, Record, Storage, StorageError};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

const DAY: Duration = Duration::from_hours(24);

/// A run that removes tags, or brings them back, and clients that meet.
#[derive(Clone, Copy, Debug)]
pub struct Expiry {
    /// Requests before, of long ago.
    pub before: &'static [Ask],
    /// What each client asks for.
    pub clients: &'static [&'static [Ask]],
    /// Whether the tags were removed before, and the run brings them back.
    pub undoes: bool,
    /// How many processes go on with the run.
    pub collectors: usize,
}

/// A rule that a collector breaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lapse {
    /// It does not look again once it has announced what it removes.
    NoSecondLook,
    /// It does not announce what it removes.
    DoesNotAnnounce,
}

/// Has the registry's own run meet clients in every order up to a bound, and by seed beyond it.
/// `fault` is of the run; later runs do what it has left.
pub fn expire_beside(medium: Medium, expiry: &Expiry, bound: Bound, fault: Option<Fault>) -> Found {
    explore_runs(bound, |scheduler| run(medium, expiry, &Collects::Registry, scheduler, fault))
}

/// The same with a collector that breaks a rule, or none, in one process.
pub fn lapse_beside(medium: Medium, expiry: &Expiry, lapse: Option<Lapse>, bound: Bound) -> Found {
    explore_runs(bound, |scheduler| run(medium, expiry, &Collects::Model(lapse), scheduler, None))
}

/// Who removes tags.
enum Collects {
    Registry,
    Model(Option<Lapse>),
}

fn run(
    medium: Medium,
    expiry: &Expiry,
    collects: &Collects,
    scheduler: Box<dyn Scheduler>,
    fault: Option<Fault>,
) -> Result<bool, String> {
    let world = World::new(medium, expiry.clients.len() + 1).with_expiry();
    for &ask in expiry.before {
        send(&world, 0, ask, &Upload::default());
    }
    world.pass(40 * DAY);
    let (order, until) = begin(&world, expiry, collects)?;
    let key = Key::Tag(name(), tag("a"));
    let first = world.work(0, Pushed(&key)).map_err(|error| error.to_string())?;
    let (problems, told) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let report = |problem: String| {
        problems.lock().unwrap_or_else(PoisonError::into_inner).push(problem);
    };
    let mut tasks: Vec<Task<'_>> = Vec::new();
    for (process, asks) in expiry.clients.iter().enumerate() {
        let (world, report, told) = (&world, &report, &told);
        tasks.push(Box::new(move || {
            for &ask in *asks {
                let status = send(world, process, ask, &Upload::default()).status().as_u16();
                match (ask, status) {
                    (Ask::Put(..), 201) => {
                        told.lock().unwrap_or_else(PoisonError::into_inner).push((process, ask));
                    }
                    (Ask::GetTag(_) | Ask::Get(_), 200 | 404)
                    | (Ask::DeleteTag(_) | Ask::Delete(_) | Ask::DeleteRepository, 202 | 404) => {}
                    (ask, status) => report(format!("{ask:?} has the status {status}")),
                }
            }
        }));
    }
    let may_fail = fault.is_some() || expiry.collectors > 1;
    for _ in 0..expiry.collectors {
        let (world, report, mut order) = (&world, &report, order);
        tasks.push(Box::new(move || {
            let last = expiry.clients.len();
            let done = match collects {
                Collects::Registry => slices(world, &mut order, Some(until)),
                Collects::Model(lapse) => {
                    let model = Model { lapse: *lapse, first };
                    world.work(last, model).map_err(|error| error.to_string())
                }
            };
            if let Err(error) = done
                && !may_fail
            {
                report(format!("the collector: {error}"));
            }
        }));
    }
    let mut faults = vec![None; expiry.clients.len()];
    faults.push(fault);
    let performance = perform(tasks, scheduler, &faults, world.root());
    let mut problems = problems.into_inner().unwrap_or_else(PoisonError::into_inner);
    let told = told.into_inner().unwrap_or_else(PoisonError::into_inner);
    let expected = Expected { expiry, told: &told };
    problems.extend(inspect(&world, &expected, "at once"));
    if problems.is_empty() && matches!(collects, Collects::Registry) {
        problems.extend(later(&world, &expected).err());
    }
    if problems.is_empty() {
        return Ok(performance.faulted);
    }
    let mut text = format!("{}\nover {medium:?}, {expiry:?}, {fault:?}\n", problems.join("; "));
    let _ = write!(text, "{}", steps_of(&performance));
    Err(text)
}

/// Has a run come to where it removes tags, or brings them back, and says where that ends.
fn begin(
    world: &World,
    expiry: &Expiry,
    collects: &Collects,
) -> Result<(SliceOptions, &'static str), String> {
    let mut order = SliceOptions { budget: 1, ..default_order() };
    if let Collects::Model(_) = collects {
        return Ok((order, ""));
    }
    if expiry.undoes {
        slices(world, &mut default_order(), None)?;
        world.pass(DAY);
        let run = world.work(0, Removed).map_err(|error| error.to_string())?;
        order.undo = Some(run.ok_or("nothing was removed")?);
        return Ok((order, "blobs"));
    }
    slices(world, &mut order, Some("tags"))?;
    Ok((order, "untagged"))
}

/// Later runs, of which the first ones do what a run has left that died. What was removed is then
/// brought back.
fn later(world: &World, expected: &Expected<'_>) -> Result<(), String> {
    for _ in 0..2 {
        // One that died has its lease for a while.
        world.pass(2 * DAY);
        slices(world, &mut default_order(), None)?;
        fails(&inspect(world, expected, "later"))?;
    }
    let removed = world.work(0, Removed).map_err(|error| error.to_string())?;
    if let Some(run) = removed {
        let mut order = SliceOptions { undo: Some(run), ..default_order() };
        slices(world, &mut order, None)?;
    }
    fails(&inspect(world, expected, "undone"))
}

fn fails(problems: &[String]) -> Result<(), String> {
    if problems.is_empty() { Ok(()) } else { Err(problems.join("; ")) }
}

/// What has to be there.
struct Expected<'a> {
    expiry: &'a Expiry,
    /// The pushes that were acknowledged, with the processes that asked for them.
    told: &'a [(usize, Ask)],
}

impl Expected<'_> {
    /// What a tag may lead to, by the last pushes of all clients; nothing if none has pushed it.
    fn targets(&self, tag: &str) -> Vec<Digest> {
        let mut last: BTreeMap<usize, Item> = BTreeMap::new();
        for (process, ask) in self.told {
            if let Ask::Put(item, Some(pushed)) = ask
                && *pushed == tag
            {
                last.insert(*process, *item);
            }
        }
        last.into_values().map(Item::digest).collect()
    }

    /// Whether a client may have deleted a tag.
    fn is_deleted(&self) -> bool {
        let deletes =
            |ask: &Ask| matches!(ask, Ask::DeleteTag(_) | Ask::Delete(_) | Ask::DeleteRepository);
        self.expiry.clients.iter().any(|asks| asks.iter().any(deletes))
    }
}

/// Looks at both tags, and returns what is wrong.
fn inspect(world: &World, expected: &Expected<'_>, when: &str) -> Vec<String> {
    let mut problems = Vec::new();
    for tag in ["a", "b"] {
        let found = match world.work(0, Look(tag)) {
            Ok(found) => found,
            Err(error) => return vec![error.to_string()],
        };
        let status = send(world, 0, Ask::GetTag(tag), &Upload::default()).status().as_u16();
        let (there, kept) = (found.leads_to.is_some(), found.kept.is_some());
        if there != (status == 200) {
            problems.push(format!("{when}: {tag} has the status {status}, and is {found:?}"));
        }
        let targets = expected.targets(tag);
        let before = expected.expiry.before.iter();
        let before = before.rev().find_map(|ask| match ask {
            Ask::Put(item, Some(pushed)) if *pushed == tag => Some(item.digest()),
            _ => None,
        });
        if expected.is_deleted() {
            continue;
        }
        let is_right = match (&found.leads_to, targets.is_empty()) {
            (Some(found), false) => targets.contains(found),
            (None, false) => false,
            // Old as it is, it goes, and can be brought back.
            (Some(found), true) => before.as_ref() == Some(found),
            (None, true) => kept == before.is_some() && when != "undone" || before.is_none(),
        };
        if !is_right {
            problems.push(format!("{when}: {tag} is {found:?}, and was pushed as {targets:?}"));
        }
    }
    problems
}

/// Where a tag leads, and where it led if it was removed.
#[derive(Debug, Default)]
struct Place {
    leads_to: Option<Digest>,
    kept: Option<Digest>,
}

/// Looks for a tag.
struct Look(&'static str);

impl Work for Look {
    type Output = Place;

    async fn run<S: Storage>(self, storage: &S) -> Result<Place, StorageError> {
        let (key, kept) = (Key::Tag(name(), tag(self.0)), Key::MovedTag(name(), tag(self.0)));
        let mut place = Place::default();
        match storage.read(&key).await {
            Ok(value) => place.leads_to = Some(Pointer::parse(&key, &value)?.digest),
            Err(StorageError::NotFound) => {}
            Err(error) => return Err(error),
        }
        match storage.read(&kept).await {
            Ok(value) => place.kept = MovedTag::parse(&value).map(|moved| moved.digest),
            Err(StorageError::NotFound) => {}
            Err(error) => return Err(error),
        }
        Ok(place)
    }
}

/// The run that has removed a tag, if one has.
struct Removed;

impl Work for Removed {
    type Output = Option<u128>;

    async fn run<S: Storage>(self, storage: &S) -> Result<Option<u128>, StorageError> {
        for text in ["a", "b"] {
            match storage.read(&Key::MovedTag(name(), tag(text))).await {
                Ok(value) => return Ok(MovedTag::parse(&value).map(|moved| moved.run)),
                Err(StorageError::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

/// The run of the model.
const RUN: u128 = 7;

/// Removes the tag `a`, as it is old, step by step over the storage port.
struct Model {
    lapse: Option<Lapse>,
    /// When it was pushed, by the first look.
    first: Option<SystemTime>,
}

impl Work for Model {
    type Output = ();

    async fn run<S: Storage>(self, storage: &S) -> Result<(), StorageError> {
        let keeps = |rule| self.lapse != Some(rule);
        let key = Key::Tag(name(), tag("a"));
        storage.write(&Key::Record(Record::Marker), Bytes::new()).await?;
        let announcement = Key::Moves { repository: name(), id: RUN };
        if keeps(Lapse::DoesNotAnnounce) {
            storage.write(&announcement, Bytes::from_static(b"a")).await?;
        }
        let is_old = Pushed(&key).run(storage).await? == self.first;
        if is_old || !keeps(Lapse::NoSecondLook) {
            let value = storage.read(&key).await?;
            let digest = Pointer::parse(&key, &value)?.digest;
            let moved = MovedTag { digest: digest.clone(), run: RUN, restored: false };
            let kept = Key::MovedTag(name(), tag("a"));
            storage.write(&kept, moved.to_string().into()).await?;
            storage.unlink(&key, &digest).await?;
        }
        if keeps(Lapse::DoesNotAnnounce) {
            storage.write(&announcement, Bytes::new()).await?;
        }
        Ok(())
    }
}

/// When a tag was pushed.
struct Pushed<'a>(&'a Key);

impl Work for Pushed<'_> {
    type Output = Option<SystemTime>;

    async fn run<S: Storage>(self, storage: &S) -> Result<Option<SystemTime>, StorageError> {
        let collection = Collection::Tags(name());
        let mut pages = Pages::new(&collection, None, 100);
        while let Some(entries) = pages.next(storage).await? {
            if let Some(found) = entries.iter().find(|entry| entry.key == *self.0) {
                return Ok(Some(found.modified));
            }
        }
        Ok(None)
    }
}

fn name() -> RepositoryName {
    RepositoryName::parse(NAME).unwrap_or_else(|error| panic!("{NAME}: {error}"))
}

fn tag(text: &str) -> Tag {
    Tag::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}
