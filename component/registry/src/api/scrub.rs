//! Scrubbing: each request does a slice. `roadstead scrub` sends these requests, and so
//! can `curl`.

use super::collect::Turn;
use super::{Answer, Call, Registry, internal, json};
use crate::Error;
use crate::scrub::{ScrubOptions, State};
use http::header::{self, HeaderValue};
use roadstead_bridge::scrub::{CURSOR_LIMIT, DEFAULT_SLICE, LARGEST_SLICE, ScrubRequest};
use roadstead_storage::{BodyError, RequestBody, Storage};

/// Maximum size of a request's body, in bytes: a cursor, and what else it can say.
///
/// Limit: bytes of a request for a scrub; test: `limits_of_a_slice`.
const BODY_LIMIT: usize = CURSOR_LIMIT + 1024;

impl<S: Storage> Registry<S> {
    pub(super) async fn scrub(&self, call: &mut Call<S::Upload>) -> Answer<S> {
        let is_the_host = self.gate.overrides(&call.headers)?.is_some();
        let ask = ask(call).await?;
        let state = match &ask.cursor {
            None => State::default(),
            Some(cursor) => State::parse(cursor)
                .ok_or_else(|| Error::ScrubRequest("the cursor is invalid".to_owned()))?,
        };
        let order = self.order(&ask)?;
        // The host's own requests come one after the other.
        let _turn =
            if is_the_host { None } else { Some(Turn::take(&self.scrubbing, Error::Scrubbing)?) };
        let progress = self.store.scrub(state, order).await.map_err(internal)?;
        let body = serde_json::to_vec(&progress);
        let mut response = json(body.map_err(|error| Error::Internal(error.to_string()))?);
        let no_store = HeaderValue::from_static("no-store");
        response.headers_mut().insert(header::CACHE_CONTROL, no_store);
        Ok(response)
    }

    /// What a request may have done: data is moved only where it may be deleted.
    fn order(&self, ask: &ScrubRequest) -> Result<ScrubOptions, Error> {
        let quarantine = match self.switches.collection {
            _ if !ask.quarantine => None,
            _ if self.switches.read_only => return Err(Error::ReadOnly),
            _ if !self.switches.delete => return Err(Error::DeleteDisabled),
            None => return Err(Error::CollectionDisabled),
            Some(collection) => Some(collection.grace),
        };
        let bytes = ask.bytes.unwrap_or(DEFAULT_SLICE);
        if !(1..=LARGEST_SLICE).contains(&bytes) {
            return Err(Error::ScrubRequest(format!("bytes is from 1 to {LARGEST_SLICE}")));
        }
        Ok(ScrubOptions { bytes, hash: ask.hash, quarantine, sparse: self.switches.sparse })
    }
}

async fn ask<U: RequestBody>(call: &mut Call<U>) -> Result<ScrubRequest, Error> {
    let Some(body) = call.body.take() else { return Ok(ScrubRequest::default()) };
    let bytes = body.collect(BODY_LIMIT).await.map_err(|error| match error {
        BodyError::TooLarge => {
            Error::ScrubRequest(format!("its body is longer than {BODY_LIMIT} bytes"))
        }
        BodyError::Aborted => Error::BodyAborted,
        BodyError::TooSlow => Error::BodyTooSlow,
    })?;
    if bytes.is_empty() {
        return Ok(ScrubRequest::default());
    }
    serde_json::from_slice(&bytes).map_err(|error| Error::ScrubRequest(error.to_string()))
}
