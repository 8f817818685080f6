//! What a client is told that has to prove who it is (RFC 9110,
//! "WWW-Authenticate"; RFC 6750; distribution's token authentication).

use super::{Gate, Need};
use crate::{Error, Route, TokenRequest};
use http::HeaderMap;
use http::header::{self, HeaderName};
use roadstead_auth::{ALL, CATALOG, REGISTRY, REPOSITORY};
use roadstead_config::{Action, Realm, Scheme};

/// How a native host says by which scheme a client came; from anyone else it
/// strips this.
const SCHEME: HeaderName = HeaderName::from_static("x-roadstead-scheme");

/// Why a request is answered with a challenge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reason {
    /// It has no credentials.
    Missing,
    /// Its `Authorization` header cannot be understood.
    Malformed,
    /// Its user or password is wrong.
    Credentials,
    /// Its token is not accepted, for this reason.
    Token(String),
    /// Its token does not allow what is asked for.
    Scope,
}

/// What access would be needed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scope {
    /// The type of resource.
    pub kind: &'static str,
    /// The resource's name.
    pub name: String,
    /// What is to be done with it, with commas.
    pub actions: &'static str,
}

impl Scope {
    pub(super) fn of(need: Need<'_>) -> Option<Self> {
        match need {
            Need::Nothing | Need::Login => None,
            Need::Catalog => Some(Self { kind: REGISTRY, name: CATALOG.to_owned(), actions: ALL }),
            Need::Repository(name, action) => Some(Self {
                kind: REPOSITORY,
                name: name.as_str().to_owned(),
                // Who pushes also looks what is there already.
                actions: if action == Action::Push { "pull,push" } else { action.as_str() },
            }),
        }
    }
}

impl Gate {
    /// The answer to who did not prove who they are.
    pub(super) fn unauthorized(
        &self,
        reason: Reason,
        scope: Option<Scope>,
        headers: &HeaderMap,
    ) -> Error {
        let challenge = match self.token_realm(headers) {
            Some((realm, service)) => {
                let mut challenge = format!("Bearer realm=\"{realm}\",service=\"{service}\"");
                if let Some(Scope { kind, name, actions }) = &scope {
                    challenge.push_str(&format!(",scope=\"{kind}:{name}:{actions}\""));
                }
                match reason {
                    Reason::Token(_) => challenge.push_str(",error=\"invalid_token\""),
                    Reason::Scope => challenge.push_str(",error=\"insufficient_scope\""),
                    Reason::Missing | Reason::Malformed | Reason::Credentials => {}
                }
                challenge
            }
            None => self.basic_challenge(),
        };
        Error::Unauthorized { challenge, reason, scope }
    }

    /// A challenge for a user's password, which the token service has too.
    pub(crate) fn basic_challenge(&self) -> String {
        format!("Basic realm=\"{}\"", self.settings.realm)
    }

    /// Where clients get tokens, and for which service; nothing where they
    /// come with their passwords.
    fn token_realm(&self, headers: &HeaderMap) -> Option<(String, &str)> {
        if let Scheme::External(external) = &self.settings.scheme {
            let realm = match &external.realm {
                Realm::Url(url) => url.clone(),
                Realm::Path(path) => format!("{}{path}", self.base(headers)?),
            };
            return Some((realm, &external.service));
        }
        let issuer = self.issuer.as_ref()?;
        let realm = match &issuer.realm {
            Some(realm) => realm.clone(),
            None => {
                let path = Route::Token(TokenRequest::default()).path();
                format!("{}{path}", self.base(headers)?)
            }
        };
        Some((realm, &issuer.service))
    }

    /// The URL at which the client reached the registry. It can be told
    /// wrongly only by the client itself, and it goes only to the client.
    fn base(&self, headers: &HeaderMap) -> Option<String> {
        if let Some(host) = &self.host {
            return Some(host.clone());
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
        let host = headers.get(header::HOST)?.to_str().ok()?;
        let trusted = self.settings.host_authority.is_some();
        let https = trusted && headers.get(SCHEME).is_some_and(|scheme| scheme == "https");
        let scheme = if https { "https" } else { "http" };
        (!host.is_empty() && host.bytes().all(plain)).then(|| format!("{scheme}://{host}"))
    }
}
