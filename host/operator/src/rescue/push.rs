//! The requests that bring content back: those of a push. The registry compares all bytes
//! with their digest.

use super::source::{Blob, Source};
use crate::registry::{Answer, Registry, refusal};
use crate::slices;
use bytes::Bytes;
use http::header::{CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE};
use http::{Method, Request, StatusCode};
use roadstead_oci::{Digest, MediaType, RepositoryName};

/// The bytes that an upload sends at a time: 8 MiB. So much of a blob is in memory.
///
/// Limit: bytes of one piece that `rescue` uploads; test: `large_blobs_are_brought_back_in_pieces`.
const PIECE: usize = 8 * 1024 * 1024;

/// The bytes of an answer that are read: nothing but an error has a body here.
///
/// Limit: bytes of an answer to an upload; test: none, the registry makes shorter ones.
const ANSWER: usize = 64 * 1024;

/// How often a request is tried again that the registry could not serve.
///
/// Limit: attempts after the first of a request of `rescue`; test: none, each doubles the pause.
const RETRIES: u32 = 4;

/// How a blob came to its repository.
pub(super) enum Begun {
    /// The registry has it, and the repository now holds it.
    Held,
    /// It has to be sent.
    Session(String),
}

/// Sends a request, again if the registry is busy.
async fn send(
    registry: &impl Registry,
    method: &Method,
    path: &str,
    headers: &[(http::HeaderName, String)],
    body: Bytes,
) -> Result<Answer, String> {
    let attempt = async || {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(body.clone()).map_err(|error| error.to_string())?;
        registry.request(request, ANSWER).await
    };
    let busy = [StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS];
    let is_busy = |result: &Result<Answer, String>| {
        result.as_ref().is_ok_and(|answer| busy.contains(&answer.status))
    };
    slices::again(RETRIES, slices::doubled, attempt, is_busy).await
}

fn refused(answer: &Answer) -> String {
    let hint = match answer.status {
        StatusCode::FORBIDDEN => "; the user may not push here",
        StatusCode::METHOD_NOT_ALLOWED => "; is the registry read-only?",
        _ => "",
    };
    format!("{}{hint}", refusal(answer))
}

/// Whether a repository has a content: a blob or a manifest, by its path.
pub(super) async fn has(registry: &impl Registry, path: &str) -> Result<bool, String> {
    let answer = send(registry, &Method::HEAD, path, &[], Bytes::new()).await?;
    match answer.status {
        StatusCode::OK => Ok(true),
        StatusCode::NOT_FOUND => Ok(false),
        status => Err(format!("the registry answers {status}")),
    }
}

/// Pulls the first byte of a blob: if it is condemned, the registry then gives it back.
pub(super) async fn touch(registry: &impl Registry, path: &str) -> Result<(), String> {
    let first = [(RANGE, "bytes=0-0".to_owned())];
    // Whether it is there now is asked afterwards.
    send(registry, &Method::GET, path, &first, Bytes::new()).await.map(drop)
}

/// Begins the upload of a blob, unless the registry has it.
pub(super) async fn begin(
    registry: &impl Registry,
    repository: &RepositoryName,
    digest: &Digest,
    from: Option<&RepositoryName>,
) -> Result<Begun, String> {
    let from = from.map(|from| format!("&from={from}")).unwrap_or_default();
    let path = format!("/v2/{repository}/blobs/uploads/?mount={digest}{from}");
    let answer = send(registry, &Method::POST, &path, &[], Bytes::new()).await?;
    match answer.status {
        StatusCode::CREATED => Ok(Begun::Held),
        StatusCode::ACCEPTED => Ok(Begun::Session(location(&answer)?)),
        _ => Err(refused(&answer)),
    }
}

/// Sends a blob in pieces, and ends the upload. If that fails, the session goes.
pub(super) async fn upload(
    registry: &impl Registry,
    session: String,
    digest: &Digest,
    source: &Source,
    blob: &Blob,
) -> Result<(), String> {
    let mut session = session;
    let result = fill(registry, &mut session, digest, source, blob).await;
    if result.is_err() {
        cancel(registry, &session).await;
    }
    result
}

async fn fill(
    registry: &impl Registry,
    session: &mut String,
    digest: &Digest,
    source: &Source,
    blob: &Blob,
) -> Result<(), String> {
    let mut offset = 0;
    while offset < blob.size {
        let length = usize::try_from(blob.size - offset).unwrap_or(PIECE).min(PIECE);
        let piece = source.read(blob, offset, length).await?;
        let end = offset + length as u64;
        let headers = [
            (CONTENT_TYPE, "application/octet-stream".to_owned()),
            (CONTENT_RANGE, format!("{offset}-{}", end - 1)),
        ];
        let answer = send(registry, &Method::PATCH, session, &headers, piece).await?;
        if answer.status != StatusCode::ACCEPTED {
            return Err(refused(&answer));
        }
        *session = location(&answer)?;
        offset = end;
    }
    let joint = if session.contains('?') { '&' } else { '?' };
    let path = format!("{session}{joint}digest={digest}");
    let answer = send(registry, &Method::PUT, &path, &[], Bytes::new()).await?;
    if answer.status == StatusCode::CREATED { Ok(()) } else { Err(refused(&answer)) }
}

/// Ends a session of which nothing comes.
pub(super) async fn cancel(registry: &impl Registry, session: &str) {
    // One that stays is removed after a week.
    let _ = send(registry, &Method::DELETE, session, &[], Bytes::new()).await;
}

/// Pushes a manifest by its digest.
pub(super) async fn manifest(
    registry: &impl Registry,
    repository: &RepositoryName,
    digest: &Digest,
    media_type: &MediaType,
    bytes: Bytes,
) -> Result<(), String> {
    let path = format!("/v2/{repository}/manifests/{digest}");
    let headers = [(CONTENT_TYPE, media_type.as_str().to_owned())];
    let answer = send(registry, &Method::PUT, &path, &headers, bytes).await?;
    if answer.status == StatusCode::CREATED { Ok(()) } else { Err(refused(&answer)) }
}

/// Where an upload goes on: a path, whether or not the registry says all of its URL.
fn location(answer: &Answer) -> Result<String, String> {
    let text = answer.header(LOCATION).ok_or("the registry does not say where to upload")?;
    let path = match text.split_once("://") {
        Some((_, rest)) => rest.find('/').and_then(|at| rest.get(at..)),
        None => text.starts_with('/').then_some(text),
    };
    path.map(str::to_owned).ok_or_else(|| format!("the registry names no path: {text:?}"))
}
