//! Whether this process can serve: what `/readyz` says.
//!
//! The storage is checked from time to time by a request to the component, whose way is that of a
//! client's; clients are answered by what the last checks found, whatever their number. It counts
//! as failed after several failures in a row, so that a moment without an answer takes no replica
//! out of service, and as working after the first success. At a shutdown, `/readyz` says so before
//! connections are refused.

use crate::body::empty;
use crate::engine::Engine;
use crate::front::error_response;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use roadstead_bridge::health::{LIVE, READY};
use roadstead_config::HealthCheck;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use wasmtime_wasi_http::WasiBody;

/// How long a check waits for the storage.
///
/// Limit: time for a check of the storage; test: `a_storage_that_fails_is_not_ready`.
const CHECK_TIME: Duration = Duration::from_secs(10);

/// What [`Health::failing`] says of a storage that failed.
const STORAGE: &str = "storagedriver";

/// Whether this process can serve.
#[derive(Debug, Default)]
pub(crate) struct Health {
    draining: AtomicBool,
    /// Checks that failed in a row.
    failures: AtomicU64,
    /// How many of them are too many. 0 without checks.
    threshold: u64,
    problem: Mutex<String>,
}

impl Health {
    pub(crate) fn new(check: Option<HealthCheck>) -> Arc<Self> {
        let threshold = check.map_or(0, |check| check.threshold);
        Arc::new(Self { threshold, ..Self::default() })
    }

    /// Checks the storage until the task is aborted.
    pub(crate) async fn check(self: Arc<Self>, engine: Engine, interval: Duration) {
        loop {
            tokio::time::sleep(interval).await;
            let outcome = tokio::time::timeout(CHECK_TIME, ask(&engine)).await;
            self.note(outcome.unwrap_or_else(|_| {
                Err(format!("it has not answered for {} s", CHECK_TIME.as_secs()))
            }));
        }
    }

    /// Notes the outcome of a check.
    fn note(&self, outcome: Result<(), String>) {
        match outcome {
            Ok(()) => {
                if self.failures.swap(0, Ordering::Relaxed) >= self.threshold {
                    tracing::info!("the storage works again: ready");
                }
            }
            Err(problem) => {
                let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
                if failures == self.threshold {
                    tracing::error!(
                        "not ready: {failures} checks of the storage failed: {problem}"
                    );
                }
                *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
            }
        }
    }

    /// Notes that the process is about to end.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// What fails, by the names of distribution's checks.
    pub(crate) fn failing(&self) -> Option<(&'static str, String)> {
        let failed = self.threshold > 0 && self.failures.load(Ordering::Relaxed) >= self.threshold;
        let problem = || self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone();
        failed.then(|| (STORAGE, problem()))
    }

    /// Whether requests should be sent here.
    pub(crate) fn is_ready(&self) -> bool {
        !self.draining.load(Ordering::Relaxed) && self.failing().is_none()
    }

    /// The response to `/livez` and `/readyz`, which need no turn: a storage that hangs is no reason to
    /// restart the process. `None` for other requests.
    pub(crate) fn answer<B>(&self, request: &Request<B>) -> Option<Response<WasiBody>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return None;
        }
        match request.uri().path() {
            LIVE => Some(fine()),
            READY => Some(self.response()),
            _ => None,
        }
    }

    fn response(&self) -> Response<WasiBody> {
        if self.draining.load(Ordering::Relaxed) {
            return error_response::not_ready("the registry is shutting down");
        }
        if self.failing().is_some() {
            return error_response::not_ready("the storage does not serve; the log has the cause");
        }
        fine()
    }
}

fn fine() -> Response<WasiBody> {
    let mut response = Response::new(empty());
    let none = HeaderValue::from_static("0");
    response.headers_mut().insert(header::CONTENT_LENGTH, none);
    response
}

/// Has the component check its storage.
async fn ask(engine: &Engine) -> Result<(), String> {
    let request = Request::get(READY).body(empty()).map_err(|error| error.to_string())?;
    match engine.handle(request).await {
        Ok(response) if response.status() == StatusCode::OK => Ok(()),
        Ok(response) => Err(format!("{}; see the line of the component", response.status())),
        Err(error) => Err(format!("{error:#}")),
    }
}

#[cfg(test)]
mod tests {
    use super::Health;
    use roadstead_config::HealthCheck;
    use std::time::Duration;

    fn failed() -> Result<(), String> {
        Err("503".to_owned())
    }

    #[test]
    fn readiness_changes_after_some_failures_and_one_success() {
        let check = HealthCheck { interval: Duration::from_secs(1), threshold: 3 };
        let health = Health::new(Some(check));
        for (outcome, ready) in [
            (failed(), true),
            (failed(), true),
            (Ok(()), true),
            (failed(), true),
            (failed(), true),
            (failed(), false),
            (failed(), false),
            (Ok(()), true),
        ] {
            health.note(outcome);
            assert_eq!(health.is_ready(), ready);
            assert_eq!(health.response().status() == 200, ready);
            assert_eq!(health.failing().is_none(), ready);
        }
        health.drain();
        assert!(!health.is_ready() && health.failing().is_none());
        assert_eq!(health.response().status(), 503);
    }

    #[test]
    fn without_checks_a_registry_is_ready_until_it_ends() {
        let health = Health::new(None);
        assert!(health.is_ready());
        health.drain();
        assert_eq!(health.response().status(), 503);
    }
}
