//! The connection to the registry: TLS or plain HTTP.

use super::chain::{self, TrustStores};
use super::connect;
use super::engine::Insecure;
use super::http::{self, Answer};
use super::report::Report;
use super::target::{Scheme, Target};
use super::tls::{self, Failure, Identity, Proof, Session};
use rustls::AlertDescription;
use rustls::pki_types::CertificateDer;
use std::net::SocketAddr;
use std::time::Duration;

/// How the registry is reached: its address, scheme and certificate.
pub(super) struct Connection {
    pub(super) address: SocketAddr,
    /// As in the `Host` header.
    pub(super) authority: String,
    pub(super) scheme: Scheme,
    /// Whether a password can be sent safely.
    pub(super) safe: bool,
    host: String,
    /// The certificate that was examined.
    certificate: Option<CertificateDer<'static>>,
    /// Whether the server asks for a client certificate.
    asks_for_certificate: bool,
    identity: Option<Identity>,
    limit: Duration,
}

/// How to connect, and what to check the server against.
pub(super) struct ConnectOptions<'a> {
    pub(super) target: &'a Target,
    pub(super) trust_stores: &'a TrustStores,
    /// What Docker on this machine is told of the registry.
    pub(super) insecure: Insecure,
    pub(super) identity: Option<Identity>,
    /// Whether the registry is on this machine.
    pub(super) local: bool,
    pub(super) limit: Duration,
}

impl Connection {
    /// Detects whether an address speaks TLS or plain HTTP, and reports it and
    /// its problems.
    pub(super) async fn find(
        address: SocketAddr,
        options: ConnectOptions<'_>,
        report: &mut Report<'_>,
    ) -> Option<Self> {
        let ConnectOptions { target, trust_stores, insecure, identity, local, limit } = options;
        let mut connection = Self {
            address,
            authority: target.authority(),
            scheme: Scheme::Https,
            safe: false,
            host: target.host.clone(),
            certificate: None,
            asks_for_certificate: false,
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
        match tls::handshake(stream, &target.host, connection.identity.as_ref(), limit).await {
            Ok((session, _)) => {
                connection.asks_for_certificate = session.asks_for_certificate;
                connection.certificate = session.chain.first().cloned();
                connection.safe = encrypted(&session, target, trust_stores, local, report);
                if let Insecure::Listed { entry, place } = insecure {
                    report.warn(
                        format!(
                            "Docker on this machine does not verify the certificate: {place} \
                             {entry} under insecure-registries"
                        ),
                        "have Docker trust the CA, remove the entry, and restart Docker",
                    );
                }
                Some(connection)
            }
            Err(Failure::NotTls(why)) => {
                connection.scheme = Scheme::Http;
                let plain = connection.plain(target, local, &insecure, &why, report).await;
                plain.then_some(connection)
            }
            Err(Failure::Refused(alert)) => {
                let (what, fix) = refusal(alert, &target.host);
                report.fail(what, fix);
                None
            }
            Err(Failure::Other(why)) => {
                report.fail(
                    format!("the TLS handshake failed: {why}"),
                    "enable TLS 1.2 or 1.3 with common cipher suites on the server",
                );
                None
            }
        }
    }

    /// Whether the server speaks plain HTTP; reports what that means.
    async fn plain(
        &mut self,
        target: &Target,
        local: bool,
        insecure: &Insecure,
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
             or let each Docker host accept plain HTTP, where passwords can be intercepted: put\n\
             {{\"insecure-registries\": [\"{authority}\"]}}\n\
             into /etc/docker/daemon.json (Docker Desktop: Settings, Docker Engine) and run\n\
             sudo systemctl restart docker",
            host = self.host,
        );
        self.safe = local || target.scheme == Some(Scheme::Http);
        if target.scheme == Some(Scheme::Https) {
            report.fail(
                format!("plain HTTP where HTTPS is expected; Docker will say: {SAYS}"),
                if local { format!("use http://{authority}, or {fix}") } else { fix },
            );
        } else if local {
            report.ok("plain HTTP, which Docker accepts from registries on its own machine");
        } else if matches!(insecure, Insecure::Listed { .. }) {
            report.warn(
                "plain HTTP: anyone on the network path can read and change everything",
                format!("give the registry a certificate: roadstead cert {}", self.host),
            );
        } else {
            report.warn(
                format!(
                    "plain HTTP: anyone on the network path can read and change everything, and \
                     Docker will say: {SAYS}"
                ),
                fix,
            );
        }
        if let Insecure::Listed { entry, place } = insecure {
            report.ok(format!(
                "Docker on this machine accepts plain HTTP: {place} {entry} under \
                 insecure-registries"
            ));
        }
        true
    }

    /// Sends a GET request to the registry; credentials only if the server
    /// shows the certificate that was examined.
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
                let result = tls::handshake(stream, &self.host, identity, self.limit).await;
                let (session, stream) = result.map_err(|failure| match failure {
                    Failure::Refused(alert) => format!("the server refused TLS: {alert:?}"),
                    Failure::NotTls(why) | Failure::Other(why) => why,
                })?;
                let same = session.proof == Proof::Good
                    && session.chain.first() == self.certificate.as_ref();
                if authorization.is_some() && !same {
                    return Err("the server's certificate changed since the check".to_owned());
                }
                stream
            }
        };
        http::get(stream, &self.authority, path, authorization, self.limit).await
    }

    /// Whether a request failed because the registry requires a client
    /// certificate.
    pub(super) fn wants_certificate(&self, error: &str) -> bool {
        self.asks_for_certificate && self.identity.is_none() && {
            let error = error.to_ascii_lowercase();
            error.contains("alert") || error.contains("certificate") || error.contains("closed")
        }
    }
}

/// Reports on a session; returns whether passwords are safe in it.
fn encrypted(
    session: &Session,
    target: &Target,
    trust_stores: &TrustStores,
    local: bool,
    report: &mut Report<'_>,
) -> bool {
    if target.scheme == Some(Scheme::Http) {
        report.fail(
            "TLS where plain HTTP is expected; clients will be told: Client sent an HTTP request \
             to an HTTPS server",
            format!("use https://{0}, and remove {0} from insecure-registries", target.authority()),
        );
    }
    report.ok(format!("TLS: {}", session.protocol));
    if session.asks_for_certificate {
        report.ok("the server asks for a client certificate");
    }
    let trusted = chain::examine(&session.chain, target, trust_stores, local, report);
    if session.proof == Proof::Bad {
        report.fail(
            "the server's signature does not match its certificate",
            "set REGISTRY_HTTP_TLS_KEY to the key of the certificate",
        );
    }
    trusted && session.proof == Proof::Good
}

fn refusal(alert: AlertDescription, host: &str) -> (String, String) {
    let what = format!("the server refused the TLS handshake: {alert:?}");
    let fix = match alert {
        AlertDescription::ProtocolVersion | AlertDescription::InsufficientSecurity => {
            "enable TLS 1.2 or 1.3 on the server: update it or its settings".to_owned()
        }
        AlertDescription::UnrecognisedName => format!(
            "the server has no certificate for {host}: use a name that it has one for, or create \
             one: roadstead cert {host}"
        ),
        AlertDescription::CertificateRequired
        | AlertDescription::BadCertificate
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied => CLIENT_CERTIFICATE.to_owned(),
        _ => format!(
            "if it requires a client certificate, give one with --client-cert and --client-key; \
             otherwise see the server's log, and check that it has a certificate for {host}"
        ),
    };
    (what, fix)
}

/// The fix where a client certificate is required.
pub(super) const CLIENT_CERTIFICATE: &str = "\
    create a client certificate in the directory of the registry's CA (roadstead cert --client \
    NAME), give it to this program with --client-cert and --client-key, and to Docker as \
    client.cert and client.key beside ca.crt in /etc/docker/certs.d";
