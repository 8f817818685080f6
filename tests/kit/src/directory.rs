//! A directory of this process as storage: no host, no WASI, no handles.

use crate::body::MemoryBody;
use bytes::Bytes;
use roadstead_bridge::storage::{Operation, Reply, Transfer};
use roadstead_directory::{Directory, FileRange, Transport};
use roadstead_storage::{Content, Key, StorageError};
use std::convert::Infallible;

/// A directory of this process.
#[derive(Debug)]
pub struct NativeDirectory(pub Directory);

impl Transport for NativeDirectory {
    type Upload = MemoryBody;
    type Download = Infallible;

    async fn execute(&self, operation: Operation) -> Result<(Reply, Bytes), StorageError> {
        let (mut reply, file) = self.0.execute(&operation)?;
        let bytes = match (reply.take_text(), file) {
            (Some(text), _) => text.into(),
            (None, Some(file)) => FileRange::read(file)?.into(),
            (None, None) => Bytes::new(),
        };
        Ok((reply, bytes))
    }

    async fn open(
        &self,
        operation: Operation,
    ) -> Result<(Reply, Content<Infallible>), StorageError> {
        let (reply, bytes) = self.execute(operation).await?;
        Ok((reply, Content::Bytes(bytes)))
    }

    async fn write(&self, key: &Key, value: Bytes) -> Result<Reply, StorageError> {
        let body = MemoryBody { bytes: value, aborted: false };
        self.transfer(Transfer::Write(key.clone()), body).await
    }

    async fn transfer(&self, transfer: Transfer, body: MemoryBody) -> Result<Reply, StorageError> {
        let mut receiver = self.0.receive(transfer)?;
        receiver.write(&body.bytes)?;
        receiver.finish(&self.0, !body.aborted)
    }
}
