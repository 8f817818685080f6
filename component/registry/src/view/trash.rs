//! Which runs of garbage collection can be undone.
//!
//! What runs moved away is in as many places as there are blobs and repositories, so the answer is
//! what their reports say of it: some of it may be needed again since, and back.

use super::VERSION;
use crate::Report;
use crate::store::Store;
use crate::time::written;
use roadstead_storage::{Storage, StorageError};
use serde::Serialize;
use std::time::{Duration, SystemTime};

/// The answer.
#[derive(Debug, Serialize)]
pub(crate) struct TrashView {
    version: u32,
    /// The last one first.
    runs: Vec<MovedByRun>,
    complete: bool,
}

/// What a run has moved away.
#[derive(PartialEq, Eq, Debug, Serialize)]
struct MovedByRun {
    run: String,
    begun: String,
    blobs: u64,
    /// Of blobs and manifests.
    bytes: u64,
    manifests: u64,
    tags: u64,
    /// When a later run may remove it; `None` if no run removes anything.
    until: Option<String>,
}

impl<S: Storage> Store<S> {
    /// Which runs can be undone, if what they move away is `kept` for some time.
    pub(crate) async fn trash_view(
        &self,
        kept: Option<Duration>,
        now: SystemTime,
    ) -> Result<TrashView, StorageError> {
        let reports = self.reports().await?.reports;
        Ok(TrashView { version: VERSION, runs: undoable(&reports, kept, now), complete: true })
    }
}

fn undoable(reports: &[Report], kept: Option<Duration>, now: SystemTime) -> Vec<MovedByRun> {
    let is_undone = |run: &String| {
        reports.iter().any(|other| {
            other.undone.as_ref() == Some(run) && !other.dry_run && other.failure.is_none()
        })
    };
    let begun = |report: &Report| {
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(report.begun)).unwrap_or(now)
    };
    let until = |report: &Report| kept.and_then(|kept| begun(report).checked_add(kept));
    let moved = reports.iter().filter(|report| {
        !report.dry_run
            && report.undone.is_none()
            && report.condemned + report.untagged + report.expired > 0
            && until(report).is_none_or(|until| until > now)
            && !is_undone(&report.run)
    });
    let shown = moved.map(|report| MovedByRun {
        run: report.run.clone(),
        begun: written(begun(report)),
        blobs: report.condemned,
        bytes: report.condemned_bytes.saturating_add(report.untagged_bytes),
        manifests: report.untagged,
        tags: report.expired,
        until: until(report).map(written),
    });
    shown.collect()
}

#[cfg(test)]
mod tests {
    use super::undoable;
    use crate::Report;
    use std::time::{Duration, SystemTime};

    #[test]
    fn runs_that_can_be_undone() {
        let of = |number: u8, begun| Report {
            run: format!("{number:032x}"),
            begun,
            condemned: 2,
            condemned_bytes: 20,
            untagged: 1,
            untagged_bytes: 5,
            expired: 3,
            ..Report::default()
        };
        let undo = Report { undone: Some(format!("{:032x}", 5)), ..of(9, 900) };
        let reports = [
            undo,
            of(1, 800),
            Report { dry_run: true, ..of(2, 800) },
            Report { condemned: 0, untagged: 0, expired: 0, ..of(3, 800) },
            of(4, 400),
            of(5, 800),
        ];
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let found = undoable(&reports, Some(Duration::from_secs(600)), now);
        assert_eq!(found.len(), 1, "{found:?}");
        let run = &found[0];
        assert_eq!((run.blobs, run.bytes, run.manifests, run.tags), (2, 25, 1, 3));
        assert_eq!(run.until.as_deref(), Some("1970-01-01T00:23:20Z"));
        // Nothing is removed.
        let found = undoable(&reports, None, now);
        assert_eq!(found.iter().map(|run| run.until.clone()).collect::<Vec<_>>(), [None, None]);
    }
}
