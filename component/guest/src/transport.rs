//! How storage operations reach a directory: through the native host that holds
//! it, or in a mounted directory.

use crate::body::{self, CHUNK, Upload};
use crate::{host, mount, outbound, wasip3};
use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use roadstead_bridge::services::SESSION_SECRET;
use roadstead_bridge::storage::{
    AUTHORITY, OPERATION, Operation, REPLY, REPLY_IN_BODY, Reply, TRANSFER, Transfer, WRITE, Write,
};
use roadstead_bridge::{Services, header_json, log};
use roadstead_config::{Config, DEFAULT_ROOT, UploadPurging};
use roadstead_directory::{Directory, FileRange, Purged, Receiver, Transport};
use roadstead_storage::{
    Content, DRAIN_LIMIT, RequestBody as _, SessionSecret, StorageError, UploadSession,
};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::time::Duration;
use wasip3::http::types::Response;
use wasip3::wit_bindgen::StreamReader;
use wasip3::wit_stream;

/// The largest reply in a body, in bytes: a list of the longest names.
///
/// Limit: bytes of a reply of the host's storage; test: none, it is the host's own.
const REPLY_LIMIT: usize = 16 * 1024 * 1024;

/// The largest value that is read into memory, in bytes: the limit of every key
/// that the registry reads whole is below.
///
/// Limit: bytes of a value of the host's storage that is read whole; test: none, it
/// is the host's own.
const VALUE_LIMIT: usize = 16 * 1024 * 1024;

/// The transport that the configuration selects.
#[derive(Debug)]
pub(crate) enum GuestTransport {
    /// A native host carries operations out, and hashes natively. It may have given what
    /// identifiers of sessions are signed with.
    Host(Option<SessionSecret>),
    /// The component does everything itself, by std and thus WASI.
    Mounted(Box<Directory>, Option<UploadPurging>),
}

impl GuestTransport {
    pub(crate) fn open(
        config: &Config,
        services: Services,
        headers: &HeaderMap,
    ) -> Result<Self, String> {
        if services.storage {
            let secret = std::env::var(SESSION_SECRET).ok();
            return Ok(Self::Host(secret.map(SessionSecret::new)));
        }
        let root = config.root.clone().unwrap_or_else(|| DEFAULT_ROOT.into());
        let directory = Box::new(mount::open(&root, config.read_only, headers)?);
        Ok(Self::Mounted(directory, config.upload_purging))
    }
}

impl Transport for GuestTransport {
    type Upload = Upload;
    type Download = StreamReader<u8>;

    async fn execute(&self, operation: Operation) -> Result<(Reply, Bytes), StorageError> {
        match self {
            Self::Host(_) => {
                let (mut reply, body) = ask(&operation).await?;
                let bytes = match (reply.take_text(), body) {
                    (Some(text), _) => text.into(),
                    (None, Some(body)) => collect(body, VALUE_LIMIT).await?,
                    (None, None) => Bytes::new(),
                };
                Ok((reply, bytes))
            }
            Self::Mounted(directory, purging) => {
                let (reply, bytes) = directory.fetch(&operation)?;
                if let (Operation::Begin(session), Some(purging)) = (&operation, purging) {
                    purge(directory, session, *purging);
                }
                Ok((reply, bytes.into()))
            }
        }
    }

    async fn pause(&self, time: Duration) {
        outbound::pause(time).await;
    }

    async fn open(
        &self,
        operation: Operation,
    ) -> Result<(Reply, Content<StreamReader<u8>>), StorageError> {
        let (mut reply, stream) = match self {
            Self::Host(_) => {
                let (reply, body) = ask(&operation).await?;
                (reply, body.map(|body| body.into_stream().0))
            }
            Self::Mounted(directory, _) => {
                let (reply, file) = directory.execute(&operation)?;
                (reply, file.map(read))
            }
        };
        let content = match (reply.take_text(), stream) {
            (None, Some(stream)) => Content::Stream(stream),
            (text, _) => Content::Bytes(text.unwrap_or_default().into()),
        };
        Ok((reply, content))
    }

    async fn write(&self, write: Write, value: Bytes) -> Result<Reply, StorageError> {
        match self {
            Self::Host(_) => {
                let contents = (!value.is_empty()).then(|| body::stream(value.into()));
                send(&WRITE, header_json(&write), contents).await
            }
            Self::Mounted(directory, _) => directory.write_value(&write, &value),
        }
    }

    fn session_secret(&self) -> Option<&SessionSecret> {
        match self {
            Self::Host(secret) => secret.as_ref(),
            // Instances are short-lived, and do not know which sessions another one has ended.
            Self::Mounted(..) => None,
        }
    }

    async fn transfer(&self, transfer: Transfer, body: Upload) -> Result<Reply, StorageError> {
        match self {
            Self::Host(_) => {
                let (stream, received) = body.into_stream();
                let reply = send(&TRANSFER, header_json(&transfer), Some(stream)).await;
                drop(received);
                reply
            }
            Self::Mounted(directory, _) => match directory.receive(transfer) {
                Ok(receiver) => receive(directory, receiver, body).await,
                Err(error) => {
                    body.drain().await;
                    Err(error)
                }
            },
        }
    }
}

/// Removes some abandoned uploads beside one that has begun. What fails is logged, and left
/// to another one.
fn purge(directory: &Directory, session: &UploadSession, purging: UploadPurging) {
    let UploadPurging { age, interval, dry_run } = purging;
    // In a dry run, others find the same ones again.
    let done = if dry_run { "would be removed, at least" } else { "removed" };
    match directory.purge_beside(session, age, interval, dry_run) {
        Ok(Purged { sessions: 0, .. }) => {}
        Ok(Purged { sessions, bytes, .. }) => {
            let text = format!("abandoned uploads {done}: {sessions} with {bytes} bytes");
            eprintln!("{}", log::line(log::Level::Info, &text));
        }
        Err(error) => {
            let text = format!("cannot remove abandoned uploads: {error}");
            eprintln!("{}", log::line(log::Level::Warning, &text));
        }
    }
}

/// Writes a body to the target of a transfer.
async fn receive(
    directory: &Directory,
    mut receiver: Receiver,
    body: Upload,
) -> Result<Reply, StorageError> {
    let (mut written, mut unwritten) = (Ok(()), 0);
    let complete = body
        .for_each(|chunk| {
            if written.is_ok() {
                written = receiver.write(chunk);
            } else {
                // So that the client reads why.
                unwritten += chunk.len() as u64;
            }
            unwritten <= DRAIN_LIMIT
        })
        .await;
    written?;
    receiver.finish(directory, complete)
}

/// Has the native host carry out an operation. Returns its reply, and the body,
/// which has the content unless the reply has it.
async fn ask(operation: &Operation) -> Result<(Reply, Option<Upload>), StorageError> {
    let json = header_json(operation);
    let response = host::send(AUTHORITY, &OPERATION, json, None).await;
    let response = response.map_err(StorageError::Failed)?;
    let header = host::header(&response, &REPLY);
    if header.as_deref() == Some(REPLY_IN_BODY.as_bytes()) {
        let json = collect(Upload::of_response(response), REPLY_LIMIT).await?;
        return Ok((parse(&json)?, None));
    }
    let reply = parse(&header.ok_or_else(|| no_reply(&response))?)?;
    let content = operation.has_content(&reply).then(|| Upload::of_response(response));
    Ok((reply, content))
}

/// Has the native host carry out what has a body.
async fn send(
    header: &HeaderName,
    json: Vec<u8>,
    contents: Option<StreamReader<u8>>,
) -> Result<Reply, StorageError> {
    let response = host::send(AUTHORITY, header, json, contents).await;
    let response = response.map_err(StorageError::Failed)?;
    parse(&host::header(&response, &REPLY).ok_or_else(|| no_reply(&response))?)
}

fn parse(json: &[u8]) -> Result<Reply, StorageError> {
    let reply: Result<Reply, StorageError> = serde_json::from_slice(json)
        .map_err(|error| StorageError::Failed(format!("the host's reply: {error}")))?;
    reply
}

fn no_reply(response: &Response) -> StorageError {
    let status = response.get_status_code();
    StorageError::Failed(format!("the host answered {status} without a {REPLY} header"))
}

async fn collect(body: Upload, limit: usize) -> Result<Bytes, StorageError> {
    let collected = body.collect(limit).await;
    collected.map_err(|error| StorageError::Failed(format!("the host's response: {error:?}")))
}

/// A part of a file as a stream.
fn read(file: FileRange) -> StreamReader<u8> {
    let (mut writer, reader) = wit_stream::new();
    wasip3::spawn(async move {
        let length = file.length();
        let FileRange { mut file, range } = file;
        if file.seek(SeekFrom::Start(range.start)).is_err() {
            return;
        }
        let mut file = file.take(length);
        let mut buffer = vec![0; CHUNK];
        loop {
            // An error cuts the response short, which clients notice by
            // Content-Length.
            let Ok(count @ 1..) = file.read(&mut buffer) else { return };
            buffer.truncate(count);
            let mut rest = writer.write_all(buffer).await;
            if !rest.is_empty() {
                return;
            }
            rest.resize(CHUNK, 0);
            buffer = rest;
        }
    });
    reader
}
