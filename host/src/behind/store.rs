//! The host store: carries out the component's storage operations.
//!
//! [`roadstead_bridge::storage`] describes the messages. Bodies pass unchanged:
//! bytes go from the connection to the file, hashed natively on the way, and from
//! the file to the connection. The component never sees them.

use crate::body::{file_body, full};
use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use roadstead_bridge::header_json;
use roadstead_bridge::storage::{
    OPERATION, Operation, REPLY, REPLY_HEADER_LIMIT, REPLY_IN_BODY, Reply, TRANSFER, Transfer,
    WRITE,
};
use roadstead_directory::{Directory, FileRange, Receiver};
use roadstead_storage::{Key, StorageError};
use serde::de::DeserializeOwned;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use wasmtime_wasi_http::WasiBody;

/// Bytes of a body that are written at once, about. Each writer holds at most
/// two such batches, one of which is being written.
///
/// Limit: bytes of a body that are written at once; test: `one_patch`.
const BATCH_SIZE: usize = 512 * 1024;

/// How long a batch waits for more of its body. When a client stalls, what it
/// has sent is written and takes no memory.
///
/// Limit: time for which a batch waits for more of its body; test: `as_they_come`.
const BATCH_PAUSE: Duration = Duration::from_millis(20);

/// Bytes of a body that are read and discarded if the operation is refused, so
/// that the client receives the response.
///
/// Limit: bytes of a refused upload that are still read; test:
/// `requests_after_a_refusal`.
const DRAIN_LIMIT: usize = 16 * 1024 * 1024;

/// Carries out storage operations in a directory.
#[derive(Debug)]
pub(crate) struct HostStore {
    directory: Arc<Directory>,
    /// The number of bodies that are being received.
    receiving: watch::Sender<usize>,
}

impl HostStore {
    /// Opens the directory.
    pub(crate) fn open(root: PathBuf) -> io::Result<Self> {
        let directory = Arc::new(Directory::open(root)?);
        Ok(Self { directory, receiving: watch::Sender::new(0) })
    }

    /// Waits until no body is being received.
    pub(crate) async fn idle(&self) {
        // The sender lives as long as this.
        let _ = self.receiving.subscribe().wait_for(|&receiving| receiving == 0).await;
    }

    /// Carries out the operation, write or transfer in a request.
    pub(crate) async fn respond(self: Arc<Self>, request: Request<WasiBody>) -> Response<WasiBody> {
        let result = self.carry_out(request).await;
        if let Err(StorageError::Failed(cause) | StorageError::Unavailable(cause)) = &result {
            tracing::error!("storage: {cause}");
        }
        match result {
            Ok((reply, content)) => reply_with(&Ok(reply), content),
            Err(error) => reply_with(&Err(error), None),
        }
    }

    async fn carry_out(
        &self,
        request: Request<WasiBody>,
    ) -> Result<(Reply, Option<WasiBody>), StorageError> {
        let (head, body) = request.into_parts();
        let headers = &head.headers;
        if let Some(json) = headers.get(OPERATION) {
            return self.execute(parse(json)?).await;
        }
        let _receiving = Receiving::begin(&self.receiving);
        let reply = if let Some(json) = headers.get(TRANSFER) {
            self.transfer(parse(json)?, body).await?
        } else if let Some(json) = headers.get(WRITE) {
            self.write(parse(json)?, body).await?
        } else {
            return Err(StorageError::Failed("a request without an operation".to_owned()));
        };
        Ok((reply, None))
    }

    /// Carries out an operation without a body.
    async fn execute(
        &self,
        operation: Operation,
    ) -> Result<(Reply, Option<WasiBody>), StorageError> {
        let directory = Arc::clone(&self.directory);
        blocking(move || {
            let (reply, file) = directory.execute(&operation)?;
            let content = file.map(|part| {
                let (length, FileRange { file, range }) = (part.length(), part);
                file_body::open(file, range.start, length)
            });
            Ok((reply, content.transpose()?))
        })
        .await
    }

    /// Writes an object whose value is the body.
    async fn write(&self, key: Key, body: WasiBody) -> Result<Reply, StorageError> {
        let limit = key.value_limit();
        let value = match Limited::new(body, limit).collect().await {
            Ok(value) => value.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => {
                return Err(StorageError::Failed(format!("{key}: more than {limit} bytes")));
            }
            Err(error) => {
                tracing::debug!("a value ended early: {error}");
                return Err(StorageError::Aborted);
            }
        };
        let directory = Arc::clone(&self.directory);
        blocking(move || directory.write(&key, &value)).await.map(|()| Reply::Done)
    }

    /// Streams the body into an upload session.
    async fn transfer(
        &self,
        transfer: Transfer,
        mut body: WasiBody,
    ) -> Result<Reply, StorageError> {
        let directory = Arc::clone(&self.directory);
        let receiver = match blocking(move || directory.receive(transfer)).await {
            Ok(receiver) => receiver,
            Err(error) => {
                drain(body).await;
                return Err(error);
            }
        };
        let (receiver, complete) = write_all(receiver, &mut body).await?;
        let directory = Arc::clone(&self.directory);
        blocking(move || receiver.finish(&directory, complete)).await
    }
}

/// Counts a body among those being received until it is dropped.
struct Receiving<'a>(&'a watch::Sender<usize>);

impl<'a> Receiving<'a> {
    fn begin(receiving: &'a watch::Sender<usize>) -> Self {
        receiving.send_modify(|receiving| *receiving += 1);
        Self(receiving)
    }
}

impl Drop for Receiving<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|receiving| *receiving -= 1);
    }
}

fn parse<T: DeserializeOwned>(json: &HeaderValue) -> Result<T, StorageError> {
    serde_json::from_slice(json.as_bytes())
        .map_err(|error| StorageError::Failed(format!("the component's operation: {error}")))
}

/// Writes a body as it is received: while one batch is being hashed and written,
/// the next one is gathered. Returns `false` if the body was aborted.
async fn write_all(
    mut receiver: Receiver,
    body: &mut WasiBody,
) -> Result<(Receiver, bool), StorageError> {
    let mut batch = gather(body, None).await;
    loop {
        let Batch { pieces, paused, end } = batch;
        let written: JoinHandle<Result<_, StorageError>> = spawn_blocking(move || {
            for piece in &pieces {
                receiver.write(piece)?;
            }
            if paused {
                receiver.settle()?;
            }
            Ok(receiver)
        });
        if let Some(whole) = end {
            return Ok((written.await.map_err(panicked)??, whole));
        }
        // After a pause, all that was received has been settled.
        batch = gather(body, (!paused).then_some(BATCH_PAUSE)).await;
        receiver = written.await.map_err(panicked)??;
    }
}

/// The pieces of a body that have been received.
struct Batch {
    pieces: Vec<Bytes>,
    /// Whether the client stalls.
    paused: bool,
    /// At the body's end, whether it is complete.
    end: Option<bool>,
}

/// Gathers the next pieces of a body, until they fill a batch or the client
/// stalls. `patience` is how long to wait for the first one.
async fn gather(body: &mut WasiBody, patience: Option<Duration>) -> Batch {
    let mut batch = Batch { pieces: Vec::new(), paused: false, end: None };
    let mut size = 0;
    while size < BATCH_SIZE && batch.end.is_none() {
        let limit = if batch.pieces.is_empty() { patience } else { Some(BATCH_PAUSE) };
        let frame = match limit {
            None => body.frame().await,
            Some(limit) => {
                let Ok(frame) = tokio::time::timeout(limit, body.frame()).await else {
                    batch.paused = true;
                    break;
                };
                frame
            }
        };
        match frame {
            Some(Ok(frame)) => {
                if let Ok(bytes) = frame.into_data() {
                    size += bytes.len();
                    batch.pieces.push(bytes);
                }
            }
            Some(Err(error)) => {
                tracing::debug!("an upload ended early: {error}");
                batch.end = Some(false);
            }
            None => batch.end = Some(true),
        }
    }
    batch
}

async fn drain(mut body: WasiBody) {
    let mut size = 0;
    while size < DRAIN_LIMIT
        && let Some(Ok(frame)) = body.frame().await
    {
        size += frame.data_ref().map_or(0, Bytes::len);
    }
}

/// Runs work that may block on the disk off the async threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
) -> Result<T, StorageError> {
    spawn_blocking(work).await.map_err(panicked)?
}

#[expect(clippy::needless_pass_by_value, reason = "it is a function for map_err")]
fn panicked(error: tokio::task::JoinError) -> StorageError {
    StorageError::Failed(format!("storage task: {error}"))
}

fn reply_with(
    result: &Result<Reply, StorageError>,
    content: Option<WasiBody>,
) -> Response<WasiBody> {
    let json = header_json(result);
    // With content in the body, the reply is in the header, whatever its length.
    let (header, body) = match (HeaderValue::from_bytes(&json), content) {
        (Ok(header), Some(content)) => (header, content),
        (Ok(header), None) if json.len() <= REPLY_HEADER_LIMIT => (header, full(Bytes::new())),
        _ => (HeaderValue::from_static(REPLY_IN_BODY), full(json.into())),
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(REPLY, header);
    response
}
