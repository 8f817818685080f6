//! One fetch for all who need it.

use super::{Credential, Credentials, Provider};
use crate::Clock;
use async_trait::async_trait;
use futures::future::{Either, select};
use futures::lock::Mutex as Turn;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a fetch may take, with its retries: clients are waiting for it.
///
/// Limit: time to get credentials of the platform, after which 503 is answered; test:
/// `a_source_that_hangs`.
pub const FETCH_TIME: Duration = Duration::from_secs(10);

/// How long after a failure the next fetch may begin; until then, callers get the
/// same failure.
///
/// Limit: time between failed fetches of credentials; test: `a_failure_is_shared`.
pub const RETRY_TIME: Duration = Duration::from_secs(2);

/// How long credentials are used after they were last found to be good, while new
/// ones cannot be fetched. object_store renews them four to five minutes before
/// they expire, so they are good for longer.
///
/// Limit: time for which credentials are used that cannot be renewed; test:
/// `failures_are_bridged`.
pub const USABLE_TIME: Duration = Duration::from_mins(3);

/// Characters of what is said of a failure.
///
/// Limit: characters of the cause of a failed fetch of credentials; test:
/// `causes_are_brief_and_without_urls`.
const CAUSE_LIMIT: usize = 1024;

/// Credentials of a provider, which caches them and renews them before they
/// expire, for any number of concurrent callers.
#[derive(Debug)]
pub(super) struct Shared<C> {
    provider: Provider,
    clock: C,
    /// The source, and what to do if it gives none: for messages.
    what: String,
    remedy: String,
    report: fn(&str),
    /// Held while the provider is asked.
    turn: Turn<()>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The last credential, and when the provider gave it.
    last: Option<(Instant, Credential)>,
    /// The last failure, if nothing was fetched since.
    failure: Option<(Instant, String)>,
}

impl State {
    fn usable(&self) -> Option<Credential> {
        let (given, credential) = self.last.as_ref()?;
        (given.elapsed() < USABLE_TIME).then(|| credential.clone())
    }

    fn failure(&self) -> Option<String> {
        let (failed, problem) = self.failure.as_ref()?;
        (failed.elapsed() < RETRY_TIME).then(|| problem.clone())
    }
}

impl<C: Clock> Shared<C> {
    pub(super) fn new(
        provider: Provider,
        clock: C,
        what: String,
        remedy: String,
        report: fn(&str),
    ) -> Self {
        let (turn, state) = (Turn::default(), Mutex::default());
        Self { provider, clock, what, remedy, report, turn, state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the provider, which mostly has them in its cache.
    async fn fetch(&self) -> Result<Credential, String> {
        let time = self.clock.sleep(FETCH_TIME);
        let fetched = match select(pin!(self.provider.get()), time).await {
            Either::Left((fetched, _)) => fetched,
            Either::Right(_) => Err(format!("no response in {FETCH_TIME:?}")),
        };
        fetched.and_then(Credential::checked).map_err(|cause| {
            format!("no credentials from {}: {}; {}", self.what, brief(&cause), self.remedy)
        })
    }
}

/// A cause for the log: its first line, with URLs as their origins alone. The path of a
/// task's URL is its only secret, and a response of a service may be long.
pub(super) fn brief(cause: &str) -> String {
    let line = cause.lines().next().unwrap_or_default();
    let words = line.split(' ').map(|word| {
        let Some((scheme, rest)) = word.split_once("://") else { return word.to_owned() };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        format!("{scheme}://{authority}")
    });
    words.collect::<Vec<_>>().join(" ").chars().take(CAUSE_LIMIT).collect()
}

#[async_trait]
impl<C: Clock> Credentials for Shared<C> {
    async fn current(&self) -> Result<Credential, String> {
        let _turn = if let Some(turn) = self.turn.try_lock() {
            turn
        } else {
            // Somebody is asking.
            let usable = self.state().usable();
            if let Some(credential) = usable {
                return Ok(credential);
            }
            self.turn.lock().await
        };
        let (failure, usable) = {
            let state = self.state();
            (state.failure(), state.usable())
        };
        if let Some(problem) = failure {
            return usable.ok_or(problem);
        }
        match self.fetch().await {
            Ok(credential) => {
                let mut state = self.state();
                state.last = Some((Instant::now(), credential.clone()));
                state.failure = None;
                Ok(credential)
            }
            Err(problem) => {
                let mut state = self.state();
                state.failure = Some((Instant::now(), problem.clone()));
                let usable = state.usable();
                drop(state);
                if usable.is_some() {
                    (self.report)(&format!("{problem}; the previous ones are used meanwhile"));
                }
                usable.ok_or(problem)
            }
        }
    }
}
