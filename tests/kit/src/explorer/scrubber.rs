//! A scrub that moves damaged data out of the way beside clients that upload the blob:
//! whatever meets, an acknowledged upload stays.

use super::ask::{Ask, BLOB, Item, NAME, Upload, digest};
use super::collector::Defect;
use super::schedule::Scheduler;
use super::search::{Bound, Found, explore_runs, send, steps_of};
use super::stage::{Task, perform};
use super::world::{Medium, Work, World};
use bytes::Bytes;
use http::Request;
use roadstead_bridge::scrub::{PATH, Progress, ScrubRequest};
use roadstead_oci::{Digest, RepositoryName};
use roadstead_storage::condemned::{Tombstone, TombstoneState};
use roadstead_storage::{Collection, Cursor, Key, Quarantine, Record, Storage, StorageError};
use std::fmt::Write as _;
use std::fs::File;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// What is in the place of the blob's data.
const DAMAGED: &[u8] = b"the bytes of a blot";

/// Longer than a scrub waits, and not as long that it begins to wait again.
const LONG: Duration = Duration::from_hours(30);

/// The run of the model.
const RUN: u128 = 9;

/// Who scrubs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scrubber {
    /// The registry itself.
    Registry,
    /// The steps of its last slice in a bucket, over the storage port, with or without a
    /// defect.
    Model(Option<Defect>),
}

/// Has a scrubber meet clients in every order up to a bound, and by seed beyond it. All
/// that waits has been waited for.
pub fn scrub_beside(
    medium: Medium,
    clients: &'static [&'static [Ask]],
    scrubber: Scrubber,
    bound: Bound,
) -> Found {
    explore_runs(bound, |scheduler| run(medium, clients, scrubber, scheduler))
}

fn run(
    medium: Medium,
    clients: &'static [&'static [Ask]],
    scrubber: Scrubber,
    scheduler: Box<dyn Scheduler>,
) -> Result<bool, String> {
    let (world, mut ask) = begin(medium, clients.len(), scrubber)?;
    let process = clients.len();
    let problems = Mutex::new(Vec::new());
    let report = |problem: String| {
        problems.lock().unwrap_or_else(PoisonError::into_inner).push(problem);
    };
    let uploaded = Mutex::new(false);
    let tasks = clients.iter().enumerate().map(|(process, asks)| {
        let (world, report, uploaded) = (&world, &report, &uploaded);
        Box::new(move || {
            let mut is_promised = false;
            for &ask in *asks {
                let status = send(world, process, ask, &Upload::default()).status().as_u16();
                match (ask, status) {
                    (Ask::PushBlob, 201) => {
                        is_promised = true;
                        *uploaded.lock().unwrap_or_else(PoisonError::into_inner) = true;
                    }
                    (Ask::Put(..), 201) | (Ask::HeadBlob, _) => {}
                    // It needs what nobody has promised.
                    (Ask::Put(..), 400) if !is_promised => {}
                    _ => report(format!("{ask:?} has the status {status}")),
                }
            }
        }) as Task<'_>
    });
    let scrub = Box::new(|| {
        let done = match scrubber {
            Scrubber::Registry => slices(&world, process, &mut ask),
            Scrubber::Model(defect) => {
                let moved = world.work(process, MoveAside { defect });
                moved.map_err(|error| format!("the scrubber: {error}"))
            }
        };
        if let Err(problem) = done {
            report(problem);
        }
    }) as Task<'_>;
    let tasks = tasks.chain([scrub]).collect();
    let performance = perform(tasks, scheduler, &[], world.root());
    let mut problems = problems.into_inner().unwrap_or_else(PoisonError::into_inner);
    let is_whole = || world.work(0, Inspection).unwrap_or_else(|error| Some(error.to_string()));
    if uploaded.into_inner().unwrap_or_else(PoisonError::into_inner) {
        problems.extend(is_whole());
    }
    // Whatever is left, a client can push.
    for ask in [Ask::PushBlob, Ask::Put(Item::Image, None)] {
        let status = send(&world, 0, ask, &Upload::default()).status();
        if status != 201 {
            problems.push(format!("{ask:?} has the status {status} afterwards"));
        }
    }
    problems.extend(is_whole());
    if problems.is_empty() {
        return Ok(false);
    }
    let mut text = format!("{}\nover {medium:?}, {scrubber:?}\n", problems.join("; "));
    let _ = write!(text, "{}", steps_of(&performance));
    Err(text)
}

/// A storage with a damaged blob, and how its scrub goes on when all that waits has been
/// waited for.
fn begin(
    medium: Medium,
    process: usize,
    scrubber: Scrubber,
) -> Result<(World, ScrubRequest), String> {
    let world = World::new(medium, process + 1);
    send(&world, 0, Ask::PushBlob, &Upload::default());
    world.work(0, Damage).map_err(|error| format!("before: {error}"))?;
    if !matches!(medium, Medium::Bucket(_)) {
        // What is uploaded has another time.
        let path = world.root().join(Key::Blob(digest(BLOB)).to_string());
        let file = File::options().write(true).open(path).map_err(|error| error.to_string())?;
        file.set_modified(SystemTime::now() - LONG).map_err(|error| error.to_string())?;
    }
    let mut ask = ScrubRequest { quarantine: true, ..ScrubRequest::default() };
    if matches!(medium, Medium::Bucket(_)) {
        if scrubber == Scrubber::Registry {
            slices(&world, process, &mut ask)?;
        } else {
            world.work(0, Announce).map_err(|error| format!("before: {error}"))?;
        }
        world.pass(LONG);
    }
    Ok((world, ask))
}

/// Does slices until one has to wait, or the scrub ends.
fn slices(world: &World, process: usize, ask: &mut ScrubRequest) -> Result<(), String> {
    loop {
        let body = serde_json::to_vec(ask).map_err(|error| error.to_string())?;
        let request = Request::post(PATH).body(Bytes::from(body));
        let response = world.send(process, request.map_err(|error| error.to_string())?);
        if response.status() != 200 {
            return Err(format!("the scrub: {response:?}"));
        }
        let progress: Progress =
            serde_json::from_slice(response.body()).map_err(|error| error.to_string())?;
        if progress.cursor.is_none() || progress.wait > 0 {
            ask.cursor = progress.cursor.or(ask.cursor.take());
            return Ok(());
        }
        ask.cursor = progress.cursor;
    }
}

/// Replaces the data.
struct Damage;

impl Work for Damage {
    type Output = ();

    async fn run<S: Storage>(self, storage: &S) -> Result<(), StorageError> {
        storage.write(&Key::Blob(digest(BLOB)), Bytes::from_static(DAMAGED)).await
    }
}

/// Says long ago that the data is to be moved.
struct Announce;

impl Work for Announce {
    type Output = ();

    async fn run<S: Storage>(self, storage: &S) -> Result<(), StorageError> {
        storage.write(&Key::Record(Record::Marker), Bytes::new()).await?;
        bury(storage, TombstoneState::Suspect).await
    }
}

async fn bury<S: Storage>(storage: &S, state: TombstoneState) -> Result<(), StorageError> {
    let tombstone = Tombstone { state, slice: RUN, run: RUN }.to_string();
    storage.write(&Key::Tombstone(digest(BLOB)), tombstone.into()).await
}

/// Moves it.
struct MoveAside {
    defect: Option<Defect>,
}

impl Work for MoveAside {
    type Output = ();

    async fn run<S: Storage>(self, storage: &S) -> Result<(), StorageError> {
        let (blob, need) = (digest(BLOB), Key::Need(digest(BLOB)));
        let Some(seen) = data_of(storage, &blob).await? else { return Ok(()) };
        if storage.exists(&need).await? || storage.read(&Key::Blob(blob.clone())).await? != DAMAGED
        {
            return Ok(());
        }
        storage.quarantine(&Quarantine { prepare: true, ..seen.clone() }).await?;
        bury(storage, TombstoneState::Removing).await?;
        let looks = self.defect != Some(Defect::NoLastLook);
        if looks
            && (storage.exists(&need).await?
                || data_of(storage, &blob).await?.as_ref() != Some(&seen))
        {
            return bury(storage, TombstoneState::Suspect).await;
        }
        storage.quarantine(&seen).await?;
        storage.delete(&Key::Tombstone(blob)).await
    }
}

async fn data_of<S: Storage>(
    storage: &S,
    digest: &Digest,
) -> Result<Option<Quarantine>, StorageError> {
    let hex = digest.encoded();
    let prefix = hex.get(..2).unwrap_or_default();
    let place = Cursor(format!("{}/{prefix}/{hex}/_z", digest.algorithm()));
    let listing = storage.enumerate(&Collection::Blobs, Some(&place), 1).await?;
    let found = listing.entries.into_iter().find(|entry| entry.key == Key::Blob(digest.clone()));
    Ok(found.map(|entry| Quarantine {
        digest: digest.clone(),
        size: entry.size,
        modified: entry.modified,
        prepare: false,
    }))
}

/// Looks whether the repository has the blob, and what is wrong with it.
struct Inspection;

impl Work for Inspection {
    type Output = Option<String>;

    async fn run<S: Storage>(self, storage: &S) -> Result<Option<String>, StorageError> {
        let blob = digest(BLOB);
        let name = RepositoryName::parse(NAME).unwrap_or_else(|error| panic!("{error}"));
        if !storage.exists(&Key::Layer(name, blob.clone())).await? {
            return Ok(Some("acknowledged, and the link is missing".to_owned()));
        }
        match storage.read(&Key::Blob(blob)).await {
            Ok(bytes) if bytes == BLOB => Ok(None),
            Ok(_) => Ok(Some("acknowledged, and the blob is damaged".to_owned())),
            Err(StorageError::NotFound) => {
                Ok(Some("acknowledged, and the data is gone".to_owned()))
            }
            Err(error) => Err(error),
        }
    }
}
