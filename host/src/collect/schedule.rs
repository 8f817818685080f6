//! When `serve` collects garbage: some minutes after the start, then once in each
//! interval, a slice at a time with pauses that keep the rate.

use crate::collect::{Failure, slice};
use crate::engine::Engine;
use crate::log::UNLIMITED;
use crate::meter::Meter;
use anyhow::Context as _;
use roadstead_bridge::collect::{Overrides, Progress, Report, SliceRequest};
use roadstead_telemetry::metrics::{CollectionOutcome, CollectionRun, CollectionStage};
use serde::Deserialize;
use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

/// The first run begins so long after the start, and up to as long again: instances
/// that are started together do not begin together.
///
/// Limit: time from the start to the first run of garbage collection; test: none, it would take as long.
const FIRST_PAUSE: Duration = Duration::from_mins(5);

/// How soon a run that is not due may be asked for again.
///
/// Limit: time before garbage collection that was not due is asked for again, at least; test: `runs_and_failures`.
const LEAST_PAUSE: Duration = Duration::from_mins(1);

/// The pause between two slices, at least.
///
/// Limit: pause between two slices of garbage collection, at least; test: `runs_and_failures`.
const SLICE_PAUSE: Duration = Duration::from_millis(100);

/// The pause after a failure; each further one doubles it.
///
/// Limit: first pause after a slice of garbage collection failed; test: `runs_and_failures`.
const RETRY_PAUSE: Duration = Duration::from_mins(1);

/// The longest pause after a failure.
///
/// Limit: longest pause after slices of garbage collection failed; test: `runs_and_failures`.
const LONGEST_RETRY_PAUSE: Duration = Duration::from_hours(1);

/// Failures of one run before another is begun: what it kept in the storage may be
/// what fails.
///
/// Limit: failures in a row that a run of garbage collection survives; test: `runs_and_failures`.
const FAILURES: u32 = 5;

/// The variable of the environment with [`Hurry`], for tests alone: content that
/// clients rely on can be lost.
pub(crate) const VARIABLE: &str = "ROADSTEAD_TEST_GC";

/// Shorter waits than the settings allow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hurry {
    /// Milliseconds from the start to the first run, and the least pause.
    first: u64,
    overrides: Overrides,
}

impl Hurry {
    /// What the environment says.
    pub(crate) fn from_environment() -> anyhow::Result<Option<Self>> {
        let Ok(text) = std::env::var(VARIABLE) else { return Ok(None) };
        serde_json::from_str(&text).map(Some).with_context(|| format!("{VARIABLE}={text}"))
    }
}

/// Collects until the task is dropped.
pub(crate) async fn run(engine: Engine, interval: Duration, hurry: Option<Hurry>, meter: Meter) {
    let overrides = hurry.map(|hurry| hurry.overrides).unwrap_or_default();
    let interval = overrides.interval.map_or(interval, Duration::from_millis);
    let mut schedule = Schedule::new(interval);
    let mut pause = FIRST_PAUSE + jitter(FIRST_PAUSE);
    if let Some(hurry) = hurry {
        tracing::warn!(
            target: UNLIMITED,
            "{VARIABLE} shortens the waits of garbage collection: content in use can be lost"
        );
        schedule.least = SLICE_PAUSE;
        schedule.retry = SLICE_PAUSE;
        pause = Duration::from_millis(hurry.first);
    }
    let mut begun = Instant::now();
    let mut asked = false;
    loop {
        tokio::time::sleep(pause).await;
        let ask = SliceRequest { run: schedule.run.clone(), ..SliceRequest::default() };
        let is_first = ask.run.is_none();
        // After the start: the process that drove the last run may have died within it.
        let overrides = Overrides { adopt: !asked, ..overrides };
        asked = true;
        if is_first {
            begun = Instant::now();
        }
        let result = slice(&engine, &overrides, &ask).await;
        count(&meter, &result, begun);
        let (after, event) = schedule.after(result);
        pause = after;
        if is_first && let Some(run) = &schedule.run {
            tracing::info!(run, "garbage collection began");
        }
        match event {
            Some(Event::Ended(report)) => {
                let time = begun.elapsed();
                log(&report, time);
                pause = pause.saturating_sub(time).max(schedule.least);
            }
            Some(Event::Failed(cause)) => {
                tracing::error!("garbage collection: {cause}; trying again in {pause:?}");
            }
            None => {}
        }
    }
}

/// Counts what a slice has done.
fn count(meter: &Meter, result: &Result<Progress, Failure>, begun: Instant) {
    let Some(metrics) = meter.metrics() else { return };
    let mut run = CollectionRun {
        outcome: CollectionOutcome::Done,
        time: begun.elapsed(),
        removed: 0,
        freed: 0,
    };
    match result {
        Ok(Progress::Running { stage, .. }) => {
            metrics.collection_goes_on(CollectionStage::of(stage));
        }
        Ok(Progress::NotDue { .. }) => metrics.collection_not_due(),
        Ok(Progress::Done { report }) => {
            (run.removed, run.freed) = (report.removed, report.removed_bytes);
            if report.failure.is_some() {
                run.outcome = CollectionOutcome::Partly;
            }
            metrics.collection_ended(&run);
        }
        Err(_) => {
            run.outcome = CollectionOutcome::Failed;
            metrics.collection_ended(&run);
        }
    }
}

/// A random part of a time.
fn jitter(most: Duration) -> Duration {
    let random = RandomState::new().hash_one(Instant::now());
    most.mul_f64(f64::from(u32::try_from(random >> 32).unwrap_or_default()) / f64::from(u32::MAX))
}

fn log(report: &Report, time: Duration) {
    tracing::info!(
        run = report.run,
        repositories = report.repositories,
        manifests = report.manifests,
        expired = report.expired,
        expiring = report.expiring,
        restored_tags = report.restored_tags,
        dropped_events = report.dropped_events,
        untagged = report.untagged,
        untagged_bytes = report.untagged_bytes,
        restored = report.restored,
        passed_over = report.passed_over.len(),
        foreign = report.foreign,
        blobs = report.blobs,
        bytes = report.bytes,
        sighted = report.sighted,
        sighted_bytes = report.sighted_bytes,
        condemned = report.condemned,
        condemned_bytes = report.condemned_bytes,
        kept = report.kept,
        kept_bytes = report.kept_bytes,
        given_back = report.given_back,
        removed = report.removed,
        removed_bytes = report.removed_bytes,
        operations = report.operations,
        seconds = time.as_secs(),
        "garbage collection ended"
    );
}

/// What is worth a line in the log.
#[derive(PartialEq, Eq, Debug)]
enum Event {
    Ended(Box<Report>),
    /// For the first time with this cause.
    Failed(String),
}

/// What was done, and when to go on.
#[derive(Debug)]
struct Schedule {
    interval: Duration,
    least: Duration,
    retry: Duration,
    /// The run that goes on.
    run: Option<String>,
    /// Failures in a row.
    failures: u32,
    /// The cause of the last one that was logged.
    cause: Option<String>,
}

impl Schedule {
    fn new(interval: Duration) -> Self {
        let (least, retry) = (LEAST_PAUSE, RETRY_PAUSE);
        Self { interval, least, retry, run: None, failures: 0, cause: None }
    }

    /// The pause after a slice.
    fn after(&mut self, result: Result<Progress, Failure>) -> (Duration, Option<Event>) {
        match result {
            Ok(progress) => {
                self.failures = 0;
                self.run = None;
                match progress {
                    Progress::Running { run, wait, .. } => {
                        self.run = Some(run);
                        (Duration::from_millis(wait).max(SLICE_PAUSE), None)
                    }
                    Progress::Done { report } => {
                        self.cause = None;
                        let pause = self.interval.max(self.least);
                        (pause, Some(Event::Ended(report)))
                    }
                    Progress::NotDue { seconds } => {
                        let most = self.interval.max(self.least);
                        (Duration::from_secs(seconds).clamp(self.least, most), None)
                    }
                }
            }
            Err(failure) => {
                self.failures += 1;
                if failure.refused || self.failures >= FAILURES {
                    self.run = None;
                }
                let doubled = self.retry * (1 << (self.failures - 1).min(10));
                let cause = failure.to_string();
                let new = self.cause.as_ref() != Some(&cause);
                self.cause = Some(cause.clone());
                (doubled.min(LONGEST_RETRY_PAUSE), new.then_some(Event::Failed(cause)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Event, FAILURES, FIRST_PAUSE, Hurry, LEAST_PAUSE, LONGEST_RETRY_PAUSE, RETRY_PAUSE,
        SLICE_PAUSE, Schedule, jitter,
    };
    use crate::collect::Failure;
    use roadstead_bridge::collect::{Progress, Report};
    use std::time::Duration;

    const DAY: Duration = Duration::from_hours(24);

    fn running(wait: u64) -> Progress {
        let (run, stage) = ("7".to_owned(), "blobs".to_owned());
        Progress::Running { run, stage, percent: 0, operations: 1, wait }
    }

    fn failed(cause: &str, refused: bool) -> Failure {
        Failure { refused, cause: cause.to_owned() }
    }

    #[test]
    fn runs_and_failures() {
        let mut schedule = Schedule::new(DAY);
        let not_due = |seconds| Ok::<_, Failure>(Progress::NotDue { seconds });
        assert_eq!(schedule.after(not_due(0)), (LEAST_PAUSE, None));
        assert_eq!(schedule.after(not_due(3600)), (DAY / 24, None));
        assert_eq!(schedule.after(not_due(u64::MAX)), (DAY, None));
        assert_eq!(schedule.after(Ok(running(0))), (SLICE_PAUSE, None));
        assert_eq!(schedule.run.as_deref(), Some("7"));
        assert_eq!(schedule.after(Ok(running(9000))), (Duration::from_secs(9), None));
        // A failure is logged once for each cause, and the run goes on.
        let event = |cause: &str| Some(Event::Failed(cause.to_owned()));
        assert_eq!(schedule.after(Err(failed("full", false))), (RETRY_PAUSE, event("full")));
        assert_eq!(schedule.after(Err(failed("full", false))), (RETRY_PAUSE * 2, None));
        assert_eq!(schedule.after(Err(failed("gone", false))), (RETRY_PAUSE * 4, event("gone")));
        assert_eq!(schedule.run.as_deref(), Some("7"));
        assert_eq!(schedule.after(Ok(running(0))), (SLICE_PAUSE, None));
        assert_eq!(schedule.after(Err(failed("gone", false))), (RETRY_PAUSE, None));
        // Not for ever.
        for _ in 1..FAILURES {
            assert!(schedule.run.is_some());
            schedule.after(Err(failed("gone", false)));
        }
        assert_eq!(schedule.run, None);
        for _ in 0..100 {
            assert!(schedule.after(Err(failed("gone", false))).0 <= LONGEST_RETRY_PAUSE);
        }
        assert_eq!(schedule.after(Ok(running(0))), (SLICE_PAUSE, None));
        schedule.after(Err(failed("400", true)));
        assert_eq!(schedule.run, None, "what was refused will be again");
        assert_eq!(schedule.after(Ok(running(0))), (SLICE_PAUSE, None));
        let report = Box::new(Report { removed: 3, ..Report::default() });
        let ended = Some(Event::Ended(report.clone()));
        assert_eq!(schedule.after(Ok(Progress::Done { report })), (DAY, ended));
        assert_eq!((schedule.run.clone(), schedule.failures), (None, 0));
        assert_eq!(schedule.after(Err(failed("gone", false))).1, event("gone"), "after a good run");
        assert!(jitter(FIRST_PAUSE) <= FIRST_PAUSE);
    }

    #[test]
    fn tests_can_be_in_a_hurry() {
        let hurry: Hurry =
            serde_json::from_str(r#"{"first":1,"overrides":{"interval":2}}"#).unwrap();
        assert_eq!(
            (hurry.first, hurry.overrides.interval, hurry.overrides.keep),
            (1, Some(2), None)
        );
    }
}
