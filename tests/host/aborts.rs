//! Interrupted uploads: nothing of them is published, and they can be resumed.

use crate::content::{Content, Length, Upload};
use crate::disk::Disk;
use crate::images::{Image, put_manifest};
use crate::support::{
    LENGTHS, TEST_LIMIT, ask, assert_blob, assert_well, begin, build, closing, content_range,
    eventually, push_blob, received, request, within,
};
use crate::wire::Wire;
use bytes::Bytes;
use http::header;
use hyper_util::rt::{TokioExecutor, TokioIo};
use roadstead_tests::{Registry, digest, send};
use std::path::Path;
use tokio::net::TcpStream;

const REPOSITORY: &str = "broken/off";

/// The repository of uploads in one request, whose session no client knows.
const UNNAMED: &str = "broken/off/unnamed";

/// The size of an upload in bytes: several of the pieces that the host writes.
const SIZE: u64 = 1_500_000;

/// How a client disconnects.
#[derive(Clone, Copy, Debug)]
enum Goodbye {
    /// It closes its side of the connection after what it sent.
    Close,
    /// It resets the connection. What it sent may or may not have arrived.
    Reset,
}

/// An incomplete body.
#[derive(Clone, Copy, Debug)]
struct Cut {
    length: Length,
    goodbye: Goodbye,
    /// How much is sent. If all bytes are sent, only the end of the body is
    /// missing, and the digest would match.
    part: Part,
}

#[derive(Clone, Copy, Debug)]
enum Part {
    None,
    Half,
    AllButTheEnd,
}

impl Part {
    fn of(self, size: u64) -> u64 {
        match self {
            Self::None => 0,
            Self::Half => size / 2,
            Self::AllButTheEnd => size,
        }
    }
}

fn cuts() -> impl Iterator<Item = Cut> {
    let parts = [Part::None, Part::Half, Part::AllButTheEnd];
    LENGTHS.into_iter().flat_map(move |length| {
        [Goodbye::Close, Goodbye::Reset].into_iter().flat_map(move |goodbye| {
            parts.into_iter().map(move |part| Cut { length, goodbye, part })
        })
    })
}

/// A server, and the content that must not be in it at the end.
struct Scene<'a> {
    address: &'a str,
    disk: Disk<'a>,
    seed: u64,
    absent: Vec<String>,
    absent_tags: Vec<String>,
}

#[tokio::test]
async fn over_http1() {
    let root = tempfile::tempdir().unwrap();
    let mut host = Registry::start(root.path(), &[], &[]).unwrap();
    let address = host.address.clone();
    let scene = within(TEST_LIMIT, async {
        let mut scene = Scene::new(&address, root.path());
        for cut in cuts() {
            scene.patch(cut).await;
            scene.put(cut).await;
            scene.post(cut).await;
            scene.manifests(cut).await;
        }
        scene.settled().await;
        scene
    })
    .await;
    // After the server's end, nothing more is committed.
    host.signal("TERM").unwrap();
    assert!(host.wait().unwrap().success());
    scene.assert_nothing_committed();
}

#[tokio::test]
async fn over_http2() {
    let root = tempfile::tempdir().unwrap();
    let mut host = Registry::start(root.path(), &[], &[]).unwrap();
    let address = host.address.clone();
    let scene = within(TEST_LIMIT, async {
        let mut scene = Scene::new(&address, root.path());
        for part in [Part::None, Part::Half, Part::AllButTheEnd] {
            scene.http2(part).await;
        }
        scene.settled().await;
        scene
    })
    .await;
    host.signal("TERM").unwrap();
    assert!(host.wait().unwrap().success());
    scene.assert_nothing_committed();
}

impl<'a> Scene<'a> {
    fn new(address: &'a str, root: &'a Path) -> Self {
        Self { address, disk: Disk(root), seed: 0, absent: Vec::new(), absent_tags: Vec::new() }
    }

    /// Content that was not pushed before.
    fn content(&mut self) -> Content {
        self.seed += 1;
        Content { seed: self.seed, size: SIZE }
    }

    /// Sends a request with an incomplete body, and disconnects.
    async fn send(&self, line: &str, headers: &[(&str, &str)], bytes: &[u8], cut: Cut) {
        let announced = (bytes.len() + 1).to_string();
        let mut all = headers.to_vec();
        all.push(match cut.length {
            Length::Announced => ("Content-Length", &announced),
            Length::Unknown => ("Transfer-Encoding", "chunked"),
        });
        let sent = usize::try_from(cut.part.of(bytes.len() as u64)).unwrap();
        let mut wire = Wire::connect(self.address).await;
        wire.head(line, &all).await;
        wire.piece(cut.length, &bytes[..sent]).await;
        match cut.goodbye {
            Goodbye::Close => drop(wire),
            Goodbye::Reset => wire.reset(),
        }
    }

    /// The bytes received so far are kept, and the upload resumes from there.
    async fn patch(&mut self, cut: Cut) {
        let content = self.content();
        let upload = begin(self.address, REPOSITORY).await;
        let line = format!("PATCH {upload}");
        match cut.goodbye {
            Goodbye::Close => {
                self.send(&line, &[], &content.bytes(), cut).await;
                self.wait_for(&upload, cut.part.of(SIZE)).await;
            }
            Goodbye::Reset => {
                // The server may read this at any time; the range lets it
                // refuse what arrives too late.
                let range = content_range(0, SIZE + 1);
                self.send(&line, &[("Content-Range", &range)], &content.bytes(), cut).await;
            }
        }
        self.finish(&upload, content).await;
    }

    /// The same with the PUT that would complete the upload.
    async fn put(&mut self, cut: Cut) {
        let content = self.content();
        let upload = begin(self.address, REPOSITORY).await;
        let line = format!("PUT {}", closing(&upload, &content.digest()));
        self.send(&line, &[], &content.bytes(), cut).await;
        match cut.goodbye {
            Goodbye::Close => {
                self.wait_for(&upload, cut.part.of(SIZE)).await;
                self.assert_absent(&content.digest()).await;
                self.finish(&upload, content).await;
            }
            Goodbye::Reset => self.absent.push(content.digest()),
        }
    }

    async fn post(&mut self, cut: Cut) {
        let content = self.content();
        let uploads = format!("/v2/{UNNAMED}/blobs/uploads/");
        let line = format!("POST {}", closing(&uploads, &content.digest()));
        self.send(&line, &[], &content.bytes(), cut).await;
        self.absent.push(content.digest());
    }

    async fn manifests(&mut self, cut: Cut) {
        let (config, layer) = (self.content(), self.content());
        let image = Image { config, layer };
        image.push_blobs(self.address, REPOSITORY).await;
        let tag = format!("tag-{}", self.seed);
        // Of different lengths, so that their digests differ.
        for (reference, size) in [(Some(&tag), 1000), (None, 1001)] {
            let manifest = image.manifest_of_size(size);
            let digest = digest(&manifest);
            let reference = reference.unwrap_or(&digest);
            let line = format!("PUT /v2/{REPOSITORY}/manifests/{reference}");
            self.send(&line, &[], &manifest, cut).await;
            self.absent.push(digest);
        }
        self.absent_tags.push(tag);
    }

    async fn http2(&mut self, part: Part) {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http2::handshake::<_, _, Upload>(
            TokioExecutor::new(),
            TokioIo::new(stream),
        )
        .await
        .unwrap();
        tokio::spawn(connection);
        let [patched, put, post] = [self.content(), self.content(), self.content()];
        let to_patch = begin(self.address, REPOSITORY).await;
        let to_put = begin(self.address, REPOSITORY).await;
        let uploads = format!("/v2/{UNNAMED}/blobs/uploads/");
        for (method, path, content) in [
            ("PATCH", to_patch.clone(), patched),
            ("PUT", closing(&to_put, &put.digest()), put),
            ("POST", closing(&uploads, &post.digest()), post),
        ] {
            let range = content_range(0, SIZE + 1);
            let request = build(&format!("{method} http://{}{path}", self.address))
                .header(header::CONTENT_RANGE, range)
                .body(Upload::cut(content, 0..part.of(SIZE)))
                .unwrap();
            assert!(sender.send_request(request).await.is_err(), "{method} was answered");
        }
        self.absent.extend([put.digest(), post.digest()]);
        self.finish(&to_patch, patched).await;
        // Only these streams of the connection were reset.
        let request = build(&format!("GET http://{}/v2/", self.address));
        let answer = sender.send_request(request.body(Upload::empty()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), 200);
    }

    async fn wait_for(&self, upload: &str, size: u64) {
        eventually("the received bytes are kept", async || {
            (received(self.address, upload).await == size).then_some(())
        })
        .await;
    }

    /// Completes an upload from its current offset.
    async fn finish(&self, upload: &str, content: Content) {
        let whole = content.bytes();
        eventually("the upload is resumed", async || {
            let offset = received(self.address, upload).await;
            if offset == SIZE {
                return Some(());
            }
            let rest: Bytes = whole.slice(usize::try_from(offset).unwrap()..);
            let mut patch = request(&format!("PATCH {upload}"), rest);
            let range = content_range(offset, SIZE).parse().unwrap();
            patch.headers_mut().insert(header::CONTENT_RANGE, range);
            let answer = send(self.address, patch).await.unwrap();
            match answer.status().as_u16() {
                202 => Some(()),
                // The server has not noticed yet that the other request ended.
                409 | 416 => None,
                status => panic!("{status}: {:?}", answer.body()),
            }
        })
        .await;
        let digest = content.digest();
        let line = format!("PUT {}", closing(upload, &digest));
        eventually("the upload ends", async || {
            let answer = send(self.address, request(&line, "")).await.unwrap();
            match answer.status().as_u16() {
                201 => Some(()),
                409 => None,
                status => panic!("{status}: {:?}", answer.body()),
            }
        })
        .await;
        assert_blob(self.address, REPOSITORY, &digest).await;
    }

    async fn assert_absent(&self, digest: &str) {
        let line = format!("HEAD /v2/{REPOSITORY}/blobs/{digest}");
        ask(self.address, request(&line, ""), 404).await;
        assert!(!self.disk.blob(digest).exists(), "{digest}");
    }

    /// Waits until the server has handled all disconnects, and uses it.
    async fn settled(&mut self) {
        eventually("unreachable uploads are gone", async || {
            let left = [self.disk.sessions(UNNAMED), self.disk.temporary()].concat();
            left.is_empty().then_some(())
        })
        .await;
        assert_well(self.address).await;
        let content = self.content();
        let image = Image { config: content, layer: content };
        push_blob(self.address, REPOSITORY, &content.bytes()).await;
        ask(self.address, put_manifest(REPOSITORY, "last", image.manifest()), 201).await;
        for digest in &self.absent {
            self.assert_absent(digest).await;
            let line = format!("GET /v2/{REPOSITORY}/manifests/{digest}");
            ask(self.address, request(&line, ""), 404).await;
        }
        let tags = ask(self.address, request(&format!("GET /v2/{REPOSITORY}/tags/list"), ""), 200);
        let tags: serde_json::Value = serde_json::from_slice(tags.await.body()).unwrap();
        assert_eq!(tags["tags"], serde_json::json!(["last"]));
    }

    fn assert_nothing_committed(&self) {
        assert!(!self.absent.is_empty());
        for digest in &self.absent {
            assert!(!self.disk.blob(digest).exists(), "{digest}");
            for repository in [REPOSITORY, UNNAMED] {
                assert!(!self.disk.layer_link(repository, digest).exists(), "{digest}");
            }
            assert!(!self.disk.revision_link(REPOSITORY, digest).exists(), "{digest}");
        }
        for tag in &self.absent_tags {
            assert!(!self.disk.tag_link(REPOSITORY, tag).exists(), "{tag}");
        }
    }
}
