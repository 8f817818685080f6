//! A transport without WASI, so that the protocol runs in native tests: the
//! directory's own code, and bodies in memory.

#[cfg(any(test, feature = "testing"))]
mod bucket;

#[cfg(any(test, feature = "testing"))]
pub use bucket::{Conditions, MemoryBucket, NativeBodies, NativeDownload};

use crate::store::{BodyError, Content, RequestBody, Transport};
use bytes::Bytes;
use roadstead_directory::{Directory, Fault, Operation, Reply};
use std::io::Read as _;

/// A directory in this process.
#[derive(Debug)]
pub struct NativeDirectory(pub Directory);

/// A request's body in memory.
#[derive(Debug)]
pub struct MemoryBody {
    /// What came.
    pub bytes: Bytes,
    /// Whether it broke off after that.
    pub aborted: bool,
}

impl RequestBody for MemoryBody {
    async fn collect(self, limit: usize) -> Result<Bytes, BodyError> {
        match self {
            Self { bytes, .. } if bytes.len() > limit => Err(BodyError::TooLarge),
            Self { aborted: true, .. } => Err(BodyError::Aborted),
            Self { bytes, .. } => Ok(bytes),
        }
    }

    async fn drain(self) {}
}

impl Transport for NativeDirectory {
    type Upload = MemoryBody;
    type Download = std::convert::Infallible;

    async fn fetch(&self, operation: Operation, payload: Bytes) -> Result<(Reply, Bytes), Fault> {
        let (reply, bytes) = self.0.fetch(&operation, &payload)?;
        Ok((reply, bytes.into()))
    }

    async fn open(&self, operation: Operation) -> Result<(Reply, Content<Self::Download>), Fault> {
        let (mut reply, file) = self.0.execute(&operation, &[])?;
        let mut bytes = Vec::new();
        if let Reply::Object(object) = &mut reply {
            bytes.extend(object.value.take().map(Vec::from).unwrap_or_default());
            if let Some(file) = file {
                let length = object.range.end - object.range.start;
                file.take(length).read_to_end(&mut bytes).map_err(|e| Fault::Io(e.to_string()))?;
            }
        }
        Ok((reply, Content::Bytes(bytes.into())))
    }

    async fn send(&self, operation: Operation, body: MemoryBody) -> Result<Reply, Fault> {
        let mut appender = self.0.start_body(&operation)?;
        appender.write(&body.bytes)?;
        self.0.end_body(&operation, appender, body.aborted)
    }
}

/// Lets every other task run first.
#[cfg(any(test, feature = "testing"))]
async fn pass() {
    let mut passed = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut passed, true) {
            return std::task::Poll::Ready(());
        }
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}
