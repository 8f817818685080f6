//! What `GET /v2/` tells.

use super::http::{Answer, BETWEEN};
use super::line::{CLIENT_CERTIFICATE, Line};
use super::report::Report;
use http::StatusCode;
use std::time::{Duration, SystemTime};

/// How far two clocks may be apart: tokens and certificates are young.
const MAX_SKEW: Duration = Duration::from_mins(1);

/// The header by which registries of Docker's protocol are known.
const VERSION_HEADER: &str = "docker-distribution-api-version";

/// Asks the registry who it is; returns the answer if it is one.
pub(super) async fn examine(line: &Line, report: &mut Report<'_>) -> Option<Answer> {
    let answer = match line.get("/v2/", None).await {
        Ok(answer) => answer,
        Err(error) if line.wants_certificate(&error) => {
            let what = format!("the registry serves only clients with a certificate: {error}");
            report.fail(what, CLIENT_CERTIFICATE);
            return None;
        }
        Err(error) => {
            report.fail(
                format!("GET /v2/ is not answered: {error}"),
                "see the log of the registry, and of the proxy before it if there is one",
            );
            return None;
        }
    };
    let is_registry = status(&answer, report);
    between(&answer, report);
    if is_registry && answer.header(VERSION_HEADER).is_none() {
        report.warn(
            "the answer has no Docker-Distribution-Api-Version: old clients ask for it",
            "have the proxy pass on the registry's headers, if there is one",
        );
    }
    clock(&answer, report);
    is_registry.then_some(answer)
}

/// Reports the status; returns whether a registry sends such an answer.
fn status(answer: &Answer, report: &mut Report<'_>) -> bool {
    const PROXY: &str = "if a proxy answers, have it pass /v2/ on to the registry, which has no \
                         other path; else check the name and port";
    let status = answer.status;
    let what = format!("GET /v2/: {status}");
    if status.is_redirection() {
        let place = answer.header("location").unwrap_or("nowhere");
        report.warn(
            format!("{what} to {place}"),
            "use the place it leads to, or have the proxy pass /v2/ on instead: not all clients \
             follow with their password",
        );
        return false;
    }
    match status {
        StatusCode::OK | StatusCode::UNAUTHORIZED if answer.is_html() => {
            report.fail(format!("{what} with a page of HTML: this is no registry"), PROXY);
            return false;
        }
        StatusCode::OK => report.ok(format!("{what}; no password is asked for")),
        StatusCode::UNAUTHORIZED => report.ok(format!("{what}; a login is asked for")),
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
            let html = if answer.is_html() { " with a page of HTML" } else { "" };
            report.fail(format!("{what}{html}: this is no registry"), PROXY);
            return false;
        }
        StatusCode::TOO_MANY_REQUESTS => {
            let wait = answer.header("retry-after").unwrap_or("some");
            report.warn(
                format!("{what}; Docker will say: toomanyrequests"),
                format!("wait {wait} seconds; log in, where that raises the limit"),
            );
            return false;
        }
        StatusCode::FORBIDDEN => {
            report.fail(what, "have the proxy or firewall that forbids it let clients pass");
            return false;
        }
        status if status.is_server_error() => {
            report.fail(what, "start the registry, or see its log and the proxy's for why");
            return false;
        }
        _ => {
            report.fail(format!("{what}: registries answer 200 or 401"), PROXY);
            return false;
        }
    }
    true
}

fn between(answer: &Answer, report: &mut Report<'_>) {
    let headers: Vec<_> = BETWEEN
        .iter()
        .filter_map(|name| Some(format!("{name}: {}", answer.header(name)?)))
        .collect();
    if !headers.is_empty() {
        report.ok(format!("the answer came by way of {}", headers.join(", ")));
    }
}

fn clock(answer: &Answer, report: &mut Report<'_>) {
    let date = answer.header("date").and_then(|date| httpdate::parse_http_date(date).ok());
    let Some(date) = date else { return };
    let (skew, late) = match SystemTime::now().duration_since(date) {
        Ok(skew) => (skew, true),
        Err(error) => (error.duration(), false),
    };
    if skew > MAX_SKEW {
        let way = if late { "behind" } else { "ahead of" };
        report.warn(
            format!("the server's clock is {} s {way} this machine's", skew.as_secs()),
            "set the wrong one right, or tokens and new certificates are refused: \
             timedatectl set-ntp true",
        );
    }
}
