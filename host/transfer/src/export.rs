//! `roadstead export`: images from a registry or a storage into archives.

mod size;

use crate::place::Reach;
use crate::progress::Progress;
use crate::select::Selection;
use crate::source::{Origin, Reading, Source};
use crate::summary::{Outcome, Report, Summary, Totals};
use crate::walk::{Absent, Platform, Walk, Wanted};
use crate::write::Writing;
use crate::{requests, verify, write};
use roadstead_archive::{Format, Inventory, Plan, PlanOptions, PrivateKey};
use roadstead_oci::{Algorithm, Digest, RepositoryName};
use roadstead_operator::registry::{Access, Opener, Registry};
use roadstead_operator::{Streams, runtime};
use sha2::{Digest as _, Sha256};
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
cosign's tags included, unless --platform or --no-referrers says otherwise. Of several platforms
of an index, an index of these is written, which has another digest, and so no signatures.

With --volume-size, each volume is a registry archive of its own, which can be imported or served
alone, and begins with an inventory of all. Blobs larger than a volume are continued in the next.

An interrupted export goes on where it was when it is repeated.

Exit status: 0 all images were exported; 1 some could not be; 2 nothing was exported.";

/// Export images of a registry, a data directory or a bucket into archives
#[derive(clap::Args, Debug)]
#[command(after_help = HELP)]
pub struct Args {
    /// A registry's URL, a data directory or a configuration file
    #[arg(value_name = "SOURCE")]
    source: String,
    /// Images, such as alpine:3, team/app or 'team/*:v1.*' [default: everything]
    #[arg(value_name = "IMAGE")]
    images: Vec<Selection>,
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
    let user = args.reach.connection.credentials(streams.input)?;
    let key = args.sign.as_deref().map(private_key).transpose()?;
    let since = args.since.as_deref().map(crate::inventory::read).transpose()?;
    let registry = args.reach.open(&args.source, Access::Read, user, opener).await?;
    requests::ping(&registry).await?;
    let progress = Progress::new(&args.report);
    let source = Source::new(Origin::Registry(&registry));
    let (inventory, absent) = read(args, &registry, &source, &progress).await?;
    if inventory.repositories.is_empty() {
        let problem = absent.first().map(|it| format!("{}: {}", it.image, it.problem));
        return Err(problem.unwrap_or_else(|| "there are no images".to_owned()));
    }
    let options = PlanOptions {
        format: args.format(),
        volume_size: args.volume_size,
        prefix: args.prefix.clone(),
        held: since.iter().flat_map(|since| since.contents.keys().cloned()).collect(),
        platforms: platforms(args, &inventory, &source).await?,
    };
    let images = outcomes(&inventory, absent);
    let mut plan = Plan::new(inventory, &options)?;
    hash_pieces(&mut plan, &source, &progress).await?;
    let inventory = plan.inventory().clone();
    let sign = |bytes: &[u8]| Ok(key.as_ref().map(|key| key.sign(bytes)));
    let volumes = plan.volumes(&sign)?;
    progress.begin("export", volumes.iter().map(roadstead_archive::Volume::size).sum());
    let parallel = args.reach.parallel();
    let writing = Writing { source: &source, inventory: &inventory, parallel, progress: &progress };
    let mut bytes = 0;
    for (volume, number) in volumes.iter().zip(1..) {
        bytes += match output(&args.output, args.format())? {
            To::Standard if volumes.len() == 1 => writing.standard(volume).await?,
            To::Standard => return Err("several volumes need a file: --output FILE".to_owned()),
            To::Directory => writing.directory(volume, &args.output).await?,
            To::File => {
                let path = write::path(&args.output, number, volumes.len());
                writing.file(volume, &path).await?
            }
        };
    }
    progress.end();
    let held = |digest: &&Digest| !options.held.contains(*digest);
    let manifests: BTreeSet<_> =
        inventory.repositories.values().flat_map(|it| it.manifests.keys()).collect();
    let sent = inventory.contents.keys().filter(held).count() as u64;
    let sent_manifests = manifests.iter().copied().filter(held).count() as u64;
    let totals = Totals {
        blobs: sent - sent_manifests,
        bytes,
        manifests: sent_manifests,
        manifests_there: manifests.len() as u64 - sent_manifests,
        blobs_there: (inventory.contents.len() - manifests.len()) as u64 - (sent - sent_manifests),
        mounted: 0,
    };
    let summary = Summary { dry_run: false, images, totals };
    args.report.print(&summary, streams)?;
    Ok(summary)
}

impl Args {
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
    Directory,
    File,
}

fn output(path: &Path, format: Format) -> Result<To, String> {
    let directory = path.as_os_str().as_encoded_bytes().ends_with(b"/") || path.is_dir();
    match (path.to_str(), directory) {
        (Some("-"), _) => Ok(To::Standard),
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
) -> Result<(Inventory, Vec<Absent>), String> {
    let wanted = Wanted {
        platforms: args.platform.clone(),
        referrers: !args.no_referrers,
        parallel: args.reach.parallel(),
    };
    let everything = [Selection::everything()];
    let selections = if args.images.is_empty() { &everything[..] } else { &args.images };
    progress.begin("manifests", 0);
    let found = |_| progress.add(0);
    let mut walk = Walk {
        registry,
        source,
        wanted: &wanted,
        inventory: Inventory::default(),
        absent: Vec::new(),
        found: &found,
    };
    walk.add(selections).await?;
    Ok((walk.inventory, walk.absent))
}

/// The images of an export.
fn outcomes(inventory: &Inventory, absent: Vec<Absent>) -> Vec<Outcome> {
    let mut images: Vec<_> =
        absent.into_iter().map(|it| Outcome::failed(it.image, it.problem)).collect();
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
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    for (name, repository) in &inventory.repositories {
        for digest in repository.tags.values() {
            let Some(entry) = repository.manifests.get(digest) else { continue };
            if entry.children.is_empty() {
                continue;
            }
            let bytes = source.manifest(name, digest).await?;
            let index: serde_json::Value =
                serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
            let listed = index["manifests"].as_array().cloned().unwrap_or_default();
            let is_own = |entry: &&serde_json::Value| {
                entry["platform"]["architecture"] == architecture
                    && entry["platform"]["os"] == "linux"
            };
            let own = listed.iter().find(is_own).and_then(|entry| entry["digest"].as_str());
            let own = own.and_then(|text| Digest::parse(text).ok());
            let own = own.filter(|own| entry.children.contains(own));
            if let Some(child) = own.or_else(|| entry.children.first().cloned()) {
                platforms.insert(digest.clone(), child);
            }
        }
    }
    Ok(platforms)
}

/// Reads the contents that are larger than a volume, whose pieces need digests of their own.
async fn hash_pieces<R: Registry>(
    plan: &mut Plan,
    source: &Source<'_, R>,
    progress: &Progress,
) -> Result<(), String> {
    let pieces = plan.split().to_vec();
    progress.begin("hash", pieces.iter().map(|(_, range)| range.end - range.start).sum());
    for (index, (digest, range)) in pieces.into_iter().enumerate() {
        let repository = holder(plan.inventory(), &digest)?;
        let Reading { mut pieces, pump } = source.open(&repository, &digest, range, false);
        let hash = async {
            let mut hash = Sha256::new();
            while let Some(piece) = pieces.recv().await {
                let piece = piece.map_err(|error| error.to_string())?;
                progress.add(piece.len() as u64);
                let hashed = tokio::task::spawn_blocking(move || {
                    hash.update(&piece);
                    hash
                });
                hash = hashed.await.map_err(|error| error.to_string())?;
            }
            Ok::<_, String>(hash)
        };
        let (read, hash) = tokio::join!(pump, hash);
        read?;
        let found = Digest::from_bytes(Algorithm::Sha256, &hash?.finalize());
        plan.set_piece_digest(index, found.ok_or("a hash has the wrong length")?);
    }
    Ok(())
}

/// A repository that holds a blob.
fn holder(inventory: &Inventory, digest: &Digest) -> Result<RepositoryName, String> {
    let holds = |repository: &roadstead_archive::Repository| {
        repository.manifests.values().any(|manifest| manifest.blobs.contains(digest))
    };
    let found = inventory.repositories.iter().find(|(_, repository)| holds(repository));
    found.map(|(name, _)| name.clone()).ok_or_else(|| format!("{digest} is in no repository"))
}
