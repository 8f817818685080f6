//! `roadstead cp`: one image, from one registry or storage into another, or into another
//! repository of the same.

use crate::copy::{Copy, How};
use crate::place::{Place, Reach};
use crate::progress::Progress;
use crate::select::{Repositories, Selection, What};
use crate::source::{Origin, Source};
use crate::summary::{Outcome, Report, Summary};
use crate::walk::{Platform, Walk, Wanted};
use roadstead_archive::Inventory;
use roadstead_oci::{Reference, RepositoryName};
use roadstead_operator::credentials::Credentials;
use roadstead_operator::image::{Image, split};
use roadstead_operator::place::Named;
use roadstead_operator::print::Format;
use roadstead_operator::registry::{Access, Opener, Registry, Storage};
use roadstead_operator::{Streams, pull, push, runtime};
use std::collections::BTreeMap;
use std::path::Path;
use tokio::runtime::Builder;

const HELP: &str = "\
Examples:
  roadstead cp docker.io/library/alpine:3.20 localhost:5000/alpine:3.20
  roadstead cp localhost:5000/team/app:1.2 localhost:5000/released/app       keeps the tag
  roadstead cp --referrers a.example/app@sha256:0123... b.example/app:1.2
  roadstead cp --to /var/lib/registry docker.io/library/alpine:3.20 alpine
  roadstead cp --directory /var/lib/registry team/app:1.2 released/app:1.2

An index is copied with all that it lists, or with --platform for some platforms: then it becomes
another index, or the only image takes its place. What the target has is not sent again; within a
registry, blobs are mounted. --referrers copies signatures, SBOMs and other referrers too.

--directory and --config are for both images, --from for the first and --to for the second alone.
Passwords are those of roadstead login or docker login; --user is for the target. For many images:
roadstead mirror. For another tag of the same repository, roadstead tag is enough.

Exit status: 0 copied or there already, 1 not, 2 usage, or nothing could be done, 3 there is no
such image.";

/// The exit status of an image that is not there.
const MISSING: u8 = 3;

/// Copy an image to another registry, repository, data directory or bucket
#[derive(clap::Args, Debug)]
#[command(after_help = HELP)]
pub struct Args {
    /// For example registry.example:5000/team/app:1.2; in a storage, team/app:1.2
    #[arg(value_name = "SOURCE")]
    source: String,
    /// The same; without a tag, it gets that of the source
    #[arg(value_name = "TARGET")]
    target: String,
    /// Both images are in this data directory, which no registry serves
    #[arg(long, value_name = "DIRECTORY", conflicts_with_all = ["config", "from", "to"])]
    directory: Option<String>,
    /// Both images are in the storage of this configuration file
    #[arg(long, value_name = "config.yml", conflicts_with_all = ["from", "to"])]
    config: Option<String>,
    /// The source is in this data directory, or the storage of this configuration file
    #[arg(long, value_name = "STORAGE")]
    from: Option<String>,
    /// The target is in this data directory, which is made if it is not there, or the storage of
    /// this configuration file
    #[arg(long, value_name = "STORAGE")]
    to: Option<String>,
    /// Copy signatures, SBOMs and other referrers too
    #[arg(long)]
    referrers: bool,
    /// Of an index, only these platforms, such as linux/arm64
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Vec<Platform>,
    /// Say what would be sent, and write nothing; the target must exist
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// Print only errors and the result
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    reach: Reach,
}

/// One side of a copy.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Side {
    place: Named,
    name: RepositoryName,
    /// None, if the target gets the tag of the source.
    reference: Option<Reference>,
}

impl Side {
    /// Reads one of the command line.
    fn parse(text: &str, storage: Option<&String>, is_target: bool) -> Result<Self, String> {
        let failed = |problem: String| format!("{text}: {problem}");
        let (place, rest) = if let Some(storage) = storage {
            let path = Path::new(storage);
            // `--to` makes it.
            let new = || Storage::Directory(path.to_owned());
            (Named::Storage(Storage::at(path).unwrap_or_else(new)), text)
        } else {
            let (registry, rest) = split(text, "cp").map_err(failed)?;
            (Named::Registry(registry.to_owned()), rest)
        };
        let (name, reference) = if is_target && !rest.contains([':', '@']) {
            let name = RepositoryName::parse(rest);
            (name.map_err(|error| failed(error.to_string()))?, None)
        } else {
            let Image { name, reference } = Image::parse_named(rest, text).map_err(failed)?;
            (name, Some(reference))
        };
        if is_target && matches!(reference, Some(Reference::Digest(_))) {
            return Err(failed(
                "the digest follows from the image; give a tag, or none".to_owned(),
            ));
        }
        let name = place.name_of(name);
        Ok(Self { place, name, reference })
    }

    /// Whether it is there.
    async fn is_in(&self, registry: &impl Registry) -> Result<bool, String> {
        let Some(reference) = &self.reference else { return Ok(false) };
        let path = format!("/v2/{}/manifests/{}", self.name, reference.as_str());
        push::has(registry, &path).await
    }

    /// The image, for a walk.
    fn selection(&self) -> Vec<Selection> {
        let what = self.reference.as_ref().map(|reference| match reference {
            Reference::Tag(tag) => What::Tag(tag.clone()),
            Reference::Digest(digest) => What::Digest(digest.clone()),
        });
        let repositories = || Repositories::Named(self.name.clone());
        what.into_iter().map(|what| Selection { repositories: repositories(), what }).collect()
    }

    async fn open<O: Opener>(
        &self,
        args: &Args,
        access: Access,
        user: Option<Credentials>,
        opener: &O,
    ) -> Result<Place<O::Registry>, String> {
        match &self.place {
            Named::Registry(registry) => args.reach.ask(registry, user),
            Named::Storage(Storage::Directory(path) | Storage::Config(path)) => {
                Reach::open_at(path, access, user, opener).await
            }
        }
    }
}

/// Copies an image, and returns the exit status.
pub fn run(args: &Args, opener: &impl Opener, streams: &mut Streams<'_>) -> u8 {
    let storage = args.directory.as_ref().or(args.config.as_ref());
    let source = Side::parse(&args.source, storage.or(args.from.as_ref()), false);
    let target = Side::parse(&args.target, storage.or(args.to.as_ref()), true);
    let work = async {
        let (source, target) = (source?, target?);
        if !args.platform.is_empty() && matches!(source.reference, Some(Reference::Digest(_))) {
            return Err("--platform is for a tag: a digest is that of one manifest".to_owned());
        }
        copy(args, &source, &target, opener, streams).await
    };
    match runtime::block_on(Builder::new_multi_thread(), work) {
        Ok(Ok(None)) => {
            streams.say("cp", &format!("{}: there is no such image", args.source));
            MISSING
        }
        Ok(Ok(Some(summary))) => crate::status(Ok(Ok(summary)), "cp", streams),
        Ok(Err(problem)) => crate::status(Ok(Err(problem)), "cp", streams),
        Err(error) => crate::status(Err(error), "cp", streams),
    }
}

/// What became of it; none, if the source is not there.
async fn copy(
    args: &Args,
    source: &Side,
    target: &Side,
    opener: &impl Opener,
    streams: &mut Streams<'_>,
) -> Result<Option<Summary>, String> {
    let user = args.reach.connection.credentials(streams.input)?;
    let access = Access::of(args.dry_run);
    let report = Report::new(args.format.is_json(), args.quiet);
    // A storage is opened once, and a login is used again.
    let summary = if source.place == target.place {
        let both = target.open(args, access, user, opener).await?;
        pull::ping(&both).await?;
        if !source.is_in(&both).await? {
            return Ok(None);
        }
        between(args, source, &both, target, &both, &report).await?
    } else {
        let from = source.open(args, Access::Read, None, opener).await?;
        pull::ping(&from).await?;
        if !source.is_in(&from).await? {
            return Ok(None);
        }
        if let Some(path) = &args.to {
            Reach::begin_at(Path::new(path), args.dry_run)?;
        }
        let to = target.open(args, access, user, opener).await?;
        pull::ping(&to).await?;
        between(args, source, &from, target, &to, &report).await?
    };
    report.print(&summary, streams)?;
    Ok(Some(summary))
}

async fn between(
    args: &Args,
    source: &Side,
    from: &impl Registry,
    target: &Side,
    to: &impl Registry,
    report: &Report,
) -> Result<Summary, String> {
    let (progress, parallel) = (Progress::new(report), args.reach.parallel());
    let wanted = Wanted { platforms: args.platform.clone(), referrers: args.referrers, parallel };
    let contents = Source::new(Origin::Registry(from));
    let mut walk = Walk::new(from, &contents, &wanted);
    walk.add(&source.selection()).await?;
    let failed = walk.unread.into_iter().map(|it| Outcome::failed(it.image, it.problem));
    let mut summary = Summary::new(args.dry_run);
    summary.images.extend(failed);
    summary.absent = walk.absent;
    let Some(inventory) = renamed(walk.inventory, source, target) else {
        // What there is of it would be there without a name, or with one and incomplete.
        if summary.images.is_empty() {
            let problem = "it could not be read".to_owned();
            summary.images.push(Outcome::failed(source.name.to_string(), problem));
        }
        return Ok(summary);
    };
    let origins = BTreeMap::from([(target.name.clone(), source.name.clone())]);
    let sizes = inventory.contents.values();
    progress.begin("cp", sizes.fold(0, |all, it| it.size.saturating_add(all)));
    let how = How { dry_run: args.dry_run, parallel };
    let copy = Copy::new(&contents, to, &inventory, &origins, how, &progress);
    if source.place == target.place && source.name != target.name {
        copy.mount_from(&source.name);
    }
    summary.images.extend(copy.all().await);
    summary.totals = copy.totals();
    progress.end();
    Ok(summary)
}

/// An image under the name that it gets; none, if not all of it could be read.
fn renamed(mut inventory: Inventory, source: &Side, target: &Side) -> Option<Inventory> {
    let mut repository = inventory.repositories.remove(&source.name)?;
    let (tag, digest) = match source.reference.as_ref()? {
        Reference::Tag(tag) => (Some(tag), repository.tags.remove(tag)?),
        Reference::Digest(digest) => (None, digest.clone()),
    };
    if !repository.manifests.contains_key(&digest) {
        return None;
    }
    let wanted = match &target.reference {
        Some(Reference::Tag(tag)) => Some(tag),
        _ => tag,
    };
    if let Some(tag) = wanted {
        repository.tags.insert(tag.clone(), digest);
    }
    inventory.repositories.insert(target.name.clone(), repository);
    Some(inventory)
}
