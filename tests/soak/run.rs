//! A soak: processes, clients and kills; then the counts.

use crate::client::Client;
use crate::count::{self, bytes};
use crate::place::Place;
use crate::settings::{KEEP, Settings, Store};
use crate::world::{World, count as add};
use roadstead_tests::Registry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// So many faults are shown, and end a soak.
pub const SHOWN: usize = 50;

/// How often it says how far it is.
const REPORTED: Duration = Duration::from_secs(10);

/// How often to look.
const PAUSE: Duration = Duration::from_millis(100);

/// How long the last garbage may take to be removed, besides the time for which it is
/// kept, and for each blob of it: in a directory, and in a store, where each blob takes
/// about 16 requests, many of which the nodes sync.
const DRAINED: Duration = Duration::from_mins(4);
const DRAINED_EACH: Duration = Duration::from_millis(10);
const DRAINED_EACH_IN_STORE: Duration = Duration::from_millis(400);

/// In so much time, some garbage must come back while clients push.
const COLLECTED_LONG: Duration = Duration::from_mins(5);

/// A pause of a peer's collector.
const COLLECTED: Duration = Duration::from_secs(1);

/// What collectors say that they have done.
#[derive(Debug, Default)]
struct Reports {
    figures: BTreeMap<String, u64>,
    /// Errors that processes log.
    errors: BTreeSet<String>,
}

impl Reports {
    /// Adds what a process has logged.
    fn add(&mut self, log: &str) {
        for line in log.lines() {
            let kind = ["began", "ended"]
                .into_iter()
                .find(|kind| line.contains(&format!("garbage collection {kind}")));
            let Some(kind) = kind else {
                if line.contains("ERROR") {
                    self.errors
                        .insert(line.split_once("ERROR").map_or(line, |(_, rest)| rest).to_owned());
                }
                continue;
            };
            *self.figures.entry(kind.to_owned()).or_default() += 1;
            for (name, value) in line.split_whitespace().filter_map(|word| word.split_once('=')) {
                if let Ok(value) = value.parse::<u64>() {
                    *self.figures.entry(name.to_owned()).or_default() += value;
                }
            }
        }
    }

    fn of(&self, name: &str) -> u64 {
        self.figures.get(name).copied().unwrap_or_default()
    }
}

struct Soak {
    world: Arc<World>,
    place: Place,
    processes: Mutex<Vec<Registry>>,
    reports: Mutex<Reports>,
    /// Runs of a peer's collector, those that failed, and blobs that it removed.
    peers: Mutex<(u64, u64, u64)>,
}

/// The summary, and what must not happen.
pub async fn run(settings: &Settings, place: Place) -> (String, Vec<String>) {
    place.prepare().await;
    let world = Arc::new(World::new(settings));
    let soak = Arc::new(Soak {
        world: Arc::clone(&world),
        processes: Mutex::default(),
        place,
        reports: Mutex::default(),
        peers: Mutex::default(),
    });
    for instance in 0..settings.instances() {
        soak.start(instance);
    }
    let clients: Vec<_> = (0..settings.clients)
        .map(|number| tokio::spawn(Client::new(&world, number).run()))
        .collect();
    let others = Arc::clone(&soak);
    let killing = tokio::spawn(async move { others.kill_at_times().await });
    let others = Arc::clone(&soak);
    let collecting = tokio::spawn(async move { others.collect_for_peer().await });
    soak.wait().await;
    world.stopping.store(true, Ordering::SeqCst);
    for client in clients {
        client.await.unwrap();
    }
    killing.await.unwrap();
    collecting.await.unwrap();
    let time = world.begun.elapsed();
    let mut summary =
        format!("SOAK_SEED={} {:?}, {time:.0?}: {}\n", settings.seed, settings.store, world.counts);
    let drained = soak.drain().await;
    let mut client = Client::new(&world, settings.clients);
    let mut verified = client.verify(0).await;
    if let Some(second) = settings.second() {
        verified.append(&mut client.verify(second).await);
    }
    let reports = soak.reports.lock().unwrap();
    let (runs, failed, removed) = *soak.peers.lock().unwrap();
    let _ = if settings.store == Store::Distribution {
        writeln!(summary, "its collector: {runs} runs, {failed} failed, {removed} blobs removed")
    } else {
        writeln!(
            summary,
            "collectors, until the last kill: {} runs ended, {} went on after a slice: {} blobs condemned, {} given back, {} removed \
             with {} bytes, {} operations",
            reports.of("ended"),
            reports.of("began"),
            reports.of("condemned"),
            reports.of("given_back"),
            reports.of("removed"),
            reports.of("removed_bytes"),
            reports.of("operations"),
        )
    };
    for error in reports.errors.iter().take(SHOWN) {
        let _ = writeln!(summary, "logged:{error}");
    }
    if settings.is_ours() && time > COLLECTED_LONG && reports.of("removed") == 0 {
        world.fault("nothing was removed while clients pushed");
    }
    let faults = world.faults.lock().unwrap().clone();
    let _ = write!(
        summary,
        "{drained}\nnot resolved or not whole: {verified:?}; {} faults",
        faults.len()
    );
    (summary, faults)
}

impl Soak {
    fn start(&self, instance: usize) {
        let process = self.place.start(instance);
        let shared = &self.world.instances[instance];
        shared.address.write().unwrap().clone_from(&process.address);
        shared.is_down.store(false, Ordering::SeqCst);
        let mut processes = self.processes.lock().unwrap();
        if instance < processes.len() {
            processes[instance] = process;
        } else {
            processes.push(process);
        }
    }

    /// Like `kill -9`; what the process has logged.
    fn kill(&self, instance: usize) -> String {
        let shared = &self.world.instances[instance];
        shared.is_down.store(true, Ordering::SeqCst);
        shared.deaths.fetch_add(1, Ordering::SeqCst);
        let mut processes = self.processes.lock().unwrap();
        processes[instance].kill().unwrap();
        let log = processes[instance].log();
        self.reports.lock().unwrap().add(&log);
        log
    }

    /// Until enough is pushed.
    async fn wait(&self) {
        let (world, mut said) = (&self.world, Instant::now());
        let enough = || world.counts.pushes.load(Ordering::Relaxed) >= world.settings.pushes;
        while !enough() && world.faults.lock().unwrap().len() < SHOWN.max(self.patience()) {
            tokio::time::sleep(PAUSE).await;
            if said.elapsed() > REPORTED {
                said = Instant::now();
                println!("{:.0?}: {}", world.begun.elapsed(), world.counts);
            }
        }
    }

    /// The faults of a peer are counted.
    fn patience(&self) -> usize {
        if self.world.settings.store == Store::Distribution { usize::MAX } else { 0 }
    }

    async fn kill_at_times(&self) {
        let settings = &self.world.settings;
        let mut random = fastrand::Rng::with_seed(settings.seed);
        let most = u64::try_from(settings.kills.as_millis()).unwrap();
        while most > 0 && !self.world.is_stopping() {
            let until = Instant::now() + Duration::from_millis(random.u64(most / 4..=most));
            while Instant::now() < until && !self.world.is_stopping() {
                tokio::time::sleep(Duration::from_millis(random.u64(1..20))).await;
            }
            let instance = random.usize(..settings.instances());
            let log = tokio::task::block_in_place(|| self.kill(instance));
            add(&self.world.counts.kills);
            self.end_run_of(&log).await;
            if settings.is_alone(instance) {
                self.place.end_announcements();
            }
            tokio::task::block_in_place(|| self.start(instance));
        }
    }

    /// Others would wait for ten minutes until they take over the lease of a process
    /// that was killed. One that belongs to another is taken away at times: it is not
    /// what safety rests on.
    async fn end_run_of(&self, log: &str) {
        let Some(run) = self.place.lease().await else { return };
        let others = self.processes.lock().unwrap().iter().any(|other| {
            let other = other.log();
            other != log && other.contains(&run)
        });
        if log.contains(&run) || !others {
            self.place.take_lease().await;
        }
    }

    async fn collect_for_peer(&self) {
        while !self.world.is_stopping() {
            let Some((succeeded, removed)) = self.place.collect().await else { return };
            {
                let mut peers = self.peers.lock().unwrap();
                peers.0 += 1;
                peers.1 += u64::from(!succeeded);
                peers.2 += removed as u64;
            }
            tokio::time::sleep(COLLECTED).await;
        }
    }

    /// Waits until all garbage is gone, and compares what is left with two counts of
    /// what is needed, and the bytes that came back with those that collectors report.
    async fn drain(&self) -> String {
        let instances = self.world.settings.instances();
        // What was begun has ended.
        let logs: Vec<_> = (0..instances).map(|at| self.kill(at)).collect();
        for log in &logs {
            self.end_run_of(log).await;
        }
        let before = self.place.blobs().await.0;
        let expected = count::expected(&self.world);
        let referenced = count::referenced(&self.place).await;
        let lost = expected.keys().filter(|digest| !before.contains_key(*digest)).count();
        if lost > 0 {
            self.world.fault(format!("{lost} blobs that manifests refer to are lost"));
        }
        if expected != referenced {
            self.world
                .fault("the manifests that are there are not those that were pushed".to_owned());
        }
        if self.world.settings.second().is_some() {
            return self.drain_alone(&expected).await;
        }
        // One that loses the lease to another does not report what it has done.
        self.start(0);
        if self.world.settings.store == Store::Distribution {
            self.place.collect().await;
        }
        let begun = Instant::now();
        let garbage = bytes(&before) - bytes(&expected).min(bytes(&before));
        let (left, others, mut reports) =
            self.wait_until_drained(&expected, garbage, self.drain_limit(before.len())).await;
        self.reports.lock().unwrap().errors.append(&mut reports.errors);
        (1..instances).for_each(|at| self.start(at));
        let summary = format!(
            "at the end: {} blobs with {} bytes, of which manifests refer to {} with {} bytes; after \
             {:.0?}: {} blobs with {} bytes and {others} other objects, and {} bytes reported as \
             removed, of {garbage}",
            before.len(),
            bytes(&before),
            expected.len(),
            bytes(&expected),
            begun.elapsed(),
            left.len(),
            bytes(&left),
            reports.of("removed_bytes"),
        );
        if self.world.settings.store == Store::Distribution {
            return summary;
        }
        if left != expected {
            self.world.fault(format!("what is left is not what manifests refer to: {summary}"));
        }
        if reports.of("removed_bytes") != garbage {
            self.world.fault(format!("collectors report something else: {summary}"));
        }
        summary
    }

    /// How long garbage of so many blobs may take to be removed.
    fn drain_limit(&self, blobs: usize) -> Duration {
        let each = if self.place.is_bucket() { DRAINED_EACH_IN_STORE } else { DRAINED_EACH };
        KEEP + DRAINED + each * u32::try_from(blobs).unwrap_or(u32::MAX)
    }

    /// Waits until only the expected blobs are left, and the first process has reported as
    /// much as was garbage; but for a peer, and no longer than the limit.
    async fn wait_until_drained(
        &self,
        expected: &count::Blobs,
        garbage: u64,
        limit: Duration,
    ) -> (count::Blobs, usize, Reports) {
        let (begun, mut said) = (Instant::now(), Instant::now());
        loop {
            let (left, others) = self.place.blobs().await;
            let mut reports = Reports::default();
            reports.add(&self.processes.lock().unwrap()[0].log());
            let reported = reports.of("removed_bytes") == garbage;
            let peer = self.world.settings.store == Store::Distribution;
            if peer || left == *expected && reported || begun.elapsed() > limit {
                return (left, others, reports);
            }
            if said.elapsed() > REPORTED {
                said = Instant::now();
                println!(
                    "draining for {:.0?} of {limit:.0?}: {} blobs and {others} other objects, {} runs \
                     ended",
                    begun.elapsed(),
                    left.len(),
                    reports.of("ended")
                );
            }
            tokio::time::sleep(10 * PAUSE).await;
        }
    }

    /// Beside a second registry nothing is removed: what is garbage goes while none runs.
    async fn drain_alone(&self, expected: &count::Blobs) -> String {
        let before = self.place.blobs().await;
        self.place.collect_alone().await;
        let (left, others) = self.place.blobs().await;
        (0..self.world.settings.instances()).for_each(|at| self.start(at));
        let summary = format!(
            "at the end: {} blobs with {} bytes and {} other objects, of which manifests refer to {} with \
             {} bytes; after a run alone: {} blobs with {} bytes and {others} other objects",
            before.0.len(),
            bytes(&before.0),
            before.1,
            expected.len(),
            bytes(expected),
            left.len(),
            bytes(&left),
        );
        if left != *expected {
            self.world.fault(format!("what is left is not what manifests refer to: {summary}"));
        }
        summary
    }
}
