//! How storage operations reach a directory: through the native host that
//! holds it, or by way of a mounted directory.

use super::body::{self, CHUNK, Upload};
use super::{host, mount};
use crate::store::{Content, Transport};
use bytes::Bytes;
use http::HeaderMap;
use roadstead_config::{Config, DEFAULT_ROOT};
use roadstead_directory::{
    Directory, Fault, OPERATION_HEADER, Operation, REPLY_HEADER, Reply, WRITE_LIMIT, header_json,
};
use send_wrapper::SendWrapper;
use std::fs::File;
use std::io::Read as _;
use std::rc::Rc;
use wasip3::http::types::Response;
use wasip3::wit_bindgen::StreamReader;
use wasip3::wit_stream;

/// Largest reply in a body, in bytes: a list of the longest names.
const REPLY_LIMIT: usize = 16 * 1024 * 1024;

/// The transport that the configuration asks for.
#[derive(Debug)]
pub(super) enum AnyTransport {
    /// A native host answers at this authority, and hashes natively.
    Host(String),
    /// The component does everything itself, by std and thus WASI.
    Mounted(SendWrapper<Rc<Directory>>),
}

impl AnyTransport {
    pub(super) fn choose(config: &Config, headers: &HeaderMap) -> Result<Self, String> {
        if let Some(authority) = &config.host_authority {
            return Ok(Self::Host(authority.clone()));
        }
        let root = config.root.clone().unwrap_or_else(|| DEFAULT_ROOT.into());
        let directory = mount::open(&root, headers)?;
        Ok(Self::Mounted(SendWrapper::new(Rc::new(directory))))
    }
}

impl Transport for AnyTransport {
    type Upload = Upload;
    type Download = StreamReader<u8>;

    fn fetch(
        &self,
        operation: Operation,
        payload: Bytes,
    ) -> impl Future<Output = Result<(Reply, Bytes), Fault>> + Send {
        SendWrapper::new(async move {
            match self {
                Self::Host(authority) => {
                    let contents = (!payload.is_empty()).then(|| body::stream(payload.into()));
                    let (reply, response) = exchange(authority, &operation, contents).await?;
                    let bytes = match (&reply, response) {
                        (Reply::Object(object), _) if object.value.is_some() => {
                            object.value.clone().unwrap_or_default().into()
                        }
                        (Reply::Object(_), Some(body))
                            if matches!(operation, Operation::Read { .. }) =>
                        {
                            collect(body, WRITE_LIMIT).await?
                        }
                        _ => Bytes::new(),
                    };
                    Ok((reply, bytes))
                }
                Self::Mounted(directory) => {
                    let (reply, bytes) = directory.fetch(&operation, &payload)?;
                    Ok((reply, bytes.into()))
                }
            }
        })
    }

    async fn open(
        &self,
        operation: Operation,
    ) -> Result<(Reply, Content<StreamReader<u8>>), Fault> {
        match self {
            Self::Host(authority) => {
                let (mut reply, response) = exchange(authority, &operation, None).await?;
                let content = match (value(&mut reply), response) {
                    (Some(value), _) => Content::Bytes(value),
                    (None, Some(body)) => Content::Stream(body.into_stream().0),
                    (None, None) => Content::Bytes(Bytes::new()),
                };
                Ok((reply, content))
            }
            Self::Mounted(directory) => {
                let (mut reply, file) = directory.execute(&operation, &[])?;
                let content = match (value(&mut reply), file, &reply) {
                    (None, Some(file), Reply::Object(object)) => {
                        Content::Stream(read(file, object.range.end - object.range.start))
                    }
                    (value, _, _) => Content::Bytes(value.unwrap_or_default()),
                };
                Ok((reply, content))
            }
        }
    }

    async fn send(&self, operation: Operation, body: Upload) -> Result<Reply, Fault> {
        match self {
            Self::Host(authority) => {
                let (stream, received) = body.into_stream();
                let reply = exchange(authority, &operation, Some(stream)).await;
                drop(received);
                Ok(reply?.0)
            }
            Self::Mounted(directory) => {
                let mut appender = match directory.start_body(&operation) {
                    Ok(appender) => appender,
                    Err(fault) => {
                        crate::store::RequestBody::drain(body).await;
                        return Err(fault);
                    }
                };
                let mut written = Ok(());
                let whole = body
                    .for_each(|chunk| {
                        written = appender.write(chunk);
                        written.is_ok()
                    })
                    .await;
                written?;
                directory.end_body(&operation, appender, !whole)
            }
        }
    }
}

/// The value within a reply, which nobody needs twice.
fn value(reply: &mut Reply) -> Option<Bytes> {
    match reply {
        Reply::Object(object) => object.value.take().map(Bytes::from),
        _ => None,
    }
}

/// Sends an operation to the native host, in the dialect that
/// [`roadstead_directory`] describes.
async fn exchange(
    authority: &str,
    operation: &Operation,
    contents: Option<StreamReader<u8>>,
) -> Result<(Reply, Option<Upload>), Fault> {
    let response = host::send(authority, OPERATION_HEADER, header_json(operation), contents)
        .await
        .map_err(Fault::Io)?;
    let header = response.get_headers().get(REPLY_HEADER).into_iter().next();
    match header.as_deref() {
        Some(b"body") => {
            let bytes = collect(Upload::of_response(response), REPLY_LIMIT).await?;
            Ok((parse(&bytes)?, None))
        }
        Some(json) => {
            let reply = parse(json)?;
            let body = matches!(&reply, Reply::Object(object) if object.value.is_none());
            Ok((reply, body.then(|| Upload::of_response(response))))
        }
        None => Err(no_reply(&response)),
    }
}

fn parse(json: &[u8]) -> Result<Reply, Fault> {
    let reply: Result<Reply, Fault> = serde_json::from_slice(json)
        .map_err(|error| Fault::Invalid(format!("store reply: {error}")))?;
    reply
}

fn no_reply(response: &Response) -> Fault {
    let status = response.get_status_code();
    Fault::Invalid(format!("the host answered {status} without a {REPLY_HEADER} header"))
}

async fn collect(body: Upload, limit: usize) -> Result<Bytes, Fault> {
    let collected = crate::store::RequestBody::collect(body, limit).await;
    collected.map_err(|error| Fault::Io(format!("store response: {error:?}")))
}

/// The next `length` bytes of a file as a stream.
fn read(file: File, length: u64) -> StreamReader<u8> {
    let (mut writer, reader) = wit_stream::new();
    wasip3::spawn(async move {
        let mut file = file.take(length);
        let mut buffer = vec![0; CHUNK];
        loop {
            // An error cuts the response short, which the client notices by
            // its length.
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
