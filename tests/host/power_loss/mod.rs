//! A loss of power at every acknowledgement: the system calls of a host under
//! concurrent changes are recorded by `strace`, and what they leave of its
//! directory is built again without what was not synced. A registry over that
//! must serve all that was acknowledged.
//!
//! `ROADSTEAD_POWER_CHANGES` is the number of changes that each client makes, and
//! `ROADSTEAD_SEED` chooses them.

mod disk;
mod trace;

use crate::support::within;
use crate::traffic::{
    Check, Client, End, JOURNAL, Known, Operation, SETTINGS, World, check as compare,
};
use disk::{Disk, Forget, Surviving};
use fastrand::Rng;
use futures::executor::block_on;
use roadstead_tests::{Registry, Target, binary, binary_named, skip};
use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};
use tokio::runtime::Builder;

/// How often each client changes something.
const CHANGES: usize = 16;

/// The number of concurrent clients.
const CLIENTS: u64 = 4;

/// What survives each cut: what was synced and nothing else, and so many random
/// choices of the rest.
const CHOICES: u64 = 2;

/// Time limit of the whole test for each change.
const CHANGE_LIMIT: Duration = Duration::from_secs(10);

/// How many violations are enough.
const ENOUGH: usize = 10;

/// A run of a host: its trace, and what its clients were answered.
struct Run {
    root: tempfile::TempDir,
    trace: String,
    world: Arc<World>,
    known: Known,
    operations: Vec<Operation>,
}

#[test]
fn power_fails_at_every_acknowledgement() {
    power_fails(&[]);
}

/// What is lost is in the journal, from which a start puts it back.
#[test]
fn power_fails_at_every_acknowledgement_with_a_journal() {
    power_fails(&[JOURNAL]);
}

fn power_fails(settings: &[(&str, &str)]) {
    let Some(strace) = strace() else { return };
    let number = |name, default: u64| env::var(name).map_or(default, |text| text.parse().unwrap());
    let changes = usize::try_from(number("ROADSTEAD_POWER_CHANGES", CHANGES as u64)).unwrap();
    let seed = number("ROADSTEAD_SEED", 1);
    println!("ROADSTEAD_SEED={seed}");
    let limit = CHANGE_LIMIT * u32::try_from(changes).unwrap();
    let started = Instant::now();
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let run = runtime.block_on(within(limit, record(&strace, seed, changes, settings)));
    let is_acknowledged = |operation: &&Operation| matches!(operation.end, End::Acknowledged(_));
    let answered = run.operations.iter().filter(is_acknowledged).count() as u64;
    let found = run.replay(seed, Forget::Nothing, |_| true);
    println!(
        "{} states, {} reads in {:?}: {:#?}",
        found.states,
        found.reads,
        started.elapsed(),
        found.acknowledged
    );
    let violations = found.violations;
    assert!(violations.is_empty(), "{} violations: {violations:#?}", violations.len());
    // The trace shows nearly all responses: clocks may be set meanwhile.
    let acknowledged: u64 = found.acknowledged.values().sum();
    assert!(acknowledged > answered / 2, "{acknowledged} of {answered}");
    // A host that did not sync would be noticed.
    for forget in [Forget::Files, Forget::Directories] {
        let violations = run.replay(seed, forget, |cut| cut == acknowledged).violations;
        assert!(!violations.is_empty(), "{forget:?}");
    }
}

/// Has the journal of a directory be that of a kernel before this one, and files be older than
/// its records, as those that survived have just been written; but for those that were given
/// another mtime.
fn start_again(root: &Path, renewed: &[(PathBuf, SystemTime)]) {
    const MAGIC: &str = "roadstead journal 1 ";
    const BOOT_ID: &str = "00000000-0000-0000-0000-000000000000";
    let Ok(segments) = fs::read_dir(root.join(".roadstead/journal")) else { return };
    for segment in segments {
        let path = segment.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        if let Some(boot_id) = bytes.get_mut(MAGIC.len()..MAGIC.len() + BOOT_ID.len()) {
            boot_id.copy_from_slice(BOOT_ID.as_bytes());
            fs::write(path, bytes).unwrap();
        }
    }
    age(&root.join("docker"));
    for (path, mtime) in renewed {
        set_modified(path, *mtime);
    }
}

fn set_modified(path: &Path, mtime: SystemTime) {
    fs::OpenOptions::new().write(true).open(path).unwrap().set_modified(mtime).unwrap();
}

/// Has no file below a directory be younger than any record.
fn age(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            age(&path);
        } else {
            set_modified(&path, SystemTime::UNIX_EPOCH);
        }
    }
}

/// The path of `strace`, where it may trace processes.
fn strace() -> Option<String> {
    const TEST: &str = "power_fails_at_every_acknowledgement";
    let Some(strace) = binary_named(&["strace"]) else {
        skip(TEST, "strace is not on the PATH");
        return None;
    };
    let strace = strace.to_str().unwrap().to_owned();
    let works = Command::new(&strace).args(["-f", "-o", "/dev/null", "true"]).status();
    if !works.is_ok_and(|status| status.success()) {
        skip(TEST, "strace may not trace processes here");
        return None;
    }
    Some(strace)
}

/// Runs clients against a host, and records its system calls.
async fn record(strace: &str, seed: u64, changes: usize, settings: &[(&str, &str)]) -> Run {
    let mut random = Rng::with_seed(seed);
    let world = Arc::new(World::new(&mut random));
    let root = tempfile::tempdir().unwrap();
    let (data, trace) = (root.path().join("data"), root.path().join("trace"));
    fs::create_dir(&data).unwrap();
    let mut command = Command::new(strace);
    command
        .args(["-f", "--seccomp-bpf", "-ttt", "-xx", "-e", "signal=none", "-e", trace::CALLS])
        .args(["-s", &trace::STRING_LIMIT.to_string(), "-o"])
        .arg(&trace)
        .arg(binary().unwrap())
        .arg("serve")
        .env("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", &data)
        .env("REGISTRY_HTTP_ADDR", "127.0.0.1:0")
        .envs(SETTINGS)
        .envs(settings.iter().copied());
    let mut host = Registry::serve(command).unwrap();
    let stop = Traced::below(&host);
    let known = world.prepare(&Target::Server(host.address.clone())).await;
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| Client::new(&world, seed, number).run(host.address.clone(), changes))
        .map(tokio::spawn)
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    world.stopping.store(true, Ordering::SeqCst);
    drop(stop);
    host.wait().unwrap();
    let operations = world.journal.take();
    Run { trace: fs::read_to_string(trace).unwrap(), root, world, known, operations }
}

/// The process that `strace` traces, which would outlive it.
struct Traced(String);

impl Traced {
    fn below(strace: &Registry) -> Self {
        let (pid, path) = (strace.pid(), format!("/proc/{0}/task/{0}/children", strace.pid()));
        let children = fs::read_to_string(path).unwrap();
        Self(children.split_whitespace().next().unwrap_or_else(|| panic!("{pid}")).to_owned())
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-TERM", &self.0]).status();
    }
}

/// What was found.
#[derive(Default)]
struct Found {
    violations: Vec<String>,
    states: u64,
    reads: u64,
    acknowledged: BTreeMap<&'static str, u64>,
}

impl Run {
    /// Follows the trace, and checks what survives before each acknowledgement that
    /// `wanted` chooses by its number.
    fn replay(&self, seed: u64, forget: Forget, wanted: impl Fn(u64) -> bool) -> Found {
        let mut found = Found::default();
        let mut ended = vec![None; self.operations.len()];
        let mut cut = 0;
        let mut acknowledge = |surviving: &Surviving<'_>, port: u16, time: u64| {
            // The request of this connection.
            let operation = self.operations.iter().enumerate().rfind(|(index, operation)| {
                operation.port == port
                    && operation.begun <= time
                    && ended[*index].is_none()
                    && matches!(operation.end, End::Acknowledged(_))
            });
            let Some((index, operation)) = operation else { return };
            ended[index] = Some(time);
            cut += 1;
            *found.acknowledged.entry(operation.change.name()).or_default() += 1;
            if !wanted(cut) || found.violations.len() >= ENOUGH {
                return;
            }
            let operations: Vec<_> = self
                .operations
                .iter()
                .zip(&ended)
                .filter(|(operation, _)| operation.begun <= time)
                .map(|(operation, ended)| {
                    let end = match (ended, operation.end) {
                        (Some(at), _) => End::Acknowledged(*at),
                        (None, End::Refused(at)) if at <= time => End::Refused(at),
                        (None, _) => End::Cut,
                    };
                    Operation { end, ..operation.clone() }
                })
                .collect();
            for choice in 0..=CHOICES {
                let mut random = (choice > 0).then(|| Rng::with_seed(seed ^ (cut << 8) ^ choice));
                let what = format!("acknowledgement {cut}, choice {choice}: ");
                self.check(&mut found, &what, &operations, |to| surviving.write(to, &mut random));
            }
        };
        let mut disk = Disk::new(&self.root.path().join("data"), forget, &mut acknowledge);
        trace::read(&self.trace, &mut disk);
        found
    }

    /// Checks a registry over a directory that `write` makes.
    fn check(
        &self,
        found: &mut Found,
        what: &str,
        operations: &[Operation],
        write: impl FnOnce(&Path) -> Vec<(PathBuf, SystemTime)>,
    ) {
        let directory = tempfile::tempdir().unwrap();
        let renewed = write(directory.path());
        start_again(directory.path(), &renewed);
        let target = match Target::native(directory.path(), &SETTINGS) {
            Ok(target) => target,
            Err(error) => {
                found.violations.push(format!("{what}it does not start: {error:#}"));
                return;
            }
        };
        let mut check =
            Check { target: &target, world: &self.world, violations: Vec::new(), reads: 0 };
        let besides: Vec<_> = self.known.keys().cloned().collect();
        let mut known = self.known.clone();
        block_on(compare(&mut check, &mut known, operations, &[], &besides));
        found.states += 1;
        found.reads += check.reads;
        for text in check.violations {
            // Most are there after each later cut too.
            if !found.violations.iter().any(|known| known.ends_with(&text)) {
                found.violations.push(format!("{what}{text}"));
            }
        }
    }
}
