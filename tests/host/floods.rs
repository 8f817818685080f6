//! Many at once: connections, streams, frames, lists, manifests.

use crate::attacks::{
    ATTACKER, MEMORY, REPOSITORY, STALL, STREAMS, assert_memory, assert_no_failure, assert_serves,
};
use crate::content::Content;
use crate::disk::Disk;
use crate::frames::{
    CONTINUATION, END_HEADERS, END_STREAM, Frames, HEADERS, INITIAL_WINDOW_SIZE, RST_STREAM, block,
    connect_from, literal,
};
use crate::images::{Image, pull, put_manifest};
use crate::secure::Secure;
use crate::support::{TEST_LIMIT, ask, assert_well, logged, push_blob, request, within};
use bytes::Bytes;
use roadstead_tests::{Registry, binary, send};
use serde_json::json;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::process::Command;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Sends a request and leaves its response unread until the headers are there.
async fn idle(from: IpAddr, address: &str) -> TcpStream {
    let mut stream = connect_from(from, address).await;
    stream.write_all(b"GET /v2/ HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut start = [0; 12];
    stream.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");
    stream
}

/// Whether the server has closed a connection, of which all is read.
async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut bytes = Vec::new();
    let read = stream.read_to_end(&mut bytes);
    tokio::time::timeout(std::time::Duration::from_secs(10), read).await.is_ok()
}

#[tokio::test]
async fn connections_of_one_client_leave_room() {
    let root = tempfile::tempdir().unwrap();
    let settings =
        [("REGISTRY_HTTP_MAXCONNECTIONS", "32"), ("REGISTRY_HTTP_MAXCONNECTIONSPERCLIENT", "8")];
    let host = Registry::start(root.path(), &settings, &[]).unwrap();
    within(TEST_LIMIT, async {
        let mut connections = Vec::new();
        for _ in 0..64 {
            connections.push(idle(ATTACKER, &host.address).await);
        }
        // Its own connections made room, and nobody else's.
        assert!(is_closed(&mut connections[0]).await);
        assert_serves(&host, 200).await;
        logged(&host, "REGISTRY_HTTP_MAXCONNECTIONSPERCLIENT").await;
    })
    .await;
}

#[tokio::test]
async fn the_idlest_connection_makes_room() {
    let root = tempfile::tempdir().unwrap();
    let host =
        Registry::start(root.path(), &[("REGISTRY_HTTP_MAXCONNECTIONS", "16")], &[]).unwrap();
    within(TEST_LIMIT, async {
        let mut connections = Vec::new();
        for last in 0..16 {
            let from = IpAddr::from([127, 0, 1, last + 1]);
            connections.push(idle(from, &host.address).await);
        }
        assert_serves(&host, 200).await;
        assert!(is_closed(&mut connections[0]).await);
        logged(&host, "REGISTRY_HTTP_MAXCONNECTIONS").await;
    })
    .await;
}

/// With few descriptors, connections leave enough of them for pushes and pulls.
#[tokio::test]
async fn idle_connections_leave_descriptors_to_storage() {
    let root = tempfile::tempdir().unwrap();
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -n 256 && exec \"$0\" serve"])
        .arg(binary().unwrap())
        .env("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", root.path())
        .env("REGISTRY_HTTP_ADDR", "127.0.0.1:0");
    let host = Registry::serve(command).unwrap();
    within(TEST_LIMIT, async {
        let mut connections = Vec::new();
        for number in 0..300_u16 {
            let from = IpAddr::from([127, 0, 1, u8::try_from(number % 100 + 1).unwrap()]);
            connections.push(connect_from(from, &host.address).await);
        }
        let content = Content { seed: 20, size: 3_000_000 };
        let image = Image { config: Content { seed: 21, size: 300 }, layer: content };
        image.push_blobs(&host.address, REPOSITORY).await;
        ask(&host.address, put_manifest(REPOSITORY, "one", image.manifest()), 201).await;
        pull(&host.address, REPOSITORY, "one").await;
        assert_well(&host.address).await;
        logged(&host, "the limit of open files allows").await;
        assert_no_failure(&host);
    })
    .await;
}

/// More streams than there are turns, again and again.
#[tokio::test]
async fn stream_floods_leave_turns_for_others() {
    let root = tempfile::tempdir().unwrap();
    let settings =
        [("REGISTRY_HTTP_MAXREQUESTS", "32"), ("REGISTRY_HTTP_MAXREQUESTSPERCLIENT", "8")];
    let host = Registry::start(root.path(), &settings, &[]).unwrap();
    within(TEST_LIMIT, async {
        let flood = async |address: String| {
            let mut frames = Frames::connect(ATTACKER, &address, &[]).await;
            let line = format!("GET /v2/{REPOSITORY}/tags/list");
            for _ in 0..3 {
                for _ in 0..STREAMS {
                    frames.open(&line, &[("cache-control", "no-cache")], true).await;
                }
                frames.ended(STREAMS).await;
            }
        };
        let mut floods = tokio::task::JoinSet::new();
        for _ in 0..20 {
            floods.spawn(flood(host.address.clone()));
        }
        assert_serves(&host, 200).await;
        floods.join_all().await;
        assert_serves(&host, 200).await;
        assert_memory(&host, MEMORY);
        assert_no_failure(&host);
    })
    .await;
}

/// Frames that no honest client sends, over TCP and over TLS.
#[tokio::test]
async fn abusive_frames_end_their_connection() {
    let secure = Secure::start(&[], &[]);
    let root = tempfile::tempdir().unwrap();
    let plain = Registry::start(root.path(), &[], &[]).unwrap();
    within(TEST_LIMIT, async {
        let client = secure.client().speaking(&["h2"]);
        for abuse in [Abuse::Resets, Abuse::Continuations, Abuse::Bomb, Abuse::Large] {
            abuse.send(Frames::connect(ATTACKER, &plain.address, &[]).await).await;
            let stream = client.connect(&secure.host.address).await.unwrap();
            abuse.send(Frames::begin(stream, &[]).await).await;
            assert_serves(&plain, 200).await;
            let answer = secure.client().get(&secure.host.address, "/v2/").await.unwrap();
            assert_eq!(answer.status(), 200, "{abuse:?}");
        }
        for host in [&plain, &secure.host] {
            assert_memory(host, MEMORY);
            assert_no_failure(host);
        }
    })
    .await;
}

#[derive(Clone, Copy, Debug)]
enum Abuse {
    /// Requests that are reset at once (CVE-2023-44487).
    Resets,
    /// A head without an end (CVE-2024-27316).
    Continuations,
    /// A head that names one large remembered header again and again.
    Bomb,
    /// A header of megabytes.
    Large,
}

impl Abuse {
    /// Abuses a connection. All but [`Abuse::Resets`], some of which are allowed,
    /// end the stream or the connection.
    async fn send<S: AsyncRead + AsyncWrite + Unpin>(self, mut frames: Frames<S>) {
        const PIECE: usize = 16 * 1024;
        let get = block("GET /v2/", &[]);
        match self {
            Self::Resets => {
                for _ in 0..10_000 {
                    let stream = frames.open("GET /v2/", &[], true).await;
                    if !frames.frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()).await {
                        break;
                    }
                }
                return;
            }
            Self::Continuations | Self::Large => {
                let stream = frames.next_stream();
                frames.frame(HEADERS, END_STREAM, stream, &get).await;
                let whole = literal(0, "x-a", &"a".repeat(PIECE - 16));
                let rest = literal(0, "x-b", &"b".repeat(64 * 1024 * 1024));
                for number in 0..4000 {
                    let piece = match self {
                        Self::Continuations => &whole[..],
                        _ => rest.chunks(PIECE).nth(number).unwrap_or_default(),
                    };
                    if !frames.frame(CONTINUATION, 0, stream, piece).await {
                        break;
                    }
                }
            }
            Self::Bomb => {
                let stream = frames.next_stream();
                let mut head = [get, literal(0x40, "x-a", &"a".repeat(3000))].concat();
                // The remembered header, by its index.
                head.extend([0x80 | 0x3e; 10_000]);
                frames.frame(HEADERS, END_STREAM | END_HEADERS, stream, &head).await;
                // 431, or the end of the connection.
                frames.ended(1).await;
                return;
            }
        }
        frames.closed().await;
    }
}

/// Connections that begin and say nothing, or little, or nothing more.
#[tokio::test]
async fn slow_heads_and_idle_connections() {
    // Fewer in all than the 1,024 descriptors that a process usually may have.
    const EACH: usize = 120;
    let secure = Secure::start(&[], &[]);
    let root = tempfile::tempdir().unwrap();
    let plain = Registry::start(root.path(), &[], &[]).unwrap();
    within(TEST_LIMIT, async {
        let mut open = Vec::new();
        for (address, start) in [
            (&plain.address, &b""[..]),
            (&plain.address, b"GET /v2/ HTTP/1.1\r\nHost: a\r\nX-A: "),
            (&plain.address, b"PRI * HTTP/2.0\r\n\r\nSM"),
            (&plain.address, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x09\x01"),
            (&secure.host.address, b"\x16\x03\x01\x02\0\x01\0\x01\x7c\x03\x03"),
        ] {
            for _ in 0..EACH {
                let mut stream = connect_from(ATTACKER, address).await;
                stream.write_all(start).await.unwrap();
                open.push(stream);
            }
        }
        assert_serves(&plain, 200).await;
        let answer = secure.client().get(&secure.host.address, "/v2/").await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_memory(&plain, MEMORY);
        assert_memory(&secure.host, MEMORY);
    })
    .await;
}

/// Large lists that nobody reads: of referrers, and of tags.
#[tokio::test]
async fn unread_lists_end_no_instance() {
    const CONNECTIONS: usize = 3;
    let root = tempfile::tempdir().unwrap();
    let host = Registry::start(root.path(), &[STALL], &[]).unwrap();
    within(TEST_LIMIT, async {
        let subject = push_referrers(&host.address).await;
        let digest = push_many_tags(&host.address, Disk(root.path())).await;
        for line in [
            format!("GET /v2/{REPOSITORY}/referrers/{subject}"),
            "GET /v2/many/tags/tags/list?n=10000".to_owned(),
        ] {
            let list = ask(&host.address, request(&line, ""), 200).await;
            assert!(list.body().len() > 1_000_000, "{}", list.body().len());
            let mut unread = Vec::new();
            for number in 0..CONNECTIONS {
                let from = IpAddr::from([127, 0, 2, u8::try_from(number + 1).unwrap()]);
                let settings = [(INITIAL_WINDOW_SIZE, 1)];
                let mut frames = Frames::connect(from, &host.address, &settings).await;
                for _ in 0..STREAMS {
                    frames.open(&line, &[], true).await;
                }
                unread.push(frames);
            }
            for seed in 40..50 {
                let content = Content { seed, size: 1_500_000 };
                push_blob(&host.address, REPOSITORY, &content.bytes()).await;
            }
            assert_serves(&host, 200).await;
            for frames in &mut unread {
                assert_eq!(frames.count(HEADERS, STREAMS).await, STREAMS);
            }
        }
        pull(&host.address, "many/tags", &digest).await;
        assert_no_failure(&host);
        // Besides what waits for clients, the memory of instances.
        assert_memory(&host, 3 * MEMORY);
    })
    .await;
}

/// Pushes a manifest and so many referrers that their list has 4 MiB.
async fn push_referrers(address: &str) -> String {
    let empty = Bytes::from_static(b"{}");
    push_blob(address, REPOSITORY, &empty).await;
    let descriptor = json!({
        "mediaType": "application/vnd.oci.empty.v1+json",
        "digest": roadstead_tests::digest(&empty), "size": 2,
    });
    let manifest = |annotation: String, subject: Option<serde_json::Value>| {
        let mut manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "artifactType": "application/vnd.test", "config": descriptor, "layers": [descriptor],
            "annotations": { "text": annotation },
        });
        if let Some(subject) = subject {
            manifest["subject"] = subject;
        }
        Bytes::from(manifest.to_string())
    };
    let subject = manifest("subject".to_owned(), None);
    ask(address, put_manifest(REPOSITORY, "subject", subject.clone()), 201).await;
    let digest = roadstead_tests::digest(&subject);
    let link = json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": digest, "size": subject.len(),
    });
    for number in 0..50 {
        let text = format!("{number}{}", "x".repeat(80_000));
        let referrer = manifest(text, Some(link.clone()));
        let own = roadstead_tests::digest(&referrer);
        ask(address, put_manifest(REPOSITORY, &own, referrer), 201).await;
    }
    digest
}

/// Pushes an image with 10,000 tags of great length.
async fn push_many_tags(address: &str, disk: Disk<'_>) -> String {
    let content = Content { seed: 30, size: 500 };
    let image = Image { config: content, layer: content };
    image.push_blobs(address, "many/tags").await;
    let manifest = image.manifest();
    ask(address, put_manifest("many/tags", "first", manifest.clone()), 201).await;
    let digest = roadstead_tests::digest(&manifest);
    for number in 0..10_000 {
        let link = disk.tag_link("many/tags", &format!("{}-{number}", "t".repeat(110)));
        std::fs::create_dir_all(link.parent().unwrap()).unwrap();
        std::fs::write(link, &digest).unwrap();
    }
    digest
}

/// Manifests of 3.5 MB, of tiny annotations, pushed at once by several clients.
#[tokio::test]
async fn large_manifests_at_once_end_no_instance() {
    const PUSHES: usize = 160;
    let root = tempfile::tempdir().unwrap();
    let host = Registry::start(root.path(), &[], &[]).unwrap();
    within(TEST_LIMIT, async {
        let content = Content { seed: 31, size: 500 };
        Image { config: content, layer: content }.push_blobs(&host.address, REPOSITORY).await;
        let manifest = tiny_annotations(content, 3_500_000);
        let mut pushes = tokio::task::JoinSet::new();
        for number in 0..PUSHES {
            let (address, manifest) = (host.address.clone(), manifest.clone());
            pushes.spawn(async move {
                let request = put_manifest(REPOSITORY, &format!("tag-{number}"), manifest);
                let from = IpAddr::from([127, 0, 3, u8::try_from(number % 4 + 1).unwrap()]);
                let answer = roadstead_tests::send_from(from, &address, request).await;
                // A client that is still sending may lose its refusal.
                answer.map_or(503, |answer| answer.status().as_u16())
            });
        }
        assert_serves(&host, 200).await;
        let statuses = pushes.join_all().await;
        // Refused by their form, or for load; but none failed.
        assert!(
            statuses.iter().all(|status| [201, 400, 413, 503].contains(status)),
            "{statuses:?}"
        );
        assert!(statuses.iter().any(|status| *status < 500), "{statuses:?}");
        assert_no_failure(&host);
        assert_memory(&host, 3 * MEMORY);
        let small = Image { config: content, layer: content }.manifest();
        ask(&host.address, put_manifest(REPOSITORY, "small", small), 201).await;
        send(&host.address, request("GET /v2/", "")).await.unwrap();
    })
    .await;
}

fn tiny_annotations(content: Content, size: usize) -> Bytes {
    let manifest = Image { config: content, layer: content }.manifest();
    let text = String::from_utf8(manifest.to_vec()).unwrap();
    let (start, end) = text.split_once("\"test.padding\"").unwrap();
    let mut tiny = start.to_owned();
    let mut number = 0;
    while tiny.len() < size {
        write!(tiny, "\"{number:x}\":\"\",").unwrap();
        number += 1;
    }
    Bytes::from(format!("{tiny}\"test.padding\"{end}"))
}
