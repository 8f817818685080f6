//! Stores that cannot serve now, and may soon.

use http::StatusCode;
use http_body_util::{BodyExt as _, Limited};
use object_store::client::{HttpError, HttpErrorKind, HttpResponse};
use std::error::Error;
use std::fmt;
use std::iter::successors;

/// How much of a store's explanation is kept, in bytes.
const TEXT_LIMIT: usize = 16 * 1024;

/// A store that says that it cannot serve now. object_store does not let
/// anyone see the status of an answer that it takes for an error.
#[derive(Debug)]
struct Unavailable {
    status: StatusCode,
    text: String,
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the store answers {}: {}", self.status, self.text)
    }
}

impl Error for Unavailable {}

/// Whether a store, or a proxy before it, says by this status that another
/// answer may come later. That it failed (500) says nothing of the kind.
pub fn promises_better(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}

/// Whether an error comes of a store that cannot be reached, does not answer,
/// or says that it cannot serve now.
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

/// An answer that promises better as the error that it is.
pub(crate) async fn told(response: HttpResponse) -> Result<HttpResponse, HttpError> {
    let status = response.status();
    if !promises_better(status) {
        return Ok(response);
    }
    // Without its text, the status has to do.
    let text = Limited::new(response.into_body(), TEXT_LIMIT).collect().await;
    let text = text.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    Err(HttpError::new(HttpErrorKind::Unknown, Unavailable { status, text }))
}
