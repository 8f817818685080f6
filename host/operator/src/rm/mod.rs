//! `roadstead rm`: deletes tags, manifests and whole repositories of a registry, or of a
//! storage that nobody serves.

mod removal;

use crate::client::{Client, Connection};
use crate::credentials::Credentials;
use crate::image::{self, Image};
use crate::print::{Format, json};
use crate::problem::{Problem, status};
use crate::registry::{Access, Opener, Registry, Storage};
use crate::runtime;
pub use crate::streams::Streams;
use removal::Removal;
use roadstead_oci::RepositoryName;
use serde::Serialize;
use std::path::PathBuf;
use std::time::Duration;
use tokio::runtime::Builder;

/// How many seconds each request may take, without `--timeout`: one that deletes many
/// tags takes longer than others.
///
/// Limit: seconds of each request of `rm`, by default; test: none, tests have no slow
/// server.
const DEFAULT_TIMEOUT: u64 = 120;

/// The longest `--timeout`, in seconds.
///
/// Limit: seconds of each request of `rm`, at most; test: none, it is compared with the
/// flag.
const MAX_TIMEOUT: u64 = 3600;

const HELP: &str = "\
Examples:
  roadstead rm localhost:5000/team/app:1.2                delete the tag
  roadstead rm localhost:5000/team/app@sha256:0123...     delete the manifest and all its tags
  roadstead rm --repository localhost:5000/team/app       delete all of the repository
  roadstead rm --dry-run localhost:5000/team/app@sha256:0123...
  roadstead rm --directory /var/lib/registry team/app:1.2
  roadstead rm --config /etc/roadstead/config.yml team/app:1.2

A tag is a name: its image stays and can be pulled by its digest, until that is deleted too.
An index (an image of several platforms) is a manifest of its own; those of its platforms stay.
Space comes back when garbage is collected: the bytes may belong to other images.

The registry has to allow it: REGISTRY_STORAGE_DELETE_ENABLED=true. The password is that of
docker login, or of --user. Without a scheme, TLS is used; on this machine, plain HTTP where there
is no TLS. Give http://HOST/NAME:TAG for plain HTTP elsewhere.

Other registries: where a tag cannot be deleted by itself, its manifest is, unless other tags
lead to it; where there is no request for a whole repository, its tags are, with their manifests.

With --directory or --config, no registry has to run, and deletion need not be allowed. A directory
that a registry serves is refused: give that registry's URL.

Exit status: 0 all is deleted, 1 something could not be, 2 usage, 3 something was not there.";

/// Delete tags, manifests or whole repositories
#[derive(clap::Args, Debug)]
#[command(after_help = HELP)]
pub struct Args {
    /// For example registry.example:5000/team/app:1.2; in a storage, team/app:1.2
    #[arg(value_name = "TARGET", required = true)]
    targets: Vec<String>,
    /// The targets are whole repositories, such as registry.example:5000/team/app
    #[arg(long)]
    repository: bool,
    /// Delete in this data directory, which no registry serves
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "config")]
    directory: Option<PathBuf>,
    /// Delete in the storage of this configuration file, if no registry serves it
    #[arg(long, value_name = "config.yml")]
    config: Option<PathBuf>,
    /// Say what would be deleted, and delete nothing
    #[arg(long, short = 'n')]
    dry_run: bool,
    #[command(flatten)]
    format: Format,
    /// Give up on a request after this many seconds without progress
    #[arg(long, value_name = "SECONDS", default_value_t = DEFAULT_TIMEOUT,
        value_parser = clap::value_parser!(u64).range(1..=MAX_TIMEOUT))]
    timeout: u64,
    #[command(flatten)]
    connection: Connection,
}

/// What is to be deleted.
struct Target {
    /// The registry, unless it is in a storage.
    registry: Option<String>,
    what: What,
}

enum What {
    Image(Image),
    Repository(RepositoryName),
}

impl Target {
    fn parse(text: &str, args: &Args) -> Result<Self, String> {
        let (registry, rest) = match args.storage() {
            Some(_) => (None, text),
            None => image::split(text, "rm")
                .map(|(registry, rest)| (Some(registry.to_owned()), rest))?,
        };
        if !args.repository {
            return Ok(Self { registry, what: What::Image(Image::parse(rest, text)?) });
        }
        let name = RepositoryName::parse(rest).map_err(|error| {
            format!("{error}; with --repository, give a repository without tag and digest")
        })?;
        Ok(Self { registry, what: What::Repository(name) })
    }
}

impl Args {
    /// The storage, unless registries are asked.
    fn storage(&self) -> Option<Storage> {
        let directory = self.directory.clone().map(Storage::Directory);
        directory.or_else(|| self.config.clone().map(Storage::Config))
    }

    /// These flags, as they are repeated in messages.
    fn flags(&self) -> String {
        match self.storage() {
            Some(storage @ Storage::Directory(_)) => format!("--directory {storage} "),
            Some(storage @ Storage::Config(_)) => format!("--config {storage} "),
            None => String::new(),
        }
    }
}

/// Deletes the targets, and returns the exit status.
pub fn run(args: &Args, opener: &impl Opener, streams: &mut Streams<'_>) -> u8 {
    let parsed = args
        .targets
        .iter()
        .map(|text| Target::parse(text, args).map_err(|problem| format!("{text}: {problem}")));
    // Nothing is deleted if one of them is a mistake.
    let targets: Vec<Target> = match parsed.collect() {
        Ok(targets) => targets,
        Err(problem) => return say(streams, &problem, status::USAGE),
    };
    let registries = targets.iter().filter_map(|target| target.registry.as_deref());
    let user = args
        .connection
        .check_one(registries)
        .and_then(|()| args.connection.credentials_for(args.storage().as_ref(), streams.input));
    let user = match user {
        Ok(user) => user,
        Err(problem) => return say(streams, &problem, status::USAGE),
    };
    let result = runtime::block_on(Builder::new_multi_thread(), async {
        match args.storage() {
            Some(storage) => in_storage(args, opener, &storage, &targets, streams).await,
            None => in_registries(args, user.as_ref(), &targets, streams).await,
        }
    });
    result.unwrap_or_else(|error| say(streams, &error.to_string(), status::FAILED))
}

async fn in_storage(
    args: &Args,
    opener: &impl Opener,
    storage: &Storage,
    targets: &[Target],
    streams: &mut Streams<'_>,
) -> u8 {
    let registry = match opener.open(storage, Access::of(args.dry_run)).await {
        Ok(registry) => registry,
        Err(error) => return say(streams, &format!("{error:#}"), status::FAILED),
    };
    let mut all = Outcomes::default();
    for (text, target) in args.targets.iter().zip(targets) {
        let (removed, said) = remove(args, &registry, target, streams).await;
        all.add(text, removed, &said, streams);
    }
    all.end(args, streams)
}

async fn in_registries(
    args: &Args,
    user: Option<&Credentials>,
    targets: &[Target],
    streams: &mut Streams<'_>,
) -> u8 {
    let limit = Duration::from_secs(args.timeout);
    let mut all = Outcomes::default();
    for (text, target) in args.targets.iter().zip(targets) {
        let registry = target.registry.as_deref().unwrap_or_default();
        let (removed, said) = match Client::new(registry, &args.connection, user.cloned(), limit) {
            Ok(client) => remove(args, &client, target, streams).await,
            Err(problem) => (Err(Problem::Failed(problem)), Vec::new()),
        };
        all.add(text, removed, &said, streams);
    }
    all.end(args, streams)
}

/// Deletes a target. What is said of it is printed, or returned if it is for JSON.
async fn remove(
    args: &Args,
    registry: &impl Registry,
    target: &Target,
    streams: &mut Streams<'_>,
) -> (Result<(), Problem>, Vec<u8>) {
    let mut said = Vec::new();
    let mut removal = Removal {
        client: registry,
        at: target.registry.as_ref().map(|at| format!("{at}/")).unwrap_or_default(),
        flags: args.flags(),
        dry_run: args.dry_run,
        output: if args.format.is_json() { &mut said } else { streams.output },
    };
    let removed = match &target.what {
        What::Image(image) => removal.image(image).await,
        What::Repository(name) => removal.repository(name).await,
    };
    (removed, said)
}

/// What became of a target, as it is printed as JSON.
#[derive(Serialize, Debug)]
struct Outcome {
    target: String,
    result: &'static str,
    /// What else there is to say, a line each.
    messages: Vec<String>,
}

/// What became of all targets.
#[derive(Default)]
struct Outcomes {
    outcomes: Vec<Outcome>,
    status: u8,
}

impl Outcomes {
    fn add(
        &mut self,
        target: &str,
        removed: Result<(), Problem>,
        said: &[u8],
        streams: &mut Streams<'_>,
    ) {
        let said = String::from_utf8_lossy(said);
        let mut messages: Vec<String> = said.lines().map(str::to_owned).collect();
        let result = match &removed {
            Ok(()) => "deleted",
            Err(Problem::Missing(_)) => "missing",
            Err(_) => "failed",
        };
        messages.extend(removed.as_ref().err().map(|problem| problem.text().to_owned()));
        self.outcomes.push(Outcome { target: target.to_owned(), result, messages });
        let removed = removed.map(|()| 0).map_err(|problem| problem.of(target));
        self.status = worse(self.status, streams.end("rm", removed));
    }

    /// Prints them if that is asked for, and returns the exit status.
    fn end(self, args: &Args, streams: &mut Streams<'_>) -> u8 {
        if !args.format.is_json() {
            return self.status;
        }
        let all = Targets { dry_run: args.dry_run, targets: self.outcomes };
        let printed = json(&all).map_err(Problem::from).and_then(|text| Ok(streams.print([text])?));
        streams.end("rm", printed.map(|()| self.status))
    }
}

/// All that is printed as JSON.
#[derive(Serialize, Debug)]
#[serde(rename_all = "camelCase")]
struct Targets {
    /// Whether nothing was deleted.
    dry_run: bool,
    targets: Vec<Outcome>,
}

/// The status of several targets: a failure counts more than something that was not there.
fn worse(all: u8, one: u8) -> u8 {
    if one == status::FAILED || all == 0 { one } else { all }
}

fn say(streams: &mut Streams<'_>, problem: &str, status: u8) -> u8 {
    streams.say("rm", problem);
    status
}
