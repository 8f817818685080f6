//! Faults that are found before the login.

use super::servers::{Authority, NAME, OK, always, named, plain, raw, silent};
use super::{doctor, examine, file};
use roadstead_operator::doctor::Level::{Fail, Ok, Warn};
use std::net::TcpListener;
use std::time::{Duration, SystemTime};

#[test]
fn names_without_address_are_found() {
    let outcome = examine("https://registry.invalid", &["--timeout", "5"], "");
    outcome.fails(true);
    assert!(outcome.text.contains("fix: "), "{}", outcome.text);
    let text = &outcome.text;
    assert!(
        text.contains("cannot resolve registry.invalid") || text.contains("no name server"),
        "{text}"
    );
}

#[test]
fn nothing_listens() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    doctor(&format!("https://{NAME}:{port}"), &[]).fails(true).has(
        Fail,
        "refuses connections: nothing listens there",
        "REGISTRY_HTTP_ADDR=:",
    );
}

#[test]
fn nothing_is_said() {
    let server = silent();
    doctor(&format!("{NAME}:{}", server.port), &["--timeout", "1"]).fails(true).has(
        Fail,
        "speaks neither TLS (no answer within 1 s) nor HTTP (no answer",
        "port",
    );
}

#[test]
fn something_else_is_said() {
    let server = raw(b"SSH-2.0-OpenSSH_9.2\r\n");
    doctor(&format!("{NAME}:{}", server.port), &["--timeout", "2"]).fails(true).has(
        Fail,
        "tls: first record does not look like a TLS handshake",
        "another program",
    );
}

#[test]
fn refused_handshakes_are_explained() {
    for (server, what, fix) in [
        (raw(b"\x15\x03\x01\x00\x02\x02\x46"), "ProtocolVersion", "TLS 1.2 or 1.3"),
        (raw(b"\x15\x03\x03\x00\x02\x02\x70"), "UnrecognisedName", "roadstead cert registry"),
        (raw(b"\x15\x03\x03\x00\x02\x02\x28"), "HandshakeFailure", "--client-cert"),
        (raw(b"\x15\x03\x03\x00\x02\x02\x2a"), "BadCertificate", "cert --client NAME"),
    ] {
        doctor(&format!("https://{NAME}:{}", server.port), &[]).fails(true).has(
            Fail,
            &format!("refused the TLS handshake: {what}"),
            fix,
        );
    }
}

#[test]
fn plain_http_is_reported() {
    let server = plain(always(OK));
    let says = "http: server gave HTTP response to HTTPS client";
    let snippet = format!("{{\"insecure-registries\": [\"{NAME}:{}\"]}}", server.port);
    doctor(&format!("https://{NAME}:{}", server.port), &[])
        .fails(true)
        .has(Fail, says, "roadstead cert registry.example")
        .has(Fail, says, &snippet);
    for scheme in ["", "http://"] {
        doctor(&format!("{scheme}{NAME}:{}", server.port), &[])
            .fails(false)
            .has(Warn, says, &snippet)
            .has(Ok, "GET /v2/: 200 OK", "");
        examine(&format!("{scheme}127.0.0.1:{}", server.port), &[], "").fails(false).has(
            Ok,
            "plain HTTP, which Docker accepts from registries on its own machine",
            "",
        );
    }
    examine(&format!("https://127.0.0.1:{}", server.port), &[], "").fails(true).has(
        Fail,
        says,
        "use http://127.0.0.1:",
    );
}

#[test]
fn tls_where_http_is_expected_is_found() {
    let root = Authority::root("Test Root");
    let (_directory, ca) = file(&root.certificate.pem());
    let server = root.serve(&named(NAME, &[NAME]), always(OK));
    doctor(&format!("http://{NAME}:{}", server.port), &["--ca", &ca]).fails(true).has(
        Fail,
        "Client sent an HTTP request to an HTTPS server",
        "use https://registry.example",
    );
    doctor(&format!("{NAME}:{}", server.port), &["--ca", &ca]).fails(false);
}

fn answers(answer: impl Into<String>) -> super::Outcome {
    let server = plain(always(answer));
    doctor(&format!("http://{NAME}:{}", server.port), &["--timeout", "5"])
}

#[test]
fn other_answers_are_explained() {
    let page = "Content-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>";
    for (answer, level, what, fix) in [
        (
            format!("404 Not Found\r\n{page}"),
            Fail,
            "404 Not Found with an HTML page",
            "forward /v2/",
        ),
        (
            "404 Not Found\r\nContent-Length: 0\r\n\r\n".into(),
            Fail,
            "this is not a registry",
            "/v2/",
        ),
        (format!("200 OK\r\n{page}"), Fail, "200 OK with an HTML page", "forward /v2/"),
        (
            format!("401 Unauthorized\r\n{page}"),
            Fail,
            "401 Unauthorized with an HTML page",
            "forward /v2/",
        ),
        (
            "301 Moved Permanently\r\nLocation: https://a.example/v2/\r\nContent-Length: 0\r\n\r\n"
                .into(),
            Warn,
            "301 Moved Permanently to https://a.example/v2/",
            "use the redirect's target",
        ),
        ("403 Forbidden\r\nContent-Length: 0\r\n\r\n".into(), Fail, "403 Forbidden", "firewall"),
        (
            "429 Too Many Requests\r\nRetry-After: 60\r\nContent-Length: 0\r\n\r\n".into(),
            Warn,
            "toomanyrequests",
            "wait 60 seconds",
        ),
        (
            "502 Bad Gateway\r\nContent-Length: 0\r\n\r\n".into(),
            Fail,
            "502 Bad Gateway",
            "start the registry",
        ),
        (
            "418 I'm a teapot\r\nContent-Length: 0\r\n\r\n".into(),
            Fail,
            "registries answer 200 or 401",
            "port",
        ),
    ] {
        answers(format!("HTTP/1.1 {answer}")).fails(level == Fail).has(level, what, fix);
    }
}

#[test]
fn headers_are_checked() {
    let answer =
        |headers: &str| format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: 2\r\n\r\n{{}}");
    answers(answer("")).fails(false).has(
        Warn,
        "no Docker-Distribution-Api-Version header",
        "pass on the registry's headers",
    );
    answers(answer("Server: nginx/1.27\r\nVia: 1.1 proxy\r\n")).has(
        Ok,
        "headers of servers and proxies: server: nginx/1.27, via: 1.1 proxy",
        "",
    );
    let skewed =
        |date: SystemTime| answers(answer(&format!("Date: {}\r\n", httpdate::fmt_http_date(date))));
    let now = SystemTime::now();
    skewed(now - Duration::from_mins(10)).has(Warn, "s behind this machine's", "set-ntp true");
    skewed(now + Duration::from_mins(10)).has(Warn, "s ahead of this machine's", "set-ntp true");
    let date = now - Duration::from_mins(10);
    let both = format!("there it is {}, and here ", httpdate::fmt_http_date(date));
    skewed(date).has(Warn, &both, "set-ntp true");
    assert!(!skewed(now).text.contains("clock"));
    assert!(!answers(answer("Date: nonsense\r\n")).text.contains("clock"));
}

#[test]
fn endless_answers_end() {
    // A body of a gigabyte that is never complete, and a head that is too large.
    let body =
        format!("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n{}", "x".repeat(200_000));
    answers(body).fails(false).has(Ok, "200 OK", "");
    let head = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(200_000));
    answers(head).fails(true);
    let headers = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: x\r\n".repeat(1000));
    answers(headers).fails(true);
}

#[test]
fn a_path_is_ignored() {
    let server = plain(always(OK));
    doctor(&format!("http://{NAME}:{}/app/image", server.port), &[]).has(
        Warn,
        "ignoring the path app/image",
        "give the registry alone",
    );
    doctor(&format!("http://{NAME}:{}/v2/", server.port), &[]).fails(false);
    let seen = server.seen.lock().unwrap();
    assert!(seen.iter().all(|head| head.starts_with("GET /v2/ HTTP/1.1\r\n")), "{seen:?}");
}
