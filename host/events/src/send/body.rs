//! Bodies of requests: envelopes of distribution's, and `CloudEvents`.

use crate::event::{Head, Source};
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::HeaderValue;
use roadstead_config::EventFormat;
use serde::Serialize;
use serde_json::value::RawValue;
use sha2::Sha256;

/// The media type of distribution's envelopes.
const ENVELOPE: HeaderValue =
    HeaderValue::from_static("application/vnd.docker.distribution.events.v2+json");

/// That of a `CloudEvent` in structured mode.
const CLOUD_EVENT: HeaderValue = HeaderValue::from_static("application/cloudevents+json");

/// What the types of `CloudEvents` begin with.
const TYPE: &str = "io.roadstead.registry.";

/// How many events a request of a format can have.
pub(super) const fn most(format: EventFormat) -> usize {
    match format {
        EventFormat::Distribution => usize::MAX,
        EventFormat::CloudEvents => 1,
    }
}

/// The body for events, and its media type.
pub(super) fn body(
    format: EventFormat,
    events: &[&Bytes],
    source: &Source,
) -> (Bytes, HeaderValue) {
    match (format, events) {
        (EventFormat::CloudEvents, [event]) => {
            // What is no event was skipped when it was read.
            (cloud_event(event, source).unwrap_or_default().into(), CLOUD_EVENT)
        }
        _ => (envelope(events), ENVELOPE),
    }
}

fn envelope(events: &[&Bytes]) -> Bytes {
    let length: usize = events.iter().map(|event| event.len() + 1).sum();
    let mut body = Vec::with_capacity(length + 16);
    body.extend_from_slice(b"{\"events\":[");
    for (index, event) in events.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        body.extend_from_slice(event);
    }
    body.extend_from_slice(b"]}");
    body.into()
}

/// `CloudEvents` 1.0.
#[derive(Serialize)]
struct CloudEvent<'a> {
    specversion: &'static str,
    id: &'a str,
    source: &'a str,
    r#type: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    subject: &'a str,
    time: &'a str,
    datacontenttype: &'static str,
    data: &'a RawValue,
}

fn cloud_event(event: &[u8], source: &Source) -> Option<Vec<u8>> {
    let head = Head::parse(event)?;
    let target = &head.target;
    let subject = match (&*target.repository, &*target.tag, &*target.digest) {
        (repository, "", "") => repository.to_owned(),
        (repository, "", digest) => format!("{repository}@{digest}"),
        (repository, tag, _) => format!("{repository}:{tag}"),
    };
    let at = format!("//{}", source.addr);
    let cloud_event = CloudEvent {
        specversion: "1.0",
        id: &head.id,
        source: source.url.as_deref().unwrap_or(&at),
        r#type: format!("{TYPE}{}", head.action),
        subject: &subject,
        time: &head.timestamp,
        datacontenttype: "application/json",
        data: serde_json::from_slice(event).ok()?,
    };
    serde_json::to_vec(&cloud_event).ok()
}

/// The value of `X-Roadstead-Signature`.
pub(super) fn signature(secret: &[u8], body: &[u8]) -> Option<HeaderValue> {
    // Keys may have any length.
    let mut hmac = Hmac::<Sha256>::new_from_slice(secret).ok()?;
    hmac.update(body);
    let digest = base16ct::lower::encode_string(&hmac.finalize().into_bytes());
    HeaderValue::try_from(format!("sha256={digest}")).ok()
}
