//! One request over a connection, with limits on time and size.

use bytes::Bytes;
use http::header::{
    ACCEPT, AUTHORIZATION, CONNECTION, HOST, HeaderMap, HeaderName, LINK, USER_AGENT,
};
use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use std::error::Error;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

/// The most bytes of a body that are read, where no content is fetched: more than a slice of
/// a scrub answers.
///
/// Limit: bytes of a response's body that are read; test: `endless_answers_end`.
pub(crate) const MAX_BODY: usize = 1024 * 1024;

/// The largest head of a response.
///
/// Limit: bytes of a response's head; test: `endless_answers_end`.
const MAX_HEAD: usize = 64 * 1024;

/// The most headers of a response.
///
/// Limit: headers of a response; test: `endless_answers_end`.
pub(crate) const MAX_HEADERS: usize = 100;

/// A connection, encrypted or not.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A response, with as much of its body as was wanted.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, or its beginning.
    pub body: Vec<u8>,
    /// Whether `body` is all of it.
    pub complete: bool,
}

impl Answer {
    /// A header's value, if it is text.
    pub fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The path of the next page of a list (distribution-spec, end-8b), on the same registry,
    /// wherever `Link` says that this is.
    pub fn next_page(&self) -> Option<String> {
        let link = self.header(LINK)?;
        let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let is_next = parameters.split(';').any(|it| it.trim().replace('"', "") == "rel=next");
        let path = match target.split_once("://") {
            Some((_, rest)) => rest.get(rest.find('/')?..)?,
            None => target,
        };
        (is_next && path.starts_with("/v2/")).then(|| path.to_owned())
    }

    pub(super) fn is_html(&self) -> bool {
        self.header("content-type").is_some_and(|value| value.starts_with("text/html"))
            || self.body.trim_ascii_start().starts_with(b"<")
    }
}

/// Sends a GET request and reads the response; redirects are not followed.
pub(crate) async fn get(
    stream: Box<dyn Stream>,
    authority: &str,
    path: &str,
    authorization: Option<&str>,
    limit: Duration,
) -> Result<Answer, String> {
    let request = Request::get(path)
        .header(USER_AGENT, concat!("roadstead-doctor/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "application/json, */*");
    let request = request.body(Bytes::new()).map_err(|error| error.to_string())?;
    send(stream, authority, request, authorization, limit, MAX_BODY).await
}

/// Sends a request and reads the response, of whose body at most `most` bytes.
async fn send(
    stream: Box<dyn Stream>,
    authority: &str,
    request: Request<Bytes>,
    authorization: Option<&str>,
    limit: Duration,
    most: usize,
) -> Result<Answer, String> {
    let answer = exchange(stream, authority, request, authorization, most);
    match tokio::time::timeout(limit, answer).await {
        Ok(result) => result,
        Err(_) => Err(format!("no answer within {} s", limit.as_secs())),
    }
}

async fn exchange(
    stream: Box<dyn Stream>,
    authority: &str,
    request: Request<Bytes>,
    authorization: Option<&str>,
    most: usize,
) -> Result<Answer, String> {
    let mut request = request.map(Full::new);
    let headers = request.headers_mut();
    let host = HeaderValue::from_str(authority).map_err(|error| error.to_string())?;
    headers.insert(HOST, host);
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    if let Some(authorization) = authorization {
        let mut value = HeaderValue::from_str(authorization).map_err(|error| error.to_string())?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| reason(&error))?;
    // Ends with the request, at the latest when the sender is dropped.
    let connection = tokio::spawn(connection);
    let answer = match sender.send_request(request).await {
        Ok(response) => Ok(read(response, most).await),
        Err(error) => Err(reason(&error)),
    };
    connection.abort();
    answer
}

/// Reads a response, of whose body at most `most` bytes.
pub async fn read<B>(response: http::Response<B>, most: usize) -> Answer
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    let (parts, mut incoming) = response.into_parts();
    let (mut body, mut complete) = (Vec::new(), true);
    // An incomplete body is sufficient, where it says nothing but what went wrong.
    while complete && let Some(frame) = incoming.frame().await {
        let data = frame.map(|frame| frame.into_data().unwrap_or_default());
        let room = most - body.len();
        complete = data.as_ref().is_ok_and(|data| data.len() <= room);
        let data = data.unwrap_or_default();
        body.extend_from_slice(&data[..data.len().min(room)]);
    }
    Answer { status: parts.status, headers: parts.headers, body, complete }
}

/// An error with its causes, which are more specific.
pub(crate) fn reason(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// Headers that reveal proxies between a client and the registry.
pub(super) const BETWEEN: [HeaderName; 7] = [
    HeaderName::from_static("server"),
    HeaderName::from_static("via"),
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-cache"),
    HeaderName::from_static("x-served-by"),
    HeaderName::from_static("cf-ray"),
];
