//! `roadstead inventory`: what a registry or a storage has, for an export that leaves it out.

use crate::place::Reach;
use crate::progress::Progress;
use crate::select::Choice;
use crate::source::{Origin, Source};
use crate::summary::Report;
use crate::walk::{Walk, Wanted};
use roadstead_archive::Inventory;
use roadstead_operator::pull;
use roadstead_operator::registry::{Access, Opener};
use roadstead_operator::{Streams, files, runtime};
use std::path::Path;
use tokio::runtime::Builder;

const HELP: &str = "\
Examples:
  roadstead inventory http://localhost:5000 > far.json
  roadstead inventory /var/lib/registry team/app > far.json

The file is for roadstead export --since on the side that sends. It has names and digests, and no
content.

Exit status: 0 the inventory is complete; 1 something could not be read; 2 nothing could be.";

/// Print what a registry, a data directory or a bucket has, for roadstead export --since
#[derive(clap::Args, Debug)]
#[command(after_help = HELP)]
pub struct Args {
    #[command(flatten)]
    choice: Choice,
    #[command(flatten)]
    reach: Reach,
}

/// Prints an inventory, and returns the exit status.
pub fn run(args: &Args, opener: &impl Opener, streams: &mut Streams<'_>) -> u8 {
    let work = print(args, opener, streams);
    let result = runtime::block_on(Builder::new_multi_thread(), work);
    result.unwrap_or_else(|error| Err(error.to_string())).unwrap_or_else(|problem| {
        streams.say("inventory", &problem);
        2
    })
}

async fn print(args: &Args, opener: &impl Opener, streams: &mut Streams<'_>) -> Result<u8, String> {
    let user = args.reach.connection.credentials(streams.input)?;
    let registry = args.reach.open(&args.choice.source, Access::Read, user, opener).await?;
    pull::ping(&registry).await?;
    let source = Source::new(Origin::Registry(&registry));
    let wanted = Wanted { platforms: Vec::new(), referrers: true, parallel: args.reach.parallel() };
    let progress = Progress::new(&Report::default());
    progress.begin("manifests", 0);
    let mut walk = Walk::new(&registry, &source, &wanted);
    walk.add(&args.choice.selections()).await?;
    progress.end();
    for unread in &walk.unread {
        streams.say("inventory", &format!("{}: {}", unread.image, unread.problem));
    }
    let bytes = walk.inventory.to_bytes()?;
    let written = streams.output.write_all(&bytes).and_then(|()| streams.output.write_all(b"\n"));
    written.map_err(|error| error.to_string())?;
    Ok(u8::from(!walk.unread.is_empty()))
}

/// Reads the file of an inventory.
///
/// # Errors
/// When it cannot be read, or is none.
pub(crate) fn read(path: &Path) -> Result<Inventory, String> {
    let failed = |problem: &dyn std::fmt::Display| format!("{}: {problem}", path.display());
    let bytes = files::read(path, Inventory::MAX_SIZE as u64).map_err(|error| failed(&error))?;
    Inventory::parse(&bytes).map_err(|error| failed(&error))
}
