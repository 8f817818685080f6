//! Clients push, pull and delete while collectors run and all of them die at times: no
//! push fails, nothing that a manifest refers to is missing, and what comes back is
//! exactly what nothing refers to. Over a bucket that honours conditions, and over one that
//! ignores them.
//!
//! Time passes with requests to the bucket. `SOAK=<pushes>` makes it longer,
//! `SOAK_SEED=<number>` another, and `SOAK_IDLE=<milliseconds>` denser.

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::join_all;
use http::{Request, Response};
use roadstead_cloud::{CloudStorage, Options};
use roadstead_kit::body::{NativeBodies, pause_by, yield_now};
use roadstead_kit::bucket::{Conditions, MemoryBucket};
use roadstead_kit::contract::sha256;
use roadstead_kit::native::{NativeRegistry, default_order};
use roadstead_oci::{Digest, RepositoryName};
use roadstead_registry::{Progress, Report, SliceOptions};
use roadstead_storage::{
    Collection, Cursor, Entry, Holding, Key, NameList, NamesQuery, Record, Storage,
};
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};
use std::task::Poll;
use std::time::Duration;

const SETTINGS: &[(&str, &str)] = &[("REGISTRY_STORAGE_DELETE_ENABLED", "true")];
const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Pushes, unless `SOAK` says another number.
const PUSHES: u64 = 4_000;

const CLIENTS: u64 = 8;
const COLLECTORS: u64 = 2;
const REPOSITORIES: u32 = 4;
const TAGS: u32 = 4;
/// Contents of layers: few, so that what is garbage is pushed again.
const LAYERS: u32 = 300;

/// So many manifests are there at a time: older ones are deleted.
const MANIFESTS: usize = 24;

/// How much time passes with each request.
const TICK: Duration = Duration::from_millis(1);
const INTERVAL: Duration = Duration::from_secs(1);

/// How long a client does nothing between two operations at most, in milliseconds,
/// unless `SOAK_IDLE` says another time.
const MOST_IDLE: u64 = 2_000;

/// How long clients rely on an answer, for how long a run is valid, and who dies.
#[derive(Clone, Copy, Debug)]
struct Waits {
    grace: Duration,
    keep: Duration,
    valid: Duration,
    /// One of so many operations dies, if any.
    killed: Option<u32>,
}

impl Waits {
    /// A push may wait for two minutes for what has died.
    const WITH_DEATHS: Self = Self {
        grace: Duration::from_mins(4),
        keep: Duration::from_mins(8),
        valid: Duration::from_mins(2),
        killed: Some(50),
    };
    /// As short as a push takes.
    const SHORT: Self = Self {
        grace: Duration::from_secs(2),
        keep: Duration::from_secs(4),
        valid: Duration::from_mins(10),
        killed: None,
    };

    /// Whether an operation dies, and after how many steps of at most `most`.
    fn kill(&self, random: &mut fastrand::Rng, most: u32) -> Option<u32> {
        let dies = self.killed.is_some_and(|killed| random.u32(..killed) == 0);
        dies.then(|| random.u32(..most))
    }
}

struct World {
    bucket: MemoryBucket,
    pushes: Cell<u64>,
    /// What was pushed and not deleted: a manifest, or an index before what it lists.
    pushed: RefCell<VecDeque<(u32, Vec<Digest>)>>,
    /// Manifests whose deletion has begun and was not acknowledged: it may have died halfway.
    doomed: RefCell<BTreeSet<Digest>>,
    target: u64,
    idle: u64,
    waits: Waits,
    /// Pushes that took longer than clients may rely on an answer, and were refused.
    late: Cell<u64>,
    pulls: Cell<u64>,
    /// Lists of referrers that were read.
    listed: Cell<u64>,
    kills: Cell<u64>,
    reused: Cell<u64>,
    reports: RefCell<Vec<Report>>,
    errors: RefCell<Vec<String>>,
    collector_errors: Cell<u64>,
}

impl World {
    fn storage(&self) -> CloudStorage<NativeBodies> {
        CloudStorage::new(self.bucket.backend(""), Options::default())
    }

    fn registry(&self) -> NativeRegistry {
        NativeRegistry::new(self.storage(), SETTINGS).unwrap()
    }

    fn has_ended(&self) -> bool {
        self.pushes.get() >= self.target || !self.errors.borrow().is_empty()
    }
}

fn add(counter: &Cell<u64>) {
    counter.set(counter.get() + 1);
}

fn layer(number: u32) -> Bytes {
    Bytes::from(format!("layer {number}"))
}

async fn send(registry: &NativeRegistry, method: &str, path: &str, body: Bytes) -> Response<Bytes> {
    send_as(registry, method, path, IMAGE, body).await
}

async fn send_as(
    registry: &NativeRegistry,
    method: &str,
    path: &str,
    media_type: &str,
    body: Bytes,
) -> Response<Bytes> {
    let request = Request::builder().method(method).uri(path).header("content-type", media_type);
    registry.send(request.body(body).unwrap()).await
}

/// Lists what refers to a manifest, until it has found a manifest or reached the end.
async fn has_referrer(
    world: &World,
    registry: &NativeRegistry,
    repository: u32,
    subject: &str,
    digest: &Digest,
) -> Result<bool, String> {
    let path = format!("/v2/r{repository}/referrers/{subject}");
    let found = send(registry, "GET", &path, Bytes::new()).await;
    if found.status() != 200 {
        return Err(format!("{path}: {found:?}"));
    }
    add(&world.listed);
    let list: Value = serde_json::from_slice(found.body()).unwrap();
    let listed = |entry: &Value| entry["digest"] == digest.as_str();
    Ok(list["manifests"].as_array().unwrap().iter().any(listed))
}

/// Has the repository hold a blob, as clients do: by what is there, by a mount, or by
/// an upload.
async fn push_blob(
    world: &World,
    registry: &NativeRegistry,
    random: &mut fastrand::Rng,
    repository: u32,
    bytes: Bytes,
) -> Result<Digest, String> {
    let digest = sha256(&bytes);
    let path = format!("/v2/r{repository}/blobs/{digest}");
    if send(registry, "HEAD", &path, Bytes::new()).await.status() == 200 {
        add(&world.reused);
        return Ok(digest);
    }
    let uploads = format!("/v2/r{repository}/blobs/uploads/");
    if random.bool() {
        let from = random.u32(..REPOSITORIES);
        let path = format!("{uploads}?mount={digest}&from=r{from}");
        let mounted = send(registry, "POST", &path, Bytes::new()).await;
        match mounted.status().as_u16() {
            201 => return Ok(digest),
            202 => {}
            _ => return Err(format!("mount: {mounted:?}")),
        }
    }
    let pushed = if random.bool() {
        send(registry, "POST", &format!("{uploads}?digest={digest}"), bytes).await
    } else {
        let begun = send(registry, "POST", &uploads, Bytes::new()).await;
        let location = begun.headers()["location"].to_str().unwrap();
        let appended = send(registry, "PATCH", location, bytes).await;
        let location = appended.headers()["location"].to_str().unwrap();
        let joint = if location.contains('?') { '&' } else { '?' };
        send(registry, "PUT", &format!("{location}{joint}digest={digest}"), Bytes::new()).await
    };
    if pushed.status() == 201 { Ok(digest) } else { Err(format!("upload: {pushed:?}")) }
}

async fn push(
    world: &World,
    registry: &NativeRegistry,
    random: &mut fastrand::Rng,
) -> Result<(), String> {
    let begun = world.bucket.passed();
    let pushed = push_image(world, registry, random).await;
    if pushed.is_err() && world.bucket.passed() > begun + world.waits.grace {
        add(&world.late);
        return Ok(());
    }
    pushed
}

async fn push_image(
    world: &World,
    registry: &NativeRegistry,
    random: &mut fastrand::Rng,
) -> Result<(), String> {
    let repository = random.u32(..REPOSITORIES);
    let numbers: Vec<u32> = (0..=random.u32(..3)).map(|_| random.u32(..LAYERS)).collect();
    let mut digests = Vec::new();
    for number in &numbers {
        digests.push(push_blob(world, registry, random, repository, layer(*number)).await?);
    }
    let of = |digest: &Digest| json!({ "mediaType": IMAGE, "digest": digest, "size": 1 });
    let mut manifest = json!({
        "schemaVersion": 2,
        "mediaType": IMAGE,
        "config": of(&digests[0]),
        "layers": digests.iter().map(of).collect::<Vec<_>>(),
    });
    if random.u32(..4) == 0 {
        manifest["subject"] = of(&sha256(manifest.to_string().as_bytes()));
    }
    let in_index = random.u32(..8) == 0;
    if in_index {
        // Nobody else deletes it before its index is there.
        manifest["annotations"] = json!({ "of": random.u64(..).to_string() });
    }
    let digest = sha256(manifest.to_string().as_bytes());
    let mut pushed = vec![digest.clone()];
    let tag = format!("t{}", random.u32(..TAGS));
    let at = if in_index { digest.as_str() } else { &tag };
    put(registry, repository, at, IMAGE, &manifest).await?;
    if in_index {
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [of(&digest)] });
        put(registry, repository, &tag, INDEX, &index).await?;
        pushed.insert(0, sha256(index.to_string().as_bytes()));
    }
    add(&world.pushes);
    world.pushed.borrow_mut().push_back((repository, pushed));
    Ok(())
}

async fn put(
    registry: &NativeRegistry,
    repository: u32,
    at: &str,
    media_type: &str,
    manifest: &Value,
) -> Result<(), String> {
    let path = format!("/v2/r{repository}/manifests/{at}");
    let pushed = send_as(registry, "PUT", &path, media_type, manifest.to_string().into()).await;
    if pushed.status() == 201 { Ok(()) } else { Err(format!("{path} of {manifest}: {pushed:?}")) }
}

/// Whatever a manifest that is there refers to is there.
async fn pull(
    world: &World,
    registry: &NativeRegistry,
    random: &mut fastrand::Rng,
) -> Result<(), String> {
    let repository = random.u32(..REPOSITORIES);
    let of_repository = format!("/v2/r{repository}");
    let path = format!("{of_repository}/manifests/t{}", random.u32(..TAGS));
    let mut found = send(registry, "GET", &path, Bytes::new()).await;
    if found.status() != 200 {
        return Ok(());
    }
    let mut manifest: Value = serde_json::from_slice(found.body()).unwrap();
    if let Some(child) = manifest["manifests"][0]["digest"].as_str() {
        let image = format!("{of_repository}/manifests/{child}");
        found = send(registry, "GET", &image, Bytes::new()).await;
        if found.status() != 200 {
            // It is deleted after its index.
            let again = send(registry, "GET", &path, Bytes::new()).await;
            let lost = again.status() == 200 && *again.body() == manifest.to_string();
            return if lost { Err(format!("{image} is missing: {found:?}")) } else { Ok(()) };
        }
        manifest = serde_json::from_slice(found.body()).unwrap();
    }
    let digest = sha256(found.body());
    let mut missing = None;
    for layer in manifest["layers"].as_array().unwrap() {
        let path = format!("{of_repository}/blobs/{}", layer["digest"].as_str().unwrap());
        let blob = send(registry, "GET", &path, Bytes::new()).await;
        if blob.status() != 200 {
            missing = Some(format!("{layer} of r{repository} is missing: {blob:?}"));
        }
    }
    if let Some(subject) = manifest["subject"]["digest"].as_str()
        && !has_referrer(world, registry, repository, subject, &digest).await?
        && !world.doomed.borrow().contains(&digest)
    {
        missing = Some(format!("{digest} of r{repository} is no referrer of {subject}"));
    }
    if let Some(missing) = missing {
        // It may have been deleted meanwhile.
        let path = format!("{of_repository}/manifests/{digest}");
        if send(registry, "GET", &path, Bytes::new()).await.status() == 200 {
            return Err(missing);
        }
    }
    add(&world.pulls);
    Ok(())
}

/// Deletes a tag, and manifests that are too many.
async fn delete(
    world: &World,
    registry: &NativeRegistry,
    random: &mut fastrand::Rng,
) -> Result<(), String> {
    if random.u32(..4) == 0 {
        let (repository, tag) = (random.u32(..REPOSITORIES), random.u32(..TAGS));
        delete_one(registry, repository, &format!("t{tag}")).await?;
    }
    while world.pushed.borrow().len() > MANIFESTS {
        let Some((repository, digests)) = world.pushed.borrow_mut().pop_front() else { break };
        for digest in digests {
            world.doomed.borrow_mut().insert(digest.clone());
            delete_one(registry, repository, digest.as_str()).await?;
            world.doomed.borrow_mut().remove(&digest);
        }
    }
    Ok(())
}

async fn delete_one(registry: &NativeRegistry, repository: u32, at: &str) -> Result<(), String> {
    let path = format!("/v2/r{repository}/manifests/{at}");
    let deleted = send(registry, "DELETE", &path, Bytes::new()).await;
    match deleted.status().as_u16() {
        202 | 404 => Ok(()),
        _ => Err(format!("delete {path}: {deleted:?}")),
    }
}

/// Does work, or dies somewhere within. `None` says that it died.
async fn killable<T>(world: &World, kill: Option<u32>, work: impl Future<Output = T>) -> Option<T> {
    let Some(mut polls) = kill else { return Some(work.await) };
    let mut work = Box::pin(work);
    let done = std::future::poll_fn(|context| {
        if polls == 0 {
            return Poll::Ready(None);
        }
        polls -= 1;
        work.poll_unpin(context).map(Some)
    });
    let done = done.await;
    if done.is_none() {
        add(&world.kills);
    }
    done
}

async fn client(world: &World, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut registry = world.registry();
    while !world.has_ended() {
        let kill = world.waits.kill(&mut random, 150);
        let work = async {
            match random.u32(..10) {
                0..=2 => push(world, &registry, &mut random).await,
                3..=7 => pull(world, &registry, &mut random).await,
                _ => delete(world, &registry, &mut random).await,
            }
        };
        match Box::pin(killable(world, kill, work)).await {
            Some(Ok(())) => {}
            Some(Err(error)) => {
                let at = world.bucket.passed();
                world.errors.borrow_mut().push(format!("{at:?}: {error}"));
            }
            // The process is replaced.
            None => registry = world.registry(),
        }
        let idle = Duration::from_millis(random.u64(..world.idle));
        pass(world, idle).await;
    }
}

fn order(world: &World) -> SliceOptions {
    let Waits { grace, keep, valid, .. } = world.waits;
    SliceOptions { grace, keep, interval: INTERVAL, valid, budget: 50, ..default_order() }
}

async fn pass(world: &World, time: Duration) {
    let end = world.bucket.passed() + time;
    while world.bucket.passed() < end && !world.has_ended() {
        yield_now().await;
        world.bucket.pass(TICK);
    }
}

async fn collector(world: &World, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut registry, storage) = (world.registry(), world.storage());
    let mut order = order(world);
    while !world.has_ended() {
        // A lease that does not hold does no harm.
        if random.u32(..200) == 0 {
            storage.delete(&Key::Record(Record::Lease)).await.unwrap();
        }
        order.budget = random.u32(1..200);
        let kill = world.waits.kill(&mut random, 300);
        match Box::pin(killable(world, kill, registry.collect(&order))).await {
            Some(Ok(Progress::Running { run, wait, stage, operations, .. })) => {
                eprintln!(
                    "{:?} {stage} {operations} of {} wait {wait}",
                    world.bucket.passed(),
                    order.budget
                );
                order.run = Some(u128::from_str_radix(&run, 16).unwrap());
                pass(world, Duration::from_millis(wait)).await;
            }
            Some(Ok(Progress::Done { report })) => {
                world.reports.borrow_mut().push(*report);
                order.run = None;
                pass(world, INTERVAL).await;
            }
            Some(Ok(Progress::NotDue { seconds })) => {
                eprintln!(
                    "{:?} not due {seconds} {:?}",
                    world.bucket.passed(),
                    order.run.is_some()
                );
                order.run = None;
                pass(world, INTERVAL).await;
            }
            Some(Err(error)) => {
                eprintln!("{:?}: {error:?}", world.bucket.passed());
                // Such as a manifest that is deleted while it is read.
                add(&world.collector_errors);
                order.run = None;
            }
            None => {
                registry = world.registry();
                order.run = None;
                storage.delete(&Key::Record(Record::Lease)).await.unwrap();
            }
        }
    }
}

async fn names(storage: &impl Storage, list: NameList) -> Vec<String> {
    let query = NamesQuery { list, values: false, after: None, limit: 1000 };
    storage.names(&query).await.unwrap().names
}

async fn all(storage: &impl Storage, collection: &Collection) -> Vec<Entry> {
    let (mut entries, mut after) = (Vec::new(), None::<Cursor>);
    loop {
        let page = storage.enumerate(collection, after.as_ref(), 1000).await.unwrap();
        entries.extend(page.entries);
        match page.next {
            Some(next) => after = Some(next),
            None => return entries,
        }
    }
}

/// What manifests refer to, with themselves: all of it must be there.
async fn live(storage: &impl Storage) -> BTreeSet<Digest> {
    let mut live = BTreeSet::new();
    for repository in names(storage, NameList::Repositories(Holding::Anything)).await {
        let name = RepositoryName::parse(&repository).unwrap();
        for Entry { key, .. } in all(storage, &Collection::Revisions(name.clone())).await {
            let Key::Revision(_, digest) = key else { panic!("{key}") };
            let bytes = storage.read(&Key::Blob(digest.clone())).await.unwrap();
            let manifest: Value = serde_json::from_slice(&bytes).unwrap();
            for child in manifest["manifests"].as_array().into_iter().flatten() {
                let child = Digest::parse(child["digest"].as_str().unwrap()).unwrap();
                assert!(storage.exists(&Key::Blob(child.clone())).await.unwrap(), "{child}");
                live.insert(child);
            }
            for layer in manifest["layers"].as_array().into_iter().flatten() {
                let layer = Digest::parse(layer["digest"].as_str().unwrap()).unwrap();
                let link = Key::Layer(name.clone(), layer.clone());
                assert!(storage.exists(&link).await.unwrap(), "{link}");
                assert!(storage.exists(&Key::Blob(layer.clone())).await.unwrap(), "{layer}");
                live.insert(layer);
            }
            live.insert(digest);
        }
        for tag in names(storage, NameList::Tags(name.clone())).await {
            let tag = Key::Tag(name.clone(), roadstead_oci::Tag::parse(&tag).unwrap());
            let link = storage.read(&tag).await.unwrap();
            let digest = Digest::parse(std::str::from_utf8(&link).unwrap()).unwrap();
            let revision = Key::Revision(name.clone(), digest);
            assert!(storage.exists(&revision).await.unwrap(), "{tag} leads nowhere");
        }
    }
    live
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[tokio::test]
async fn pushes_while_garbage_is_collected() {
    soak(Conditions::Honoured, Waits::WITH_DEATHS).await;
}

#[tokio::test]
async fn pushes_while_garbage_is_collected_without_conditions() {
    soak(Conditions::Ignored, Waits::WITH_DEATHS).await;
}

#[tokio::test]
async fn pushes_while_clients_rely_on_answers_for_two_seconds() {
    soak(Conditions::Honoured, Waits::SHORT).await;
}

#[tokio::test]
async fn pushes_while_clients_rely_on_answers_for_two_seconds_without_conditions() {
    soak(Conditions::Ignored, Waits::SHORT).await;
}

async fn soak(conditions: Conditions, waits: Waits) {
    let seed = variable("SOAK_SEED").unwrap_or(1);
    let bucket = MemoryBucket::default().with_conditions(conditions);
    let bucket = bucket.with_tick(TICK).with_seed(seed);
    pause_by(&bucket);
    let world = World {
        bucket,
        pushes: Cell::default(),
        pushed: RefCell::default(),
        doomed: RefCell::default(),
        target: variable("SOAK").unwrap_or(PUSHES),
        idle: variable("SOAK_IDLE").unwrap_or(MOST_IDLE),
        waits,
        late: Cell::default(),
        pulls: Cell::default(),
        listed: Cell::default(),
        kills: Cell::default(),
        reused: Cell::default(),
        reports: RefCell::default(),
        errors: RefCell::default(),
        collector_errors: Cell::default(),
    };
    // Instances trust for ten minutes that there is none, which are longer here.
    let storage = world.storage();
    storage.write(&Key::Record(Record::Marker), Bytes::new()).await.unwrap();
    let clients = (0..CLIENTS).map(|number| client(&world, seed * 1000 + number));
    let collectors = (0..COLLECTORS).map(|number| collector(&world, seed * 1000 + 500 + number));
    tokio::join!(join_all(clients), join_all(collectors));
    let sum = |figure: fn(&Report) -> u64| world.reports.borrow().iter().map(figure).sum::<u64>();
    eprintln!(
        "conditions {conditions:?}, {waits:?}: {} pushes, {} late, {} blobs that were there, {} pulls, {} lists of \
         referrers, {} kills in {:?}; {} runs, {} ended early: {} condemned, {} given back, \
         {} removed",
        world.pushes.get(),
        world.late.get(),
        world.reused.get(),
        world.pulls.get(),
        world.listed.get(),
        world.kills.get(),
        world.bucket.passed(),
        world.reports.borrow().len(),
        world.collector_errors.get(),
        sum(|report| report.condemned),
        sum(|report| report.given_back),
        sum(|report| report.removed),
    );
    assert_eq!(*world.errors.borrow(), Vec::<String>::new());
    assert!(sum(|report| report.removed) > 0, "nothing came back");
    assert!(sum(|report| report.given_back) > 0, "nothing was needed again");
    assert!(world.listed.get() > 0, "nobody asked for referrers");

    drain(&world).await;
}

/// What is left after a while is what manifests refer to, and the bytes that came back are
/// those that runs report.
async fn drain(world: &World) {
    let storage = world.storage();
    let expected = live(&storage).await;
    let before = all(&storage, &Collection::Blobs).await;
    let mut removed = 0;
    let registry = world.registry();
    for _ in 0..8 {
        world.bucket.pass(2 * world.waits.keep + Duration::from_secs(700));
        let mut order = SliceOptions { budget: u32::MAX, ..order(world) };
        loop {
            match registry.collect(&order).await.unwrap() {
                Progress::Running { run, wait, .. } => {
                    order.run = Some(u128::from_str_radix(&run, 16).unwrap());
                    world.bucket.pass(Duration::from_millis(wait));
                }
                Progress::Done { report } => {
                    removed += report.removed_bytes;
                    break;
                }
                Progress::NotDue { .. } => break,
            }
        }
    }
    let left = all(&storage, &Collection::Blobs).await.into_iter().map(|entry| match entry.key {
        Key::Blob(digest) => digest,
        key => panic!("{key} is left over"),
    });
    assert_eq!(left.collect::<BTreeSet<_>>(), expected);
    let garbage = before.iter().filter(|entry| match &entry.key {
        Key::Blob(digest) => !expected.contains(digest),
        _ => false,
    });
    let garbage: u64 = garbage.map(|entry| entry.size).sum();
    assert_eq!(removed, garbage, "bytes that came back, and those of an offline count");
    eprintln!("{removed} bytes came back at the end");
}
