//! What certificates say.

use roadstead_operator::date::with_time_of_day;
use rustls::pki_types::CertificateDer;
use std::net::IpAddr;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

/// What an operator should know about a server's certificate.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct CertificateSummary {
    /// The DNS names and IP addresses that it is valid for.
    pub(super) names: Vec<String>,
    /// The day on which it expires.
    pub(super) until: String,
    /// Why clients may refuse it.
    pub(super) problems: Vec<String>,
}

impl CertificateSummary {
    /// Reads a certificate. `now` is in seconds since 1970.
    pub(super) fn new(certificate: &CertificateDer<'_>, now: i64) -> anyhow::Result<Self> {
        let (_, certificate) = X509Certificate::from_der(certificate)?;
        let validity = certificate.validity();
        let until = validity.not_after.to_datetime().date().to_string();
        let names: Vec<String> = alternative_names(&certificate).collect();
        let mut problems = Vec::new();
        if validity.not_after.timestamp() < now {
            problems.push(format!(
                "it expired on {}, and here it is {}; renew it, or correct the clock",
                with_time_of_day(validity.not_after.timestamp()),
                with_time_of_day(now)
            ));
        }
        if validity.not_before.timestamp() > now {
            problems.push(format!(
                "it is not valid before {}, and here it is {}; check the clock",
                with_time_of_day(validity.not_before.timestamp()),
                with_time_of_day(now)
            ));
        }
        if names.is_empty() {
            problems.push(
                "clients refuse certificates without subjectAltName (\"relies on legacy Common \
             Name\"); `roadstead cert` makes one with it"
                    .to_owned(),
            );
        }
        Ok(Self { names, until, problems })
    }
}

/// The name in a client's certificate: its Common Name, or else its first DNS
/// name or e-mail address.
pub(crate) fn client_name(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let common = certificate.subject().iter_common_name().next();
    let common = common.and_then(|name| name.as_str().ok()).filter(|name| !name.is_empty());
    common.map(str::to_owned).or_else(|| {
        let names = &certificate.subject_alternative_name().ok()??.value.general_names;
        names.iter().find_map(|name| match name {
            GeneralName::DNSName(name) | GeneralName::RFC822Name(name) => Some((*name).to_owned()),
            _ => None,
        })
    })
}

fn alternative_names(certificate: &X509Certificate<'_>) -> impl Iterator<Item = String> {
    let extension = certificate.subject_alternative_name().ok().flatten();
    let names = extension.into_iter().flat_map(|extension| &extension.value.general_names);
    names.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
        _ => None,
    })
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}
