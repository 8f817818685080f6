//! Requests to a store, repeated where that is safe and may help.
//!
//! Clients of the registry repeat what fails as well, so that there are few
//! attempts here: enough for a store that restarts a node or asks to slow
//! down, and not so many that a request outlives its client's patience.

use crate::unavailable;
use async_trait::async_trait;
use futures::future::BoxFuture;
use http::header::{IF_MATCH, IF_NONE_MATCH, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use object_store::client::{HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService};
use std::fmt;
use std::time::{Duration, Instant};

/// How often a request is sent at most.
pub const MAX_ATTEMPTS: u32 = 4;

/// How long after the first attempt another one may begin.
pub const REPEAT_TIME: Duration = Duration::from_secs(15);

/// The longest pause between attempts.
pub const MAX_PAUSE: Duration = Duration::from_secs(2);

/// The pause after the first attempt, at most; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// GCS's way to say what must be there.
const GCS_CONDITION: &str = "x-goog-if-generation-match";

/// Waits, as the platform does.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Ends after `time`.
    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()>;
}

/// An [`HttpService`] that repeats requests and says who sends them.
#[derive(Clone, Debug)]
pub struct Client<S, C> {
    service: S,
    clock: C,
    user_agent: HeaderValue,
    /// A conditional write that is answered with 409 met another one that had
    /// not ended, and nothing is known of the condition.
    conflicts_end: bool,
}

impl<S, C> Client<S, C> {
    /// A client over `service`.
    pub fn new(service: S, clock: C, user_agent: HeaderValue, conflicts_end: bool) -> Self {
        Self { service, clock, user_agent, conflicts_end }
    }

    /// Whether an outcome may be another one if the request is sent again, and
    /// nothing is done twice by that.
    fn repeats(&self, kind: Kind, outcome: &Result<HttpResponse, HttpError>) -> bool {
        match outcome {
            Ok(response) => match response.status() {
                // It says that nothing was done.
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => true,
                StatusCode::CONFLICT => kind == Kind::Conditional && self.conflicts_end,
                StatusCode::REQUEST_TIMEOUT
                | StatusCode::INTERNAL_SERVER_ERROR
                | StatusCode::BAD_GATEWAY
                | StatusCode::GATEWAY_TIMEOUT => kind == Kind::Idempotent,
                _ => false,
            },
            Err(error) => match error.kind() {
                HttpErrorKind::Connect => true,
                HttpErrorKind::Request | HttpErrorKind::Timeout | HttpErrorKind::Interrupted => {
                    kind == Kind::Idempotent
                }
                _ => false,
            },
        }
    }
}

impl<S: HttpService, C: Clock> Client<S, C> {
    /// What came of the last attempt.
    async fn attempt(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        request.headers_mut().entry(USER_AGENT).or_insert_with(|| self.user_agent.clone());
        let kind = Kind::of(request.method(), request.headers());
        let started = Instant::now();
        let mut pause = FIRST_PAUSE;
        for _ in 1..MAX_ATTEMPTS {
            let outcome = self.service.call(request.clone()).await;
            if !self.repeats(kind, &outcome) {
                return outcome;
            }
            let wait = outcome.as_ref().ok().and_then(asked_for).unwrap_or_else(|| uneven(pause));
            if wait > MAX_PAUSE || started.elapsed() + wait > REPEAT_TIME {
                return outcome;
            }
            drop(outcome);
            self.clock.sleep(wait).await;
            pause = (pause * 2).min(MAX_PAUSE);
        }
        self.service.call(request).await
    }
}

#[async_trait]
impl<S: HttpService, C: Clock> HttpService for Client<S, C> {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        unavailable::told(self.attempt(request).await?).await
    }
}

/// What sending a request twice does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The same as sending it once.
    Idempotent,
    /// The second one meets what the first one did.
    Conditional,
    /// Something more.
    Other,
}

impl Kind {
    fn of(method: &Method, headers: &HeaderMap) -> Self {
        let conditional = headers.contains_key(IF_MATCH)
            || headers.contains_key(IF_NONE_MATCH)
            || headers.contains_key(GCS_CONDITION);
        match *method {
            Method::PUT | Method::DELETE if conditional => Self::Conditional,
            Method::GET | Method::HEAD | Method::PUT | Method::DELETE => Self::Idempotent,
            _ => Self::Other,
        }
    }
}

/// How long the store asks to wait.
fn asked_for(response: &HttpResponse) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Between half of a time and all of it, so that those who failed together do
/// not come back together.
fn uneven(time: Duration) -> Duration {
    let random = getrandom::u32().unwrap_or(u32::MAX);
    let half = time / 2;
    half + half.mul_f64(f64::from(random) / f64::from(u32::MAX))
}
