//! Requests to an object store, by `wasi:http/client`.

use crate::body::Upload;
use crate::wasip3;
use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, Stream, StreamExt as _};
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, HOST};
use http_body::Frame;
use http_body_util::StreamBody;
use object_store::client::{
    HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse, HttpResponseBody,
    HttpService,
};
use roadstead_buckets::{Clock, OpenBucket};
use roadstead_config::Cloud;
use roadstead_storage::{Aborted, ChunkedBody as _};
use send_wrapper::SendWrapper;
use std::error::Error as _;
use std::fmt;
use std::time::Duration;
use wasip3::clocks::monotonic_clock;
use wasip3::http::client;
use wasip3::http::types::{ErrorCode, Request, RequestOptions, Response, Scheme};
use wasip3::wit_bindgen::StreamReader;
use wasip3::{wit_future, wit_stream};

/// How long a store may take to accept a connection.
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// How long a store may take to begin its answer: long enough for one that puts
/// a large upload's parts together.
const ANSWER_TIME: Duration = Duration::from_mins(2);

/// How slowly a client's body may come that is passed on, in bytes per second:
/// some hosts take the time for it as the store's.
const SLOWEST: u64 = 64 * 1024;

/// How long a store may pause within an answer.
const PAUSE_TIME: Duration = Duration::from_mins(1);

/// The object store of the settings.
pub(crate) fn open(cloud: &Cloud) -> Result<OpenBucket, String> {
    roadstead_buckets::open(cloud, Outbound, WasiClock)
}

/// Waits by the host's clock.
#[derive(Clone, Debug)]
struct WasiClock;

impl Clock for WasiClock {
    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        Box::pin(SendWrapper::new(monotonic_clock::wait_for(nanoseconds(time))))
    }
}

/// Sends what object_store made up.
#[derive(Clone, Debug)]
struct Outbound;

#[async_trait]
impl HttpService for Outbound {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        // One thread is all there is.
        SendWrapper::new(async move {
            let (parts, body) = request.into_parts();
            let length = body.content_length();
            let contents = (length > 0).then(|| contents(body));
            let response = send(parts, contents, length as u64).await?;
            incoming(response)
        })
        .await
    }
}

/// Sends a request whose body has `length` bytes.
pub(crate) async fn send(
    mut parts: http::request::Parts,
    contents: Option<StreamReader<u8>>,
    length: u64,
) -> Result<Response, HttpError> {
    // The authority says it, and hosts refuse to be told otherwise.
    parts.headers.remove(HOST);
    let bodiless = matches!(parts.method, http::Method::GET | http::Method::HEAD);
    if length > 0 || !bodiless {
        parts.headers.insert(CONTENT_LENGTH, length.into());
    }
    let request = outgoing(parts, contents, length)?;
    client::send(request).await.map_err(|code| failure(&code))
}

fn outgoing(
    parts: http::request::Parts,
    contents: Option<StreamReader<u8>>,
    length: u64,
) -> Result<Request, HttpError> {
    let headers = parts
        .headers
        .try_into()
        .map_err(|error| invalid(format!("the request's headers: {error:?}")))?;
    let (no_trailers, trailers) = wit_future::new(|| Ok(None));
    drop(no_trailers);
    let (request, _transmission) = Request::new(headers, contents, trailers, Some(options(length)));
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

/// Limits, for hosts that keep them, on a request with so many bytes.
fn options(length: u64) -> RequestOptions {
    let options = RequestOptions::new();
    // A host that knows no such option has limits of its own.
    let _ = options.set_connect_timeout(Some(nanoseconds(CONNECT_TIME)));
    let sent = Duration::from_secs(length / SLOWEST);
    let _ = options.set_first_byte_timeout(Some(nanoseconds(ANSWER_TIME + sent)));
    let _ = options.set_between_bytes_timeout(Some(nanoseconds(PAUSE_TIME)));
    options
}

/// A body's pieces as a stream.
fn contents(body: HttpRequestBody) -> StreamReader<u8> {
    let (mut writer, reader) = wit_stream::new();
    wasip3::spawn(async move {
        let mut body = body;
        while let Some(Ok(frame)) = http_body_util::BodyExt::frame(&mut body).await {
            let Ok(piece) = frame.into_data() else { continue };
            // A store that has seen enough has answered.
            if !writer.write_all(piece.into()).await.is_empty() {
                return;
            }
        }
    });
    reader
}

/// What precedes an answer's body.
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

fn incoming(response: Response) -> Result<HttpResponse, HttpError> {
    let head = head(&response)?;
    // object_store asks an empty body once more after its end.
    let pieces = SendWrapper::new(Box::pin(pieces(Upload::of_response(response)).fuse()));
    Ok(head.map(|()| HttpResponseBody::new(StreamBody::new(pieces))))
}

/// A response's body, whose end is an error if it broke off.
fn pieces(body: Upload) -> impl Stream<Item = Result<Frame<Bytes>, HttpError>> {
    stream::unfold(Some(body), |body| async move {
        let mut body = body?;
        match body.chunk().await {
            Ok(Some(piece)) => Some((Ok(Frame::data(piece)), Some(body))),
            Ok(None) => None,
            Err(Aborted) => {
                let text = "the store's answer broke off".to_owned();
                let broken = Failure { text, short: false };
                Some((Err(HttpError::new(HttpErrorKind::Interrupted, broken)), None))
            }
        }
    })
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

/// Whether a request failed as its body was not as long as announced: it broke
/// off.
pub(crate) fn fell_short(error: &HttpError) -> bool {
    let failure = error.source().and_then(|source| source.downcast_ref::<Failure>());
    failure.is_some_and(|failure| failure.short)
}

fn invalid(text: String) -> HttpError {
    HttpError::new(HttpErrorKind::Unknown, Failure { text, short: false })
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

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
