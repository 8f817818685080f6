//! One request over a network, by `wasi:http/client`.

use crate::wasip3;
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, HOST};
use object_store::client::{HttpError, HttpErrorKind};
use roadstead_bridge::trace;
use roadstead_buckets::response_time;
use std::error::Error as _;
use std::fmt;
use std::time::Duration;
use wasip3::http::client;
use wasip3::http::types::{ErrorCode, Request, RequestOptions, Response, Scheme};
use wasip3::wit_bindgen::StreamReader;
use wasip3::wit_future;

/// How long a store may take to accept a connection.
///
/// Limit: time to connect to an object store, without a native host; test: none, the
/// other host keeps it.
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// Minimum rate at which a client's body is passed on, in bytes per second:
/// some hosts count that time toward the store's timeout.
///
/// Limit: bytes per second of a client's body, which lengthen that time; test: none,
/// it would take as long.
const SLOWEST: u64 = 64 * 1024;

/// How long a store may pause within an answer. A native host has the same limit.
///
/// Limit: pause within an object store's answer, without a native host; test: none, it would take as long.
const PAUSE_TIME: Duration = Duration::from_secs(20);

/// Sends a request whose body has `length` bytes.
pub(crate) async fn send(
    mut parts: http::request::Parts,
    contents: Option<StreamReader<u8>>,
    length: u64,
) -> Result<Response, HttpError> {
    // The authority already determines this header, and hosts refuse to set it.
    parts.headers.remove(HOST);
    let bodiless = matches!(parts.method, http::Method::GET | http::Method::HEAD);
    if length > 0 || !bodiless {
        parts.headers.insert(CONTENT_LENGTH, length.into());
    }
    // It is not signed: the host removes it.
    if let Some(span) = trace::current() {
        parts.headers.insert(trace::SPAN, span);
    }
    let request = outgoing(parts, contents, length)?;
    client::send(request).await.map_err(|code| failure(&code))
}

fn outgoing(
    parts: http::request::Parts,
    contents: Option<StreamReader<u8>>,
    length: u64,
) -> Result<Request, HttpError> {
    let response_time = response_time(&parts.method, &parts.uri, &parts.headers, length);
    let headers = parts
        .headers
        .try_into()
        .map_err(|error| invalid(format!("the request's headers: {error:?}")))?;
    let (no_trailers, trailers) = wit_future::new(|| Ok(None));
    drop(no_trailers);
    let options = options(response_time, length);
    let (request, _transmission) = Request::new(headers, contents, trailers, Some(options));
    let said = |part: &'static str| move |()| invalid(format!("the request's {part}"));
    let scheme = parts.uri.scheme().map_or(Scheme::Https, Scheme::from);
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    request.set_method(&parts.method.into()).map_err(said("method"))?;
    request.set_scheme(Some(&scheme)).map_err(said("scheme"))?;
    let authority = parts.uri.authority().map(http::uri::Authority::as_str);
    request.set_authority(authority).map_err(said("authority"))?;
    request.set_path_with_query(Some(path)).map_err(said("path"))?;
    Ok(request)
}

/// Limits on a request with so many bytes, which the store may take so long to
/// respond to.
fn options(response_time: Duration, length: u64) -> RequestOptions {
    let options = RequestOptions::new();
    // A host that does not support this option has its own limits.
    let _ = options.set_connect_timeout(Some(nanoseconds(CONNECT_TIME)));
    let sent = Duration::from_secs(length / SLOWEST);
    let _ = options.set_first_byte_timeout(Some(nanoseconds(response_time + sent)));
    let _ = options.set_between_bytes_timeout(Some(nanoseconds(PAUSE_TIME)));
    options
}

/// The status and headers of a response.
pub(crate) fn head(response: &Response) -> Result<http::Response<()>, HttpError> {
    let headers = HeaderMap::try_from(response.get_headers())
        .map_err(|error| invalid(format!("the response's headers: {error:?}")))?;
    let status = http::StatusCode::from_u16(response.get_status_code())
        .map_err(|error| HttpError::new(HttpErrorKind::Decode, error))?;
    let mut head = http::Response::new(());
    *head.status_mut() = status;
    *head.headers_mut() = headers;
    Ok(head)
}

/// What went wrong, and whether anything was sent by then.
fn failure(code: &ErrorCode) -> HttpError {
    let kind = match code {
        ErrorCode::DnsTimeout
        | ErrorCode::DnsError(_)
        | ErrorCode::DestinationNotFound
        | ErrorCode::DestinationUnavailable
        | ErrorCode::ConnectionRefused
        | ErrorCode::ConnectionLimitReached
        | ErrorCode::ConnectionTimeout => HttpErrorKind::Connect,
        ErrorCode::ConnectionReadTimeout
        | ErrorCode::ConnectionWriteTimeout
        | ErrorCode::HttpResponseTimeout => HttpErrorKind::Timeout,
        ErrorCode::ConnectionTerminated
        | ErrorCode::HttpResponseIncomplete
        | ErrorCode::HttpProtocolError => HttpErrorKind::Interrupted,
        _ => HttpErrorKind::Unknown,
    };
    let text = match code {
        ErrorCode::HttpRequestDenied | ErrorCode::DestinationIpProhibited => {
            "this host does not let the registry connect to the store; allow it, as in \
             allowed_outbound_hosts of spin.toml"
                .to_owned()
        }
        other => format!("{other:?}"),
    };
    let short = matches!(code, ErrorCode::HttpRequestBodySize(_));
    HttpError::new(kind, Failure { text, short })
}

/// Whether a request failed because its body was shorter than announced: it
/// ended early.
pub(crate) fn fell_short(error: &HttpError) -> bool {
    let failure = error.source().and_then(|source| source.downcast_ref::<Failure>());
    failure.is_some_and(|failure| failure.short)
}

/// A failure of this kind, with a text for the log.
pub(crate) fn failed(kind: HttpErrorKind, text: impl Into<String>) -> HttpError {
    HttpError::new(kind, Failure { text: text.into(), short: false })
}

fn invalid(text: String) -> HttpError {
    failed(HttpErrorKind::Unknown, text)
}

#[derive(Debug)]
struct Failure {
    text: String,
    short: bool,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}

/// A time as WASI counts it; the longest that it can count, if that is longer.
pub(crate) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
