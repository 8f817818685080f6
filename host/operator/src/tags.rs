//! `roadstead tags`: the tags of a repository.

mod version;

use crate::described::Reader;
use crate::gc::summary::size;
use crate::ls::{OPTIONS, PARALLEL};
use crate::place::Location;
use crate::print::{Column, Format, Table, json, time, unknown};
use crate::problem::Problem;
use crate::registry::{Access, Opener, Registry};
use crate::runtime;
use crate::streams::Streams;
use crate::terminal::harmless;
use crate::views::{self, TagView, literal};
use crate::{pull, push};
use clap::ValueEnum;
use futures::StreamExt as _;
use futures::stream;
use glob::Pattern;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use roadstead_oci::{Digest, Reference, RepositoryName, Tag};
use serde::Serialize;
use std::collections::HashMap;
use tokio::runtime::Builder;

const HELP: &str = "\
Examples:
  roadstead tags localhost:5000/team/app
  roadstead tags --sort version registry.example/team/app 'v1.*'
  roadstead tags --long registry.example/team/app
  roadstead tags --sort pushed -r registry.example/team/app | head -n 1     the tag that was pushed last
  roadstead tags --sort version registry.example/team/app 'v[0-9]*' | tail -n 1     the newest version
  roadstead tags -o json --directory /var/lib/registry team/app

Sorted by version, numbers count as numbers: 1.9 comes before 1.10, and 2.0-rc1 before 2.0. Names
such as latest come after all versions; a pattern leaves them out.

With --digests, there is a request for each tag, and the size is that of the manifest. With --long, the size
is that of all that a tag leads to: Roadstead says it for 100 tags in one answer, and when each was pushed.
Of other registries, all manifests and configurations are read, and --sort pushed is not possible.

Exit status: 0 done, 1 the registry did not say, 2 usage, 3 there is no such repository.";

/// List the tags of a repository
#[derive(clap::Args, Debug)]
#[command(after_help = HELP)]
pub struct Args {
    /// For example registry.example:5000/team/app; in a storage, team/app
    #[arg(value_name = "REPOSITORY")]
    repository: String,
    /// Only tags that match, such as 'v1.*'
    #[arg(value_name = "PATTERN")]
    patterns: Vec<String>,
    /// Sort by name, by version, by the time of the last push, or by size
    #[arg(long, value_enum, value_name = "ORDER", default_value_t = Order::Name)]
    sort: Order,
    /// The last ones first
    #[arg(long, short = 'r')]
    reverse: bool,
    /// Add the digest, media type and size of the manifests that they lead to
    #[arg(long, conflicts_with = "long")]
    digests: bool,
    /// Add the size of all that they lead to, when they were pushed, platforms and digest
    #[arg(long, short = 'l')]
    long: bool,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    location: Location,
}

/// How tags are sorted.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
enum Order {
    Name,
    Version,
    Pushed,
    Size,
}

/// A tag, as it is printed.
#[derive(Serialize, Debug, Default)]
#[serde(rename_all = "camelCase")]
struct Listed {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    media_type: Option<String>,
    /// Of the manifest, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    /// Of all that it leads to, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    total_size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pushed: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pulled: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    platforms: Vec<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    immutable: bool,
}

impl Listed {
    fn named(name: String) -> Self {
        Self { name, ..Self::default() }
    }
}

impl From<TagView> for Listed {
    fn from(view: TagView) -> Self {
        let TagView { name, digest, media_type, pushed, pulled, size, platforms, immutable } = view;
        let total_size = size;
        Self {
            name,
            digest,
            media_type,
            size: None,
            total_size,
            pushed,
            pulled,
            platforms,
            immutable,
        }
    }
}

/// All that is printed.
#[derive(Serialize, Debug)]
struct Tags<'a> {
    repository: &'a RepositoryName,
    tags: Vec<Listed>,
}

/// Prints tags, and returns the exit status.
pub fn run(args: &Args, opener: &impl Opener, streams: &mut Streams<'_>) -> u8 {
    let result = list(args, opener, streams);
    streams.end("tags", result)
}

fn list(args: &Args, opener: &impl Opener, streams: &mut Streams<'_>) -> Result<u8, Problem> {
    let (named, repository) = args.location.repository(&args.repository, "tags")?;
    let patterns = args
        .patterns
        .iter()
        .map(|text| Pattern::new(text).map_err(|error| format!("{text} is no pattern: {error}")));
    let patterns: Vec<Pattern> = patterns.collect::<Result<_, _>>().map_err(Problem::Usage)?;
    if args.digests && matches!(args.sort, Order::Pushed | Order::Size) {
        let problem = "--sort pushed and --sort size go with --long, and not with --digests";
        return Err(Problem::Usage(problem.to_owned()));
    }
    let user = args.location.user(&named, streams.input)?;
    let tags = runtime::block_on(Builder::new_multi_thread(), async {
        let registry = args.location.open(&named, Access::Read, user, opener).await?;
        read(args, &registry, &repository, &patterns).await
    })?;
    let tags = tags.map_err(|problem| problem.of(&args.repository))?;
    print(args, &Tags { repository: &repository, tags }, streams)?;
    Ok(0)
}

async fn read(
    args: &Args,
    registry: &impl Registry,
    repository: &RepositoryName,
    patterns: &[Pattern],
) -> Result<Vec<Listed>, Problem> {
    let names = pull::tags(registry, repository).await?;
    let missing = || Problem::Missing("there is no such repository".to_owned());
    let mut names = names.ok_or_else(missing)?;
    let is_meant = |name: &String| {
        patterns.is_empty() || patterns.iter().any(|it| it.matches_with(name, OPTIONS))
    };
    names.retain(is_meant);
    names.sort_unstable();
    names.dedup();
    if args.sort == Order::Version {
        names.sort_by(|a, b| version::compare(a, b));
    }
    let needs_views = args.long || matches!(args.sort, Order::Pushed | Order::Size);
    let text = if let [pattern] = patterns { literal(pattern.as_str()) } else { "" };
    let views = if needs_views { views::tags(registry, repository, text).await? } else { None };
    if views.is_none() && args.sort == Order::Pushed {
        return Err("this registry does not say when tags were pushed".to_owned().into());
    }
    let views = views.unwrap_or_default().into_iter();
    let views: HashMap<String, TagView> = views.map(|view| (view.name.clone(), view)).collect();
    let one = async |name: String| match (views.get(&name), Tag::parse(&name)) {
        (Some(view), _) => Ok(Listed::from(view.clone())),
        // Manifests do not say when they were pushed.
        _ if args.sort == Order::Pushed => Ok(Listed::named(name)),
        (None, Ok(tag)) if needs_views => described(registry, repository, name, tag).await,
        (None, Ok(tag)) if args.digests => target(registry, repository, name, tag).await,
        _ => Ok(Listed::named(name)),
    };
    let mut answers = stream::iter(names).map(one).buffered(PARALLEL);
    let mut tags = Vec::new();
    while let Some(tag) = answers.next().await {
        tags.push(tag?);
    }
    if args.sort == Order::Pushed
        && let Some(tag) = tags.iter().find(|tag| tag.pushed.is_none())
    {
        return Err(format!("the registry does not say when {} was pushed", tag.name).into());
    }
    sort(&mut tags, args);
    if needs_views && !args.long {
        // No more is printed than was asked for.
        tags = tags.into_iter().map(|tag| Listed::named(tag.name)).collect();
    }
    Ok(tags)
}

/// Sorts by what was not known before; what is not known still, comes last.
fn sort(tags: &mut [Listed], args: &Args) {
    match args.sort {
        Order::Name | Order::Version => {}
        // Fractions of a second come after the same second without any.
        Order::Pushed => tags.sort_by_cached_key(|tag| {
            tag.pushed.as_deref().map(|time| time.trim_end_matches('Z').to_owned())
        }),
        Order::Size => tags.sort_by_key(|tag| tag.total_size),
    }
    if args.reverse {
        tags.reverse();
    }
    let is_known = |tag: &Listed| match args.sort {
        Order::Name | Order::Version | Order::Pushed => true,
        Order::Size => tag.total_size.is_some(),
    };
    // Stable.
    tags.sort_by_key(|tag| !is_known(tag));
}

/// What a tag leads to, by the manifests and configurations themselves.
async fn described(
    registry: &impl Registry,
    repository: &RepositoryName,
    name: String,
    tag: Tag,
) -> Result<Listed, Problem> {
    let Some(found) = pull::manifest(registry, repository, &Reference::Tag(tag)).await? else {
        // It was deleted after the list had been made.
        return Ok(Listed::named(name));
    };
    let image = Reader::new(registry, repository).describe(&found).await;
    let (total_size, platforms) = (image.total_size(), image.platforms());
    let (digest, media_type) = (Some(image.digest), image.media_type);
    Ok(Listed { digest, media_type, total_size, platforms, ..Listed::named(name) })
}

/// What a tag leads to: by the head of its manifest, or by all of it where that says no digest.
async fn target(
    registry: &impl Registry,
    repository: &RepositoryName,
    name: String,
    tag: Tag,
) -> Result<Listed, Problem> {
    let path = format!("/v2/{repository}/manifests/{tag}");
    let Some(head) = push::head(registry, &path).await? else {
        // It was deleted after the list had been made.
        return Ok(Listed::named(name));
    };
    let digest = head.header("docker-content-digest").and_then(|text| Digest::parse(text).ok());
    let size = head.header(CONTENT_LENGTH).and_then(|text| text.parse().ok());
    let kind = head.header(CONTENT_TYPE).map(str::to_owned);
    if let (Some(digest), Some(size)) = (digest, size) {
        let (digest, size) = (Some(digest.to_string()), Some(size));
        return Ok(Listed { digest, media_type: kind, size, ..Listed::named(name) });
    }
    let found = pull::manifest(registry, repository, &Reference::Tag(tag)).await?;
    Ok(Listed {
        digest: found.as_ref().map(|it| it.digest.to_string()),
        media_type: found.as_ref().and_then(|it| Some(it.media_type.as_ref()?.to_string())),
        size: found.map(|it| it.bytes.len() as u64),
        ..Listed::named(name)
    })
}

fn print(args: &Args, tags: &Tags<'_>, streams: &mut Streams<'_>) -> Result<(), Problem> {
    if args.format.is_json() {
        return Ok(streams.print([json(tags)?])?);
    }
    let text = |text: &Option<String>| text.clone().unwrap_or_else(unknown);
    let table = if args.long {
        let columns = ["tag", "pushed", "platforms", "digest"].map(Column::Left);
        let mut table =
            Table::new(&[columns[0], Column::Right("size"), columns[1], columns[2], columns[3]]);
        for tag in &tags.tags {
            let size = tag.total_size.map_or_else(unknown, size);
            let platforms = Some(tag.platforms.join(" ")).filter(|all| !all.is_empty());
            table.row(&[
                &tag.name,
                &size,
                &time(tag.pushed.as_deref()),
                &text(&platforms),
                &text(&tag.digest),
            ]);
        }
        table
    } else if args.digests {
        let columns = ["tag", "digest", "media type"].map(Column::Left);
        let mut table = Table::new(&[columns[0], columns[1], Column::Right("size"), columns[2]]);
        for Listed { name, digest, media_type, size, .. } in &tags.tags {
            let size = size.map_or_else(unknown, |size| size.to_string());
            table.row(&[name, &text(digest), &size, &text(media_type)]);
        }
        table
    } else {
        // One a line, for other programs.
        return Ok(streams.print(tags.tags.iter().map(|tag| harmless(&tag.name)))?);
    };
    Ok(streams.print(table.lines(streams.screen))?)
}
