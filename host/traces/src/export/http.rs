//! OTLP over HTTP: a `POST` of a message.

use super::{Body, Destination, Message, Outcome, user_agent};
use crate::message::{self, Status};
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HOST, USER_AGENT};
use http::response::Parts;
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use roadstead_http_client::{chain, retry_after};
use std::time::Duration;

const PROTOBUF: &str = "application/x-protobuf";

pub(super) fn request(destination: &Destination, body: Bytes) -> Message {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = Method::POST;
    // It was a URL's path.
    *request.uri_mut() = Uri::try_from(destination.endpoint.path.as_str()).unwrap_or_default();
    let headers = request.headers_mut();
    headers.insert(USER_AGENT, user_agent());
    headers.extend(destination.headers.clone());
    if let Ok(host) = HeaderValue::from_str(&destination.endpoint.authority) {
        headers.insert(HOST, host);
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROTOBUF));
    if destination.gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    request
}

/// What a response means; the error is that of a connection which is not to be used again.
pub(super) async fn outcome(head: &Parts, body: Body) -> Result<Outcome, Outcome> {
    let status = head.status;
    let body = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if status.is_success() => {
            // It has taken the spans.
            let message = Some(format!("its response cannot be read: {}", chain(&*error)));
            return Err(Outcome::Taken { rejected: 0, message });
        }
        Err(error) => {
            let cause = format!("{status}, and its response cannot be read: {}", chain(&*error));
            return Err(refusal(head, cause, None));
        }
    };
    if status.is_success() {
        let (rejected, message) = message::partial_success(&body);
        return Ok(Outcome::Taken { rejected, message });
    }
    let binary = head.headers.get(CONTENT_TYPE).is_some_and(|kind| kind == PROTOBUF);
    let said = if binary { Status::parse(&body).message } else { message::printable(&body) };
    let cause = said.map_or_else(|| status.to_string(), |said| format!("{status}: {said}"));
    Ok(refusal(head, cause, retry_after(&head.headers)))
}

fn refusal(head: &Parts, cause: String, after: Option<Duration>) -> Outcome {
    match head.status {
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Outcome::Later { cause, after },
        _ => Outcome::Refused { cause },
    }
}
