//! Scrubbing: each request does a slice. `roadstead scrub` sends these requests, and so
//! can `curl`.

use super::maintenance::{Turn, answer, asked};
use super::{Answer, Call, Registry, internal};
use crate::Error;
use crate::scrub::{ScrubOptions, State};
use roadstead_bridge::scrub::{CURSOR_LIMIT, DEFAULT_SLICE, LARGEST_SLICE, ScrubRequest};
use roadstead_storage::Storage;

/// Maximum size of a request's body, in bytes: a cursor, and what else it can say.
///
/// Limit: bytes of a request for a scrub; test: `limits_of_a_slice`.
const BODY_LIMIT: usize = CURSOR_LIMIT + 1024;

impl<S: Storage> Registry<S> {
    pub(super) async fn scrub(&self, call: &mut Call<S::Upload>) -> Answer<S> {
        let is_the_host = self.gate.overrides(&call.headers)?.is_some();
        let ask: ScrubRequest = asked(call.body.take(), BODY_LIMIT, Error::ScrubRequest).await?;
        let state = match &ask.cursor {
            None => State::default(),
            Some(cursor) => State::parse(cursor)
                .ok_or_else(|| Error::ScrubRequest("the cursor is invalid".to_owned()))?,
        };
        let order = self.order(&ask)?;
        // The host's own requests come one after the other.
        let _turn =
            if is_the_host { None } else { Some(Turn::take(&self.scrubbing, Error::Scrubbing)?) };
        answer(&self.store.scrub(state, order).await.map_err(internal)?)
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
