//! The settings of authentication and authorization, as the registry uses
//! them. `roadstead-config` reads them from distribution's `auth` section.

use crate::rules::Rules;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// How long a token of the built-in service is valid, where
/// `REGISTRY_AUTH_TOKEN_EXPIRATION` does not say otherwise.
///
/// Limit: lifetime of a token of the built-in service; test:
/// `issued_tokens_are_accepted`; setting: `REGISTRY_AUTH_TOKEN_EXPIRATION`.
pub const DEFAULT_TOKEN_EXPIRATION: Duration = Duration::from_mins(5);

/// The realm of a password challenge, where `REGISTRY_AUTH_HTPASSWD_REALM` does
/// not say otherwise.
pub const DEFAULT_REALM: &str = "Roadstead";

/// The audience of the built-in service's tokens, where
/// `REGISTRY_AUTH_TOKEN_SERVICE` does not say otherwise.
pub const DEFAULT_SERVICE: &str = "roadstead";

/// How callers authenticate, and what they are authorized to do.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Auth {
    /// `REGISTRY_AUTH`: how users authenticate.
    pub scheme: Scheme,
    /// `REGISTRY_AUTH_HTPASSWD_*`: the users.
    pub users: Option<Users>,
    /// `REGISTRY_AUTH_HTPASSWD_REALM`: the realm of password challenges.
    pub realm: String,
    /// `REGISTRY_AUTH_RULES`: who may do what. Without rules, every
    /// authenticated user may do everything.
    pub rules: Option<Rules>,
    /// `REGISTRY_AUTH_OIDC_*`: the issuer whose tokens CI jobs log in with.
    pub oidc: Option<Oidc>,
    /// `REGISTRY_AUTH_PLAINHTTP`: passwords are accepted over plain HTTP.
    pub plain_http: bool,
    /// `REGISTRY_HTTP_SECRET`: the key that signs the built-in service's tokens.
    pub secret: Option<Secret>,
}

/// How users authenticate.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Scheme {
    /// Not at all.
    #[default]
    None,
    /// By password with each request; where rules allow something to anonymous
    /// callers, also by a token of the built-in service.
    Htpasswd,
    /// By a token of the built-in service.
    Token(Issuer),
    /// By a token that another service signed.
    External(Box<External>),
}

/// The built-in token service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Issuer {
    /// `REGISTRY_AUTH_TOKEN_REALM`: its URL, if it is not this registry's own
    /// `/v2/token`.
    pub realm: Option<String>,
    /// `REGISTRY_AUTH_TOKEN_SERVICE`: the audience of tokens.
    pub service: String,
    /// `REGISTRY_AUTH_TOKEN_EXPIRATION`: how long they are valid.
    pub expiration: Duration,
}

impl Default for Issuer {
    fn default() -> Self {
        Self {
            realm: None,
            service: DEFAULT_SERVICE.to_owned(),
            expiration: DEFAULT_TOKEN_EXPIRATION,
        }
    }
}

/// Another token service; distribution's `auth.token`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct External {
    /// `REGISTRY_AUTH_TOKEN_REALM`: where clients get tokens.
    pub realm: Realm,
    /// `REGISTRY_AUTH_TOKEN_SERVICE`: the audience that tokens must have.
    pub service: String,
    /// `REGISTRY_AUTH_TOKEN_ISSUER`: the issuer that tokens must have.
    pub issuer: String,
    /// `REGISTRY_AUTH_TOKEN_ROOTCERTBUNDLE`: certificates whose keys sign
    /// tokens: a file, or PEM itself.
    pub certificates: Option<String>,
    /// `REGISTRY_AUTH_TOKEN_JWKS`: keys that sign tokens: a file, or JSON
    /// itself.
    pub jwks: Option<String>,
    /// `REGISTRY_AUTH_TOKEN_SIGNINGALGORITHMS`: which algorithms are accepted;
    /// none means all that are safe.
    pub algorithms: Vec<String>,
}

/// Where clients get tokens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Realm {
    /// At a URL.
    Url(String),
    /// At this path on the host under which they reach the registry
    /// (`REGISTRY_AUTH_TOKEN_AUTOREDIRECT`).
    Path(String),
}

/// Where the entries of an htpasswd file come from.
#[derive(Clone, PartialEq, Eq)]
pub enum Users {
    /// `REGISTRY_AUTH_HTPASSWD_PATH`.
    File(PathBuf),
    /// `REGISTRY_AUTH_HTPASSWD_ENTRIES`, separated by white space: for hosts
    /// that mount no files.
    Entries(String),
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Entries(_) => f.write_str("Entries(..)"),
        }
    }
}

/// The OIDC issuer whose tokens CI jobs log in with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Oidc {
    /// `REGISTRY_AUTH_OIDC_ISSUER`: the issuer, as in
    /// `https://token.actions.githubusercontent.com`.
    pub issuer: String,
    /// `REGISTRY_AUTH_OIDC_AUDIENCE`: the audience that tokens must have.
    pub audience: String,
    /// `REGISTRY_AUTH_OIDC_JWKS`: the issuer's keys: a file, JSON itself, or a
    /// URL; without it, the URL that the issuer's discovery document names.
    pub jwks: Option<String>,
}

/// Text that is never logged.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Auth {
    /// Whether any request is authorized at all; otherwise everyone may do
    /// everything.
    pub fn enabled(&self) -> bool {
        self.scheme != Scheme::None || self.rules.is_some()
    }

    /// The built-in token service, if it is used: because the settings choose
    /// it, or because rules allow something to anonymous callers, which Docker's
    /// engine can use only where the registry issues tokens.
    pub fn issuer(&self) -> Option<Issuer> {
        let anonymous = self.rules.as_ref().is_some_and(Rules::allow_anonymous);
        match &self.scheme {
            Scheme::Token(issuer) => Some(issuer.clone()),
            Scheme::Htpasswd if anonymous => Some(Issuer::default()),
            Scheme::None if self.oidc.is_some() => Some(Issuer::default()),
            Scheme::Htpasswd | Scheme::None | Scheme::External(_) => None,
        }
    }

    /// Whether clients send passwords to this registry.
    pub fn takes_passwords(&self) -> bool {
        matches!(self.scheme, Scheme::Htpasswd | Scheme::Token(_)) || self.oidc.is_some()
    }
}
