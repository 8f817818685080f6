//! `roadstead du`: how much repositories hold, what of it they share, and how much of quotas is
//! used; of a registry, or of a storage that nobody serves.

mod sums;
mod table;

use crate::client::{Client, Connection};
use crate::gc::{Display, is_url};
use crate::print::Format;
use crate::registry::{Access, Opener, Registry, Storage};
use crate::runtime;
use crate::slices;
pub use crate::streams::Streams;
use roadstead_bridge::contents::{CONTENTS, ContentsAnswer, QUOTAS, QuotasAnswer};
use serde::de::DeserializeOwned;
use std::path::Path;
use std::time::Duration;
use sums::Sums;
use tokio::runtime::Builder;

/// How many bytes an answer has, at most.
///
/// Limit: bytes of an answer that `du` reads; test: none, answers are shorter.
const ANSWER: usize = 8 * 1024 * 1024;

/// How many answers are read, at most: more than repositories need.
///
/// Limit: answers that `du` reads; test: `an_endless_answer_ends`.
const ANSWERS: usize = 10_000_000;

/// How long an answer may take.
///
/// Limit: time of a request of `du`; test: none, it would take as long.
const LIMIT: Duration = Duration::from_mins(5);

/// The largest `--depth`: no name has more components.
///
/// Limit: components of names that `du --depth` tells apart; test: none, it is compared with the flag.
const MAX_DEPTH: u64 = 127;

const HELP: &str = "\
Examples:
  roadstead du https://registry.example:5000 --user admin
  roadstead du https://registry.example:5000 team --depth 1
  roadstead du /var/lib/registry
  roadstead du /etc/roadstead/config.yml --json

`bytes` is what a repository holds: its manifests, what they refer to, and what was uploaded in
the last days and no manifest refers to; each once. `own` is what no other line holds, and what
deleting the repository would give back once its garbage is collected. Sizes are those that the
manifests say. With --depth 1, all repositories whose names begin alike are one line, and what they
share counts once.

Over a data directory there are no quotas; with a configuration file, its rules count.

Exit status: 0 done, 1 the registry did not say, 2 usage.";

/// Say how much repositories hold, what they share, and how much of quotas is used
#[derive(clap::Args, Debug)]
#[command(after_help = HELP)]
pub struct Args {
    /// A registry's URL, a data directory or a configuration file
    #[arg(value_name = "TARGET")]
    target: String,
    /// Only repositories that are this, or below it, as team or team/app
    #[arg(value_name = "PREFIX")]
    prefixes: Vec<String>,
    /// Add up what has the first N components of the name in common
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MAX_DEPTH))]
    depth: Option<u64>,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connection: Connection,
}

/// The exit statuses.
mod status {
    pub(super) const FAILED: u8 = 1;
    pub(super) const USAGE: u8 = 2;
}

/// Prints how much repositories hold, and returns the exit status.
pub fn run(
    args: &Args,
    opener: &impl Opener,
    display: &mut Display<'_>,
    streams: &mut Streams<'_>,
) -> u8 {
    let prefixes = args.prefixes.iter().map(|prefix| prefix.trim_end_matches('/').to_owned());
    let depth = args.depth.and_then(|depth| usize::try_from(depth).ok());
    let sums = Sums::new(prefixes.collect(), depth);
    let read = if is_url(&args.target) {
        match args.connection.credentials(streams.input) {
            Err(problem) => return say(streams, &problem, status::USAGE),
            Ok(user) => runtime::block_on(Builder::new_current_thread(), async {
                let client = Client::new(&args.target, &args.connection, user, LIMIT);
                read(&client.map_err(anyhow::Error::msg)?, sums, display).await
            }),
        }
    } else {
        let Some(storage) = Storage::at(Path::new(&args.target)) else {
            let problem =
                format!("{}: no URL (http://, https://), no directory and no file", args.target);
            return say(streams, &problem, status::USAGE);
        };
        if let Err(problem) = args.connection.credentials_for(Some(&storage), streams.input) {
            return say(streams, &problem, status::USAGE);
        }
        runtime::block_on(Builder::new_multi_thread(), async {
            let registry = opener.open(&storage, Access::Read).await?;
            read(&registry, sums, display).await
        })
    };
    display.end();
    let (sums, quotas) = match read {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => return say(streams, &format!("{error:#}"), status::FAILED),
        Err(error) => return say(streams, &format!("{error:#}"), status::FAILED),
    };
    let usage = sums.add_up(quotas);
    let text = if args.format.is_json() { usage.json() } else { Ok(usage.text()) };
    let text = match text {
        Ok(text) => text,
        Err(problem) => return say(streams, &problem, status::FAILED),
    };
    match writeln!(streams.output, "{text}").and_then(|()| streams.output.flush()) {
        Ok(()) => 0,
        Err(error) => say(streams, &error.to_string(), status::FAILED),
    }
}

/// Reads what all repositories hold.
async fn read(
    registry: &impl Registry,
    mut sums: Sums,
    display: &mut Display<'_>,
) -> anyhow::Result<(Sums, QuotasAnswer)> {
    let mut path = CONTENTS.to_owned();
    for _ in 0..ANSWERS {
        let answer: ContentsAnswer = get(registry, &path).await?;
        for repository in &answer.repositories {
            sums.take(repository);
        }
        let Some(next) = answer.next else {
            return Ok((sums, get(registry, QUOTAS).await?));
        };
        display.stage("repositories", percent(&next));
        // Names and digits need no escaping, and `@` is one that queries allow.
        let next = format!("{CONTENTS}?last={next}");
        anyhow::ensure!(next != path, "the registry's answer does not go on");
        path = next;
    }
    anyhow::bail!("the registry's answers do not end")
}

/// How far a walk through repositories has come, by the name of the last one.
fn percent(name: &str) -> u8 {
    match name.bytes().next() {
        Some(byte @ b'0'..=b'9') => (byte - b'0') * 2,
        Some(byte @ b'a'..=b'z') => 20 + (byte - b'a') * 3,
        _ => 0,
    }
}

async fn get<T: DeserializeOwned>(registry: &impl Registry, path: &str) -> anyhow::Result<T> {
    slices::question(registry, path, ANSWER, "say what repositories hold").await
}

fn say(streams: &mut Streams<'_>, problem: &str, status: u8) -> u8 {
    streams.say("du", problem);
    status
}
