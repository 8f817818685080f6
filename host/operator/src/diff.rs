//! `roadstead diff`: what two images have in common, and what not.

mod compare;
mod text;

use crate::described::{Described, Reader};
use crate::image::Image;
use crate::place::{Location, Named, Place};
use crate::platform::Platform;
use crate::print::{Format, json};
use crate::problem::{Problem, status};
use crate::pull;
use crate::registry::{Access, Opener, Registry};
use crate::runtime;
use crate::streams::Streams;
use compare::Difference;
use serde::Serialize;
use std::collections::BTreeSet;
use tokio::runtime::Builder;

const HELP: &str = "\
Examples:
  roadstead diff localhost:5000/team/app:1.2 localhost:5000/team/app:1.3
  roadstead diff --platform linux/arm64 docker.io/library/alpine:3.20 localhost:5000/alpine:3.20
  roadstead diff -o json localhost:5000/team/app:1.2 localhost:5000/team/app:1.3 | jq .config
  roadstead diff --directory /var/lib/registry team/app:1.2 team/app:1.3

Layers that both have, and those of one alone (- of the first, + of the second); what differs in the
configuration: environment, entrypoint, command, user, labels, ports and the like; and of indexes
which platforms they have, with the same for each. No layer is read.

Exit status: 0 both are the same manifest, 1 a registry did not say, 2 usage, 3 they differ or one
is not there: then there is no output.";

/// Compare two images: layers, configuration, platforms
#[derive(clap::Args, Debug)]
#[command(after_help = HELP)]
pub struct Args {
    /// For example registry.example:5000/team/app:1.2; in a storage, team/app:1.2
    #[arg(value_name = "A")]
    a: String,
    /// The other one, of the same registry or another
    #[arg(value_name = "B")]
    b: String,
    /// Of indexes, compare only the images for this platform
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<Platform>,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    location: Location,
}

/// One of the two.
#[derive(Serialize, Debug)]
#[serde(rename_all = "camelCase")]
struct Side<'a> {
    reference: &'a str,
    digest: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    media_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
}

/// All that is printed.
#[derive(Serialize, Debug)]
struct Compared<'a> {
    a: Side<'a>,
    b: Side<'a>,
    /// Whether both are the same manifest.
    same: bool,
    #[serde(flatten)]
    difference: Difference,
}

impl<'a> Side<'a> {
    fn new(reference: &'a str, image: &Described) -> Self {
        Self {
            reference,
            digest: image.digest.clone(),
            media_type: image.media_type.clone(),
            size: image.size,
        }
    }
}

/// Prints how two images differ, and returns the exit status.
pub fn run(args: &Args, opener: &impl Opener, streams: &mut Streams<'_>) -> u8 {
    let result = diff(args, opener, streams);
    streams.end("diff", result)
}

fn diff(args: &Args, opener: &impl Opener, streams: &mut Streams<'_>) -> Result<u8, Problem> {
    let first = args.location.image(&args.a, "diff")?;
    let second = args.location.image(&args.b, "diff")?;
    let user = args.location.user_of_both([&first.0, &second.0], streams.input)?;
    let (a, b) = runtime::block_on(Builder::new_multi_thread(), async {
        let open = async |named: &Named| {
            args.location.open(named, Access::Read, user.clone(), opener).await
        };
        let one = open(&first.0).await.map_err(|problem| problem.of(&args.a))?;
        let a = read(args, &one, &first.1).await.map_err(|problem| problem.of(&args.a))?;
        let other = if first.0 == second.0 { one } else { open(&second.0).await? };
        let b = read(args, &other, &second.1).await.map_err(|problem| problem.of(&args.b))?;
        Ok::<_, Problem>((a, b))
    })??;
    let same = a.digest == b.digest;
    let sides = (Side::new(&args.a, &a), Side::new(&args.b, &b));
    let compared =
        Compared { a: sides.0, b: sides.1, same, difference: Difference::between(&a, &b) };
    if args.format.is_json() {
        streams.print([json(&compared)?])?;
    } else {
        streams.print(text::lines(&compared, streams.screen))?;
    }
    Ok(if same { 0 } else { status::MISSING })
}

/// All that a reference leads to, or the image of it for the platform that is asked for.
async fn read<R: Registry>(
    args: &Args,
    registry: &Place<R>,
    image: &Image,
) -> Result<Described, Problem> {
    let found = pull::manifest(registry, &image.name, &image.reference).await?;
    let missing = || Problem::Missing("there is no such tag or manifest".to_owned());
    let all = Reader::new(registry, &image.name).describe(&found.ok_or_else(missing)?).await;
    let Some(platform) = &args.platform else { return Ok(all) };
    let is_meant = |it: &Described| it.runs_on.as_ref().is_some_and(|it| platform.means(it));
    if is_meant(&all) {
        return Ok(all);
    }
    let mut children: Vec<_> = all.manifests.into_iter().filter(is_meant).collect();
    if children.len() > 1 {
        let found = children.iter().filter_map(|it| it.platform.as_deref());
        let found: BTreeSet<&str> = found.collect();
        let found: Vec<&str> = found.into_iter().collect();
        return Err(Problem::Failed(format!(
            "{} images of it are for {platform}: {}; name a variant, or an image by its digest",
            children.len(),
            found.join(", ")
        )));
    }
    let missing = || Problem::Missing(format!("no image of it is for {platform}"));
    children.pop().ok_or_else(missing)
}
