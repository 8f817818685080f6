//! Ranges of large blobs over plain HTTP/1.1, where the kernel sends files:
//! consecutive responses do not mix.

use http::Request;
use roadstead_tests::{Registry, digest, send};
use std::fmt::Write as _;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The size of the blob in bytes: not a multiple of the pieces in which files are
/// sent.
const SIZE: usize = 5 * 1024 * 1024 + 77;

/// The number of clients that read nothing of their responses.
const SLOW: usize = 64;

/// Resident memory that the host may use meanwhile, in bytes.
const MEMORY_LIMIT: u64 = 100 * 1024 * 1024;

const LIMIT: Duration = Duration::from_mins(1);

fn blob() -> Vec<u8> {
    (0..SIZE).map(|i| u8::try_from(((i / 3) ^ (i >> 16)) % 251).unwrap()).collect()
}

async fn start() -> (tempfile::TempDir, Registry, String) {
    // On a disk: in memory there is nothing to read ahead.
    let root = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let host = Registry::start(root.path(), &[], &[]).unwrap();
    let path = format!("/v2/parts/blobs/{}", digest(&blob()));
    let upload = format!("/v2/parts/blobs/uploads/?digest={}", digest(&blob()));
    let upload = Request::post(upload).body(blob().into()).unwrap();
    let pushed = send(&host.address, upload).await.unwrap();
    assert_eq!(pushed.status(), 201);
    (root, host, path)
}

/// The next response on a connection: its status and its body.
async fn answer(stream: &mut TcpStream, head: bool) -> (u16, Vec<u8>) {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        text.push(stream.read_u8().await.unwrap());
    }
    let text = String::from_utf8(text).unwrap().to_lowercase();
    let status = text.split(' ').nth(1).unwrap().parse().unwrap();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; if head { 0 } else { length.parse().unwrap() }];
    stream.read_exact(&mut body).await.unwrap();
    (status, body)
}

#[tokio::test]
async fn answers_follow_one_another() {
    let (_root, host, path) = start().await;
    let (blob, end) = (blob(), SIZE - 1);
    let ranges = [
        String::new(),
        "0-0".to_owned(),
        format!("1-{}", 2 * 1024 * 1024),
        "300000-".to_owned(),
        "-3000000".to_owned(),
        format!("{end}-{end}"),
        format!("{}-", SIZE + 1),
    ];
    let part = |range: &str| match range.split_once('-') {
        None => Some(&blob[..]),
        Some(("", last)) => Some(&blob[SIZE - last.parse::<usize>().unwrap()..]),
        Some((first, "")) => blob.get(first.parse().unwrap()..),
        Some((first, last)) => blob.get(first.parse().unwrap()..=last.parse().unwrap()),
    };
    let mut stream = TcpStream::connect(&host.address).await.unwrap();
    let exchange = async {
        // The first time from the disk, the second time from the page cache.
        for _ in 0..2 {
            // All requests at once (pipelined).
            let mut requests = String::new();
            for range in &ranges {
                let range =
                    if range.is_empty() { "" } else { &format!("Range: bytes={range}\r\n") };
                write!(requests, "GET {path} HTTP/1.1\r\nHost: r\r\n{range}\r\n").unwrap();
                write!(requests, "HEAD {path} HTTP/1.1\r\nHost: r\r\n\r\n").unwrap();
            }
            stream.write_all(requests.as_bytes()).await.unwrap();
            for range in &ranges {
                let (status, body) = answer(&mut stream, false).await;
                match part(range).filter(|part| !part.is_empty()) {
                    Some(part) => assert!(body == part, "{range}: {} bytes", body.len()),
                    None => assert_eq!(status, 416, "{range}"),
                }
                assert_eq!(answer(&mut stream, true).await.0, 200);
            }
        }
    };
    timeout(LIMIT, exchange).await.unwrap();
}

#[tokio::test]
async fn clients_that_take_nothing_or_leave() {
    let (_root, host, path) = start().await;
    let request = format!("GET {path} HTTP/1.1\r\nHost: r\r\n\r\n");
    let mut slow = Vec::new();
    for _ in 0..SLOW {
        let mut stream = TcpStream::connect(&host.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    for stream in &mut slow {
        // The response has begun.
        timeout(LIMIT, stream.readable()).await.unwrap().unwrap();
    }
    let peak = host.peak_memory().unwrap();
    assert!(peak < MEMORY_LIMIT, "{SLOW} slow readers took {peak} bytes");
    // Half of them disconnect; the others read everything.
    for mut stream in slow.drain(SLOW / 2..) {
        let _ = timeout(LIMIT, stream.read_u8()).await.unwrap();
    }
    let expected = blob();
    for mut stream in slow {
        let (status, body) = timeout(LIMIT, answer(&mut stream, false)).await.unwrap();
        assert!(status == 200 && body == expected);
    }
}
