//! `roadstead mirror`: images from one registry into another.

mod list;

use crate::copy::{Copy, How};
use crate::naming::{Naming, Origin as Named};
use crate::place::Reach;
use crate::progress::Progress;
use crate::select::{Repositories, Selection, or_everything};
use crate::source::{Origin, Source};
use crate::summary::{Outcome, Report, Summary};
use crate::walk::{Platform, Unread, Walk, Wanted};
use list::Entry;
use roadstead_archive::{Inventory, Repository};
use roadstead_oci::RepositoryName;
use roadstead_operator::pull;
use roadstead_operator::registry::{Access, Opener, Registry};
use roadstead_operator::{Streams, runtime};
use std::collections::BTreeMap;
use std::path::PathBuf;
use tokio::runtime::Builder;

const HELP: &str = "\
Examples:
  roadstead mirror http://localhost:5000 --from docker.io alpine:3.20 nginx
  roadstead mirror https://new.example --from https://old.example            everything
  roadstead mirror /var/lib/registry --from https://old.example 'team/**'
  roadstead mirror http://localhost:5000 --list images.yml --platform linux/amd64

Images are written as for roadstead export. A list whose name ends in .yml or .yaml is YAML, as
skopeo sync reads it:

  docker.io:
    images:
      alpine: [\"3.20\", \"3.21\"]
      nginx: []                        all tags
    images-by-tag-regex:
      redis: ^7\\.[0-9]+-alpine$
    images-by-semver:
      traefik: \">=3.0, <4\"
  quay.io:
    images:
      prometheus/node-exporter: [v1.8.2]

Any other has a line for each image, such as docker.io/library/alpine:3.20.

What the target has is not sent again, and what another of its repositories has is mounted; an
interrupted run is simply repeated. A registry that is busy (429, 502, 503, 504) is asked again
after what Retry-After says, at most 15 minutes. Passwords are those of docker login, or of a list;
--user is for the target. Names keep their path, without the registry; library/alpine of Docker Hub
becomes alpine.

Exit status: 0 all images are there; 1 some are not; 2 nothing could be done.";

/// Copy images from one registry, data directory or bucket into another
#[derive(clap::Args, Debug)]
#[command(after_help = HELP)]
pub struct Args {
    /// A registry's URL, a data directory that nobody serves, or a configuration file
    #[arg(value_name = "TARGET")]
    target: String,
    /// The registry, data directory or configuration file that has the images
    #[arg(long, value_name = "SOURCE", required_unless_present = "list")]
    from: Option<String>,
    /// Images of SOURCE, such as alpine:3, team/app or 'team/*:v1.*' [default: everything]
    #[arg(value_name = "IMAGE", requires = "from")]
    images: Vec<Selection>,
    /// Mirror the images of this list: YAML of skopeo sync, or a line for each image
    #[arg(long, value_name = "FILE", conflicts_with = "from")]
    list: Option<PathBuf>,
    /// Of images of several platforms, only these, such as linux/arm64
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Vec<Platform>,
    /// Leave out signatures, SBOMs and other referrers
    #[arg(long)]
    no_referrers: bool,
    /// Say what would be sent, and write nothing; the target must exist
    #[arg(long, short = 'n')]
    dry_run: bool,
    #[command(flatten)]
    naming: Naming,
    #[command(flatten)]
    report: Report,
    #[command(flatten)]
    reach: Reach,
}

/// Mirrors, and returns the exit status.
pub fn run(args: &Args, opener: &impl Opener, streams: &mut Streams<'_>) -> u8 {
    let work = mirror(args, opener, streams);
    let result = runtime::block_on(Builder::new_multi_thread(), work);
    crate::status(result, "mirror", streams)
}

async fn mirror(
    args: &Args,
    opener: &impl Opener,
    streams: &mut Streams<'_>,
) -> Result<Summary, String> {
    let user = args.reach.connection.credentials(streams.input)?;
    let entries = match (&args.list, &args.from) {
        (Some(file), _) => list::read(file)?,
        (None, Some(from)) => vec![Entry::new(from, args.images.clone())],
        (None, None) => return Err("give --from or --list".to_owned()),
    };
    Reach::begin(&args.target, args.dry_run)?;
    let access = Access::of(args.dry_run);
    let target = args.reach.open(&args.target, access, user, opener).await?;
    pull::ping(&target).await?;
    let progress = Progress::new(&args.report);
    let summary = Summary::new(args.dry_run);
    let mut mirror =
        Mirror { args, target: &target, progress: &progress, names: Names::new(), summary };
    for entry in entries {
        match mirror.entry(&entry, opener).await {
            Ok(()) => {}
            // Those of other registries are mirrored all the same.
            Err(problem) if args.list.is_some() => {
                mirror.summary.images.push(Outcome::failed(entry.source, problem));
            }
            Err(problem) => return Err(format!("{}: {problem}", entry.source)),
        }
    }
    progress.end();
    let mut summary = mirror.summary;
    summary.images.sort();
    args.report.print(&summary, streams)?;
    Ok(summary)
}

/// A mirror of several registries into one.
struct Mirror<'a, T> {
    args: &'a Args,
    target: &'a T,
    progress: &'a Progress,
    names: Names,
    summary: Summary,
}

impl<T: Registry> Mirror<'_, T> {
    /// Mirrors the images of one registry.
    async fn entry(&mut self, entry: &Entry, opener: &impl Opener) -> Result<(), String> {
        let Self { args, target, progress, .. } = *self;
        let user = entry.user.clone();
        let registry = args.reach.open(&entry.source, Access::Read, user, opener).await?;
        pull::ping(&registry).await?;
        let directory = Reach::directory(&entry.source, opener);
        let source = Source::new(Origin::Registry(&registry)).in_directory(directory);
        let parallel = args.reach.parallel();
        let wanted =
            Wanted { platforms: args.platform.clone(), referrers: !args.no_referrers, parallel };
        progress.begin("manifests", 0);
        let mut walk = Walk::new(&registry, &source, &wanted);
        walk.add(&entry.selections()).await?;
        let failed = |it: Unread| Outcome::failed(it.image, it.problem);
        self.summary.images.extend(walk.unread.into_iter().map(failed));
        self.summary.absent.extend(walk.absent);
        let (inventory, origins) = rename(walk.inventory, entry, &args.naming, &mut self.names)?;
        let sizes = inventory.contents.values();
        progress.begin("mirror", sizes.fold(0, |all, it| it.size.saturating_add(all)));
        let how = How { dry_run: args.dry_run, parallel };
        let copy = Copy::new(&source, target, &inventory, &origins, how, progress);
        self.summary.images.extend(copy.all().await);
        self.summary.totals.add(&copy.totals());
        Ok(())
    }
}

/// The repositories of the target, and where each comes from.
type Names = BTreeMap<RepositoryName, String>;

/// The names that repositories of a source have in the target: an inventory with these, and
/// the names at the source by them.
fn rename(
    inventory: Inventory,
    entry: &Entry,
    naming: &Naming,
    names: &mut Names,
) -> Result<(Inventory, BTreeMap<RepositoryName, RepositoryName>), String> {
    let mut origins = BTreeMap::new();
    let mut repositories: BTreeMap<RepositoryName, Repository> = BTreeMap::new();
    for (name, repository) in inventory.repositories {
        let new =
            naming.repository(&Named { host: entry.host(), repository: entry.shown(&name) })?;
        let origin = format!("{}/{name}", entry.source);
        if let Some(other) = names.insert(new.clone(), origin.clone()) {
            return Err(format!(
                "{other} and {origin} would both be {new}; use --keep-registry or --rename"
            ));
        }
        origins.insert(new.clone(), name.clone());
        repositories.insert(new, repository);
    }
    Ok((Inventory { repositories, ..inventory }, origins))
}

impl Entry {
    /// The images as the registry calls them: Docker Hub has those of Docker itself in
    /// `library/`.
    fn selections(&self) -> Vec<Selection> {
        let in_library = |mut selection: Selection| {
            if let Repositories::Named(name) = &selection.repositories
                && self.is_hub()
                && !name.as_str().contains('/')
                && let Ok(name) = RepositoryName::parse(&format!("library/{name}"))
            {
                selection.repositories = Repositories::Named(name);
            }
            selection
        };
        or_everything(self.images.iter().cloned().map(in_library).collect())
    }

    /// The name of a repository as people see it.
    fn shown(&self, name: &RepositoryName) -> RepositoryName {
        let short = name.as_str().strip_prefix("library/").filter(|_| self.is_hub());
        short.and_then(|short| RepositoryName::parse(short).ok()).unwrap_or_else(|| name.clone())
    }
}
