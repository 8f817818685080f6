//! `roadstead scrub`.

use super::collect::{at, on_runtime};
use super::options;
use crate::collect::offline::{Offline, Purpose};
use crate::options::Options;
use crate::signals::Signals;
use roadstead_operator::Output;
use roadstead_operator::gc::{self, Display};
use roadstead_operator::scrub::{Args, Outcome, Streams, drive, scrub_remote};
use std::io::{Write as _, stderr, stdin};
use std::path::Path;

/// The exit status of a scrub that could not be done: 1 says that something is damaged.
const FAILED: u8 = 2;

/// Scrubs where the arguments say, and returns the exit status.
pub(super) fn run(args: &Args) -> u8 {
    match scrub(args) {
        Ok(outcome) => outcome.status(),
        Err(error) => {
            // If this fails too, there is nowhere else to report it.
            let _ = writeln!(stderr(), "Error: {error:#}");
            FAILED
        }
    }
}

fn scrub(args: &Args) -> anyhow::Result<Outcome> {
    let mut errors = stderr();
    let mut display = Display::standard_error(&mut errors);
    let mut streams = Streams { output: &mut Output::standard(), display: &mut display };
    let options = match args.target.as_deref() {
        None => options(None)?,
        Some(url) if gc::is_url(url) => return scrub_remote(args, &mut stdin(), &mut streams),
        Some(target) => at(Path::new(target))?,
    };
    args.check_storage()?;
    offline(options, args, &mut streams)
}

/// Scrubs a storage that this process opens.
fn offline(
    options: Options,
    args: &Args,
    streams: &mut Streams<'_, '_>,
) -> anyhow::Result<Outcome> {
    on_runtime(async {
        let purpose = if args.quarantine { Purpose::Quarantine } else { Purpose::Read };
        let mut signals = Signals::new()?;
        let mut storage = Offline::open(options, purpose).await?;
        let outcome = drive(args, &mut storage, streams, signals.next()).await;
        storage.close();
        outcome
    })
}
