//! `roadstead inspect`: what a tag or a digest leads to.

mod tree;

use crate::described::{Described, ENTRIES, Reader};
use crate::image::Image;
use crate::place::Location;
use crate::print::{Format, json};
use crate::problem::Problem;
use crate::pull;
use crate::registry::{Access, Opener, Registry};
use crate::runtime;
use crate::streams::Streams;
use crate::views;
use roadstead_oci::{Descriptor, RepositoryName};
use serde::Serialize;
use tokio::runtime::Builder;

const HELP: &str = "\
Examples:
  roadstead inspect localhost:5000/team/app:1.2
  roadstead inspect registry.example/team/app@sha256:0123...
  roadstead inspect -o json registry.example/team/app:1.2 | jq '.manifests[].platform'
  roadstead inspect --directory /var/lib/registry team/app:1.2

The manifest, and of an index all that it lists: platforms, the summary of configurations, layers
with their sizes and the commands that made them, annotations, and what refers to it (signatures,
SBOMs). Sizes are those that manifests say; no layer is read. What is wrong with a part is said
there, and the rest is shown. Roadstead says too when it was pushed, which tags lead to it, and
whether a rule makes one of them immutable.

JSON (-o json) has the same, and long texts uncut: docs/commands.md describes it.

Exit status: 0 shown, 1 the registry did not say, 2 usage, 3 there is no such manifest.";

/// Show what a tag or a digest leads to: platforms, layers, configuration, referrers
#[derive(clap::Args, Debug)]
#[command(after_help = HELP)]
pub struct Args {
    /// For example registry.example:5000/team/app:1.2; in a storage, team/app:1.2
    #[arg(value_name = "REFERENCE")]
    reference: String,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    location: Location,
}

/// All that is printed.
#[derive(Serialize, Debug)]
struct Inspected<'a> {
    reference: &'a str,
    repository: &'a RepositoryName,
    #[serde(flatten)]
    image: Described,
    #[serde(flatten)]
    stored: Stored,
    /// None where the registry did not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    referrers: Option<Vec<Descriptor>>,
}

/// What only this registry says of a manifest.
#[derive(Serialize, Debug, Default)]
#[serde(rename_all = "camelCase")]
struct Stored {
    #[serde(skip_serializing_if = "Option::is_none")]
    pushed: Option<String>,
    /// Those that lead to it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    /// Whether there may be more of them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    tags_incomplete: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    immutable: bool,
}

/// Prints what a reference leads to, and returns the exit status.
pub fn run(args: &Args, opener: &impl Opener, streams: &mut Streams<'_>) -> u8 {
    let result = inspect(args, opener, streams);
    streams.end("inspect", result)
}

fn inspect(args: &Args, opener: &impl Opener, streams: &mut Streams<'_>) -> Result<u8, Problem> {
    let (named, image) = args.location.image(&args.reference, "inspect")?;
    let user = args.location.user(&named, streams.input)?;
    let read = runtime::block_on(Builder::new_multi_thread(), async {
        let registry = args.location.open(&named, Access::Read, user, opener).await?;
        read(&registry, &image).await
    })?;
    let (described, stored, referrers) = read.map_err(|problem| problem.of(&args.reference))?;
    let inspected = Inspected {
        reference: &args.reference,
        repository: &image.name,
        image: described,
        stored,
        referrers,
    };
    if args.format.is_json() {
        streams.print([json(&inspected)?])?;
    } else {
        streams.print(tree::lines(&inspected, streams.screen))?;
    }
    Ok(0)
}

async fn read(
    registry: &impl Registry,
    image: &Image,
) -> Result<(Described, Stored, Option<Vec<Descriptor>>), Problem> {
    let found = pull::manifest(registry, &image.name, &image.reference).await?;
    let missing = || Problem::Missing("there is no such tag or manifest".to_owned());
    let found = found.ok_or_else(missing)?;
    let mut described = Reader::new(registry, &image.name).describe(&found).await;
    // What is there is shown without them too.
    let referrers = pull::referrers_or_tagged(registry, &image.name, &found.digest, ENTRIES).await;
    let referrers = match referrers {
        Ok(mut referrers) => {
            if referrers.len() > ENTRIES {
                described.mind(format!("it has more than {ENTRIES} referrers: more are not shown"));
                referrers.truncate(ENTRIES);
            }
            Some(referrers)
        }
        Err(problem) => {
            described.mind(format!("its referrers: {problem}"));
            None
        }
    };
    let stored = match views::image(registry, &image.name, image.reference.as_ref()).await {
        // Unless the tag was moved meanwhile.
        Ok(Some(view)) if view.digest == described.digest => Stored {
            pushed: view.pushed,
            tags: view.tags,
            tags_incomplete: !view.tags_complete,
            immutable: view.immutable,
        },
        Ok(_) => Stored::default(),
        Err(problem) => {
            described.mind(format!("its tags: {problem}"));
            Stored::default()
        }
    };
    Ok((described, stored, referrers))
}
