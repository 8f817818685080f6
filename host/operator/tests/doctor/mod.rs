//! `roadstead doctor` against faulty servers on loopback: each fault is found
//! and comes with a fix.

mod certificates;
mod insecure;
mod login;
mod protocol;
mod servers;

use clap::Parser;
use roadstead_operator::doctor::{Args, Finding, Level, failed, run};
use tempfile::TempDir;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

/// What the command found and printed.
struct Outcome {
    findings: Vec<Finding>,
    text: String,
}

impl Outcome {
    /// Asserts a finding with this level, text and fix.
    #[track_caller]
    fn has(&self, level: Level, what: &str, fix: &str) -> &Self {
        let found = self.findings.iter().any(|finding| {
            finding.level == level && finding.what.contains(what) && finding.fix.contains(fix)
        });
        assert!(found, "no {level:?} with {what:?} and {fix:?} in:\n{}", self.text);
        self
    }

    /// Asserts whether the exit status is 1.
    #[track_caller]
    fn fails(&self, fails: bool) -> &Self {
        assert_eq!(failed(&self.findings), fails, "{}", self.text);
        for finding in &self.findings {
            assert_eq!(finding.fix.is_empty(), finding.level == Level::Ok, "{finding:?}");
        }
        self
    }
}

/// Checks `url`, connecting to loopback, without CAs in Docker's directory.
fn doctor(url: &str, arguments: &[&str]) -> Outcome {
    let nowhere = [
        "--docker-directory",
        "/nonexistent",
        "--docker-config",
        "/nonexistent",
        "--docker-socket",
        "/nonexistent",
        "--address",
        "127.0.0.1",
    ];
    examine(url, &[&nowhere, arguments].concat(), "secret")
}

fn examine(url: &str, arguments: &[&str], input: &str) -> Outcome {
    let arguments = ["doctor", url].into_iter().chain(arguments.iter().copied());
    let args = Cli::try_parse_from(arguments).unwrap_or_else(|error| panic!("{error}")).args;
    let mut out = Vec::new();
    let findings = run(&args, &mut input.as_bytes(), &mut out).unwrap();
    Outcome { findings, text: String::from_utf8(out).unwrap() }
}

/// A file for `--ca`.
fn file(text: &str) -> (TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ca.crt");
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (directory, path)
}
