//! `roadstead tag`: further tags for a manifest that is there. No content is moved.

use crate::image::Image;
use crate::place::Location;
use crate::print::{Format, json};
use crate::problem::Problem;
use crate::registry::{Access, Opener, Registry};
use crate::runtime;
use crate::streams::Streams;
use crate::{pull, push};
use roadstead_oci::{MediaType, Reference, Tag};
use serde::Serialize;
use serde_json::Value;
use tokio::runtime::Builder;

const HELP: &str = "\
Examples:
  roadstead tag localhost:5000/team/app:1.2.3 1.2 1 latest
  roadstead tag localhost:5000/team/app@sha256:0123... stable
  roadstead tag --directory /var/lib/registry team/app:1.2.3 latest

The manifest is pushed again, byte for byte, under each tag; it keeps its digest, and no layer is
moved. A tag that is there leads to this manifest from then on. For another repository or registry:
roadstead cp.

A directory that a registry serves is refused: give that registry's URL.

Exit status: 0 all tags are there, 1 one could not be made, 2 usage, 3 there is no such manifest.";

/// Give a manifest further tags
#[derive(clap::Args, Debug)]
#[command(after_help = HELP)]
pub struct Args {
    /// For example registry.example:5000/team/app:1.2; in a storage, team/app:1.2
    #[arg(value_name = "REFERENCE")]
    reference: String,
    /// The new tags, such as latest
    #[arg(value_name = "TAG", required = true)]
    tags: Vec<String>,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    location: Location,
}

/// What was done, as it is printed.
#[derive(Serialize, Debug)]
#[serde(rename_all = "camelCase")]
struct Tagged {
    repository: String,
    digest: String,
    media_type: String,
    tags: Vec<String>,
}

/// Makes tags, and returns the exit status.
pub fn run(args: &Args, opener: &impl Opener, streams: &mut Streams<'_>) -> u8 {
    let result = tag(args, opener, streams);
    streams.end("tag", result)
}

fn tag(args: &Args, opener: &impl Opener, streams: &mut Streams<'_>) -> Result<u8, Problem> {
    let (named, image) = args.location.image(&args.reference, "tag")?;
    let parse = |text: &String| {
        Tag::parse(text).map_err(|error| {
            Problem::Usage(format!(
                "{text}: {error}; give a tag alone, such as latest, or use roadstead cp"
            ))
        })
    };
    // Nothing is done if one of them is a mistake.
    let tags: Vec<Tag> = args.tags.iter().map(parse).collect::<Result<_, _>>()?;
    let user = args.location.user(&named, streams.input)?;
    let done = runtime::block_on(Builder::new_multi_thread(), async {
        let registry = args.location.open(&named, Access::Write, user, opener).await?;
        push_under(&registry, &image, &tags).await
    })?;
    let (tagged, problem) = done.map_err(|problem| problem.of(&args.reference))?;
    if args.format.is_json() {
        streams.print([json(&tagged)?])?;
    } else {
        let Tagged { repository, digest, tags, .. } = &tagged;
        streams.print(tags.iter().map(|tag| format!("{repository}:{tag} is {digest}")))?;
    }
    problem.map_or(Ok(0), |problem| Err(Problem::Failed(problem).of(&args.reference)))
}

/// What was done, until there was a problem.
async fn push_under(
    registry: &impl Registry,
    image: &Image,
    tags: &[Tag],
) -> Result<(Tagged, Option<String>), Problem> {
    let found = pull::manifest(registry, &image.name, &image.reference).await?;
    let missing = || Problem::Missing("there is no such tag or manifest".to_owned());
    let found = found.ok_or_else(missing)?;
    let own = || {
        let json: Value = serde_json::from_slice(&found.bytes).ok()?;
        MediaType::parse(json["mediaType"].as_str()?).ok()
    };
    let unknown = || "the registry does not say the media type of the manifest".to_owned();
    let media_type = found.media_type.clone().or_else(own).ok_or_else(unknown)?;
    let mut tagged = Tagged {
        repository: image.name.to_string(),
        digest: found.digest.to_string(),
        media_type: media_type.to_string(),
        tags: Vec::new(),
    };
    for tag in tags {
        let reference = Reference::Tag(tag.clone());
        let pushed =
            push::manifest(registry, &image.name, &reference, &media_type, found.bytes.clone());
        match pushed.await {
            Ok(()) => tagged.tags.push(tag.to_string()),
            Err(problem) => {
                return Ok((tagged, Some(format!("the tag {tag} was not made: {problem}"))));
            }
        }
    }
    Ok((tagged, None))
}
