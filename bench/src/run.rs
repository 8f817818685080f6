//! Runs stages: each system on a fresh directory, measured in turn.

use crate::client::{Client, PushStyle};
use crate::collecting;
use crate::listing;
use crate::measure::measure;
use crate::process::Server;
use crate::rows::{Row, Stage};
use crate::sample::{Sample, Unit};
use crate::systems::{Certificate, Place, System, SystemKind};
use anyhow::Context as _;
use bytes::Bytes;
use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

/// A file system in memory for many small files: removing 100,000 of them from
/// a disk that discards blocks takes minutes.
const MEMORY: &str = "/dev/shm";

/// How often each system is started in a round.
const STARTS: usize = 5;

/// Pushed files above this size in bytes are emptied after each measurement, so
/// that a run does not fill the disk.
const BIG_FILE: u64 = 1 << 20;

/// The results of a stage.
#[derive(Debug)]
pub(crate) struct Results {
    /// The stage's title.
    pub(crate) title: String,
    /// Its rows.
    pub(crate) rows: Vec<RowResults>,
    /// The peak resident memory of each system, in bytes.
    pub(crate) peaks: Vec<Option<u64>>,
}

/// The results of a row.
#[derive(Debug)]
pub(crate) struct RowResults {
    /// The row's name.
    pub(crate) name: String,
    /// What it measures.
    pub(crate) unit: Unit,
    /// For each system, in the order of the systems.
    pub(crate) cells: Vec<Cell>,
}

/// The results of one system in a row.
#[derive(Debug, Default)]
pub(crate) struct Cell {
    /// One for each round.
    pub(crate) samples: Vec<Sample>,
    /// The first failure.
    pub(crate) failure: Option<String>,
}

/// A run of the benchmark: its systems, directories and number of rounds.
#[derive(Debug)]
pub(crate) struct Bench {
    systems: Vec<System>,
    directory: TempDir,
    /// For many small files, if there is a file system in memory.
    memory: Option<TempDir>,
    certificate: Certificate,
    rounds: usize,
}

impl Bench {
    /// In a new directory below `directory`.
    pub(crate) fn new(
        systems: Vec<System>,
        directory: &Path,
        rounds: usize,
    ) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("bench-").tempdir_in(directory)?;
        let memory = tempfile::Builder::new().prefix("bench-").tempdir_in(MEMORY).ok();
        let certificate = Certificate::make(directory.path())?;
        Ok(Self { systems, directory, memory, certificate, rounds })
    }

    /// The measured systems.
    pub(crate) fn systems(&self) -> &[System] {
        &self.systems
    }

    fn place(&self, name: &str, system: &System) -> Place {
        Place { directory: self.directory.path().join(name).join(system.kind.name()) }
    }

    /// Measures one stage.
    pub(crate) async fn stage(&self, stage: &Stage) -> anyhow::Result<Results> {
        let title = &stage.title;
        let mut running = Vec::new();
        for system in &self.systems {
            progress(&format!("{title}: starting {}", system.kind.name()));
            let server = self.prepare(stage, system).await;
            running.push(Running { system, server, since: SystemTime::now() });
        }
        let rows = stage.rows.iter();
        let mut rows: Vec<_> = rows.map(|row| RowResults::new(row, running.len())).collect();
        for round in 0..self.rounds {
            for (row, results) in stage.rows.iter().zip(&mut rows) {
                for at in (0..running.len()).map(|at| (at + round) % running.len()) {
                    let name = running[at].system.kind.name();
                    progress(&format!("round {}/{}: {}: {name}", round + 1, self.rounds, row.name));
                    running[at].measure(row, &mut results.cells[at]).await;
                }
            }
        }
        progress("");
        let peak = |running: &Running| running.server.as_ref().ok()?.peak_memory().ok();
        let peaks = running.iter().map(peak).collect();
        drop(running);
        // Files on the disk stay until the end: without a journal, ext4 takes
        // minutes to create files after many inodes were freed.
        if let Some(memory) = &self.memory {
            let used = memory.path().join(plain(title));
            if used.exists() {
                std::fs::remove_dir_all(used)?;
            }
        }
        Ok(Results { title: title.clone(), rows, peaks })
    }

    /// Starts a system with the content that the stage needs.
    async fn prepare(&self, stage: &Stage, system: &System) -> anyhow::Result<Server> {
        let mut place = self.place(&plain(&stage.title), system);
        if let (Some(memory), true) = (&self.memory, stage.in_memory) {
            place.directory = memory.path().join(plain(&stage.title)).join(system.kind.name());
        }
        let laid_out = system.kind.has_distributions_layout();
        if laid_out {
            listing::lay_out(&place.data(), stage.tags, stage.repositories, stage.blobs)?;
        }
        anyhow::ensure!(
            laid_out || stage.blobs == 0,
            "its directory cannot be filled beforehand: it has another layout than distribution's"
        );
        let server = system.start(&place, None)?;
        let style = if system.kind == SystemKind::Nginx { PushStyle::File } else { PushStyle::Put };
        let mut client = Client::connect(&server.endpoint).await?;
        for image in &stage.images {
            image.push(&mut client, style).await?;
        }
        if let (Some(image), false) = (stage.images.first(), laid_out)
            && style != PushStyle::File
        {
            listing::push(image, &mut client, stage.tags, stage.repositories).await?;
        }
        if !stage.tls {
            return Ok(server);
        }
        drop((client, server));
        system.start(&place, Some(&self.certificate))
    }

    /// Measures Roadstead beside garbage collection; returns a table.
    pub(crate) async fn collecting(
        &self,
        pattern: &Bytes,
        rounds: u16,
        window: Duration,
    ) -> anyhow::Result<String> {
        let system = self.systems.iter().find(|system| system.kind == SystemKind::Roadstead);
        let system = system.context("Roadstead is not measured")?;
        let place = self.place("collecting", system);
        collecting::lay_out(&place.data())?;
        collecting::measure(&system.start(&place, None)?, pattern, rounds, window).await
    }

    /// Measures how long starts take.
    pub(crate) fn starts(&self) -> Results {
        let mut cells: Vec<_> = self.systems.iter().map(|_| Cell::default()).collect();
        for number in 0..self.rounds * STARTS {
            for (at, system) in self.systems.iter().enumerate() {
                progress(&format!("starts: {}", system.kind.name()));
                cells[at].start(system, &self.place(&format!("start{number}"), system));
            }
        }
        progress("");
        Results {
            title: "From a start to the first response".to_owned(),
            rows: vec![RowResults { name: "empty directory".to_owned(), unit: Unit::Start, cells }],
            peaks: self.systems.iter().map(|_| None).collect(),
        }
    }
}

/// A system while a stage is measured.
struct Running<'a> {
    system: &'a System,
    server: anyhow::Result<Server>,
    /// Files that are newer were pushed by rows.
    since: SystemTime,
}

impl Running<'_> {
    async fn measure(&self, row: &Row, cell: &mut Cell) {
        let Some((load, effort)) = row.load(self.system.kind) else { return };
        let result = match &self.server {
            Ok(server) => measure(server, &load, effort, row.unit).await,
            Err(error) => Err(anyhow::anyhow!("{error:#}")),
        };
        cell.add(result);
        if let (Ok(server), true) = (&self.server, load.writes()) {
            empty_big_files(&server.root, self.since);
        }
    }
}

impl RowResults {
    fn new(row: &Row, systems: usize) -> Self {
        let cells = (0..systems).map(|_| Cell::default()).collect();
        Self { name: row.name.clone(), unit: row.unit, cells }
    }
}

impl Cell {
    fn add(&mut self, result: anyhow::Result<Sample>) {
        match result {
            Ok(sample) => self.samples.push(sample),
            Err(error) => {
                self.failure.get_or_insert(format!("{error:#}"));
            }
        }
    }

    fn start(&mut self, system: &System, place: &Place) {
        let sample = |server: Server| {
            let seconds = server.ready.as_secs_f64();
            let ready = seconds * 1e3;
            Sample { rate: 1.0 / seconds, cpu: f64::NAN, p50: ready, p99: ready }
        };
        self.add(system.start(place, None).map(sample));
    }
}

/// A title as a file name that needs no quoting.
fn plain(title: &str) -> String {
    title.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect()
}

/// Empties the big files below a directory that are newer than `since`. No later
/// row reads them.
fn empty_big_files(directory: &Path, since: SystemTime) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let Ok(data) = entry.metadata() else { continue };
        if data.is_dir() {
            empty_big_files(&entry.path(), since);
        } else if data.len() > BIG_FILE && data.modified().is_ok_and(|time| time > since) {
            let _ = std::fs::File::create(entry.path());
        }
    }
}

/// Shows the current step if standard error is a terminal.
pub(crate) fn progress(text: &str) {
    let mut errors = std::io::stderr();
    if errors.is_terminal() {
        // Overwrites the line before.
        let _ = write!(errors, "\r\x1b[K{text}");
        let _ = errors.flush();
    }
}
