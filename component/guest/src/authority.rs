//! The authority, which verifies credentials: a native host, or the component
//! itself.

use crate::host;
use futures::future::LocalBoxFuture;
use roadstead_access::{Answer, Authority, Caller, CredentialCache, Question, Refusal};
use roadstead_bridge::{Services, access, header_json, log};
use roadstead_config::Config;
use roadstead_registry::Ask;
use std::cell::{Cell, RefCell};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

/// How long a change of a mounted file may go unnoticed.
///
/// Limit: time for which a changed file may go unnoticed; test: none, it would take
/// as long.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// The authority that the configuration selects; `None` if authentication is
/// disabled.
pub(crate) fn choose(config: &Config, services: Services) -> Result<Option<Box<dyn Ask>>, String> {
    if !config.auth.enabled() {
        return Ok(None);
    }
    if services.access {
        return Ok(Some(Box::new(HostAuthority { known: RefCell::new(CredentialCache::new()?) })));
    }
    let files = config.auth.files();
    let read = RefCell::new(stamps(&files));
    let authority = Authority::open(config.auth.clone(), false)?;
    if authority.keys_to_fetch().is_some() {
        return Err("REGISTRY_AUTH_OIDC_JWKS must hold the issuer's keys here, as JSON or as a \
                    mounted file: only the native host fetches them"
            .to_owned());
    }
    let checked = Cell::new(Instant::now());
    Ok(Some(Box::new(OwnAuthority { authority, files, read, checked })))
}

/// A native host.
#[derive(Debug)]
struct HostAuthority {
    /// Cached answers. When users change, the host ends the instances that
    /// cache old ones.
    known: RefCell<CredentialCache<Caller>>,
}

impl Ask for HostAuthority {
    fn ask(&self, question: Question) -> LocalBoxFuture<'_, Answer> {
        Box::pin(async move {
            let fingerprint = {
                let known = self.known.borrow();
                let fingerprint = match &question {
                    Question::Password { user, password, .. } => {
                        Some(known.fingerprint(&["password", user, password]))
                    }
                    Question::Bearer { token } => Some(known.fingerprint(&["bearer", token])),
                    Question::Issue { .. } | Question::Refresh { .. } => None,
                };
                let found = fingerprint.and_then(|fingerprint| known.get(&fingerprint));
                if let Some(caller) = found.filter(|caller| caller.is_current(SystemTime::now())) {
                    return Answer::Caller(caller.clone());
                }
                fingerprint
            };
            let answer = self.exchange(&question).await;
            let answer = answer.unwrap_or_else(|cause| Answer::Refused(Refusal::Failed(cause)));
            if let (Some(fingerprint), Answer::Caller(caller)) = (fingerprint, &answer) {
                self.known.borrow_mut().insert(fingerprint, caller.clone());
            }
            answer
        })
    }
}

impl HostAuthority {
    async fn exchange(&self, question: &Question) -> Result<Answer, String> {
        let json = header_json(question);
        let response = host::send(access::AUTHORITY, &access::QUESTION, json, None).await?;
        let answer = host::header(&response, &access::ANSWER).ok_or("the host gave no answer")?;
        serde_json::from_slice(&answer).map_err(|error| format!("the host's answer: {error}"))
    }
}

/// The component itself, over mounted files or variables. bcrypt keeps the
/// instance busy, so no two run at a time.
#[derive(Debug)]
struct OwnAuthority {
    authority: Authority,
    files: Vec<PathBuf>,
    /// The files as they were when they could last be used.
    read: RefCell<Vec<Stamp>>,
    checked: Cell<Instant>,
}

impl Ask for OwnAuthority {
    fn ask(&self, question: Question) -> LocalBoxFuture<'_, Answer> {
        if self.checked.get().elapsed() >= CHECK_INTERVAL {
            self.checked.set(Instant::now());
            let now = stamps(&self.files);
            if *self.read.borrow() != now {
                match self.authority.reload() {
                    Ok(()) => drop(self.read.replace(now)),
                    Err(problem) => {
                        let text = format!("{problem}; the previous users stay in force");
                        eprintln!("{}", log::error(&text));
                    }
                }
            }
        }
        self.authority.ask(question)
    }
}

/// What WASI says of a file: when it was modified, and its size. `None` if there
/// is no file.
type Stamp = Option<(SystemTime, u64)>;

fn stamps(files: &[PathBuf]) -> Vec<Stamp> {
    let stamp = |file| {
        let metadata = fs::metadata(file).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    files.iter().map(stamp).collect()
}
