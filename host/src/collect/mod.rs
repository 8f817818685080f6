//! Garbage collection as the host drives it: the component does a slice of a run
//! for each request, which the host gives to the engine itself. No socket and no
//! client's turn is needed.

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
use std::fmt;

/// Longest response that is read, in bytes: several times the longest.
///
/// Limit: bytes of the component's response to a slice of garbage collection; test: none, the component makes them.
const RESPONSE_LIMIT: usize = 64 * 1024;

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
    let body = serde_json::to_vec(ask).map_err(|error| Failure::new(error.to_string()))?;
    let request = Request::post(PATH)
        .header(OVERRIDES, header_json(overrides))
        .header(CONTENT_TYPE, "application/json")
        .header(CONTENT_LENGTH, body.len());
    let bytes = send(engine, request, body).await?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Failure::new(format!("the component's response: {error}")))
}

/// The body of the component's response to a GET request.
pub(crate) async fn get(engine: &Engine, path: &str) -> Result<Bytes, Failure> {
    send(engine, Request::get(path), Vec::new()).await
}

async fn send(
    engine: &Engine,
    request: http::request::Builder,
    body: Vec<u8>,
) -> Result<Bytes, Failure> {
    let request = request.body(full(Bytes::from(body)));
    let request = request.map_err(|error| Failure::new(error.to_string()))?;
    let response = engine.handle(request).await;
    let mut response = response.map_err(|error| Failure::new(format!("{error:#}")))?;
    // It is read at once anyway.
    front::take_in_memory(response.headers_mut());
    let status = response.status();
    let bytes = Limited::new(response.into_body(), RESPONSE_LIMIT).collect().await;
    let bytes = bytes.map_err(|error| Failure::new(error.to_string()))?.to_bytes();
    if status == StatusCode::OK {
        return Ok(bytes);
    }
    let said: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let said = said["errors"][0]["message"].as_str().unwrap_or_default().to_owned();
    Err(Failure { refused: status.is_client_error(), cause: format!("{status}: {said}") })
}
