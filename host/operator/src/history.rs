//! `roadstead history`: what a tag of a registry has led to, or of a storage that nobody serves.
//!
//! It asks the draft endpoint of distribution-spec pull request 606, as of 2026-07-23, and knows
//! deletions of tags too, which other registries may keep.

use crate::client::{Client, Connection};
use crate::doctor::http::MAX_BODY;
use crate::image::{Image, split};
use crate::print::{self, Format};
use crate::registry::{self, Access, Answer, Opener, Registry, Storage};
use crate::runtime;
pub use crate::streams::Streams;
use crate::terminal::harmless;
use bytes::Bytes;
use http::{Method, StatusCode};
use roadstead_oci::{Reference, RepositoryName, Tag};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use tokio::runtime::Builder;

/// How many seconds each request may take, without `--timeout`: over a bucket, a long history is
/// listed in many requests.
///
/// Limit: seconds of each request of `history`, by default; test: none, tests have no slow server.
const DEFAULT_TIMEOUT: u64 = 120;

/// The longest `--timeout`, in seconds.
///
/// Limit: seconds of each request of `history`, at most; test: none, it is compared with the flag.
const MAX_TIMEOUT: u64 = 3600;

/// How many entries are printed, without `--limit`.
///
/// Limit: entries that `history` prints, by default; test: `as_many_as_are_wanted`.
const DEFAULT_LIMIT: usize = 1000;

/// The largest `--limit`.
///
/// Limit: entries that `history` prints, at most; test: `as_many_as_are_wanted`.
const MAX_LIMIT: u64 = 100_000;

/// How many pages are read, at most: more than the entries need, for registries whose pages are
/// short.
///
/// Limit: pages of a history that are read; test: `an_endless_history_ends`.
const PAGES: usize = 10_000;

/// The annotation with the time, of the draft.
const TIMESTAMP: &str = "org.opencontainers.distribution.tag.timestamp";

/// The annotation with what happened, of the draft.
const EVENT: &str = "org.opencontainers.distribution.tag.event";

/// This registry's annotation of a manifest that it no longer has.
const MANIFEST: &str = "roadstead.manifest";

const HELP: &str = "\
Examples:
  roadstead history localhost:5000/team/app:1.2
  roadstead history --json registry.example/team/app:latest
  roadstead history --directory /var/lib/registry team/app:1.2
  roadstead history --config /etc/roadstead/config.yml team/app:1.2

Each manifest that the tag has led to, the newest first: since when, its digest, size in bytes and
media type. One that was pushed several times has the time of the last push. `gone` is a manifest
that was deleted. The history goes with the tag when that is deleted.

The endpoint is a draft of the specification (distribution-spec, pull request 606): few other
registries have it.

Exit status: 0 it has led to something, 1 the registry did not say, 2 usage, 3 to nothing.";

/// Show what a tag has led to, the newest first
#[derive(clap::Args, Debug)]
#[command(after_help = HELP)]
pub struct Args {
    /// For example registry.example:5000/team/app:1.2; in a storage, team/app:1.2
    #[arg(value_name = "TARGET")]
    target: String,
    /// Read this data directory
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "config")]
    directory: Option<PathBuf>,
    /// Read the storage of this configuration file
    #[arg(long, value_name = "config.yml")]
    config: Option<PathBuf>,
    #[command(flatten)]
    format: Format,
    /// Print so many entries at most
    #[arg(long, short = 'n', value_name = "ENTRIES", default_value_t = DEFAULT_LIMIT,
        value_parser = limit)]
    limit: usize,
    /// Give up on a request after this many seconds without progress
    #[arg(long, value_name = "SECONDS", default_value_t = DEFAULT_TIMEOUT,
        value_parser = clap::value_parser!(u64).range(1..=MAX_TIMEOUT))]
    timeout: u64,
    #[command(flatten)]
    connection: Connection,
}

/// The exit statuses.
mod status {
    pub(super) const FAILED: u8 = 1;
    pub(super) const USAGE: u8 = 2;
    pub(super) const NOTHING: u8 = 3;
}

/// A page of a history, as the draft has it.
#[derive(Deserialize, Debug)]
struct Index {
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// An entry, as it is printed.
#[derive(Serialize, Debug)]
#[serde(rename_all = "camelCase")]
struct Entry {
    time: Option<String>,
    event: String,
    digest: String,
    /// Unknown of a manifest that is gone.
    media_type: Option<String>,
    size: Option<u64>,
}

/// All that is printed.
#[derive(Serialize, Debug)]
struct History<'a> {
    name: &'a RepositoryName,
    tag: &'a Tag,
    entries: Vec<Entry>,
}

impl From<Descriptor> for Entry {
    fn from(found: Descriptor) -> Self {
        let mut annotations = found.annotations;
        let is_gone = annotations.get(MANIFEST).is_some_and(|state| state == "missing");
        Self {
            time: annotations.remove(TIMESTAMP),
            event: annotations.remove(EVENT).unwrap_or_else(|| "created".to_owned()),
            digest: found.digest,
            media_type: Some(found.media_type).filter(|_| !is_gone),
            size: Some(found.size).filter(|_| !is_gone),
        }
    }
}

impl Entry {
    /// As a line: the time without what is less than a second, so that the columns are straight.
    fn line(&self) -> String {
        let time = print::time(self.time.as_deref());
        let size = self.size.map_or_else(print::unknown, |size| size.to_string());
        let kind = self.media_type.as_deref().unwrap_or("gone");
        let event = match self.event.as_str() {
            "created" => String::new(),
            event => format!("  {event}"),
        };
        harmless(&format!("{time:<20}  {}  {size:>8}  {kind}{event}", self.digest))
    }
}

/// The most entries, on the command line.
fn limit(text: &str) -> Result<usize, String> {
    let number = text.parse::<u64>().ok().filter(|number| (1..=MAX_LIMIT).contains(number));
    number
        .and_then(|number| usize::try_from(number).ok())
        .ok_or_else(|| format!("give a number from 1 to {MAX_LIMIT}"))
}

impl Args {
    /// The storage, unless a registry is asked.
    fn storage(&self) -> Option<Storage> {
        let directory = self.directory.clone().map(Storage::Directory);
        directory.or_else(|| self.config.clone().map(Storage::Config))
    }
}

/// The registry, unless it is in a storage, the repository and the tag.
fn target(args: &Args) -> Result<(Option<&str>, RepositoryName, Tag), String> {
    let (registry, rest) = match args.storage() {
        Some(_) => (None, args.target.as_str()),
        None => split(&args.target, "history").map(|(registry, rest)| (Some(registry), rest))?,
    };
    match Image::parse(rest, &args.target)? {
        Image { name, reference: Reference::Tag(tag) } => Ok((registry, name, tag)),
        Image { name, .. } => Err(format!("a digest never changes; give a tag, as in {name}:1.2")),
    }
}

/// Prints what a tag has led to, and returns the exit status.
pub fn run(args: &Args, opener: &impl Opener, streams: &mut Streams<'_>) -> u8 {
    let (registry, name, tag) = match target(args) {
        Ok(target) => target,
        Err(problem) => return say(streams, &problem, status::USAGE),
    };
    let user = match args.connection.credentials_for(args.storage().as_ref(), streams.input) {
        Ok(user) => user,
        Err(problem) => return say(streams, &problem, status::USAGE),
    };
    let limit = Duration::from_secs(args.timeout);
    let read = runtime::block_on(Builder::new_multi_thread(), async {
        if let Some(storage) = args.storage() {
            let registry = opener.open(&storage, Access::Read).await;
            let registry = registry.map_err(|error| format!("{error:#}"))?;
            return read(&registry, &name, &tag, args.limit).await;
        }
        let client = Client::new(registry.unwrap_or_default(), &args.connection, user, limit)?;
        read(&client, &name, &tag, args.limit).await
    });
    match read {
        Ok(Ok(entries)) if entries.is_empty() => {
            say(streams, &format!("{}: there is no history", args.target), status::NOTHING)
        }
        Ok(Ok(entries)) => {
            print(args.format.is_json(), &History { name: &name, tag: &tag, entries }, streams)
        }
        Ok(Err(problem)) => say(streams, &format!("{}: {problem}", args.target), status::FAILED),
        Err(error) => say(streams, &error.to_string(), status::FAILED),
    }
}

/// Reads the newest entries.
async fn read(
    registry: &impl Registry,
    name: &RepositoryName,
    tag: &Tag,
    limit: usize,
) -> Result<Vec<Entry>, String> {
    let mut entries = Vec::new();
    let mut path = format!("/v2/{name}/_oci/tag-history/{tag}?n={limit}");
    for _ in 0..PAGES {
        let request = registry::json(Method::GET, &path, Bytes::new())?;
        let answer = registry.request(request, MAX_BODY).await?;
        let page = page(&answer)?;
        entries.extend(page.manifests.into_iter().map(Entry::from));
        entries.truncate(limit);
        match answer.next_page() {
            Some(next) if entries.len() < limit && next != path => path = next,
            _ => return Ok(entries),
        }
    }
    Err(format!("the history does not end after {PAGES} pages"))
}

fn page(answer: &Answer) -> Result<Index, String> {
    match answer.status {
        StatusCode::OK if !answer.complete => Err("the answer is too long".to_owned()),
        StatusCode::OK => serde_json::from_slice(&answer.body)
            .map_err(|error| format!("the answer is no history: {error}")),
        // The draft has no other meaning for it.
        StatusCode::NOT_FOUND => Err(
            "this registry does not serve the history of tags (distribution-spec, pull request 606)"
                .to_owned(),
        ),
        _ => Err(registry::refusal(answer)),
    }
}

fn print(json: bool, history: &History<'_>, streams: &mut Streams<'_>) -> u8 {
    let written = if json {
        print::json(history)
            .map_err(std::io::Error::other)
            .and_then(|text| writeln!(streams.output, "{text}"))
    } else {
        history.entries.iter().try_for_each(|entry| writeln!(streams.output, "{}", entry.line()))
    };
    match written.and_then(|()| streams.output.flush()) {
        Ok(()) => 0,
        Err(error) => say(streams, &error.to_string(), status::FAILED),
    }
}

fn say(streams: &mut Streams<'_>, problem: &str, status: u8) -> u8 {
    streams.say("history", problem);
    status
}
