//! `roadstead rm`: deletes tags, manifests and whole repositories of a registry.

mod image;
mod removal;

use crate::client::{Client, Connection};
use crate::terminal::harmless;
use image::Image;
use removal::Removal;
use roadstead_oci::RepositoryName;
use std::io::{Read, Write};
use std::time::Duration;

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

A tag is a name: its image stays and can be pulled by its digest, until that is deleted too.
An index (an image of several platforms) is a manifest of its own; those of its platforms stay.
Space comes back when garbage is collected: the bytes may belong to other images.

The registry has to allow it: REGISTRY_STORAGE_DELETE_ENABLED=true. The password is that of
docker login, or of --user. Without a scheme, TLS is used; on this machine, plain HTTP where there
is no TLS. Give http://HOST/NAME:TAG for plain HTTP elsewhere.

Other registries: where a tag cannot be deleted by itself, its manifest is, unless other tags
lead to it; where there is no request for a whole repository, its tags are, with their manifests.

Exit status: 0 all is deleted, 1 something could not be, 2 usage, 3 something was not there.";

/// Delete tags, manifests or whole repositories
#[derive(clap::Args, Debug)]
#[command(after_help = HELP)]
pub struct Args {
    /// For example registry.example:5000/team/app:1.2
    #[arg(value_name = "TARGET", required = true)]
    targets: Vec<String>,
    /// The targets are whole repositories, such as registry.example:5000/team/app
    #[arg(long)]
    repository: bool,
    /// Say what would be deleted, and delete nothing
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// How many seconds each request may take
    #[arg(long, value_name = "SECONDS", default_value_t = DEFAULT_TIMEOUT,
        value_parser = clap::value_parser!(u64).range(1..=MAX_TIMEOUT))]
    timeout: u64,
    #[command(flatten)]
    connection: Connection,
}

/// What a command reads and writes.
pub struct Streams<'a> {
    /// Where `--password-stdin` reads.
    pub input: &'a mut dyn Read,
    /// For what was deleted.
    pub output: &'a mut dyn Write,
    /// For what was not, and why.
    pub errors: &'a mut dyn Write,
}

/// The exit statuses.
mod status {
    pub(super) const FAILED: u8 = 1;
    pub(super) const USAGE: u8 = 2;
    pub(super) const MISSING: u8 = 3;
}

/// Why a target was not deleted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Problem {
    /// It is not there.
    Missing(String),
    /// Anything else.
    Failed(String),
}

impl From<String> for Problem {
    fn from(text: String) -> Self {
        Self::Failed(text)
    }
}

/// What is to be deleted.
enum Target {
    Image(Image),
    Repository { registry: String, name: RepositoryName },
}

impl Target {
    fn parse(text: &str, repository: bool) -> Result<Self, String> {
        if !repository {
            return Image::parse(text).map(Self::Image);
        }
        let (registry, name) = image::split(text)?;
        let name = RepositoryName::parse(name).map_err(|error| {
            format!("{error}; with --repository, give a repository without tag and digest")
        })?;
        Ok(Self::Repository { registry: registry.to_owned(), name })
    }

    fn registry(&self) -> &str {
        match self {
            Self::Image(image) => &image.registry,
            Self::Repository { registry, .. } => registry,
        }
    }
}

/// Deletes the targets, and returns the exit status.
pub fn run(args: &Args, streams: &mut Streams<'_>) -> u8 {
    let parsed = args.targets.iter().map(|text| {
        Target::parse(text, args.repository).map_err(|problem| format!("{text}: {problem}"))
    });
    // Nothing is deleted if one of them is a mistake.
    let targets: Vec<Target> = match parsed.collect() {
        Ok(targets) => targets,
        Err(problem) => return say(streams, &problem, status::USAGE),
    };
    let user = match args.connection.credentials(streams.input) {
        Ok(user) => user,
        Err(problem) => return say(streams, &problem, status::USAGE),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return say(streams, &error.to_string(), status::FAILED),
    };
    let mut result = 0;
    for (text, target) in args.targets.iter().zip(&targets) {
        let limit = Duration::from_secs(args.timeout);
        let client = Client::new(target.registry(), &args.connection, user.clone(), limit);
        let client = match client {
            Ok(client) => client,
            Err(problem) => {
                result = say(streams, &format!("{text}: {problem}"), status::FAILED);
                continue;
            }
        };
        let mut removal =
            Removal { client: &client, dry_run: args.dry_run, output: streams.output };
        let removed = runtime.block_on(async {
            match target {
                Target::Image(image) => removal.image(image).await,
                Target::Repository { registry, name } => removal.repository(registry, name).await,
            }
        });
        match removed {
            Ok(()) => {}
            Err(Problem::Missing(problem)) => {
                let code = say(streams, &format!("{text}: {problem}"), status::MISSING);
                result = if result == 0 { code } else { result };
            }
            Err(Problem::Failed(problem)) => {
                result = say(streams, &format!("{text}: {problem}"), status::FAILED);
            }
        }
    }
    // Does not wait for a name server that does not answer.
    runtime.shutdown_background();
    result
}

fn say(streams: &mut Streams<'_>, problem: &str, status: u8) -> u8 {
    // If this fails too, there is nowhere else to report it.
    let _ = writeln!(streams.errors, "rm: {}", harmless(problem));
    status
}
