//! `roadstead scrub` against a registry's URL.

use clap::Parser;
use roadstead_operator::gc::Display;
use roadstead_operator::scrub::{Args, Outcome, Streams, scrub_remote};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

/// A registry that gives these answers one after the other, and the requests that it
/// received.
fn serve(answers: &[(u16, &str)]) -> (String, Arc<Mutex<Vec<String>>>) {
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
            // Every request has JSON, which ends like this.
            while !request.ends_with('}') {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.push(char::from(byte[0]));
            }
            notes.lock().unwrap().push(request);
            let length = body.len();
            let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n{body}");
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    (url, seen)
}

struct Said {
    outcome: anyhow::Result<Outcome>,
    output: String,
    shown: String,
}

fn run(arguments: &[&str]) -> Said {
    // Not the passwords of whoever runs the test.
    let nowhere =
        ["scrub", "--docker-config", "/nonexistent", "--docker-directory", "/nonexistent"];
    let args = Cli::parse_from(nowhere.iter().chain(arguments)).args;
    let (mut output, mut shown) = (Vec::new(), Vec::new());
    let mut display = Display::lines(&mut shown);
    let mut streams = Streams { output: &mut output, display: &mut display };
    let outcome = scrub_remote(&args, &mut &b""[..], &mut streams);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { outcome, output: text(output), shown: text(shown) }
}

const FIRST: &str = r#"{"findings":[{"kind":"tag-dangling","digest":"sha256:7","repository":"a\u001b",
    "tag":"t"}],"counts":{"blobs":2},"cursor":"1.x","stage":"repositories","percent":5,"hashed":9,
    "operations":3,"wait":0,"later":"versions say more"}"#;

#[test]
fn a_scrub_elsewhere() {
    let (url, seen) = serve(&[
        (200, FIRST),
        (503, r#"{"errors":[{"code":"UNAVAILABLE","message":"a\u001b moment"}]}"#),
        (200, r#"{"counts":{"blobs":1},"stage":"end"}"#),
    ]);
    let said = run(&["--rate", "1000", "--no-hash", &url]);
    assert_eq!(said.outcome.unwrap(), Outcome::Done { damaged: true });
    assert!(said.output.starts_with("tag-dangling: a?:t leads to sha256:7"), "{}", said.output);
    assert!(said.output.contains("\n3 blobs with 0 bytes"), "{}", said.output);
    let shown = "repositories\n503 Service Unavailable: a? moment; trying again\nend\n";
    assert_eq!(said.shown, shown);
    for (request, body) in seen.lock().unwrap().iter().zip([
        r#"{"bytes":1000,"hash":false,"quarantine":false}"#,
        r#"{"cursor":"1.x","bytes":1000,"hash":false,"quarantine":false}"#,
        r#"{"cursor":"1.x","bytes":1000,"hash":false,"quarantine":false}"#,
    ]) {
        assert!(request.starts_with("POST /v2/_roadstead/scrub HTTP/1.1\r\n"), "{request}");
        assert!(request.ends_with(body), "{request}");
    }
}

#[test]
fn what_is_wrong_is_said() {
    let off = r#"{"errors":[{"code":"UNSUPPORTED","message":"deletion is disabled"}]}"#;
    for (answer, expected) in [
        ((404, "nothing here"), "404 Not Found: this registry does not scrub by request"),
        ((405, off), "405 Method Not Allowed: deletion is disabled"),
        ((200, "x"), "the registry's answer: "),
    ] {
        let (url, _) = serve(&[answer]);
        let said = run(&["--quarantine", &url]).outcome.unwrap_err().to_string();
        assert!(said.starts_with(expected), "{said}");
    }
}
