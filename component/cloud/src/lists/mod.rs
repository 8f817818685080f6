//! Lists: pages of names for clients, and collections for maintenance.

mod children;
mod collections;
mod flat;
mod page;
mod repositories;

pub(crate) use page::{LIST_LIMIT, ListQuery, ListedObject};

use crate::error::Error;
use crate::objects::Objects;
use roadstead_storage::{NameList, NamesQuery, Page};

/// How many objects are asked for at a time.
///
/// Limit: objects that are looked up at a time; test:
/// `large_repositories_take_a_request_for_each_and_few_besides`.
const CONCURRENT_LOOKUPS: usize = 16;

impl Objects {
    /// See [`roadstead_storage::Storage::names`].
    pub(crate) async fn names(&self, query: &NamesQuery) -> Result<Page, Error> {
        match query.list {
            NameList::Repositories(holding) => self.repositories(holding, query).await,
            NameList::Tags(_) | NameList::Referrers { .. } => self.children(query).await,
        }
    }
}
