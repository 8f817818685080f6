//! Layers with known length and digest: the store itself verifies them, and no
//! instance holds their bytes.

use super::{BUCKET, Instances, NAME, closing, content, header_of, request};
use crate::large::{MEMORY_LIMIT, exchange, named};
use bytes::Bytes;
use futures::stream;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, StreamBody};
use hyper::body::Frame;
use object_store::ObjectStoreExt as _;
use object_store::path::Path;
use roadstead_tests::{data_key, open_bucket};
use sha2::{Digest as _, Sha256};
use std::convert::Infallible;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

const MIB: usize = 1024 * 1024;

/// The size of a layer in MiB, overridden by `ROADSTEAD_LAYER_MIB`.
const SIZE: usize = 96;

/// The prefix of blobs in the bucket.
fn place(blob: &str) -> Path {
    Path::from(data_key(blob))
}

#[tokio::test]
async fn a_layer_of_known_length() {
    let Some(all) = Instances::start("a_layer_of_known_length") else { return };
    let size = std::env::var("ROADSTEAD_LAYER_MIB").map_or(SIZE, |size| size.parse().unwrap());
    let store = open_bucket(all.garage.settings(BUCKET, 0)).unwrap();
    let uploads = format!("/v2/{NAME}/blobs/uploads/");
    let mut seed = 0;
    let mut new_layer = || {
        seed += size;
        let mut sha256 = Sha256::new();
        (0..size).for_each(|index| sha256.update(content(seed + index, MIB)));
        (seed, sha256)
    };

    let mut blob = String::new();
    for (turn, registry) in all.registries.iter().enumerate() {
        // In one request, and as the closing PUT of an upload.
        for whole in [true, false] {
            let (seed, sha256) = new_layer();
            blob = named(sha256);
            let put = if whole {
                Request::post(format!("{uploads}?digest={blob}"))
            } else {
                let begun = all.ask(turn, request("POST", &uploads, &[], Bytes::new())).await;
                Request::put(closing(header_of(&begun, "location"), &blob))
            };
            let (status, took) = send_layer(&registry.address, put, seed, size).await;
            assert_eq!(status, 201, "instance {turn}");
            println!("{size} MiB, instance {turn}: {}", rate(size, took));
            // One object without parts: it was sent as a whole.
            let found = store.bucket.head(&place(&blob)).await.unwrap();
            assert_eq!(found.size, (size * MIB) as u64);
            assert!(!found.e_tag.unwrap().contains('-'), "instance {turn}");
        }
    }

    // The same without a registry, directly to the store.
    let (seed, sha256) = new_layer();
    let s3 = store.s3.unwrap();
    let head = s3.put_verified(&Path::from("direct"), &sha256.finalize(), None).await.unwrap();
    let address = head.uri.authority().unwrap().to_string();
    let path: Uri = head.uri.path().parse().unwrap();
    let mut put = Request::put(path);
    *put.headers_mut().unwrap() = head.headers;
    let (status, took) = send_layer(&address, put, seed, size).await;
    assert_eq!(status, 200);
    println!("{size} MiB, the store itself: {}", rate(size, took));

    // Pulls: from the instance that serves blobs itself, and by another one's
    // redirect.
    let path = format!("/v2/{NAME}/blobs/{blob}");
    for (turn, what) in [(1, "pulled from instance 1"), (0, "pulled from the store itself")] {
        let mut place = (all.registries[turn].address.clone(), path.clone());
        if turn == 0 {
            let sent = all.ask(turn, request("GET", &path, &[], Bytes::new())).await;
            let location: Uri = header_of(&sent, "location").parse().unwrap();
            let path = location.path_and_query().unwrap().to_string();
            place = (location.authority().unwrap().to_string(), path);
        }
        let took = receive_layer(&place.0, &place.1, size).await;
        println!("{size} MiB, {what}: {}", rate(size, took));
    }

    for registry in &all.registries[..2] {
        let peak = registry.peak_memory().unwrap();
        println!("peak memory {} MiB", peak >> 20);
        assert!(peak < MEMORY_LIMIT, "{peak} bytes of memory");
    }
}

#[tokio::test]
async fn what_the_store_refuses_is_not_there() {
    let Some(all) = Instances::start("what_the_store_refuses_is_not_there") else { return };
    let store = open_bucket(all.garage.settings(BUCKET, 0)).unwrap();
    let uploads = format!("/v2/{NAME}/blobs/uploads/");
    let (layer, other) = (content(1, 7 * MIB), content(2, 7 * MIB));
    let (right, wrong) = (roadstead_tests::digest(&layer), roadstead_tests::digest(&other));
    for (turn, registry) in all.registries.iter().enumerate() {
        for whole in [true, false] {
            let (method, path) = if whole {
                ("POST", format!("{uploads}?digest={wrong}"))
            } else {
                let begun = all.ask(turn, request("POST", &uploads, &[], Bytes::new())).await;
                ("PUT", closing(header_of(&begun, "location"), &wrong))
            };
            let answer = all.ask(turn, request(method, &path, &[], layer.clone())).await;
            assert_eq!(answer.status(), 400, "instance {turn}: {answer:?}");
            let body: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
            assert_eq!(body["errors"][0]["code"], "DIGEST_INVALID", "{body}");
            assert_eq!(body["errors"][0]["detail"]["expected"], wrong, "{body}");
            if !whole {
                let gone = all.ask(turn, request("GET", &path, &[], Bytes::new())).await;
                assert_eq!(gone.status(), 404, "instance {turn}: {gone:?}");
            }
        }

        // An interrupted upload.
        let mut stream = TcpStream::connect(&registry.address).await.unwrap();
        let head = format!(
            "POST {uploads}?digest={right} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n",
            layer.len()
        );
        tokio::io::AsyncWriteExt::write_all(&mut stream, head.as_bytes()).await.unwrap();
        let part = &layer[..6 * MIB];
        tokio::io::AsyncWriteExt::write_all(&mut stream, part).await.unwrap();
        drop(stream);
        for blob in [&right, &wrong] {
            let found = store.bucket.head(&place(blob)).await;
            assert!(matches!(found, Err(object_store::Error::NotFound { .. })), "{found:?}");
            assert_eq!(all.pull(turn, blob).await.status(), 404);
        }
        // The next request is answered normally.
        let path = format!("{uploads}?digest={right}");
        let answer = all.ask(turn, request("POST", &path, &[], layer.clone())).await;
        assert_eq!(answer.status(), 201, "instance {turn}: {answer:?}");
        assert_eq!(all.pull(turn, &right).await.body(), &layer);
        store.bucket.delete(&place(&right)).await.unwrap();
        // A client that disconnects or sends wrong bytes is not an error of the
        // registry; wasmtime's HTTP client does not report why it stopped.
        let log = registry.log();
        assert!(turn == 2 || !log.contains("ERROR"), "instance {turn}: {log}");
    }
}

/// Sends a layer, one MiB at a time.
async fn send_layer(
    address: &str,
    request: http::request::Builder,
    seed: usize,
    size: usize,
) -> (StatusCode, Duration) {
    let pieces =
        (0..size).map(move |index| Ok::<_, Infallible>(Frame::data(content(seed + index, MIB))));
    let request = request.header("host", address).header("content-length", size * MIB);
    let started = Instant::now();
    let request = request.body(StreamBody::new(stream::iter(pieces))).unwrap();
    let (head, body) = exchange(address, request).await.into_parts();
    let text = body.collect().await.unwrap().to_bytes();
    assert!(head.status.is_success(), "{}: {}", head.status, String::from_utf8_lossy(&text));
    (head.status, started.elapsed())
}

/// Receives a layer and checks its length.
async fn receive_layer(address: &str, path: &str, size: usize) -> Duration {
    let started = Instant::now();
    let get = Request::get(path).header("host", address).body(Empty::new()).unwrap();
    let (head, mut body) = exchange(address, get).await.into_parts();
    assert_eq!(head.status, 200);
    let mut came = 0;
    while let Some(frame) = body.frame().await {
        came += frame.unwrap().into_data().unwrap().len();
    }
    assert_eq!(came, size * MIB);
    started.elapsed()
}

fn rate(size: usize, took: Duration) -> String {
    let megabytes = f64::from(u32::try_from(size).unwrap()) * 1.048_576;
    format!("{took:.1?}, {:.0} MB/s", megabytes / took.as_secs_f64())
}
