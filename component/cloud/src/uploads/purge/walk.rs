//! Old sessions of all repositories, one after the other: uploads purge those of their own
//! repository, and nobody may push to some any more.

use super::progress::{Progress, Run};
use super::{Purge, Purged};
use crate::error::Error;
use roadstead_oci::RepositoryName;
use roadstead_storage::{Holding, NameList, NamesQuery};

/// How many repositories one purge looks at, each by a list of its sessions.
///
/// Limit: other repositories that one upload looks at; test:
/// `repositories_without_pushes_are_purged`.
const LIMIT: usize = 8;

impl Purge<'_> {
    /// Removes old sessions of the repositories after the one where the walk is, up to the
    /// first one that has any, and notes where it goes on.
    pub(super) async fn walk(&self, progress: &mut Progress, run: &Run<String>) -> Purged {
        let purged = self.next_repositories(progress, run.after.clone()).await;
        let (purged, after) = self.or_later(purged);
        progress.note_walk(run, after);
        purged
    }

    async fn next_repositories(
        &self,
        progress: &mut Progress,
        mut after: Option<String>,
    ) -> Result<(Purged, Option<String>), Error> {
        let list = NameList::Repositories(Holding::Anything);
        let query = NamesQuery { list, values: false, after: after.clone(), limit: LIMIT };
        let page = self.uploads.objects.names(&query).await?;
        for text in page.names {
            let name = RepositoryName::parse(&text).ok();
            let due = name.and_then(|name| Some((progress.of_repository(self, &name)?, name)));
            if let Some((run, name)) = due {
                let (purged, next) = self.sessions(&name, run.after.as_deref()).await?;
                let goes_on = next.is_some();
                if goes_on || run.after.is_some() {
                    // Only then, as there is room for a limited number.
                    progress.note_repository(self, &name, &run, next);
                }
                if goes_on {
                    return Ok((purged, Some(after.unwrap_or_default())));
                }
                if purged != Purged::default() || self.is_late() {
                    return Ok((purged, Some(text)));
                }
            }
            after = Some(text);
        }
        Ok((Purged::default(), after.filter(|_| page.more)))
    }
}
