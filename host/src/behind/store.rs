//! The host store: answers the component's storage operations.
//!
//! The component reaches it as `wasi:http/client` reaches any server, at an
//! authority that leads to no network. Bodies pass through as they are: bytes
//! go from the connection to the file, hashed natively on the way, and from
//! the file to the connection, and the component never sees them.

use crate::body::{file_body, full};
use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::BodyExt as _;
use roadstead_directory::{
    Appender, Directory, Fault, OPERATION_HEADER, Operation, REPLY_HEADER, REPLY_HEADER_LIMIT,
    Reply, WRITE_LIMIT, header_json,
};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use wasmtime_wasi_http::WasiBody;

/// The authority at which the component finds the store.
pub(crate) const STORE_AUTHORITY: &str = "store.internal";

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
    pub(crate) fn open(root: PathBuf) -> Result<Self, roadstead_directory::Error> {
        let directory = Arc::new(Directory::open(root)?);
        Ok(Self { directory, receiving: watch::Sender::new(0) })
    }

    /// Waits until no body is being received.
    pub(crate) async fn idle(&self) {
        // The sender lives as long as this.
        let _ = self.receiving.subscribe().wait_for(|&receiving| receiving == 0).await;
    }

    /// Carries out the operation that a request is.
    pub(crate) async fn answer(self: Arc<Self>, request: Request<WasiBody>) -> Response<WasiBody> {
        let operation = request
            .headers()
            .get(OPERATION_HEADER)
            .ok_or_else(|| "no operation".to_owned())
            .and_then(|json| {
                serde_json::from_slice(json.as_bytes()).map_err(|error| error.to_string())
            });
        let body = request.into_body();
        let result = match operation {
            Ok(operation @ (Operation::Append { .. } | Operation::Commit { .. })) => {
                self.receiving.send_modify(|receiving| *receiving += 1);
                let reply = self.receive(operation, body).await;
                self.receiving.send_modify(|receiving| *receiving -= 1);
                reply.map(|reply| (reply, None))
            }
            Ok(operation) => self.execute(operation, body).await,
            Err(problem) => Err(Fault::Invalid(problem)),
        };
        if let Err(Fault::Io(cause) | Fault::Invalid(cause)) = &result {
            tracing::error!("storage: {cause}");
        }
        let (result, content) = match result {
            Ok((reply, content)) => (Ok(reply), content),
            Err(fault) => (Err(fault), None),
        };
        respond(&result, content)
    }

    /// Operations whose bytes are few.
    async fn execute(
        &self,
        operation: Operation,
        body: WasiBody,
    ) -> Result<(Reply, Option<WasiBody>), Fault> {
        let payload = if matches!(operation, Operation::Write { .. }) {
            let limited = http_body_util::Limited::new(body, WRITE_LIMIT);
            limited.collect().await.map_err(|error| Fault::Invalid(error.to_string()))?.to_bytes()
        } else {
            Bytes::new()
        };
        let directory = Arc::clone(&self.directory);
        blocking(move || {
            let (reply, file) = directory.execute(&operation, &payload)?;
            let content = match (&reply, file) {
                (Reply::Object(object), Some(file)) => {
                    let length = object.range.end - object.range.start;
                    let body = file_body::open(file, object.range.start, length);
                    Some(body.map_err(|error| Fault::Io(error.to_string()))?)
                }
                _ => None,
            };
            Ok((reply, content))
        })
        .await
    }

    /// Operations with a stream of bytes.
    async fn receive(&self, operation: Operation, mut body: WasiBody) -> Result<Reply, Fault> {
        let directory = Arc::clone(&self.directory);
        let started = blocking(move || {
            let appender = directory.start_body(&operation)?;
            Ok((operation, appender))
        });
        let (operation, appender) = match started.await {
            Ok(started) => started,
            Err(fault) => {
                drain(body).await;
                return Err(fault);
            }
        };
        let (appender, whole) = write_all(appender, &mut body).await?;
        let directory = Arc::clone(&self.directory);
        blocking(move || directory.end_body(&operation, appender, !whole)).await
    }
}

/// Writes a body as it comes: while one batch is being hashed and written, the
/// next one gathers. `false` says that the body broke off.
async fn write_all(mut appender: Appender, body: &mut WasiBody) -> Result<(Appender, bool), Fault> {
    let mut batch = gather(body, None).await;
    loop {
        let Batch { pieces, paused, end } = batch;
        let written: JoinHandle<Result<_, Fault>> = spawn_blocking(move || {
            for piece in &pieces {
                appender.write(piece)?;
            }
            if paused {
                appender.settle()?;
            }
            Ok(appender)
        });
        if let Some(whole) = end {
            return Ok((written.await.map_err(panicked)??, whole));
        }
        // After a pause there is nothing that could be settled.
        batch = gather(body, (!paused).then_some(BATCH_PAUSE)).await;
        appender = written.await.map_err(panicked)??;
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
                tracing::debug!("an upload broke off: {error}");
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
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    spawn_blocking(work).await.map_err(panicked)?
}

#[expect(clippy::needless_pass_by_value, reason = "it is a function for map_err")]
fn panicked(error: tokio::task::JoinError) -> Fault {
    Fault::Io(format!("storage task: {error}"))
}

fn respond(result: &Result<Reply, Fault>, content: Option<WasiBody>) -> Response<WasiBody> {
    let json = header_json(result);
    // An object's own bytes have the body, so that its reply is in the header
    // whatever its length.
    let (header, body) = match (HeaderValue::from_bytes(&json), content) {
        (Ok(header), Some(content)) => (header, content),
        (Ok(header), None) if json.len() <= REPLY_HEADER_LIMIT => (header, full(Bytes::new())),
        _ => (HeaderValue::from_static("body"), full(json.into())),
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(REPLY_HEADER, header);
    response
}
