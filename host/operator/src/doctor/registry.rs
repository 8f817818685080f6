//! Checks of the answer to `GET /v2/`.

use super::connection::{CLIENT_CERTIFICATE, Connection};
use super::http::{Answer, BETWEEN};
use super::report::Report;
use http::StatusCode;
use std::time::{Duration, SystemTime};

/// The largest difference between two clocks: beyond, new tokens and
/// certificates are not valid yet.
///
/// Limit: difference of two clocks that is not reported; test: `headers_are_checked`.
const MAX_SKEW: Duration = Duration::from_mins(1);

/// The header that identifies registries of Docker's protocol.
const VERSION_HEADER: &str = "docker-distribution-api-version";

/// Sends `GET /v2/`; returns the answer if it is a registry's.
pub(super) async fn examine(connection: &Connection, report: &mut Report<'_>) -> Option<Answer> {
    let answer = match connection.get("/v2/", None).await {
        Ok(answer) => answer,
        Err(error) if connection.wants_certificate(&error) => {
            let what = format!("the registry requires a client certificate: {error}");
            report.fail(what, CLIENT_CERTIFICATE);
            return None;
        }
        Err(error) => {
            report.fail(
                format!("no answer to GET /v2/: {error}"),
                "see the log of the registry, and of the proxy in front of it if there is one",
            );
            return None;
        }
    };
    let is_registry = status(&answer, report);
    between(&answer, report);
    if is_registry && answer.header(VERSION_HEADER).is_none() {
        report.warn(
            "the answer has no Docker-Distribution-Api-Version header, which old clients require",
            "if there is a proxy, configure it to pass on the registry's headers",
        );
    }
    clock(&answer, report);
    is_registry.then_some(answer)
}

/// Reports the status; returns whether it is a registry's answer.
fn status(answer: &Answer, report: &mut Report<'_>) -> bool {
    const PROXY: &str = "if a proxy answers, configure it to forward /v2/ to the registry, whose \
                         path cannot be changed; otherwise check the name and port";
    let status = answer.status;
    let what = format!("GET /v2/: {status}");
    if status.is_redirection() {
        let place = answer.header("location").unwrap_or("an unknown location");
        report.warn(
            format!("{what} to {place}"),
            "use the redirect's target, or configure the proxy to forward /v2/ instead: not all \
             clients send their password to another location",
        );
        return false;
    }
    match status {
        StatusCode::OK | StatusCode::UNAUTHORIZED if answer.is_html() => {
            report.fail(format!("{what} with an HTML page: this is not a registry"), PROXY);
            return false;
        }
        StatusCode::OK => report.ok(format!("{what}; no login is required")),
        StatusCode::UNAUTHORIZED => report.ok(format!("{what}; a login is required")),
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
            let html = if answer.is_html() { " with an HTML page" } else { "" };
            report.fail(format!("{what}{html}: this is not a registry"), PROXY);
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
            report.fail(what, "allow the request in the proxy or firewall that forbids it");
            return false;
        }
        status if status.is_server_error() => {
            report.fail(what, "start the registry, or see its log and the proxy's for the cause");
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
        report.ok(format!("headers of servers and proxies: {}", headers.join(", ")));
    }
}

fn clock(answer: &Answer, report: &mut Report<'_>) {
    let date = answer.header("date").and_then(|date| httpdate::parse_http_date(date).ok());
    let Some(date) = date else { return };
    let now = SystemTime::now();
    let (skew, late) = match now.duration_since(date) {
        Ok(skew) => (skew, true),
        Err(error) => (error.duration(), false),
    };
    if skew > MAX_SKEW {
        let way = if late { "behind" } else { "ahead of" };
        report.warn(
            format!(
                "the server's clock is {} s {way} this machine's: there it is {}, and here {}",
                skew.as_secs(),
                httpdate::fmt_http_date(date),
                httpdate::fmt_http_date(now)
            ),
            "correct the wrong clock, or tokens and new certificates will be rejected: \
             timedatectl set-ntp true",
        );
    }
}
