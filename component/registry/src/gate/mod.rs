//! The gate: whom a request comes from, and whether they may do what it asks
//! for. Every request passes [`Gate::caller`] and [`Gate::permit`], whatever
//! its route and method.

mod challenge;

use crate::challenge::Reason;
use crate::{Error, Permission, Route, StartUpload};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::future::{LocalBoxFuture, ready};
use http::HeaderMap;
use http::header;
use percent_encoding::percent_decode;
use roadstead_access::{
    ALL, Access, Action, Answer, Auth, Authority, CATALOG, Caller, Issuer, Question, REGISTRY,
    REPOSITORY, Refusal, Scheme, Subject, TOKEN_LIMIT,
};
use roadstead_bridge::Services;
use roadstead_bridge::client::{ADDRESS, CERTIFICATE};
use roadstead_config::Config;
use roadstead_oci::RepositoryName;
use std::fmt;
use std::net::IpAddr;
use std::time::SystemTime;

/// Longest `Authorization` header that is looked at, in bytes: the longest
/// token in base 64, and the name of a scheme.
const AUTHORIZATION_LIMIT: usize = TOKEN_LIMIT * 4 / 3 + 1024;

/// Whoever knows who is who: [`Authority`] here, or the native host's.
pub trait Ask: fmt::Debug {
    /// Answers a question.
    fn ask(&self, question: Question) -> LocalBoxFuture<'_, Answer>;
}

impl Ask for Authority {
    fn ask(&self, question: Question) -> LocalBoxFuture<'_, Answer> {
        Box::pin(ready(self.answer(&question, SystemTime::now())))
    }
}

/// Decides who may do what.
#[derive(Debug)]
pub struct Gate {
    /// Nobody needs to be known for anything.
    open: bool,
    /// What a native host in front of the component does.
    services: Services,
    settings: Auth,
    issuer: Option<Issuer>,
    /// `REGISTRY_HTTP_HOST`.
    host: Option<String>,
    authority: Option<Box<dyn Ask>>,
}

impl Gate {
    /// A gate by the settings. Without an authority nobody is known.
    pub fn new(config: &Config, services: Services, authority: Option<Box<dyn Ask>>) -> Self {
        let settings = config.auth.clone();
        // Under a host where instances share no memory, tokens need a secret.
        let signs = services.access || settings.secret.is_some();
        Self {
            open: !settings.enabled(),
            issuer: settings.issuer().filter(|_| signs),
            host: config.host.clone(),
            services,
            settings,
            authority,
        }
    }

    /// Whom a request comes from, by what it brings along.
    ///
    /// # Errors
    /// When it brings credentials that are wrong: then it does not count as
    /// one that brings none.
    pub async fn caller(&self, headers: &HeaderMap) -> Result<Caller, Error> {
        let mut caller = Caller::default();
        if self.open {
            return Ok(caller);
        }
        if let Some(credentials) = self.credentials(headers)? {
            caller = match self.ask(credentials).await {
                Answer::Caller(caller) => caller,
                Answer::Refused(refusal) => return Err(self.refused(refusal, headers)),
                Answer::Issued(_) => return Err(unexpected()),
            };
        }
        caller.subject.certificate = self.certificate(headers);
        Ok(caller)
    }

    /// Whether a caller may do what a request asks for.
    ///
    /// # Errors
    /// A challenge where other credentials could help, and else a refusal.
    pub fn permit(&self, caller: &Caller, route: &Route, headers: &HeaderMap) -> Result<(), Error> {
        let permitted = self.open
            || match route.class().permission {
                Permission::Nothing => true,
                Permission::Login => self.logged_in(caller),
                Permission::Catalog => self.may_list(caller),
                Permission::Repository(name, action) => {
                    self.may(caller, action, name) && !self.is_too_narrow(caller, route)
                }
            };
        if permitted { Ok(()) } else { Err(self.denied(caller, route, headers)) }
    }

    /// Whether a caller may do something with a repository.
    pub fn may(&self, caller: &Caller, action: Action, name: &RepositoryName) -> bool {
        let by_token = caller
            .access
            .as_ref()
            .map(|access| Access::allows(access, REPOSITORY, name.as_str(), action.as_str()));
        self.open
            || match by_token {
                Some(allowed) if self.is_external() => allowed,
                Some(false) => false,
                Some(true) | None => self.by_rules(&caller.subject, action, name),
            }
    }

    /// Whether the catalog shows a repository to a caller who may list it.
    pub fn may_see(&self, caller: &Caller, name: &RepositoryName) -> bool {
        let rules =
            self.settings.rules.as_ref().filter(|_| caller.access.is_none() || !self.is_external());
        self.open
            || rules.is_none_or(|rules| {
                let may = |action| rules.permit(&caller.subject, action, name.as_str());
                may(Action::Catalog) && may(Action::Pull)
            })
    }

    /// What of the access that is asked for a subject is granted.
    pub fn grant(&self, subject: &Subject, wanted: Vec<Access>) -> Vec<Access> {
        let granted = wanted.into_iter().filter_map(|mut access| {
            match access.kind.as_str() {
                REPOSITORY => {
                    let name = RepositoryName::parse(&access.name).ok()?;
                    access.actions.retain(|action| {
                        Action::parse(action)
                            .is_some_and(|action| self.by_rules(subject, action, &name))
                    });
                }
                REGISTRY if access.name == CATALOG => {
                    access.actions.retain(|action| action == ALL && self.lists(subject));
                }
                _ => return None,
            }
            (!access.actions.is_empty()).then_some(access)
        });
        granted.collect()
    }

    /// The built-in token service, if there is one.
    pub fn issuer(&self) -> Option<&Issuer> {
        self.issuer.as_ref()
    }

    /// Whether someone of whom nothing is known may have a token.
    pub fn gives_tokens_to_anyone(&self) -> bool {
        self.settings.rules.as_ref().is_some_and(roadstead_access::Rules::allow_anonymous)
    }

    /// Asks whoever knows.
    pub async fn ask(&self, question: Question) -> Answer {
        match &self.authority {
            Some(authority) => authority.ask(question).await,
            None => Answer::Refused(Refusal::Credentials),
        }
    }

    /// What a refusal is to the client.
    pub fn refused(&self, refusal: Refusal, headers: &HeaderMap) -> Error {
        let reason = match refusal {
            Refusal::Credentials => Reason::Credentials,
            Refusal::Token(reason) => Reason::Token(reason),
            Refusal::UnknownKey => Reason::Token("it is signed with an unknown key".to_owned()),
            Refusal::Pause(seconds) => return Error::TooManyAttempts { seconds },
            Refusal::Busy => return Error::Busy,
            Refusal::Failed(cause) => return Error::Internal(cause),
        };
        self.unauthorized(reason, None, headers)
    }

    /// Where a password came from, if a native host says it.
    pub fn client(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let header = headers.get(ADDRESS).filter(|_| self.services.front);
        header?.to_str().ok()?.parse().ok()
    }

    fn by_rules(&self, subject: &Subject, action: Action, name: &RepositoryName) -> bool {
        match &self.settings.rules {
            Some(rules) => rules.permit(subject, action, name.as_str()),
            None => subject.user.is_some(),
        }
    }

    fn lists(&self, subject: &Subject) -> bool {
        match &self.settings.rules {
            Some(rules) => rules.permit_any(subject, Action::Catalog),
            None => subject.user.is_some(),
        }
    }

    fn may_list(&self, caller: &Caller) -> bool {
        let by_token =
            caller.access.as_ref().map(|access| Access::allows(access, REGISTRY, CATALOG, ALL));
        match by_token {
            Some(allowed) if self.is_external() => allowed,
            Some(false) => false,
            Some(true) | None => self.lists(&caller.subject),
        }
    }

    /// Whether a caller needs no more credentials to talk to the registry.
    fn logged_in(&self, caller: &Caller) -> bool {
        let Subject { user, certificate, claims } = &caller.subject;
        // A certificate alone says nothing unless rules know it: its holder
        // may be a user who still has to send a password.
        let by_certificate = certificate.as_ref().is_some_and(|name| {
            self.settings.rules.as_ref().is_some_and(|rules| rules.know_certificate(name))
        });
        let known = user.is_some() || !claims.is_empty() || caller.access.is_some();
        known || by_certificate || (!self.takes_credentials() && self.gives_tokens_to_anyone())
    }

    /// Whether a mount's other repository can be read by a caller, and not by
    /// the token that they brought. Many clients learn from the challenge only
    /// that they should ask for both; otherwise they would upload what is here.
    fn is_too_narrow(&self, caller: &Caller, route: &Route) -> bool {
        let Route::StartUpload(_, StartUpload::Mount { from: Some(from), .. }) = route else {
            return false;
        };
        let readable = caller.access.is_some()
            && !self.is_external()
            && self.by_rules(&caller.subject, Action::Pull, from);
        readable && !self.may(caller, Action::Pull, from)
    }

    /// Whether there are any credentials that would help.
    fn takes_credentials(&self) -> bool {
        self.settings.scheme != Scheme::None || self.settings.oidc.is_some()
    }

    fn is_external(&self) -> bool {
        matches!(self.settings.scheme, Scheme::External(_))
    }

    fn denied(&self, caller: &Caller, route: &Route, headers: &HeaderMap) -> Error {
        let scope = challenge::scope_of(route);
        if caller.access.is_some() {
            self.unauthorized(Reason::Scope, scope, headers)
        } else if caller.subject.user.is_none()
            && caller.subject.claims.is_empty()
            && self.takes_credentials()
        {
            self.unauthorized(Reason::Missing, scope, headers)
        } else {
            Error::Denied(scope)
        }
    }

    /// The credentials that a request brings along, if any.
    fn credentials(&self, headers: &HeaderMap) -> Result<Option<Question>, Error> {
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let Some(value) = values.next() else { return Ok(None) };
        let wrong = || self.unauthorized(Reason::Malformed, None, headers);
        // Of two, who else looked at the request may have read the other.
        if values.next().is_some() || value.len() > AUTHORIZATION_LIMIT {
            return Err(wrong());
        }
        let text = value.to_str().map_err(|_| wrong())?;
        let (scheme, rest) = text.split_once(' ').ok_or_else(wrong)?;
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return Ok(Some(Question::Bearer { token: rest.to_owned() }));
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return Err(wrong());
        }
        let decoded = STANDARD.decode(rest).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let decoded = decoded.ok_or_else(wrong)?;
        let (user, password) = decoded.split_once(':').ok_or_else(wrong)?;
        // What some clients send who have no credentials.
        if user.is_empty() && password.is_empty() {
            return Ok(None);
        }
        Ok(Some(Question::Password {
            user: user.to_owned(),
            password: password.to_owned(),
            client: self.client(headers),
        }))
    }

    /// The name in a client's certificate, if a native host verified it.
    fn certificate(&self, headers: &HeaderMap) -> Option<String> {
        let name = headers.get(CERTIFICATE).filter(|_| self.services.front)?;
        percent_decode(name.as_bytes()).decode_utf8().ok().map(std::borrow::Cow::into_owned)
    }
}

fn unexpected() -> Error {
    Error::Internal("the authority gave another answer than was asked for".to_owned())
}
