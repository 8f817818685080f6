//! A registry on loopback: a data directory, which this process serves, a request on each
//! connection.

use crate::local::LocalRegistry;
use bytes::Bytes;
use http::Request;
use roadstead_operator::registry::{Answer, Registry as _};
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// A registry that is served.
pub(crate) struct Served {
    port: u16,
    /// The request lines, and whether there was a login.
    seen: Arc<Mutex<Vec<(String, bool)>>>,
}

struct Behaviour {
    /// Where blobs are.
    store: Option<String>,
    /// Whether it asks for alice's password.
    login: bool,
}

impl Served {
    pub(crate) fn start(root: &Path) -> Self {
        Self::start_with(root, None, false)
    }

    pub(crate) fn start_with(root: &Path, store: Option<String>, login: bool) -> Self {
        let root = root.to_owned();
        Self::spawn(Some(root), Behaviour { store, login })
    }

    /// A server that has nothing.
    pub(crate) fn nothing() -> Self {
        Self::spawn(None, Behaviour { store: None, login: false })
    }

    fn spawn(root: Option<std::path::PathBuf>, behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::<Mutex<Vec<_>>>::default();
        let notes = Arc::clone(&seen);
        std::thread::spawn(move || {
            let registry = root.map(|root| LocalRegistry::open(&root));
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.unwrap();
            for mut stream in listener.incoming().map_while(Result::ok) {
                let Some(request) = read(&mut stream) else { continue };
                let login = request.headers().contains_key("authorization");
                let line = format!("{} {}", request.method(), request.uri());
                notes.lock().unwrap().push((line, login));
                let head = request.method() == http::Method::HEAD;
                let answer = match (&registry, refuse(&behaviour, &request)) {
                    (_, Some(answer)) => answer,
                    (Some(registry), None) => {
                        let answer = registry.request(request, usize::MAX);
                        let answer = runtime.block_on(answer).unwrap();
                        response(&answer, head)
                    }
                    (None, None) => {
                        b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
                            .to_vec()
                    }
                };
                // A client may close early.
                let _ = stream.write_all(&answer);
            }
        });
        Self { port, seen }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// How many requests began like this.
    pub(crate) fn seen(&self, begin: &str) -> usize {
        self.seen.lock().unwrap().iter().filter(|(line, _)| line.starts_with(begin)).count()
    }

    /// How many requests had a login.
    pub(crate) fn logins(&self) -> usize {
        self.seen.lock().unwrap().iter().filter(|(_, login)| *login).count()
    }
}

fn read(stream: &mut TcpStream) -> Option<Request<Bytes>> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?;
    let mut lines = head.lines();
    let mut words = lines.next()?.split(' ');
    let mut request = Request::builder().method(words.next()?).uri(words.next()?);
    let mut length = 0;
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        if name.eq_ignore_ascii_case("content-length") {
            length = value.parse().ok()?;
        }
        request = request.header(name, value);
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    request.body(body.into()).ok()
}

fn refuse(behaviour: &Behaviour, request: &Request<Bytes>) -> Option<Vec<u8>> {
    let answer = |status: &str, header: &str| {
        format!("HTTP/1.1 {status}\r\n{header}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            .into_bytes()
    };
    // alice:secret
    let known = |value: &http::HeaderValue| value == "Basic YWxpY2U6c2VjcmV0";
    if behaviour.login && !request.headers().get("authorization").is_some_and(known) {
        return Some(answer("401 Unauthorized", "WWW-Authenticate: Basic realm=\"r\""));
    }
    let store = behaviour.store.as_ref()?;
    let path = request.uri().path();
    path.contains("/blobs/sha256:")
        .then(|| answer("307 Temporary Redirect", &format!("Location: {store}{path}?signed=1")))
}

fn response(answer: &Answer, head: bool) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {}\r\n", answer.status);
    for (name, value) in &answer.headers {
        if name != "content-length" || head {
            write!(text, "{name}: {}\r\n", value.to_str().unwrap()).unwrap();
        }
    }
    if !head {
        write!(text, "content-length: {}\r\n", answer.body.len()).unwrap();
    }
    // As it is closed then.
    let mut bytes = format!("{text}connection: close\r\n\r\n").into_bytes();
    if !head {
        bytes.extend(&answer.body);
    }
    bytes
}
