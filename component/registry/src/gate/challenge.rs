//! The challenge to a client that has to authenticate (RFC 9110,
//! "WWW-Authenticate"; RFC 6750; distribution's token authentication).

use super::Gate;
use crate::challenge::{Reason, Scope};
use crate::{Error, Permission, Route, StartUpload, TokenParameters};
use http::HeaderMap;
use http::header;
use roadstead_access::{ALL, Action, CATALOG, MAINTENANCE, REGISTRY, REPOSITORY, Realm, Scheme};
use roadstead_bridge::client::SCHEME;

/// The access that a route needs. A mount without access to the source
/// repository becomes an upload, but a client that requests a token should
/// request access to both.
pub(super) fn scope_of(route: &Route) -> Option<Box<Scope>> {
    let from = match route {
        Route::StartUpload(_, StartUpload::Mount { from, .. }) => {
            from.as_ref().map(|name| name.as_str().to_owned())
        }
        _ => None,
    };
    let scope = match route.class().permission {
        Permission::Nothing | Permission::Login | Permission::Host => return None,
        Permission::Catalog => {
            Scope { kind: REGISTRY, name: CATALOG.to_owned(), actions: ALL, from }
        }
        Permission::Maintenance => {
            Scope { kind: REGISTRY, name: MAINTENANCE.to_owned(), actions: ALL, from }
        }
        Permission::Repository(name, action) => Scope {
            kind: REPOSITORY,
            name: name.as_str().to_owned(),
            // A push also checks which content already exists.
            actions: if action == Action::Push { "pull,push" } else { action.as_str() },
            from,
        },
    };
    Some(Box::new(scope))
}

impl Gate {
    /// The response to a caller that is not authenticated, or whose token does
    /// not grant this access.
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

    /// A challenge for a user name and password (Basic); the token service
    /// sends it too.
    pub(crate) fn basic_challenge(&self) -> String {
        format!("Basic realm=\"{}\"", self.settings.realm)
    }

    /// The URL at which clients get tokens, and the service to name there;
    /// `None` if clients send their passwords instead.
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
            let path = Route::Token(TokenParameters::Form).path();
            format!("{}{path}", self.base(headers)?)
        };
        Some((realm, &issuer.service))
    }

    /// The origin of the service that gives tokens, where the settings name it.
    pub(crate) fn realm_origin(&self) -> Option<String> {
        let url = match &self.settings.scheme {
            Scheme::External(external) => match &external.realm {
                Realm::Url(url) => url,
                Realm::Path(_) => self.host.as_ref()?,
            },
            _ => self.issuer.as_ref()?.realm.as_ref().or(self.host.as_ref())?,
        };
        let uri: http::Uri = url.parse().ok()?;
        let (scheme, authority) = (uri.scheme_str()?, uri.authority()?.as_str());
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
        let is_plain = ["http", "https"].contains(&scheme) && authority.bytes().all(plain);
        is_plain.then(|| format!("{scheme}://{authority}"))
    }

    /// The URL at which the client reached the registry. Only the client itself
    /// can forge it, and it is sent only to that client.
    fn base(&self, headers: &HeaderMap) -> Option<String> {
        if let Some(host) = &self.host {
            return Some(host.clone());
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
        let host = headers.get(header::HOST)?.to_str().ok()?;
        let https =
            self.services.front && headers.get(SCHEME).is_some_and(|scheme| scheme == "https");
        let scheme = if https { "https" } else { "http" };
        (!host.is_empty() && host.bytes().all(plain)).then(|| format!("{scheme}://{host}"))
    }
}
