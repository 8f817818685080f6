//! `roadstead gc` and `roadstead garbage-collect`: runs of garbage collection, a
//! slice at a time. Where the slices are done is up to a [`Source`]: a running
//! registry (`remote`), or the host's engine over a storage that nobody serves.

mod distribution;
mod progress;
mod questions;
mod remote;
pub(crate) mod summary;
mod waits;

use crate::client::Connection;
use crate::slices;
pub use crate::slices::Failure;
use anyhow::{Context as _, bail};
pub use distribution::{DistributionArgs, print_as_distribution};
pub use progress::Display;
pub use questions::Question;
pub use remote::{is_url, run_remote};
use roadstead_bridge::collect::{Progress, Report, SliceRequest};
use roadstead_oci::Digest;
use std::io::Write;
use std::time::Duration;
pub use waits::Waits;

const HELP: &str = "\
Examples:
  roadstead gc --dry-run /etc/roadstead/config.yml
  roadstead gc /var/lib/registry
  roadstead gc https://registry.example:5000 --user admin
  roadstead gc https://registry.example:5000 --usage
  roadstead gc https://registry.example:5000 --why sha256:<digits>

A registry that runs goes on serving, and keeps what is to go for some days, in case that
something needs it again. In a directory that no registry serves, space comes back at once,
unless --keep is given: stop all registries on it first, also those of other programs. A
bucket does not tell whether registries use it, so there the waits stay, unless --alone says
that nothing else uses it. If that is wrong, what others push meanwhile is lost.

Tags that expire by policy.retention are removed too, unless policy.retention.dryrun is set, as it
is by default; roadstead retention list names them.

--delete-untagged keeps what a tag leads to, what that lists, and what refers to it as its
subject, such as signatures. A registry that runs brings the rest back when it is pulled by
digest, for some days.";

/// Collect garbage: remove content that no manifest refers to
#[derive(clap::Args, Debug)]
#[command(after_help = HELP)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub struct Args {
    /// A configuration file, a data directory or a registry's URL [default: the storage of the
    /// environment's settings]
    #[arg(value_name = "TARGET")]
    pub target: Option<String>,
    /// Say what would be done, and do nothing
    #[arg(long, short = 'd')]
    pub dry_run: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
    /// Keep what is to go for as long as the settings say
    #[arg(long)]
    pub keep: bool,
    /// Nothing else uses this storage: free space at once, also in a bucket; content that others
    /// push meanwhile is lost
    #[arg(long, conflicts_with_all = ["keep", "why", "usage", "reports"])]
    pub alone: bool,
    /// Also delete manifests that no tag leads to, and no index or image that stays
    #[arg(long, conflicts_with_all = ["undo", "why", "usage", "reports"])]
    pub delete_untagged: bool,
    /// How long ago they were pushed, at least, as 12h or 7d
    #[arg(
        long, value_name = "AGE", requires = "delete_untagged", default_value = "24h", value_parser = age
    )]
    untagged_age: u64,
    /// Go on with this run, which was interrupted
    #[arg(long, value_name = "RUN", conflicts_with_all = ["why", "usage", "reports"])]
    pub run: Option<String>,
    /// Give back what this run has condemned, deleted as untagged, or removed as expired; --reports
    /// names the runs
    #[arg(long, value_name = "RUN", group = "kind")]
    pub undo: Option<String>,
    /// Say what keeps a blob or a manifest, or since when it is condemned
    #[arg(long, value_name = "DIGEST", group = "kind", value_parser = digest)]
    why: Option<Digest>,
    /// Say how much each repository holds
    #[arg(long, group = "kind")]
    usage: bool,
    /// List the last runs, and what they did
    #[arg(long, group = "kind")]
    reports: bool,
    #[command(flatten)]
    connection: Connection,
}

impl Args {
    /// Refuses what means nothing without a URL.
    ///
    /// # Errors
    /// When a user is to log in at a storage.
    pub fn check_storage(&self) -> anyhow::Result<()> {
        self.connection.check_storage()
    }

    /// Where the run waits for others.
    pub fn waits(&self) -> Waits {
        Waits::of(self.alone, self.keep)
    }

    /// The question that is to be answered, if no run is asked for.
    pub fn question(&self) -> Option<Question> {
        match (&self.why, self.usage, self.reports) {
            (Some(digest), ..) => Some(Question::Why(digest.clone())),
            (None, true, _) => Some(Question::Usage),
            (None, false, true) => Some(Question::Reports),
            (None, false, false) => None,
        }
    }

    /// Drives a run of a source, and prints the result.
    ///
    /// # Errors
    /// When the source fails, or the result cannot be printed.
    pub async fn drive(
        &self,
        source: &mut impl Source,
        display: &mut Display<'_>,
        out: &mut dyn Write,
    ) -> anyhow::Result<()> {
        let outcome = drive(source, self.request(), self.waits(), display).await?;
        print(&outcome, self.json, out)
    }

    /// The first request of a run.
    fn request(&self) -> SliceRequest {
        SliceRequest {
            run: self.run.clone(),
            dry_run: self.dry_run,
            untagged: self.delete_untagged.then_some(self.untagged_age),
            undo: self.undo.clone(),
        }
    }
}

/// An age in seconds, of one number with a unit.
fn age(text: &str) -> Result<u64, String> {
    let units = [("m", 60), ("h", 60 * 60), ("d", 24 * 60 * 60)];
    let parsed = units.into_iter().find_map(|(unit, seconds)| {
        let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
        number.checked_mul(seconds)
    });
    parsed.ok_or_else(|| "must be a number with m, h or d, as in 12h or 7d".to_owned())
}

fn digest(text: &str) -> Result<Digest, String> {
    Digest::parse(text).map_err(|error| error.to_string())
}

/// Where slices are done.
pub trait Source {
    /// Does a slice.
    fn slice(&mut self, ask: &SliceRequest) -> impl Future<Output = Result<Progress, Failure>>;
}

/// How a run ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It is done.
    Done(Box<Report>),
    /// None was begun.
    NotDue {
        /// Seconds until it may be asked again.
        seconds: u64,
    },
}

/// Drives a run to its end. It goes on with the same waits, so a run that stopped is told
/// of them.
///
/// # Errors
/// When slices fail, or another run takes over.
pub async fn drive(
    source: &mut impl Source,
    mut ask: SliceRequest,
    waits: Waits,
    display: &mut Display<'_>,
) -> anyhow::Result<Outcome> {
    loop {
        let progress = match slices::patiently(display, async || source.slice(&ask).await).await {
            Ok(progress) => progress,
            Err(failure) => {
                display.end();
                let kind = [
                    waits.flag().map(|flag| format!(" {flag}")),
                    ask.dry_run.then(|| " --dry-run".to_owned()),
                    ask.undo.as_ref().map(|undone| format!(" --undo {undone}")),
                ];
                let kind: String = kind.into_iter().flatten().collect();
                let run = ask.run.as_ref().map(|run| {
                    format!(
                        "run {run} stopped; if it has not ended, --run {run}{kind} continues it"
                    )
                });
                return Err(match run {
                    Some(run) => failure.cause.context(run),
                    None => failure.cause,
                });
            }
        };
        match progress {
            Progress::Running { run, stage, percent, wait, .. } => {
                display.stage(&stage, percent);
                ask.run = Some(run);
                tokio::time::sleep(Duration::from_millis(wait)).await;
            }
            Progress::Done { report } => {
                display.end();
                return Ok(Outcome::Done(report));
            }
            Progress::NotDue { seconds } => {
                display.end();
                if let Some(run) = ask.run {
                    bail!("run {run} does not go on: another run has taken over, or it has ended");
                }
                return Ok(Outcome::NotDue { seconds });
            }
        }
    }
}

/// Prints how a run ended.
///
/// # Errors
/// When it cannot be written.
fn print(outcome: &Outcome, json: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    let text = match (outcome, json) {
        (Outcome::Done(report), true) => {
            serde_json::to_string(&Progress::Done { report: report.clone() })?
        }
        (Outcome::NotDue { seconds }, true) => {
            serde_json::to_string(&Progress::NotDue { seconds: *seconds })?
        }
        (Outcome::Done(report), false) => summary::of(report),
        (Outcome::NotDue { seconds }, false) => format!(
            "no run is due: another one goes on, or the last one began not long ago; ask again in \
             {seconds} s"
        ),
    };
    writeln!(out, "{text}").context("cannot print the result")
}

#[cfg(test)]
mod tests {
    use super::{Display, Failure, Outcome, Source, Waits, drive, print};
    use crate::slices::RETRIES;
    use clap::Parser as _;
    use roadstead_bridge::collect::{Progress, Report, SliceRequest};
    use std::collections::VecDeque;

    struct Slices(VecDeque<Result<Progress, Failure>>, Vec<SliceRequest>);

    impl Slices {
        fn new(slices: impl IntoIterator<Item = Result<Progress, Failure>>) -> Self {
            Self(slices.into_iter().collect(), Vec::new())
        }
    }

    impl Source for Slices {
        async fn slice(&mut self, ask: &SliceRequest) -> Result<Progress, Failure> {
            self.1.push(ask.clone());
            self.0.pop_front().unwrap()
        }
    }

    fn running(stage: &str, percent: u8) -> Progress {
        let (run, stage) = ("7".to_owned(), stage.to_owned());
        Progress::Running { run, stage, percent, operations: 1, wait: 0 }
    }

    fn failed(passes: bool) -> Failure {
        Failure { passes, cause: anyhow::anyhow!("the store is gone") }
    }

    async fn run(slices: &mut Slices) -> (anyhow::Result<Outcome>, String) {
        run_with(slices, Waits::InBuckets).await
    }

    async fn run_with(slices: &mut Slices, waits: Waits) -> (anyhow::Result<Outcome>, String) {
        let mut shown = Vec::new();
        let mut display = Display::lines(&mut shown);
        let ask = SliceRequest { dry_run: true, ..SliceRequest::default() };
        let outcome = drive(slices, ask, waits, &mut display).await;
        (outcome, String::from_utf8(shown).unwrap())
    }

    #[tokio::test]
    async fn a_run_is_driven_to_its_end() {
        let report = Box::new(Report { removed: 2, removed_bytes: 3 << 20, ..Report::default() });
        let mut slices = Slices::new([
            Ok(running("manifests", 10)),
            Ok(running("manifests", 90)),
            Ok(running("blobs", 0)),
            Ok(Progress::Done { report: report.clone() }),
        ]);
        let (outcome, shown) = run(&mut slices).await;
        assert_eq!(outcome.unwrap(), Outcome::Done(report));
        assert_eq!(shown, "manifests\nblobs\n");
        let runs: Vec<_> = slices.1.iter().map(|ask| (ask.run.as_deref(), ask.dry_run)).collect();
        assert_eq!(runs, [(None, true), (Some("7"), true), (Some("7"), true), (Some("7"), true)]);
    }

    #[tokio::test]
    async fn slices_that_fail_are_tried_again() {
        let mut slices = Slices::new([Err(failed(true)), Ok(Progress::NotDue { seconds: 60 })]);
        let (outcome, shown) = run(&mut slices).await;
        assert_eq!(outcome.unwrap(), Outcome::NotDue { seconds: 60 });
        assert_eq!(shown, "the store is gone; trying again\n");
        let mut slices = Slices::new([Ok(running("blobs", 0)), Err(failed(false))]);
        let said = format!("{:#}", run(&mut slices).await.0.unwrap_err());
        assert_eq!(
            said,
            "run 7 stopped; if it has not ended, --run 7 --dry-run continues it: the store is gone"
        );
        // A run goes on with the waits with which it began, or not at all.
        for (waits, flag) in [(Waits::Everywhere, "--keep"), (Waits::Nowhere, "--alone")] {
            let mut slices = Slices::new([Ok(running("blobs", 0)), Err(failed(false))]);
            let said = run_with(&mut slices, waits).await.0.unwrap_err().to_string();
            assert!(said.contains(&format!("--run 7 {flag} --dry-run continues it")), "{said}");
        }
        let mut slices =
            Slices::new([Ok(running("blobs", 0)), Ok(Progress::NotDue { seconds: 60 })]);
        let said = run(&mut slices).await.0.unwrap_err().to_string();
        assert!(said.contains("another run has taken over"), "{said}");
        const { assert!(RETRIES < 10, "each doubles the pause") };
    }

    /// What the flags ask for.
    #[test]
    fn flags_of_untagged_manifests() {
        #[derive(clap::Parser)]
        struct Gc {
            #[command(flatten)]
            args: super::Args,
        }
        #[derive(clap::Parser)]
        struct GarbageCollect {
            #[command(flatten)]
            args: super::DistributionArgs,
        }
        for (flags, expected) in [
            (&[][..], Ok(None)),
            (&["--delete-untagged"], Ok(Some(24 * 3600))),
            (&["--delete-untagged", "--untagged-age", "7d"], Ok(Some(7 * 24 * 3600))),
            (&["--delete-untagged", "--untagged-age=90m"], Ok(Some(90 * 60))),
            (&["--delete-untagged", "--untagged-age", "7"], Err("a number with m, h or d")),
            (&["--delete-untagged", "--untagged-age=-1h"], Err("a number with m, h or d")),
            (&["--untagged-age", "7d"], Err("--delete-untagged")),
        ] {
            let parsed = Gc::try_parse_from([&["gc", "/srv"][..], flags].concat());
            match (parsed, expected) {
                (Ok(parsed), Ok(expected)) => {
                    assert_eq!(parsed.args.request().untagged, expected, "{flags:?}");
                }
                (Err(error), Err(expected)) => {
                    assert!(error.to_string().contains(expected), "{flags:?}: {error}");
                }
                (parsed, _) => panic!("{flags:?}: {:?}", parsed.map(|gc| gc.args)),
            }
        }
        for (flag, expected) in [("-m", Some(0)), ("--delete-untagged", Some(0)), ("-d", None)] {
            let parsed = GarbageCollect::try_parse_from(["garbage-collect", flag, "config.yml"]);
            assert_eq!(parsed.unwrap().args.request().untagged, expected, "{flag}");
        }
    }

    #[test]
    fn outcomes_are_printed() {
        let printed = |outcome: &Outcome, json| {
            let mut out = Vec::new();
            print(outcome, json, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        let not_due = Outcome::NotDue { seconds: 60 };
        assert_eq!(printed(&not_due, true), "{\"status\":\"not-due\",\"seconds\":60}\n");
        assert!(printed(&not_due, false).ends_with("ask again in 60 s\n"));
        let done = Outcome::Done(Box::new(Report { removed: 2, ..Report::default() }));
        let json: serde_json::Value = serde_json::from_str(&printed(&done, true)).unwrap();
        assert_eq!((&json["status"], &json["report"]["removed"]), (&"done".into(), &2.into()));
    }
}
