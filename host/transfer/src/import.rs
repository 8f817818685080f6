//! `roadstead import`: images from archives into a registry or a storage.

use crate::copy::{Copy, How};
use crate::naming::Naming;
use crate::place::{Nowhere, Reach};
use crate::progress::Progress;
use crate::source::{Origin, Source};
use crate::summary::{Outcome, Report, Summary};
use crate::verify;
use roadstead_archive::{Error, Image, Inventory, Options, Set};
use roadstead_oci::{RepositoryName, Tag};
use roadstead_operator::pull;
use roadstead_operator::registry::{Access, Opener};
use roadstead_operator::{Streams, runtime};
use std::collections::BTreeMap;
use std::path::PathBuf;
use tokio::runtime::Builder;

const HELP: &str = "\
Examples:
  docker save alpine nginx | roadstead import http://localhost:5000 -
  roadstead import http://localhost:5000 images.tar.gz
  roadstead import /var/lib/registry /media/disk/*.tar          no registry has to run
  roadstead import https://registry.example --prefix mirror layout/
  roadstead import http://localhost:5000 --rename alpine=base/alpine images.tar

An archive is what docker save writes, old or new; an OCI layout, as a directory or a tar file; a
registry tar, which is what roadstead export and oc-mirror write; or a directory of such files.
They may be compressed with gzip or zstd. - is standard input. Compressed archives and standard
input are unpacked to a temporary file first ($TMPDIR, or --temporary).

Images keep the names that they have in the archive, without the registry: docker.io/library/alpine
becomes alpine, ghcr.io/team/app becomes team/app. Layers of docker save are stored as they are
there: not compressed.

Volumes of one export may be given together or one after the other, in any order. If an image needs
a volume that was not given, the import says which; import that volume later.

What the target has already is not sent again, so that an interrupted import is simply repeated.
A tag is written when all of its image is there, and every byte was compared with its digest.

Exit status: 0 all images were imported or were there; 1 some were not; 2 nothing could be done.";

/// Import images from archives into a registry, a data directory or a bucket
#[derive(clap::Args, Debug)]
#[command(after_help = HELP)]
pub struct Args {
    /// A registry's URL, a data directory that nobody serves, or a configuration file
    #[arg(value_name = "TARGET")]
    target: String,
    /// Archives, OCI layouts, or directories of archives; - is standard input
    #[arg(value_name = "ARCHIVE", required = true)]
    archives: Vec<PathBuf>,
    #[command(flatten)]
    naming: Naming,
    /// Name the only image of the archive
    #[arg(long, value_name = "NAME[:TAG]")]
    tag: Option<String>,
    /// Refuse volumes whose inventory has no signature of this public key (a PEM file)
    #[arg(long, value_name = "FILE")]
    verify: Vec<PathBuf>,
    /// Where compressed archives and standard input are unpacked [default: `$TMPDIR`, or /tmp]
    #[arg(long, value_name = "DIRECTORY")]
    temporary: Option<PathBuf>,
    /// Say what would be imported, and write nothing; the target must exist
    #[arg(long, short = 'n')]
    dry_run: bool,
    #[command(flatten)]
    report: Report,
    #[command(flatten)]
    reach: Reach,
}

/// Imports, and returns the exit status.
pub fn run(args: &Args, opener: &impl Opener, streams: &mut Streams<'_>) -> u8 {
    let work = import(args, opener, streams);
    let result = runtime::block_on(Builder::new_multi_thread(), work);
    crate::status(result, "import", streams)
}

async fn import(
    args: &Args,
    opener: &impl Opener,
    streams: &mut Streams<'_>,
) -> Result<Summary, String> {
    let user = args.reach.connection.credentials(streams.input)?;
    let temporary = args.temporary.clone().unwrap_or_else(std::env::temp_dir);
    let set = Set::open(&args.archives, &Options { temporary: Some(temporary) });
    let set = set.map_err(|error| error.to_string())?;
    verify::inventories(&args.verify, &set)?;
    let inventory = inventory(&set, args).map_err(|error| error.to_string())?;
    Reach::begin(&args.target, args.dry_run)?;
    let access = Access::of(args.dry_run);
    let target = args.reach.open(&args.target, access, user, opener).await?;
    pull::ping(&target).await?;
    let progress = Progress::new(&args.report);
    let source = Source::new(Origin::<Nowhere>::Archives(&set));
    let (origins, parallel) = (BTreeMap::new(), args.reach.parallel());
    let how = How { dry_run: args.dry_run, parallel };
    let copy = Copy::new(&source, &target, &inventory, &origins, how, &progress);
    let sizes = inventory.contents.iter().filter(|(digest, _)| set.size(digest).is_some());
    progress.begin("import", sizes.fold(0, |all, (_, it)| it.size.saturating_add(all)));
    let mut images = copy.all().await;
    explain(&mut images, &set, &inventory);
    progress.end();
    let summary = Summary { images, totals: copy.totals(), ..Summary::new(args.dry_run) };
    args.report.print(&summary, streams)?;
    Ok(summary)
}

/// What is imported, under the names that it is to have.
fn inventory(set: &Set, args: &Args) -> Result<Inventory, Error> {
    let names = args.naming.names(set.images(), args.tag.as_deref()).map_err(Error::new)?;
    let name = |image: &Image| -> Result<(RepositoryName, Option<Tag>), Error> {
        let found = names.get(&(image.name.clone(), image.digest.clone()));
        found.cloned().ok_or_else(|| Error::new(format!("{} has no name", image.digest)))
    };
    let inventory = set.inventory(&name)?;
    if inventory.repositories.is_empty() {
        return Err(Error::new("there are no images in it"));
    }
    Ok(inventory)
}

/// Says in which volumes the contents are that images are missing.
fn explain(images: &mut [Outcome], set: &Set, inventory: &Inventory) {
    let missing = set.missing(inventory);
    for image in images {
        let Some(digest) = &image.missing else { continue };
        let volumes = missing.get(digest).into_iter().flatten().map(ToString::to_string);
        let place = match &volumes.collect::<Vec<_>>()[..] {
            [] => "in none of the archives, and the target does not have it".to_owned(),
            [one] => format!("in volume {one}, which is not here"),
            several => format!("in the volumes {}, which are not all here", several.join(", ")),
        };
        image.problem = Some(format!("{digest} is {place}"));
    }
}
