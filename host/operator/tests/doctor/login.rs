//! Faults of the login.

use super::servers::{Answers, Authority, NAME, OK, Server, always, named, plain};
use super::{Outcome, doctor, examine, file};
use base64::Engine as _;
use roadstead_operator::doctor::Level::{Fail, Ok, Warn};
use std::sync::Arc;

const LOGIN: [&str; 3] = ["--user", "alice", "--password-stdin"];

/// A 401 with this challenge.
fn challenge(words: &str) -> String {
    format!(
        "HTTP/1.1 401 Unauthorized\r\nDocker-Distribution-Api-Version: registry/2.0\r\n\
         WWW-Authenticate: {words}\r\nContent-Length: 0\r\n\r\n"
    )
}

fn basic(user: &str, password: &str) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    format!("authorization: Basic {text}\r\n")
}

/// A registry with the user alice and this password.
fn registry(password: &'static str) -> Answers {
    Arc::new(move |head| {
        if head.contains(&basic("alice", password)) {
            OK.to_owned()
        } else {
            challenge("Basic realm=\"Harbour\"")
        }
    })
}

/// Checks it over TLS with a trusted certificate.
fn encrypted(answers: Answers, arguments: &[&str]) -> (Outcome, Server) {
    encrypted_by(&Authority::root("Test Root"), answers, arguments)
}

fn encrypted_by(root: &Authority, answers: Answers, arguments: &[&str]) -> (Outcome, Server) {
    let (_directory, ca) = file(&root.certificate.pem());
    let server = root.serve(&named(NAME, &[NAME]), answers);
    let arguments = [&["--ca", &ca], arguments].concat();
    (doctor(&format!("https://{NAME}:{}", server.port), &arguments), server)
}

#[test]
fn passwords_are_tried() {
    encrypted(registry("secret"), &[])
        .0
        .fails(false)
        .has(Ok, "login: user and password (Basic, realm \"Harbour\")", "")
        .has(Ok, "Docker will say: no basic auth credentials", "");
    encrypted(registry("secret"), &LOGIN).0.fails(false).has(
        Ok,
        "the password of alice is correct",
        "",
    );
    encrypted(registry("other"), &LOGIN).0.fails(true).has(
        Fail,
        "Docker will say: unauthorized",
        "roadstead htpasswd -v FILE USER",
    );
    encrypted(always(OK), &LOGIN).0.fails(false).has(
        Warn,
        "not tried: the registry does not require a login",
        "REGISTRY_AUTH=htpasswd",
    );
    for (status, level, what, fix) in [
        ("403 Forbidden", Fail, "denied", "REGISTRY_AUTH_RULES"),
        ("429 Too Many Requests", Warn, "too many attempts", "wait"),
        ("500 Internal Server Error", Fail, "500", "htpasswd"),
    ] {
        let answers: Answers = Arc::new(move |head| {
            if head.contains("authorization") {
                format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n")
            } else {
                challenge("Basic realm=x")
            }
        });
        encrypted(answers, &LOGIN).0.fails(level == Fail).has(level, what, fix);
    }
}

#[test]
fn unsupported_schemes_are_reported() {
    encrypted(always(challenge("Negotiate")), &[]).0.fails(true).has(
        Fail,
        "401 without an authentication scheme that clients support (negotiate)",
        "WWW-Authenticate",
    );
    let nothing = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n";
    encrypted(always(nothing), &[]).0.fails(true).has(Fail, "401 without an auth", "WWW-Auth");
}

#[test]
fn a_password_goes_only_where_it_is_safe() {
    let sent = |server: &Server| {
        server.seen.lock().unwrap().iter().any(|head| head.contains("authorization: Basic"))
    };
    // The CA is not trusted.
    let root = Authority::root("Test Root");
    let server = root.serve(&named(NAME, &[NAME]), registry("secret"));
    doctor(&format!("https://{NAME}:{}", server.port), &LOGIN).has(
        Warn,
        "the password was not tried",
        "trust the certificate first",
    );
    assert!(!sent(&server));
    // An attacker on the network path could have suppressed TLS.
    let server = plain(registry("secret"));
    doctor(&format!("{NAME}:{}", server.port), &LOGIN)
        .has(Warn, "the password can be intercepted", "roadstead cert NAME")
        .has(Warn, "the password was not tried", "roadstead doctor http://registry.example");
    assert!(!sent(&server));
    // Plain HTTP that was asked for, or that stays on this machine.
    doctor(&format!("http://{NAME}:{}", server.port), &LOGIN).fails(false).has(
        Ok,
        "password of alice is correct",
        "",
    );
    examine(&format!("127.0.0.1:{}", server.port), &LOGIN, "secret\n").fails(false).has(
        Ok,
        "password of alice is correct",
        "",
    );
    assert!(sent(&server));
}

/// A registry with its own token service, whose URL is given by `realm`.
fn with_tokens(realm: impl Fn(&str) -> String + Send + Sync + 'static, good: bool) -> Answers {
    Arc::new(move |head| {
        let host = head.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
        if head.starts_with("GET /token?service=Har%2Dbour") {
            let known = !head.contains("account") || head.contains(&basic("alice", "secret"));
            let body = "{\"token\": \"t0k\"}";
            return if known {
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
            } else {
                "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n".to_owned()
            };
        }
        if good && head.contains("authorization: Bearer t0k\r\n") {
            return OK.to_owned();
        }
        challenge(&format!("Bearer realm=\"{}\",service=\"Har-bour\"", realm(host)))
    })
}

#[test]
fn tokens_are_tried() {
    let own = |host: &str| format!("https://{host}/token");
    let (outcome, _) = encrypted(with_tokens(own, true), &[]);
    outcome
        .fails(false)
        .has(Ok, "login: by token (Bearer) from https://registry.example:", "")
        .has(Ok, "the token service answers: 200 OK", "")
        .has(Ok, "no basic auth credentials", "");
    encrypted(with_tokens(own, true), &LOGIN)
        .0
        .fails(false)
        .has(Ok, "the password of alice is correct", "")
        .has(Ok, "the registry accepts the token", "");
    encrypted(with_tokens(own, false), &LOGIN).0.fails(true).has(
        Fail,
        "does not accept the token: 401",
        "synchronise their clocks",
    );
    let bob = ["--user", "bob", "--password-stdin"];
    encrypted(with_tokens(own, true), &bob).0.fails(true).has(Fail, "unauthorized", "htpasswd -v");
    encrypted(with_tokens(|host| format!("https://{host}/v2/"), true), &LOGIN).0.has(
        Fail,
        "the password of alice is wrong",
        "",
    );
}

#[test]
fn external_token_services_are_checked() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let refused = move |_: &str| format!("https://127.0.0.1:{port}/token");
    encrypted(with_tokens(refused, true), &LOGIN).0.fails(true).has(
        Fail,
        "cannot reach the token service: cannot connect",
        "REGISTRY_AUTH_TOKEN_REALM",
    );
    encrypted(with_tokens(|_| "/token".to_owned(), true), &[]).0.fails(true).has(
        Fail,
        "its realm is not a URL: \"/token\"",
        "REGISTRY_AUTH_TOKEN_REALM",
    );
    // A service that is not trusted gets no password.
    let other = Authority::root("Other Root");
    let tokens = with_tokens(|host| format!("https://{host}/token"), true);
    let service = other.serve(&named("x", &["127.0.0.1"]), tokens);
    let port = service.port;
    encrypted(with_tokens(move |_| format!("https://127.0.0.1:{port}/token"), true), &LOGIN)
        .0
        .fails(true)
        .has(Fail, "cannot reach the token service: invalid peer certificate", "doctor");
    assert!(service.seen.lock().unwrap().is_empty());
    // An impostor of the registry names a service that is trusted.
    let root = Authority::root("Test Root");
    let (_directory, ca) = file(&root.certificate.pem());
    let tokens = with_tokens(|host| format!("https://{host}/token"), true);
    let service = root.serve(&named("x", &["127.0.0.1"]), tokens);
    let port = service.port;
    let realm = move |_: &str| format!("https://127.0.0.1:{port}/token");
    let server = other.serve(&named(NAME, &[NAME]), with_tokens(realm, true));
    let url = format!("https://{NAME}:{}", server.port);
    doctor(&url, &[&["--ca", &ca], &LOGIN[..]].concat())
        .has(Ok, "the token service answers: 200", "")
        .has(Warn, "the password was not tried", "trust the certificate first");
    assert!(service.seen.lock().unwrap().iter().all(|head| !head.contains("authorization")));
    // The same, where the registry is trusted.
    encrypted_by(&root, with_tokens(realm, true), &LOGIN).0.fails(false).has(
        Ok,
        "the registry accepts the token",
        "",
    );
    // A plain HTTP service of an HTTPS registry.
    let service = plain(with_tokens(|host| format!("http://{host}/token"), true));
    let port = service.port;
    encrypted(with_tokens(move |_| format!("http://127.0.0.1:{port}/token"), true), &LOGIN)
        .0
        .fails(true)
        .has(Fail, "plain HTTP, while the registry uses HTTPS", "X-Forwarded-Proto: https")
        .has(Ok, "the token service answers: 200", "")
        .has(Warn, "the password was not tried: the token service uses plain HTTP", "https");
    assert!(service.seen.lock().unwrap().iter().all(|head| !head.contains("authorization")));
    // A plain HTTP registry with its own plain HTTP service.
    let server = plain(with_tokens(|host| format!("http://{host}/token"), true));
    examine(&format!("127.0.0.1:{}", server.port), &LOGIN, "secret").fails(false).has(
        Ok,
        "the registry accepts the token",
        "",
    );
}
