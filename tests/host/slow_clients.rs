//! What slow clients cost others: a measurement.

use crate::attacks::REPOSITORY;
use crate::content::Content;
use crate::frames::{Frames, INITIAL_WINDOW_SIZE, connect_from};
use crate::support::push_blob;
use bytes::Bytes;
use http::{Request, Version, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use roadstead_tests::Registry;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// How long each rate is measured.
const TIME: Duration = Duration::from_secs(3);

/// How long slow clients are there before: until they have been sent what their
/// sockets have room for, and the first of them have been given up.
const SETTLING: Duration = Duration::from_secs(10);

/// Clients that are slow, each in its own way.
#[derive(Clone, Copy, Debug)]
enum Slow {
    /// Sends half of a request's head.
    Head,
    /// Sends half of a manifest.
    Body,
    /// Reads nothing of a blob.
    Reader,
    /// Reads nothing of a blob over HTTP/2, with a window of one byte.
    Window,
    /// The same, with windows that take all of it.
    Unread,
}

/// What the others do.
#[derive(Clone, Copy, Debug)]
enum Healthy {
    Tags,
    Blob,
    BlobOverHttp2,
    Push,
}

/// Prints the rates of healthy clients beside 2,000 slow connections, and the median
/// ratio of as many rounds as the variable says; asserts nothing. `ROADSTEAD_MEASURE_CELL`
/// limits it to the cells that have its text in their names, such as `Blob beside [Reader]`.
#[tokio::test(flavor = "multi_thread")]
async fn healthy_clients_beside_slow_ones() {
    const NAME: &str = "healthy_clients_beside_slow_ones";
    const ALL: [Slow; 5] = [Slow::Head, Slow::Body, Slow::Reader, Slow::Window, Slow::Unread];
    let Some(rounds) = std::env::var_os("ROADSTEAD_MEASURE_SLOW") else {
        roadstead_tests::skip(NAME, "ROADSTEAD_MEASURE_SLOW is not set");
        return;
    };
    let rounds: u32 = rounds.to_str().unwrap().parse().unwrap();
    let only = std::env::var("ROADSTEAD_MEASURE_CELL").unwrap_or_default();
    let root = tempfile::tempdir().unwrap();
    let host = Registry::start(root.path(), &[], &[]).unwrap();
    let content = Content { seed: 50, size: 8 * 1024 * 1024 };
    push_blob(&host.address, REPOSITORY, &content.bytes()).await;
    let blob = format!("/v2/{REPOSITORY}/blobs/{}", content.digest());
    for healthy in [Healthy::Tags, Healthy::Blob, Healthy::BlobOverHttp2, Healthy::Push] {
        healthy.rate(&host.address, &blob).await;
        for kinds in ALL.chunks(1).chain([&ALL[..]]) {
            let cell = format!("{healthy:?} beside {kinds:?}");
            if !cell.contains(&only) {
                continue;
            }
            let mut ratios = Vec::new();
            for _ in 0..rounds {
                let (before, _) = healthy.rate(&host.address, &blob).await;
                let slow = slow_connections(&host.address, &blob, kinds).await;
                tokio::time::sleep(SETTLING).await;
                let (beside, refused) = healthy.rate(&host.address, &blob).await;
                let count = slow.len();
                drop(slow);
                let (after, _) = healthy.rate(&host.address, &blob).await;
                let ratio = 2.0 * beside / (before + after);
                eprintln!(
                    "{healthy:?}: {before:.0}/s and {after:.0}/s alone, {beside:.0}/s beside \
                     {count} of {kinds:?}, ratio {ratio:.2}, {refused} refused"
                );
                ratios.push(ratio);
            }
            ratios.sort_by(f64::total_cmp);
            let median = ratios.get(ratios.len() / 2).copied().unwrap_or_default();
            eprintln!("{cell}: median ratio {median:.2}");
        }
    }
    eprintln!("peak memory: {} MiB", host.peak_memory().unwrap_or_default() >> 20);
}

/// 2,000 slow connections of these kinds, from 8 addresses.
async fn slow_connections(address: &str, blob: &str, kinds: &[Slow]) -> Vec<Box<dyn Send>> {
    let mut slow: Vec<Box<dyn Send>> = Vec::new();
    for (number, kind) in (0..2000_u16).zip(kinds.iter().cycle()) {
        let from = IpAddr::from([127, 0, 4, u8::try_from(number / 5 % 8 + 1).unwrap()]);
        let start = match kind {
            Slow::Head => "GET /v2/ HTTP/1.1\r\nHost: a\r\nX-A: ".to_owned(),
            Slow::Body => {
                let put = format!("PUT /v2/{REPOSITORY}/manifests/a");
                format!("{put} HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{{")
            }
            Slow::Reader => format!("GET {blob} HTTP/1.1\r\nHost: a\r\n\r\n"),
            Slow::Window | Slow::Unread => {
                let window = if matches!(kind, Slow::Window) { 1 } else { 1 << 24 };
                let settings = [(INITIAL_WINDOW_SIZE, window)];
                let mut frames = Frames::connect(from, address, &settings).await;
                frames.open(&format!("GET {blob}"), &[], true).await;
                slow.push(Box::new(frames));
                continue;
            }
        };
        let mut stream = connect_from(from, address).await;
        stream.write_all(start.as_bytes()).await.unwrap();
        slow.push(Box::new(stream));
    }
    slow
}

/// Sends requests on a connection that stays open.
enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Sender {
    async fn connect(address: &str, version: Version) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let stream = TokioIo::new(stream);
        if version == Version::HTTP_2 {
            let (sender, connection) = http2::Builder::new(TokioExecutor::new())
                .initial_stream_window_size(1 << 20)
                .initial_connection_window_size(1 << 20)
                .handshake(stream)
                .await
                .unwrap();
            tokio::spawn(connection);
            return Self::Http2(sender);
        }
        let (sender, connection) = http1::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        Self::Http1(sender)
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> http::Response<Incoming> {
        match self {
            Self::Http1(sender) => {
                sender.ready().await.unwrap();
                sender.send_request(request).await.unwrap()
            }
            Self::Http2(sender) => {
                sender.ready().await.unwrap();
                sender.send_request(request).await.unwrap()
            }
        }
    }
}

impl Healthy {
    fn version(self) -> Version {
        match self {
            Self::BlobOverHttp2 => Version::HTTP_2,
            _ => Version::HTTP_11,
        }
    }

    fn request(self, address: &str, blob: &str) -> Request<Full<Bytes>> {
        static PUSHED: AtomicU32 = AtomicU32::new(0);
        let mut bytes = Bytes::new();
        let (method, path) = match self {
            Self::Tags => ("GET", format!("/v2/{REPOSITORY}/tags/list")),
            Self::Blob | Self::BlobOverHttp2 => ("GET", blob.to_owned()),
            Self::Push => {
                bytes = PUSHED.fetch_add(1, Ordering::Relaxed).to_string().into();
                let digest = roadstead_tests::digest(&bytes);
                ("POST", format!("/v2/{REPOSITORY}/blobs/uploads/?digest={digest}"))
            }
        };
        let request = Request::builder().method(method).header(header::CACHE_CONTROL, "no-cache");
        let request = match self.version() {
            Version::HTTP_2 => request.uri(format!("http://{address}{path}")),
            _ => request.uri(path).header(header::HOST, address),
        };
        request.body(Full::new(bytes)).unwrap()
    }

    /// Requests per second of some clients, and how many were refused.
    async fn rate(self, address: &str, blob: &str) -> (f64, u32) {
        const CLIENTS: usize = 8;
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let (address, blob) = (address.to_owned(), blob.to_owned());
            clients.spawn(async move {
                let mut sender = Sender::connect(&address, self.version()).await;
                let (start, mut done, mut refused) = (Instant::now(), 0_u32, 0);
                while start.elapsed() < TIME {
                    let response = sender.send(self.request(&address, &blob)).await;
                    let succeeds = response.status().is_success();
                    let mut body = response.into_body();
                    while body.frame().await.is_some() {}
                    if succeeds { done += 1 } else { refused += 1 }
                }
                (done, refused)
            });
        }
        let counts = clients.join_all().await;
        let done: u32 = counts.iter().map(|(done, _)| done).sum();
        (f64::from(done) / TIME.as_secs_f64(), counts.iter().map(|(_, refused)| refused).sum())
    }
}
