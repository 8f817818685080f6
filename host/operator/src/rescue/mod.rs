//! `roadstead rescue`: what was lost in a registry or a storage, such as by the collector of
//! `registry:2`, and bringing it back from another registry, a backup or an archive.

mod lost;
mod report;
mod restore;
mod source;
mod walk;

use crate::client::{Client, Connection};
use crate::gc::{Display, is_url};
use crate::registry::{Access, Opener, Registry, Storage};
use crate::runtime;
pub use crate::streams::Streams;
use crate::terminal::harmless;
use report::Figures;
use restore::Rescue;
use source::Source;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use tokio::runtime::Builder;

/// How many seconds each request may take, without `--timeout`: one that looks for what is
/// lost, or uploads 8 MiB, takes longer than others.
///
/// Limit: seconds of each request of `rescue`, by default; test: none, tests have no slow
/// server.
const DEFAULT_TIMEOUT: u64 = 300;

/// The longest `--timeout`, in seconds.
///
/// Limit: seconds of each request of `rescue`, at most; test: none, it is compared with the
/// flag.
const MAX_TIMEOUT: u64 = 3600;

const HELP: &str = "\
Examples:
  roadstead rescue /var/lib/registry                           what is lost
  roadstead rescue /var/lib/registry --from /mnt/backup/registry
  roadstead rescue https://registry.example:5000 --from https://mirror.example/team --dry-run
  roadstead rescue config.yml --from images.tar --from /srv/layout

The collector of registry:2 (registry garbage-collect) with --delete-untagged deletes signatures,
SBOMs and other referrers, and the images of an index's platforms: tags and indexes stay, and lead
to what is gone. Rescue finds tags, indexes, images and referrers whose content is gone, and with
--from brings it back, after comparing every byte with its digest. Nothing is overwritten or deleted.
What roadstead gc has condemned is not lost: a pull or the next run brings it back.

A source is another registry's URL, perhaps with a prefix of its repositories' names (its password
is that of docker login); a data directory, such as a backup; an OCI layout; or a tar file of one of
these, or of docker save. Images of docker save have the registry's digests only where Docker stores
images in containerd; otherwise push them again. Of a data directory, the bytes that are still there
and only are not linked any more are found without --from.

Sources are asked in the order given. A directory that a registry serves is refused: give that
registry's URL. There, the user needs permission to push, and to collect garbage (docs/access.md).

Exit status: 0 nothing is lost, or all was brought back; 1 something is still lost; 2 it could not
be done.";

/// Find lost content, and bring it back from other places
#[derive(clap::Args, Debug)]
#[command(after_help = HELP)]
#[expect(clippy::struct_excessive_bools, reason = "these are flags")]
pub struct Args {
    /// A registry's URL, a data directory or a configuration file
    #[arg(value_name = "TARGET")]
    target: String,
    /// Bring content back from here: a URL, a data directory, an OCI layout or an archive
    #[arg(long, value_name = "SOURCE")]
    from: Vec<String>,
    /// Say what would be brought back, and change nothing
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// Read all content and compare it with its digest, to find damage too
    #[arg(long)]
    hash: bool,
    /// Indexes may lack platforms here: those are not lost
    #[arg(long)]
    sparse: bool,
    /// Give up on a request after this many seconds without progress
    #[arg(long, value_name = "SECONDS", default_value_t = DEFAULT_TIMEOUT,
        value_parser = clap::value_parser!(u64).range(1..=MAX_TIMEOUT))]
    timeout: u64,
    #[command(flatten)]
    connection: Connection,
}

/// The exit statuses.
mod status {
    pub(super) const LOST: u8 = 1;
    pub(super) const FAILED: u8 = 2;
}

/// Finds what is lost, brings back what can be, and returns the exit status.
pub fn run(
    args: &Args,
    opener: &impl Opener,
    display: &mut Display<'_>,
    streams: &mut Streams<'_>,
) -> u8 {
    let work = at_target(args, opener, display, streams);
    let result = runtime::block_on(Builder::new_multi_thread(), work);
    result.unwrap_or_else(|error| Err(error.to_string())).unwrap_or_else(|problem| {
        streams.say("rescue", &problem);
        status::FAILED
    })
}

async fn at_target(
    args: &Args,
    opener: &impl Opener,
    display: &mut Display<'_>,
    streams: &mut Streams<'_>,
) -> Result<u8, String> {
    let limit = Duration::from_secs(args.timeout);
    let mut sources = Vec::new();
    for text in &args.from {
        let source = Source::open(text, &args.connection, limit)?;
        if let Some(note) = source.note() {
            streams.say(&format!("rescue: {text}"), note);
        }
        sources.push(source);
    }
    if is_url(&args.target) {
        let user = args.connection.credentials(streams.input)?;
        let client = Client::new(&args.target, &args.connection, user, limit)?;
        return rescue(args, &client, &sources, display, streams).await;
    }
    if args.connection.names_user() {
        return Err(
            "--user is for the URL of the target; for a source, use docker login".to_owned()
        );
    }
    let storage = Storage::at(Path::new(&args.target)).ok_or_else(|| {
        format!(
            "{} is neither a data directory nor a configuration file, nor a URL as in \
             https://registry.example:5000",
            args.target
        )
    })?;
    let registry = opener.open(&storage, Access::of(args.dry_run)).await;
    let registry = registry.map_err(|error| format!("{error:#}"))?;
    let root = opener.directory(&storage);
    // It costs nothing, and needs nobody.
    sources.splice(0..0, root.as_deref().and_then(Source::itself));
    rescue(args, &registry, &sources, display, streams).await
}

async fn rescue(
    args: &Args,
    registry: &impl Registry,
    sources: &[Source],
    display: &mut Display<'_>,
    streams: &mut Streams<'_>,
) -> Result<u8, String> {
    let (lost, counts) = walk::walk(registry, args.hash, display).await?;
    let mut print = |line: &str| {
        if !args.json {
            // The output may have been closed; what is brought back is not lost for that.
            let _ = writeln!(streams.output, "{line}");
        }
    };
    for line in &lost.damaged {
        print(&harmless(line));
    }
    let mut rescue = Rescue {
        registry,
        sources,
        dry_run: args.dry_run,
        items: BTreeMap::new(),
        holders: BTreeMap::new(),
        report: &mut |place, item| print(&report::line(place, item)),
    };
    rescue.all(&lost).await;
    let items = rescue.items;
    let figures = Figures::of(&items, &lost, args.sparse);
    let more = lost.more || counts.unlisted > 0;
    print(&report::summary(&figures, &counts, args.from.len(), more));
    if args.json {
        let json = report::json(&items, &lost, figures, &counts, more)?;
        writeln!(streams.output, "{json}").map_err(|error| error.to_string())?;
    }
    Ok(exit_status(&figures, more))
}

fn exit_status(figures: &Figures, more: bool) -> u8 {
    if figures.lost() == 0 && !more { 0 } else { status::LOST }
}
