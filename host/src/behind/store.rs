//! The host store: carries out the component's storage operations.
//!
//! [`roadstead_bridge::storage`] describes the messages. Bodies pass unchanged:
//! bytes go from the connection to the file, hashed natively on the way, and from
//! the file to the connection. The component never sees them.

use crate::behind::deadline::{Deadlines, within};
use crate::blocking::{self, Lost, Pool, Task};
use crate::body::request_body::native;
use crate::body::{file_body, full};
use crate::log_throttle::LogThrottle;
use crate::meter::Meter;
use bytes::Bytes;
use futures::FutureExt as _;
use http::{HeaderValue, Request, Response};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use roadstead_bridge::header_json;
use roadstead_bridge::storage::{
    OPERATION, Operation, REPLY, REPLY_HEADER_LIMIT, REPLY_IN_BODY, Reply, TRANSFER, Transfer,
    WRITE, Write,
};
use roadstead_config::UploadPurging;
use roadstead_directory::{Directory, FileRange, Options, Purged, Receiver, Recovered};
use roadstead_storage::{StorageError, UploadSession};
use roadstead_telemetry::metrics::StorageOperation;
use serde::de::DeserializeOwned;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinError;
use wasmtime_wasi_http::{Error, WasiBody};

/// The most blobs and tags that are looked up without a thread for it, in some 5 µs each.
///
/// Limit: blobs and tags of a question that is answered without a thread for it; test: none, more
/// are looked up by a thread.
const BRIEF: usize = 32;

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

/// How long the rest of a body is read and discarded after a part of it could
/// not be stored: the client was let in to send all of it, and many read no
/// response before they have.
///
/// Limit: time for the rest of an upload that cannot be stored; test:
/// `a_full_disk_is_answered_and_mended_without_a_restart`.
const UNSTORED_LIMIT: Duration = Duration::from_mins(1);

/// For what the directory logs, which clients can cause at will.
static NOTICES: LogThrottle = LogThrottle::new();

fn notice(line: &str) {
    if NOTICES.is_due() {
        tracing::warn!("storage: {line}");
    }
}

/// Carries out storage operations in a directory.
#[derive(Debug)]
pub(crate) struct HostStore {
    directory: Arc<Directory>,
    /// The number of bodies that are being received.
    receiving: watch::Sender<usize>,
    deadlines: Deadlines,
}

impl HostStore {
    /// Opens the directory. With `read_only`, nothing is written to it; with `journal`, small
    /// changes become durable by a journal.
    pub(crate) fn open(root: PathBuf, read_only: bool, journal: bool) -> io::Result<Self> {
        let options = Options { read_only, journal, log: notice };
        let directory = Arc::new(Directory::open_with(root, options)?);
        let Recovered { recorded, restored, removed } = directory.recovered();
        if recorded > 0 {
            tracing::info!(
                "recovered from the journal: of {recorded} changes, {restored} were lost and are \
                 there again, and {removed} deletions were repeated"
            );
        }
        let (receiving, deadlines) = (watch::Sender::new(0), Deadlines::default());
        Ok(Self { directory, receiving, deadlines })
    }

    /// Whether no other native process serves the directory.
    pub(crate) fn is_owner(&self) -> bool {
        self.directory.owns_sessions()
    }

    /// What identifiers of sessions are signed with; see [`Directory::session_secret`].
    pub(crate) fn session_secret(&self) -> Option<String> {
        self.directory.session_secret()
    }

    /// Removes abandoned uploads, now and from time to time.
    pub(crate) async fn purge(self: Arc<Self>, purging: UploadPurging, meter: Meter) {
        let UploadPurging { age, interval, dry_run } = purging;
        loop {
            let directory = Arc::clone(&self.directory);
            let report = move |session: &UploadSession, bytes| {
                if dry_run {
                    tracing::info!(
                        "abandoned upload would be removed: {session} with {bytes} bytes"
                    );
                } else {
                    tracing::debug!("abandoned upload removed: {session} with {bytes} bytes");
                }
            };
            let purge = move || directory.purge(age, dry_run, report);
            match blocking(blocking::writes(), purge).await {
                Ok(Purged { sessions: 0, temporary: 0, .. }) => {}
                Ok(Purged { sessions, bytes, temporary }) => {
                    if !dry_run {
                        meter.uploads_purged(sessions);
                    }
                    let done = if dry_run { "would be removed" } else { "removed" };
                    tracing::info!(
                        "abandoned uploads {done}: {sessions} with {bytes} bytes; temporary files \
                         removed: {temporary}"
                    );
                }
                Err(error) => tracing::error!("cannot remove abandoned uploads: {error}"),
            }
            tokio::time::sleep(interval).await;
        }
    }

    /// Waits until no body is being received.
    pub(crate) async fn idle(&self) {
        // The sender lives as long as this.
        let _ = self.receiving.subscribe().wait_for(|&receiving| receiving == 0).await;
    }

    /// Carries out the operation, write or transfer in a request: an operation that only
    /// reads what the kernel has in memory at once, and everything else in a task of its own,
    /// which does not wait for the caller.
    ///
    /// # Errors
    /// When that task panics.
    pub(crate) async fn respond(
        self: Arc<Self>,
        request: Request<WasiBody>,
        meter: &Meter,
    ) -> Result<Response<WasiBody>, JoinError> {
        let began = Instant::now();
        let operation = match request.headers().get(OPERATION).map(parse).transpose() {
            Ok(operation) => operation,
            Err(error) => return Ok(answer(Err(error))),
        };
        if let Some(outcome) =
            operation.as_ref().and_then(|operation| self.read_from_memory(operation))
        {
            if let Some(operation) = &operation {
                meter.storage(operation.into(), began, &outcome);
            }
            return Ok(answer(outcome));
        }
        let meter = meter.clone();
        let work = async move {
            answer(match operation {
                Some(operation) => {
                    let kind = StorageOperation::from(&operation);
                    let outcome = self.execute(operation).await;
                    meter.storage(kind, began, &outcome);
                    outcome
                }
                None => self.receive(request, &meter).await,
            })
        };
        tokio::spawn(native(work)).await
    }

    /// Carries out an operation that only reads, if it takes no more than what the kernel has
    /// in memory. Does not wait.
    fn read_from_memory(&self, operation: &Operation) -> Option<Outcome> {
        if !is_brief(operation) {
            return None;
        }
        let read = || self.directory.from_memory(|directory| execute(directory, operation));
        // A panic is repeated on a thread of its own, which reports it.
        catch_unwind(AssertUnwindSafe(read)).unwrap_or_default()
    }

    /// Carries out a write or a transfer.
    async fn receive(&self, request: Request<WasiBody>, meter: &Meter) -> Outcome {
        let began = Instant::now();
        let (head, body) = request.into_parts();
        let _receiving = Receiving::begin(&self.receiving);
        let (kind, reply) = if let Some(json) = head.headers.get(TRANSFER) {
            let transfer: Transfer = parse(json)?;
            let kind = StorageOperation::from(&transfer);
            (kind, self.transfer(transfer, body).await)
        } else if let Some(json) = head.headers.get(WRITE) {
            let write: Write = parse(json)?;
            let kind = StorageOperation::from(&write);
            (kind, self.write(write, body).await)
        } else {
            return Err(StorageError::Failed("a request without an operation".to_owned()));
        };
        meter.storage(kind, began, &reply);
        Ok((reply?, None))
    }

    /// Carries out an operation without a body.
    async fn execute(&self, operation: Operation) -> Outcome {
        let (directory, operation) = (Arc::clone(&self.directory), Arc::new(operation));
        let (limit, carried_out) = (self.deadlines.of(&operation), Arc::clone(&operation));
        let work = blocking(pool(&operation), move || execute(&directory, &carried_out));
        within(limit, operation, work).await
    }

    /// Writes an object whose value is the body.
    async fn write(&self, write: Write, body: WasiBody) -> Result<Reply, StorageError> {
        let key = write.key();
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
        let limit = match &write {
            // Each tag is synced.
            Write::Manifest(manifest) if manifest.tags.len() > 1 => self.deadlines.long,
            Write::Manifest(_) | Write::Object(_) => self.deadlines.write,
        };
        let work = blocking(blocking::writes(), move || directory.write_value(&write, &value));
        within(limit, key, work).await
    }

    /// Streams the body into an upload session.
    async fn transfer(
        &self,
        transfer: Transfer,
        mut body: WasiBody,
    ) -> Result<Reply, StorageError> {
        let directory = Arc::clone(&self.directory);
        let Deadlines { write, long, .. } = self.deadlines;
        let ahead = gather_small(&mut body);
        if let Batch { pieces, end: Some(complete), .. } = ahead {
            // The whole body is here: one task begins, writes and finishes, instead of three.
            let work = blocking(blocking::writes(), move || {
                let mut receiver = directory.receive(transfer)?;
                for piece in &pieces {
                    receiver.write(piece)?;
                }
                receiver.finish(&directory, complete)
            });
            return within(long, "a small chunk", work).await;
        }
        let work = blocking(blocking::writes(), move || directory.receive(transfer));
        // If it is refused, dropping the body has the front drain it.
        let receiver = within(long, "the begin of a chunk", work).await?;
        let (receiver, complete) = match write_all(receiver, ahead, &mut body, write).await {
            Ok(written) => written,
            Err(error) => {
                let _ = tokio::time::timeout(UNSTORED_LIMIT, discard(&mut body)).await;
                return Err(error);
            }
        };
        let directory = Arc::clone(&self.directory);
        let work = blocking(blocking::writes(), move || receiver.finish(&directory, complete));
        within(long, "the end of a chunk", work).await
    }
}

/// A reply, and the content that follows it.
pub(super) type Outcome = Result<(Reply, Option<WasiBody>), StorageError>;

/// Carries out an operation without a body, and waits for it.
fn execute(directory: &Directory, operation: &Operation) -> Outcome {
    let (reply, file) = directory.execute(operation)?;
    let content = file.map(|part| {
        let (length, FileRange { file, range }) = (part.length(), part);
        file_body::open(file, range.start, length)
    });
    Ok((reply, content.transpose()?))
}

/// Whether an operation looks at a few files only.
fn is_brief(operation: &Operation) -> bool {
    match operation {
        Operation::Manifest { .. }
        | Operation::Blob { .. }
        | Operation::Read(_)
        | Operation::Exists(_) => true,
        Operation::MissingBlobs { digests, .. } => digests.len() <= BRIEF,
        Operation::PushState { manifest, blobs } => manifest.tags.len() + blobs.len() <= BRIEF,
        _ => false,
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

/// Parses what a header says.
pub(super) fn parse<T: DeserializeOwned>(json: &HeaderValue) -> Result<T, StorageError> {
    serde_json::from_slice(json.as_bytes())
        .map_err(|error| StorageError::Failed(format!("the component's operation: {error}")))
}

/// Writes a body as it is received: while one batch is being hashed and written,
/// the next one is gathered. Returns `false` if the body was aborted.
async fn write_all(
    mut receiver: Receiver,
    ahead: Batch,
    body: &mut WasiBody,
    limit: Duration,
) -> Result<(Receiver, bool), StorageError> {
    let mut batch = gather(ahead, body, None).await;
    loop {
        let Batch { pieces, paused, end, .. } = batch;
        let written: Task<Result<_, StorageError>> = blocking::writes().run(move || {
            for piece in &pieces {
                receiver.write(piece)?;
            }
            if paused {
                receiver.settle()?;
            }
            Ok(receiver)
        });
        if let Some(whole) = end {
            return Ok((settled(limit, written).await?, whole));
        }
        // After a pause, all that was received has been settled.
        batch = gather(Batch::default(), body, (!paused).then_some(BATCH_PAUSE)).await;
        receiver = settled(limit, written).await?;
    }
}

/// The receiver, once it has taken a batch.
async fn settled(
    limit: Duration,
    written: Task<Result<Receiver, StorageError>>,
) -> Result<Receiver, StorageError> {
    within(limit, "a piece of a chunk", async { written.await.map_err(lost)? }).await
}

/// The pieces of a body that have been received.
#[derive(Default)]
struct Batch {
    pieces: Vec<Bytes>,
    /// Their bytes.
    size: usize,
    /// Whether the client stalls.
    paused: bool,
    /// At the body's end, whether it is complete.
    end: Option<bool>,
}

impl Batch {
    /// Takes the next piece, or the end.
    fn take(&mut self, frame: Option<Result<Frame<Bytes>, Error>>) {
        match frame {
            Some(Ok(frame)) => {
                if let Ok(bytes) = frame.into_data() {
                    self.size += bytes.len();
                    self.pieces.push(bytes);
                }
            }
            Some(Err(error)) => {
                tracing::debug!("an upload ended early: {error}");
                self.end = Some(false);
            }
            None => self.end = Some(true),
        }
    }
}

/// The received pieces of a body of known length of at most [`BATCH_SIZE`]. A larger body is
/// not read before the session accepts it: reading sends `100 Continue`.
fn gather_small(body: &mut WasiBody) -> Batch {
    let mut batch = Batch::default();
    if body.size_hint().exact().is_none_or(|size| size > BATCH_SIZE as u64) {
        return batch;
    }
    while batch.end.is_none()
        && let Some(frame) = body.frame().now_or_never()
    {
        batch.take(frame);
    }
    batch
}

/// Gathers the next pieces of a body, until they fill a batch or the client
/// stalls. `patience` is how long to wait for the first one.
async fn gather(mut batch: Batch, body: &mut WasiBody, patience: Option<Duration>) -> Batch {
    while batch.size < BATCH_SIZE && batch.end.is_none() {
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
        batch.take(frame);
    }
    batch
}

/// Reads a body to its end.
async fn discard(body: &mut WasiBody) {
    while let Some(Ok(_)) = body.frame().await {}
}

/// The threads for an operation: those that may sync cannot take the others'.
fn pool(operation: &Operation) -> &'static Pool {
    match operation {
        Operation::Manifest { .. }
        | Operation::Blob { .. }
        | Operation::MissingBlobs { .. }
        | Operation::MissingManifests { .. }
        | Operation::PushState { .. }
        | Operation::Hints { .. }
        | Operation::Read(_)
        | Operation::Exists(_)
        | Operation::Hash { .. }
        | Operation::Names(_)
        | Operation::Enumerate { .. }
        | Operation::Status(_) => blocking::reads(),
        Operation::Link { .. }
        | Operation::LinkTag { .. }
        | Operation::CreateTag { .. }
        | Operation::Remove(_)
        | Operation::Unlink { .. }
        | Operation::Quarantine(_)
        | Operation::Tidy(_)
        | Operation::Begin(_)
        | Operation::Commit(_)
        | Operation::Discard(_) => blocking::writes(),
    }
}

/// Runs work that may block on the disk off the async threads.
pub(super) async fn blocking<T: Send + 'static>(
    pool: &'static Pool,
    work: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
) -> Result<T, StorageError> {
    pool.run(work).await.map_err(lost)?
}

fn lost(lost: Lost) -> StorageError {
    match lost {
        Lost::Refused => StorageError::Unavailable(lost.to_string()),
        Lost::Panicked => StorageError::Failed(lost.to_string()),
    }
}

/// The response for an outcome, which is logged if the storage fails.
pub(super) fn answer(outcome: Outcome) -> Response<WasiBody> {
    if let Some(cause) = outcome.as_ref().err().and_then(StorageError::cause) {
        tracing::error!("storage: {cause}");
    }
    match outcome {
        Ok((reply, content)) => reply_with(&Ok(reply), content),
        Err(error) => reply_with(&Err(error), None),
    }
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
        _ => {
            // A body may contain any byte: what a header must escape would make
            // it up to six times as long. No reply fails to serialise.
            let json = serde_json::to_vec(result).unwrap_or_default();
            (HeaderValue::from_static(REPLY_IN_BODY), full(json.into()))
        }
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(REPLY, header);
    response
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;
