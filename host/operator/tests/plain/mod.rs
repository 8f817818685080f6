//! Another registry on loopback: it knows the plain protocol and nothing of Roadstead's, and
//! answers what it is told to, true or not.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    status: u16,
    headers: String,
    body: Vec<u8>,
    /// How long the body is said to be, if that is not true.
    length: Option<usize>,
}

impl Page {
    pub(crate) fn new(body: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, headers: String::new(), body: body.into(), length: None }
    }

    pub(crate) fn status(status: u16) -> Self {
        Self { status, ..Self::new("") }
    }

    pub(crate) fn with(self, name: &str, value: &str) -> Self {
        Self { headers: format!("{}{name}: {value}\r\n", self.headers), ..self }
    }

    pub(crate) fn of_length(self, length: usize) -> Self {
        Self { length: Some(length), ..self }
    }
}

/// A registry.
pub(crate) struct Plain {
    port: u16,
    pages: Arc<Mutex<BTreeMap<String, Page>>>,
    seen: Arc<Mutex<Vec<String>>>,
    /// What a request must have, and the challenge of others.
    login: Option<(&'static str, String)>,
}

impl Plain {
    pub(crate) fn start(pages: &[(&str, Page)]) -> Arc<Self> {
        Self::start_with(pages, None)
    }

    /// One that asks for a value of `Authorization`. `{port}` in the challenge is its own.
    pub(crate) fn start_with(
        pages: &[(&str, Page)],
        login: Option<(&'static str, &str)>,
    ) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let pages = pages.iter().map(|(path, page)| ((*path).to_owned(), page.clone())).collect();
        let login =
            login.map(|(value, challenge)| (value, challenge.replace("{port}", &port.to_string())));
        let (pages, seen) = (Arc::new(Mutex::new(pages)), Arc::default());
        let plain = Arc::new(Self { port, pages, seen, login });
        let server = Arc::clone(&plain);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                // A client may close early.
                let _ = server.serve(stream);
            }
        });
        plain
    }

    /// The host, and what follows it.
    pub(crate) fn at(&self, rest: &str) -> String {
        format!("127.0.0.1:{}{rest}", self.port)
    }

    /// The request lines that begin like this.
    pub(crate) fn seen(&self, begin: &str) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|line| line.starts_with(begin)).cloned().collect()
    }

    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte)?;
            // Not TLS.
            if head.is_empty() && !byte[0].is_ascii_uppercase() {
                return Ok(());
            }
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let header = |name: &str| {
            let lines = head.lines().filter_map(|line| line.split_once(": "));
            lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, it)| it).next()
        };
        let mut body = vec![0; header("content-length").map_or(0, |it| it.parse().unwrap())];
        stream.read_exact(&mut body)?;
        let line = head.lines().next().unwrap_or_default();
        let (method, path) = line.split_once(' ').unwrap_or_default();
        let path = path.trim_end_matches(" HTTP/1.1");
        self.seen.lock().unwrap().push(format!("{method} {path}"));
        let page = match &self.login {
            Some((value, challenge))
                if path.starts_with("/v2/") && header("authorization") != Some(value) =>
            {
                Page::status(401).with("WWW-Authenticate", challenge)
            }
            _ => self.page(method, path, header("authorization"), &header, body),
        };
        let Page { status, headers, body, length } = page;
        let length = length.unwrap_or(body.len());
        write!(
            stream,
            "HTTP/1.1 {status} x\r\n{headers}Connection: close\r\nContent-Length: {length}\r\n\r\n"
        )?;
        if method == "HEAD" { Ok(()) } else { stream.write_all(&body) }
    }

    fn page<'a>(
        &self,
        method: &str,
        path: &str,
        authorization: Option<&str>,
        header: &impl Fn(&str) -> Option<&'a str>,
        body: Vec<u8>,
    ) -> Page {
        let mut pages = self.pages.lock().unwrap();
        if method == "PUT" && path.ends_with("/refused") {
            return Page::status(409);
        }
        if method == "PUT" {
            let kind = header("content-type").unwrap_or_default();
            pages.insert(path.to_owned(), Page::new(body).with("Content-Type", kind));
            return Page::status(201);
        }
        // A token service that knows alice's password.
        if path.starts_with("/token") && authorization != Some("Basic YWxpY2U6c2VjcmV0") {
            return Page::status(401);
        }
        let known = pages.get(path).or_else(|| pages.get(path.split('?').next()?));
        known.cloned().unwrap_or_else(|| Page::status(404))
    }
}
