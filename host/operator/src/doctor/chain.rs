//! Checks of a server's certificates, and whether clients accept them.

use super::report::Report;
use super::target::Target;
use super::trust::{Docker, Roots, Verdict};
use crate::date::with_time_of_day;
use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::time::ASN1Time;

/// How long before it expires a certificate should be renewed.
const RENEW: Duration = Duration::from_hours(14 * 24);

const DAY: u64 = 24 * 60 * 60;

/// The most certificates and names of a server that are shown.
///
/// Limit: certificates and names of a server that are shown; test: none, more are
/// left out.
const MAX_SHOWN: usize = 10;

/// The CAs that are trusted.
pub(super) struct TrustStores {
    pub(super) system: Roots,
    /// The system's and those of `--ca`.
    pub(super) all: Roots,
    /// The files of `--ca`, for the printed steps.
    pub(super) files: Vec<PathBuf>,
    pub(super) docker: Docker,
}

/// Reports on the certificates; returns whether clients that trust the same CAs
/// accept them. `local` means that the registry is on this machine, where
/// Docker accepts any certificate.
pub(super) fn examine(
    chain: &[CertificateDer<'static>],
    target: &Target,
    trust_stores: &TrustStores,
    local: bool,
    report: &mut Report<'_>,
) -> bool {
    let mut links = Vec::new();
    for certificate in chain.iter().take(MAX_SHOWN) {
        match X509Certificate::from_der(certificate) {
            Ok((_, link)) => links.push(link),
            Err(error) => {
                report.fail(
                    format!("a certificate of the server cannot be read: {error}"),
                    "create a new one: roadstead cert NAME",
                );
                return false;
            }
        }
    }
    let Some(own) = links.first() else {
        report.fail("the server sent no certificate", "create one: roadstead cert NAME");
        return false;
    };
    for (number, link) in links.iter().enumerate() {
        report.ok(format!(
            "certificate {} of {}: {}, issued by {}, valid until {}",
            number + 1,
            chain.len(),
            name(link.subject()),
            if link.subject() == link.issuer() { "itself".to_owned() } else { name(link.issuer()) },
            day(link.validity().not_after),
        ));
    }
    // No short circuit: all problems are reported.
    let in_time = dates(&links, report);
    let named = names(own, &chain[0], target, report);
    trust(chain, &links, target, trust_stores, local, report) && in_time && named
}

fn dates(links: &[X509Certificate<'_>], report: &mut Report<'_>) -> bool {
    let now = since_epoch().as_secs().cast_signed();
    let mut good = true;
    for (number, link) in links.iter().enumerate() {
        let (start, end) = (link.validity().not_before, link.validity().not_after);
        let what = format!("certificate {}", number + 1);
        let fix = if number == 0 {
            "renew it (roadstead cert NAME... in the same directory), and restart the registry if \
             it still sends the old one; or correct this machine's clock"
        } else {
            "replace it in the file of REGISTRY_HTTP_TLS_CERTIFICATE with a renewed one"
        };
        let left = end.timestamp() - now;
        if left < 0 {
            let what = format!(
                "{what} expired on {}, and here it is {}; Docker will say: x509: certificate has \
                 expired or is not yet valid",
                with_time_of_day(end.timestamp()),
                with_time_of_day(now)
            );
            report.fail(what, fix);
            good = false;
        } else if start.timestamp() > now {
            let what = format!(
                "{what} is valid only from {}, and here it is {}; Docker will say: x509: \
                 certificate has expired or is not yet valid",
                with_time_of_day(start.timestamp()),
                with_time_of_day(now)
            );
            report.fail(
                what,
                "correct the clocks, here and where the certificate is created: timedatectl \
                 set-ntp true",
            );
            good = false;
        } else if left.unsigned_abs() < RENEW.as_secs() {
            let days = left.unsigned_abs() / DAY;
            report.warn(format!("{what} expires in {days} days, on {}", day(end)), fix);
        }
    }
    good
}

fn names(
    own: &X509Certificate<'_>,
    der: &CertificateDer<'_>,
    target: &Target,
    report: &mut Report<'_>,
) -> bool {
    let host = &target.host;
    let fix = format!(
        "create a certificate that contains this name and all others that clients use: roadstead \
         cert {host} …; or use a name that it contains"
    );
    let names = alternative_names(own);
    if names.is_empty() {
        report.fail(
            format!(
                "the certificate has no subjectAltName, only {}; Docker will say: x509: \
                 certificate relies on legacy Common Name field, use SANs instead",
                name(own.subject())
            ),
            fix,
        );
        return false;
    }
    let valid = ServerName::try_from(host.as_str()).is_ok_and(|name| {
        ParsedCertificate::try_from(der).and_then(|own| verify_server_name(&own, &name)).is_ok()
    });
    let shown = names.iter().take(MAX_SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if valid {
        report.ok(format!("the certificate is valid for {host}: {shown}"));
        return true;
    }
    let addresses = names.iter().any(|name| name.parse::<IpAddr>().is_ok());
    let says = if target.address().is_some() && !addresses {
        format!(
            "x509: cannot validate certificate for {host} because it doesn't contain any IP SANs"
        )
    } else {
        format!("x509: certificate is valid for {shown}, not {host}")
    };
    report.fail(
        format!(
            "the certificate is not valid for {host}, but for {shown}; Docker will say: {says}"
        ),
        fix,
    );
    false
}

fn alternative_names(own: &X509Certificate<'_>) -> Vec<String> {
    let extensions = own.iter_extensions().filter_map(|e| match e.parsed_extension() {
        ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
        _ => None,
    });
    extensions
        .flatten()
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            GeneralName::IPAddress(bytes) => match bytes.len() {
                4 => <[u8; 4]>::try_from(*bytes).ok().map(|b| IpAddr::from(b).to_string()),
                _ => <[u8; 16]>::try_from(*bytes).ok().map(|b| IpAddr::from(b).to_string()),
            },
            _ => None,
        })
        .collect()
}

fn trust(
    chain: &[CertificateDer<'static>],
    links: &[X509Certificate<'_>],
    target: &Target,
    trust_stores: &TrustStores,
    local: bool,
    report: &mut Report<'_>,
) -> bool {
    let moment = moment(&links[0]);
    let judge = |roots: &Roots| match roots.judge(chain, moment) {
        // Whatever else is wrong with it, its issuer is unknown.
        Verdict::Refused(_) if links[0].subject() == links[0].issuer() => Verdict::Unknown,
        verdict => verdict,
    };
    let verdict = judge(&trust_stores.all);
    let docker = trust_stores.docker.roots.as_ref().map(|roots| good(&judge(roots)));
    let file = trust_stores.docker.file.display();
    match &verdict {
        Verdict::Trusted if good(&judge(&trust_stores.system)) => {
            report.ok("this machine's trust store contains its CA");
        }
        Verdict::Trusted => {
            report.ok("it is trusted with --ca, but not by this machine's trust store");
        }
        Verdict::TrustedAsAuthority => report.warn(
            format!(
                "it is trusted, but {}: Docker accepts it, other programs reject it",
                if links[0].is_ca() {
                    "it is a CA certificate (CA:TRUE)"
                } else {
                    "it is its own CA, in an obsolete form"
                }
            ),
            format!("create a CA and a separate certificate: roadstead cert {}", target.host),
        ),
        Verdict::Unknown if docker == Some(true) => {
            report
                .ok(format!("Docker on this machine trusts it with {file}; other programs do not"));
        }
        Verdict::Unknown => unknown(links, target, trust_stores, local, report),
        Verdict::Refused(why) => report.fail(
            format!("its CA is trusted, but clients reject the certificate: {why}"),
            format!("create a new one: roadstead cert {}", target.host),
        ),
    }
    if local {
        // Docker does not verify it.
    } else if good(&verdict) {
        docker_too(docker, &judge(&trust_stores.system), trust_stores, report);
    } else if docker == Some(false) {
        report.fail(
            format!("{file} exists, but does not make Docker trust it: it is another CA"),
            format!("replace {file} with the CA's certificate: ca.crt of roadstead cert"),
        );
    }
    good(&verdict) || docker == Some(true)
}

/// Reports whether Docker on this machine trusts the CA too.
fn docker_too(
    docker: Option<bool>,
    system: &Verdict,
    trust_stores: &TrustStores,
    report: &mut Report<'_>,
) {
    let file = trust_stores.docker.file.display();
    let ca =
        trust_stores.files.first().map_or_else(|| "ca.crt".into(), |file| file.to_string_lossy());
    let fix = format!("sudo install -D -m 644 {ca} \"{file}\"");
    match docker {
        Some(true) => report.ok(format!("Docker on this machine trusts it with {file}")),
        Some(false) => {
            report.warn(format!("{file} exists, but is another CA's certificate"), fix);
        }
        None if !good(system) => {
            let what = format!("Docker on this machine does not trust it: {file} does not exist");
            report.warn(what, format!("if Docker is to use this registry: {fix}"));
        }
        None => {}
    }
}

fn unknown(
    links: &[X509Certificate<'_>],
    target: &Target,
    trust_stores: &TrustStores,
    local: bool,
    report: &mut Report<'_>,
) {
    let says = format!(
        "{} will say: x509: certificate signed by unknown authority",
        if local { "Docker accepts any on its own machine; other clients" } else { "Docker" }
    );
    let last = top(links);
    let issuer = name(last.issuer());
    let to_docker = format!(
        "for Docker, copy it to \"{}\"; roadstead cert {} prints the steps for other clients",
        trust_stores.docker.file.display(),
        target.host,
    );
    if last.subject() == last.issuer() {
        let what = if links.len() == 1 {
            "the certificate is self-signed and not trusted here".to_owned()
        } else {
            format!("its CA, {issuer}, is not trusted here")
        };
        report.fail(
            format!("{what}; {says}"),
            format!(
                "give clients the CA's certificate (ca.crt of roadstead cert), and this program \
                 --ca FILE; {to_docker}"
            ),
        );
    } else if trust_stores.all.know(last.issuer().as_raw()) {
        report.fail(
            format!("a CA with the name {issuer} is trusted here, but did not issue it; {says}"),
            format!("the CA was created again: give clients its current certificate; {to_docker}"),
        );
    } else {
        report.fail(
            format!(
                "the certificate of its issuer, {issuer}, is neither sent nor trusted here; {says}"
            ),
            format!(
                "if {issuer} is your own root CA, give clients its certificate, and this program \
                 --ca FILE; {to_docker}\nif it is an intermediate CA, append its certificate to \
                 the file of REGISTRY_HTTP_TLS_CERTIFICATE"
            ),
        );
    }
}

/// The last certificate of the chain that starts at the server's own.
fn top<'a, 'b>(links: &'a [X509Certificate<'b>]) -> &'a X509Certificate<'b> {
    let mut at = &links[0];
    // A chain is not longer than the number of certificates.
    for _ in links {
        match links.iter().find(|link| link.subject() == at.issuer()) {
            Some(next) if !std::ptr::eq(next, at) => at = next,
            _ => break,
        }
    }
    at
}

fn good(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Trusted | Verdict::TrustedAsAuthority)
}

/// The time to verify the chain for: now, or a time when the certificate was
/// valid, because dates are reported separately.
fn moment(own: &X509Certificate<'_>) -> Duration {
    let now = since_epoch();
    let seconds = |time: ASN1Time| Duration::from_secs(time.timestamp().try_into().unwrap_or(0));
    let (start, end) = (seconds(own.validity().not_before), seconds(own.validity().not_after));
    if (start..=end).contains(&now) { now } else { end.saturating_sub(Duration::from_secs(1)) }
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn name(name: &x509_parser::x509::X509Name<'_>) -> String {
    let text = name.to_string();
    if text.is_empty() { "an empty name".to_owned() } else { text }
}

fn day(time: ASN1Time) -> String {
    time.to_datetime().date().to_string()
}
