//! A directory of this process as storage: no host, no WASI, no handles. And one in which
//! time has passed.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use crate::body::{MemoryBody, yield_now};
use bytes::Bytes;
use roadstead_bridge::storage::{Operation, Reply, Transfer, Write};
use roadstead_directory::{Directory, Transport};
use roadstead_storage::{Content, SessionSecret, StorageError};
use std::convert::Infallible;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A directory of this process.
#[derive(Debug)]
pub struct NativeDirectory(Arc<Directory>, Option<SessionSecret>);

impl NativeDirectory {
    /// Over a directory that others may share.
    pub fn new(directory: impl Into<Arc<Directory>>) -> Self {
        let directory = directory.into();
        let secret = directory.session_secret().map(SessionSecret::new);
        Self(directory, secret)
    }
}

impl Transport for NativeDirectory {
    type Upload = MemoryBody;
    type Download = Infallible;

    async fn execute(&self, operation: Operation) -> Result<(Reply, Bytes), StorageError> {
        let (reply, bytes) = self.0.fetch(&operation)?;
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

    async fn write(&self, write: Write, value: Bytes) -> Result<Reply, StorageError> {
        self.0.write_value(&write, &value)
    }

    fn session_secret(&self) -> Option<&SessionSecret> {
        self.1.as_ref()
    }

    async fn transfer(&self, transfer: Transfer, body: MemoryBody) -> Result<Reply, StorageError> {
        let mut receiver = self.0.receive(transfer)?;
        receiver.write(&body.bytes)?;
        receiver.finish(&self.0, !body.aborted)
    }
}

/// Makes everything in a data directory look older: all files, and what runs of garbage
/// collection have noted with a time.
///
/// # Panics
/// When the directory cannot be read or changed.
pub fn make_older(root: &Path, by: Duration) {
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            make_older(&path, by);
            continue;
        }
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with("sighted-") {
            let earlier = |line: &str| {
                let (digest, since) = line.split_once(' ').unwrap();
                format!("{digest} {}\n", since.parse::<u64>().unwrap() - by.as_secs())
            };
            let noted: String = fs::read_to_string(&path).unwrap().lines().map(earlier).collect();
            fs::write(&path, noted).unwrap();
        }
        File::open(&path).unwrap().set_modified(modified - by).unwrap();
    }
}
