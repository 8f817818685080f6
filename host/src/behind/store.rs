//! The host store: answers the component's storage operations.
//!
//! [`roadstead_bridge::storage`] says how they travel. Bodies pass through as
//! they are: bytes go from the connection to the file, hashed natively on the
//! way, and from the file to the connection, and the component never sees them.

use crate::body::{file_body, full};
use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::BodyExt as _;
use roadstead_bridge::header_json;
use roadstead_bridge::storage::{
    OPERATION, Operation, REPLY, REPLY_HEADER_LIMIT, REPLY_IN_BODY, Reply, TRANSFER, Transfer,
};
use roadstead_directory::{Directory, FileRange, Receiver};
use roadstead_storage::StorageError;
use serde::de::DeserializeOwned;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use wasmtime_wasi_http::WasiBody;

/// Bytes of a body that are written at once, about. Each writer holds at most
/// two such batches, one of them being written.
const BATCH_SIZE: usize = 512 * 1024;

/// How long a batch waits for more of its body. What a client that pauses has
/// sent is written then, and takes no memory.
const BATCH_PAUSE: Duration = Duration::from_millis(20);

/// How much of a body is read and forgotten if the operation is refused, in
/// bytes, so that the client sees the refusal.
const DRAIN_LIMIT: usize = 16 * 1024 * 1024;

/// Answers storage operations from a directory.
#[derive(Debug)]
pub(crate) struct HostStore {
    directory: Arc<Directory>,
    /// How many bodies are being received.
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

    /// Carries out the operation or the transfer that a request is.
    pub(crate) async fn respond(self: Arc<Self>, request: Request<WasiBody>) -> Response<WasiBody> {
        let (head, body) = request.into_parts();
        let result = if let Some(json) = head.headers.get(TRANSFER) {
            match parse(json) {
                Ok(transfer) => self.transfer(transfer, body).await.map(|reply| (reply, None)),
                Err(problem) => Err(problem),
            }
        } else {
            match head.headers.get(OPERATION).map(parse) {
                Some(Ok(operation)) => self.execute(operation).await,
                Some(Err(problem)) => Err(problem),
                None => Err(StorageError::Failed("a request without an operation".to_owned())),
            }
        };
        if let Err(StorageError::Failed(cause) | StorageError::Unavailable(cause)) = &result {
            tracing::error!("storage: {cause}");
        }
        match result {
            Ok((reply, content)) => reply_with(&Ok(reply), content),
            Err(error) => reply_with(&Err(error), None),
        }
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

    /// Carries out an operation with a body.
    async fn transfer(&self, transfer: Transfer, body: WasiBody) -> Result<Reply, StorageError> {
        self.receiving.send_modify(|receiving| *receiving += 1);
        let reply = self.receive(transfer, body).await;
        self.receiving.send_modify(|receiving| *receiving -= 1);
        reply
    }

    async fn receive(&self, transfer: Transfer, mut body: WasiBody) -> Result<Reply, StorageError> {
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

fn parse<T: DeserializeOwned>(json: &HeaderValue) -> Result<T, StorageError> {
    serde_json::from_slice(json.as_bytes())
        .map_err(|error| StorageError::Failed(format!("the component's operation: {error}")))
}

/// Writes a body as it comes: while one batch is being hashed and written, the
/// next one gathers. `false` says that the body broke off.
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
        // After a pause there is nothing that could be settled.
        batch = gather(body, (!paused).then_some(BATCH_PAUSE)).await;
        receiver = written.await.map_err(panicked)??;
    }
}

/// What has come of a body.
struct Batch {
    pieces: Vec<Bytes>,
    /// Whether the client pauses.
    paused: bool,
    /// At the body's end, whether it is whole.
    end: Option<bool>,
}

/// The next pieces of a body, until they are many or the client pauses. The
/// first one is waited for as long as `patience` says.
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

/// Runs what may wait for the disk where it makes no connection wait.
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
    // Content has the body, so that its reply is in the header whatever its
    // length.
    let (header, body) = match (HeaderValue::from_bytes(&json), content) {
        (Ok(header), Some(content)) => (header, content),
        (Ok(header), None) if json.len() <= REPLY_HEADER_LIMIT => (header, full(Bytes::new())),
        _ => (HeaderValue::from_static(REPLY_IN_BODY), full(json.into())),
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(REPLY, header);
    response
}
