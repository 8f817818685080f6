//! Requests to one server, one after the other, over a connection that is kept: for what is sent in
//! the background, such as traces and notifications. No redirect is followed and no proxy used.

mod connection;
mod pem;

pub use connection::{Connection, Message, Server, Version};
pub use pem::{certificates, read_pem};

use http::HeaderMap;
use http::header::RETRY_AFTER;
use std::time::{Duration, SystemTime};

/// An error with its causes, in one line.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        // Some repeat what their source says.
        if !text.ends_with(&cause) {
            text.extend([": ", &cause]);
        }
        source = error.source();
    }
    text
}

/// `Retry-After`: seconds, or a date (RFC 9110, section 10.2.3).
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?;
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}
