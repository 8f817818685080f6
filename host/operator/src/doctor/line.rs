//! How the registry is reached, once that is known.

use super::chain::{self, Knowledge};
use super::connect;
use super::http::{self, Answer};
use super::report::Report;
use super::target::{Scheme, Target};
use super::tls::{self, Failure, Identity, Proof, Session};
use rustls::AlertDescription;
use rustls::pki_types::CertificateDer;
use std::net::SocketAddr;
use std::time::Duration;

/// A way to the registry.
pub(super) struct Line {
    pub(super) address: SocketAddr,
    /// As in the `Host` header.
    pub(super) authority: String,
    pub(super) scheme: Scheme,
    /// Whether a password can be sent over it.
    pub(super) safe: bool,
    host: String,
    /// The certificate that was examined.
    own: Option<CertificateDer<'static>>,
    /// Whether the server asked for a client's certificate.
    asked: bool,
    identity: Option<Identity>,
    limit: Duration,
}

/// What does not change between the ways.
pub(super) struct Circumstances<'a> {
    pub(super) target: &'a Target,
    pub(super) knowledge: &'a Knowledge,
    pub(super) identity: Option<Identity>,
    /// Whether the registry is on this machine.
    pub(super) local: bool,
    pub(super) limit: Duration,
}

impl Line {
    /// Finds out whether TLS or plain HTTP is spoken at an address, and
    /// reports it and what is wrong with it.
    pub(super) async fn find(
        address: SocketAddr,
        circumstances: Circumstances<'_>,
        report: &mut Report<'_>,
    ) -> Option<Self> {
        let Circumstances { target, knowledge, identity, local, limit } = circumstances;
        let mut line = Self {
            address,
            authority: target.authority(),
            scheme: Scheme::Https,
            safe: false,
            host: target.host.clone(),
            own: None,
            asked: false,
            identity,
            limit,
        };
        let stream = match connect::open(address, limit).await {
            Ok(stream) => stream,
            Err(error) => {
                report.fail(format!("cannot connect to {address} again: {error}"), "try again");
                return None;
            }
        };
        match tls::shake_hands(stream, &target.host, line.identity.as_ref(), limit).await {
            Ok((session, _)) => {
                line.asked = session.asked;
                line.own = session.chain.first().cloned();
                line.safe = encrypted(&session, target, knowledge, local, report);
                Some(line)
            }
            Err(Failure::NotTls(why)) => {
                line.scheme = Scheme::Http;
                line.plain(target, local, &why, report).await.then_some(line)
            }
            Err(Failure::Refused(alert)) => {
                let (what, fix) = refusal(alert, &target.host);
                report.fail(what, fix);
                None
            }
            Err(Failure::Other(why)) => {
                report.fail(
                    format!("there is no agreement on TLS: {why}"),
                    "have the server speak TLS 1.2 or 1.3 with usual ciphers",
                );
                None
            }
        }
    }

    /// Whether plain HTTP is spoken, and what that means.
    async fn plain(
        &mut self,
        target: &Target,
        local: bool,
        why: &str,
        report: &mut Report<'_>,
    ) -> bool {
        const SAYS: &str = "http: server gave HTTP response to HTTPS client";
        if let Err(error) = self.get("/v2/", None).await {
            report.fail(
                format!(
                    "{} speaks neither TLS ({why}) nor HTTP ({error}); Docker will say: tls: \
                     first record does not look like a TLS handshake",
                    self.address
                ),
                "check the port: another program may listen there",
            );
            return false;
        }
        let authority = &self.authority;
        let fix = format!(
            "give the registry a certificate: roadstead cert {host}\n\
             or have each Docker host accept it as it is, passwords readable on the way: put\n\
             {{\"insecure-registries\": [\"{authority}\"]}}\n\
             into /etc/docker/daemon.json (Docker Desktop: Settings, Docker Engine) and run\n\
             sudo systemctl restart docker",
            host = self.host,
        );
        self.safe = local || target.scheme == Some(Scheme::Http);
        if target.scheme == Some(Scheme::Https) {
            report.fail(
                format!("plain HTTP where https is expected; Docker will say: {SAYS}"),
                if local { format!("use http://{authority}, or {fix}") } else { fix },
            );
        } else if local {
            report.ok("plain HTTP, which Docker speaks with registries on its own machine");
        } else {
            report.warn(
                format!(
                    "plain HTTP: whoever is on the way can read and change everything, and \
                     Docker will say: {SAYS}"
                ),
                fix,
            );
        }
        true
    }

    /// Asks the registry for something. With a password, only the server whose
    /// certificate was examined is asked.
    pub(super) async fn get(
        &self,
        path: &str,
        authorization: Option<&str>,
    ) -> Result<Answer, String> {
        let stream = connect::open(self.address, self.limit).await;
        let stream = stream.map_err(|error| format!("cannot connect: {error}"))?;
        let stream: Box<dyn http::Stream> = match self.scheme {
            Scheme::Http => Box::new(stream),
            Scheme::Https => {
                let identity = self.identity.as_ref();
                let result = tls::shake_hands(stream, &self.host, identity, self.limit).await;
                let (session, stream) = result.map_err(|failure| match failure {
                    Failure::Refused(alert) => format!("the server refused TLS: {alert:?}"),
                    Failure::NotTls(why) | Failure::Other(why) => why,
                })?;
                let same =
                    session.proof == Proof::Good && session.chain.first() == self.own.as_ref();
                if authorization.is_some() && !same {
                    return Err("the server shows another certificate than before".to_owned());
                }
                stream
            }
        };
        http::get(stream, &self.authority, path, authorization, self.limit).await
    }

    /// Why the registry did not answer, if that is because it wants a
    /// client's certificate.
    pub(super) fn wants_certificate(&self, error: &str) -> bool {
        self.asked && self.identity.is_none() && {
            let error = error.to_ascii_lowercase();
            error.contains("alert") || error.contains("certificate") || error.contains("closed")
        }
    }
}

/// Reports on a session; returns whether it is one for passwords.
fn encrypted(
    session: &Session,
    target: &Target,
    knowledge: &Knowledge,
    local: bool,
    report: &mut Report<'_>,
) -> bool {
    if target.scheme == Some(Scheme::Http) {
        report.fail(
            "TLS where plain http is expected; clients will be told: Client sent an HTTP request \
             to an HTTPS server",
            format!("use https://{0}, and take {0} out of insecure-registries", target.authority()),
        );
    }
    report.ok(format!("TLS: {}", session.protocol));
    if session.asked {
        report.ok("the server asks for a client's certificate");
    }
    let trusted = chain::examine(&session.chain, target, knowledge, local, report);
    if session.proof == Proof::Bad {
        report.fail(
            "the server's signature does not fit its certificate",
            "name the key that belongs to the certificate in REGISTRY_HTTP_TLS_KEY",
        );
    }
    trusted && session.proof == Proof::Good
}

fn refusal(alert: AlertDescription, host: &str) -> (String, String) {
    let what = format!("the server speaks TLS and refuses: {alert:?}");
    let fix = match alert {
        AlertDescription::ProtocolVersion | AlertDescription::InsufficientSecurity => {
            "have the server speak TLS 1.2 or 1.3: update it or its settings".to_owned()
        }
        AlertDescription::UnrecognisedName => format!(
            "the server has no certificate for {host}: use a name that it knows, or make one: \
             roadstead cert {host}"
        ),
        AlertDescription::CertificateRequired
        | AlertDescription::BadCertificate
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied => CLIENT_CERTIFICATE.to_owned(),
        _ => format!(
            "if it wants a client's certificate, name one with --client-cert and --client-key; \
             else see the server's log, and check that it has a certificate for {host}"
        ),
    };
    (what, fix)
}

/// What to do where a client must have a certificate.
pub(super) const CLIENT_CERTIFICATE: &str = "\
    have a certificate made where the registry's authority is (roadstead cert --client NAME), name \
    it here with --client-cert and --client-key, and give it to Docker as client.cert and \
    client.key beside ca.crt in /etc/docker/certs.d";
