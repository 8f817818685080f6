//! Uploads that have not ended.

use super::{STEP, VERSION};
use crate::store::Store;
use crate::time::written;
use roadstead_oci::RepositoryName;
use roadstead_storage::{Collection, Holding, Key, NameList, NamesQuery, Storage, StorageError};
use serde::Serialize;

/// How many repositories are looked at for one answer.
///
/// Limit: repositories whose uploads an answer to the page lists; test: `uploads_in_pages`.
const REPOSITORIES: usize = 200;

/// How many uploads an answer has before it leaves the next repositories to the next one.
///
/// Limit: uploads in an answer to the page, about; test: none, more are in further answers.
const UPLOADS: usize = 1000;

/// How much of an upload's identifier is shown, in characters: as in the log, enough to find its
/// requests there, and too little to take part in it.
const SHOWN: usize = 8;

/// The answer.
#[derive(Debug, Serialize)]
pub(crate) struct UploadsView {
    version: u32,
    uploads: Vec<UploadView>,
    /// The last repository that was looked at, if there are more.
    next: Option<String>,
    /// Whether all uploads of these repositories are listed.
    complete: bool,
}

#[derive(Debug, Serialize)]
struct UploadView {
    repository: String,
    id: String,
    /// The storage does not know it.
    started: Option<String>,
    /// When something was added to it last.
    changed: String,
    size: u64,
}

impl<S: Storage> Store<S> {
    /// Uploads that have not ended, in the repositories after one.
    pub(crate) async fn uploads_view(
        &self,
        after: Option<String>,
    ) -> Result<UploadsView, StorageError> {
        let list = NameList::Repositories(Holding::Anything);
        let query = NamesQuery { list, values: false, after, limit: REPOSITORIES };
        let page = self.storage.names(&query).await?;
        let mut view =
            UploadsView { version: VERSION, uploads: Vec::new(), next: None, complete: true };
        let end = page.names.last().cloned();
        for text in page.names {
            view.next = Some(text.clone());
            let Ok(name) = RepositoryName::parse(&text) else { continue };
            let sessions = Collection::Sessions(name);
            let listing = self.storage.enumerate(&sessions, None, STEP).await?;
            view.complete &= listing.next.is_none();
            view.uploads.extend(listing.entries.into_iter().filter_map(|entry| {
                let Key::Session(session) = entry.key else { return None };
                Some(UploadView {
                    repository: text.clone(),
                    id: session.id.as_str().chars().take(SHOWN).collect(),
                    started: None,
                    changed: written(entry.modified),
                    size: entry.size,
                })
            }));
            if view.uploads.len() >= UPLOADS {
                break;
            }
        }
        if view.next == end && !page.more {
            view.next = None;
        }
        Ok(view)
    }
}
