//! The host's authority: authenticates callers for the component.
//!
//! The component reaches it as it reaches the store, at a virtual authority.
//! Passwords, keys and the cost of bcrypt stay here; the component authorises.

use crate::behind::job_keys;
use crate::blocking;
use crate::body::full;
use crate::log;
use crate::meter::Meter;
use crate::reload::Watch;
use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use roadstead_access::{Answer, Authority, Fingerprint, Question, Refusal};
use roadstead_bridge::access::{ANSWER, QUESTION};
use roadstead_bridge::header_json;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;
use tokio::sync::{OnceCell, Semaphore};
use wasmtime_wasi_http::WasiBody;

/// The most passwords that wait to be verified or are being verified. More are
/// refused: their clients would not wait that long.
///
/// Limit: passwords that are being verified or wait for it; test:
/// `a_flood_of_passwords`.
const WAITING: usize = 64;

/// The most of them from one client, so that it cannot lock others out.
///
/// Limit: of these, from one address; test: `a_burst_of_one_password`.
const WAITING_OF_ONE: usize = 4;

/// When a client with too many concurrent passwords should retry, in seconds.
///
/// Limit: seconds after which a client with too many passwords should retry; test:
/// `a_burst_of_one_password`.
const PAUSE: u64 = 1;

/// Characters of a user's name in the line of a refused login.
///
/// Limit: characters of a user's name in the line of a refused login; test: `logins_that_fail_are_logged`.
const NAME_SHOWN: usize = 64;

/// The host's authority.
#[derive(Debug)]
pub(crate) struct HostAuth {
    authority: Arc<Authority>,
    /// Limits the threads that run bcrypt; the others are for pulls.
    turns: Semaphore,
    waiting: Mutex<Waiting>,
    keys: job_keys::Fetcher,
    /// Counts reloads; what instances cached before the last one is outdated.
    generation: Arc<AtomicU64>,
    meter: Meter,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Equal questions wait for the same answer.
    questions: HashMap<Fingerprint, Arc<OnceCell<Answer>>>,
    verifying: usize,
    of_client: HashMap<Option<IpAddr>, usize>,
}

impl HostAuth {
    pub(crate) fn new(authority: Authority, meter: Meter) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            authority: Arc::new(authority),
            turns: Semaphore::new((cores / 2).max(1)),
            waiting: Mutex::default(),
            keys: job_keys::Fetcher::default(),
            generation: Arc::default(),
            meter,
        }
    }

    /// The counter of reloads.
    pub(crate) fn generation(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.generation)
    }

    /// The number of users.
    pub(crate) fn users(&self) -> usize {
        self.authority.users()
    }

    /// Logs what an operator may not expect of the users and the rules.
    pub(crate) fn warn(&self) {
        for warning in self.authority.warnings() {
            tracing::warn!(target: log::UNLIMITED, "{warning}");
        }
    }

    /// Reloads the files whenever they change, and again while they cannot be
    /// used. Invalidates what was cached of the old ones, here and in the
    /// component's instances.
    pub(crate) async fn renew(self: Arc<Self>, mut watch: Watch) {
        let mut last_problem = String::new();
        loop {
            watch.changed().await;
            let authority = Arc::clone(&self.authority);
            // A network file system may be slow.
            let reloaded = blocking::other().run(move || authority.reload()).await;
            match reloaded.map_err(|lost| lost.to_string()).flatten() {
                Ok(()) => {
                    self.generation.fetch_add(1, Ordering::Release);
                    let users = log::count(self.users(), "user");
                    tracing::info!("reloaded the users; {users} can log in");
                    self.warn();
                    last_problem.clear();
                }
                Err(problem) => {
                    if problem != last_problem {
                        tracing::error!(
                            "{problem}; the previous users stay in force until the file can be used"
                        );
                    }
                    last_problem = problem;
                    watch.again();
                }
            }
        }
    }

    /// Answers a question of the component.
    pub(crate) async fn respond(self: Arc<Self>, request: Request<WasiBody>) -> Response<WasiBody> {
        let question = request.headers().get(QUESTION).map(HeaderValue::as_bytes);
        let answer = match serde_json::from_slice(question.unwrap_or_default()) {
            Ok(question) => self.answer(question).await,
            Err(error) => Answer::Refused(Refusal::Failed(format!("no question: {error}"))),
        };
        let mut response = Response::new(full(Bytes::new()));
        if let Ok(answer) = HeaderValue::from_bytes(&header_json(&answer)) {
            response.headers_mut().insert(ANSWER, answer);
        }
        response
    }

    /// Answers a question, and logs who could not log in: for whoever looks for attacks.
    async fn answer(&self, question: Question) -> Answer {
        let (who, client) = match &question {
            Question::Password { user, client, .. } => (Some(user.clone()), *client),
            _ => (None, None),
        };
        let answer = self.decide(question).await;
        self.meter.login(&answer);
        if let (Some(user), Answer::Refused(refusal)) = (who, &answer) {
            let reason = match refusal {
                Refusal::Pause(_) => "there were too many wrong passwords",
                Refusal::Busy => "too many passwords are being verified",
                _ => "the name or the password is wrong",
            };
            let user: String = user.chars().take(NAME_SHOWN).collect();
            let client = client.map_or_else(|| "-".to_owned(), |client| client.to_string());
            tracing::warn!("login refused: user={user:?} client={client}: {reason}");
        }
        answer
    }

    async fn decide(&self, question: Question) -> Answer {
        if let Some(fingerprint) = self.authority.fingerprint(&question) {
            return match self.authority.known(&fingerprint) {
                Some(answer) => answer,
                None => self.password(fingerprint, question).await,
            };
        }
        let answer = self.authority.answer(&question, SystemTime::now());
        if answer == Answer::Refused(Refusal::UnknownKey)
            && let Some(oidc) = self.authority.keys_to_fetch()
            && let Some(jwks) = self.keys.fetch(oidc).await
        {
            return match self.authority.set_job_keys(&jwks) {
                Ok(()) => self.authority.answer(&question, SystemTime::now()),
                Err(problem) => {
                    tracing::error!("cannot use the keys of {}: {problem}", oidc.issuer);
                    answer
                }
            };
        }
        answer
    }

    /// Verifies a password by bcrypt, once for equal concurrent questions.
    async fn password(&self, fingerprint: Fingerprint, question: Question) -> Answer {
        let cell = Arc::clone(self.waiting().questions.entry(fingerprint).or_default());
        let answer = cell.get_or_init(|| self.verify(question)).await.clone();
        self.waiting().questions.remove(&fingerprint);
        answer
    }

    async fn verify(&self, question: Question) -> Answer {
        let Question::Password { client, user, .. } = &question else {
            return Answer::Refused(Refusal::Credentials);
        };
        if let Some(pause) = self.authority.pause(user, *client, SystemTime::now()) {
            return pause;
        }
        let Some(_place) = Place::take(self, *client) else {
            return Answer::Refused(Refusal::Pause(PAUSE));
        };
        let Ok(_turn) = self.turns.acquire().await else {
            return Answer::Refused(Refusal::Busy);
        };
        let authority = Arc::clone(&self.authority);
        let answer = blocking::other().run(move || authority.answer(&question, SystemTime::now()));
        answer.await.unwrap_or_else(|error| {
            Answer::Refused(Refusal::Failed(format!("a password's verification: {error}")))
        })
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among the waiting passwords, freed when it is dropped.
struct Place<'a> {
    auth: &'a HostAuth,
    client: Option<IpAddr>,
}

impl<'a> Place<'a> {
    fn take(auth: &'a HostAuth, client: Option<IpAddr>) -> Option<Self> {
        let mut waiting = auth.waiting();
        let of_client = waiting.of_client.get(&client).copied().unwrap_or(0);
        if waiting.verifying >= WAITING || of_client >= WAITING_OF_ONE {
            return None;
        }
        waiting.verifying += 1;
        waiting.of_client.insert(client, of_client + 1);
        Some(Self { auth, client })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut waiting = self.auth.waiting();
        waiting.verifying -= 1;
        let of_client = waiting.of_client.get(&self.client).copied().unwrap_or(0);
        if of_client > 1 {
            waiting.of_client.insert(self.client, of_client - 1);
        } else {
            waiting.of_client.remove(&self.client);
        }
    }
}
