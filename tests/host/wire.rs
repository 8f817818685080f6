//! Raw bytes on a connection, for requests that no client library sends.

use crate::content::Length;
use std::collections::HashMap;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// A connection.
pub struct Wire {
    stream: BufReader<TcpStream>,
}

/// The parts of a response that the tests check.
#[derive(Debug)]
pub struct Heard {
    pub status: u16,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl Wire {
    pub async fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    /// Sends the head of a request, with these headers besides `Host`.
    pub async fn head(&mut self, line: &str, headers: &[(&str, &str)]) {
        let mut head = format!("{line} HTTP/1.1\r\nHost: registry.test\r\n");
        for (name, value) in headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        head.push_str("\r\n");
        self.write(head.as_bytes()).await;
    }

    /// Sends the head of a request whose body's end is marked by `length`.
    pub async fn start(&mut self, line: &str, length: Length, size: u64) {
        let size = size.to_string();
        match length {
            Length::Announced => self.head(line, &[("Content-Length", &size)]).await,
            Length::Unknown => self.head(line, &[("Transfer-Encoding", "chunked")]).await,
        }
    }

    /// Sends a piece of a body.
    pub async fn piece(&mut self, length: Length, bytes: &[u8]) {
        // An empty chunk would be the last one.
        if bytes.is_empty() {
            return;
        }
        match length {
            Length::Announced => self.write(bytes).await,
            Length::Unknown => {
                self.write(format!("{:x}\r\n", bytes.len()).as_bytes()).await;
                self.write(bytes).await;
                self.write(b"\r\n").await;
            }
        }
    }

    /// Sends the end of a body.
    pub async fn end(&mut self, length: Length) {
        if length == Length::Unknown {
            self.write(b"0\r\n\r\n").await;
        }
    }

    pub async fn write(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).await.unwrap();
    }

    /// Sends as much as the server takes before it closes the connection.
    pub async fn write_while_open(&mut self, bytes: &[u8]) {
        let _ = self.stream.get_mut().write_all(bytes).await;
    }

    /// The next response; `None` if the server closed the connection instead.
    pub async fn answer(&mut self) -> Option<Heard> {
        let line = self.line().await?;
        let status = line.split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = HashMap::new();
        loop {
            let line = self.line().await?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        assert!(!headers.contains_key("transfer-encoding"), "{status} {headers:?}");
        let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await.ok()?;
        Some(Heard { status, headers, body })
    }

    /// Reads until the server has closed the connection.
    pub async fn closed(&mut self) {
        let mut rest = Vec::new();
        // A reset closes it as well.
        let _ = self.stream.read_to_end(&mut rest).await;
    }

    /// Closes the connection with a reset, like a process that is killed with
    /// unread data.
    pub fn reset(self) {
        self.stream.into_inner().set_zero_linger().unwrap();
    }

    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let count = self.stream.read_line(&mut line).await.ok()?;
        (count > 0).then(|| line.trim_end().to_owned())
    }
}
