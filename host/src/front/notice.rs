//! Notifications of what requests read and change. What was changed, the component says; what was
//! read, the response does, whether the component or the cache has made it.

use crate::front::peer::{self, Peer};
use crate::notifications::changes::{action, events, url};
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HOST, HeaderMap, USER_AGENT};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use ipnet::IpNet;
use roadstead_bridge::account::REQUEST_ID;
use roadstead_bridge::change::Change;
use roadstead_bridge::outbox::SHOWN;
use roadstead_events::{self as of, Action, Event, Notifications};
use roadstead_telemetry::{Handler, Target};
use std::sync::Arc;

const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// A request of which others may be notified.
pub(super) struct Notice {
    notifications: Arc<Notifications>,
    method: Method,
    uri: Uri,
    headers: of::Request,
    /// The scheme and the host by which the client has reached the registry.
    base: String,
}

impl Notice {
    /// `None` if its response can be of no interest.
    pub(super) fn of<B>(
        notifications: Option<&Arc<Notifications>>,
        request: &Request<B>,
        peer: &Peer,
        trusted: &[IpNet],
    ) -> Option<Self> {
        let notifications = notifications?;
        let (method, uri, headers) = (request.method(), request.uri(), request.headers());
        let reads = matches!(*method, Method::GET | Method::HEAD);
        if reads && !(is_content(uri) && notifications.wants(Action::Pull, "")) {
            return None;
        }
        let (address, tls) = peer::origin(headers, peer, trusted);
        let host = match peer::authority(uri) {
            Some(authority) => shown(authority.as_bytes()),
            None => text(headers, &HOST),
        };
        let base = format!("{}://{host}", if tls { "https" } else { "http" });
        Some(Self {
            notifications: Arc::clone(notifications),
            method: method.clone(),
            uri: uri.clone(),
            headers: of::Request {
                id: text(headers, &REQUEST_ID),
                addr: address.to_string(),
                host,
                method: method.as_str().to_owned(),
                user_agent: text(headers, &USER_AGENT),
            },
            base,
        })
    }

    /// Notifies of content that this response to a GET or HEAD gives to `user`.
    pub(super) fn read<B>(self, response: &Response<B>, user: Option<&str>) {
        if !matches!(self.method, Method::GET | Method::HEAD) {
            return;
        }
        let Some(content) = self.content(response) else { return };
        if self.notifications.wants(Action::Pull, &content.media_type) {
            let user = user.map(str::to_owned);
            let event = Event::new(Action::Pull, content, self.headers, user);
            self.notifications.publish_lazily(event);
        }
    }

    /// What a response gives of a manifest or of a blob; of a blob that is elsewhere, the address.
    fn content<B>(&self, response: &Response<B>) -> Option<of::Target> {
        let has = matches!(
            response.status(),
            StatusCode::OK | StatusCode::PARTIAL_CONTENT | StatusCode::TEMPORARY_REDIRECT
        );
        let target = Target::of(self.uri.path());
        let (repository, reference) = (target.repository?, target.reference?);
        let headers = response.headers();
        let digest = headers.get(DIGEST).filter(|_| has)?.to_str().ok()?;
        let tag = (target.handler == Handler::Manifest && !reference.contains(':'))
            .then(|| reference.to_owned());
        let number = |name: HeaderName| {
            let value = headers.get(name)?.to_str().ok()?;
            value.rsplit('/').next()?.parse().ok()
        };
        let size = match response.status() {
            StatusCode::OK => number(CONTENT_LENGTH),
            // The size of the whole is at the end.
            StatusCode::PARTIAL_CONTENT => number(CONTENT_RANGE),
            _ => None,
        };
        let media_type = match response.status() {
            StatusCode::TEMPORARY_REDIRECT => "application/octet-stream".to_owned(),
            _ => text(headers, &CONTENT_TYPE),
        };
        Some(of::Target {
            media_type,
            size,
            digest: Some(digest.to_owned()),
            repository: repository.to_owned(),
            url: Some(url(&self.base, repository, target.handler, digest)),
            tag,
            ..of::Target::default()
        })
    }

    /// Notifies of what the request has changed, for `user`: when this returns, the events outlive a
    /// loss of power, or the log says that they could not be written.
    pub(super) async fn changed(self, change: &Change, user: Option<&str>) {
        let media_type = change.media_type.as_deref().unwrap_or_default();
        if !self.notifications.wants(action(change.kind), media_type) {
            return;
        }
        for event in events(change, &self.headers, &self.base, self.uri.path(), user) {
            if let Err(error) = self.notifications.publish(event).await {
                tracing::error!(
                    "request {}: others are not notified of it: the outbox cannot be written: {error}",
                    self.headers.id
                );
                return;
            }
        }
    }
}

/// Whether a path is that of a manifest or a blob.
fn is_content(uri: &Uri) -> bool {
    matches!(Target::of(uri.path()).handler, Handler::Manifest | Handler::Blob)
}

fn text(headers: &HeaderMap, name: &HeaderName) -> String {
    headers.get(name).map(HeaderValue::as_bytes).map(shown).unwrap_or_default()
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.get(..SHOWN).unwrap_or(bytes)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::{SHOWN, text};
    use http::header::USER_AGENT;
    use http::{HeaderMap, HeaderValue};

    #[test]
    fn events_repeat_little() {
        for (length, expected) in [(0, 0), (SHOWN, SHOWN), (SHOWN + 1, SHOWN), (60_000, SHOWN)] {
            let value = HeaderValue::from_str(&"a".repeat(length)).unwrap();
            let headers = HeaderMap::from_iter([(USER_AGENT, value)]);
            assert_eq!(text(&headers, &USER_AGENT).len(), expected);
        }
        assert_eq!(text(&HeaderMap::new(), &USER_AGENT), "");
    }
}
