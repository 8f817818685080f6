//! `roadstead ls`: the repositories of a registry, or of a storage.

use crate::gc::summary::size;
use crate::place::{Location, Named};
use crate::print::{Column, Format, Table, json, time, unknown};
use crate::problem::Problem;
use crate::pull;
use crate::registry::{Access, Opener, Registry};
use crate::runtime;
use crate::streams::Streams;
use crate::terminal::harmless;
use crate::views::{self, RepositoryView, literal};
use futures::StreamExt as _;
use futures::stream;
use glob::{MatchOptions, Pattern};
use roadstead_oci::RepositoryName;
use serde::Serialize;
use tokio::runtime::Builder;

/// How many lists of tags are asked for at a time.
///
/// Limit: requests of `ls` and `tags` at a time; test: none, others wait.
pub(crate) const PARALLEL: usize = 4;

/// `*` stays within a part of a name; `**` does not.
pub(crate) const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

const HELP: &str = "\
Examples:
  roadstead ls localhost:5000                       all repositories
  roadstead ls localhost:5000/team                  team, and all below it
  roadstead ls --tags registry.example 'team/*'     with the number of their tags
  roadstead ls --long registry.example team         with tags, size and last push
  roadstead ls -o json registry.example | jq -r '.repositories[].name'
  roadstead ls /var/lib/registry
  roadstead ls --config /etc/roadstead/config.yml 'team/**'

A prefix such as team means the repository team and all below it. In a pattern, * stays within a
part of a name and ** does not; quote it for the shell.

The list is that of GET /v2/_catalog: with a login, of the repositories that the user may see. Public
registries such as Docker Hub have none. With --long, Roadstead says in a few answers what repositories
hold; other registries are asked for the tags of each, and say neither size nor last push.

Exit status: 0 done, 1 the registry did not say, 2 usage.";

/// List repositories
#[derive(clap::Args, Debug)]
#[command(after_help = HELP)]
pub struct Args {
    /// For example registry.example:5000 or registry.example:5000/team, a data directory or a
    /// configuration file
    #[arg(value_name = "TARGET")]
    target: Option<String>,
    /// Only repositories that are this or below it, as team, or match it, as 'team/*'
    #[arg(value_name = "PATTERN")]
    patterns: Vec<String>,
    /// Count the tags of each, with a request for each repository
    #[arg(long)]
    tags: bool,
    /// Add what each holds: tags, bytes of all that they lead to, and the time of the last push
    #[arg(long, short = 'l')]
    long: bool,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    location: Location,
}

/// Which repositories are wanted.
#[derive(Debug)]
pub(crate) enum Filter {
    /// This one, and those below it.
    Prefix(String),
    Matching(Pattern),
}

/// What is asked of each repository.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Detail {
    Name,
    Tags,
    All,
}

impl Filter {
    /// Reads one of the command line.
    ///
    /// # Errors
    /// When it is a malformed pattern.
    pub(crate) fn parse(text: &str) -> Result<Self, Problem> {
        if !text.contains(['*', '?', '[']) {
            return Ok(Self::Prefix(text.trim_end_matches('/').to_owned()));
        }
        Pattern::new(text)
            .map(Self::Matching)
            .map_err(|error| Problem::Usage(format!("{text} is no pattern: {error}")))
    }

    /// A text that all names have that it means.
    fn literal(&self) -> &str {
        match self {
            Self::Prefix(prefix) => literal(prefix),
            Self::Matching(pattern) => literal(pattern.as_str()),
        }
    }

    fn means(&self, name: &str) -> bool {
        match self {
            Self::Prefix(prefix) => name
                .strip_prefix(prefix.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
            Self::Matching(pattern) => pattern.matches_with(name, OPTIONS),
        }
    }
}

/// A repository, as it is printed.
#[derive(Serialize, Debug, Default)]
struct Repository {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pushed: Option<String>,
    /// Whether there may be more than is said.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    incomplete: bool,
}

impl From<RepositoryView> for Repository {
    fn from(view: RepositoryView) -> Self {
        let RepositoryView { name, tags, size, pushed, complete, .. } = view;
        Self { name, tags, size, pushed, incomplete: !complete }
    }
}

/// All that is printed.
#[derive(Serialize, Debug)]
struct Listed {
    repositories: Vec<Repository>,
}

/// Prints repositories, and returns the exit status.
pub fn run(args: &Args, opener: &impl Opener, streams: &mut Streams<'_>) -> u8 {
    let result = list(args, opener, streams);
    streams.end("ls", result)
}

/// Where to look, and for what.
fn asked(args: &Args) -> Result<(Named, Vec<Filter>), Problem> {
    let mut filters = Vec::new();
    let named = match (args.location.storage(), &args.target) {
        (Some(storage), first) => {
            filters.extend(first.iter().map(|it| Filter::parse(it)));
            Named::Storage(storage)
        }
        (None, Some(target)) => {
            let (named, path) = Named::of_whole(target)?;
            filters.extend((!path.is_empty()).then(|| Filter::parse(path)));
            named
        }
        (None, None) => {
            return Err(Problem::Usage(
                "name a registry, such as registry.example:5000, or a storage with --directory or \
                 --config"
                    .to_owned(),
            ));
        }
    };
    filters.extend(args.patterns.iter().map(|it| Filter::parse(it)));
    Ok((named, filters.into_iter().collect::<Result<_, _>>()?))
}

fn list(args: &Args, opener: &impl Opener, streams: &mut Streams<'_>) -> Result<u8, Problem> {
    let (named, filters) = asked(args)?;
    let detail = match args {
        Args { long: true, .. } => Detail::All,
        Args { tags: true, .. } => Detail::Tags,
        _ => Detail::Name,
    };
    let user = args.location.user(&named, streams.input)?;
    let repositories = runtime::block_on(Builder::new_multi_thread(), async {
        let registry = args.location.open(&named, Access::Read, user, opener).await?;
        read(&registry, &filters, detail).await
    })??;
    if args.format.is_json() {
        streams.print([json(&Listed { repositories })?])?;
        return Ok(0);
    }
    if detail == Detail::Name {
        // One a line, for other programs.
        let lines = repositories.iter().map(|it| harmless(&it.name));
        streams.print(lines)?;
    } else {
        streams.print(table(&repositories, detail).lines(streams.screen))?;
    }
    Ok(0)
}

fn table(repositories: &[Repository], detail: Detail) -> Table {
    let mut columns = vec![Column::Left("repository"), Column::Right("tags")];
    if detail == Detail::All {
        columns.extend([Column::Right("size"), Column::Left("last push")]);
    }
    let mut table = Table::new(&columns);
    for it in repositories {
        let tags = it.tags.map_or_else(unknown, |tags| tags.to_string());
        let tags = if it.incomplete && it.size.is_some() { format!(">={tags}") } else { tags };
        let size = it.size.map_or_else(unknown, size);
        let pushed = time(it.pushed.as_deref());
        let cells = [&it.name, &tags, &size, &pushed].map(String::as_str);
        table.row(cells.get(..columns.len()).unwrap_or_default());
    }
    table
}

async fn read(
    registry: &impl Registry,
    filters: &[Filter],
    detail: Detail,
) -> Result<Vec<Repository>, Problem> {
    let is_meant = |name: &str| filters.is_empty() || filters.iter().any(|it| it.means(name));
    if detail == Detail::All {
        let text = if let [filter] = filters { filter.literal() } else { "" };
        if let Some(mut views) = views::repositories(registry, text).await? {
            views.retain(|view| is_meant(&view.name));
            views.sort_unstable_by(|a, b| a.name.cmp(&b.name));
            views.dedup_by(|a, b| a.name == b.name);
            return Ok(views.into_iter().map(Repository::from).collect());
        }
    }
    let names = pull::repositories(registry).await?.ok_or_else(|| {
        "this registry does not list its repositories; name one: roadstead tags REPOSITORY"
            .to_owned()
    })?;
    let mut names: Vec<String> = names.into_iter().filter(|name| is_meant(name)).collect();
    names.sort_unstable();
    names.dedup();
    let counted = async |name: String| {
        let tags = match RepositoryName::parse(&name) {
            Ok(repository) if detail != Detail::Name => {
                Some(pull::tags(registry, &repository).await?.map_or(0, |tags| tags.len()))
            }
            _ => None,
        };
        Ok::<_, Problem>(Repository { name, tags, ..Repository::default() })
    };
    let mut answers = stream::iter(names).map(counted).buffered(PARALLEL);
    let mut repositories = Vec::new();
    while let Some(repository) = answers.next().await {
        repositories.push(repository?);
    }
    Ok(repositories)
}

#[cfg(test)]
mod tests {
    use super::Filter;

    #[test]
    fn prefixes_and_patterns() {
        for (filter, name, expected) in [
            ("team", "team", true),
            ("team/", "team/app", true),
            ("team", "teams", false),
            ("team/*", "team/app", true),
            ("team/*", "team/app/base", false),
            ("team/**", "team/app/base", true),
            ("t?am", "team", true),
        ] {
            assert_eq!(Filter::parse(filter).unwrap().means(name), expected, "{filter} {name}");
        }
        assert!(Filter::parse("team/[").unwrap_err().text().contains("no pattern"));
    }
}
