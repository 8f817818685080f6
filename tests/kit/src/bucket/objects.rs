//! The objects of a bucket in memory as tests change them.

use super::{State, lock};
use object_store::path::Path;
use object_store::{GetResult, ListResult, ObjectStore as _, ObjectStoreExt as _, PutPayload};

/// The objects of a bucket, whose requests are not counted.
#[derive(Clone, Copy, Debug)]
pub struct Objects<'a>(pub(super) &'a State);

impl Objects<'_> {
    /// Writes an object, whose time is that of the first write.
    ///
    /// # Errors
    ///
    /// None, in memory.
    pub async fn put(&self, key: &Path, payload: PutPayload) -> object_store::Result<()> {
        self.0.objects.put(key, payload).await?;
        self.0.listed(key, Option::unwrap_or_default).await
    }

    /// Reads an object.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub async fn get(&self, key: &Path) -> object_store::Result<GetResult> {
        self.0.objects.get(key).await
    }

    /// Deletes an object.
    ///
    /// # Errors
    ///
    /// None, in memory.
    pub async fn delete(&self, key: &Path) -> object_store::Result<()> {
        self.0.objects.delete(key).await?;
        lock(&self.0.clock).written.remove(key.as_ref());
        Ok(())
    }

    /// What is in a directory, and its directories.
    ///
    /// # Errors
    ///
    /// None, in memory.
    pub async fn list_with_delimiter(
        &self,
        prefix: Option<&Path>,
    ) -> object_store::Result<ListResult> {
        self.0.objects.list_with_delimiter(prefix).await
    }
}
