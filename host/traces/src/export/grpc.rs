//! OTLP over gRPC: one unary call, as
//! <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md> has it.

use super::{Body, Destination, Message, Outcome, user_agent};
use crate::message::{self, Status};
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, TE, USER_AGENT};
use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use percent_encoding::percent_decode;
use roadstead_http_client::chain;

const METHOD: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");
const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// Bytes before a message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// The codes of gRPC that OTLP knows as transient, without `RESOURCE_EXHAUSTED`.
const TRANSIENT: [u32; 6] = [1, 4, 10, 11, 14, 15];

/// `RESOURCE_EXHAUSTED`: transient if the collector says when to try again.
const EXHAUSTED: u32 = 8;

/// Values whose padding may be there or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A message with its prefix.
pub(super) fn framed(message: &[u8], compressed: bool) -> Bytes {
    let mut framed = Vec::with_capacity(PREFIX + message.len());
    framed.push(compressed.into());
    // Batches are far from 4 GiB.
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(message);
    framed.into()
}

pub(super) fn request(destination: &Destination, body: Bytes) -> Message {
    let endpoint = &destination.endpoint;
    let uri = format!("{}{METHOD}", endpoint.origin());
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = Method::POST;
    // Its authority was a URL's.
    *request.uri_mut() = Uri::try_from(uri).unwrap_or_default();
    let headers = request.headers_mut();
    headers.insert(USER_AGENT, user_agent());
    headers.extend(destination.headers.clone());
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    // At most eight digits.
    let milliseconds = destination.timeout.as_millis().min(99_999_999);
    if let Ok(timeout) = HeaderValue::try_from(format!("{milliseconds}m")) {
        headers.insert(TIMEOUT, timeout);
    }
    if destination.gzip {
        headers.insert(ENCODING, HeaderValue::from_static("gzip"));
    }
    request
}

/// What a response means; the error is that of a connection which is not to be used again.
pub(super) async fn outcome(head: &Parts, body: Body) -> Result<Outcome, Outcome> {
    if head.status != StatusCode::OK {
        let cause = format!("{}, which is not gRPC's", head.status);
        return Err(match head.status {
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Outcome::Later { cause, after: None },
            _ => Outcome::Refused { cause },
        });
    }
    let collected = body.collect().await.map_err(|error| {
        let cause = format!("its response cannot be read: {}", chain(&*error));
        Outcome::Later { cause, after: None }
    })?;
    // A response without a message has its status in the headers.
    let trailers = collected.trailers().filter(|trailers| trailers.contains_key(STATUS));
    let trailers = trailers.unwrap_or(&head.headers).clone();
    let Some(code) = trailers.get(STATUS).and_then(|code| code.to_str().ok()?.parse().ok()) else {
        return Err(Outcome::Refused { cause: "a response without a grpc-status".to_owned() });
    };
    if code == 0 {
        let body = collected.to_bytes();
        // A compressed response is not read: it has no more than a warning, and none was asked for.
        let message = body.split_first_chunk::<PREFIX>().filter(|(prefix, _)| prefix[0] == 0);
        let message = message.map(|(_, message)| message).unwrap_or_default();
        let (rejected, message) = message::partial_success(message);
        return Ok(Outcome::Taken { rejected, message });
    }
    Ok(failure(code, &trailers))
}

fn failure(code: u32, trailers: &HeaderMap) -> Outcome {
    let details = trailers.get(DETAILS).and_then(|details| BASE64.decode(details).ok());
    let status = Status::parse(&details.unwrap_or_default());
    let said = trailers
        .get(MESSAGE)
        .and_then(|said| message::printable(&percent_decode(said.as_bytes()).collect::<Vec<u8>>()));
    let cause = said.or(status.message);
    let cause = cause.map_or_else(|| name(code), |cause| format!("{}: {cause}", name(code)));
    if TRANSIENT.contains(&code) || (code == EXHAUSTED && status.retry.is_some()) {
        Outcome::Later { cause, after: status.retry }
    } else {
        Outcome::Refused { cause }
    }
}

/// The name of a code
/// (<https://github.com/grpc/grpc/blob/master/doc/statuscodes.md>).
fn name(code: u32) -> String {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    let name = usize::try_from(code).ok().and_then(|code| NAMES.get(code));
    name.map_or_else(|| format!("gRPC status {code}"), |name| (*name).to_owned())
}
