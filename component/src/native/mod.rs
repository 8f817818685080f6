//! A transport without WASI, so that the protocol runs in native tests: the
//! directory's own code, and bodies in memory.

use crate::store::{BodyError, Content, RequestBody, Transport};
use bytes::Bytes;
use roadstead_directory::{Directory, Fault, Operation, Reply};

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
        let (reply, bytes) = self.fetch(operation, Bytes::new()).await?;
        Ok((reply, Content::Bytes(bytes)))
    }

    async fn send(&self, operation: Operation, body: MemoryBody) -> Result<Reply, Fault> {
        let mut appender = self.0.start_body(&operation)?;
        appender.write(&body.bytes)?;
        self.0.end_body(&operation, appender, body.aborted)
    }
}
