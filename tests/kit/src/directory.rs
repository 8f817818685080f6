//! A directory of this process as storage: no host, no WASI, no handles.

use crate::body::MemoryBody;
use bytes::Bytes;
use roadstead_bridge::storage::{Operation, Reply, Transfer};
use roadstead_directory::{Directory, Transport};
use roadstead_storage::{Content, Key, StorageError};
use std::convert::Infallible;

/// A directory of this process.
#[derive(Debug)]
pub struct NativeDirectory(pub Directory);

impl Transport for NativeDirectory {
    type Upload = MemoryBody;
    type Download = Infallible;

    async fn execute(&self, operation: Operation) -> Result<(Reply, Bytes), StorageError> {
        let (reply, bytes) = self.0.fetch(&operation)?;
        Ok((reply, bytes.into()))
    }

    async fn open(
        &self,
        operation: Operation,
    ) -> Result<(Reply, Content<Infallible>), StorageError> {
        let (reply, bytes) = self.execute(operation).await?;
        Ok((reply, Content::Bytes(bytes)))
    }

    async fn write(&self, key: &Key, value: Bytes) -> Result<Reply, StorageError> {
        self.0.write(key, &value).map(|()| Reply::Done)
    }

    async fn transfer(&self, transfer: Transfer, body: MemoryBody) -> Result<Reply, StorageError> {
        let mut receiver = self.0.receive(transfer)?;
        receiver.write(&body.bytes)?;
        receiver.finish(&self.0, !body.aborted)
    }
}
