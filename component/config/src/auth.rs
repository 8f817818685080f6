//! Reads `auth`: distribution's section, and rules.

use crate::reader::Reader;
use crate::settings::{self as rows, AuthKind, Section};
use roadstead_access::{
    Auth, DEFAULT_REALM, DEFAULT_SERVICE, External, Issuer, Oidc, Realm, Rules, Scheme, Secret,
    Users,
};

/// How to get a file of users.
const CREATE: &str = "roadstead htpasswd -Bbn USER PASSWORD > FILE makes one";

/// The path that `autoredirect` means without `autoredirectpath`:
/// distribution's.
const DEFAULT_AUTOREDIRECT_PATH: &str = "/auth/token/";

pub(crate) fn read(reader: &mut Reader<'_>) -> Auth {
    let users = users(reader);
    let rules = rules(reader);
    let oidc = oidc(reader, rules.as_ref());
    let auth = Auth {
        scheme: scheme(reader, users.as_ref()),
        users,
        realm: reader.read(&rows::AUTH_HTPASSWD_REALM).unwrap_or_else(|| DEFAULT_REALM.to_owned()),
        rules,
        oidc,
        plain_http: reader.read(&rows::AUTH_PLAINHTTP),
        secret: reader.read(&rows::HTTP_SECRET).map(Secret),
    };
    if !is_quotable(&auth.realm) {
        let name = reader.name(&rows::AUTH_HTPASSWD_REALM.row);
        reader.problem(format!("{name} must be ASCII without quotes and backslashes"));
    }
    auth
}

/// What is to be said of rules for callers that cannot authenticate. `certificates` says
/// whether clients can, by a certificate.
pub(crate) fn warnings(reader: &Reader<'_>, auth: &Auth, certificates: bool) -> Vec<String> {
    let Some(rules) = &auth.rules else { return Vec::new() };
    let name = |row: &rows::Row| reader.name(row);
    let rules_name = name(&rows::AUTH_RULES.row);
    let mut warnings = Vec::new();
    if rules.are_for_users() && auth.scheme == Scheme::None {
        warnings.push(format!(
            "{rules_name} has rules for users, but no user can log in: name the file of users \
             with {}",
            name(&rows::AUTH_HTPASSWD_PATH.row)
        ));
    }
    if rules.are_for_certificates() && !certificates {
        warnings.push(format!(
            "{rules_name} has rules for client certificates (cert:), but clients are not asked \
             for one: name the CA that issues them with {}",
            name(&rows::HTTP_TLS_CLIENTCAS.row)
        ));
    }
    if rules.are_for_jobs() && auth.oidc.is_none() {
        warnings.push(format!(
            "{rules_name} has rules for the claims of CI jobs (claim:), but no job can log in: \
             set {} and {}",
            name(&rows::AUTH_OIDC_ISSUER.row),
            name(&rows::AUTH_OIDC_AUDIENCE.row)
        ));
    }
    warnings
}

fn users(reader: &mut Reader<'_>) -> Option<Users> {
    let path = reader.read(&rows::AUTH_HTPASSWD_PATH).map(Users::File);
    let entries = reader.read(&rows::AUTH_HTPASSWD_ENTRIES).map(Users::Entries);
    if path.is_some() && entries.is_some() {
        reader.problem(format!(
            "{} and {} are both set; keep one of them",
            reader.name(&rows::AUTH_HTPASSWD_PATH.row),
            reader.name(&rows::AUTH_HTPASSWD_ENTRIES.row)
        ));
    }
    path.or(entries)
}

fn rules(reader: &mut Reader<'_>) -> Option<Rules> {
    let statements = reader.statements(&rows::AUTH_RULES);
    if statements.is_empty() {
        return None;
    }
    match Rules::parse(&statements.join("\n")) {
        Ok(rules) => Some(rules),
        Err(problem) => {
            let name = reader.name(&rows::AUTH_RULES.row);
            reader.problem(format!("{name}: {problem}"));
            None
        }
    }
}

fn oidc(reader: &mut Reader<'_>, rules: Option<&Rules>) -> Option<Oidc> {
    let issuer = reader.read(&rows::AUTH_OIDC_ISSUER);
    let audience = reader.read(&rows::AUTH_OIDC_AUDIENCE);
    let jwks = reader.read(&rows::AUTH_OIDC_JWKS);
    let (Some(issuer), Some(audience)) = (issuer, audience) else {
        if reader.has(&rows::AUTH_OIDC) {
            reader.problem(format!(
                "{} and {} must both be set",
                reader.name(&rows::AUTH_OIDC_ISSUER.row),
                reader.name(&rows::AUTH_OIDC_AUDIENCE.row)
            ));
        }
        return None;
    };
    if rules.is_none() {
        // Everyone with an account at the issuer has such tokens.
        reader.problem(format!(
            "{} needs {} that say which jobs may do what, as in: claim:repository=acme/app \
             pull,push acme/app",
            reader.name(&rows::AUTH_OIDC_ISSUER.row),
            reader.name(&rows::AUTH_RULES.row)
        ));
    }
    Some(Oidc { issuer, audience, jwks })
}

fn scheme(reader: &mut Reader<'_>, users: Option<&Users>) -> Scheme {
    let kind = match reader.try_read(&rows::AUTH) {
        None => return Scheme::None,
        Some(Some(kind)) => kind,
        Some(None) if reader.has(&rows::AUTH_TOKEN) => AuthKind::Token,
        Some(None) if reader.has(&rows::AUTH_HTPASSWD) => AuthKind::Htpasswd,
        Some(None) => AuthKind::None,
    };
    match kind {
        AuthKind::None => Scheme::None,
        AuthKind::Htpasswd => {
            if users.is_none() {
                reader.problem(format!(
                    "{} needs {}, the file of users; {CREATE}",
                    chosen(reader, "htpasswd", &rows::AUTH_HTPASSWD),
                    reader.name(&rows::AUTH_HTPASSWD_PATH.row)
                ));
            }
            Scheme::Htpasswd
        }
        AuthKind::Token => {
            let certificates = reader.read(&rows::AUTH_TOKEN_ROOTCERTBUNDLE);
            let jwks = reader.read(&rows::AUTH_TOKEN_JWKS);
            if certificates.is_some() || jwks.is_some() {
                return external(reader, certificates, jwks);
            }
            if users.is_none() && !reader.has(&rows::AUTH_OIDC) {
                reader.problem(format!(
                    "{} needs either {}, the file of users that this registry issues tokens to \
                     ({CREATE}), or {} or {}, the keys of another token service",
                    chosen(reader, "token", &rows::AUTH_TOKEN),
                    reader.name(&rows::AUTH_HTPASSWD_PATH.row),
                    reader.name(&rows::AUTH_TOKEN_ROOTCERTBUNDLE.row),
                    reader.name(&rows::AUTH_TOKEN_JWKS.row)
                ));
            }
            Scheme::Token(Issuer {
                realm: reader.read(&rows::AUTH_TOKEN_REALM),
                service: service(reader).unwrap_or_else(|| DEFAULT_SERVICE.to_owned()),
                expiration: reader.read(&rows::AUTH_TOKEN_EXPIRATION),
            })
        }
    }
}

/// What chose a scheme: the setting that names it, or its section.
fn chosen(reader: &Reader<'_>, scheme: &str, section: &Section) -> String {
    if reader.is_set(&rows::AUTH.row) {
        reader.with(&rows::AUTH.row, scheme)
    } else {
        reader.section(section)
    }
}

fn external(reader: &mut Reader<'_>, certificates: Option<String>, jwks: Option<String>) -> Scheme {
    let path = reader.read(&rows::AUTH_TOKEN_AUTOREDIRECTPATH);
    let realm = if reader.read(&rows::AUTH_TOKEN_AUTOREDIRECT) {
        Some(Realm::Path(path.unwrap_or_else(|| DEFAULT_AUTOREDIRECT_PATH.to_owned())))
    } else {
        reader.read(&rows::AUTH_TOKEN_REALM).map(Realm::Url)
    };
    let algorithms = reader.list(&rows::AUTH_TOKEN_SIGNINGALGORITHMS);
    let (issuer, service) = (reader.read(&rows::AUTH_TOKEN_ISSUER), service(reader));
    let (Some(realm), Some(service), Some(issuer)) = (realm, service, issuer) else {
        reader.problem(format!(
            "{}, {} and {} are all needed for tokens of another service",
            reader.name(&rows::AUTH_TOKEN_REALM.row),
            reader.name(&rows::AUTH_TOKEN_SERVICE.row),
            reader.name(&rows::AUTH_TOKEN_ISSUER.row)
        ));
        return Scheme::None;
    };
    let external = External { realm, service, issuer, certificates, jwks, algorithms };
    Scheme::External(Box::new(external))
}

/// The service's name, which travels in a header's quotes.
fn service(reader: &mut Reader<'_>) -> Option<String> {
    let service = reader.read(&rows::AUTH_TOKEN_SERVICE)?;
    if !is_quotable(&service) {
        let name = reader.name(&rows::AUTH_TOKEN_SERVICE.row);
        reader.problem(format!("{name} must be ASCII without quotes and backslashes"));
    }
    Some(service)
}

/// Whether a header can hold it between quotes.
fn is_quotable(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b' '..=b'~') && !matches!(b, b'"' | b'\\'))
}
