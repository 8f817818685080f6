//! `roadstead export`: images from a registry or a storage into archives.

mod pieces;
mod size;

use crate::place::Reach;
use crate::progress::Progress;
use crate::select::Choice;
use crate::source::{Origin, Source};
use crate::summary::{Outcome, Report, Summary, Totals};
use crate::walk::{Platform, Unread, Walk, Wanted, image_of, of_this_machine};
use crate::write::{Failure, Writing};
use crate::{needs, verify, write};
use roadstead_archive::{Format, Inventory, Plan, PlanOptions, PrivateKey, Volume};
use roadstead_oci::Digest;
use roadstead_operator::pull;
use roadstead_operator::registry::{Access, Opener, Registry};
use roadstead_operator::{Streams, runtime};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use tokio::runtime::Builder;

const HELP: &str = "\
Examples:
  roadstead export http://localhost:5000 -o all.tar                    everything
  roadstead export http://localhost:5000 alpine:3 'team/*:v1.*' -o images.tar
  roadstead export /var/lib/registry -o /media/disk/images.tar --volume-size 4.7GB
  roadstead export http://localhost:5000 --since far.json -o new.tar   what the other side lacks
  roadstead export http://localhost:5000 alpine --format docker -o - | docker load
  roadstead export http://localhost:5000 alpine --format oci -o layout/

An image is NAME:TAG, NAME@DIGEST or NAME for all its tags; * matches within a part of a name or a
tag, ** all of it. Without one, everything is exported.

Formats: registry, a tar of the directories of registry:2 and Roadstead: tar -x puts images into a
data directory; oci, an OCI layout, as a tar file, or as a directory if the output ends with /;
docker, which docker load reads.

All platforms of an image are exported, and all signatures, SBOMs and other referrers, those with
cosign's tags included, unless --platform or --no-referrers says otherwise. With one --platform, a
tag leads to its image; with several, to a new index of these. The original index is left out then,
and so are its signatures.

With --volume-size, each volume is a registry archive of its own, which can be imported or served
alone, and begins with an inventory of all. Blobs larger than a volume are continued in the next.

An interrupted export leaves FILE.partial; the same command resumes it.

Exit status: 0 all images were exported; 1 some could not be; 2 nothing was exported.";

/// Export images of a registry, a data directory or a bucket into archives
#[derive(clap::Args, Debug)]
#[command(after_help = HELP)]
pub struct Args {
    #[command(flatten)]
    choice: Choice,
    /// The archive; - is standard output
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// The format of the archive
    #[arg(long, value_name = "FORMAT", default_value = "registry",
        value_parser = ["registry", "oci", "docker"])]
    format: String,
    /// Of images of several platforms, only these, such as linux/arm64
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Vec<Platform>,
    /// Leave out signatures, SBOMs and other referrers
    #[arg(long)]
    no_referrers: bool,
    /// Write volumes of at most this size, such as 4.7GB or 1GiB
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    volume_size: Option<u64>,
    /// Leave out what the other side has, by its inventory (roadstead inventory)
    #[arg(long, value_name = "INVENTORY")]
    since: Option<PathBuf>,
    /// Sign the inventory with this private key (roadstead key)
    #[arg(long, value_name = "FILE")]
    sign: Option<PathBuf>,
    /// Put this before the names in the formats oci and docker, such as registry.example/
    #[arg(long, value_name = "PREFIX", default_value = "")]
    prefix: String,
    #[command(flatten)]
    report: Report,
    #[command(flatten)]
    reach: Reach,
}

/// How often an export begins anew without images of which a content cannot be read.
///
/// Limit: contents that an export leaves out because they cannot be read; test: none, it would
/// take as many.
const REPLANS: u32 = 100;

/// Exports, and returns the exit status.
pub fn run(args: &Args, opener: &impl Opener, streams: &mut Streams<'_>) -> u8 {
    let work = export(args, opener, streams);
    let result = runtime::block_on(Builder::new_multi_thread(), work);
    crate::status(result, "export", streams)
}

async fn export(
    args: &Args,
    opener: &impl Opener,
    streams: &mut Streams<'_>,
) -> Result<Summary, String> {
    args.check()?;
    let user = args.reach.connection.credentials(streams.input)?;
    let key = args.sign.as_deref().map(private_key).transpose()?;
    let since = args.since.as_deref().map(crate::inventory::read).transpose()?;
    let registry = args.reach.open(&args.choice.source, Access::Read, user, opener).await?;
    pull::ping(&registry).await?;
    let progress = Progress::new(&args.report);
    let directory = Reach::directory(&args.choice.source, opener);
    let source = Source::new(Origin::Registry(&registry)).in_directory(directory);
    let (mut inventory, mut unread) = read(args, &registry, &source, &progress).await?;
    let held: BTreeSet<_> = since.iter().flat_map(blobs).collect();
    let mut attempts = 0..REPLANS;
    let (inventory, bytes) = loop {
        if inventory.repositories.is_empty() {
            let problem = unread.first().map(|it| format!("{}: {}", it.image, it.problem));
            return Err(problem.unwrap_or_else(|| "there are no images".to_owned()));
        }
        let options = PlanOptions {
            format: args.format(),
            volume_size: args.volume_size,
            prefix: args.prefix.clone(),
            held: held.clone(),
            platforms: platforms(args, &inventory, &source).await?,
        };
        let plan = Plan::new(inventory.clone(), &options)?;
        match written(args, plan, key.as_ref(), &source, &progress).await {
            Ok(done) => break done,
            // Others are exported without the images that have it.
            Err(Failure { content: Some(digest), problem })
                if args.output.as_os_str() != "-"
                    && attempts.next().is_some()
                    && leave_out(&mut inventory, &digest, &problem, &mut unread) => {}
            Err(failure) => return Err(failure.problem),
        }
    };
    let images = outcomes(&inventory, unread);
    progress.end();
    let totals = totals(&inventory, &held, bytes);
    let summary = Summary { images, totals, ..Summary::new(false) };
    args.report.print(&summary, streams)?;
    Ok(summary)
}

/// Writes what is planned. Returns the inventory of the plan, and how many bytes were written.
async fn written<R: Registry>(
    args: &Args,
    mut plan: Plan,
    key: Option<&PrivateKey>,
    source: &Source<'_, R>,
    progress: &Progress,
) -> Result<(Inventory, u64), Failure> {
    pieces::hash(&mut plan, source, progress).await?;
    let inventory = plan.inventory().clone();
    let sign = |bytes: &[u8]| Ok(key.map(|key| key.sign(bytes)));
    let volumes = plan.volumes(&sign)?;
    let to = output(&args.output, args.format())?;
    if volumes.len() > 1 && !matches!(to, To::File) {
        return Err(Failure::from("several volumes need a file: --output FILE".to_owned()));
    }
    if matches!(to, To::File) && volumes.len() > 1 {
        let other = write::other_volume(&args.output, volumes.len());
        if let Some(other) = other.map_err(|error| error.to_string())? {
            let problem = format!("{} is a volume of another export; remove it", other.display());
            return Err(Failure::from(problem));
        }
    }
    progress.begin("export", volumes.iter().map(Volume::size).sum());
    let parallel = args.reach.parallel();
    let writing = Writing { source, inventory: &inventory, parallel, progress };
    let mut bytes = 0;
    for (volume, number) in volumes.iter().zip(1..) {
        bytes += match to {
            To::Standard => writing.stream(volume, std::io::stdout()).await?,
            To::Stream => {
                let file = std::fs::OpenOptions::new().write(true).open(&args.output);
                let failed = |error| format!("{}: {error}", args.output.display());
                writing.stream(volume, file.map_err(failed)?).await?
            }
            To::Directory => writing.directory(volume, &args.output).await?,
            To::File => {
                let path = write::path(&args.output, number, volumes.len());
                writing.file(volume, &path).await?
            }
        };
    }
    Ok((inventory, bytes))
}

/// Leaves out all that needs a content which cannot be read. Returns whether anything did.
fn leave_out(
    inventory: &mut Inventory,
    content: &Digest,
    problem: &str,
    unread: &mut Vec<Unread>,
) -> bool {
    let before = unread.len();
    for (name, repository) in &mut inventory.repositories {
        for image in needs::remove(repository, [content.clone()].into()) {
            let problem = format!("{content}: {problem}");
            unread.push(Unread { image: format!("{name}{image}"), problem });
        }
    }
    inventory.repositories.retain(|_, repository| !repository.manifests.is_empty());
    unread.len() > before
}

/// The blobs of an inventory. Manifests are sent all the same: each repository and each tag
/// needs its own.
fn blobs(inventory: &Inventory) -> Vec<Digest> {
    let manifests = inventory.repositories.values().flat_map(|it| it.manifests.values());
    manifests.flat_map(|manifest| manifest.blobs.iter().cloned()).collect()
}

fn totals(inventory: &Inventory, held: &BTreeSet<Digest>, bytes: u64) -> Totals {
    let manifests: BTreeSet<_> =
        inventory.repositories.values().flat_map(|it| it.manifests.keys()).collect();
    let there = inventory.contents.keys().filter(|digest| held.contains(digest)).count();
    Totals {
        blobs: (inventory.contents.len() - manifests.len() - there) as u64,
        bytes,
        mounted: 0,
        blobs_there: there as u64,
        manifests: manifests.len() as u64,
        manifests_there: 0,
    }
}

impl Args {
    /// Refuses flags that the format has no use for.
    fn check(&self) -> Result<(), String> {
        let registry = self.format() == Format::Registry;
        if !registry && (self.sign.is_some() || self.since.is_some()) {
            return Err("--sign and --since need --format registry".to_owned());
        }
        if registry && !self.prefix.is_empty() {
            return Err("--prefix is for --format oci and docker".to_owned());
        }
        Ok(())
    }

    fn format(&self) -> Format {
        match self.format.as_str() {
            "oci" => Format::Oci,
            "docker" => Format::Docker,
            _ => Format::Registry,
        }
    }
}

/// Where an archive is written to.
enum To {
    Standard,
    /// A device or a pipe.
    Stream,
    Directory,
    File,
}

fn output(path: &Path, format: Format) -> Result<To, String> {
    let directory = path.as_os_str().as_encoded_bytes().ends_with(b"/") || path.is_dir();
    match (path.to_str(), directory) {
        (Some("-"), _) => Ok(To::Standard),
        (_, false) if path.exists() && !path.is_file() => Ok(To::Stream),
        (_, false) => Ok(To::File),
        (_, true) if format == Format::Oci => Ok(To::Directory),
        (_, true) => Err(format!(
            "{} is a directory, which only an OCI layout can be: --format oci",
            path.display()
        )),
    }
}

fn private_key(path: &Path) -> Result<PrivateKey, String> {
    let parsed = PrivateKey::parse(&verify::read(path)?);
    parsed.map_err(|problem| format!("{}: {problem}", path.display()))
}

/// Reads what is to be exported.
async fn read<R: Registry>(
    args: &Args,
    registry: &R,
    source: &Source<'_, R>,
    progress: &Progress,
) -> Result<(Inventory, Vec<Unread>), String> {
    let wanted = Wanted {
        platforms: args.platform.clone(),
        referrers: !args.no_referrers,
        parallel: args.reach.parallel(),
    };
    progress.begin("manifests", 0);
    let mut walk = Walk::new(registry, source, &wanted);
    walk.add(&args.choice.selections()).await?;
    Ok((walk.inventory, walk.unread))
}

/// The images of an export.
fn outcomes(inventory: &Inventory, unread: Vec<Unread>) -> Vec<Outcome> {
    let mut images: Vec<_> =
        unread.into_iter().map(|it| Outcome::failed(it.image, it.problem)).collect();
    for (name, repository) in &inventory.repositories {
        for (tag, digest) in &repository.tags {
            images.push(Outcome::new(format!("{name}:{tag}"), digest, true, Ok(false)));
        }
    }
    images.sort();
    images
}

/// For each index that a tag leads to, the image that docker-archives name: the one for this
/// machine, or else the first.
async fn platforms<R: Registry>(
    args: &Args,
    inventory: &Inventory,
    source: &Source<'_, R>,
) -> Result<BTreeMap<Digest, Digest>, String> {
    let mut platforms = BTreeMap::new();
    if args.format() != Format::Docker {
        return Ok(platforms);
    }
    for (name, repository) in &inventory.repositories {
        for digest in repository.tags.values() {
            let Some(entry) = repository.manifests.get(digest) else { continue };
            if entry.children.is_empty() {
                continue;
            }
            let bytes = source.manifest(name, digest).await?;
            let own = image_of(&of_this_machine(), &bytes);
            let own = own.filter(|own| entry.children.contains(own));
            if let Some(child) = own.or_else(|| entry.children.first().cloned()) {
                platforms.insert(digest.clone(), child);
            }
        }
    }
    Ok(platforms)
}
