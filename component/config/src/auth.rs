//! `REGISTRY_AUTH*`: distribution's `auth`, and rules.

use crate::reader::{Reader, boolean, duration};
use crate::rules::Rules;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// How long a token of the built-in service is good for, where
/// `REGISTRY_AUTH_TOKEN_EXPIRATION` does not say otherwise.
pub const DEFAULT_TOKEN_EXPIRATION: Duration = Duration::from_mins(5);

/// The longest that `REGISTRY_AUTH_TOKEN_EXPIRATION` can say: what a token
/// allows cannot be taken back.
pub const MAX_TOKEN_EXPIRATION: Duration = Duration::from_hours(1);

/// What clients are told they log in to, where nothing else is set.
pub const DEFAULT_REALM: &str = "Roadstead";

/// The audience of the built-in service's tokens, where
/// `REGISTRY_AUTH_TOKEN_SERVICE` does not say otherwise.
pub const DEFAULT_SERVICE: &str = "roadstead";

/// Who is who, and who may do what.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Auth {
    /// `REGISTRY_AUTH`: how users prove who they are.
    pub scheme: Scheme,
    /// `REGISTRY_AUTH_HTPASSWD_*`: the users.
    pub users: Option<Users>,
    /// `REGISTRY_AUTH_HTPASSWD_REALM`: what users are told they log in to.
    pub realm: String,
    /// `REGISTRY_AUTH_RULES`: who may do what. Without rules, whoever is known
    /// may do everything.
    pub rules: Option<Rules>,
    /// `REGISTRY_AUTH_OIDC_*`: whose tokens CI jobs can log in with.
    pub oidc: Option<Oidc>,
    /// `REGISTRY_AUTH_PLAINHTTP`: passwords may cross plain HTTP.
    pub plain_http: bool,
    /// `REGISTRY_HTTP_SECRET`: what the built-in service signs tokens with.
    pub secret: Option<Secret>,
    /// `REGISTRY_AUTH_HOST_AUTHORITY`: the authority at which a native host
    /// tells the component who is who. The native host sets it.
    pub host_authority: Option<String>,
}

/// How users prove who they are.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Scheme {
    /// They do not.
    #[default]
    None,
    /// By password with each request, or, where rules allow something without
    /// one, by a token of the built-in service.
    Htpasswd,
    /// By a token of the built-in service.
    Token(Issuer),
    /// By a token that another service signs.
    External(Box<External>),
}

/// The built-in token service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Issuer {
    /// `REGISTRY_AUTH_TOKEN_REALM`: its URL, if it is not this registry's own
    /// `/v2/token` as clients reach it.
    pub realm: Option<String>,
    /// `REGISTRY_AUTH_TOKEN_SERVICE`: whom tokens are for.
    pub service: String,
    /// `REGISTRY_AUTH_TOKEN_EXPIRATION`: how long they are good for.
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

/// A token service elsewhere; distribution's `auth.token`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct External {
    /// `REGISTRY_AUTH_TOKEN_REALM`: where clients get tokens.
    pub realm: Realm,
    /// `REGISTRY_AUTH_TOKEN_SERVICE`: whom tokens must be for.
    pub service: String,
    /// `REGISTRY_AUTH_TOKEN_ISSUER`: who must have signed them.
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
    /// At this path of wherever they reached the registry
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

/// Whose tokens CI jobs can log in with, by OIDC.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Oidc {
    /// `REGISTRY_AUTH_OIDC_ISSUER`: who signs them, as in
    /// `https://token.actions.githubusercontent.com`.
    pub issuer: String,
    /// `REGISTRY_AUTH_OIDC_AUDIENCE`: whom they must be for.
    pub audience: String,
    /// `REGISTRY_AUTH_OIDC_JWKS`: the issuer's keys: a file, JSON itself, or a
    /// URL; without it, the URL that the issuer's discovery document names.
    pub jwks: Option<String>,
}

/// Text that no log shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Auth {
    /// Whether anyone needs to be known for anything.
    pub fn enabled(&self) -> bool {
        self.scheme != Scheme::None || self.rules.is_some()
    }

    /// The built-in token service, if it is used: because it was chosen, or
    /// because some things are allowed without a password, which Docker's
    /// engine can use only where tokens are given out.
    pub fn issuer(&self) -> Option<Issuer> {
        let anonymous = self.rules.as_ref().is_some_and(Rules::allow_anonymous);
        match &self.scheme {
            Scheme::Token(issuer) => Some(issuer.clone()),
            Scheme::Htpasswd if anonymous => Some(Issuer::default()),
            Scheme::None if self.oidc.is_some() => Some(Issuer::default()),
            Scheme::Htpasswd | Scheme::None | Scheme::External(_) => None,
        }
    }

    /// Whether clients send passwords here.
    pub fn takes_passwords(&self) -> bool {
        matches!(self.scheme, Scheme::Htpasswd | Scheme::Token(_)) || self.oidc.is_some()
    }

    pub(crate) fn read(reader: &mut Reader) -> Self {
        let users = match (reader.text("AUTH_HTPASSWD_PATH"), reader.text("AUTH_HTPASSWD_ENTRIES"))
        {
            (Some(path), Some(_)) => {
                reader.problem(
                    "REGISTRY_AUTH_HTPASSWD_PATH and REGISTRY_AUTH_HTPASSWD_ENTRIES are both set; \
                     keep one of them",
                );
                // So that nothing says there are none.
                Some(Users::File(path.into()))
            }
            (Some(path), None) => Some(Users::File(path.into())),
            (None, Some(entries)) => Some(Users::Entries(entries)),
            (None, None) => None,
        };
        let rules = rules(reader);
        let oidc = oidc(reader, rules.as_ref());
        let auth = Self {
            scheme: scheme(reader, users.as_ref()),
            users,
            realm: reader.text("AUTH_HTPASSWD_REALM").unwrap_or_else(|| DEFAULT_REALM.to_owned()),
            rules,
            oidc,
            plain_http: reader.read("AUTH_PLAINHTTP", false, boolean),
            secret: reader.text("HTTP_SECRET").map(Secret),
            host_authority: reader.text("AUTH_HOST_AUTHORITY"),
        };
        if !auth.realm.bytes().all(|b| matches!(b, b' '..=b'~') && !matches!(b, b'"' | b'\\')) {
            reader.problem(
                "REGISTRY_AUTH_HTPASSWD_REALM must be ASCII without quotes and backslashes",
            );
        }
        auth
    }
}

fn rules(reader: &mut Reader) -> Option<Rules> {
    let mut statements = reader.items("AUTH_RULES");
    statements.extend(reader.text("AUTH_RULES"));
    if statements.is_empty() {
        return None;
    }
    match Rules::parse(&statements.join("\n")) {
        Ok(rules) => Some(rules),
        Err(problem) => {
            reader.problem(format!("REGISTRY_AUTH_RULES: {problem}"));
            None
        }
    }
}

fn oidc(reader: &mut Reader, rules: Option<&Rules>) -> Option<Oidc> {
    let issuer = reader.text("AUTH_OIDC_ISSUER");
    let audience = reader.text("AUTH_OIDC_AUDIENCE");
    let jwks = reader.text("AUTH_OIDC_JWKS");
    let (Some(issuer), Some(audience)) = (issuer, audience) else {
        if reader.has("AUTH_OIDC_") {
            reader.problem(
                "REGISTRY_AUTH_OIDC_ISSUER and REGISTRY_AUTH_OIDC_AUDIENCE are set together",
            );
        }
        return None;
    };
    if rules.is_none() {
        // Everyone with an account at the issuer has such tokens.
        reader.problem(
            "REGISTRY_AUTH_OIDC_ISSUER needs REGISTRY_AUTH_RULES that say which jobs may do what, \
             as in: claim:repository=acme/app pull,push acme/app",
        );
    }
    Some(Oidc { issuer, audience, jwks })
}

fn scheme(reader: &mut Reader, users: Option<&Users>) -> Scheme {
    const CREATE: &str = "roadstead htpasswd -Bbn USER PASSWORD > FILE makes one";
    let chosen = match reader.text("AUTH").as_deref() {
        Some("htpasswd") => "htpasswd",
        Some("token") => "token",
        Some("none") => "none",
        Some(other) => {
            reader.problem(format!("REGISTRY_AUTH={other:?}: must be htpasswd, token or none"));
            return Scheme::None;
        }
        None if reader.has("AUTH_TOKEN_") => "token",
        None if reader.has("AUTH_HTPASSWD_") => "htpasswd",
        None => "none",
    };
    match chosen {
        "htpasswd" => {
            if users.is_none() {
                reader.problem(format!(
                    "REGISTRY_AUTH=htpasswd needs REGISTRY_AUTH_HTPASSWD_PATH, the file of users; {CREATE}"
                ));
            }
            Scheme::Htpasswd
        }
        "token" => {
            let certificates = reader.text("AUTH_TOKEN_ROOTCERTBUNDLE");
            let jwks = reader.text("AUTH_TOKEN_JWKS");
            if certificates.is_some() || jwks.is_some() {
                return external(reader, certificates, jwks);
            }
            if users.is_none() && !reader.has("AUTH_OIDC_") {
                reader.problem(format!(
                    "REGISTRY_AUTH=token needs either REGISTRY_AUTH_HTPASSWD_PATH, the file of \
                     users that this registry gives tokens to ({CREATE}), or \
                     REGISTRY_AUTH_TOKEN_ROOTCERTBUNDLE or _JWKS, the keys of another service"
                ));
            }
            Scheme::Token(issuer(reader))
        }
        _ => Scheme::None,
    }
}

fn issuer(reader: &mut Reader) -> Issuer {
    let expiration = reader.read("AUTH_TOKEN_EXPIRATION", DEFAULT_TOKEN_EXPIRATION, |value| {
        // Clients take less than a minute for a minute.
        const LEAST: Duration = Duration::from_mins(1);
        let expiration = duration(value)?;
        let fits = (LEAST..=MAX_TOKEN_EXPIRATION).contains(&expiration);
        fits.then_some(expiration).ok_or("must be from 1m to 1h")
    });
    Issuer {
        realm: reader.text("AUTH_TOKEN_REALM"),
        service: service(reader).unwrap_or_else(|| DEFAULT_SERVICE.to_owned()),
        expiration,
    }
}

fn external(reader: &mut Reader, certificates: Option<String>, jwks: Option<String>) -> Scheme {
    let path = reader.text("AUTH_TOKEN_AUTOREDIRECTPATH");
    let realm = if reader.read("AUTH_TOKEN_AUTOREDIRECT", false, boolean) {
        Some(Realm::Path(path.unwrap_or_else(|| "/auth/token/".to_owned())))
    } else {
        reader.text("AUTH_TOKEN_REALM").map(Realm::Url)
    };
    let algorithms = reader.list("AUTH_TOKEN_SIGNINGALGORITHMS");
    let (issuer, service) = (reader.text("AUTH_TOKEN_ISSUER"), service(reader));
    let (Some(realm), Some(service), Some(issuer)) = (realm, service, issuer) else {
        reader.problem(
            "REGISTRY_AUTH_TOKEN_REALM, _SERVICE and _ISSUER are all needed for tokens of another \
             service",
        );
        return Scheme::None;
    };
    let external = External { realm, service, issuer, certificates, jwks, algorithms };
    Scheme::External(Box::new(external))
}

/// The service's name, which travels in a header's quotes.
fn service(reader: &mut Reader) -> Option<String> {
    let service = reader.text("AUTH_TOKEN_SERVICE")?;
    if service.bytes().any(|b| !b.is_ascii_graphic() && b != b' ' || matches!(b, b'"' | b'\\')) {
        reader.problem("REGISTRY_AUTH_TOKEN_SERVICE must be ASCII without quotes and backslashes");
    }
    Some(service)
}
