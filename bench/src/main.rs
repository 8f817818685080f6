//! `bench`: starts Roadstead and its peers, measures them in turn, and prints
//! tables.

mod client;
mod collecting;
mod content;
mod image;
mod listing;
mod load;
mod machine;
mod measure;
mod process;
mod report;
mod rows;
mod run;
mod sample;
mod sha256;
mod systems;
mod wrk;

use anyhow::Context as _;
use bytes::Bytes;
use clap::{Parser, ValueEnum as _};
use rows::Group;
use run::{Bench, Results};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use systems::{System, SystemKind};

/// Measures Roadstead beside other registries on this machine.
///
/// Peers are searched on the path and in target/tools/bin, by the names of their programs:
/// docker-registry (distribution 2.8 from Debian), registry (distribution 3), zot, angos, and nginx,
/// which serves files and is the limit, not a peer.
#[derive(Debug, Parser)]
#[command(name = "bench", version)]
struct Flags {
    /// What to measure [default: everything]
    #[arg(long, value_delimiter = ',', value_enum)]
    rows: Vec<Group>,
    /// Which peers, as NAME or NAME=FILE [default: all that are installed]
    #[arg(long, value_delimiter = ',')]
    peers: Vec<String>,
    /// Roadstead's binary [default: beside this program]
    #[arg(long, value_name = "FILE")]
    roadstead: Option<PathBuf>,
    /// How often each row is measured, alternating between the systems
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// How long a row is measured each time; limited pushes end earlier
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// For data while it runs [default: the target directory]
    #[arg(long, value_name = "DIRECTORY")]
    directory: Option<PathBuf>,
    /// Write the tables to this file as well
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match until_signal(&Flags::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Without the backtrace that `Debug` would add.
            eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn until_signal(flags: &Flags) -> anyhow::Result<()> {
    let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    // Whatever ends it, the servers are dropped, and so stopped, first.
    tokio::select! {
        result = run(flags) => result,
        _ = tokio::signal::ctrl_c() => anyhow::bail!("interrupted"),
        _ = term.recv() => anyhow::bail!("terminated"),
    }
}

async fn run(flags: &Flags) -> anyhow::Result<()> {
    wrk::check()?;
    let beside = std::env::current_exe()?;
    let beside = beside.parent().context("the program has no directory")?;
    let systems = systems(flags, beside)?;
    let directory = flags.directory.as_deref().unwrap_or(beside);
    let pattern = content::pattern();
    let groups = match flags.rows.as_slice() {
        [] => Group::value_variants(),
        rows => rows,
    };
    let heading = heading(&systems, directory);
    print(&heading)?;
    let bench = Bench::new(systems, directory, flags.rounds.into())?;
    let (mut text, mut all) = (String::new(), Vec::new());
    for group in groups {
        let (table, results) = measure(&bench, *group, &pattern, flags).await?;
        print(&table)?;
        text.push_str(&table);
        all.extend(results);
    }
    let summary = report::summary(&all, bench.systems());
    print(&summary)?;
    if let Some(output) = &flags.output {
        let text = format!("{heading}{summary}{text}");
        std::fs::write(output, text).with_context(|| output.display().to_string())?;
    }
    Ok(())
}

/// Measures a group and returns its tables, and the results in those of rows.
async fn measure(
    bench: &Bench,
    group: Group,
    pattern: &Bytes,
    flags: &Flags,
) -> anyhow::Result<(String, Vec<Results>)> {
    let mut text = String::new();
    let mut all = Vec::new();
    for stage in rows::stages(group, pattern, Duration::from_secs(flags.seconds)) {
        let results = bench.stage(&stage).await?;
        let _ = write!(text, "\n{}", report::table(&results, bench.systems()));
        all.push(results);
    }
    match (group, all.as_slice()) {
        (Group::Lists | Group::Growth, [few, .., many]) => {
            let _ = write!(text, "\n{}", report::growth(few, many, bench.systems()));
        }
        (Group::Start, _) => {
            let _ = write!(text, "\n{}", report::table(&bench.starts(), bench.systems()));
        }
        (Group::Collection, _) => {
            let window = Duration::from_secs(flags.seconds);
            let _ = write!(text, "\n{}", bench.collecting(pattern, flags.rounds, window).await?);
        }
        (Group::Hash, _) => {
            let samples: Result<Vec<_>, _> =
                (0..flags.rounds).map(|_| sha256::measure(pattern)).collect();
            let _ = write!(text, "\n{}", report::hash(&samples?));
        }
        _ => {}
    }
    Ok((text, all))
}

fn systems(flags: &Flags, beside: &Path) -> anyhow::Result<Vec<System>> {
    let tools = beside.parent().unwrap_or(beside).join("tools/bin");
    let mut wanted = Vec::new();
    for peer in &flags.peers {
        let (name, file) = match peer.split_once('=') {
            Some((name, file)) => (name, Some(Path::new(file))),
            None => (peer.as_str(), None),
        };
        let kind = SystemKind::ALL.into_iter().find(|kind| kind.name() == name);
        wanted.push((kind.with_context(|| format!("unknown peer {name}"))?, file));
    }
    let directories = [beside.to_owned(), tools, "/usr/sbin".into()];
    let mut systems = Vec::new();
    for kind in SystemKind::ALL {
        let named = wanted.iter().find(|(name, _)| *name == kind);
        let file = match kind {
            SystemKind::Roadstead => flags.roadstead.as_deref(),
            _ if named.is_none() && !wanted.is_empty() => continue,
            _ => named.and_then(|(_, file)| *file),
        };
        match System::find(kind, file, &directories) {
            Some(system) => systems.push(system),
            None if kind == SystemKind::Roadstead => {
                anyhow::bail!("roadstead is not built; run `cargo build --release`")
            }
            None if named.is_some() => anyhow::bail!("{} is not on the path", kind.name()),
            None => eprintln!("{} is not installed and is left out", kind.name()),
        }
    }
    Ok(systems)
}

fn heading(systems: &[System], directory: &Path) -> String {
    let arguments = std::env::args().skip(1);
    // Paths on this machine do not matter to readers.
    let arguments = arguments.map(|argument| match argument.split_once('/') {
        Some((name, _)) => format!("{name}…"),
        None => argument,
    });
    let mut text = format!(
        "# Benchmarks\n\nMade by `bench`; README.md says how to run it.\n\n{}\nCommit {}; {}. Load averages before: {}.\n\n```text\nbench {}\n```\n\n",
        report::LEGEND,
        machine::commit(),
        machine::describe(directory),
        machine::load(),
        arguments.collect::<Vec<_>>().join(" "),
    );
    for system in systems {
        let _ = writeln!(text, "- {}: {}", system.kind.name(), system.version);
    }
    text
}

fn print(text: &str) -> anyhow::Result<()> {
    let mut output = std::io::stdout();
    output.write_all(text.as_bytes())?;
    Ok(output.flush()?)
}
