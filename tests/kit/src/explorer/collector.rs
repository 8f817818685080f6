//! A collector of garbage beside clients: the protocol of `docs/collection.md` for
//! one blob, step by step over the storage port, as the worst collector that keeps
//! to it. It condemns without a scan, and waits for clients and not for a time.

use super::ask::{Ask, BLOB, Item, NAME, SOURCE, Upload, digest};
use super::schedule::Scheduler;
use super::search::{Bound, Found, explore_runs, send, steps_of};
use super::stage::{Fault, Task, pause, perform};
use super::world::{Medium, Work, World};
use bytes::Bytes;
use roadstead_oci::{Digest, RepositoryName};
use roadstead_storage::condemned::{Tombstone, TombstoneState};
use roadstead_storage::{Key, Record, Storage, StorageError};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// The run of the collector.
const RUN: u128 = 7;

/// A collector and clients that meet.
#[derive(Clone, Copy, Debug)]
pub struct Meeting {
    /// Requests before, one after the other.
    pub before: &'static [Ask],
    /// Whether the blob was condemned after that, long ago.
    pub condemned: bool,
    /// What the collector does.
    pub phases: &'static [Phase],
    /// What each client asks for. One that is told that the blob is not there, or
    /// cannot be mounted, uploads it.
    pub clients: &'static [&'static [Ask]],
}

/// A part of what a collector does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// It moves the links of the blob.
    Condemn,
    /// It waits until all clients have ended that rely on what they saw before.
    Wait,
    /// It removes the data, unless it finds a link, a manifest or a need.
    Remove,
}

/// A rule that a collector breaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Defect {
    /// It moves a link although a manifest refers to it by now.
    NoSecondList,
    /// It does not announce moves.
    DoesNotAnnounce,
    /// It does not wait between moving the links and removing the data.
    DoesNotWait,
    /// It does not look for a need once it has announced the removal.
    NoLastLook,
}

/// Runs a meeting in every order up to a bound, and by seed beyond it.
pub fn meet(medium: Medium, meeting: &Meeting, defect: Option<Defect>, bound: Bound) -> Found {
    explore_runs(bound, |scheduler| run(medium, meeting, defect, scheduler))
}

fn run(
    medium: Medium,
    meeting: &Meeting,
    defect: Option<Defect>,
    scheduler: Box<dyn Scheduler>,
) -> Result<bool, String> {
    let processes = meeting.clients.len() + 1;
    let world = World::new(medium, processes);
    let upload = Upload::default();
    for &ask in meeting.before {
        send(&world, 0, ask, &upload);
    }
    let active = AtomicUsize::new(0);
    let collector = Collector { phases: &[Phase::Condemn], defect: None, active: &active };
    if meeting.condemned {
        world.work(0, collector).map_err(|error| format!("before: {error}"))?;
    }
    let collector = Collector { phases: meeting.phases, defect, ..collector };
    let beside = Beside { world: &world, clients: meeting.clients, active: &active, faults: &[] };
    let collect = || world.work(processes - 1, collector).map_err(|error| error.to_string());
    beside
        .run(vec![Box::new(collect)], || Ok(()), scheduler)
        .map_err(|error| format!("{error}\nover {medium:?}, {meeting:?}"))
}

/// What a collector does.
pub(super) type Collect<'a> = Box<dyn FnOnce() -> Result<(), String> + Send + 'a>;

/// Collectors beside clients, whoever they are.
pub(super) struct Beside<'a> {
    pub(super) world: &'a World,
    /// What each client asks for.
    pub(super) clients: &'static [&'static [Ask]],
    /// How many clients have begun and not ended.
    pub(super) active: &'a AtomicUsize,
    /// Of the clients, and then of the collectors.
    pub(super) faults: &'a [Option<Fault>],
}

impl Beside<'_> {
    /// Runs them at once, then `later`, and says whether a fault was reached. It makes no
    /// difference to clients that somebody collects.
    pub(super) fn run(
        &self,
        collectors: Vec<Collect<'_>>,
        later: impl FnOnce() -> Result<(), String>,
        scheduler: Box<dyn Scheduler>,
    ) -> Result<bool, String> {
        let Self { world, active, .. } = *self;
        let problems = Mutex::new(Vec::new());
        let report = |problem: String| {
            problems.lock().unwrap_or_else(PoisonError::into_inner).push(problem);
        };
        // What is deleted is promised to nobody.
        let deletes =
            |ask: &Ask| matches!(ask, Ask::Delete(_) | Ask::DeleteBlob | Ask::DeleteRepository);
        let is_deleted = self.clients.iter().any(|asks| asks.iter().any(deletes));
        let is_whole = self.clients.iter().any(|asks| asks.contains(&Ask::DeleteRepository));
        let client = || Mutex::new(Client { is_deleted, ..Client::default() });
        let clients: Vec<Mutex<Client>> = self.clients.iter().map(|_| client()).collect();
        let tasks = self.clients.iter().zip(&clients).enumerate();
        let tasks = tasks.map(|(process, (asks, client))| {
            let report = &report;
            Box::new(move || {
                active.fetch_add(1, Ordering::Relaxed);
                let mut client = client.lock().unwrap_or_else(PoisonError::into_inner);
                for &ask in *asks {
                    if let Err(problem) = client.ask(world, process, ask) {
                        report(problem);
                    }
                }
                active.fetch_sub(1, Ordering::Relaxed);
            }) as Task<'_>
        });
        // One may fail where something goes wrong, or where another does the same.
        let may_fail = self.faults.iter().any(Option::is_some) || collectors.len() > 1;
        let collectors = collectors.into_iter().map(|collect| {
            let report = &report;
            Box::new(move || match collect() {
                Err(error) if !may_fail => report(format!("the collector: {error}")),
                _ => {}
            }) as Task<'_>
        });
        let tasks = tasks.chain(collectors).collect();
        let performance = perform(tasks, scheduler, self.faults, world.root());
        let mut is_acknowledged = false;
        for client in clients {
            let client = client.into_inner().unwrap_or_else(PoisonError::into_inner);
            is_acknowledged |= client.is_acknowledged;
        }
        let mut problems = problems.into_inner().unwrap_or_else(PoisonError::into_inner);
        let inspect = |held| {
            let missing = world.work(0, Inspection { held });
            missing.unwrap_or_else(|error| vec![error.to_string()])
        };
        let stays = is_acknowledged && !is_deleted;
        if stays {
            problems.extend(inspect(true));
        }
        problems.extend(later().err());
        if stays {
            problems.extend(inspect(true));
        }
        // A push beside the deletion of the repository stays whole, or is deleted whole.
        if is_acknowledged && is_whole {
            problems.extend(inspect(false));
        }
        // Whatever is left, a client can push.
        let mut last = Client::default();
        for ask in [Ask::HeadBlob, Ask::Put(Item::Image, None)] {
            problems.extend(last.ask(world, 0, ask).err());
        }
        problems.extend(inspect(true));
        if problems.is_empty() {
            return Ok(performance.faulted);
        }
        let mut text = format!("{}\n", problems.join("; "));
        let _ = write!(text, "{}", steps_of(&performance));
        Err(text)
    }
}

/// A client, and what it was told.
#[derive(Debug, Default)]
struct Client {
    /// That the repository holds the blob.
    is_promised: bool,
    /// That its manifest is stored.
    is_acknowledged: bool,
    /// Whether the blob or the manifest may be deleted.
    is_deleted: bool,
}

impl Client {
    fn ask(&mut self, world: &World, process: usize, ask: Ask) -> Result<(), String> {
        let response = send(world, process, ask, &Upload::default());
        let status = response.status().as_u16();
        match (ask, status) {
            (Ask::GetBlob, 200) if *response.body() != BLOB => {
                return Err("the blob has other bytes".to_owned());
            }
            (Ask::HeadBlob | Ask::GetBlob, 200) | (Ask::PushBlob | Ask::Mount, 201) => {
                self.is_promised = true;
            }
            (Ask::HeadBlob | Ask::GetBlob, 404) | (Ask::Mount, 202) => {
                return self.ask(world, process, Ask::PushBlob);
            }
            (Ask::Put(..), 201) => self.is_acknowledged = true,
            (Ask::Put(..), 400) if !self.is_promised || self.is_deleted => {}
            (Ask::Delete(_) | Ask::DeleteBlob | Ask::DeleteRepository, 202 | 404) => {}
            _ => return Err(format!("{ask:?} has the status {status}")),
        }
        Ok(())
    }
}

/// Looks whether the image is complete, and returns what is missing.
struct Inspection {
    /// Whether the repository has to hold it.
    held: bool,
}

impl Work for Inspection {
    type Output = Vec<String>;

    async fn run<S: Storage>(self, storage: &S) -> Result<Vec<String>, StorageError> {
        let (name, blob, image) = (name(NAME), digest(BLOB), Item::Image.digest());
        let mut missing = Vec::new();
        let revision = Key::Revision(name.clone(), image.clone());
        if !self.held && !storage.exists(&revision).await? {
            return Ok(missing);
        }
        for key in [revision, Key::Blob(image), Key::Layer(name, blob.clone()), Key::Blob(blob)] {
            if !storage.exists(&key).await? {
                missing.push(format!("acknowledged, and {key} is missing"));
            }
        }
        Ok(missing)
    }
}

/// What the collector does.
#[derive(Clone, Copy)]
struct Collector<'a> {
    phases: &'static [Phase],
    defect: Option<Defect>,
    /// How many clients have begun and not ended.
    active: &'a AtomicUsize,
}

impl Work for Collector<'_> {
    type Output = ();

    async fn run<S: Storage>(self, storage: &S) -> Result<(), StorageError> {
        let blob = Blob { storage, digest: digest(BLOB), defect: self.defect };
        for phase in self.phases {
            match phase {
                Phase::Condemn => blob.condemn().await?,
                Phase::Wait if self.defect == Some(Defect::DoesNotWait) => {}
                Phase::Wait => {
                    while self.active.load(Ordering::Relaxed) > 0 {
                        pause();
                    }
                }
                Phase::Remove => blob.remove().await?,
            }
        }
        Ok(())
    }
}

/// The blob, as a collector sees it.
struct Blob<'a, S> {
    storage: &'a S,
    digest: Digest,
    defect: Option<Defect>,
}

impl<S: Storage> Blob<'_, S> {
    async fn condemn(&self) -> Result<(), StorageError> {
        self.storage.write(&Key::Record(Record::Marker), Bytes::new()).await?;
        self.bury(TombstoneState::Condemned).await?;
        let mut is_live = false;
        for name in repositories() {
            if self.storage.exists(&self.layer(&name)).await? {
                is_live |= self.move_link(&name).await?;
            }
        }
        if is_live { self.give_back().await } else { self.bury(TombstoneState::Unlinked).await }
    }

    /// Moves a link, unless a manifest refers to it: then returns `true`.
    async fn move_link(&self, name: &RepositoryName) -> Result<bool, StorageError> {
        let announcement = Key::Moves { repository: name.clone(), id: RUN };
        let announces = self.defect != Some(Defect::DoesNotAnnounce);
        if announces {
            self.storage.write(&announcement, self.digest.to_string().into()).await?;
        }
        let looks = self.defect != Some(Defect::NoSecondList);
        let is_live = looks && self.has_manifest(name).await?;
        if !is_live {
            self.storage.link(&self.moved(name), &self.digest, None).await?;
            self.storage.delete(&self.layer(name)).await?;
        }
        if announces {
            self.storage.write(&announcement, Bytes::new()).await?;
        }
        Ok(is_live)
    }

    async fn remove(&self) -> Result<(), StorageError> {
        for name in repositories() {
            // A link is young here.
            if self.storage.exists(&self.layer(&name)).await? || self.has_manifest(&name).await? {
                return self.give_back().await;
            }
        }
        if self.is_needed().await? {
            return self.give_back().await;
        }
        match self.state().await? {
            Some(TombstoneState::Unlinked) => {}
            // The blob was given back.
            _ => return Ok(()),
        }
        self.bury(TombstoneState::Removing).await?;
        if self.defect != Some(Defect::NoLastLook) && self.is_needed().await? {
            return self.give_back().await;
        }
        self.storage.delete(&Key::Blob(self.digest.clone())).await?;
        for name in repositories() {
            self.storage.delete(&self.moved(&name)).await?;
        }
        self.storage.delete(&Key::Tombstone(self.digest.clone())).await
    }

    async fn give_back(&self) -> Result<(), StorageError> {
        self.storage.write(&Key::Need(self.digest.clone()), Bytes::new()).await?;
        if self.state().await? == Some(TombstoneState::Removing) {
            // The next run goes on, after that removal has surely ended.
            return Ok(());
        }
        for name in repositories() {
            if self.storage.exists(&self.moved(&name)).await? {
                self.storage.link(&self.layer(&name), &self.digest, None).await?;
            }
        }
        self.storage.delete(&Key::Tombstone(self.digest.clone())).await
    }

    async fn bury(&self, state: TombstoneState) -> Result<(), StorageError> {
        let tombstone = Tombstone { state, slice: RUN, run: RUN }.to_string();
        self.storage.write(&Key::Tombstone(self.digest.clone()), tombstone.into()).await
    }

    async fn state(&self) -> Result<Option<TombstoneState>, StorageError> {
        match self.storage.read(&Key::Tombstone(self.digest.clone())).await {
            Ok(value) => Ok(Tombstone::parse(&value).map(|tombstone| tombstone.state)),
            Err(StorageError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn is_needed(&self) -> Result<bool, StorageError> {
        self.storage.exists(&Key::Need(self.digest.clone())).await
    }

    /// Whether a manifest of the repository refers to the blob: only one does.
    async fn has_manifest(&self, name: &RepositoryName) -> Result<bool, StorageError> {
        self.storage.exists(&Key::Revision(name.clone(), Item::Image.digest())).await
    }

    fn layer(&self, name: &RepositoryName) -> Key {
        Key::Layer(name.clone(), self.digest.clone())
    }

    fn moved(&self, name: &RepositoryName) -> Key {
        Key::MovedLayer(name.clone(), self.digest.clone())
    }
}

fn repositories() -> [RepositoryName; 2] {
    [name(NAME), name(SOURCE)]
}

fn name(text: &str) -> RepositoryName {
    RepositoryName::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}
