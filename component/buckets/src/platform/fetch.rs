//! Requests to a source of credentials: to its origins only, with the retries of
//! requests to a store, and with small responses.

use crate::client::Idempotence;
use crate::{Client, Clock};
use async_trait::async_trait;
use http::{HeaderValue, Uri};
use http_body_util::{BodyExt as _, Limited};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};
use serde_json::Value;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Largest response with credentials, in bytes; they are a few thousand.
///
/// Limit: bytes of a response with credentials of the platform; test:
/// `responses_are_bounded`.
pub const RESPONSE_LIMIT: usize = 64 * 1024;

/// Longest lifetime of credentials, or the last time at which they expire, in seconds: some
/// thousands of years.
///
/// Limit: lifetime of the platform's credentials; test: `lifetimes_are_bounded`.
const MAX_LIFETIME: u64 = 1 << 40;

/// A scheme and an authority, so that they can be compared: of one case, and
/// without the scheme's own port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Origin(String);

impl Origin {
    /// The origin of a URL without credentials.
    pub(super) fn of(uri: &Uri) -> Option<Self> {
        let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
        let port = match scheme {
            "http" => ":80",
            "https" => ":443",
            _ => return None,
        };
        let authority = authority.as_str().to_ascii_lowercase();
        let authority = authority.strip_suffix(port).unwrap_or(&authority);
        (!authority.contains('@')).then(|| Self(format!("{scheme}://{authority}")))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is reached without TLS.
    pub(super) fn is_plain(&self) -> bool {
        self.0.starts_with("http://")
    }
}

/// The client of object_store's providers.
#[derive(Clone, Debug)]
pub(super) struct Fetching<S, C> {
    client: Client<S, C>,
    origins: Arc<[Origin]>,
    /// The last request that failed: object_store forgets it when it goes on to
    /// another address.
    failed: Arc<Mutex<String>>,
}

impl<S, C> Fetching<S, C> {
    pub(super) fn new(service: S, clock: C, origins: Vec<Origin>) -> Self {
        let agent = HeaderValue::from_static(crate::USER_AGENT);
        let client = Client::new(service, clock, agent, false, "");
        Self { client, origins: origins.into(), failed: Arc::default() }
    }

    fn failed(&self) -> MutexGuard<'_, String> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl<S: HttpService, C: Clock> HttpService for Fetching<S, C> {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let origin = Origin::of(request.uri());
        let allowed = origin.as_ref().is_some_and(|origin| self.origins.contains(origin));
        let origin = origin.as_ref().map_or("another address", Origin::as_str);
        if !allowed {
            let mut denied = format!("{origin} is not an address of this source");
            let failed = std::mem::take(&mut *self.failed());
            if !failed.is_empty() {
                denied = format!("{failed}; and {denied}");
            }
            return Err(HttpError::new(HttpErrorKind::Unknown, io::Error::other(denied)));
        }
        // Also a POST: a token that nobody has received expires.
        let response = self.client.attempt(request, Idempotence::Idempotent).await;
        let response = response.inspect_err(|error| {
            *self.failed() = format!("{origin}: {error}");
        })?;
        if !response.status().is_success() {
            *self.failed() = format!("{origin} responds with {}", response.status());
        }
        let (head, body) = response.into_parts();
        let body = Limited::new(body, RESPONSE_LIMIT).collect().await;
        let body = body.map_err(|error| {
            HttpError::new(HttpErrorKind::Decode, io::Error::other(error.to_string()))
        })?;
        let bytes = body.to_bytes();
        if !lives_reasonably(&bytes) {
            let problem = format!("{origin} gives credentials for more than a lifetime");
            return Err(HttpError::new(HttpErrorKind::Decode, io::Error::other(problem)));
        }
        Ok(HttpResponse::from_parts(head, bytes.into()))
    }
}

/// Whether the lifetimes in a response are such that object_store, which adds them to a
/// time, can do so.
pub(super) fn lives_reasonably(body: &[u8]) -> bool {
    let Ok(Value::Object(fields)) = serde_json::from_slice(body) else { return true };
    let seconds = |value: &Value| match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64(),
    };
    let mut lifetimes = fields.iter().filter(|(name, _)| name.starts_with("expires"));
    lifetimes.all(|(_, value)| seconds(value).is_none_or(|seconds: u64| seconds <= MAX_LIFETIME))
}

impl<S: HttpService + Clone, C: Clock + Clone> HttpConnector for Fetching<S, C> {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}
