//! Tombstones are read and written.

use super::Store;
use roadstead_oci::Digest;
use roadstead_storage::condemned::{Tombstone, TombstoneState};
use roadstead_storage::{Key, Storage, StorageError};

impl<S: Storage> Store<S> {
    /// The tombstone of a blob, if it has one. One that is damaged says the least that
    /// it can.
    pub(crate) async fn tombstone(
        &self,
        digest: &Digest,
    ) -> Result<Option<Tombstone>, StorageError> {
        match self.storage.read(&Key::Tombstone(digest.clone())).await {
            Ok(text) => {
                let damaged = Tombstone { state: TombstoneState::Condemned, slice: 0, run: 0 };
                Ok(Some(Tombstone::parse(&text).unwrap_or(damaged)))
            }
            Err(StorageError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes the tombstone of a blob.
    pub(crate) async fn write_tombstone(
        &self,
        digest: &Digest,
        tombstone: Tombstone,
    ) -> Result<(), StorageError> {
        self.storage.write(&Key::Tombstone(digest.clone()), tombstone.to_string().into()).await
    }
}
