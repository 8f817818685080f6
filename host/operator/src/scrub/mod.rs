//! `roadstead scrub`: reads all that is stored again, a slice at a time, and says what
//! is damaged. Where the slices are done is up to a [`Source`]: a running registry
//! (`remote`), or the host's engine over a storage that it opens.

mod rate;
mod remote;
mod report;
mod saved;

use crate::client::Connection;
use crate::gc::Display;
use crate::slices;
pub use crate::slices::Failure;
pub use rate::Rate;
pub use remote::scrub_remote;
use roadstead_bridge::scrub::{Progress, ScrubRequest};
pub use saved::Saved;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The longest wait that is waited for. A longer one ends the command, which goes on when
/// it is called again.
///
/// Limit: longest wait of `roadstead scrub` between two slices; test: `a_long_wait_ends_the_command`.
const LONGEST_WAIT: Duration = Duration::from_mins(15);

/// The bytes of a slice: progress is shown after each.
///
/// Limit: bytes of a slice of `roadstead scrub`; test: `the_rate_makes_slices_smaller`.
const SLICE: u64 = 64 * 1024 * 1024;

const HELP: &str = "\
Examples:
  roadstead scrub /var/lib/registry
  roadstead scrub https://registry.example:5000 --user admin --rate 50MiB
  roadstead scrub /etc/roadstead/config.yml --rate 20MiB --state /var/lib/roadstead/scrub.json
  roadstead scrub https://registry.example:5000 --quarantine

Everything is read again: blobs are hashed, and manifests, tags and referrers are followed. Nothing
is deleted. Without --quarantine nothing is changed either, so that a directory can be scrubbed
while a registry serves it. What --quarantine moves away from its place (to _quarantined beside it)
is missing for clients: push the image again, and it is whole in all repositories. In a bucket, that
takes a day, in which uploads end that have begun before; call the command again with the same
--state, and it goes on.

With --state, an interrupted scrub goes on where it was; after its end, the next call begins
another.

Exit status: 0 nothing is damaged, 1 something is, 2 the scrub could not be done or has not ended.";

/// Read all stored content again, and find what is damaged or missing
#[derive(clap::Args, Debug)]
#[command(after_help = HELP)]
pub struct Args {
    /// A configuration file, a data directory or a registry's URL [default: the storage of the
    /// environment's settings]
    #[arg(value_name = "TARGET")]
    pub target: Option<String>,
    /// Read at most so much in a second, for example 50MiB
    #[arg(long, value_name = "SIZE")]
    rate: Option<Rate>,
    /// Do not hash blobs: only follow manifests, tags and referrers
    #[arg(long)]
    no_hash: bool,
    /// Move damaged data away from its place, so that it can be pushed again
    #[arg(long)]
    pub quarantine: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// Keep in this file how far the scrub has come, and go on there
    #[arg(long, value_name = "FILE", conflicts_with = "cursor")]
    state: Option<PathBuf>,
    /// Go on where an interrupted scrub has said
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

impl Args {
    /// Refuses what means nothing without a URL.
    ///
    /// # Errors
    /// When a user is to log in at a storage.
    pub fn check_storage(&self) -> anyhow::Result<()> {
        self.connection.check_storage()
    }

    fn ask(&self, cursor: Option<String>) -> ScrubRequest {
        let bytes = Some(self.rate.map_or(SLICE, |rate| rate.bytes().clamp(1, SLICE)));
        ScrubRequest { cursor, bytes, hash: !self.no_hash, quarantine: self.quarantine }
    }

    /// The command that goes on, for people.
    fn again(&self, cursor: &str) -> String {
        let mut words = vec!["roadstead scrub".to_owned()];
        words.extend(self.target.clone());
        words.extend(self.no_hash.then(|| "--no-hash".to_owned()));
        words.extend(self.quarantine.then(|| "--quarantine".to_owned()));
        words.extend(self.json.then(|| "--json".to_owned()));
        words.extend(self.rate.map(|rate| format!("--rate {}", rate.bytes())));
        words.extend(self.connection.words());
        words.push(match &self.state {
            Some(file) => format!("--state {}", file.display()),
            None => format!("--cursor {cursor}"),
        });
        words.join(" ")
    }
}

/// Where slices are done.
pub trait Source {
    /// Does a slice.
    fn slice(&mut self, ask: &ScrubRequest) -> impl Future<Output = Result<Progress, Failure>>;
}

/// How a scrub ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It is done, and something is damaged, or not.
    Done {
        /// Whether something is damaged.
        damaged: bool,
    },
    /// It goes on when it is called again.
    Stopped,
}

impl Outcome {
    /// The exit status.
    pub fn status(self) -> u8 {
        match self {
            Self::Done { damaged } => u8::from(damaged),
            Self::Stopped => 2,
        }
    }
}

/// What a command writes.
pub struct Streams<'a, 'b> {
    /// For findings, and the result.
    pub output: &'a mut dyn Write,
    /// For progress.
    pub display: &'a mut Display<'b>,
}

/// Drives a scrub to its end, or as far as it may. `interrupted` ends it at once: a slice
/// that goes on is asked for again.
///
/// # Errors
/// When slices fail, or what is found cannot be written.
pub async fn drive(
    args: &Args,
    source: &mut impl Source,
    streams: &mut Streams<'_, '_>,
    interrupted: impl Future<Output = ()>,
) -> anyhow::Result<Outcome> {
    let mut saved = Saved::open(args.state.as_deref(), args.target.as_deref())?;
    if let Some(cursor) = &args.cursor {
        saved.cursor = Some(cursor.clone());
    }
    if saved.goes_on() && args.state.is_some() {
        let known = saved.findings.len();
        streams.display.line(&format!("going on where it was; found so far: {known}"));
    }
    let driven = {
        let work = all_slices(args, source, &mut saved, streams);
        tokio::select! {
            biased;
            () = interrupted => Ok(false),
            done = work => done,
        }
    };
    streams.display.end();
    let cursor = saved.cursor.clone().unwrap_or_default();
    let done = driven.map_err(|error| {
        if saved.goes_on() {
            error.context(format!("the scrub stopped; it goes on with: {}", args.again(&cursor)))
        } else {
            error
        }
    })?;
    report::result(&saved, done, args.json, streams.output)?;
    if done {
        return Ok(Outcome::Done { damaged: saved.is_damaged() });
    }
    let how = if saved.goes_on() {
        format!("it goes on with: {}", args.again(&cursor))
    } else {
        "nothing was done".to_owned()
    };
    streams.display.line(&format!("the scrub has not ended; {how}"));
    Ok(Outcome::Stopped)
}

/// Has slices done. `false` if the next one has to wait for long.
async fn all_slices(
    args: &Args,
    source: &mut impl Source,
    saved: &mut Saved,
    streams: &mut Streams<'_, '_>,
) -> anyhow::Result<bool> {
    loop {
        let ask = args.ask(saved.cursor.clone());
        let mut begun = Instant::now();
        let slice = slices::patiently(streams.display, async || {
            // Failures do not count for the rate.
            begun = Instant::now();
            source.slice(&ask).await
        });
        let progress = slice.await.map_err(|failure| failure.cause)?;
        for finding in &progress.findings {
            streams.display.end();
            if !args.json {
                report::finding(finding, streams.output)?;
            }
        }
        streams.display.stage(&progress.stage, progress.percent);
        let pace = args.rate.map_or(Duration::ZERO, |rate| rate.time_of(progress.hashed));
        let wait = Duration::from_millis(progress.wait);
        saved.add(progress);
        saved.save()?;
        if saved.cursor.is_none() {
            return Ok(true);
        }
        if wait > LONGEST_WAIT {
            streams.display.line(&format!(
                "damaged data is moved when all uploads have ended that have begun before: in {}",
                report::hours(wait)
            ));
            return Ok(false);
        }
        tokio::time::sleep(pace.saturating_sub(begun.elapsed()).max(wait)).await;
    }
}

#[cfg(test)]
mod tests;
