//! A directory of this process as storage: no host, no WASI, no handles.

use crate::body::{MemoryBody, yield_now};
use bytes::Bytes;
use roadstead_bridge::storage::{Operation, Reply, Transfer};
use roadstead_directory::{Directory, Transport};
use roadstead_storage::{Content, Key, StorageError};
use std::borrow::Borrow;
use std::convert::Infallible;
use std::fmt::Debug;
use std::time::Duration;

/// A directory of this process, owned or shared.
#[derive(Debug)]
pub struct NativeDirectory<D = Directory>(pub D);

impl<D: Borrow<Directory> + Debug> Transport for NativeDirectory<D> {
    type Upload = MemoryBody;
    type Download = Infallible;

    async fn execute(&self, operation: Operation) -> Result<(Reply, Bytes), StorageError> {
        let (reply, bytes) = self.0.borrow().fetch(&operation)?;
        Ok((reply, bytes.into()))
    }

    async fn pause(&self, _: Duration) {
        crate::explorer::pause();
        yield_now().await;
    }

    async fn open(
        &self,
        operation: Operation,
    ) -> Result<(Reply, Content<Infallible>), StorageError> {
        let (reply, bytes) = self.execute(operation).await?;
        Ok((reply, Content::Bytes(bytes)))
    }

    async fn write(&self, key: &Key, value: Bytes) -> Result<Reply, StorageError> {
        self.0.borrow().write(key, &value).map(|()| Reply::Done)
    }

    async fn transfer(&self, transfer: Transfer, body: MemoryBody) -> Result<Reply, StorageError> {
        let mut receiver = self.0.borrow().receive(transfer)?;
        receiver.write(&body.bytes)?;
        receiver.finish(self.0.borrow(), !body.aborted)
    }
}
