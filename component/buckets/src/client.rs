//! Requests to a store, with retries where they are safe and may help.
//!
//! Clients of the registry retry as well, so there are few attempts here: enough
//! for a store that restarts a node or asks to slow down, and not so many that
//! the registry's client times out first.

use crate::Refusal;
use async_trait::async_trait;
use futures::future::BoxFuture;
use http::header::{CONTENT_TYPE, IF_MATCH, IF_NONE_MATCH, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use object_store::client::{HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The most attempts of a request.
///
/// Limit: the attempts of a request to a store; test: `safe_requests_are_retried`.
pub const MAX_ATTEMPTS: u32 = 4;

/// How long after the first attempt a retry may begin.
///
/// Limit: the time for retries to a store; test: `a_store_that_hangs_costs_half_a_minute`.
pub const REPEAT_TIME: Duration = Duration::from_secs(15);

/// The longest pause between attempts.
///
/// Limit: the pause between attempts; test: `pauses_between_attempts`.
pub const MAX_PAUSE: Duration = Duration::from_secs(2);

/// The longest pause after the first attempt; it doubles with each attempt.
///
/// Limit: longest pause after the first attempt; test: `pauses_between_attempts`.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// GCS's header for conditional writes.
const GCS_CONDITION: &str = "x-goog-if-generation-match";

/// What requests for tokens have in their bodies; requests to stores do not.
const FORM: &str = "application/x-www-form-urlencoded";

/// The platform's timer.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Completes after `time`.
    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()>;
}

/// An [`HttpService`] that retries requests and sets their user agent.
#[derive(Clone, Debug)]
pub struct Client<S, C> {
    service: S,
    clock: C,
    user_agent: HeaderValue,
    /// Whether a 409 to a conditional write means that it collided with another
    /// write in flight, and can be retried.
    conflicts_end: bool,
    /// The store and its settings: for messages.
    store: Arc<str>,
}

impl<S, C> Client<S, C> {
    /// A client over `service`. `store` names the store and its settings.
    pub fn new(
        service: S,
        clock: C,
        user_agent: HeaderValue,
        conflicts_end: bool,
        store: &str,
    ) -> Self {
        Self { service, clock, user_agent, conflicts_end, store: store.into() }
    }

    /// Whether a retry may have another outcome, and cannot apply the request
    /// twice.
    fn repeats(&self, kind: Idempotence, outcome: &Result<HttpResponse, HttpError>) -> bool {
        match outcome {
            Ok(response) => match response.status() {
                // These say that the request was not applied. A proxy may say so of
                // one that was: whoever writes under a condition finds it out.
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => true,
                StatusCode::CONFLICT => kind == Idempotence::Conditional && self.conflicts_end,
                StatusCode::REQUEST_TIMEOUT
                | StatusCode::INTERNAL_SERVER_ERROR
                | StatusCode::BAD_GATEWAY
                | StatusCode::GATEWAY_TIMEOUT => kind == Idempotence::Idempotent,
                _ => false,
            },
            Err(error) => match error.kind() {
                HttpErrorKind::Connect => true,
                HttpErrorKind::Request | HttpErrorKind::Timeout | HttpErrorKind::Interrupted => {
                    kind == Idempotence::Idempotent
                }
                _ => false,
            },
        }
    }
}

impl<S: HttpService, C: Clock> Client<S, C> {
    /// Sends a request, with the retries that its `kind` allows; returns the last outcome.
    pub(crate) async fn attempt(
        &self,
        mut request: HttpRequest,
        kind: Idempotence,
    ) -> Result<HttpResponse, HttpError> {
        request.headers_mut().entry(USER_AGENT).or_insert_with(|| self.user_agent.clone());
        let started = Instant::now();
        let mut pause = FIRST_PAUSE;
        for _ in 1..MAX_ATTEMPTS {
            let outcome = self.service.call(request.clone()).await;
            if !self.repeats(kind, &outcome) {
                return outcome;
            }
            let wait =
                outcome.as_ref().ok().and_then(retry_after).unwrap_or_else(|| jittered(pause));
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
        let kind = Idempotence::of(request.method(), request.headers());
        Refusal::check(self.attempt(request, kind).await?, &self.store).await
    }
}

/// The effect of sending a request twice.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Idempotence {
    /// The same as sending it once.
    Idempotent,
    /// The second one fails because of the first one.
    Conditional,
    /// Possibly a second effect.
    Other,
}

impl Idempotence {
    fn of(method: &Method, headers: &HeaderMap) -> Self {
        let conditional = headers.contains_key(IF_MATCH)
            || headers.contains_key(IF_NONE_MATCH)
            || headers.contains_key(GCS_CONDITION);
        match *method {
            Method::PUT | Method::DELETE if conditional => Self::Conditional,
            Method::GET | Method::HEAD | Method::PUT | Method::DELETE => Self::Idempotent,
            // A token that nobody has received expires.
            Method::POST if headers.get(CONTENT_TYPE).is_some_and(|kind| kind == FORM) => {
                Self::Idempotent
            }
            _ => Self::Other,
        }
    }
}

/// The time that the store asks clients to wait.
fn retry_after(response: &HttpResponse) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// A random time between half of `time` and all of it, so that requests that
/// failed together are not retried together.
fn jittered(time: Duration) -> Duration {
    let random = getrandom::u32().unwrap_or(u32::MAX);
    let half = time / 2;
    half + half.mul_f64(f64::from(random) / f64::from(u32::MAX))
}
