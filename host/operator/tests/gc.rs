//! `roadstead gc` against a registry's URL.

use clap::Parser;
use roadstead_operator::gc::{Args, Display, run_remote};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

/// A registry that gives these answers one after the other, and the requests that
/// it received.
pub(crate) fn serve(answers: &[(u16, &str)]) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::<Mutex<Vec<String>>>::default();
    let notes = Arc::clone(&seen);
    let answers: Vec<_> =
        answers.iter().map(|(status, body)| (*status, (*body).to_owned())).collect();
    std::thread::spawn(move || {
        for ((status, body), stream) in answers.into_iter().zip(listener.incoming()) {
            let mut stream = stream.unwrap();
            let mut request = String::new();
            // Every request but a GET has JSON, which ends like this.
            let is_whole = |request: &str| {
                let ends = if request.starts_with("GET ") { "\r\n\r\n" } else { "}" };
                request.ends_with(ends)
            };
            while !is_whole(&request) {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.push(char::from(byte[0]));
            }
            notes.lock().unwrap().push(request);
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {status} X\r\nWWW-Authenticate: Basic realm=\"a\"\r\nContent-Length: \
                 {length}\r\n\r\n{body}"
            );
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    (url, seen)
}

/// What is printed, and what is shown meanwhile.
fn run(arguments: &[&str]) -> (anyhow::Result<String>, String) {
    // Not the passwords of whoever runs the test.
    let nowhere = ["gc", "--docker-config", "/nonexistent", "--docker-directory", "/nonexistent"];
    let args = Cli::parse_from(nowhere.iter().chain(arguments)).args;
    let mut shown = Vec::new();
    let mut password = &b"secret\n"[..];
    let mut out = Vec::new();
    let result = run_remote(&args, &mut password, &mut Display::lines(&mut shown), &mut out);
    (result.map(|()| String::from_utf8(out).unwrap()), String::from_utf8(shown).unwrap())
}

const RUNNING: &str = r#"{"status":"running","run":"00","stage":"blobs","percent":5,
    "operations":9,"wait":0,"later":"versions say more"}"#;

#[test]
fn a_run_elsewhere() {
    let (url, seen) = serve(&[
        (401, ""),
        (200, RUNNING),
        (503, r#"{"errors":[{"code":"UNAVAILABLE","message":"a\u001b moment"}]}"#),
        (200, r#"{"status":"done","report":{"run":"00","removed":3,"new":1}}"#),
    ]);
    let (outcome, shown) = run(&["-d", "--user", "alice", "--password-stdin", &url]);
    assert!(outcome.unwrap().contains("removed:    3 blobs"));
    assert!(shown.starts_with("blobs\n503 Service Unavailable: a? moment;"), "{shown}");
    let seen = seen.lock().unwrap();
    // alice:secret
    let login = "authorization: Basic YWxpY2U6c2VjcmV0\r\n";
    let logins: Vec<_> = seen.iter().map(|request| request.contains(login)).collect();
    assert_eq!(logins, [false, true, true, true]);
    for (request, body) in seen.iter().zip([
        r#"{"dry_run":true}"#,
        r#"{"dry_run":true}"#,
        r#"{"run":"00","dry_run":true}"#,
        r#"{"run":"00","dry_run":true}"#,
    ]) {
        assert!(request.starts_with("POST /v2/_roadstead/collect HTTP/1.1\r\n"), "{request}");
        assert!(request.ends_with(body), "{request}");
    }
}

#[test]
fn a_question_elsewhere() {
    let page = |name: &str, next: &str| {
        format!(
            r#"{{"repositories":[{{"name":"{name}","manifests":1,"blobs":2,"bytes":3,"unneeded":0}}]{next}}}"#
        )
    };
    let first = page("a\\u001b", r#","next":"a""#);
    let (url, seen) = serve(&[(429, "{}"), (200, &first), (200, &page("b", ""))]);
    let said = run(&["--usage", &url]).0.unwrap();
    assert!(said.contains("  a?\n") && said.contains("  b\n"), "{said}");
    let lines: Vec<_> =
        seen.lock().unwrap().iter().map(|r| r.lines().next().unwrap().to_owned()).collect();
    let path = "/v2/_roadstead/collect/usage";
    let (begin, next) = (format!("GET {path} HTTP/1.1"), format!("GET {path}?last=a HTTP/1.1"));
    assert_eq!(lines, [begin.clone(), begin, next]);
    let (url, _) = serve(&[(404, "nothing here")]);
    let said = run(&["--reports", &url]).0.unwrap_err().to_string();
    assert!(said.starts_with("404 Not Found: this registry does not collect"), "{said}");
}

#[test]
fn what_is_wrong_is_said() {
    let denied = r#"{"errors":[{"code":"DENIED","message":"not permitted"}]}"#;
    for (answer, expected) in [
        ((404, "nothing here"), "404 Not Found: this registry does not collect by request"),
        ((403, denied), "403 Forbidden: not permitted"),
        ((405, "x"), "405 Method Not Allowed: the answer is no error of a registry"),
        ((200, "x"), "the registry's answer: "),
        ((401, ""), "the registry asks for a login: docker login "),
    ] {
        let (url, _) = serve(&[answer]);
        let said = run(&[&url]).0.unwrap_err().to_string();
        assert!(said.starts_with(expected), "{said}");
    }
    let (url, _) = serve(&[(200, r#"{"status":"not-due","seconds":9}"#)]);
    assert!(run(&[&url]).0.unwrap().contains("ask again in 9 s"));
    let said = run(&["--keep", "http://127.0.0.1:1"]).0.unwrap_err().to_string();
    assert!(said.contains("a registry that runs always keeps"), "{said}");
    let said = run(&["--alone", "http://127.0.0.1:1"]).0.unwrap_err().to_string();
    assert!(said.contains("--alone is for a storage that nothing else uses"), "{said}");
    for flags in [["--alone", "--keep"], ["--alone", "--usage"], ["--reports", "--alone"]] {
        let refused = Cli::try_parse_from(["gc", flags[0], flags[1], "/srv"]).err().unwrap();
        assert!(refused.to_string().contains("cannot be used with"), "{refused}");
    }
}
