//! How much of quotas is used, for whoever asks. Nothing is counted, and nothing written.

use crate::store::Store;
use roadstead_bridge::contents::{QuotaUsage, QuotasAnswer};
use roadstead_storage::{QuotaName, Storage, StorageError};

impl<S: Storage> Store<S> {
    /// How much of each quota is used, as pushes are admitted by it.
    pub(crate) async fn quotas_used(&self) -> Result<QuotasAnswer, StorageError> {
        let mut answer = QuotasAnswer::default();
        for rule in self.quotas.all() {
            let Some(quota) = QuotaName::parse(rule.name()) else { continue };
            let mut added = self.quota_added(&quota).await?;
            let count = self.counted(rule, &quota).await?;
            if let Some(count) = &count {
                let found = self.counted_of(&quota, count, added.blobs().into_keys()).await?;
                added.forget(count, &found);
            }
            let begun = count.as_ref().map(|count| count.begun / 1000);
            let count = count.unwrap_or_default();
            let bytes =
                added.blobs().values().fold(count.bytes, |sum, size| sum.saturating_add(*size));
            answer.quotas.push(QuotaUsage {
                name: rule.name().to_owned(),
                repositories: rule.repositories().to_owned(),
                bytes_limit: rule.bytes(),
                tags_limit: rule.tags(),
                bytes,
                tags: count.tags.saturating_add(added.tags().len() as u64),
                counted: begun,
                incomplete: count.incomplete,
            });
        }
        Ok(answer)
    }
}
