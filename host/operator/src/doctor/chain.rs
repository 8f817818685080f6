//! What a server's certificates say, and whether clients will take them.

use super::report::Report;
use super::target::Target;
use super::trust::{Docker, Roots, Verdict};
use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::time::ASN1Time;

/// How long before its end a certificate should be renewed.
const RENEW: Duration = Duration::from_hours(14 * 24);

const DAY: u64 = 24 * 60 * 60;

/// How many certificates and names of a server are shown.
const MAX_SHOWN: usize = 10;

/// Where to look for authorities.
pub(super) struct Knowledge {
    pub(super) system: Roots,
    /// The system's and those of `--ca`.
    pub(super) all: Roots,
    /// `--ca`, for the steps that are shown.
    pub(super) files: Vec<PathBuf>,
    pub(super) docker: Docker,
}

/// Reports on the certificates; returns whether clients that know what this
/// one knows will take them. `local` says that Docker takes any, as the
/// registry is on its own machine.
pub(super) fn examine(
    chain: &[CertificateDer<'static>],
    target: &Target,
    knowledge: &Knowledge,
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
                    "make a new one: roadstead cert NAME",
                );
                return false;
            }
        }
    }
    let Some(own) = links.first() else {
        report.fail("the server sent no certificate", "make one: roadstead cert NAME");
        return false;
    };
    for (number, link) in links.iter().enumerate() {
        report.ok(format!(
            "certificate {} of {}: {}, signed by {}, until {}",
            number + 1,
            chain.len(),
            name(link.subject()),
            if link.subject() == link.issuer() { "itself".to_owned() } else { name(link.issuer()) },
            day(link.validity().not_after),
        ));
    }
    // All are reported, whichever fails first.
    let in_time = dates(&links, report);
    let named = names(own, &chain[0], target, report);
    trust(chain, &links, target, knowledge, local, report) && in_time && named
}

fn dates(links: &[X509Certificate<'_>], report: &mut Report<'_>) -> bool {
    let now = since_epoch().as_secs().cast_signed();
    let mut good = true;
    for (number, link) in links.iter().enumerate() {
        let (start, end) = (link.validity().not_before, link.validity().not_after);
        let what = format!("certificate {}", number + 1);
        let fix = if number == 0 {
            "renew it (roadstead cert NAME... in the same directory does), and restart the \
             registry if it still shows the old one; or set this machine's clock right"
        } else {
            "replace it in the file of REGISTRY_HTTP_TLS_CERTIFICATE by its successor"
        };
        let left = end.timestamp() - now;
        if left < 0 {
            let what = format!(
                "{what} expired on {}; Docker will say: x509: certificate has expired or is not \
                 yet valid",
                day(end)
            );
            report.fail(what, fix);
            good = false;
        } else if start.timestamp() > now {
            let what = format!(
                "{what} is valid only from {}; Docker will say: x509: certificate has expired or \
                 is not yet valid",
                day(start)
            );
            report.fail(what, "set the clocks right: timedatectl set-ntp true, here and where the certificate is made");
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
        "make a certificate with this name in it: roadstead cert {host}, and all other names that \
         clients use; or use a name that is in it"
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
    knowledge: &Knowledge,
    local: bool,
    report: &mut Report<'_>,
) -> bool {
    let moment = moment(&links[0]);
    let judge = |roots: &Roots| match roots.judge(chain, moment) {
        // Whatever else is wrong with it, nobody knows it.
        Verdict::Refused(_) if links[0].subject() == links[0].issuer() => Verdict::Unknown,
        verdict => verdict,
    };
    let verdict = judge(&knowledge.all);
    let docker = knowledge.docker.roots.as_ref().map(|roots| good(&judge(roots)));
    let file = knowledge.docker.file.display();
    match &verdict {
        Verdict::Trusted if good(&judge(&knowledge.system)) => {
            report.ok("this machine trusts its authority");
        }
        Verdict::Trusted => report.ok("it is trusted by --ca, and not by this machine without"),
        Verdict::TrustedAsAuthority => report.warn(
            format!(
                "it is trusted, but {}: Docker takes it, other programs refuse it",
                if links[0].is_ca() {
                    "it is the certificate of an authority (CA:TRUE)"
                } else {
                    "is its own authority in an old way"
                }
            ),
            format!("make an authority and a certificate apart: roadstead cert {}", target.host),
        ),
        Verdict::Unknown if docker == Some(true) => {
            report
                .ok(format!("Docker on this machine trusts it, by {file}; other programs do not"));
        }
        Verdict::Unknown => unknown(links, target, knowledge, local, report),
        Verdict::Refused(why) => report.fail(
            format!("its authority is known, but clients refuse the certificate: {why}"),
            format!("make a new one: roadstead cert {}", target.host),
        ),
    }
    if local {
        // Docker does not ask.
    } else if good(&verdict) {
        docker_too(docker, &judge(&knowledge.system), knowledge, report);
    } else if docker == Some(false) {
        report.fail(
            format!("{file} is there, but does not make Docker trust it: it is another authority"),
            format!("replace {file} by the authority's certificate: ca.crt of roadstead cert"),
        );
    }
    good(&verdict) || docker == Some(true)
}

/// Whether Docker on this machine knows what this program was told.
fn docker_too(
    docker: Option<bool>,
    system: &Verdict,
    knowledge: &Knowledge,
    report: &mut Report<'_>,
) {
    let file = knowledge.docker.file.display();
    let ca = knowledge.files.first().map_or_else(|| "ca.crt".into(), |file| file.to_string_lossy());
    let fix = format!("sudo install -D -m 644 {ca} \"{file}\"");
    match docker {
        Some(true) => report.ok(format!("Docker on this machine trusts it, by {file}")),
        Some(false) => {
            report.warn(format!("{file} is there, but is another authority's certificate"), fix);
        }
        None if !good(system) => {
            let what = format!("Docker on this machine would not trust it: there is no {file}");
            report.warn(what, format!("where Docker is to use it: {fix}"));
        }
        None => {}
    }
}

fn unknown(
    links: &[X509Certificate<'_>],
    target: &Target,
    knowledge: &Knowledge,
    local: bool,
    report: &mut Report<'_>,
) {
    let says = format!(
        "{} will say: x509: certificate signed by unknown authority",
        if local { "Docker takes any from its own machine, other clients" } else { "Docker" }
    );
    let last = top(links);
    let issuer = name(last.issuer());
    let to_docker = format!(
        "for Docker copy it to \"{}\"; roadstead cert {} shows the steps for other clients",
        knowledge.docker.file.display(),
        target.host,
    );
    if last.subject() == last.issuer() {
        let what = if links.len() == 1 { "it is signed by itself".to_owned() } else { issuer };
        report.fail(
            format!("nobody here knows the authority, {what}; {says}"),
            format!("give clients the authority's certificate (ca.crt of roadstead cert), and this program --ca FILE; {to_docker}"),
        );
    } else if knowledge.all.know(last.issuer().as_raw()) {
        report.fail(
            format!("an authority of the name {issuer} is known here, but did not sign it; {says}"),
            format!(
                "the authority was made anew: give clients its present certificate; {to_docker}"
            ),
        );
    } else {
        report.fail(
            format!(
                "the certificate of {issuer}, who signed it, is neither sent nor known here; {says}"
            ),
            format!(
                "if {issuer} is your own root, give clients its certificate, and this program \
                 --ca FILE; {to_docker}\nif it is an intermediate authority, append its \
                 certificate to the file of REGISTRY_HTTP_TLS_CERTIFICATE"
            ),
        );
    }
}

/// The last certificate on the way from the server's own.
fn top<'a, 'b>(links: &'a [X509Certificate<'b>]) -> &'a X509Certificate<'b> {
    let mut at = &links[0];
    // No way is longer than there are certificates.
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

/// When to judge: now, or, as dates are reported apart, when it was valid.
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
    if text.is_empty() { "a certificate without a name".to_owned() } else { text }
}

fn day(time: ASN1Time) -> String {
    time.to_datetime().date().to_string()
}
