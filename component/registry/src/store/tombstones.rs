//! Tombstones are read and written, and what goes with them: the marker that tells
//! instances to look for them, and the last look before data goes.

use super::Store;
use crate::collect::{Objects, Stopwatch};
use bytes::Bytes;
use roadstead_oci::Digest;
use roadstead_storage::condemned::{Tombstone, TombstoneState};
use roadstead_storage::{Key, Record, Storage, StorageError};

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

    /// Says in the storage that something in it is condemned. The marker's time says
    /// since when, so it is written once.
    pub(crate) async fn mark(&self) -> Result<(), StorageError> {
        let marker = Key::Record(Record::Marker);
        if self.storage.exists(&marker).await? {
            return Ok(());
        }
        self.storage.write(&marker, Bytes::new()).await
    }

    /// The last look before the data of a blob goes: announces that it is being removed,
    /// and then says what there is of the blob, and when that was announced; each side
    /// writes before it reads, so that uploads wait, or are found. `None` if another one
    /// has announced the same since.
    pub(crate) async fn look_last(
        &self,
        digest: &Digest,
        slice: u128,
        run: u128,
    ) -> Result<Option<(Objects, Stopwatch)>, StorageError> {
        let removing = Tombstone { state: TombstoneState::Removing, slice, run };
        self.write_tombstone(digest, removing).await?;
        let announced = Stopwatch::start();
        let objects = self.blob_objects(digest).await?;
        let is_own = self.tombstone(digest).await? == Some(removing);
        Ok(is_own.then_some((objects, announced)))
    }
}
