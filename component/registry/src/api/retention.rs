//! Which tags expire by the policies of the settings, and why: `GET /v2/_roadstead/retention` and
//! `GET /v2/<name>/_roadstead/retention/<tag>`. Nothing of the registry changes.

use super::maintenance::{Turn, answer};
use super::{Answer, Registry, internal};
use crate::Error;
use roadstead_oci::{RepositoryName, Tag};
use roadstead_storage::Storage;

/// About how many operations of the storage an answer takes, unless one repository takes more.
///
/// Limit: operations of the storage for an answer about retention; test: none, the next answer goes on.
const BUDGET: u32 = 1000;

impl<S: Storage> Registry<S> {
    /// Which tags the next run removes, after those of the answer before. It may take as much
    /// work as a slice of a run.
    pub(super) async fn expiring(&self, after: Option<String>) -> Answer<S> {
        let _turn = Turn::take(&self.collecting, Error::Collecting)?;
        answer(&self.store.expiring(after, BUDGET).await.map_err(internal)?)
    }

    /// What is decided of a tag, by all tags of its repository, which are as much work.
    pub(super) async fn retained(&self, name: &RepositoryName, tag: &Tag) -> Answer<S> {
        let _turn = Turn::take(&self.collecting, Error::Collecting)?;
        answer(&self.store.explain_tag(name, tag).await.map_err(internal)?)
    }
}
