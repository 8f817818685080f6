//! Requests that are too large, malformed or pipelined.

use crate::content::{Content, Length, Upload};
use crate::images::{Image, pull, put_manifest};
use crate::support::{
    Client, LENGTHS, TEST_LIMIT, ask, assert_well, begin, build, closing, code, eventually,
    location, request, within,
};
use crate::wire::Wire;
use hyper_util::rt::{TokioExecutor, TokioIo};
use roadstead_tests::{Registry, digest, send};
use tokio::net::TcpStream;

const REPOSITORY: &str = "at/the/limit";

/// Largest manifest, in bytes.
const MANIFEST_LIMIT: usize = 4 * 1024 * 1024;

/// A head larger than any server accepts, in bytes.
const LARGE_HEAD: usize = 4 * 1024 * 1024;

/// A body larger than what the host reads of a refused one, in bytes.
const LARGE_BODY: u64 = 64 * 1024 * 1024;

const IMAGE: Image =
    Image { config: Content { seed: 1, size: 100 }, layer: Content { seed: 2, size: 200 } };

#[tokio::test]
async fn the_largest_manifest() {
    let root = tempfile::tempdir().unwrap();
    let host = Registry::start(root.path(), &[], &[]).unwrap();
    let address = host.address.as_str();
    within(TEST_LIMIT, async {
        IMAGE.push_blobs(address, REPOSITORY).await;
        let manifest = IMAGE.manifest_of_size(MANIFEST_LIMIT);
        assert_eq!(manifest.len(), MANIFEST_LIMIT);
        ask(address, put_manifest(REPOSITORY, "just", manifest.clone()), 201).await;
        assert_eq!(pull(address, REPOSITORY, "just").await, digest(&manifest));

        let manifest = IMAGE.manifest_of_size(MANIFEST_LIMIT + 1);
        let line = format!("PUT /v2/{REPOSITORY}/manifests/over");
        for length in LENGTHS {
            let mut wire = Wire::connect(address).await;
            wire.start(&line, length, manifest.len() as u64).await;
            wire.piece(length, &manifest).await;
            wire.end(length).await;
            let answer = wire.answer().await.unwrap();
            assert_eq!((answer.status, code(&answer.body)), (413, "SIZE_INVALID".to_owned()));
            // All of it was read, so the connection stays open.
            wire.head("GET /v2/", &[]).await;
            assert_eq!(wire.answer().await.unwrap().status, 200);
        }
        let line = format!("GET /v2/{REPOSITORY}/manifests/over");
        ask(address, crate::support::request(&line, ""), 404).await;
    })
    .await;
}

#[tokio::test]
async fn heads() {
    let root = tempfile::tempdir().unwrap();
    let host = Registry::start(root.path(), &[], &[]).unwrap();
    let address = host.address.as_str();
    within(TEST_LIMIT, async {
        let large = "x".repeat(LARGE_HEAD);
        let many = "X-A: b\r\n".repeat(LARGE_HEAD / 8);
        for head in [
            format!("GET /v2/ HTTP/1.1\r\nHost: a\r\nX-Large: {large}\r\n\r\n"),
            format!("GET /v2/ HTTP/1.1\r\nHost: a\r\n{many}\r\n"),
            format!("GET /v2/{large} HTTP/1.1\r\nHost: a\r\n\r\n"),
        ] {
            let mut wire = Wire::connect(address).await;
            wire.write_while_open(head.as_bytes()).await;
            if let Some(answer) = wire.answer().await {
                assert!(matches!(answer.status, 414 | 431), "{answer:?}");
            }
            wire.closed().await;
            assert_well(address).await;
        }
        for head in [
            "GET /v2/ HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
            "GET /v2/ HTTP/9.9\r\nHost: a\r\n\r\n",
            "\x16\x03\x01\x02\0\x01\0\x01\x7c\x03\x03, as TLS begins\r\n\r\n",
            "PUT /v2/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "PUT /v2/ HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
            "PUT /v2/ HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
            "PUT /v2/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
        ] {
            let mut wire = Wire::connect(address).await;
            wire.write_while_open(head.as_bytes()).await;
            if let Some(answer) = wire.answer().await {
                assert_eq!(answer.status, 400, "{head:?}: {answer:?}");
            }
            wire.closed().await;
            assert_well(address).await;
        }
    })
    .await;
}

/// What follows a refused request is either answered or lost with the
/// connection, and never misinterpreted (request smuggling).
#[tokio::test]
async fn requests_after_a_refusal() {
    let root = tempfile::tempdir().unwrap();
    let host = Registry::start(root.path(), &[], &[]).unwrap();
    let address = host.address.as_str();
    within(TEST_LIMIT, async {
        // The body has the form of a request.
        let body = b"DELETE /v2/ HTTP/1.1\r\nHost: a\r\n\r\n".repeat(100);
        for (line, refusal) in [
            ("PUT /v2/UPPER/manifests/a", 400),
            ("PUT /v2/a/manifests/a", 400),
            ("PATCH /v2/a/blobs/uploads/no-such-id", 404),
            ("POST /v2/a/blobs/uploads/?digest=none", 400),
            ("PUT /v2/a/blobs/sha256:00", 405),
            ("PUT /no/such/endpoint", 404),
        ] {
            for length in LENGTHS {
                let mut wire = Wire::connect(address).await;
                wire.start(line, length, body.len() as u64).await;
                wire.piece(length, &body).await;
                wire.end(length).await;
                wire.head("GET /v2/", &[]).await;
                let answer = wire.answer().await.unwrap();
                assert_eq!(answer.status, refusal, "{line}: {answer:?}");
                if let Some(answer) = wire.answer().await {
                    assert_eq!((answer.status, answer.body.as_slice()), (200, b"{}".as_slice()));
                    wire.head("GET /v2/", &[]).await;
                    assert_eq!(wire.answer().await.unwrap().status, 200, "{line}");
                }
            }
        }
        // A body above the limit is not read to its end; the response may get
        // lost.
        for length in LENGTHS {
            let mut wire = Wire::connect(address).await;
            wire.start("PUT /v2/UPPER/manifests/a", length, LARGE_BODY).await;
            let content = Content { seed: 3, size: LARGE_BODY };
            for piece in content.pieces(0..LARGE_BODY) {
                let mut framed = Vec::new();
                if length == Length::Unknown {
                    framed.extend(format!("{:x}\r\n", piece.len()).into_bytes());
                }
                framed.extend_from_slice(&piece);
                if length == Length::Unknown {
                    framed.extend(b"\r\n");
                }
                wire.write_while_open(&framed).await;
            }
            if let Some(answer) = wire.answer().await {
                assert_eq!(answer.status, 400, "{answer:?}");
            }
            assert_well(address).await;
        }
    })
    .await;
}

/// HTTP/2 without TLS, as a proxy speaks it.
#[tokio::test]
async fn http2_with_prior_knowledge() {
    let root = tempfile::tempdir().unwrap();
    let host = Registry::start(root.path(), &[], &[]).unwrap();
    let address = host.address.as_str();
    within(TEST_LIMIT, async {
        let stream = TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http2::handshake::<_, _, Upload>(
            TokioExecutor::new(),
            TokioIo::new(stream),
        )
        .await
        .unwrap();
        tokio::spawn(connection);
        let request = build(&format!("GET http://{address}/v2/")).body(Upload::empty()).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.version(), http::Version::HTTP_2);
        assert_eq!(answer.status(), 200);

        let content = Content { seed: 4, size: 3_000_000 };
        let upload = begin(address, REPOSITORY).await;
        let request = build(&format!("PATCH http://{address}{upload}"));
        let body = Upload::new(content, 0..content.size, Length::Unknown);
        let answer = sender.send_request(request.body(body).unwrap()).await.unwrap();
        assert_eq!(answer.status(), 202);
        let path = closing(&location(&answer), &content.digest());
        let request = build(&format!("PUT http://{address}{path}"));
        let answer = sender.send_request(request.body(Upload::empty()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), 201);
        let pulled = Client::connect(address).await.pull(REPOSITORY, &content.digest()).await;
        assert_eq!(pulled, (content.size, content.digest()));
    })
    .await;
}

#[tokio::test]
async fn more_requests_than_there_are_turns() {
    // More than is read before a request has a turn.
    static HALF: [u8; 50_000] = [b'a'; 50_000];
    let root = tempfile::tempdir().unwrap();
    let host = Registry::start(root.path(), &[("REGISTRY_HTTP_MAXREQUESTS", "2")], &[]).unwrap();
    within(TEST_LIMIT, async {
        let mut stalled = Vec::new();
        for _ in 0..2 {
            let upload = begin(&host.address, "busy").await;
            let mut wire = Wire::connect(&host.address).await;
            wire.start(&format!("PATCH {upload}"), Length::Announced, 2 * HALF.len() as u64).await;
            wire.piece(Length::Announced, &HALF).await;
            stalled.push(wire);
        }
        // A response to a GET may come from the cache, which needs no turn.
        let refused = eventually("a request is refused with 503", async || {
            let begin = request("POST /v2/busy/blobs/uploads/", "");
            let answer = send(&host.address, begin).await.unwrap();
            (answer.status() == 503).then_some(answer)
        })
        .await;
        assert!(refused.headers().contains_key("retry-after"));
        let error: serde_json::Value = serde_json::from_slice(refused.body()).unwrap();
        assert_eq!(error["errors"][0]["code"], "UNAVAILABLE");

        stalled[0].piece(Length::Announced, &HALF).await;
        assert_eq!(stalled[0].answer().await.unwrap().status, 202);
        ask(&host.address, request("GET /v2/", ""), 200).await;
    })
    .await;
}

/// As long as its escaped form is longer than what a host replies with.
#[tokio::test]
async fn referrers_with_annotations_of_control_characters() {
    const LENGTH: usize = 2_900_000;
    let root = tempfile::tempdir().unwrap();
    let host = Registry::start(root.path(), &[], &[]).unwrap();
    let address = host.address.as_str();
    within(TEST_LIMIT, async {
        let (media_type, subject) = ("application/vnd.oci.image.index.v1+json", digest(b"subject"));
        for note in ["\u{7f}", "\\u0001"] {
            let note = note.repeat(LENGTH / note.len());
            let manifest = format!(
                r#"{{"schemaVersion":2,"mediaType":"{media_type}","manifests":[],"subject":{{"mediaType":"{media_type}","digest":"{subject}","size":7}},"annotations":{{"note":"{note}"}}}}"#
            );
            let path = format!("/v2/{REPOSITORY}/manifests/{}", digest(manifest.as_bytes()));
            let push = http::Request::put(path).body(bytes::Bytes::from(manifest)).unwrap();
            assert_eq!(send(address, push).await.unwrap().status(), 201);
        }
        let mut path = format!("/v2/{REPOSITORY}/referrers/{subject}");
        for more in [true, false] {
            let list = http::Request::get(&path).body(bytes::Bytes::new()).unwrap();
            let listed = send(address, list).await.unwrap();
            assert_eq!(listed.status(), 200);
            let index: serde_json::Value = serde_json::from_slice(listed.body()).unwrap();
            assert_eq!(index["manifests"].as_array().unwrap().len(), 1);
            let next = listed.headers().get("link").map(|link| link.to_str().unwrap());
            assert_eq!(next.is_some(), more);
            if let Some(next) = next {
                path = next[1..next.find('>').unwrap()].to_owned();
            }
        }
    })
    .await;
}
