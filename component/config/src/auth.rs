//! `REGISTRY_AUTH*`: distribution's `auth`, and rules.

use crate::reader::{Reader, boolean, duration};
use roadstead_access::{
    Auth, DEFAULT_REALM, DEFAULT_SERVICE, DEFAULT_TOKEN_EXPIRATION, External, Issuer, Oidc, Realm,
    Rules, Scheme, Secret, Users,
};
use std::time::Duration;

/// The longest that `REGISTRY_AUTH_TOKEN_EXPIRATION` can say: tokens cannot be
/// revoked.
pub const MAX_TOKEN_EXPIRATION: Duration = Duration::from_hours(1);

pub(crate) fn read(reader: &mut Reader) -> Auth {
    let users = match (reader.text("AUTH_HTPASSWD_PATH"), reader.text("AUTH_HTPASSWD_ENTRIES")) {
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
    let auth = Auth {
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
        reader.problem("REGISTRY_AUTH_HTPASSWD_REALM must be ASCII without quotes and backslashes");
    }
    auth
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
