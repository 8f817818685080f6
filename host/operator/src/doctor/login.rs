//! Checks of the login: the challenge, the token service, the password.

use super::chain::TrustStores;
use super::challenge::Challenge;
use super::connection::Connection;
use super::http::{self, Answer};
use super::report::Report;
use super::target::{Scheme, Target};
use super::{connect, tls};
use crate::credentials::Credentials;
use ::http::{StatusCode, Uri};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::time::Duration;
use tokio::time::timeout;

const WRONG: &str = "check it on the registry's machine: roadstead htpasswd -v FILE USER; then \
                     docker logout and docker login";

/// The inputs of the check.
pub(super) struct Login<'a> {
    pub(super) connection: &'a Connection,
    pub(super) trust_stores: &'a TrustStores,
    pub(super) credentials: Option<&'a Credentials>,
    pub(super) local: bool,
    pub(super) limit: Duration,
}

impl Login<'_> {
    /// Reports the challenge in the answer to `GET /v2/`, and tries to log in.
    pub(super) async fn examine(&self, answer: &Answer, report: &mut Report<'_>) {
        if answer.status != StatusCode::UNAUTHORIZED {
            if self.credentials.is_some() {
                report.warn(
                    "the password was not tried: the registry does not require a login",
                    "to require one, set REGISTRY_AUTH=htpasswd and REGISTRY_AUTH_HTPASSWD_PATH=FILE",
                );
            }
            return;
        }
        let challenges = Challenge::all(&answer.headers);
        let find = |scheme: &str| challenges.iter().find(|challenge| challenge.scheme == scheme);
        if let Some(bearer) = find("bearer") {
            self.bearer(bearer, report).await;
        } else if let Some(basic) = find("basic") {
            self.basic(basic, report).await;
        } else {
            let schemes: Vec<_> = challenges.iter().map(|c| c.scheme.as_str()).collect();
            report.fail(
                format!(
                    "401 without an authentication scheme that clients support ({})",
                    schemes.join(", ")
                ),
                "configure the registry or proxy to send WWW-Authenticate: Basic or Bearer",
            );
        }
    }

    async fn basic(&self, challenge: &Challenge, report: &mut Report<'_>) {
        let realm = challenge.parameter("realm").unwrap_or_default();
        let what = format!("login: user and password (Basic, realm {realm:?})");
        if self.connection.scheme == Scheme::Http && !self.local {
            report.warn(
                format!("{what} over plain HTTP, where the password can be intercepted"),
                "give the registry a certificate: roadstead cert NAME",
            );
        } else {
            report.ok(what);
        }
        let Some(credentials) = self.credentials else {
            self.without(report);
            return;
        };
        if self.may_send(report) {
            let answer = self.connection.get("/v2/", Some(&credentials.basic())).await;
            verdict(answer.map(|a| a.status), &credentials.user, WRONG, report);
        }
    }

    fn without(&self, report: &mut Report<'_>) {
        let authority = &self.connection.authority;
        report.ok(format!(
            "without docker login {authority}, Docker will say: no basic auth credentials"
        ));
    }

    /// Whether a password may be sent to the registry.
    fn may_send(&self, report: &mut Report<'_>) -> bool {
        if !self.connection.safe {
            let fix = match self.connection.scheme {
                Scheme::Https => {
                    "make this machine trust the certificate first, see above".to_owned()
                }
                Scheme::Http => format!(
                    "to send it over plain HTTP anyway: roadstead doctor http://{}",
                    self.connection.authority
                ),
            };
            report.warn("the password was not tried: it could be intercepted", fix);
        }
        self.connection.safe
    }

    async fn bearer(&self, challenge: &Challenge, report: &mut Report<'_>) {
        let realm = challenge.parameter("realm").unwrap_or_default();
        let service = challenge.parameter("service");
        let Some((uri, target, scheme)) = parse(realm) else {
            report.fail(
                format!("login by token (Bearer), but its realm is not a URL: {realm:?}"),
                "set REGISTRY_AUTH_TOKEN_REALM to the URL of the token service",
            );
            return;
        };
        report.ok(format!(
            "login: by token (Bearer) from {realm}, service {:?}",
            service.unwrap_or_default()
        ));
        let readable = scheme == Scheme::Http && self.connection.scheme == Scheme::Https;
        if readable {
            report.fail(
                "the token service uses plain HTTP, while the registry uses HTTPS: passwords can \
                 be intercepted, and some clients refuse",
                "set REGISTRY_AUTH_TOKEN_REALM to an https URL; behind a proxy that terminates \
                 TLS, configure it to send X-Forwarded-Proto: https",
            );
        }
        let service_query = service.map(|service| format!("service={}", encode(service)));
        let mut query = service_query.unwrap_or_default();
        let anonymous = self.token(&uri, &target, scheme, &query, None).await;
        if !reachable(anonymous.as_ref(), report) {
            return;
        }
        let Some(credentials) = self.credentials else {
            self.without(report);
            return;
        };
        let own = self.same(&target, scheme);
        let exposed = scheme == Scheme::Http && !(own && self.connection.safe);
        if readable || exposed {
            report.warn(
                "the password was not tried: the token service uses plain HTTP",
                "serve the token service over https",
            );
        } else if self.may_send(report) {
            // The registry must be trusted even if the token service is
            // another server: an impostor would name a service of its own.
            query = format!("{query}&account={}", encode(&credentials.user));
            let query = query.trim_start_matches('&');
            let answer = self.token(&uri, &target, scheme, query, Some(&credentials.basic())).await;
            self.try_token(answer, credentials, report).await;
        }
    }

    async fn try_token(
        &self,
        answer: Result<Answer, String>,
        credentials: &Credentials,
        report: &mut Report<'_>,
    ) {
        let status = answer.as_ref().map(|answer| answer.status).map_err(Clone::clone);
        if !verdict(status, &credentials.user, WRONG, report) {
            return;
        }
        let token = answer.ok().and_then(|answer| token(&answer.body));
        let Some(token) = token else {
            report.fail(
                "the token service answered 200 without a token",
                "check that REGISTRY_AUTH_TOKEN_REALM is the URL of the token service itself",
            );
            return;
        };
        let answer = self.connection.get("/v2/", Some(&format!("Bearer {token}"))).await;
        match answer.map(|answer| answer.status) {
            Ok(StatusCode::OK) => report.ok("the registry accepts the token"),
            Ok(status) => report.fail(
                format!("the registry does not accept the token: {status}"),
                "configure registry and token service with the same service, issuer and keys \
                 (REGISTRY_AUTH_TOKEN_*), and synchronise their clocks",
            ),
            Err(error) => report.fail(
                format!("no answer from the registry to the token: {error}"),
                "see the registry's log",
            ),
        }
    }

    /// Asks the token service for a token. If it is the registry itself, the
    /// connection is made the same way; otherwise its certificate must be
    /// trusted.
    async fn token(
        &self,
        uri: &Uri,
        target: &Target,
        scheme: Scheme,
        query: &str,
        authorization: Option<&str>,
    ) -> Result<Answer, String> {
        let separator = if uri.query().is_some() { '&' } else { '?' };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let path = format!("{path}{separator}{query}");
        if self.same(target, scheme) {
            return self.connection.get(&path, authorization).await;
        }
        let port = target.port.unwrap_or(scheme.port());
        let host = target.host.as_str();
        let found = timeout(self.limit, tokio::net::lookup_host((host, port))).await;
        let addresses = match found {
            Ok(Ok(addresses)) => addresses.collect::<Vec<_>>(),
            Ok(Err(error)) => return Err(format!("cannot resolve {host}: {error}")),
            Err(_) => return Err(format!("no name server answered for {host}")),
        };
        let address = addresses.first().ok_or_else(|| format!("{host} has no address"))?;
        let stream = connect::open(*address, self.limit)
            .await
            .map_err(|error| format!("cannot connect to {address}: {error}"))?;
        let stream: Box<dyn http::Stream> = match scheme {
            Scheme::Http => Box::new(stream),
            Scheme::Https => {
                let roots = self.trust_stores.all.store.clone();
                tls::verified_handshake(stream, host, roots, self.limit).await?
            }
        };
        http::get(stream, &target.authority(), &path, authorization, self.limit).await
    }

    /// Whether the token service is the registry itself.
    fn same(&self, target: &Target, scheme: Scheme) -> bool {
        let with_port = |authority: &str, scheme: Scheme| {
            let parsed: Option<Target> = authority.parse().ok();
            parsed.map(|target| (target.host.clone(), target.port.unwrap_or(scheme.port())))
        };
        scheme == self.connection.scheme
            && with_port(&self.connection.authority, scheme)
                == with_port(&target.authority(), scheme)
    }
}

fn reachable(answer: Result<&Answer, &String>, report: &mut Report<'_>) -> bool {
    let fix = "start the token service, and check its name, port and certificate: roadstead \
               doctor with its URL says more; or correct REGISTRY_AUTH_TOKEN_REALM";
    match answer {
        Err(error) => report.fail(format!("cannot reach the token service: {error}"), fix),
        Ok(answer) if answer.status.is_server_error() || answer.status == StatusCode::NOT_FOUND => {
            report.fail(format!("the token service answers {}", answer.status), fix);
        }
        Ok(answer) => {
            report.ok(format!("the token service answers: {}", answer.status));
            return true;
        }
    }
    false
}

/// Reports whether a password was accepted.
fn verdict(
    status: Result<StatusCode, String>,
    user: &str,
    fix: &str,
    report: &mut Report<'_>,
) -> bool {
    match status {
        Ok(StatusCode::OK) => {
            report.ok(format!("the password of {user} is correct"));
            return true;
        }
        Ok(StatusCode::UNAUTHORIZED) => report.fail(
            format!(
                "the password of {user} is wrong, or there is no such user; Docker will say: \
                 unauthorized"
            ),
            fix,
        ),
        Ok(StatusCode::FORBIDDEN) => report.fail(
            format!("{user} is authenticated but has no access; Docker will say: denied"),
            "grant the user access in REGISTRY_AUTH_RULES, or ask the registry's operator",
        ),
        Ok(StatusCode::TOO_MANY_REQUESTS) => report.warn(
            "the password was not checked: too many attempts (429)",
            "wait, and fix the client that keeps sending a wrong password",
        ),
        Ok(status) => {
            report.fail(format!("the answer to the password of {user} is {status}"), fix);
        }
        Err(error) => report.fail(
            format!("no answer to the password of {user}: {error}"),
            "see the registry's log",
        ),
    }
    false
}

fn parse(realm: &str) -> Option<(Uri, Target, Scheme)> {
    let uri: Uri = realm.parse().ok()?;
    let target: Target = realm.parse().ok()?;
    let scheme = target.scheme?;
    Some((uri, target, scheme))
}

fn token(body: &[u8]) -> Option<String> {
    let json: serde_json::Value = serde_json::from_slice(body).ok()?;
    let token = json.get("token").or_else(|| json.get("access_token"))?;
    Some(token.as_str()?.to_owned())
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}
