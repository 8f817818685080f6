//! Refusals of a store as typed errors.
//!
//! `object_store` keeps neither the status nor the error code of a response that
//! it takes for an error, only text. So the refusals that must be told apart
//! become errors here, before it sees the response, and are found again in the
//! chain of sources of its own error.

use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use object_store::client::{HttpError, HttpErrorKind, HttpResponse};
use quick_xml::Reader;
use quick_xml::events::Event;
use std::error::Error;
use std::fmt;
use std::iter::successors;

/// The largest error response that is read, in bytes.
///
/// Limit: bytes of a store's error response that are read; test: none, the rest is
/// not looked at.
const TEXT_LIMIT: usize = 16 * 1024;

/// The codes for parts that a store does not have: of S3 and GCS, and of Azure.
const MISSING_PARTS: [&str; 2] = ["InvalidPart", "InvalidBlockList"];

/// The codes for a bucket or container that does not exist: of S3 and GCS, and of
/// Azure. Other codes with the same status are of an object.
const NO_BUCKET: [&str; 2] = ["NoSuchBucket", "ContainerNotFound"];

/// S3's codes for temporary credentials that are no longer valid, whose status is
/// 400.
const EXPIRED: [&str; 2] = ["ExpiredToken", "InvalidToken"];

/// The codes for a quota that is used up: Ceph's, whose status is 403, and `MinIO`'s,
/// whose status is 400.
const NO_ROOM: [&str; 2] = ["QuotaExceeded", "XMinioAdminBucketQuotaExceeded"];

/// The header in which Azure repeats the code of an error.
const AZURE_CODE: &str = "x-ms-error-code";

/// A refusal that callers handle in a way of its own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The store, or a proxy in front of it, cannot serve at the moment, or not
    /// until its operator has mended something: see [`remedy`].
    Unavailable {
        /// The store and its settings.
        store: String,
        /// The status of its response.
        status: StatusCode,
        /// The body of its response.
        text: String,
    },
    /// A multipart upload cannot be completed, because the store does not have
    /// the parts that were named: for instance, one was replaced. Holds the body
    /// of its response.
    MissingParts(String),
    /// The platform gives no credentials for the store. Holds why, and what to do
    /// about it.
    NoCredentials(String),
}

impl Refusal {
    /// The refusal that caused an error.
    pub fn cause_of<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        causes(error).find_map(|cause| cause.downcast_ref())
    }

    /// Whether the store has no room, or a quota is used up.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Unavailable { status, text, .. } => {
                *status == StatusCode::INSUFFICIENT_STORAGE
                    || error_code(text).is_some_and(|code| NO_ROOM.contains(&&*code))
            }
            Self::MissingParts(_) | Self::NoCredentials(_) => false,
        }
    }

    /// Makes an error of a response, if it is such a refusal.
    pub(crate) async fn check(
        response: HttpResponse,
        store: &str,
    ) -> Result<HttpResponse, HttpError> {
        let status = response.status();
        let by_code = matches!(status, StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND);
        if !by_code && remedy(status).is_none() {
            return Ok(response);
        }
        let (head, body) = response.into_parts();
        // Without a body, the status has to do.
        let body = Limited::new(body, TEXT_LIMIT).collect().await;
        let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let text = String::from_utf8_lossy(&body);
        let code = by_code.then(|| code(&head.headers, &text)).flatten().unwrap_or_default();
        let refusal = match status {
            StatusCode::BAD_REQUEST if MISSING_PARTS.contains(&&*code) => {
                Self::MissingParts(text.into_owned())
            }
            StatusCode::BAD_REQUEST if !EXPIRED.contains(&&*code) && !NO_ROOM.contains(&&*code) => {
                return Ok(HttpResponse::from_parts(head, body.into()));
            }
            // There is no such object, which is an answer.
            StatusCode::NOT_FOUND if !NO_BUCKET.contains(&&*code) => {
                return Ok(HttpResponse::from_parts(head, body.into()));
            }
            _ => Self::Unavailable { store: store.to_owned(), status, text: text.into_owned() },
        };
        Err(HttpError::new(HttpErrorKind::Unknown, refusal))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable { store, status, text } => {
                let remedy = if self.is_full() {
                    FULL_REMEDY
                } else {
                    remedy(*status).unwrap_or(EXPIRED_REMEDY)
                };
                write!(f, "{store}: {remedy}; the store responds with {status}: {text}")
            }
            Self::MissingParts(text) => write!(f, "the store does not have the parts: {text}"),
            Self::NoCredentials(text) => f.write_str(text),
        }
    }
}

impl Error for Refusal {}

/// See [`EXPIRED`].
const EXPIRED_REMEDY: &str =
    "temporary credentials have expired, set new ones or see why the platform gives none";

/// See [`Refusal::is_full`].
const FULL_REMEDY: &str = "the store is full or its quota is used up, make room in it";

/// What to do about a response with this status, if it says that the store does
/// not serve the registry: not now, or not until its operator mends something.
/// `None` for other statuses; a 500 does not say so. A 404 says so only if what is
/// missing is not an object.
pub fn remedy(status: StatusCode) -> Option<&'static str> {
    Some(match status {
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => "the store cannot serve at the moment",
        StatusCode::UNAUTHORIZED => "the store does not accept the credentials, correct them",
        StatusCode::FORBIDDEN => {
            "the store denies this request: let these credentials list the bucket and read, write \
             and delete in it, and see whether it is read-only or its quota is used up"
        }
        StatusCode::NOT_FOUND => "the bucket does not exist, restore it or correct the setting",
        StatusCode::INSUFFICIENT_STORAGE => FULL_REMEDY,
        _ => return None,
    })
}

/// Whether the cause of an error is a store that cannot be reached, does not
/// respond, or does not serve: not now, or not until its operator mends something.
pub fn is_unavailable(error: &(dyn Error + 'static)) -> bool {
    let unreachable = |cause: &(dyn Error + 'static)| {
        matches!(
            cause.downcast_ref().map(HttpError::kind),
            Some(HttpErrorKind::Connect | HttpErrorKind::Timeout | HttpErrorKind::Interrupted)
        )
    };
    let refusal = Refusal::cause_of(error);
    matches!(refusal, Some(Refusal::Unavailable { .. } | Refusal::NoCredentials(_)))
        || causes(error).any(unreachable)
}

/// An error and its sources.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    successors(Some(error), |&error| error.source())
}

/// The code of an error response.
fn code(headers: &HeaderMap, body: &str) -> Option<String> {
    match headers.get(AZURE_CODE) {
        Some(code) => code.to_str().ok().map(str::to_owned),
        None => error_code(body),
    }
}

/// The code in the body of an error response, of which the beginning is enough:
/// `<Error><Code>…</Code>…`.
pub(crate) fn error_code(body: &str) -> Option<String> {
    let mut reader = Reader::from_str(body);
    loop {
        match reader.read_event().ok()? {
            Event::Start(element) if element.local_name().as_ref() == b"Code" => {
                return Some(reader.read_text(element.name()).ok()?.decode().ok()?.into_owned());
            }
            Event::Eof => return None,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::error_code;

    #[test]
    fn codes_of_errors() {
        for (body, expected) in [
            ("<Error><Code>InvalidPart</Code><Message>no", Some("InvalidPart")),
            (
                "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>InvalidBlockList</Code>\
                 <Message>The list</Message></Error>",
                Some("InvalidBlockList"),
            ),
            (
                "<Error xmlns=\"x\"><RequestId>1</RequestId><Code>A&amp;B</Code></Error>",
                Some("A&amp;B"),
            ),
            ("<Error><Message>&lt;Code&gt;InvalidPart&lt;/Code&gt;</Message></Error>", None),
            ("<html><body>Bad request", None),
            ("<Error><Code>Invalid", None),
            ("InvalidPart<", None),
            ("", None),
        ] {
            assert_eq!(error_code(body).as_deref(), expected, "{body}");
        }
    }
}
