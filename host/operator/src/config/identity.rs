//! The server's certificate and its key.

use super::check::Finding;
use super::files::others;
use crate::date::with_time_of_day;
use crate::doctor::Level;
use crate::pem;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

/// The seconds of a day.
const DAY: i64 = 24 * 60 * 60;

/// How many days before its end a certificate is warned of.
const SOON: i64 = 30;

/// Checks that the files can be used and belong together, and how long the certificate is
/// valid.
pub(super) fn examine(certificate: &Path, key: &Path) -> Vec<Finding> {
    let pair = pem::read_pair(certificate, key, &ring::default_provider());
    let own = pair.and_then(|pair| Ok(pair.end_entity_cert()?.clone().into_owned()));
    let mut findings = match own {
        Ok(own) => vec![validity(&own, certificate, now())],
        Err(error) => {
            let path = Some(certificate.to_owned());
            vec![Finding::new(Level::Fail, path, format!("{error:#}"))]
        }
    };
    findings.extend(others("REGISTRY_HTTP_TLS_KEY", key));
    findings
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_secs().try_into().unwrap_or(i64::MAX)
}

/// How long a certificate is valid at a time, in seconds since 1970.
fn validity(own: &CertificateDer<'_>, path: &Path, now: i64) -> Finding {
    const SETTING: &str = "REGISTRY_HTTP_TLS_CERTIFICATE";
    let shown = path.display();
    let found = |level, what: String| {
        Finding::new(level, Some(PathBuf::from(path)), format!("{SETTING}: {shown}: {what}"))
    };
    let own = match X509Certificate::from_der(own) {
        Ok((_, own)) => own,
        Err(error) => return found(Level::Fail, error.to_string()),
    };
    let (begin, end) =
        (own.validity().not_before.timestamp(), own.validity().not_after.timestamp());
    let until = with_time_of_day(end);
    let here = with_time_of_day(now);
    let named = own.subject_alternative_name().is_ok_and(|names| names.is_some());
    if end < now {
        let what = format!("it expired on {until}, and here it is {here}; renew it");
        found(Level::Warn, what)
    } else if begin > now {
        let begin = with_time_of_day(begin);
        let what = format!("it is not valid before {begin}, and here it is {here}");
        found(Level::Warn, format!("{what}; check the clock"))
    } else if !named {
        let what = "clients refuse certificates without subjectAltName; `roadstead cert` makes one \
                    with it";
        found(Level::Warn, what.to_owned())
    } else if end - now < SOON * DAY {
        let days = (end - now) / DAY;
        found(Level::Warn, format!("it expires in {days} days, on {until}; renew it"))
    } else {
        found(
            Level::Ok,
            format!("the certificate and its key belong together, valid until {until}"),
        )
    }
}
