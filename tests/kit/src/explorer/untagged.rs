//! A collector that takes away a manifest to which nothing leads, beside clients: the
//! protocol of `docs/collection.md` for [`Item::Plain`], step by step over the storage
//! port. That a link is young, as one is that was just pushed or restored, is not known to
//! it: the second look has to find what leads to the manifest.

use super::ask::{Ask, Item, NAME, Upload};
use super::schedule::Scheduler;
use super::search::{Bound, Found, explore_runs, send, steps_of};
use super::stage::{Task, perform};
use super::world::{Medium, Work, World};
use bytes::Bytes;
use roadstead_oci::{Digest, MediaType, RepositoryName, Tag};
use roadstead_storage::{Collection, Key, MovedRevision, Pages, Record, Storage, StorageError};
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

/// The run of the collector.
const RUN: u128 = 7;

/// A collector and clients that meet. Before that, the manifest was pushed.
#[derive(Clone, Copy, Debug)]
pub struct Encounter {
    /// Whether it was taken away before.
    pub taken: bool,
    /// Whether the collector takes it away now.
    pub takes: bool,
    /// What each client asks for.
    pub clients: &'static [&'static [Ask]],
}

/// A rule that a collector breaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Slip {
    /// It does not look again once it has announced what it does.
    NoSecondLook,
    /// It does not announce what it does, so that neither pushes nor deletions wait.
    DoesNotAnnounce,
    /// It leaves no moved link, so that a push cannot restore what it names.
    LeavesNothing,
    /// It writes the moved link after it has deleted the link.
    LeavesLate,
}

/// Runs an encounter in every order up to a bound, and by seed beyond it.
pub fn encounter(
    medium: Medium,
    encounter: &Encounter,
    fault: Option<Slip>,
    bound: Bound,
) -> Found {
    explore_runs(bound, |scheduler| run(medium, encounter, fault, scheduler))
}

fn run(
    medium: Medium,
    encounter: &Encounter,
    fault: Option<Slip>,
    scheduler: Box<dyn Scheduler>,
) -> Result<bool, String> {
    let processes = encounter.clients.len() + 1;
    let world = World::new(medium, processes);
    let upload = Upload::default();
    send(&world, 0, Ask::Put(Item::Plain, None), &upload);
    if encounter.taken {
        world.work(0, Collector { fault: None }).map_err(|error| format!("before: {error}"))?;
    }
    let problems = Mutex::new(Vec::new());
    let acknowledged = Mutex::new(Vec::new());
    let report = |problem: String| {
        problems.lock().unwrap_or_else(PoisonError::into_inner).push(problem);
    };
    let has = |ask: &Ask| encounter.clients.iter().any(|asks| asks.contains(ask));
    let is_deleted = has(&Ask::Delete(Item::Plain));
    let tasks = encounter.clients.iter().enumerate().map(|(process, asks)| {
        let (world, report, acknowledged) = (&world, &report, &acknowledged);
        Box::new(move || {
            for &ask in *asks {
                let response = send(world, process, ask, &Upload::default());
                match (ask, response.status().as_u16()) {
                    (Ask::Get(item), 200) if *response.body() == item.bytes() => {}
                    (Ask::Get(_), 404) if is_deleted => {}
                    (Ask::Put(..), 201) | (Ask::Delete(_), 202) => {
                        acknowledged.lock().unwrap_or_else(PoisonError::into_inner).push(ask);
                    }
                    (_, status) => report(format!("{ask:?} has the status {status}")),
                }
            }
        }) as Task<'_>
    });
    let collect = encounter.takes.then(|| {
        Box::new(|| {
            if let Err(error) = world.work(processes - 1, Collector { fault }) {
                report(format!("the collector: {error}"));
            }
        }) as Task<'_>
    });
    let tasks = tasks.chain(collect).collect();
    let performance = perform(tasks, scheduler, &[], world.root());
    let mut problems = problems.into_inner().unwrap_or_else(PoisonError::into_inner);
    let acknowledged = acknowledged.into_inner().unwrap_or_else(PoisonError::into_inner);
    let missing = world.work(0, Inspection { acknowledged, is_deleted });
    problems.extend(missing.unwrap_or_else(|error| vec![error.to_string()]));
    // Whatever has happened, it can be pulled, or is gone for good.
    let status = send(&world, 0, Ask::Get(Item::Plain), &upload).status().as_u16();
    let pushed = encounter.clients.iter().flat_map(|asks| asks.iter());
    let is_pushed = pushed.clone().any(|ask| matches!(ask, Ask::Put(Item::Plain, _)));
    match status {
        200 if is_deleted && !is_pushed => problems.push("deleted, and still there".to_owned()),
        404 if !is_deleted => problems.push("it cannot be pulled any longer".to_owned()),
        200 | 404 => {}
        status => problems.push(format!("a last pull has the status {status}")),
    }
    if problems.is_empty() {
        return Ok(false);
    }
    let mut text = format!("{}\nover {medium:?}, {encounter:?}\n", problems.join("; "));
    let _ = write!(text, "{}", steps_of(&performance));
    Err(text)
}

/// Looks whether the repository holds what was acknowledged, and returns what is missing.
struct Inspection {
    acknowledged: Vec<Ask>,
    is_deleted: bool,
}

impl Work for Inspection {
    type Output = Vec<String>;

    async fn run<S: Storage>(self, storage: &S) -> Result<Vec<String>, StorageError> {
        let mut keys = Vec::new();
        for ask in &self.acknowledged {
            let Ask::Put(item, tag) = *ask else { continue };
            if self.is_deleted && item == Item::Plain {
                continue;
            }
            keys.push(revision(item));
            keys.extend(tag.map(|tag| Key::Tag(name(), tag_named(tag))));
            if item == Item::Index && !self.is_deleted {
                keys.push(revision(Item::Plain));
            }
        }
        let mut missing = Vec::new();
        for key in keys {
            if !storage.exists(&key).await? {
                missing.push(format!("acknowledged, and {key} is missing"));
            }
        }
        Ok(missing)
    }
}

/// Takes the manifest away, unless something leads to it.
struct Collector {
    fault: Option<Slip>,
}

impl Work for Collector {
    type Output = ();

    async fn run<S: Storage>(self, storage: &S) -> Result<(), StorageError> {
        let (keeps, digest) = (|rule| self.fault != Some(rule), Item::Plain.digest());
        // The first look, which may be of long ago.
        if self.is_needed(storage).await? {
            return Ok(());
        }
        storage.write(&Key::Record(Record::Marker), Bytes::new()).await?;
        let announcement = Key::Moves { repository: name(), id: RUN };
        if keeps(Slip::DoesNotAnnounce) {
            storage.write(&announcement, digest.to_string().into()).await?;
        }
        if !(keeps(Slip::NoSecondLook) && self.is_needed(storage).await?) {
            self.take(storage, &digest).await?;
        }
        if keeps(Slip::DoesNotAnnounce) {
            storage.write(&announcement, Bytes::new()).await?;
        }
        Ok(())
    }
}

impl Collector {
    async fn take<S: Storage>(&self, storage: &S, digest: &Digest) -> Result<(), StorageError> {
        let (link, key) = (revision(Item::Plain), Key::MovedRevision(name(), digest.clone()));
        if !storage.exists(&link).await? {
            return Ok(());
        }
        let media_type = MediaType::parse(Item::Plain.media_type()).ok();
        let digest = digest.clone();
        let moved = MovedRevision { digest: digest.clone(), run: RUN, media_type, expired: false };
        let value = Bytes::from(moved.to_string());
        let leaves = self.fault != Some(Slip::LeavesNothing);
        if leaves && self.fault != Some(Slip::LeavesLate) {
            storage.write(&key, value.clone()).await?;
        }
        storage.unlink(&link, &digest).await?;
        if self.fault == Some(Slip::LeavesLate) {
            storage.write(&key, value).await?;
        }
        Ok(())
    }

    /// Whether a tag leads to the manifest, or an index lists it.
    async fn is_needed<S: Storage>(&self, storage: &S) -> Result<bool, StorageError> {
        let collection = Collection::Tags(name());
        let mut pages = Pages::new(&collection, None, 100);
        while let Some(entries) = pages.next(storage).await? {
            for entry in entries {
                match storage.read(&entry.key).await {
                    Ok(value) if *value == *Item::Plain.digest().as_str().as_bytes() => {
                        return Ok(true);
                    }
                    Ok(_) | Err(StorageError::NotFound) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        storage.exists(&revision(Item::Index)).await
    }
}

fn revision(item: Item) -> Key {
    Key::Revision(name(), item.digest())
}

fn name() -> RepositoryName {
    RepositoryName::parse(NAME).unwrap_or_else(|error| panic!("{NAME}: {error}"))
}

fn tag_named(text: &str) -> Tag {
    Tag::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}
