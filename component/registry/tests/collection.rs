//! Garbage collection over a directory and a bucket of this process, whose clocks can
//! be put forward.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use roadstead_cloud::{CloudStorage, Options};
use roadstead_directory::{Directory, DirectoryStorage};
use roadstead_kit::body::{MemoryBody, NativeBodies};
use roadstead_kit::bucket::MemoryBucket;
use roadstead_kit::contract::Readable;
use roadstead_kit::directory::NativeDirectory;
use roadstead_kit::native::NativeRegistry;
use roadstead_oci::{Algorithm, Digest, RepositoryName};
use roadstead_registry::{Order, Progress, Report};
use roadstead_storage::{Key, Storage, StorageError};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::path::Path;
use std::time::Duration;

const DELETES: &[(&str, &str)] = &[("REGISTRY_STORAGE_DELETE_ENABLED", "true")];
const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DAY: Duration = Duration::from_hours(24);
const HOUR: Duration = Duration::from_hours(1);

/// As the settings have it by default, with slices of any length.
fn order() -> Order {
    Order {
        run: None,
        grace: DAY,
        keep: 7 * DAY,
        interval: 23 * HOUR,
        dry_run: false,
        alone: false,
        budget: u32::MAX,
    }
}

/// A storage of this process, whose clock can be put forward.
trait World {
    type Storage: Storage<Upload = MemoryBody, Download: Readable>;

    fn storage(&self) -> Self::Storage;

    fn pass(&self, time: Duration);

    fn registry(&self) -> NativeRegistry<Self::Storage> {
        NativeRegistry::new(self.storage(), DELETES).unwrap()
    }
}

impl World for MemoryBucket {
    type Storage = CloudStorage<NativeBodies>;

    fn storage(&self) -> Self::Storage {
        CloudStorage::new(self.backend(""), Options::default())
    }

    fn pass(&self, time: Duration) {
        Self::pass(self, time);
    }
}

impl World for tempfile::TempDir {
    type Storage = DirectoryStorage<NativeDirectory>;

    fn storage(&self) -> Self::Storage {
        DirectoryStorage(NativeDirectory(Directory::open(self.path()).unwrap()))
    }

    fn pass(&self, time: Duration) {
        make_older(self.path(), time);
        // Which has times in it.
        for path in std::fs::read_dir(self.path().join(".roadstead/collect")).into_iter().flatten()
        {
            let path = path.unwrap().path();
            if !path.to_str().unwrap().contains("/sighted-") {
                continue;
            }
            let older = |line: &str| {
                let (digest, since) = line.split_once(' ').unwrap();
                format!("{digest} {}\n", since.parse::<u64>().unwrap() - time.as_secs())
            };
            let text = std::fs::read_to_string(&path).unwrap();
            std::fs::write(&path, text.lines().map(older).collect::<String>()).unwrap();
        }
    }
}

fn make_older(path: &Path, time: Duration) {
    for entry in std::fs::read_dir(path).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            make_older(&entry.path(), time);
        } else {
            let file = File::options().append(true).open(entry.path()).unwrap();
            file.set_modified(entry.metadata().unwrap().modified().unwrap() - time).unwrap();
        }
    }
}

/// Runs a test over both.
macro_rules! over_both {
    ($($test:ident => $check:ident;)*) => {
        mod over_a_bucket {
            $(#[tokio::test]
            async fn $test() {
                super::$check(super::MemoryBucket::default()).await;
            })*
        }

        mod over_a_directory {
            $(#[tokio::test]
            async fn $test() {
                super::$check(tempfile::tempdir().unwrap()).await;
            })*
        }
    };
}

over_both! {
    garbage_goes_after_its_time => check_garbage;
    what_is_needed_comes_back => check_need;
    live_content_stays => check_live;
    slices_of_any_length => check_slices;
    a_dry_run_says_what_a_run_does => check_dry_run;
    alone_it_frees_at_once => check_alone;
    links_move_in_batches => check_batches;
    one_run_at_a_time => check_lease;
    partial_evidence_ends_a_run => check_evidence;
    indexes_are_followed => check_indexes;
    tombstones_outlive_data => check_tombstones;
    reports_are_kept => check_reports;
    a_link_that_came_back_keeps_the_data => check_linked;
    manifests_of_another_registry => check_foreign;
}

fn sha256(bytes: &[u8]) -> Digest {
    Digest::from_bytes(Algorithm::Sha256, &Sha256::digest(bytes)).unwrap()
}

fn name(text: &str) -> RepositoryName {
    RepositoryName::parse(text).unwrap()
}

/// A client of a registry.
struct Client<S>(NativeRegistry<S>);

impl<S: Storage<Upload = MemoryBody, Download: Readable>> Client<S> {
    async fn send(&self, method: &str, path: &str, of: &str, body: Bytes) -> Response<Bytes> {
        let request = Request::builder().method(method).uri(path).header("content-type", of);
        self.0.send(request.body(body).unwrap()).await
    }

    async fn push_blob(&self, repository: &str, bytes: &[u8]) -> Digest {
        let digest = sha256(bytes);
        let path = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        let bytes = Bytes::copy_from_slice(bytes);
        let response = self.send("POST", &path, "application/octet-stream", bytes).await;
        assert_eq!(response.status(), StatusCode::CREATED, "{response:?}");
        digest
    }

    async fn push(&self, repository: &str, tag: &str, of: &str, manifest: &Value) -> Digest {
        let bytes = Bytes::from(manifest.to_string());
        let digest = sha256(&bytes);
        let tag = if tag.is_empty() { digest.as_str() } else { tag };
        let path = format!("/v2/{repository}/manifests/{tag}");
        let response = self.send("PUT", &path, of, bytes).await;
        assert_eq!(response.status(), StatusCode::CREATED, "{response:?}");
        digest
    }

    /// An image whose configuration and layer have these bytes.
    async fn push_image(&self, repository: &str, tag: &str, config: &str, layer: &str) -> Digest {
        self.push_blob(repository, config.as_bytes()).await;
        self.push_blob(repository, layer.as_bytes()).await;
        self.push(repository, tag, IMAGE, &image(config, layer)).await
    }

    async fn delete(&self, repository: &str, digest: &Digest) {
        let path = format!("/v2/{repository}/manifests/{digest}");
        let response = self.send("DELETE", &path, IMAGE, Bytes::new()).await;
        assert_eq!(response.status(), StatusCode::ACCEPTED, "{response:?}");
    }

    async fn status(&self, method: &str, path: &str) -> u16 {
        self.send(method, path, IMAGE, Bytes::new()).await.status().as_u16()
    }

    /// A whole run, whose waits pass at once.
    async fn run(&self, world: &impl World, order: Order) -> Report {
        self.try_run(world, order).await.unwrap().unwrap()
    }

    async fn try_run(
        &self,
        world: &impl World,
        mut order: Order,
    ) -> Result<Option<Report>, StorageError> {
        for _ in 0..100_000 {
            match self.0.collect(&order).await? {
                Progress::Running { run, wait, .. } => {
                    order.run = Some(u128::from_str_radix(&run, 16).unwrap());
                    world.pass(Duration::from_millis(wait));
                }
                Progress::Done { report } => return Ok(Some(report)),
                Progress::NotDue { .. } => return Ok(None),
            }
        }
        panic!("a run does not end");
    }
}

fn image(config: &str, layer: &str) -> Value {
    let of = |kind: &str, bytes: &str| json!({ "mediaType": kind, "digest": sha256(bytes.as_bytes()), "size": bytes.len() });
    json!({
        "schemaVersion": 2,
        "mediaType": IMAGE,
        "config": of("application/vnd.oci.image.config.v1+json", config),
        "layers": [of("application/vnd.oci.image.layer.v1.tar", layer)],
    })
}

async fn exists<S: Storage>(storage: &S, key: Key) -> bool {
    storage.exists(&key).await.unwrap()
}

fn blob(bytes: &str) -> Key {
    Key::Blob(sha256(bytes.as_bytes()))
}

fn layer(repository: &str, bytes: &str) -> Key {
    Key::Layer(name(repository), sha256(bytes.as_bytes()))
}

/// Until what is garbage is condemned.
async fn condemn<W: World>(world: &W, client: &Client<W::Storage>) -> Report {
    world.pass(2 * DAY);
    let report = client.run(world, order()).await;
    assert_eq!((report.condemned, report.removed), (0, 0), "{report:?}");
    assert!(report.sighted > 0, "{report:?}");
    world.pass(2 * DAY);
    client.run(world, order()).await
}

/// An image whose tag `old` is deleted by digest, another with the same layer that
/// stays, and a blob that no manifest refers to.
async fn fill<S>(client: &Client<S>)
where
    S: Storage<Upload = MemoryBody, Download: Readable>,
{
    let old = client.push_image("a/b", "old", "old config", "shared layer").await;
    client.push_image("a/b", "new", "new config", "shared layer").await;
    client.push_image("c", "new", "new config", "shared layer").await;
    client.push_blob("a/b", b"orphan").await;
    client.push_blob("c", b"orphan").await;
    client.delete("a/b", &old).await;
}

/// What [`fill`] leaves to be collected: two blobs and a manifest.
const GARBAGE: u64 = 3;

async fn check_garbage<W: World>(world: W) {
    let (client, storage) = (Client(world.registry()), world.storage());
    fill(&client).await;
    // Nothing is old.
    let report = client.run(&world, order()).await;
    assert_eq!((report.sighted, report.condemned, report.manifests), (0, 0, 2), "{report:?}");
    assert_eq!(report.blobs, 3 + GARBAGE, "{report:?}");

    let report = condemn(&world, &client).await;
    assert_eq!((report.condemned, report.removed), (GARBAGE, 0), "{report:?}");
    for repository in ["a/b", "c"] {
        assert!(!exists(&storage, layer(repository, "orphan")).await);
        let moved = Key::MovedLayer(name(repository), sha256(b"orphan"));
        assert!(exists(&storage, moved).await);
    }
    assert!(exists(&storage, blob("orphan")).await, "it stays where it is");

    world.pass(6 * DAY);
    let report = client.run(&world, order()).await;
    assert_eq!((report.kept, report.removed), (GARBAGE, 0), "{report:?}");
    world.pass(2 * DAY);
    let report = client.run(&world, order()).await;
    assert_eq!(report.removed, GARBAGE, "{report:?}");
    assert!(!exists(&storage, blob("orphan")).await);
    assert!(!exists(&storage, blob("old config")).await);
    for path in ["/v2/a/b/manifests/new", "/v2/c/manifests/new"] {
        assert_eq!(client.status("GET", path).await, 200);
    }
    for bytes in ["new config", "shared layer"] {
        let path = format!("/v2/a/b/blobs/{}", sha256(bytes.as_bytes()));
        assert_eq!(client.status("GET", &path).await, 200, "{bytes}");
    }
    // Nothing is left over some days later.
    for _ in 0..2 {
        world.pass(3 * DAY);
        let report = client.run(&world, order()).await;
        assert_eq!((report.sighted, report.condemned, report.kept), (0, 0, 0), "{report:?}");
        assert_eq!((report.blobs, report.removed), (3, 0), "{report:?}");
    }
    let listed = storage.enumerate(&roadstead_storage::Collection::Records, None, 1000).await;
    for entry in listed.unwrap().entries {
        let text = entry.key.to_string();
        assert!(text.contains("/report-") || text.contains("/sighted-"), "{text}");
    }
    for repository in ["a/b", "c"] {
        let moved = roadstead_storage::Collection::Moved(name(repository));
        assert_eq!(storage.enumerate(&moved, None, 1000).await.unwrap().entries, []);
    }
}

/// A client says that it needs a blob, at any time before it is removed.
async fn check_need<W: World>(world: W) {
    let (client, storage) = (Client(world.registry()), world.storage());
    fill(&client).await;
    condemn(&world, &client).await;
    let digest = sha256(b"orphan");
    storage.write(&Key::Need(digest.clone()), Bytes::new()).await.unwrap();
    world.pass(30 * DAY);
    let report = client.run(&world, order()).await;
    assert_eq!((report.given_back, report.removed), (1, GARBAGE - 1), "{report:?}");
    for repository in ["a/b", "c"] {
        assert!(exists(&storage, layer(repository, "orphan")).await);
        let path = format!("/v2/{repository}/blobs/{digest}");
        assert_eq!(client.status("GET", &path).await, 200);
    }
    assert!(!exists(&storage, Key::Tombstone(digest.clone())).await);
    // It can be condemned again, as nobody has used it.
    world.pass(5 * DAY);
    client.run(&world, order()).await;
    condemn(&world, &client).await;
    world.pass(30 * DAY);
    assert_eq!(client.run(&world, order()).await.removed, 1);
    assert!(!exists(&storage, Key::Blob(digest)).await);
}

async fn check_live<W: World>(world: W) {
    let (client, storage) = (Client(world.registry()), world.storage());
    // Untagged, referred to by an index and by a referrer, of an unknown type.
    let one = client.push_image("a", "", "config 1", "layer 1").await;
    let two = client.push_image("a", "", "config 2", "layer 2").await;
    let index = json!({
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [{ "mediaType": IMAGE, "digest": one, "size": image("config 1", "layer 1").to_string().len() }],
    });
    client.push("a", "index", INDEX, &index).await;
    let mut referrer = image("config 3", "layer 3");
    client.push_blob("a", b"config 3").await;
    client.push_blob("a", b"layer 3").await;
    referrer["subject"] = json!({ "mediaType": IMAGE, "digest": two, "size": 1 });
    client.push("a", "", IMAGE, &referrer).await;
    client.push_blob("a", b"unknown").await;
    let unknown = json!({ "things": [{ "digest": sha256(b"unknown"), "size": 7 }] });
    client.push("a", "unknown", "application/vnd.example.unknown+json", &unknown).await;
    for _ in 0..4 {
        world.pass(20 * DAY);
        let report = client.run(&world, order()).await;
        assert_eq!((report.sighted, report.condemned), (0, 0), "{report:?}");
        assert_eq!((report.blobs, report.manifests), (12, 5), "{report:?}");
    }
    assert!(exists(&storage, blob("unknown")).await);
}

/// The same happens in one slice and in many.
async fn check_slices<W: World>(world: W) {
    let (client, storage) = (Client(world.registry()), world.storage());
    fill(&client).await;
    for number in 0..20 {
        client.push_image(&format!("many/{number}"), "v", &format!("c {number}"), "l").await;
        client.push_blob(&format!("many/{number}"), b"orphan").await;
    }
    for pass in [2, 2, 10] {
        world.pass(pass * DAY);
        let whole = client.run(&world, Order { dry_run: true, ..order() }).await;
        let order = Order { budget: 1, ..order() };
        let sliced = client.run(&world, order).await;
        let figures = |report: &Report| {
            let Report { sighted, condemned, removed, kept, manifests, blobs, .. } = report;
            [*sighted, *condemned, *removed, *kept, *manifests, *blobs]
        };
        assert_eq!(figures(&whole), figures(&sliced));
    }
    assert!(!exists(&storage, blob("orphan")).await);
    assert_eq!(client.status("GET", "/v2/many/7/manifests/v").await, 200);
}

async fn check_dry_run<W: World>(world: W) {
    let client = Client(world.registry());
    fill(&client).await;
    for (pass, removed) in [(2, 0), (2, 0), (10, GARBAGE)] {
        world.pass(pass * DAY);
        let order = Order { budget: 5, ..order() };
        let dry = client.run(&world, Order { dry_run: true, ..order }).await;
        let real = client.run(&world, order).await;
        assert!(dry.dry_run && !real.dry_run);
        let comparable = |report: &Report| Report {
            run: String::new(),
            begun: 0,
            dry_run: false,
            operations: 0,
            ..report.clone()
        };
        assert_eq!(comparable(&dry), comparable(&real));
        assert_eq!(real.removed, removed);
    }
}

async fn check_alone<W: World>(world: W) {
    let (client, storage) = (Client(world.registry()), world.storage());
    fill(&client).await;
    let alone = Order { alone: true, ..order() };
    let dry = client.run(&world, Order { dry_run: true, ..alone }).await;
    assert_eq!(dry.removed, GARBAGE, "{dry:?}");
    let report = client.run(&world, Order { budget: 3, ..alone }).await;
    assert_eq!((report.removed, report.removed_bytes), (dry.removed, dry.removed_bytes));
    for bytes in ["orphan", "old config"] {
        assert!(!exists(&storage, blob(bytes)).await);
        assert!(!exists(&storage, layer("a/b", bytes)).await);
    }
    assert_eq!(client.status("GET", "/v2/c/manifests/new").await, 200);
    assert_eq!(client.run(&world, alone).await.removed, 0);
    // What was condemned is freed too.
    client.push_blob("c", b"orphan").await;
    condemn(&world, &client).await;
    assert_eq!(client.run(&world, alone).await.removed, 1);
    assert!(!exists(&storage, Key::Tombstone(sha256(b"orphan"))).await);
}

async fn check_batches<W: World>(world: W) {
    const BLOBS: u64 = 150;
    let (client, storage) = (Client(world.registry()), world.storage());
    for number in 0..BLOBS {
        client.push_blob("a", format!("orphan {number}").as_bytes()).await;
    }
    let report = condemn(&world, &client).await;
    assert_eq!(report.condemned, BLOBS, "{report:?}");
    let deletions = roadstead_storage::Collection::Deletions(name("a"));
    let left = storage.enumerate(&deletions, None, 1000).await.unwrap().entries;
    assert!(left.iter().all(|entry| entry.size == 0), "{left:?}");
    assert!(!left.is_empty(), "pushes that read links before find it");
    world.pass(8 * DAY);
    assert_eq!(client.run(&world, order()).await.removed, BLOBS);
}

async fn check_lease<W: World>(world: W) {
    let client = Client(world.registry());
    fill(&client).await;
    let small = Order { budget: 1, ..order() };
    let Progress::Running { run, .. } = client.0.collect(&small).await.unwrap() else {
        panic!("it begins");
    };
    // Another does not begin meanwhile, and does after ten minutes.
    assert!(client.try_run(&world, order()).await.unwrap().is_none());
    world.pass(Duration::from_mins(11));
    assert!(client.try_run(&world, order()).await.unwrap().is_some());
    // The first one has lost its lease.
    let run = Some(u128::from_str_radix(&run, 16).unwrap());
    let resumed = client.0.collect(&Order { run, ..order() }).await.unwrap();
    assert!(matches!(resumed, Progress::NotDue { .. }), "{resumed:?}");
    // The interval has not passed.
    assert!(client.try_run(&world, order()).await.unwrap().is_none());
    world.pass(DAY);
    let Progress::Running { run, .. } = client.0.collect(&small).await.unwrap() else {
        panic!("it begins");
    };
    // What it has found is too old after half of the grace time.
    world.pass(13 * HOUR);
    let run = Some(u128::from_str_radix(&run, 16).unwrap());
    let error = client.0.collect(&Order { run, ..small }).await.unwrap_err();
    assert!(error.cause().unwrap().contains("GRACE"), "{error:?}");
}

/// A manifest that cannot be read may refer to anything.
async fn check_evidence<W: World>(world: W) {
    let (client, storage) = (Client(world.registry()), world.storage());
    fill(&client).await;
    world.pass(2 * DAY);
    client.run(&world, order()).await;
    let lost = client.push_image("lost", "v", "config", "layer").await;
    let bytes = storage.read(&Key::Blob(lost.clone())).await.unwrap();
    storage.delete(&Key::Blob(lost.clone())).await.unwrap();
    world.pass(2 * DAY);
    let error = client.try_run(&world, order()).await.unwrap_err();
    let cause = error.cause().unwrap();
    assert!(cause.contains(lost.as_str()) && cause.contains("lost"), "{cause}");
    assert!(exists(&storage, layer("c", "orphan")).await, "nothing is condemned");
    storage.write(&Key::Blob(lost), bytes).await.unwrap();
    assert_eq!(client.run(&world, order()).await.condemned, GARBAGE);
}

/// An index whose manifests no repository has, in levels.
async fn check_indexes<W: World>(world: W) {
    let (client, storage) = (Client(world.registry()), world.storage());
    let one = client.push_image("a", "", "config", "layer").await;
    let index = |digest: &Digest| {
        json!({
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": [{ "mediaType": INDEX, "digest": digest, "size": 1 }],
        })
    };
    let two = client.push("a", "", INDEX, &index(&one)).await;
    let three = client.push("a", "", INDEX, &index(&two)).await;
    client.push("a", "top", INDEX, &index(&three)).await;
    for digest in [&one, &two, &three] {
        client.delete("a", digest).await;
    }
    for _ in 0..4 {
        world.pass(20 * DAY);
        let report = client.run(&world, order()).await;
        assert_eq!((report.sighted, report.blobs), (0, 6), "{report:?}");
    }
    assert!(exists(&storage, blob("layer")).await);
}

async fn check_tombstones<W: World>(world: W) {
    let (client, storage) = (Client(world.registry()), world.storage());
    client.push_blob("a", b"orphan").await;
    condemn(&world, &client).await;
    world.pass(8 * DAY);
    let Progress::Running { wait, stage, .. } = client.0.collect(&order()).await.unwrap() else {
        panic!("it waits");
    };
    assert!(wait > 55_000 && wait <= 60_000 && stage == "removal", "{wait} {stage}");
    assert!(!exists(&storage, blob("orphan")).await);
    let tombstone = Key::Tombstone(sha256(b"orphan"));
    assert!(exists(&storage, tombstone.clone()).await);
    // The run dies. A later one clears up, and nothing else happens.
    world.pass(DAY);
    let report = client.run(&world, order()).await;
    assert_eq!((report.kept, report.removed), (1, 0), "{report:?}");
    world.pass(2 * DAY);
    client.run(&world, order()).await;
    assert!(!exists(&storage, tombstone).await);
}

async fn check_reports<W: World>(world: W) {
    let (client, storage) = (Client(world.registry()), world.storage());
    client.push_image("a", "v", "config", "layer").await;
    let mut runs = Vec::new();
    for _ in 0..105 {
        world.pass(DAY);
        runs.push(client.run(&world, order()).await);
    }
    let mut kept = 0;
    for report in &runs {
        let run = u128::from_str_radix(&report.run, 16).unwrap();
        let key = Key::Record(roadstead_storage::Record::Report(run));
        match storage.read(&key).await {
            Ok(stored) => {
                assert_eq!(serde_json::from_slice::<Report>(&stored).unwrap(), *report);
                kept += 1;
            }
            Err(error) => assert_eq!(error, StorageError::NotFound),
        }
    }
    assert_eq!(kept, 100);
}

/// Somebody has linked the blob without saying that it needs it, as another registry.
async fn check_linked<W: World>(world: W) {
    let (client, storage) = (Client(world.registry()), world.storage());
    client.push_blob("a", b"orphan").await;
    condemn(&world, &client).await;
    storage.link(&layer("b", "orphan"), &sha256(b"orphan"), None).await.unwrap();
    world.pass(8 * DAY);
    let report = client.run(&world, order()).await;
    assert_eq!(report.removed, 0, "{report:?}");
    // It is condemned again, and goes after another time.
    world.pass(DAY);
    assert_eq!(client.run(&world, order()).await.condemned, 1);
    assert!(!exists(&storage, layer("b", "orphan")).await);
    world.pass(8 * DAY);
    assert_eq!(client.run(&world, order()).await.removed, 1);
}

/// While another registry writes, nothing is removed: it does not say what it needs.
async fn check_foreign<W: World>(world: W) {
    let (client, storage) = (Client(world.registry()), world.storage());
    client.push_blob("a", b"orphan").await;
    condemn(&world, &client).await;
    let manifest = Bytes::from(image("config", "layer").to_string());
    let digest = sha256(&manifest);
    storage.write(&Key::Blob(digest.clone()), manifest).await.unwrap();
    let revision = Key::Revision(name("b"), digest.clone());
    storage.link(&revision, &digest, None).await.unwrap();
    for _ in 0..3 {
        world.pass(9 * DAY);
        let report = client.run(&world, order()).await;
        assert_eq!((report.removed, report.kept), (0, 1), "{report:?}");
    }
    world.pass(9 * DAY);
    assert_eq!(client.run(&world, order()).await.removed, 1);
}

/// What manifests refer to is read once, and kept in parts.
#[tokio::test]
async fn references_are_split() {
    const MANIFESTS: usize = 9_000;
    let bucket = MemoryBucket::default();
    let (client, storage) = (Client(bucket.registry()), World::storage(&bucket));
    let media_type = roadstead_oci::MediaType::parse("application/vnd.example+json").unwrap();
    for number in 0..MANIFESTS {
        let manifest = Bytes::from(json!({ "number": number }).to_string());
        let digest = sha256(&manifest);
        storage.write(&Key::Blob(digest.clone()), manifest).await.unwrap();
        let revision = Key::Revision(name("a"), digest.clone());
        storage.link(&revision, &digest, Some(&media_type)).await.unwrap();
    }
    let reads = || {
        let requests = bucket.requests();
        let is_read = |request: &&String| request.starts_with("GET") && request.ends_with("/data");
        requests.iter().filter(is_read).count()
    };
    reads();
    let report = client.run(&bucket, Order { budget: 3000, ..order() }).await;
    assert!(report.manifests >= MANIFESTS as u64, "{report:?}");
    assert_eq!(reads(), MANIFESTS);
    let parts = roadstead_storage::Collection::References(name("a"));
    let parts = storage.enumerate(&parts, None, 100).await.unwrap().entries;
    assert!((3..30).contains(&parts.len()), "{}", parts.len());
    // Nothing is read again, but what is new and what was lost.
    bucket.pass(DAY);
    assert_eq!(client.run(&bucket, order()).await.manifests, MANIFESTS as u64);
    assert_eq!(reads(), 0);
    client.push("a", "new", "application/vnd.example+json", &json!({})).await;
    storage.delete(&parts[1].key).await.unwrap();
    bucket.pass(DAY);
    assert_eq!(client.run(&bucket, order()).await.manifests, MANIFESTS as u64 + 1);
    let lost = reads();
    assert!((100..=MANIFESTS / 2).contains(&lost), "{lost}");
}

/// More than is held at a time.
#[tokio::test]
async fn what_is_live_is_kept_in_parts() {
    const DIGESTS: usize = 40_000;
    let bucket = MemoryBucket::default();
    let (client, storage) = (Client(bucket.registry()), World::storage(&bucket));
    let media_type = roadstead_oci::MediaType::parse("application/vnd.example+json").unwrap();
    for number in 0..2 {
        let digest_of = |n: usize| sha256(format!("{number} {n}").as_bytes());
        let digests: Vec<Digest> = (0..DIGESTS).map(digest_of).collect();
        let manifest = Bytes::from(json!({ "digests": digests }).to_string());
        let digest = sha256(&manifest);
        storage.write(&Key::Blob(digest.clone()), manifest).await.unwrap();
        let revision = Key::Revision(name(&format!("a/{number}")), digest.clone());
        storage.link(&revision, &digest, Some(&media_type)).await.unwrap();
        let live = format!("{number} 39999");
        storage.write(&blob(&live), live.into()).await.unwrap();
    }
    storage.write(&blob("orphan"), "orphan".into()).await.unwrap();
    bucket.pass(2 * DAY);
    let report = client.run(&bucket, order()).await;
    assert_eq!((report.sighted, report.blobs), (1, 5), "{report:?}");
}
