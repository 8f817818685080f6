//! Notifications under hosts that send none: what requests do is left in the storage, for a native
//! host over the same storage (`POST /v2/_roadstead/events`).

use super::maintenance::{answer, asked};
use super::{Answer, Call, Registry, internal};
use crate::Error;
use http::header::{HOST, HeaderMap, USER_AGENT};
use http::{HeaderName, Method, Uri};
use roadstead_bridge::account::request_id;
use roadstead_bridge::change::{Change, ChangeKind};
use roadstead_bridge::log;
use roadstead_bridge::outbox::{LeftEvent, LeftRequest, SHOWN, TakeRequest};
use roadstead_storage::{EventName, Storage};
use std::time::SystemTime;
use uuid::Uuid;

/// Maximum size of a request's body, in bytes: names of all that an answer has.
///
/// Limit: bytes of a request for events; test: `events_are_taken_in_their_order`.
const BODY_LIMIT: usize = 64 * 1024;

impl<S: Storage> Registry<S> {
    /// Leaves an event of what a request has done. It is durable before the client is answered, but for
    /// pulls, for which nobody waits.
    pub(super) async fn leave(&self, change: Change, request: LeftRequest, user: Option<String>) {
        let id = Uuid::new_v4().as_u128();
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let time = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let is_pull = change.kind == ChangeKind::Pull;
        let event = LeftEvent { id, time, change, request, user };
        if is_pull {
            return self.store.leave_pull(event);
        }
        let request = event.request.id.clone();
        if let Err(error) = self.store.leave(event).await {
            let line = format!(
                "request {request}: others are not notified of it: the event cannot be left in the \
                 storage: {error}"
            );
            eprintln!("{}", log::error(&line));
        }
    }

    /// Writes the events of pulls, after the responses.
    pub(super) async fn write_pulls(&self) {
        if let Err(error) = self.store.write_pulls().await {
            let line = format!(
                "others are not notified of pulls, which cannot be left in the storage: {error}"
            );
            eprintln!("{}", log::error(&line));
        }
    }

    /// Gives the native host the oldest events, and removes those that it has taken.
    pub(super) async fn events(&self, call: &mut Call<S::Upload>) -> Answer<S> {
        let ask: TakeRequest = asked(call.body.take(), BODY_LIMIT, Error::Internal).await?;
        let names: Option<Vec<_>> = ask.taken.iter().map(|name| EventName::parse(name)).collect();
        let names = names.ok_or_else(|| Error::Internal("no names of events".to_owned()))?;
        self.store.take_events(&names).await.map_err(internal)?;
        answer(&self.store.left_events().await.map_err(internal)?)
    }
}

/// What events repeat of a request. `host` is the URL by which clients reach the registry, if the
/// settings have one.
pub(super) fn request(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    host: Option<&str>,
) -> LeftRequest {
    let named = text(headers, &HOST);
    LeftRequest {
        id: request_id(headers).map_or_else(|| Uuid::new_v4().to_string(), str::to_owned),
        base: host.map_or_else(|| format!("http://{named}"), str::to_owned),
        host: named,
        method: method.as_str().to_owned(),
        path: uri.path().to_owned(),
        user_agent: text(headers, &USER_AGENT),
    }
}

fn text(headers: &HeaderMap, name: &HeaderName) -> String {
    let bytes = headers.get(name).map(http::HeaderValue::as_bytes).unwrap_or_default();
    String::from_utf8_lossy(bytes.get(..SHOWN).unwrap_or(bytes)).into_owned()
}
