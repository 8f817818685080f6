//! Runs stages: every system on a fresh directory, measured in turn.

use crate::client::{Client, Style};
use crate::measure::{Sample, measure};
use crate::process::Server;
use crate::rows::{Row, Stage};
use crate::systems::{Kind, System};
use std::io::{IsTerminal as _, Write as _};
use std::path::Path;

/// Pushed files above this size go after each measurement, or a run would fill
/// the disk.
const BIG_FILE: u64 = 1 << 20;

/// What a stage showed.
#[derive(Debug)]
pub(crate) struct Results {
    /// The stage's title.
    pub(crate) title: String,
    /// Its rows.
    pub(crate) rows: Vec<RowResults>,
    /// The most memory that each system had resident, in bytes.
    pub(crate) peaks: Vec<Option<u64>>,
}

/// What a row showed.
#[derive(Debug)]
pub(crate) struct RowResults {
    /// The row's name.
    pub(crate) name: String,
    /// What it counts.
    pub(crate) unit: crate::measure::Unit,
    /// For each system, in the order of the systems.
    pub(crate) cells: Vec<Cell>,
}

/// What one system showed.
#[derive(Debug, Default)]
pub(crate) struct Cell {
    /// One for each round.
    pub(crate) samples: Vec<Sample>,
    /// The first thing that went wrong.
    pub(crate) failure: Option<String>,
}

/// Measures one stage.
pub(crate) async fn stage(
    stage: &Stage,
    systems: &[System],
    directory: &Path,
    rounds: usize,
) -> anyhow::Result<Results> {
    let place = tempfile::Builder::new().prefix("bench-").tempdir_in(directory)?;
    let mut servers = Vec::new();
    for system in systems {
        progress(&format!("{}: starting {}", stage.title, system.kind.name()));
        servers.push(prepare(stage, system, place.path()).await);
    }
    let rows = stage.rows.iter();
    let mut rows: Vec<_> = rows.map(|row| RowResults::new(row, systems.len())).collect();
    for round in 0..rounds {
        for (row, results) in stage.rows.iter().zip(&mut rows) {
            for at in (0..systems.len()).map(|at| (at + round) % systems.len()) {
                let kind = systems[at].kind;
                progress(&format!("round {}/{rounds}: {}: {}", round + 1, row.name, kind.name()));
                results.cells[at].add(&servers[at], row, kind).await;
            }
        }
    }
    progress("");
    let peaks = servers.iter().map(|server| server.as_ref().ok()?.peak_memory().ok()).collect();
    Ok(Results { title: stage.title.to_owned(), rows, peaks })
}

async fn prepare(stage: &Stage, system: &System, place: &Path) -> anyhow::Result<Server> {
    let place = place.join(system.kind.name());
    let server = system.start(&place, None)?;
    let style = if system.kind == Kind::Nginx { Style::File } else { Style::Put };
    let mut client = Client::connect(&server.address).await?;
    for image in &stage.images {
        image.push(&mut client, style).await?;
    }
    Ok(server)
}

impl RowResults {
    fn new(row: &Row, systems: usize) -> Self {
        let cells = (0..systems).map(|_| Cell::default()).collect();
        Self { name: row.name.clone(), unit: row.unit, cells }
    }
}

impl Cell {
    async fn add(&mut self, server: &anyhow::Result<Server>, row: &Row, kind: Kind) {
        let Some((load, effort)) = row.load(kind) else { return };
        let result = match server {
            Ok(server) => measure(server, &load, effort, row.unit).await,
            Err(error) => Err(anyhow::anyhow!("{error:#}")),
        };
        match result {
            Ok(sample) => self.samples.push(sample),
            Err(error) => {
                self.failure.get_or_insert(format!("{error:#}"));
            }
        }
        if let (Ok(server), true) = (server, load.writes()) {
            forget(&server.root);
        }
    }
}

/// Removes the big files below a directory. What is measured afterwards does
/// not ask for them.
fn forget(directory: &Path) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let Ok(data) = entry.metadata() else { continue };
        if data.is_dir() {
            forget(&entry.path());
        } else if data.len() > BIG_FILE {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Tells whoever waits at a terminal what is being done.
pub(crate) fn progress(text: &str) {
    let mut errors = std::io::stderr();
    if errors.is_terminal() {
        // Over the line before.
        let _ = write!(errors, "\r\x1b[K{text}");
        let _ = errors.flush();
    }
}
