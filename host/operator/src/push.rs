//! The requests of a push. The registry compares all bytes with their digest.

use crate::registry::{Answer, Content, Registry, Unanswered, read, refusal};
use crate::slices;
use bytes::Bytes;
use http::header::{
    CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName, LOCATION, RANGE, RETRY_AFTER,
};
use http::{Method, Request, StatusCode};
use roadstead_oci::{Digest, MediaType, Reference, RepositoryName};
use std::time::{Duration, SystemTime};

/// The bytes that [`upload`] sends at a time: 8 MiB. So much of a blob is in memory.
///
/// Limit: bytes of one piece that `rescue` uploads; test: `large_blobs_are_brought_back_in_pieces`.
const PIECE: usize = 8 * 1024 * 1024;

/// The bytes of an answer that are read: nothing but an error has a body here.
///
/// Limit: bytes of an answer to an upload; test: none, the registry makes shorter ones.
const ANSWER: usize = 64 * 1024;

/// How often a request is tried again that the registry could not serve.
///
/// Limit: attempts after the first of a request that a registry was too busy for; test: `busy_registries_are_asked_again`.
const RETRIES: u32 = 5;

/// The longest pause, whatever the registry says.
///
/// Limit: pause before a registry that was too busy is asked again; test: none, it would take as long.
const LONGEST_PAUSE: Duration = Duration::from_mins(15);

/// How a blob came to its repository.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Begun {
    /// The registry has it, and the repository now holds it.
    Held,
    /// It has to be sent: the path of the upload session.
    Session(String),
}

/// Sends a request, again if the registry is too busy, or a connection was lost.
///
/// # Errors
/// When there is no answer.
pub async fn until_served<T>(
    attempt: impl AsyncFnMut() -> Result<T, Unanswered>,
    busy: impl Fn(&T) -> Option<Duration>,
) -> Result<T, String> {
    let pause = |result: &Result<T, Unanswered>, retry| {
        let wanted = match result {
            Ok(answer) => busy(answer)?,
            Err(unanswered) => unanswered.passes.then_some(Duration::ZERO)?,
        };
        // Tests do not wait as long.
        let least = if cfg!(test) { Duration::ZERO } else { slices::doubled(retry) };
        Some(least.max(wanted).min(LONGEST_PAUSE))
    };
    Ok(slices::again(RETRIES, attempt, pause).await?)
}

/// How long to wait before a request that got this response is sent again; none if it was
/// served.
pub fn busy(status: StatusCode, headers: &http::HeaderMap) -> Option<Duration> {
    let statuses = [
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::BAD_GATEWAY,
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::GATEWAY_TIMEOUT,
    ];
    if !statuses.contains(&status) {
        return None;
    }
    let after = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let date = || httpdate::parse_http_date(after).ok()?.duration_since(SystemTime::now()).ok();
    let seconds = after.trim().parse().ok().map(Duration::from_secs);
    Some(seconds.or_else(date).unwrap_or_default())
}

async fn send(
    registry: &impl Registry,
    method: &Method,
    path: &str,
    headers: &[(HeaderName, String)],
    body: Bytes,
) -> Result<Answer, String> {
    let content = Content::from(body);
    let attempt = async || once(registry, method, path, headers, content.clone()).await;
    until_served(attempt, |answer| busy(answer.status, &answer.headers)).await
}

async fn once(
    registry: &impl Registry,
    method: &Method,
    path: &str,
    headers: &[(HeaderName, String)],
    content: Content,
) -> Result<Answer, Unanswered> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request.body(content).map_err(|error| error.to_string())?;
    Ok(read(registry.exchange(request).await?, ANSWER).await)
}

/// Why a registry refuses a request, with a hint for whoever runs the command.
fn refused(answer: &Answer) -> String {
    let hint = match answer.status {
        StatusCode::FORBIDDEN => "; the user may not push here",
        StatusCode::METHOD_NOT_ALLOWED => "; is the registry read-only?",
        _ => "",
    };
    format!("{}{hint}", refusal(answer))
}

/// Whether a repository has a content: a blob or a manifest, by its path.
///
/// # Errors
/// When the registry does not say.
pub async fn has(registry: &impl Registry, path: &str) -> Result<bool, String> {
    head(registry, path).await.map(|answer| answer.is_some())
}

/// The response to a HEAD request, if there is such a content.
///
/// # Errors
/// When the registry does not say.
pub async fn head(registry: &impl Registry, path: &str) -> Result<Option<Answer>, String> {
    let answer = send(registry, &Method::HEAD, path, &[], Bytes::new()).await?;
    match answer.status {
        StatusCode::OK => Ok(Some(answer)),
        // A blob that is in an object store.
        status if status.is_redirection() && path.contains("/blobs/") => Ok(Some(answer)),
        StatusCode::NOT_FOUND => Ok(None),
        status => Err(format!("the registry answers {status} to HEAD {path}")),
    }
}

/// Pulls the first byte of a blob: if it is condemned, the registry then gives it back.
///
/// # Errors
/// When there is no answer.
pub async fn touch(registry: &impl Registry, path: &str) -> Result<(), String> {
    let first = [(RANGE, "bytes=0-0".to_owned())];
    // Whether it is there now is asked afterwards.
    send(registry, &Method::GET, path, &first, Bytes::new()).await.map(drop)
}

/// Begins the upload of a blob, unless the registry has it.
///
/// # Errors
/// When the registry refuses it.
pub async fn begin(
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

/// Why a blob was not taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    /// In words for whoever runs the command.
    pub problem: String,
    /// Whether it would be refused again.
    pub is_final: bool,
}

/// Sends a whole blob, and ends the upload. It is tried once: the caller has to begin anew.
///
/// # Errors
/// When the registry refuses it, or the connection is lost. Then the session is cancelled.
pub async fn put(
    registry: &impl Registry,
    session: &str,
    digest: &Digest,
    content: Content,
) -> Result<(), Refused> {
    let headers = [
        (CONTENT_TYPE, "application/octet-stream".to_owned()),
        (CONTENT_LENGTH, content.length.to_string()),
    ];
    let path = closing(session, digest);
    let result = match once(registry, &Method::PUT, &path, &headers, content).await {
        Ok(answer) if answer.status == StatusCode::CREATED => return Ok(()),
        Ok(answer) => Refused {
            problem: refused(&answer),
            is_final: answer.status.is_client_error()
                && busy(answer.status, &answer.headers).is_none(),
        },
        Err(unanswered) => Refused { problem: unanswered.problem, is_final: !unanswered.passes },
    };
    cancel(registry, session).await;
    Err(result)
}

/// Sends a blob in pieces, which `read` reads from an offset on, and ends the upload.
///
/// # Errors
/// When the registry refuses it, or it cannot be read. Then the session goes.
pub async fn upload(
    registry: &impl Registry,
    session: String,
    digest: &Digest,
    size: u64,
    read: impl AsyncFn(u64, usize) -> Result<Bytes, String>,
) -> Result<(), String> {
    let mut session = session;
    let result = fill(registry, &mut session, digest, size, read).await;
    if result.is_err() {
        cancel(registry, &session).await;
    }
    result
}

async fn fill(
    registry: &impl Registry,
    session: &mut String,
    digest: &Digest,
    size: u64,
    read: impl AsyncFn(u64, usize) -> Result<Bytes, String>,
) -> Result<(), String> {
    let mut offset = 0;
    while offset < size {
        let length = usize::try_from(size - offset).unwrap_or(PIECE).min(PIECE);
        let piece = read(offset, length).await?;
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
    let answer = send(registry, &Method::PUT, &closing(session, digest), &[], Bytes::new()).await?;
    if answer.status == StatusCode::CREATED { Ok(()) } else { Err(refused(&answer)) }
}

/// The path that ends an upload.
fn closing(session: &str, digest: &Digest) -> String {
    let joint = if session.contains('?') { '&' } else { '?' };
    format!("{session}{joint}digest={digest}")
}

/// Ends a session of which nothing comes.
pub async fn cancel(registry: &impl Registry, session: &str) {
    // One that stays is removed after a week.
    let _ = send(registry, &Method::DELETE, session, &[], Bytes::new()).await;
}

/// Pushes a manifest by its digest or under a tag.
///
/// # Errors
/// When the registry refuses it.
pub async fn manifest(
    registry: &impl Registry,
    repository: &RepositoryName,
    reference: &Reference,
    media_type: &MediaType,
    bytes: Bytes,
) -> Result<(), String> {
    let path = format!("/v2/{repository}/manifests/{}", reference.as_str());
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

#[cfg(test)]
mod tests {
    use super::{busy, has};
    use crate::registry::{Content, Incoming, Registry, Unanswered};
    use bytes::Bytes;
    use http::{Request, Response};
    use http_body_util::{BodyExt as _, Full};
    use std::cell::RefCell;
    use std::time::Duration;

    /// Gives these statuses, one after the other.
    struct Statuses(RefCell<Vec<Result<u16, Unanswered>>>);

    impl Registry for Statuses {
        async fn exchange(&self, _: Request<Content>) -> Result<Response<Incoming>, Unanswered> {
            let status = self.0.borrow_mut().remove(0)?;
            let body = Full::new(Bytes::new()).map_err(|never| match never {}).boxed_unsync();
            Ok(Response::builder().status(status).header("retry-after", "0").body(body).unwrap())
        }
    }

    #[tokio::test]
    async fn busy_registries_are_asked_again() {
        let unanswered = |passes| Err(Unanswered { problem: "no answer".to_owned(), passes });
        let lost = || unanswered(true);
        for (statuses, expected, left) in [
            (vec![Ok(503), lost(), Ok(429), Ok(200)], Some(true), 0),
            (vec![Ok(404), Ok(200)], Some(false), 1),
            (vec![Ok(500), Ok(200)], None, 1),
            (vec![unanswered(false), Ok(200)], None, 1),
            (vec![Ok(503), lost(), lost(), lost(), lost(), Ok(503), Ok(200)], None, 1),
        ] {
            let registry = Statuses(RefCell::new(statuses));
            assert_eq!(has(&registry, "/v2/a/blobs/x").await.ok(), expected);
            assert_eq!(registry.0.borrow().len(), left);
        }
        let mut headers = http::HeaderMap::new();
        assert_eq!(busy(http::StatusCode::NOT_FOUND, &headers), None);
        headers.insert("retry-after", "30".parse().unwrap());
        let pause = busy(http::StatusCode::TOO_MANY_REQUESTS, &headers);
        assert_eq!(pause, Some(Duration::from_secs(30)));
    }
}
