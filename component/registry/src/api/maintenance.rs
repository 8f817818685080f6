//! What the requests of operators have in common: garbage collection and scrubs.

use super::json;
use crate::{Body, Error};
use http::Response;
use http::header::{self, HeaderValue};
use roadstead_storage::{BodyError, RequestBody};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::atomic::{AtomicBool, Ordering};

/// `Retry-After` if another request does a slice, in seconds.
pub(super) const BUSY_RETRY_AFTER: &str = "1";

/// The only request of this instance, but for the host's, that does a slice.
pub(super) struct Turn<'a>(&'a AtomicBool);

impl<'a> Turn<'a> {
    /// # Errors
    /// `busy` when another request has it.
    pub(super) fn take(taken: &'a AtomicBool, busy: Error) -> Result<Self, Error> {
        if taken.swap(true, Ordering::Relaxed) { Err(busy) } else { Ok(Self(taken)) }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// Reads what a request asks for from a body of at most `limit` bytes: without one, what
/// is asked for by default.
///
/// # Errors
/// `invalid`, with the reason, when the body asks for nothing.
pub(super) async fn asked<T: Default + DeserializeOwned, U: RequestBody>(
    body: Option<U>,
    limit: usize,
    invalid: fn(String) -> Error,
) -> Result<T, Error> {
    let Some(body) = body else { return Ok(T::default()) };
    let bytes = body.collect(limit).await.map_err(|error| match error {
        BodyError::TooLarge => invalid(format!("its body is longer than {limit} bytes")),
        BodyError::Aborted => Error::BodyAborted,
        BodyError::TooSlow => Error::BodyTooSlow,
    })?;
    if bytes.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(&bytes).map_err(|error| invalid(error.to_string()))
}

/// An answer, which no cache may keep.
pub(super) fn answer<D>(body: &impl Serialize) -> Result<Response<Body<D>>, Error> {
    let body = serde_json::to_vec(body);
    let mut response = json(body.map_err(|error| Error::Internal(error.to_string()))?);
    let no_store = HeaderValue::from_static("no-store");
    response.headers_mut().insert(header::CACHE_CONTROL, no_store);
    Ok(response)
}
