//! `roadstead retention`: which tags expire by the policies of a registry's settings, or by those for
//! a storage that nobody serves, and why.

use crate::client::{Client, Connection};
use crate::date::with_time_of_day;
use crate::doctor::http::MAX_BODY;
use crate::image::{Image, split};
use crate::print::{self, Format};
use crate::registry::{Access, Opener, Registry, Storage};
use crate::runtime;
use crate::slices;
pub use crate::streams::Streams;
use crate::terminal::harmless;
use roadstead_bridge::retention::{ExpiringAnswer, ExpiringIn, PATH, TAG, TagAnswer};
use roadstead_oci::{Reference, RepositoryName, Tag};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;
use tokio::runtime::Builder;

/// How many seconds each request may take, without `--timeout`: all tags of a repository are
/// listed.
///
/// Limit: seconds of each request of `retention`, by default; test: none, tests have no slow server.
const DEFAULT_TIMEOUT: u64 = 300;

/// The longest `--timeout`, in seconds.
///
/// Limit: seconds of each request of `retention`, at most; test: none, it is compared with the flag.
const MAX_TIMEOUT: u64 = 3600;

/// How many answers are read, at most.
///
/// Limit: answers that `retention list` reads; test: `an_endless_list_of_tags_ends`.
const PAGES: usize = 100_000;

const HELP: &str = "\
Examples:
  roadstead retention list localhost:5000
  roadstead retention list --config /etc/roadstead/config.yml
  roadstead retention explain registry.example/team/app:1.2
  roadstead retention explain --config /etc/roadstead/config.yml team/app:1.2

`list` names the tags that the next run of garbage collection removes, and `explain` says of one
which rules keep it or not. Nothing changes. A storage is looked at with the policies of the
configuration file, or with --directory those of the environment.

Exit status: 0 said, 1 the registry did not say, 2 usage; of explain, 3 there is no such tag.";

/// Show which tags expire, and why
#[derive(clap::Args, Debug)]
#[command(after_help = HELP)]
pub struct Args {
    #[command(subcommand)]
    question: Question,
}

#[derive(clap::Subcommand, Debug)]
enum Question {
    /// List the tags that the next run of garbage collection removes
    List {
        /// For example registry.example:5000
        #[arg(value_name = "REGISTRY", required_unless_present_any = ["directory", "config"],
            conflicts_with_all = ["directory", "config"])]
        registry: Option<String>,
        #[command(flatten)]
        place: Place,
    },
    /// Say why a tag expires, or is kept
    Explain {
        /// For example registry.example:5000/team/app:1.2; in a storage, team/app:1.2
        #[arg(value_name = "TARGET")]
        target: String,
        #[command(flatten)]
        place: Place,
    },
}

/// Where the question is asked, and how it is answered.
#[derive(clap::Args, Debug)]
struct Place {
    /// Look at this data directory
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "config")]
    directory: Option<PathBuf>,
    /// Look at the storage of this configuration file
    #[arg(long, value_name = "config.yml")]
    config: Option<PathBuf>,
    #[command(flatten)]
    format: Format,
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

/// What is asked, of which registry unless it is in a storage.
enum Asked<'a> {
    List(&'a str),
    Explain(&'a str, RepositoryName, Tag),
}

impl Place {
    /// The storage, unless a registry is asked.
    fn storage(&self) -> Option<Storage> {
        let directory = self.directory.clone().map(Storage::Directory);
        directory.or_else(|| self.config.clone().map(Storage::Config))
    }
}

impl Question {
    fn place(&self) -> &Place {
        match self {
            Self::List { place, .. } | Self::Explain { place, .. } => place,
        }
    }

    fn asked(&self) -> Result<Asked<'_>, String> {
        let (target, place) = match self {
            Self::List { registry, .. } => {
                return Ok(Asked::List(registry.as_deref().unwrap_or_default()));
            }
            Self::Explain { target, place } => (target, place),
        };
        let (registry, rest) = match place.storage() {
            Some(_) => ("", target.as_str()),
            None => split(target, "retention explain")?,
        };
        match Image::parse(rest, target)? {
            Image { name, reference: Reference::Tag(tag) } => {
                Ok(Asked::Explain(registry, name, tag))
            }
            Image { name, .. } => Err(format!("a digest is no tag; give one, as in {name}:1.2")),
        }
    }
}

/// Answers a question, prints that, and returns the exit status.
pub fn run(args: &Args, opener: &impl Opener, streams: &mut Streams<'_>) -> u8 {
    let place = args.question.place();
    let asked = match args.question.asked() {
        Ok(asked) => asked,
        Err(problem) => return say(streams, &problem, status::USAGE),
    };
    let user = match place.connection.credentials_for(place.storage().as_ref(), streams.input) {
        Ok(user) => user,
        Err(problem) => return say(streams, &problem, status::USAGE),
    };
    let limit = Duration::from_secs(place.timeout);
    let said = runtime::block_on(Builder::new_multi_thread(), async {
        if let Some(storage) = place.storage() {
            let registry = opener.open(&storage, Access::Read).await;
            let registry = registry.map_err(|error| format!("{error:#}"))?;
            return answer(&registry, &asked, place.format.is_json()).await;
        }
        let (Asked::List(at) | Asked::Explain(at, ..)) = &asked;
        let client = Client::new(at, &place.connection, user, limit)?;
        answer(&client, &asked, place.format.is_json()).await
    });
    let (text, status) = match said {
        Ok(Ok(said)) => said,
        Ok(Err(problem)) => return say(streams, &problem, status::FAILED),
        Err(error) => return say(streams, &error.to_string(), status::FAILED),
    };
    match writeln!(streams.output, "{text}").and_then(|()| streams.output.flush()) {
        Ok(()) => status,
        Err(error) => say(streams, &error.to_string(), status::FAILED),
    }
}

/// What is printed, and the exit status.
async fn answer(
    registry: &impl Registry,
    asked: &Asked<'_>,
    as_json: bool,
) -> Result<(String, u8), String> {
    match asked {
        Asked::List(_) => {
            let (dry_run, all) = list(registry).await?;
            if !as_json {
                return Ok((listed(dry_run, &all), 0));
            }
            let all = json!({ "dry_run": dry_run, "repositories": all });
            Ok((print::json(&in_camel_case(all))?, 0))
        }
        Asked::Explain(_, name, tag) => {
            let answer: TagAnswer = get(registry, &format!("/v2/{name}{TAG}{tag}")).await?;
            let status = if answer.pushed.is_some() { 0 } else { status::NOTHING };
            let text = if as_json {
                let answer = serde_json::to_value(&answer).map_err(|error| error.to_string())?;
                print::json(&in_camel_case(answer))?
            } else {
                explained(&format!("{name}:{tag}"), &answer)
            };
            Ok((text, status))
        }
    }
}

/// Properties named as in the JSON of other commands: `dryRun` for the API's `dry_run`.
fn in_camel_case(value: Value) -> Value {
    let name = |name: &str| {
        let mut parts = name.split('_');
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |name, part| {
            let (initial, rest) = part.split_at(part.len().min(1));
            name + &initial.to_ascii_uppercase() + rest
        })
    };
    match value {
        Value::Array(items) => items.into_iter().map(in_camel_case).collect(),
        Value::Object(all) => {
            all.into_iter().map(|(key, value)| (name(&key), in_camel_case(value))).collect()
        }
        value => value,
    }
}

/// All tags that expire, and whether runs only look.
async fn list(registry: &impl Registry) -> Result<(bool, Vec<ExpiringIn>), String> {
    let (mut all, mut path): (Vec<ExpiringIn>, _) = (Vec::new(), PATH.to_owned());
    for _ in 0..PAGES {
        let page: ExpiringAnswer = get(registry, &path).await?;
        for found in page.repositories {
            match all.last_mut().filter(|last| last.name == found.name) {
                Some(last) => last.tags.extend(found.tags),
                None => all.push(found),
            }
        }
        let Some(next) = page.next else { return Ok((page.dry_run, all)) };
        // Neither names nor tags need escaping.
        let next = format!("{PATH}?last={next}");
        if next == path {
            break;
        }
        path = next;
    }
    Err("the registry's answer does not end".to_owned())
}

async fn get<T: DeserializeOwned>(registry: &impl Registry, path: &str) -> Result<T, String> {
    let answer = slices::question(registry, path, MAX_BODY, "say which tags expire").await;
    answer.map_err(|error| format!("{error:#}"))
}

/// The list in words.
fn listed(dry_run: bool, all: &[ExpiringIn]) -> String {
    let mut lines = Vec::new();
    for found in all {
        if found.passed_over {
            lines.push(format!("{} keeps its tags: it has too many to be looked at", found.name));
        }
        for tag in &found.tags {
            let pulled = tag.pulled.map(|pulled| format!(", pulled {}", time(pulled)));
            lines.push(format!(
                "{}:{}  pushed {}{}",
                found.name,
                tag.tag,
                time(tag.pushed),
                pulled.unwrap_or_default()
            ));
        }
    }
    if lines.is_empty() {
        lines.push("no tag expires".to_owned());
    } else if dry_run {
        lines.push("they stay, as policy.retention.dryrun is set".to_owned());
    }
    lines.iter().map(|line| harmless(line)).collect::<Vec<_>>().join("\n")
}

/// What is decided of a tag, in words.
fn explained(tag: &str, answer: &TagAnswer) -> String {
    let verdict = match (answer.expires, answer.dry_run) {
        (true, false) => "expires with the next run of garbage collection",
        (true, true) => "expires, and stays, as policy.retention.dryrun is set",
        (false, _) if answer.pushed.is_some() => "stays",
        (false, _) => "is not there",
    };
    let mut lines = vec![format!("{tag} {verdict}: {}", answer.reason)];
    lines.extend(answer.policy.iter().map(|policy| format!("policy {policy}")));
    lines.extend(answer.rules.iter().map(|rule| format!("  {rule}")));
    for (what, at) in [
        ("pushed", answer.pushed),
        ("pulled last, to the day", answer.pulled),
        ("pulls are recorded since", answer.recorded),
    ] {
        lines.extend(at.map(|at| format!("{what}: {}", time(at))));
    }
    if let Some(removed) = &answer.removed {
        lines.push(format!("removed: {}, by run {}", time(removed.at), removed.run));
        lines.push(format!("it led to {}", removed.digest));
        lines.push(format!("roadstead gc --undo {} brings it back, for some days", removed.run));
    }
    lines.iter().map(|line| harmless(line)).collect::<Vec<_>>().join("\n")
}

fn time(seconds: u64) -> String {
    with_time_of_day(i64::try_from(seconds).unwrap_or(i64::MAX))
}

fn say(streams: &mut Streams<'_>, problem: &str, status: u8) -> u8 {
    streams.say("retention", problem);
    status
}

#[cfg(test)]
mod tests {
    use super::{explained, listed};
    use roadstead_bridge::retention::{ExpiringIn, ExpiringTag, RemovedTag, TagAnswer};

    #[test]
    fn lists_in_words() {
        assert_eq!(listed(true, &[]), "no tag expires");
        let tag = ExpiringTag { tag: "v1".to_owned(), pushed: 0, pulled: Some(0) };
        let found = ExpiringIn { name: "a".to_owned(), tags: vec![tag], ..ExpiringIn::default() };
        let many = ExpiringIn { name: "b".into(), passed_over: true, ..ExpiringIn::default() };
        let said = listed(true, &[found, many]);
        let time = "Thu, 01 Jan 1970 00:00:00 GMT";
        assert!(
            said.starts_with(&format!("a:v1  pushed {time}, pulled {time}\nb keeps")),
            "{said}"
        );
        assert!(said.ends_with("\nthey stay, as policy.retention.dryrun is set"), "{said}");
    }

    #[test]
    fn reasons_in_words() {
        let kept = TagAnswer {
            reason: "why".to_owned(),
            policy: Some("1 (a)".to_owned()),
            rules: vec!["a rule".to_owned()],
            pushed: Some(0),
            recorded: Some(0),
            ..TagAnswer::default()
        };
        let said = explained("a:v1", &kept);
        let expected =
            "a:v1 stays: why\npolicy 1 (a)\n  a rule\npushed: Thu, 01 Jan 1970 00:00:00 GMT";
        assert!(said.starts_with(expected) && said.contains("recorded since: Thu"), "{said}");
        let expires = TagAnswer { expires: true, ..kept.clone() };
        assert!(explained("a:v1", &expires).starts_with("a:v1 expires with the next run"));
        let dry = TagAnswer { dry_run: true, ..expires };
        assert!(explained("a:v1", &dry).starts_with("a:v1 expires, and stays"));
        let removed = Some(RemovedTag { run: "7".to_owned(), ..RemovedTag::default() });
        let said = explained("a:v1", &TagAnswer { pushed: None, removed, ..kept });
        assert!(said.starts_with("a:v1 is not there: why"), "{said}");
        assert!(said.ends_with("roadstead gc --undo 7 brings it back, for some days"), "{said}");
    }
}
