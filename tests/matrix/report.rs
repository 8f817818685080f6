//! What became of each client.

use crate::fixture;
use crate::fixture::Mode;
use roadstead_tests::program;
use roadstead_tests::{skip, target_directory};
use std::fs;
use std::io::Write as _;
use std::sync::Mutex;

/// How many lines the report has: a client's for each way to reach a registry.
/// When the last one is known, all are reported. Those on buckets come by
/// themselves.
const LINES: usize = 14 * 3;

/// What has ended so far.
static ENDED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Nothing, or why a client cannot run here.
pub type Verdict = Result<(), String>;

/// Whether a client may be missing where clients are required.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    Required,
    Optional,
}

/// One client's line of the report; a failure, unless it is finished.
#[derive(Debug)]
pub struct Report {
    client: &'static str,
    mode: Mode,
    need: Need,
    outcome: String,
}

impl Report {
    /// Begins with a client that needs programs; `None` if one is missing,
    /// which is reported.
    pub fn start(client: &'static str, mode: Mode, programs: &[&str], need: Need) -> Option<Self> {
        let report = Self { client, mode, need, outcome: "FAILED".to_owned() };
        let missing = programs.iter().find(|program| fixture::find(program).is_none());
        let Some(missing) = missing else { return Some(report) };
        let impossible = not_installable(client);
        let reason = impossible.clone().unwrap_or_else(|| format!("there is no {missing}"));
        assert!(
            need == Need::Optional || impossible.is_some() || !program::clients_required(),
            "{client} is required and {reason}: .ci/install-clients installs it"
        );
        report.skip(&reason);
        None
    }

    /// Ends with what came out.
    pub fn finish(mut self, verdict: Verdict) {
        match verdict {
            Ok(()) => "ok".clone_into(&mut self.outcome),
            Err(reason) => {
                let must_run = self.need == Need::Required && program::clients_required();
                assert!(!must_run, "{} is required: {reason}", self.client);
                self.skip(&reason);
            }
        }
    }

    fn skip(mut self, reason: &str) {
        skip(self.client, reason);
        // The table has a line for each client.
        let line = reason.lines().next().unwrap_or_default();
        self.outcome = format!("skipped ({line})");
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        let line = format!("client {} ({}): {}\n", self.client, self.mode.name(), self.outcome);
        if self.mode.is_bucket() {
            let _ = write!(std::io::stderr(), "{line}");
            return;
        }
        let mut ended = ENDED.lock().unwrap();
        ended.push(line);
        // All together at the end, or one by one if only some were asked for.
        let filtered = std::env::args().len() > 1;
        if filtered || ended.len() == LINES {
            ended.sort();
            // The test runner captures what is printed by macros, and nobody
            // would see it.
            let _ = write!(std::io::stderr(), "\n{}", ended.drain(..).collect::<String>());
        }
    }
}

/// Why `.ci/install-clients` could not install a client here, if it tried.
fn not_installable(client: &str) -> Option<String> {
    let record = target_directory().ok()?.join("tools/not-installed");
    let record = fs::read_to_string(record).ok()?;
    let reason = record.lines().find_map(|line| line.strip_prefix(&format!("{client}: ")))?;
    Some(reason.to_owned())
}
