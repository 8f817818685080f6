//! One request to an endpoint.

use super::body;
use crate::event::Source;
use crate::settings::Endpoint;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use roadstead_http_client::{Connection, retry_after};
use std::time::Duration;

/// The header of signatures.
const SIGNATURE: HeaderName = HeaderName::from_static("x-roadstead-signature");

/// The longest response body that is read for the sake of the connection, in bytes; after a longer
/// one, the connection is closed.
///
/// Limit: bytes of an endpoint's response; test: `connections_are_kept`.
const RESPONSE_LIMIT: usize = 64 * 1024;

/// How an attempt went.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// The endpoint has the events: 2xx or 3xx.
    Taken(StatusCode),
    /// It answered otherwise, and may want a pause.
    Rejected(StatusCode, Option<Duration>),
    /// It did not answer, for this reason.
    Unanswered(String),
}

/// Sends requests to an endpoint, one after the other.
pub(super) struct Client {
    endpoint: Endpoint,
    source: Source,
    connection: Connection,
}

impl Client {
    pub(super) fn new(endpoint: Endpoint, source: Source) -> Self {
        let connection = Connection::new(endpoint.address.server.clone());
        Self { endpoint, source, connection }
    }

    /// Sends events once.
    pub(super) async fn send(&mut self, events: &[&Bytes]) -> Outcome {
        let limit = self.endpoint.timeout;
        if let Ok(outcome) = tokio::time::timeout(limit, self.exchange(events)).await {
            return outcome;
        }
        // What comes late on this connection is of no use.
        self.connection.close();
        Outcome::Unanswered(format!("no response in {limit:?}"))
    }

    async fn exchange(&mut self, events: &[&Bytes]) -> Outcome {
        let Self { endpoint, source, connection } = self;
        let (body, media_type) = body::body(endpoint.format, events, source);
        let headers = headers(endpoint, &body, media_type);
        let request = || {
            let mut request = Request::new(Full::new(body.clone()));
            *request.method_mut() = Method::POST;
            *request.uri_mut() = endpoint.address.target.clone();
            request.headers_mut().clone_from(&headers);
            request
        };
        let response = match connection.send(request).await {
            Ok(response) => response,
            Err(cause) => return Outcome::Unanswered(cause),
        };
        let (head, body) = response.into_parts();
        if Limited::new(body, RESPONSE_LIMIT).collect().await.is_err() {
            connection.close();
        }
        if head.status.is_success() || head.status.is_redirection() {
            Outcome::Taken(head.status)
        } else {
            Outcome::Rejected(head.status, retry_after(&head.headers))
        }
    }
}

/// Those of the settings are more important than ours, but for what describes the body.
fn headers(endpoint: &Endpoint, body: &Bytes, media_type: HeaderValue) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(USER_AGENT, user_agent());
    headers.insert(HOST, endpoint.address.authority.clone());
    headers.extend(endpoint.headers.clone());
    headers.insert(CONTENT_TYPE, media_type);
    if let Some(value) = endpoint.secret.as_ref().and_then(|key| body::signature(key, body)) {
        headers.insert(SIGNATURE, value);
    }
    headers
}

fn user_agent() -> HeaderValue {
    HeaderValue::from_static(concat!("roadstead/", env!("CARGO_PKG_VERSION")))
}
