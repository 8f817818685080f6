//! What a client is told that has to prove who it is (RFC 9110,
//! "WWW-Authenticate"; RFC 6750; distribution's token authentication).

use super::{Gate, Need};
use crate::{Error, Route, StartUpload, TokenRequest};
use http::HeaderMap;
use http::header::{self, HeaderName};
use roadstead_access::{ALL, CATALOG, REGISTRY, REPOSITORY};
use roadstead_config::{Action, Realm, Scheme};
use std::fmt;

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

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => {
                f.write_str("authentication is required; log in to this registry first")
            }
            Self::Malformed => f.write_str(
                "the Authorization header is neither Basic with a user and a password nor Bearer \
                 with a token",
            ),
            Self::Credentials => f.write_str("the user name or the password is wrong"),
            Self::Token(why) => write!(f, "the token is not accepted: {why}; log in again"),
            Self::Scope => {
                f.write_str("the token does not allow this; get one that does, if its user may")
            }
        }
    }
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
    /// Another repository that is read for it, if one is.
    pub from: Option<String>,
}

impl Scope {
    /// What a route needs. A mount without access to the other repository
    /// becomes an upload, but who asks for a token should ask for both.
    pub(super) fn of(route: &Route) -> Option<Box<Self>> {
        let from = match route {
            Route::StartUpload(_, StartUpload::Mount { from, .. }) => {
                from.as_ref().map(|name| name.as_str().to_owned())
            }
            _ => None,
        };
        let scope = match Need::of(route) {
            Need::Nothing | Need::Login => return None,
            Need::Catalog => Self { kind: REGISTRY, name: CATALOG.to_owned(), actions: ALL, from },
            Need::Repository(name, action) => Self {
                kind: REPOSITORY,
                name: name.as_str().to_owned(),
                // Who pushes also looks what is there already.
                actions: if action == Action::Push { "pull,push" } else { action.as_str() },
                from,
            },
        };
        Some(Box::new(scope))
    }
}

impl Gate {
    /// The answer to who did not prove who they are.
    pub(super) fn unauthorized(
        &self,
        reason: Reason,
        scope: Option<Box<Scope>>,
        headers: &HeaderMap,
    ) -> Error {
        let challenge = match self.token_realm(headers) {
            Some((realm, service)) => {
                let mut challenge = format!("Bearer realm=\"{realm}\",service=\"{service}\"");
                if let Some(Scope { kind, name, actions, from }) = scope.as_deref() {
                    let from = from.as_ref().map(|from| format!(" {REPOSITORY}:{from}:pull"));
                    let from = from.unwrap_or_default();
                    challenge = format!("{challenge},scope=\"{kind}:{name}:{actions}{from}\"");
                }
                challenge
                    + match reason {
                        Reason::Token(_) => ",error=\"invalid_token\"",
                        Reason::Scope => ",error=\"insufficient_scope\"",
                        Reason::Missing | Reason::Malformed | Reason::Credentials => "",
                    }
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
        let realm = if let Some(realm) = &issuer.realm {
            realm.clone()
        } else {
            let path = Route::Token(TokenRequest::default()).path();
            format!("{}{path}", self.base(headers)?)
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
