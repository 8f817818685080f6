//! Clients that hold what others need: turns, memory, connections, descriptors.
//! Others go on getting answers, and memory stays within the limit that
//! `docs/operations.md` gives.

use crate::content::Content;
use crate::frames::{
    DATA, Frames, HEADERS, INITIAL_WINDOW_SIZE, LARGEST_WINDOW, RST_STREAM, connect_from,
};
use crate::images::{Image, put_manifest};
use crate::secure::{Secure, get as get_secure};
use crate::support::{TEST_LIMIT, ask, begin, closing, eventually, push_blob, request, within};
use crate::wire::Wire;
use roadstead_tests::{Registry, entry, send_on};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Whence the attacks come. Others come from 127.0.0.1.
pub const ATTACKER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

pub const REPOSITORY: &str = "under/attack";

/// Bytes of memory that no client and no number of them makes the process exceed,
/// by `docs/operations.md`, at the number of connections in these tests.
pub const MEMORY: u64 = 320 * 1024 * 1024;

/// The shortest time that a client may stall.
pub const STALL: (&str, &str) = ("REGISTRY_HTTP_STALLTIMEOUT", "1s");

pub const STREAMS: usize = 100;

/// Requests of a client that wants nothing special.
const HEALTHY: usize = 20;

/// Others get answers: each on a connection of its own.
pub async fn assert_serves(host: &Registry, status: u16) {
    for _ in 0..HEALTHY {
        ask(&host.address, uncached("GET /v2/"), status).await;
    }
}

/// A request that the component answers, and not the cache.
fn uncached(line: &str) -> http::Request<bytes::Bytes> {
    let mut request = request(line, "");
    request.headers_mut().insert("cache-control", "no-cache".parse().unwrap());
    request
}

pub fn assert_memory(host: &Registry, limit: u64) {
    let Ok(peak) = host.peak_memory() else { return };
    assert!(peak < limit, "{} MiB of memory", peak >> 20);
}

/// Nothing of the component ended by a trap, and nobody was answered with 500.
pub fn assert_no_failure(host: &Registry) {
    let log = host.log();
    assert!(!log.contains("the component failed") && !log.contains("status=500"), "{log}");
}

/// Clients without credentials announce a body and send a byte of it. Each gets
/// its 401 at once, and holds no turn.
#[tokio::test]
async fn refused_bodies_hold_no_turn() {
    let root = tempfile::tempdir().unwrap();
    let entry = entry().unwrap();
    let settings = [
        ("REGISTRY_AUTH", "htpasswd"),
        ("REGISTRY_AUTH_HTPASSWD_ENTRIES", entry.as_str()),
        ("REGISTRY_HTTP_MAXREQUESTS", "8"),
    ];
    let host = Registry::start(root.path(), &settings, &[]).unwrap();
    within(TEST_LIMIT, async {
        let line = format!("PUT /v2/{REPOSITORY}/manifests/latest");
        let mut connections = Vec::new();
        for _ in 0..4 {
            let mut frames = Frames::connect(ATTACKER, &host.address, &[]).await;
            for _ in 0..STREAMS {
                let stream = frames.open(&line, &[("content-length", "1000000")], false).await;
                frames.frame(DATA, 0, stream, b"x").await;
            }
            connections.push(frames);
        }
        let mut wires = Vec::new();
        for _ in 0..STREAMS {
            let mut stream = connect_from(ATTACKER, &host.address).await;
            let head = format!("{line} HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nx");
            stream.write_all(head.as_bytes()).await.unwrap();
            wires.push(stream);
        }
        for frames in &mut connections {
            assert_eq!(frames.count(HEADERS, STREAMS).await, STREAMS);
        }
        for stream in &mut wires {
            let mut start = [0; 12];
            stream.read_exact(&mut start).await.unwrap();
            assert_eq!(&start, b"HTTP/1.1 401");
        }
        assert_serves(&host, 401).await;
        assert_memory(&host, MEMORY);
    })
    .await;
}

/// Clients that may push send a part of a manifest. Others push meanwhile.
#[tokio::test]
async fn slow_small_bodies_hold_no_turn() {
    let root = tempfile::tempdir().unwrap();
    let host = Registry::start(root.path(), &[("REGISTRY_HTTP_MAXREQUESTS", "8")], &[]).unwrap();
    within(TEST_LIMIT, async {
        let head = format!("PUT /v2/{REPOSITORY}/manifests/a HTTP/1.1\r\nHost: a\r\n");
        let mut wires = Vec::new();
        for number in 0..64 {
            let from = IpAddr::from([127, 0, 5, number % 8 + 1]);
            let mut stream = connect_from(from, &host.address).await;
            let start = format!("{head}Content-Length: 9\r\n\r\n{{");
            stream.write_all(start.as_bytes()).await.unwrap();
            wires.push(stream);
        }
        let content = Content { seed: 10, size: 300 };
        let image = Image { config: content, layer: content };
        image.push_blobs(&host.address, REPOSITORY).await;
        ask(&host.address, put_manifest(REPOSITORY, "b", image.manifest()), 201).await;
        for stream in &mut wires {
            stream.write_all(b"}       ").await.unwrap();
            let mut start = [0; 12];
            stream.read_exact(&mut start).await.unwrap();
            assert_eq!(&start, b"HTTP/1.1 400");
        }
        assert_no_failure(&host);
    })
    .await;
}

/// `POST /v2/token` reads its form before it knows who sent it.
#[tokio::test]
async fn a_form_that_trickles_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let entry = entry().unwrap();
    let settings = [
        ("REGISTRY_AUTH", "token"),
        ("REGISTRY_AUTH_HTPASSWD_ENTRIES", entry.as_str()),
        ("REGISTRY_HTTP_MAXREQUESTS", "8"),
        ("REGISTRY_HTTP_MAXREQUESTSPERCLIENT", "4"),
        STALL,
    ];
    let host = Registry::start(root.path(), &settings, &[]).unwrap();
    within(TEST_LIMIT, async {
        let mut wires = Vec::new();
        for _ in 0..4 {
            let mut stream = connect_from(ATTACKER, &host.address).await;
            let head = "POST /v2/token HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n";
            stream.write_all(head.as_bytes()).await.unwrap();
            wires.push(stream);
        }
        let trickle = async {
            let mut start = [0; 12];
            loop {
                for stream in &mut wires {
                    let _ = stream.write_all(b"x").await;
                }
                let read = wires[0].read_exact(&mut start);
                if tokio::time::timeout(Duration::from_millis(300), read).await.is_ok() {
                    return start;
                }
            }
        };
        let (start, ()) = tokio::join!(trickle, assert_serves(&host, 401));
        assert_eq!(&start, b"HTTP/1.1 408");
    })
    .await;
}

/// A layer of which bytes arrive is not cut off, however slow its client is.
#[tokio::test]
async fn a_slow_push_that_moves_is_not_cut() {
    const PIECES: u64 = 12;
    let root = tempfile::tempdir().unwrap();
    let host = Registry::start(root.path(), &[STALL], &[]).unwrap();
    within(TEST_LIMIT, async {
        let content = Content { seed: 7, size: PIECES };
        let upload = begin(&host.address, REPOSITORY).await;
        let length = crate::content::Length::Announced;
        let mut wire = Wire::connect(&host.address).await;
        wire.start(&format!("PATCH {upload}"), length, PIECES).await;
        for piece in content.bytes().chunks(1) {
            wire.piece(length, piece).await;
            tokio::time::sleep(Duration::from_millis(700)).await;
        }
        assert_eq!(wire.answer().await.unwrap().status, 202);
        let line = format!("PUT {}", closing(&upload, &content.digest()));
        ask(&host.address, request(&line, ""), 201).await;
    })
    .await;
}

/// Bytes that arrived while the process was suspended count.
#[tokio::test]
async fn a_suspended_host_takes_what_has_arrived() {
    let root = tempfile::tempdir().unwrap();
    let host = Registry::start(root.path(), &[STALL], &[]).unwrap();
    within(TEST_LIMIT, async {
        let content = Content { seed: 8, size: 3_000_000 };
        let (bytes, half) = (content.bytes(), 1_500_000);
        let length = crate::content::Length::Announced;
        let mut wires = Vec::new();
        for _ in 0..8 {
            let upload = begin(&host.address, REPOSITORY).await;
            let mut wire = Wire::connect(&host.address).await;
            wire.start(&format!("PATCH {upload}"), length, content.size).await;
            wire.piece(length, &bytes[..half]).await;
            wires.push(wire);
        }
        host.signal("STOP").unwrap();
        let mut sending = Vec::new();
        for mut wire in wires {
            let bytes = bytes.clone();
            sending.push(tokio::spawn(async move {
                wire.piece(length, &bytes[half..]).await;
                wire.answer().await.unwrap().status
            }));
        }
        tokio::time::sleep(Duration::from_secs(3)).await;
        host.signal("CONT").unwrap();
        for sent in sending {
            assert_eq!(sent.await.unwrap(), 202);
        }
    })
    .await;
}

/// Windows of one byte, and large ones of connections that nobody reads: what is
/// read ahead has a limit, and the streams end.
#[tokio::test]
async fn tiny_windows_are_bounded_and_closed() {
    let root = tempfile::tempdir().unwrap();
    let host = Registry::start(root.path(), &[STALL], &[]).unwrap();
    within(TEST_LIMIT, async {
        let content = Content { seed: 9, size: 1024 * 1024 };
        push_blob(&host.address, REPOSITORY, &content.bytes()).await;
        let line = format!("GET /v2/{REPOSITORY}/blobs/{}", content.digest());
        let (mut tiny, mut unread) = (Vec::new(), Vec::new());
        for _ in 0..10 {
            let mut frames =
                Frames::connect(ATTACKER, &host.address, &[(INITIAL_WINDOW_SIZE, 1)]).await;
            for _ in 0..STREAMS {
                frames.open(&line, &[], true).await;
            }
            tiny.push(frames);
        }
        let other = IpAddr::from([127, 0, 0, 3]);
        for _ in 0..10 {
            let settings = [(INITIAL_WINDOW_SIZE, LARGEST_WINDOW)];
            let mut frames = Frames::connect(other, &host.address, &settings).await;
            frames.widen().await;
            for _ in 0..STREAMS {
                frames.open(&line, &[], true).await;
            }
            unread.push(frames);
        }
        for frames in &mut tiny {
            // The first byte of each is read; the second is never asked for. One
            // response that is short enough, as a 503, may wait for the end.
            assert!(frames.count(RST_STREAM, STREAMS).await >= STREAMS - 1);
        }
        eventually("connections that are not read end", async || {
            let mut closed = true;
            for frames in &mut unread {
                closed &= frames.is_closed().await;
            }
            closed.then_some(())
        })
        .await;
        assert_serves(&host, 200).await;
        assert_memory(&host, MEMORY);
        assert_no_failure(&host);
    })
    .await;
}

/// Connections over HTTP/1.1, plain and by TLS, that do not read a large layer.
#[tokio::test]
async fn slow_readers_are_closed() {
    const READERS: usize = 30;
    let secure = Secure::start(&[STALL], &[]);
    let root = tempfile::tempdir().unwrap();
    let plain = Registry::start(root.path(), &[STALL], &[]).unwrap();
    within(TEST_LIMIT, async {
        let content = Content { seed: 10, size: 24 * 1024 * 1024 };
        push_blob(&plain.address, REPOSITORY, &content.bytes()).await;
        let path = format!("/v2/{REPOSITORY}/blobs/{}", content.digest());
        let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        let mut readers = Vec::new();
        for _ in 0..READERS {
            let mut stream = connect_from(ATTACKER, &plain.address).await;
            stream.write_all(head.as_bytes()).await.unwrap();
            readers.push(stream);
        }
        let client = secure.client();
        let line = format!(
            "POST {}",
            closing(&format!("/v2/{REPOSITORY}/blobs/uploads/"), &content.digest())
        );
        let stream = client.connect(&secure.host.address).await.unwrap();
        let answer = send_on(stream, &secure.host.address, request(&line, content.bytes())).await;
        assert_eq!(answer.unwrap().status(), 201);
        let http1 = client.clone().speaking(&["http/1.1"]);
        let mut encrypted = Vec::new();
        for _ in 0..READERS {
            let mut stream = http1.connect(&secure.host.address).await.unwrap();
            stream.write_all(head.as_bytes()).await.unwrap();
            encrypted.push(stream);
        }
        // What is sent to a connection that has been closed fails.
        eventually("connections that are not read end", async || {
            let mut closed = true;
            for stream in &mut readers {
                closed &= stream.write_all(b"G").await.is_err();
            }
            for stream in &mut encrypted {
                closed &= stream.write_all(b"G").await.is_err();
            }
            closed.then_some(())
        })
        .await;
        assert_serves(&plain, 200).await;
        let answer = get_secure(client.connect(&secure.host.address).await.unwrap(), "/v2/", &[]);
        assert_eq!(answer.await.unwrap().status(), 200);
        assert_memory(&plain, MEMORY);
        assert_memory(&secure.host, MEMORY);
    })
    .await;
}
