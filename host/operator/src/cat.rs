//! `roadstead cat`: a manifest or a blob, byte for byte.

use crate::hash::Hash;
use crate::image::Image;
use crate::place::Location;
use crate::problem::Problem;
use crate::pull::{self, Found};
use crate::registry::{Access, Incoming, Opener, Registry};
use crate::runtime;
use crate::streams::Streams;
use crate::terminal::{harmless, is_harmful};
use http_body_util::BodyExt as _;
use roadstead_oci::{Digest, Reference};
use std::io::{self, ErrorKind};
use tokio::runtime::Builder;

/// The most bytes that are written to a terminal, which are read before one of them is shown.
///
/// Limit: bytes of a content that `cat` shows on a terminal; test: `a_terminal_gets_text_alone`.
const SHOWN: usize = 4 * 1024 * 1024;

const HELP: &str = "\
Examples:
  roadstead cat localhost:5000/team/app:1.2 | sha256sum          the digest of the manifest
  roadstead cat localhost:5000/team/app@sha256:0123... > layer.tar.gz
  roadstead cat registry.example/team/app:1.2 | jq .
  roadstead cat --directory /var/lib/registry team/app:1.2

A tag leads to its manifest. A digest is that of a manifest or of a blob; if both are there, the
manifest is written, which has the same bytes. Nothing is added and nothing changed.

A manifest is compared with its digest before it is written, a blob while it is: if it turns out to
be another, or ends early, the exit status is 1 and what was written is to be thrown away. To a
terminal, only text of up to 4 MiB is written.

Exit status: 0 all was written, or its reader had enough, as with | head; 1 it was not, 2 usage,
3 there is no such manifest or blob.";

/// Write a manifest or a blob to standard output
#[derive(clap::Args, Debug)]
#[command(after_help = HELP)]
pub struct Args {
    /// For example registry.example:5000/team/app:1.2 or ...@sha256:...; in a storage, team/app:1.2
    #[arg(value_name = "REFERENCE")]
    reference: String,
    #[command(flatten)]
    location: Location,
}

/// Writes a content, and returns the exit status. The output must report a closed pipe as an error:
/// then the rest is not read.
pub fn run(args: &Args, opener: &impl Opener, streams: &mut Streams<'_>) -> u8 {
    let result = write(args, opener, streams);
    streams.end("cat", result)
}

fn write(args: &Args, opener: &impl Opener, streams: &mut Streams<'_>) -> Result<u8, Problem> {
    let (named, image) = args.location.image(&args.reference, "cat")?;
    let user = args.location.user(&named, streams.input)?;
    let written = runtime::block_on(Builder::new_multi_thread(), async {
        let registry = args.location.open(&named, Access::Read, user, opener).await?;
        content(&registry, &image, streams).await
    })?;
    written.map_err(|problem| problem.of(&args.reference))?;
    Ok(0)
}

async fn content(
    registry: &impl Registry,
    image: &Image,
    streams: &mut Streams<'_>,
) -> Result<(), Problem> {
    let found = pull::manifest(registry, &image.name, &image.reference).await;
    let digest = match (found, &image.reference) {
        (Ok(Some(Found { bytes, .. })), _) => {
            if streams.screen.is_terminal() {
                check_text(&bytes)?;
            }
            return Ok(closed_is_fine(streams.output.write_all(&bytes), streams)?);
        }
        (Ok(None), Reference::Digest(digest)) => digest,
        (Ok(None), Reference::Tag(_)) => {
            return Err(Problem::Missing("there is no such tag".to_owned()));
        }
        (Err(problem), _) => return Err(problem.into()),
    };
    let missing = || Problem::Missing("there is no such manifest or blob".to_owned());
    if streams.screen.is_terminal() {
        let bytes = pull::small_blob(registry, &image.name, digest, SHOWN).await;
        let bytes = bytes.map_err(|problem| format!("{problem}; redirect it to a file"))?;
        let bytes = bytes.ok_or_else(missing)?;
        check_text(&bytes)?;
        return Ok(closed_is_fine(streams.output.write_all(&bytes), streams)?);
    }
    let response = pull::blob_if_there(registry, &image.name, digest).await?;
    stream(response.ok_or_else(missing)?.into_body(), digest, streams).await
}

/// Refuses what a terminal would interpret.
fn check_text(bytes: &[u8]) -> Result<(), Problem> {
    let harmful = |c: char| is_harmful(c) && !matches!(c, '\n' | '\t');
    // A carriage return alone would have the line written over.
    let is_harmless = |line: &str| !line.strip_suffix('\r').unwrap_or(line).contains(harmful);
    match std::str::from_utf8(bytes) {
        Ok(text) if text.split('\n').all(is_harmless) => Ok(()),
        _ => Err(Problem::Failed(
            "it is not text, and is not written to a terminal; redirect it to a file".to_owned(),
        )),
    }
}

/// Writes a blob as it comes, and compares it with its digest.
async fn stream(
    mut body: Incoming,
    digest: &Digest,
    streams: &mut Streams<'_>,
) -> Result<(), Problem> {
    let mut hash = Hash::of(digest.clone());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|problem| {
            format!("it ended early: {}; what was written is incomplete", harmless(&problem))
        })?;
        let Ok(piece) = frame.into_data() else { continue };
        hash.update(&piece);
        match streams.output.write_all(&piece) {
            Ok(()) => {}
            // Whoever reads has had enough, as with `| head`.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    closed_is_fine(Ok(()), streams)?;
    let wrong = |problem| format!("{problem}; what was written is not what was asked for");
    Ok(hash.verify().map_err(wrong)?)
}

/// Ends the output. A reader that has had enough is no error.
fn closed_is_fine(written: io::Result<()>, streams: &mut Streams<'_>) -> io::Result<()> {
    match written.and_then(|()| streams.output.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}
