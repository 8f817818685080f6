//! The result of each client.

use crate::fixture;
use crate::fixture::Mode;
use roadstead_tests::program;
use roadstead_tests::{skip, target_directory};
use std::fs;
use std::io::Write as _;
use std::sync::Mutex;

/// The number of lines of the report: one for each client and kind of connection.
/// When the last one is known, all are printed. Results on buckets are printed
/// separately.
const LINES: usize = 14 * 3;

/// The results so far.
static ENDED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// `Ok`, or why a client cannot run here.
pub type Verdict = Result<(), String>;

/// Whether a client may be missing where clients are required.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    Required,
    Optional,
}

/// One client's line of the report; it counts as failed unless it is finished.
#[derive(Debug)]
pub struct Report {
    client: &'static str,
    mode: Mode,
    need: Need,
    outcome: String,
}

impl Report {
    /// Begins the line of a client that needs these programs; if one is missing,
    /// reports that and returns `None`.
    pub fn start(client: &'static str, mode: Mode, programs: &[&str], need: Need) -> Option<Self> {
        let report = Self { client, mode, need, outcome: "FAILED".to_owned() };
        let missing = programs.iter().find(|program| fixture::find(program).is_none());
        let Some(missing) = missing else { return Some(report) };
        let impossible = not_installable(client);
        let reason = impossible.clone().unwrap_or_else(|| format!("{missing} is not installed"));
        assert!(
            need == Need::Optional || impossible.is_some() || !program::clients_required(),
            "{client} is required and {reason}: .ci/install-clients installs it"
        );
        report.skip(&reason);
        None
    }

    /// Finishes the line with a result.
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
        // One line for each client, in a table.
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
        // All together at the end, or one by one if only some were selected.
        let filtered = std::env::args().len() > 1;
        if filtered || ended.len() == LINES {
            ended.sort();
            // Not with a macro, whose output the test harness captures.
            let _ = write!(std::io::stderr(), "\n{}", ended.drain(..).collect::<String>());
        }
    }
}

/// Why `.ci/install-clients` could not install a client here, if it recorded a
/// reason.
fn not_installable(client: &str) -> Option<String> {
    let record = target_directory().ok()?.join("tools/not-installed");
    let record = fs::read_to_string(record).ok()?;
    let reason = record.lines().find_map(|line| line.strip_prefix(&format!("{client}: ")))?;
    Some(reason.to_owned())
}
