//! The host's authority: tells the component who is who.
//!
//! The component reaches it as it reaches the store, at an authority that
//! leads to no network. Passwords, keys and bcrypt's time stay here; who may do
//! what is the component's to decide.

use crate::behind::job_keys;
use crate::body::full;
use crate::reload::Watch;
use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use roadstead_access::{Answer, Authority, Fingerprint, Question, Refusal};
use roadstead_bridge::access::{ANSWER, QUESTION};
use roadstead_bridge::header_json;
use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;
use tokio::sync::{OnceCell, Semaphore};
use tokio::task::spawn_blocking;
use wasmtime_wasi_http::WasiBody;

/// Passwords that wait to be verified or are being verified, at most. More are
/// refused: their clients would not wait that long.
const WAITING: usize = 64;

/// Those of one client among them, so that nobody can keep others out.
const WAITING_OF_ONE: usize = 4;

/// When a client with too many passwords at a time may come again, in seconds.
const PAUSE: u64 = 1;

/// The host's authority.
#[derive(Debug)]
pub(crate) struct HostAuth {
    authority: Arc<Authority>,
    /// bcrypt runs on so many threads at a time; the others are for pulls.
    turns: Semaphore,
    waiting: Mutex<Waiting>,
    keys: job_keys::Fetcher,
    /// Counts reloads: what instances remember of an older count is not true.
    generation: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Who asks for the same waits for the same answer.
    questions: HashMap<Fingerprint, Arc<OnceCell<Answer>>>,
    verifying: usize,
    of_client: HashMap<Option<IpAddr>, usize>,
}

impl HostAuth {
    pub(crate) fn new(authority: Authority) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            authority: Arc::new(authority),
            turns: Semaphore::new((cores / 2).max(1)),
            waiting: Mutex::default(),
            keys: job_keys::Fetcher::default(),
            generation: Arc::default(),
        }
    }

    /// How many reloads there were.
    pub(crate) fn generation(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.generation)
    }

    /// The files that are worth a reload when they change.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        self.authority.files()
    }

    /// How many users there are.
    pub(crate) fn users(&self) -> usize {
        self.authority.users()
    }

    /// Reads the files again whenever they change.
    pub(crate) async fn renew(self: Arc<Self>, mut watch: Watch) {
        loop {
            watch.changed().await;
            let auth = Arc::clone(&self);
            // Files may be slow.
            if let Err(error) = spawn_blocking(move || auth.reload()).await {
                tracing::error!("reading the users again: {error}");
            }
        }
    }

    /// Reads the files again. Whatever was true by the old ones is forgotten,
    /// here and in the component's instances.
    fn reload(&self) {
        match self.authority.reload() {
            Ok(()) => {
                self.generation.fetch_add(1, Ordering::Release);
                tracing::info!("read the users again: {} of them", self.users());
            }
            Err(problem) => {
                tracing::error!("{problem}; what was read before stays in force");
            }
        }
    }

    /// Answers the component.
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

    async fn answer(&self, question: Question) -> Answer {
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
                    tracing::error!("the keys of {}: {problem}", oidc.issuer);
                    answer
                }
            };
        }
        answer
    }

    /// Has bcrypt decide, once for all who ask the same at the same time.
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
        let answer = spawn_blocking(move || authority.answer(&question, SystemTime::now()));
        answer.await.unwrap_or_else(|error| {
            Answer::Refused(Refusal::Failed(format!("a password's verification: {error}")))
        })
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among those that wait, given back when it is dropped.
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
