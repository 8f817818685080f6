//! Garbage collection, and scrubs of a storage that nobody serves, as the host drives
//! them: the component does a slice for each request, which the host gives to the engine
//! itself. No socket and no client's turn is needed.

pub(crate) mod offline;
pub(crate) mod schedule;

use crate::body::full;
use crate::engine::Engine;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use roadstead_bridge::collect::{OVERRIDES, Overrides, PATH, Progress, SliceRequest};
use roadstead_bridge::{front, header_json};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;

/// Longest response that is read, in bytes: several times the longest.
///
/// Limit: bytes of the component's response to a slice of garbage collection or of a scrub; test: none, the component makes them.
const RESPONSE_LIMIT: usize = 2 * 1024 * 1024;

/// Why a slice was not done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Failure {
    /// Whether the request was refused, so that it will be again.
    pub(crate) refused: bool,
    cause: String,
}

impl Failure {
    fn new(cause: impl Into<String>) -> Self {
        Self { refused: false, cause: cause.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause)
    }
}

impl std::error::Error for Failure {}

/// Has the component do a slice.
pub(crate) async fn slice(
    engine: &Engine,
    overrides: &Overrides,
    ask: &SliceRequest,
) -> Result<Progress, Failure> {
    answer(engine, PATH, overrides, ask).await
}

/// Has the component do what a path is for, and gives its answer.
pub(crate) async fn answer<T: DeserializeOwned>(
    engine: &Engine,
    path: &str,
    overrides: &Overrides,
    ask: &impl Serialize,
) -> Result<T, Failure> {
    let body = serde_json::to_vec(ask).map_err(|error| Failure::new(error.to_string()))?;
    let request = Request::post(path)
        .header(OVERRIDES, header_json(overrides))
        .header(CONTENT_TYPE, "application/json")
        .header(CONTENT_LENGTH, body.len())
        .body(full(Bytes::from(body)))
        .map_err(|error| Failure::new(error.to_string()))?;
    let response = engine.handle(request).await;
    let mut response = response.map_err(|error| Failure::new(format!("{error:#}")))?;
    // It is read at once anyway.
    front::take_in_memory(response.headers_mut());
    let status = response.status();
    let bytes = Limited::new(response.into_body(), RESPONSE_LIMIT).collect().await;
    let bytes = bytes.map_err(|error| Failure::new(error.to_string()))?.to_bytes();
    if status == StatusCode::OK {
        return serde_json::from_slice(&bytes)
            .map_err(|error| Failure::new(format!("the component's response: {error}")));
    }
    let said: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let said = said["errors"][0]["message"].as_str().unwrap_or_default().to_owned();
    Err(Failure { refused: status.is_client_error(), cause: format!("{status}: {said}") })
}
