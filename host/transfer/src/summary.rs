//! What became of a transfer, for people and for archives.

use crate::progress::bytes;
use roadstead_oci::Digest;
use roadstead_operator::terminal::harmless;
use roadstead_operator::{Streams, print};
use serde::Serialize;
use std::fmt;
use std::path::PathBuf;

/// What became of an image.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Outcome {
    /// The repository, and a tag or a digest.
    pub(crate) image: String,
    /// Its manifest.
    pub(crate) digest: Option<String>,
    /// What became of it.
    pub(crate) result: Result,
    /// Why it was not transferred.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) problem: Option<String>,
    /// The content that is missing, if that is why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) missing: Option<Digest>,
}

/// Why a content, or an image, was not transferred.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Problem {
    /// This content is neither in the source nor in the target.
    Missing(Digest),
    /// Anything else.
    Other(String),
}

impl From<String> for Problem {
    fn from(problem: String) -> Self {
        Self::Other(problem)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(digest) => write!(f, "{digest} is missing"),
            Self::Other(problem) => f.write_str(problem),
        }
    }
}

/// What became of an image, in a word.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Result {
    /// It was transferred.
    Copied,
    /// It was there, and the tag was not, or led elsewhere.
    Tagged,
    /// It was there.
    Unchanged,
    /// It was not transferred.
    Failed,
}

impl Outcome {
    /// `copied` says whether the manifest was not there; the result is whether a tag was
    /// written.
    pub(crate) fn new(
        image: String,
        digest: &Digest,
        copied: bool,
        result: std::result::Result<bool, Problem>,
    ) -> Self {
        let (result, problem) = match result {
            Err(problem) => (Result::Failed, Some(problem)),
            Ok(_) if copied => (Result::Copied, None),
            Ok(true) => (Result::Tagged, None),
            Ok(false) => (Result::Unchanged, None),
        };
        let missing = match &problem {
            Some(Problem::Missing(digest)) => Some(digest.clone()),
            _ => None,
        };
        let problem = problem.as_ref().map(ToString::to_string);
        Self { image, digest: Some(digest.to_string()), result, problem, missing }
    }

    /// An image that could not even be read.
    pub(crate) fn failed(image: String, problem: String) -> Self {
        let problem = Some(problem);
        Self { image, digest: None, result: Result::Failed, problem, missing: None }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.problem, self.result) {
            (Some(problem), _) => write!(f, "{}: failed: {problem}", self.image),
            (None, Result::Copied) => write!(f, "{}: copied", self.image),
            (None, Result::Tagged) => write!(f, "{}: tagged", self.image),
            (None, _) => write!(f, "{}: unchanged", self.image),
        }
    }
}

/// How much was done.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Totals {
    /// Blobs that were sent.
    pub(crate) blobs: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Blobs that were mounted from another repository.
    pub(crate) mounted: u64,
    /// Blobs that were there.
    pub(crate) blobs_there: u64,
    /// Manifests that were sent.
    pub(crate) manifests: u64,
    /// Manifests that were there, with all that they lead to.
    pub(crate) manifests_there: u64,
}

impl Totals {
    /// Adds those of another transfer.
    pub(crate) fn add(&mut self, other: &Self) {
        self.blobs += other.blobs;
        self.bytes += other.bytes;
        self.mounted += other.mounted;
        self.blobs_there += other.blobs_there;
        self.manifests += other.manifests;
        self.manifests_there += other.manifests_there;
    }

    /// Counts a blob: its bytes, if it was sent.
    pub(crate) fn blob(&mut self, sent: Option<u64>) {
        match sent {
            Some(size) => {
                self.blobs += 1;
                self.bytes += size;
            }
            None => self.blobs_there += 1,
        }
    }
}

/// How a transfer is reported.
#[derive(clap::Args, Debug, Default)]
pub(crate) struct Report {
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// Write the result as JSON to this file too, to be kept
    #[arg(long, value_name = "FILE")]
    summary: Option<PathBuf>,
    /// Print only errors and the result
    #[arg(long, short)]
    quiet: bool,
}

impl Report {
    /// One without a file.
    pub(crate) fn new(json: bool, quiet: bool) -> Self {
        Self { json, summary: None, quiet }
    }

    /// Whether progress is not shown.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Prints what became of a transfer.
    ///
    /// # Errors
    /// When the file of `--summary` cannot be written.
    pub(crate) fn print(
        &self,
        summary: &Summary,
        streams: &mut Streams<'_>,
    ) -> std::result::Result<(), String> {
        let json = print::json(summary)?;
        if let Some(path) = &self.summary {
            let written = std::fs::write(path, format!("{json}\n"));
            written.map_err(|error| format!("{}: {error}", path.display()))?;
        }
        // The output may have been closed; what was done is done.
        if self.json {
            let _ = writeln!(streams.output, "{json}");
            return Ok(());
        }
        for absent in &summary.absent {
            let absent = harmless(absent);
            let _ = writeln!(streams.errors, "{absent}: an index lists it, and it is not there");
        }
        for image in summary.images.iter().filter(|image| image.result == Result::Failed) {
            let _ = writeln!(streams.errors, "{}", harmless(&image.to_string()));
        }
        let _ = writeln!(streams.output, "{summary}");
        Ok(())
    }
}

/// A transfer as a whole.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Summary {
    /// Whether nothing was written.
    pub(crate) dry_run: bool,
    /// Images, in the order of their names.
    pub(crate) images: Vec<Outcome>,
    /// Manifests that indexes list and the source does not have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) absent: Vec<String>,
    /// Figures.
    #[serde(flatten)]
    pub(crate) totals: Totals,
}

impl Summary {
    /// One of nothing yet.
    pub(crate) fn new(dry_run: bool) -> Self {
        Self { dry_run, images: Vec::new(), absent: Vec::new(), totals: Totals::default() }
    }

    /// How many images were not transferred.
    pub(crate) fn failed(&self) -> usize {
        self.images.iter().filter(|image| image.result == Result::Failed).count()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Totals { blobs, bytes: size, mounted, blobs_there, manifests, manifests_there } =
            &self.totals;
        let done = if self.dry_run { "would be sent" } else { "sent" };
        let (all, failed) = (self.images.len() as u64, self.failed() as u64);
        write!(
            f,
            "{} of {}; {} with {} and {} {done}, {} mounted; {} and {} already there",
            all - failed,
            counted(all, "image"),
            counted(*blobs, "blob"),
            bytes(*size),
            counted(*manifests, "manifest"),
            counted(*mounted, "blob"),
            counted(*blobs_there, "blob"),
            counted(*manifests_there, "manifest"),
        )
    }
}

fn counted(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::{Outcome, Report, Summary};
    use roadstead_operator::Streams;
    use roadstead_operator::terminal::Screen;

    #[test]
    fn json_is_harmless() {
        let evil = "\u{9b}2J\u{202e}";
        let mut summary = Summary::new(false);
        summary.images.push(Outcome::failed(evil.to_owned(), evil.to_owned()));
        summary.absent.push(evil.to_owned());
        for json in [true, false] {
            let (mut output, mut errors) = (Vec::new(), Vec::new());
            let mut streams = Streams {
                input: &mut &b""[..],
                output: &mut output,
                errors: &mut errors,
                screen: Screen::None,
            };
            Report::new(json, true).print(&summary, &mut streams).unwrap();
            let said = String::from_utf8([output, errors].concat()).unwrap();
            assert!(!said.contains(['\u{9b}', '\u{202e}']), "{said:?}");
            assert_eq!(
                said.matches("\\u009b2J\\u202e").count(),
                if json { 3 } else { 0 },
                "{said}"
            );
        }
    }
}
