//! Logins for a token, by what `docker login` keeps: a password, or a token that others are
//! given for.

use bytes::Bytes;
use clap::Parser;
use http::Request;
use roadstead_operator::client::{Client, Connection};
use roadstead_operator::registry::Registry as _;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    connection: Connection,
}

/// The requests that were seen: the line, what it was authorised with, and the body.
type Seen = Arc<Mutex<Vec<(String, String, String)>>>;

/// A registry with a token service.
fn start() -> (u16, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Seen::default();
    let notes = Arc::clone(&seen);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let Some((line, login, body)) = read(&mut stream) else { continue };
            notes.lock().unwrap().push((line.clone(), login.clone(), body));
            let challenge = format!(
                "WWW-Authenticate: Bearer realm=\"http://127.0.0.1:{port}/token\",service=\"r\",\
                 scope=\"repository:a:pull\"\r\n"
            );
            let (status, header, body) = match login.as_str() {
                _ if line.contains("/token") => ("200 OK", "", r#"{"access_token":"t"}"#),
                "Bearer t" => ("200 OK", "", "{}"),
                _ => ("401 Unauthorized", challenge.as_str(), "{}"),
            };
            let answer = format!(
                "HTTP/1.1 {status}\r\n{header}Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    (port, seen)
}

fn read(stream: &mut TcpStream) -> Option<(String, String, String)> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?;
    let header = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        let found = lines.find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.to_owned()).unwrap_or_default()
    };
    let mut body = vec![0; header("content-length").parse().unwrap_or_default()];
    stream.read_exact(&mut body).ok()?;
    let line = head.lines().next()?.to_owned();
    Some((line, header("authorization"), String::from_utf8(body).ok()?))
}

#[tokio::test]
async fn tokens_are_asked_for_with_what_docker_login_keeps() {
    // alice:secret
    let password = r#""auth":"YWxpY2U6c2VjcmV0""#;
    for (kept, expected) in [
        (password, ("GET /token?service=r&scope=repository%3Aa%3Apull", "Basic ", "")),
        (
            r#""identitytoken":"refresh""#,
            (
                "POST /token",
                "",
                "scope=repository%3Aa%3Apull&grant_type=refresh_token&client_id=roadstead&refresh_token=refresh",
            ),
        ),
    ] {
        let (port, seen) = start();
        let root = tempfile::tempdir().unwrap();
        let config = format!(r#"{{"auths":{{"127.0.0.1:{port}":{{{kept}}}}}}}"#);
        std::fs::write(root.path().join("config.json"), config).unwrap();
        let directory = root.path().to_str().unwrap();
        let words = ["x", "--docker-directory", "/nonexistent", "--docker-config", directory];
        let connection = Cli::parse_from(words).connection;
        let url = format!("http://127.0.0.1:{port}");
        let client = Client::new(&url, &connection, None, Duration::from_secs(10)).unwrap();
        for _ in 0..2 {
            let request = Request::get("/v2/a/tags/list").body(Bytes::new()).unwrap();
            assert_eq!(client.request(request, 100).await.unwrap().status, 200);
        }
        let seen = seen.lock().unwrap();
        let asked: Vec<_> = seen.iter().filter(|(line, ..)| line.contains("/token")).collect();
        let [(line, login, body)] = asked[..] else { panic!("{seen:?}") };
        assert!(line.starts_with(expected.0) && login.starts_with(expected.1), "{line} {login}");
        assert!(body.ends_with(expected.2), "{body}");
        assert_eq!(seen.len(), 4, "the token is kept: {seen:?}");
    }
}
