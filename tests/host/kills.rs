//! `kill -9` at random times under concurrent pushes, deletes, mounts and moved
//! tags: what was acknowledged is there, and all content is complete.
//!
//! `ROADSTEAD_KILLS` is the number of kills, and `ROADSTEAD_SEED` repeats a run,
//! as far as the times of the kills allow it.

use crate::disk::Disk;
use crate::support::within;
use crate::traffic::{
    Check, Client, End, Held, JOURNAL, Known, Operation, REPOSITORIES, SETTINGS, World,
    check as compare,
};
use fastrand::Rng;
use roadstead_tests::{Registry, Target, digest};
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};
use std::{env, fs};
use tokio::runtime::Builder;

/// How often a process is killed.
const KILLS: u64 = 200;

/// Registries that are killed at the same time, each with its own directory.
const LANES: u64 = 2;

/// The number of concurrent clients of a registry.
const CLIENTS: u64 = 4;

/// The longest time until a process is killed, in microseconds, after its clients
/// have started, or after what is waited for. The test does not depend on the
/// exact time.
const LONGEST_LIFE: u64 = 200_000;
const SHORTLY: u64 = 3_000;

/// How long to wait for a change or a delete, after which to kill.
const PATIENCE: Duration = Duration::from_mins(1);

/// How often to look whether there was one.
const POLL_PAUSE: Duration = Duration::from_micros(200);

/// How many registers that did not change are read after each kill. At the end,
/// all are.
const SAMPLE: usize = 20;

/// Every so many kills, new files of blobs are read from the disk.
const DISK_PERIOD: u64 = 10;

/// Time limit for each kill.
const KILL_LIMIT: Duration = Duration::from_secs(20);

#[test]
fn killed_at_any_moment() {
    let number = |name, default: u64| env::var(name).map_or(default, |text| text.parse().unwrap());
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let (seed, kills) = (number("ROADSTEAD_SEED", now), number("ROADSTEAD_KILLS", KILLS));
    println!("ROADSTEAD_SEED={seed}");
    let started = Instant::now();
    let run = |lane: u64| {
        let kills = kills / LANES + u64::from(lane < kills % LANES);
        let limit = KILL_LIMIT * u32::try_from(kills + 1).unwrap();
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(within(limit, Lane::new(seed.wrapping_add(lane)).run(kills)))
    };
    let mut total = Counts::default();
    std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES).map(|lane| scope.spawn(move || run(lane))).collect();
        for lane in lanes {
            total.add(lane.join().unwrap());
        }
    });
    println!("{kills} kills in {:?}: {total:#?}", started.elapsed());
}

/// What happened, by kind.
#[derive(Debug, Default)]
struct Counts {
    acknowledged: BTreeMap<&'static str, u64>,
    cut: BTreeMap<&'static str, u64>,
    uploads_resumed: u64,
    reads: u64,
}

impl Counts {
    fn count(&mut self, operations: &[Operation]) {
        for operation in operations {
            let name = operation.change.name();
            match operation.end {
                End::Acknowledged(_) => *self.acknowledged.entry(name).or_default() += 1,
                End::Cut => *self.cut.entry(name).or_default() += 1,
                End::Refused(_) => {}
            }
        }
    }

    fn add(&mut self, other: Self) {
        for (name, count) in other.acknowledged {
            *self.acknowledged.entry(name).or_default() += count;
        }
        for (name, count) in other.cut {
            *self.cut.entry(name).or_default() += count;
        }
        self.uploads_resumed += other.uploads_resumed;
        self.reads += other.reads;
    }
}

/// A registry that is killed again and again.
struct Lane {
    random: Rng,
    root: tempfile::TempDir,
    world: Arc<World>,
    clients: Vec<Client>,
    known: Known,
    /// Blobs whose files were compared with their digests.
    verified: BTreeSet<String>,
    counts: Counts,
}

impl Lane {
    fn new(seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let world = Arc::new(World::new(&mut random));
        let clients = (0..CLIENTS).map(|number| Client::new(&world, seed, number)).collect();
        Self {
            random,
            root: tempfile::tempdir().unwrap(),
            world,
            clients,
            known: Known::new(),
            verified: BTreeSet::new(),
            counts: Counts::default(),
        }
    }

    async fn run(mut self, kills: u64) -> Counts {
        for kill in 0..kills {
            // Each other process has a journal, which the next one finds.
            let journal = (kill % 2 == 1).then_some(JOURNAL);
            let settings: Vec<_> = SETTINGS.into_iter().chain(journal).collect();
            let mut host = Registry::start(self.root.path(), &settings, &[]).unwrap();
            let target = Target::Server(host.address.clone());
            if kill == 0 {
                self.known = self.world.prepare(&target).await;
            } else {
                self.check(&target, SAMPLE).await;
            }
            if kill % DISK_PERIOD == 0 {
                self.check_disk();
            }
            self.world.stopping.store(false, Ordering::SeqCst);
            let running: Vec<_> = self
                .clients
                .drain(..)
                .map(|client| tokio::spawn(client.run(host.address.clone(), usize::MAX)))
                .collect();
            self.await_moment(kill).await;
            self.world.stopping.store(true, Ordering::SeqCst);
            host.kill().unwrap();
            for client in running {
                self.clients.push(client.await.unwrap());
            }
            if kill + 1 < kills {
                self.end_deletions();
            }
        }
        let host = Registry::start(self.root.path(), &SETTINGS, &[]).unwrap();
        self.check(&Target::Server(host.address.clone()), usize::MAX).await;
        self.check_disk();
        self.counts
    }

    /// Removes the announcements of deletions that the kill cut off, with which
    /// pushes of the same manifests would wait for 56 s, until these deletions are
    /// known to have died. Only after the last kill, pushes wait for that.
    fn end_deletions(&self) {
        for repository in REPOSITORIES {
            let repositories = self.root.path().join("docker/registry/v2/repositories");
            match fs::remove_dir_all(repositories.join(repository).join("_deletions")) {
                Err(error) if error.kind() != ErrorKind::NotFound => panic!("{error}"),
                _ => {}
            }
        }
    }

    /// The moment of a kill: at any time, shortly after a change was
    /// acknowledged, or within the delete of a manifest.
    async fn await_moment(&mut self, kill: u64) {
        let world = Arc::clone(&self.world);
        let wait_for = async |counter: &AtomicU64| {
            let (before, started) = (counter.load(Ordering::SeqCst), Instant::now());
            while counter.load(Ordering::SeqCst) == before {
                assert!(started.elapsed() < PATIENCE, "nothing happens");
                tokio::time::sleep(POLL_PAUSE).await;
            }
        };
        let life = match kill % 3 {
            0 => LONGEST_LIFE,
            1 => {
                wait_for(&world.acknowledged).await;
                LONGEST_LIFE / 4
            }
            _ => {
                wait_for(&world.deletes).await;
                SHORTLY
            }
        };
        tokio::time::sleep(Duration::from_micros(self.random.u64(..life))).await;
    }

    async fn check(&mut self, target: &Target, sample: usize) {
        let operations = self.world.journal.take();
        self.counts.count(&operations);
        let held: Vec<Held> =
            self.clients.iter_mut().filter_map(|client| client.held.take()).collect();
        let besides: Vec<_> = if sample < self.known.len() {
            self.random.choose_multiple(self.known.keys().cloned(), sample)
        } else {
            self.known.keys().cloned().collect()
        };
        let mut found = Check { target, world: &self.world, violations: Vec::new(), reads: 0 };
        compare(&mut found, &mut self.known, &operations, &held, &besides).await;
        self.counts.reads += found.reads;
        self.counts.uploads_resumed += held.len() as u64;
        let violations = found.violations;
        assert!(violations.is_empty(), "{} violations: {violations:#?}", violations.len());
    }

    /// Every file of a blob has its digest, and every link leads to a file.
    fn check_disk(&mut self) {
        let disk = Disk(self.root.path());
        for found in disk.blobs() {
            if self.verified.insert(found.clone()) {
                assert_eq!(digest(&fs::read(disk.blob(&found)).unwrap()), found);
            }
        }
        check_links(disk, self.root.path());
    }
}

/// Every link's digest is that of a blob.
fn check_links(disk: Disk<'_>, root: &Path) {
    let blobs: BTreeSet<_> = disk.blobs().into_iter().collect();
    for file in crate::disk::files(&root.join("docker/registry/v2/repositories")) {
        if file.file_name().is_some_and(|name| name == "link") {
            let linked = fs::read_to_string(&file).unwrap();
            assert!(blobs.contains(&linked), "{}: {linked:?}", file.display());
        }
    }
}
