//! Temporary unavailability of a store.

use http::StatusCode;
use http_body_util::{BodyExt as _, Limited};
use object_store::client::{HttpError, HttpErrorKind, HttpResponse};
use std::error::Error;
use std::fmt;
use std::iter::successors;

/// How much of a store's error text is kept, in bytes.
const TEXT_LIMIT: usize = 16 * 1024;

/// A response that the store cannot serve now. It is an error of its own because
/// object_store's errors do not expose the status of a response.
#[derive(Debug)]
struct Unavailable {
    status: StatusCode,
    text: String,
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the store answered {}: {}", self.status, self.text)
    }
}

impl Error for Unavailable {}

/// Whether this status of a store, or of a proxy in front of it, means that a
/// later request may succeed. An internal error (500) does not.
pub fn promises_better(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}

/// Whether an error was caused by a store that cannot be reached, does not
/// answer, or reports that it cannot serve now.
pub fn is_unavailable(error: &(dyn Error + 'static)) -> bool {
    successors(Some(error), |&error| error.source()).any(|cause| {
        let kind = cause.downcast_ref().map(HttpError::kind);
        cause.is::<Unavailable>()
            || matches!(
                kind,
                Some(HttpErrorKind::Connect | HttpErrorKind::Timeout | HttpErrorKind::Interrupted)
            )
    })
}

/// Turns a response with such a status into an error.
pub(crate) async fn told(response: HttpResponse) -> Result<HttpResponse, HttpError> {
    let status = response.status();
    if !promises_better(status) {
        return Ok(response);
    }
    // If the text cannot be read, the status alone is reported.
    let text = Limited::new(response.into_body(), TEXT_LIMIT).collect().await;
    let text = text.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    Err(HttpError::new(HttpErrorKind::Unknown, Unavailable { status, text }))
}
