use super::report::finding;
use super::saved::Saved;
use super::{Args, Failure, Outcome, Source, Streams, drive};
use crate::gc::Display;
use crate::slices::RETRIES;
use clap::Parser;
use roadstead_bridge::scrub::{Counts, Finding, Kind, Progress, ScrubRequest};
use std::collections::VecDeque;
use std::future::pending;
use std::time::{Duration, Instant};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

fn args(arguments: &[&str]) -> Args {
    Cli::parse_from(["scrub"].iter().chain(arguments)).args
}

struct Slices(VecDeque<Result<Progress, Failure>>, Vec<ScrubRequest>);

impl Source for Slices {
    async fn slice(&mut self, ask: &ScrubRequest) -> Result<Progress, Failure> {
        self.1.push(ask.clone());
        self.0.pop_front().unwrap()
    }
}

fn found(kind: Kind) -> Finding {
    Finding { digest: Some("sha256:7".to_owned()), ..Finding::new(kind) }
}

#[expect(clippy::unnecessary_wraps, reason = "others have failed")]
fn slice(cursor: Option<&str>, kinds: &[Kind]) -> Result<Progress, Failure> {
    Ok(Progress {
        findings: kinds.iter().copied().map(found).collect(),
        counts: Counts { blobs: 1, ..Counts::default() },
        cursor: cursor.map(str::to_owned),
        stage: "blobs".to_owned(),
        hashed: 1000,
        ..Progress::default()
    })
}

fn failed(passes: bool) -> Result<Progress, Failure> {
    Err(Failure { passes, cause: anyhow::anyhow!("the store is gone") })
}

struct Said {
    outcome: anyhow::Result<Outcome>,
    output: String,
    shown: String,
    asked: Vec<ScrubRequest>,
}

async fn run(
    arguments: &[&str],
    slices: impl IntoIterator<Item = Result<Progress, Failure>>,
) -> Said {
    let (mut output, mut shown) = (Vec::new(), Vec::new());
    let mut source = Slices(slices.into_iter().collect(), Vec::new());
    let mut display = Display::lines(&mut shown);
    let mut streams = Streams { output: &mut output, display: &mut display };
    let outcome = drive(&args(arguments), &mut source, &mut streams, pending()).await;
    Said {
        outcome,
        output: String::from_utf8(output).unwrap(),
        shown: String::from_utf8(shown).unwrap(),
        asked: source.1,
    }
}

#[tokio::test]
async fn a_scrub_is_driven_to_its_end() {
    let slices = [
        slice(Some("one"), &[]),
        slice(Some("two"), &[Kind::Corrupt]),
        slice(None, &[Kind::ChildMissing]),
    ];
    let said = run(&["/data", "--quarantine"], slices).await;
    assert_eq!(said.outcome.unwrap(), Outcome::Done { damaged: true });
    let cursors: Vec<_> = said.asked.iter().map(|ask| ask.cursor.as_deref()).collect();
    assert_eq!(cursors, [None, Some("one"), Some("two")]);
    assert!(said.asked.iter().all(|ask| ask.quarantine && ask.hash));
    let lines: Vec<_> = said.output.lines().collect();
    assert!(lines[0].starts_with("corrupt: sha256:7 has other bytes"), "{lines:?}");
    assert!(lines[1].starts_with("child-missing: "), "{lines:?}");
    assert!(lines[2].starts_with("3 blobs with 0 bytes, of which 2.9 KiB"), "{lines:?}");
    assert_eq!(lines[3..], ["corrupt: 1", "child-missing: 1"]);
    assert_eq!(said.shown, "blobs\n");
}

#[tokio::test]
async fn exit_statuses() {
    for (kinds, status) in [
        (&[][..], 0),
        (&[Kind::ChildMissing], 0),
        (&[Kind::TagDangling], 1),
        (&[Kind::Corrupt, Kind::Quarantined], 1),
    ] {
        let said = run(&[], [slice(None, kinds)]).await;
        assert_eq!(said.outcome.unwrap().status(), status, "{kinds:?}");
        let fine = said.output.ends_with("nothing is damaged\n");
        assert_eq!(fine, status == 0, "{}", said.output);
    }
    assert_eq!(Outcome::Stopped.status(), 2);
}

#[tokio::test]
async fn slices_that_fail_are_tried_again() {
    let said = run(&[], [failed(true), slice(None, &[])]).await;
    assert_eq!(said.outcome.unwrap(), Outcome::Done { damaged: false });
    assert_eq!(said.shown, "the store is gone; trying again\nblobs\n");
    let said = run(&["/data", "--no-hash"], [slice(Some("1.x"), &[]), failed(false)]).await;
    let error = format!("{:#}", said.outcome.unwrap_err());
    let again = "it goes on with: roadstead scrub /data --no-hash --cursor 1.x: the store is gone";
    assert!(error.ends_with(again), "{error}");
    const { assert!(RETRIES < 10, "each doubles the pause") };
}

#[tokio::test]
async fn an_interrupt_says_how_to_go_on() {
    let (mut output, mut shown) = (Vec::new(), Vec::new());
    let mut display = Display::lines(&mut shown);
    let mut streams = Streams { output: &mut output, display: &mut display };
    let mut source = Slices(VecDeque::new(), Vec::new());
    let args = args(&["https://a.example", "--cursor", "1.x"]);
    let outcome = drive(&args, &mut source, &mut streams, async {}).await;
    assert_eq!(outcome.unwrap(), Outcome::Stopped);
    let shown = String::from_utf8(shown).unwrap();
    let again = "it goes on with: roadstead scrub https://a.example --cursor 1.x\n";
    assert!(shown.ends_with(again), "{shown}");
}

#[tokio::test]
async fn a_long_wait_ends_the_command() {
    let mut wait = slice(Some("1.x"), &[]).unwrap();
    wait.wait = 86_400_000;
    let said = run(&["--quarantine"], [Ok(wait)]).await;
    assert_eq!(said.outcome.unwrap(), Outcome::Stopped);
    assert!(said.shown.contains("in 24 h 0 min\n"), "{}", said.shown);
    assert!(said.shown.contains("roadstead scrub --quarantine --cursor 1.x"), "{}", said.shown);
}

#[tokio::test]
async fn a_file_keeps_how_far_it_has_come() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("state.json");
    let file = file.to_str().unwrap();
    let arguments = ["/data", "--state", file];
    let said = run(&arguments, [slice(Some("1.x"), &[Kind::TagDangling]), failed(false)]).await;
    let error = said.outcome.unwrap_err().to_string();
    assert!(error.ends_with(&format!("--state {file}")), "{error}");
    let said = run(&["/other", "--state", file], []).await;
    assert!(said.outcome.unwrap_err().to_string().contains("is of a scrub of \"/data\""));
    let said = run(&arguments, [slice(Some("1.y"), &[]), slice(None, &[])]).await;
    assert_eq!(said.outcome.unwrap(), Outcome::Done { damaged: true });
    assert_eq!(said.asked[0].cursor.as_deref(), Some("1.x"));
    assert!(said.output.starts_with("3 blobs"), "{}", said.output);
    // The next one begins.
    let said = run(&arguments, [slice(None, &[])]).await;
    assert_eq!(said.asked[0].cursor, None);
    assert_eq!(said.outcome.unwrap(), Outcome::Done { damaged: false });
    std::fs::write(file, "x").unwrap();
    assert!(run(&arguments, []).await.outcome.unwrap_err().to_string().contains("remove it"));
}

#[tokio::test]
async fn results_as_json() {
    let said = run(&["--json"], [slice(None, &[Kind::Corrupt])]).await;
    let json: serde_json::Value = serde_json::from_str(&said.output).unwrap();
    assert_eq!(json["done"], true);
    assert_eq!(json["findings"][0]["kind"], "corrupt");
    assert_eq!((&json["counts"]["blobs"], &json["hashed"]), (&1.into(), &1000.into()));
}

#[tokio::test]
async fn the_rate_makes_slices_smaller() {
    let bytes =
        async |arguments: &[&str]| run(arguments, [slice(None, &[])]).await.asked[0].bytes.unwrap();
    assert_eq!(bytes(&[]).await, 64 << 20);
    assert_eq!(bytes(&["--rate", "1MiB"]).await, 1 << 20);
    assert_eq!(bytes(&["--rate", "1GiB"]).await, 64 << 20);
}

#[tokio::test]
async fn the_rate_keeps_slices_apart() {
    let begun = Instant::now();
    run(&["--rate", "10KiB"], [slice(Some("1.x"), &[]), slice(None, &[])]).await;
    // The first slice has hashed 1,000 bytes.
    assert!(begun.elapsed() >= Duration::from_millis(97), "{:?}", begun.elapsed());
}

#[test]
fn findings_are_kept_up_to_a_limit() {
    let mut saved = Saved::default();
    for _ in 0..101 {
        saved.add(slice(None, &[Kind::Corrupt; 100]).unwrap());
    }
    assert_eq!((saved.findings.len(), saved.dropped), (10_000, 100));
}

#[test]
fn lines_are_short_and_harmless() {
    for (kind, name) in Kind::ALL {
        let mut out = Vec::new();
        let long = Some("x\u{1b}[2J\n".repeat(1000));
        finding(&Finding { cause: long, ..found(kind) }, &mut out).unwrap();
        let line = String::from_utf8(out).unwrap();
        assert!(line.starts_with(&format!("{name}: ")), "{line}");
        assert!(line.chars().count() <= 1001 && line.lines().count() == 1, "{line}");
        assert!(!line.contains('\u{1b}'), "{line}");
    }
}
