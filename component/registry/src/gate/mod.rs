//! The gate: authenticates the caller of a request, and authorizes the request.
//! Every request passes [`Gate::caller`] and [`Gate::permit`], whatever its
//! route and method.

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
    ALL, Access, Action, Answer, Auth, Authority, CATALOG, Caller, Issuer, MAINTENANCE, Question,
    REGISTRY, REPOSITORY, Refusal, Scheme, Subject, TOKEN_LIMIT,
};
use roadstead_bridge::Services;
use roadstead_bridge::client::{ADDRESS, CERTIFICATE};
use roadstead_bridge::collect::{OVERRIDES, Overrides};
use roadstead_config::Config;
use roadstead_oci::RepositoryName;
use std::fmt;
use std::net::IpAddr;
use std::time::SystemTime;

/// Maximum length of an accepted `Authorization` header, in bytes: the longest
/// token in Base64, and the name of the scheme.
///
/// Limit: bytes of an `Authorization` header; test:
/// `a_token_allows_what_it_says_and_no_more`.
const AUTHORIZATION_LIMIT: usize = TOKEN_LIMIT * 4 / 3 + 1024;

/// How much of the name is logged of whoever could not log in.
///
/// Limit: characters of a refused user's name in the log; test: `who_could_not_log_in`.
const CLAIMED_LIMIT: usize = 64;

/// Authenticates callers: [`Authority`] in this process, or the native host's.
pub trait Ask: fmt::Debug {
    /// Answers a question.
    fn ask(&self, question: Question) -> LocalBoxFuture<'_, Answer>;
}

impl Ask for Authority {
    fn ask(&self, question: Question) -> LocalBoxFuture<'_, Answer> {
        Box::pin(ready(self.answer(&question, SystemTime::now())))
    }
}

/// Authenticates callers and authorizes their requests.
#[derive(Debug)]
pub struct Gate {
    /// Authentication is disabled.
    open: bool,
    /// The services that a native host in front of the component provides.
    services: Services,
    settings: Auth,
    issuer: Option<Issuer>,
    /// `REGISTRY_HTTP_HOST`.
    host: Option<String>,
    authority: Option<Box<dyn Ask>>,
}

impl Gate {
    /// Creates a gate from the settings. Without an authority, all credentials
    /// are rejected.
    pub fn new(config: &Config, services: Services, authority: Option<Box<dyn Ask>>) -> Self {
        let settings = config.auth.clone();
        // Under a host whose instances share no memory, tokens can be signed
        // only with a configured secret.
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

    /// Authenticates the caller of a request by its credentials.
    ///
    /// # Errors
    /// If the credentials are invalid: such a request is not treated as an
    /// anonymous one.
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

    /// Checks that a caller is permitted to make a request.
    ///
    /// # Errors
    /// [`Error::Unauthorized`] with a challenge if other credentials could
    /// help, otherwise [`Error::Denied`].
    pub fn permit(&self, caller: &Caller, route: &Route, headers: &HeaderMap) -> Result<(), Error> {
        let permission = route.class().permission;
        let permitted = (self.open && permission != Permission::Host)
            || match permission {
                Permission::Nothing => true,
                Permission::Host => self.is_the_host(headers),
                Permission::Login => self.logged_in(caller),
                Permission::Catalog => self.may_list(caller),
                Permission::Maintenance => self.is_the_host(headers) || self.may_maintain(caller),
                Permission::Repository(name, action) => {
                    self.may(caller, action, name) && !self.is_too_narrow(caller, route)
                }
            };
        if permitted { Ok(()) } else { Err(self.denied(caller, route, headers)) }
    }

    /// Whether a caller is permitted an action on a repository.
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

    /// Whether a caller is permitted an action on a repository, or would be with another token of
    /// the built-in service.
    pub fn could(&self, caller: &Caller, action: Action, name: &RepositoryName) -> bool {
        self.may(&self.without_token(caller), action, name)
    }

    /// The same for the list of repositories.
    pub fn could_list(&self, caller: &Caller) -> bool {
        self.open || self.may_list(&self.without_token(caller))
    }

    /// The same for maintenance.
    pub fn could_maintain(&self, caller: &Caller) -> bool {
        self.open || self.may_maintain(&self.without_token(caller))
    }

    /// How callers authenticate: `none`, `basic` or `token`.
    pub fn authentication(&self) -> &'static str {
        if self.open {
            "none"
        } else if self.is_external() || self.issuer.is_some() {
            "token"
        } else {
            "basic"
        }
    }

    /// The caller, without what a token of the built-in service grants. Another service's tokens
    /// decide by themselves.
    fn without_token(&self, caller: &Caller) -> Caller {
        let mut caller = caller.clone();
        if !self.is_external() {
            caller.access = None;
        }
        caller
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

    /// The part of the requested access that a subject is granted.
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
                REGISTRY if access.name == MAINTENANCE => {
                    access.actions.retain(|action| action == ALL && self.maintains(subject));
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

    /// Whether the token service issues tokens to anonymous callers.
    pub fn gives_tokens_to_anyone(&self) -> bool {
        self.settings.rules.as_ref().is_some_and(roadstead_access::Rules::allow_anonymous)
    }

    /// Passes a question to the authority.
    pub async fn ask(&self, question: Question) -> Answer {
        if let Some(refusal) = question.refusal() {
            return Answer::Refused(refusal);
        }
        match &self.authority {
            Some(authority) => authority.ask(question).await,
            None => Answer::Refused(Refusal::Credentials),
        }
    }

    /// Whether anybody may do anything: nobody has to log in.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// The error that the client gets for a refusal.
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

    /// The IP address of the client, if a native host reports it.
    pub fn client(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let header = headers.get(ADDRESS).filter(|_| self.services.front);
        header?.to_str().ok()?.parse().ok()
    }

    /// What the native host orders in a request of its own; `None` if a client sent
    /// the request.
    ///
    /// # Errors
    /// If host and component do not understand each other.
    pub fn overrides(&self, headers: &HeaderMap) -> Result<Option<Overrides>, Error> {
        let header = headers.get(OVERRIDES).filter(|_| self.services.front);
        let overrides = header.map(|header| serde_json::from_slice(header.as_bytes())).transpose();
        overrides.map_err(|error| Error::Internal(format!("the host's {OVERRIDES}: {error}")))
    }

    /// Whether the native host itself sent a request: it lets no client send this
    /// header.
    fn is_the_host(&self, headers: &HeaderMap) -> bool {
        self.services.front && headers.contains_key(OVERRIDES)
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

    fn maintains(&self, subject: &Subject) -> bool {
        match &self.settings.rules {
            Some(rules) => rules.permit_everywhere(subject, Action::Delete),
            None => subject.user.is_some(),
        }
    }

    fn may_maintain(&self, caller: &Caller) -> bool {
        self.may_in_registry(caller, MAINTENANCE, Self::maintains)
    }

    fn may_list(&self, caller: &Caller) -> bool {
        self.may_in_registry(caller, CATALOG, Self::lists)
    }

    /// Whether a caller has access to a resource of the registry as a whole: by the
    /// token, where that decides, and by the rules.
    fn may_in_registry(
        &self,
        caller: &Caller,
        name: &str,
        by_rules: fn(&Self, &Subject) -> bool,
    ) -> bool {
        let by_token =
            caller.access.as_ref().map(|access| Access::allows(access, REGISTRY, name, ALL));
        match by_token {
            Some(allowed) if self.is_external() => allowed,
            Some(false) => false,
            Some(true) | None => by_rules(self, &caller.subject),
        }
    }

    /// Whether a caller needs no further credentials to use the API.
    fn logged_in(&self, caller: &Caller) -> bool {
        let Subject { user, certificate, claims } = &caller.subject;
        // A client certificate alone is not enough unless a rule names it: its
        // holder may be a user who still has to send a password.
        let by_certificate = certificate.as_ref().is_some_and(|name| {
            self.settings.rules.as_ref().is_some_and(|rules| rules.know_certificate(name))
        });
        let known = user.is_some() || !claims.is_empty() || caller.access.is_some();
        known || by_certificate || (!self.takes_credentials() && self.gives_tokens_to_anyone())
    }

    /// Whether the caller may pull from a mount's source repository, but their
    /// token does not include that access. Many clients request both scopes
    /// only after a challenge that names both; without it they would upload a
    /// blob that the registry already has.
    fn is_too_narrow(&self, caller: &Caller, route: &Route) -> bool {
        let Route::StartUpload(_, StartUpload::Mount { from: Some(from), .. }) = route else {
            return false;
        };
        let readable = caller.access.is_some()
            && !self.is_external()
            && self.by_rules(&caller.subject, Action::Pull, from);
        readable && !self.may(caller, Action::Pull, from)
    }

    /// Whether any kind of credentials is accepted.
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

    /// The credentials of a request, if any.
    fn credentials(&self, headers: &HeaderMap) -> Result<Option<Question>, Error> {
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let Some(value) = values.next() else { return Ok(None) };
        let wrong = || self.unauthorized(Reason::Malformed, None, headers);
        // Duplicate headers are refused: a proxy may have read the other one.
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
        // Some clients send this if they have no credentials.
        if user.is_empty() && password.is_empty() {
            return Ok(None);
        }
        Ok(Some(Question::Password {
            user: user.to_owned(),
            password: password.to_owned(),
            client: self.client(headers),
        }))
    }

    /// The name of the user by which a request tried to log in, if it was refused for that.
    pub fn claimed(&self, error: &Error, headers: &HeaderMap) -> Option<String> {
        let refused = matches!(
            error,
            Error::TooManyAttempts { .. }
                | Error::Busy
                | Error::Unauthorized { reason: Reason::Credentials, .. }
        );
        match self.credentials(headers) {
            Ok(Some(Question::Password { user, .. })) if refused => {
                Some(user.chars().take(CLAIMED_LIMIT).collect())
            }
            _ => None,
        }
    }

    /// The name in the client certificate, if a native host verified it.
    fn certificate(&self, headers: &HeaderMap) -> Option<String> {
        let name = headers.get(CERTIFICATE).filter(|_| self.services.front)?;
        percent_decode(name.as_bytes()).decode_utf8().ok().map(std::borrow::Cow::into_owned)
    }
}

fn unexpected() -> Error {
    Error::Internal("the authority's answer does not match the question".to_owned())
}

#[cfg(test)]
mod tests {
    use super::{CLAIMED_LIMIT, Gate};
    use crate::Error;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use futures::FutureExt as _;
    use http::{HeaderMap, header};
    use roadstead_bridge::Services;
    use roadstead_config::Config;

    #[test]
    fn where_the_page_gets_tokens() {
        for (settings, expected) in [
            (&[][..], None),
            (&[("REGISTRY_HTTP_HOST", "https://a.example/x")], Some("https://a.example")),
            (&[("REGISTRY_AUTH_TOKEN_REALM", "https://b.example:8/t?x")], {
                Some("https://b.example:8")
            }),
        ] {
            let tokens = [
                ("REGISTRY_AUTH", "token"),
                ("REGISTRY_AUTH_HTPASSWD_PATH", "/users"),
                ("REGISTRY_HTTP_SECRET", "what nobody else knows"),
            ];
            let variables = tokens.iter().chain(settings);
            let variables =
                variables.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            let config = Config::from_variables(variables).unwrap();
            let gate = Gate::new(&config, Services::default(), None);
            assert_eq!(gate.authentication(), "token");
            assert_eq!(gate.realm_origin().as_deref(), expected, "{settings:?}");
        }
    }

    #[test]
    fn who_could_not_log_in() {
        let variables = [("REGISTRY_AUTH", "htpasswd"), ("REGISTRY_AUTH_HTPASSWD_PATH", "/users")];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let config = Config::from_variables(variables).unwrap();
        let gate = Gate::new(&config, Services::default(), None);
        let long = "a".repeat(100);
        for (name, expected) in [("bob", "bob"), ("", ""), (&long, &long[..CLAIMED_LIMIT])] {
            let basic = format!("Basic {}", STANDARD.encode(format!("{name}:wrong")));
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, basic.parse().unwrap())]);
            let error = gate.caller(&headers).now_or_never().unwrap().unwrap_err();
            assert_eq!(gate.claimed(&error, &headers).as_deref(), Some(expected));
            // Whoever is logged in and may not is no failed login.
            assert_eq!(gate.claimed(&Error::Denied(None), &headers), None);
        }
        let none = HeaderMap::new();
        assert_eq!(gate.claimed(&Error::Busy, &none), None);
        let bearer = HeaderMap::from_iter([(header::AUTHORIZATION, "Bearer x".parse().unwrap())]);
        assert_eq!(gate.claimed(&Error::Busy, &bearer), None);
    }
}
