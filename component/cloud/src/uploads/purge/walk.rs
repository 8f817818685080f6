//! Old sessions of all repositories, one after the other: uploads purge those of their own
//! repository, and nobody may push to some any more.

use super::progress::{Progress, Run};
use super::sessions::Part;
use super::{Purge, PurgeLine, Purged, problem};
use roadstead_oci::RepositoryName;
use roadstead_storage::{Holding, NameList, NamesQuery};
use std::time::Instant;

/// How many repositories one purge looks at, each by a list of its sessions.
///
/// Limit: other repositories that one upload looks at; test:
/// `repositories_without_pushes_are_purged`.
const LIMIT: usize = 8;

impl Purge<'_> {
    /// Removes old sessions of the repositories after the one where the walk is, up to the
    /// first one that has any, and notes where it goes on. What fails in one is left to the
    /// next walk.
    pub(super) async fn walk(&self, progress: &mut Progress, run: &Run<String>) -> Purged {
        let list = NameList::Repositories(Holding::Anything);
        let query = NamesQuery { list, values: false, after: run.after.clone(), limit: LIMIT };
        let page = match self.uploads.objects.names(&query).await {
            Ok(page) => page,
            Err(error) => {
                (self.purging.log)(PurgeLine::Problem, &problem(error));
                progress.note_walk(run, run.after.clone());
                return Purged::default();
            }
        };
        // However long that took, the first repository is looked at, so that the walk ends.
        let purge = Self { begun: Instant::now(), ..*self };
        let mut after = run.after.clone();
        for text in page.names {
            let name = RepositoryName::parse(&text).ok();
            let due = name.and_then(|name| Some((progress.of_repository(self, &name)?, name)));
            let Some((own, name)) = due else {
                after = Some(text);
                continue;
            };
            let part = purge.old_sessions(&name, own.after.as_deref()).await;
            if part.as_ref().is_ok_and(Part::is_empty) && own.after.is_none() && !purge.is_late() {
                after = Some(text);
                continue;
            }
            let purged = match part {
                Ok(part) => purge.remove_sessions(part, own.after.as_deref()).await,
                Err(error) => Err(error),
            };
            let (purged, next) = self.or_later(purged);
            let goes_on = next.is_some();
            progress.note_repository(self, &name, &own, next);
            progress
                .note_walk(run, if goes_on { Some(after.unwrap_or_default()) } else { Some(text) });
            return purged;
        }
        progress.note_walk(run, after.filter(|_| page.more));
        Purged::default()
    }
}
