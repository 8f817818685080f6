//! The authority: answers the component's questions about credentials, in the
//! native host or in the component itself.

use crate::cache::{CredentialCache, Fingerprint};
use crate::guard::Guard;
use crate::htpasswd::{Htpasswd, NAME_LIMIT, PASSWORD_LIMIT, SIZE_LIMIT};
use crate::keys::{Keys, TOKEN_LIMIT, TokenError};
use crate::rules::{Rules, Subject};
use crate::scope::Access;
use crate::settings::{Auth, Oidc, Scheme, Users};
use crate::tokens::{ACCESS_LIMIT, Issued, Tokens, seconds};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

/// Longest claim of a CI job that is kept, in bytes.
///
/// Limit: bytes of a claim of a CI job's token, longer ones are left out; test:
/// `claims_arrive`.
const CLAIM_LIMIT: usize = 1024;

/// Most claims of a CI job that are kept.
///
/// Limit: claims of a CI job's token that are kept; test: `claims_arrive`.
const CLAIMS_LIMIT: usize = 100;

/// Most users that a warning names.
///
/// Limit: users that a warning names, others are counted; test: `warnings`.
const NAMES_SHOWN: usize = 10;

/// A question of the component.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Question {
    /// Is this the user's password, or a CI job's token?
    Password {
        /// The user's name.
        user: String,
        /// The password, or the token of a CI job.
        password: String,
        /// The client's address, if it is known reliably.
        client: Option<IpAddr>,
    },
    /// Who is the subject of this bearer token?
    Bearer {
        /// The token.
        token: String,
    },
    /// Sign a token.
    Issue {
        /// The subject.
        subject: Subject,
        /// The access that it grants.
        access: Vec<Access>,
        /// Whether to sign a refresh token too.
        refresh: bool,
    },
    /// Who is the subject of this refresh token?
    Refresh {
        /// The token.
        token: String,
    },
}

impl Question {
    /// The refusal of credentials that cannot be valid, whoever's they are: a name
    /// that no user can have, or what is longer than any password and any token.
    /// These are not asked about, nor remembered: they would be as long as the
    /// client wants, and several times as long as JSON.
    pub fn refusal(&self) -> Option<Refusal> {
        let is_token =
            |text: &str| text.len() <= TOKEN_LIMIT && text.bytes().all(|b| b.is_ascii_graphic());
        match self {
            Self::Password { user, password, .. } => {
                let named = user.len() <= NAME_LIMIT && !user.contains(char::is_control);
                let usable = password.len() <= PASSWORD_LIMIT || is_token(password);
                (!named || !usable).then_some(Refusal::Credentials)
            }
            Self::Bearer { token } | Self::Refresh { token } => {
                (!is_token(token)).then(|| Refusal::Token(TokenError::Malformed.to_string()))
            }
            Self::Issue { .. } => None,
        }
    }
}

/// An answer of the authority.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Answer {
    /// The caller.
    Caller(Caller),
    /// The signed tokens.
    Issued(Issued),
    /// The credentials were refused, or the question failed.
    Refused(Refusal),
}

/// The caller: who sent a request.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Caller {
    /// Who they are, as far as it is proven.
    pub subject: Subject,
    /// The access that their token grants; `None` without a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<Vec<Access>>,
    /// When this expires, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
}

/// Why credentials were refused.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Refusal {
    /// The user's name or the password is wrong.
    Credentials,
    /// The token is not accepted, for this reason.
    Token(String),
    /// The token's signing key is unknown; it may be a new one.
    UnknownKey,
    /// There were too many wrong passwords; this many seconds are left to wait.
    Pause(u64),
    /// The limit of concurrent password verifications is reached.
    Busy,
    /// The authority failed; the text is for the log.
    Failed(String),
}

impl From<TokenError> for Answer {
    fn from(error: TokenError) -> Self {
        Self::Refused(match error {
            TokenError::Key => Refusal::UnknownKey,
            error => Refusal::Token(error.to_string()),
        })
    }
}

/// Verifies passwords and tokens, and issues tokens.
pub struct Authority {
    pub(crate) settings: Auth,
    loaded: RwLock<Arc<Loaded>>,
    guard: Mutex<Guard>,
    tokens: Option<Tokens>,
    job_keys: RwLock<Option<Arc<Keys>>>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// What was read from files, and the results that depend on it.
struct Loaded {
    users: Htpasswd,
    external: Option<Keys>,
    verified: Mutex<CredentialCache<Caller>>,
}

impl Authority {
    /// An authority with these settings. `one_process` means that all requests
    /// come to this process, so that a token's key need not be shared.
    ///
    /// # Errors
    /// Which setting's content is invalid, and why.
    pub fn open(settings: Auth, one_process: bool) -> Result<Self, String> {
        let issuer = settings.issuer();
        let tokens = match (&issuer, &settings.secret) {
            (Some(issuer), secret) if one_process || secret.is_some() => {
                Some(Tokens::new(issuer, secret.as_ref())?)
            }
            (Some(_), None) if matches!(settings.scheme, Scheme::Token(_)) => {
                return Err(
                    "REGISTRY_AUTH=token needs REGISTRY_HTTP_SECRET on this host, any long \
                     random text, because its instances share no memory"
                        .to_owned(),
                );
            }
            _ => None,
        };
        let loaded = RwLock::new(Arc::new(Loaded::read(&settings)?));
        let job_keys = RwLock::new(job_keys(settings.oidc.as_ref())?.map(Arc::new));
        Ok(Self { settings, loaded, guard: Mutex::default(), tokens, job_keys })
    }

    /// The number of users.
    pub fn users(&self) -> usize {
        self.loaded().users.len()
    }

    /// What an operator may not expect of the users and the rules, a line each.
    pub fn warnings(&self) -> Vec<String> {
        let (setting, file) = match &self.settings.users {
            Some(Users::File(path)) => ("REGISTRY_AUTH_HTPASSWD_PATH", path.display().to_string()),
            Some(Users::Entries(_)) => ("REGISTRY_AUTH_HTPASSWD_ENTRIES", "FILE".to_owned()),
            None => return Vec::new(),
        };
        if !matches!(self.settings.scheme, Scheme::Htpasswd | Scheme::Token(_)) {
            return Vec::new();
        }
        let mut warnings = Vec::new();
        let loaded = self.loaded();
        if loaded.users.is_empty() {
            warnings.push(format!(
                "{setting} has no user, so nobody can log in with a password; add one with \
                 roadstead htpasswd {file} USER"
            ));
        }
        let named = self.settings.rules.as_ref().map(Rules::users).unwrap_or_default();
        let missing = named.into_iter().filter(|user| loaded.users.hash_of(user).is_none());
        let missing: Vec<_> = missing.collect();
        if !missing.is_empty() {
            let shown = missing.iter().take(NAMES_SHOWN).copied().collect::<Vec<_>>().join(", ");
            let more = match missing.len().saturating_sub(NAMES_SHOWN) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            warnings.push(format!(
                "REGISTRY_AUTH_RULES has rules for users that {setting} does not have: {shown}{more}; \
                 correct the names, or add the users with roadstead htpasswd {file} USER"
            ));
        }
        warnings
    }

    /// Reads the files again, and drops cached results of the old ones.
    ///
    /// # Errors
    /// What is wrong with the new ones; the old ones stay in effect.
    pub fn reload(&self) -> Result<(), String> {
        let new = Arc::new(Loaded::read(&self.settings)?);
        *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    /// The OIDC settings, if the keys of CI jobs' tokens must be fetched.
    pub fn keys_to_fetch(&self) -> Option<&Oidc> {
        let oidc = self.settings.oidc.as_ref()?;
        oidc.jwks.as_deref().is_none_or(is_url).then_some(oidc)
    }

    /// Sets the keys of CI jobs' tokens, from a JSON Web Key Set.
    pub fn set_job_keys(&self, jwks: &str) -> Result<(), String> {
        let keys = Arc::new(jwks_keys(jwks)?);
        *self.job_keys.write().unwrap_or_else(PoisonError::into_inner) = Some(keys);
        Ok(())
    }

    /// The fingerprint of a question about a password that takes bcrypt to
    /// answer; see [`Self::known`].
    pub fn fingerprint(&self, question: &Question) -> Option<Fingerprint> {
        match question {
            Question::Password { user, password, .. } if !self.is_job(password) => {
                Some(lock(&self.loaded().verified).fingerprint(&[user, password]))
            }
            _ => None,
        }
    }

    /// The cached answer to a question, if there is one.
    pub fn known(&self, fingerprint: &Fingerprint) -> Option<Answer> {
        lock(&self.loaded().verified).get(fingerprint).cloned().map(Answer::Caller)
    }

    /// Answers a question. Takes as long as bcrypt does if the question has a
    /// [`Self::fingerprint`] that is not [`Self::known`].
    pub fn answer(&self, question: &Question, now: SystemTime) -> Answer {
        match question {
            Question::Password { password, .. } if self.is_job(password) => self.job(password),
            Question::Password { user, password, client } => {
                self.password(user, password, *client, now)
            }
            Question::Bearer { token } => self.bearer(token),
            Question::Issue { subject, access, refresh } => {
                let Some(tokens) = &self.tokens else { return no_tokens() };
                let loaded = self.loaded();
                let user = subject.user.as_deref().filter(|_| *refresh);
                let hash = user.and_then(|user| loaded.users.hash_of(user));
                let mut access = access.clone();
                access.truncate(ACCESS_LIMIT);
                match tokens.issue(subject, access, hash, now) {
                    Ok(issued) => Answer::Issued(issued),
                    Err(cause) => Answer::Refused(Refusal::Failed(cause)),
                }
            }
            Question::Refresh { token } => {
                let Some(tokens) = &self.tokens else { return no_tokens() };
                let loaded = self.loaded();
                let hash_of = |user: &str| loaded.users.hash_of(user).map(str::to_owned);
                match tokens.refresh(token, hash_of) {
                    Ok(subject) => Answer::Caller(Caller { subject, ..Caller::default() }),
                    Err(error) => Answer::Refused(Refusal::Token(error.to_string())),
                }
            }
        }
    }

    /// The refusal, if this user or client has to wait before the next password.
    pub fn pause(&self, user: &str, client: Option<IpAddr>, now: SystemTime) -> Option<Answer> {
        let pause = lock(&self.guard).pause(user, client, now)?;
        Some(Answer::Refused(Refusal::Pause(pause.as_secs().max(1))))
    }

    fn password(
        &self,
        user: &str,
        password: &str,
        client: Option<IpAddr>,
        now: SystemTime,
    ) -> Answer {
        let loaded = self.loaded();
        let fingerprint = lock(&loaded.verified).fingerprint(&[user, password]);
        if let Some(caller) = lock(&loaded.verified).get(&fingerprint) {
            return Answer::Caller(caller.clone());
        }
        if self.settings.users.is_none() {
            return Answer::Refused(Refusal::Credentials);
        }
        if let Some(pause) = self.pause(user, client, now) {
            return pause;
        }
        if loaded.users.verify(user, password) {
            lock(&self.guard).succeeded(user);
            let subject = Subject { user: Some(user.to_owned()), ..Subject::default() };
            let caller = Caller { subject, ..Caller::default() };
            lock(&loaded.verified).insert(fingerprint, caller.clone());
            Answer::Caller(caller)
        } else {
            lock(&self.guard).failed(user, client, now);
            Answer::Refused(Refusal::Credentials)
        }
    }

    fn bearer(&self, token: &str) -> Answer {
        if let Scheme::External(external) = &self.settings.scheme {
            let loaded = self.loaded();
            let Some(keys) = &loaded.external else { return no_tokens() };
            let claims = keys.verify(token, &external.issuer, &external.service);
            return match claims {
                Ok(claims) => external_caller(claims),
                // The operator configured these keys; there are no newer ones to fetch.
                Err(error) => Answer::Refused(Refusal::Token(error.to_string())),
            };
        }
        let Some(tokens) = &self.tokens else { return no_tokens() };
        match tokens.verify(token) {
            Ok((Subject { user: Some(user), .. }, ..))
                if self.loaded().users.hash_of(&user).is_none() =>
            {
                Answer::Refused(Refusal::Token(TokenError::User.to_string()))
            }
            Ok((subject, access, until)) => {
                Answer::Caller(Caller { subject, access: Some(access), until: Some(until) })
            }
            Err(error) => Answer::Refused(Refusal::Token(error.to_string())),
        }
    }

    /// Whether a password is a CI job's token.
    fn is_job(&self, password: &str) -> bool {
        // Every JSON Web Token begins with `{"` in base64.
        self.settings.oidc.is_some()
            && password.starts_with("eyJ")
            && password.bytes().filter(|&byte| byte == b'.').count() == 2
    }

    fn job(&self, token: &str) -> Answer {
        let keys = self.job_keys.read().unwrap_or_else(PoisonError::into_inner).clone();
        let (Some(oidc), Some(keys)) = (&self.settings.oidc, keys) else {
            return Answer::Refused(Refusal::UnknownKey);
        };
        let claims: Map<String, Value> = match keys.verify(token, &oidc.issuer, &oidc.audience) {
            Ok(claims) => claims,
            Err(error) => return error.into(),
        };
        let until = claims.get("exp").and_then(whole_seconds);
        let mut kept = BTreeMap::new();
        for (name, value) in claims {
            let text = match value {
                Value::String(text) => text,
                Value::Bool(value) => value.to_string(),
                Value::Number(number) => number.to_string(),
                Value::Null | Value::Array(_) | Value::Object(_) => continue,
            };
            if text.len() <= CLAIM_LIMIT && kept.len() < CLAIMS_LIMIT {
                kept.insert(name, text);
            }
        }
        let subject = Subject { claims: kept, ..Subject::default() };
        Answer::Caller(Caller { subject, access: None, until })
    }

    fn loaded(&self) -> Arc<Loaded> {
        Arc::clone(&self.loaded.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Auth {
    /// The files that [`Authority::reload`] reads.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        if let Some(Users::File(path)) = &self.users {
            files.push(path.clone());
        }
        if let Scheme::External(external) = &self.scheme {
            let texts = external.certificates.iter().chain(&external.jwks);
            files.extend(texts.filter(|text| !is_content(text)).map(Into::into));
        }
        files
    }
}

impl Loaded {
    fn read(settings: &Auth) -> Result<Self, String> {
        let users = match &settings.users {
            None => Htpasswd::default(),
            Some(Users::Entries(entries)) => {
                let lines = entries.split_whitespace().collect::<Vec<_>>().join("\n");
                Htpasswd::parse(&lines).map_err(|error| {
                    format!("REGISTRY_AUTH_HTPASSWD_ENTRIES: {error} (each entry counts as a line)")
                })?
            }
            Some(Users::File(path)) => {
                let text = read(path).map_err(|(error, kind)| {
                    format!("REGISTRY_AUTH_HTPASSWD_PATH: {error}{}", advice(path, kind))
                })?;
                Htpasswd::parse(&text).map_err(|error| {
                    format!("REGISTRY_AUTH_HTPASSWD_PATH: {}: {error}", path.display())
                })?
            }
        };
        let external = match &settings.scheme {
            Scheme::External(external) => {
                let mut keys = Keys::new(&external.algorithms)
                    .map_err(|error| format!("REGISTRY_AUTH_TOKEN_SIGNINGALGORITHMS: {error}"))?;
                if let Some(text) = &external.certificates {
                    content(text)
                        .and_then(|pem| keys.add_certificates(&pem))
                        .map_err(|error| format!("REGISTRY_AUTH_TOKEN_ROOTCERTBUNDLE: {error}"))?;
                }
                if let Some(text) = &external.jwks {
                    content(text)
                        .and_then(|json| keys.add_jwks(&json))
                        .map_err(|error| format!("REGISTRY_AUTH_TOKEN_JWKS: {error}"))?;
                }
                Some(keys)
            }
            Scheme::None | Scheme::Htpasswd | Scheme::Token(_) => None,
        };
        Ok(Self { users, external, verified: Mutex::new(CredentialCache::new()?) })
    }
}

/// The claims of an external service's token, whose issuer, audience and times
/// the library has verified.
#[derive(Deserialize)]
struct ExternalClaims {
    #[serde(default)]
    sub: String,
    exp: Value,
    #[serde(default)]
    access: Option<Vec<Access>>,
}

fn external_caller(claims: ExternalClaims) -> Answer {
    let user = (!claims.sub.is_empty()).then_some(claims.sub);
    Answer::Caller(Caller {
        subject: Subject { user, ..Subject::default() },
        access: Some(claims.access.unwrap_or_default()),
        until: whole_seconds(&claims.exp),
    })
}

/// A time in a token, which may have a fraction (`NumericDate`, RFC 7519).
fn whole_seconds(time: &Value) -> Option<u64> {
    time.as_u64().or_else(|| Some(Duration::try_from_secs_f64(time.as_f64()?).ok()?.as_secs()))
}

fn no_tokens() -> Answer {
    Answer::Refused(Refusal::Token("this registry does not accept tokens".to_owned()))
}

fn job_keys(oidc: Option<&Oidc>) -> Result<Option<Keys>, String> {
    match oidc.and_then(|oidc| oidc.jwks.as_deref()) {
        Some(jwks) if !is_url(jwks) => {
            let keys = content(jwks).and_then(|json| jwks_keys(&json));
            keys.map(Some).map_err(|error| format!("REGISTRY_AUTH_OIDC_JWKS: {error}"))
        }
        _ => Ok(None),
    }
}

fn jwks_keys(json: &str) -> Result<Keys, String> {
    let mut keys = Keys::new(&[])?;
    keys.add_jwks(json)?;
    Ok(keys)
}

fn is_url(text: &str) -> bool {
    text.starts_with("https://") || text.starts_with("http://")
}

/// Whether a setting is the content itself instead of a file name.
fn is_content(text: &str) -> bool {
    let start = text.trim_start();
    start.starts_with('{') || start.starts_with("-----BEGIN")
}

fn content(text: &str) -> Result<String, String> {
    if is_content(text) {
        return Ok(text.to_owned());
    }
    read(Path::new(text)).map_err(|(problem, _)| problem)
}

/// A file's text, or what is wrong with it.
fn read(path: &Path) -> Result<String, (String, ErrorKind)> {
    let shown = path.display();
    let cannot = |error: std::io::Error| (format!("cannot read {shown}: {error}"), error.kind());
    let size = std::fs::metadata(path).map_err(cannot)?.len();
    if size > SIZE_LIMIT {
        let problem = format!("{shown} has {size} bytes; the limit is {SIZE_LIMIT}");
        return Err((problem, ErrorKind::FileTooLarge));
    }
    std::fs::read_to_string(path).map_err(cannot)
}

/// What to do about a file of users that could not be read. To create one is advised only
/// where there is none: it would replace all users of another.
fn advice(path: &Path, problem: ErrorKind) -> String {
    let shown = path.display();
    match problem {
        ErrorKind::NotFound => format!("; create it with roadstead htpasswd -c {shown} USER"),
        ErrorKind::PermissionDenied => {
            "; let the user that the registry runs as read it and enter its directory".to_owned()
        }
        _ => String::new(),
    }
}

/// Locks a mutex whose value is valid even after a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Caller {
    /// Whether this has not expired.
    pub fn is_current(&self, now: SystemTime) -> bool {
        self.until.is_none_or(|until| seconds(now) < until)
    }

    /// The number of seconds until it expires, rounded down, if it does.
    pub fn seconds_left(&self, now: SystemTime) -> Option<u64> {
        self.until.map(|until| until.saturating_sub(seconds(now)).saturating_sub(1))
    }
}
