//! A client that changes a registry at random, and records what it was answered.

use super::{Blob, Change, MANIFEST, REPOSITORIES, TAGS, World};
use crate::support::{closing, content_range, location, request};
use bytes::Bytes;
use fastrand::Rng;
use http::{Request, header};
use roadstead_tests::{Answer, send_on};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::net::TcpStream;

/// An upload that was not completed.
#[derive(Clone, Debug)]
pub struct Held {
    pub location: String,
    pub repository: usize,
    pub blob: Blob,
    /// How many bytes were acknowledged, and how many were sent.
    pub acknowledged: usize,
    pub sent: usize,
    /// Whether the request that completes it was sent.
    pub closing: bool,
}

#[derive(Debug)]
pub struct Client {
    world: Arc<World>,
    random: Rng,
    /// Names of its own content.
    name: String,
    serial: u64,
    address: String,
    /// The upload in which the registry was stopped.
    pub held: Option<Held>,
}

impl Client {
    pub fn new(world: &Arc<World>, seed: u64, number: u64) -> Self {
        Self {
            world: Arc::clone(world),
            random: Rng::with_seed(seed ^ (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            name: format!("client-{number}"),
            serial: 0,
            address: String::new(),
            held: None,
        }
    }

    /// Changes the registry until it is stopped, or this many times.
    pub async fn run(mut self, address: String, times: usize) -> Self {
        self.address = address;
        for _ in 0..times {
            if self.step().await.is_none() {
                let stopping = self.world.stopping.load(Ordering::SeqCst);
                assert!(stopping, "a request failed while the registry was running");
                break;
            }
        }
        self
    }

    /// One change; `None` without a response.
    async fn step(&mut self) -> Option<()> {
        let repository = self.random.usize(..REPOSITORIES.len());
        let name = REPOSITORIES[repository];
        let blob = self.pick(&self.world.clone().blobs);
        let manifest = self.pick(&self.world.clone().manifests);
        let tag = TAGS[self.random.usize(..TAGS.len())];
        match self.random.u8(..100) {
            0..25 => self.push_image(repository).await,
            25..45 => self.put_manifest(repository, Some(tag), manifest).await,
            45..52 => self.put_manifest(repository, None, manifest).await,
            52..62 => {
                let line = format!("DELETE /v2/{name}/manifests/{tag}");
                let change = Change::DeleteTag(tag.to_owned());
                self.change(repository, change, request(&line, ""), 202).await.map(drop)
            }
            62..75 => {
                let line = format!("DELETE /v2/{name}/manifests/{}", manifest.digest);
                let change = Change::DeleteManifest(manifest.digest);
                self.world.deletes.fetch_add(1, Ordering::SeqCst);
                self.change(repository, change, request(&line, ""), 202).await.map(drop)
            }
            75..85 => self.push_blob(repository, blob).await,
            85..93 => {
                let from = REPOSITORIES[1 - repository];
                let line =
                    format!("POST /v2/{name}/blobs/uploads/?mount={}&from={from}", blob.digest);
                let change = Change::PutBlob(blob.digest);
                let answer = self.change(repository, change, request(&line, ""), 201).await?;
                if answer.status() == 202 {
                    // There is nothing to mount; the upload is cancelled.
                    let line = format!("DELETE {}", location(&answer));
                    self.ask(request(&line, ""), &[204]).await?;
                }
                Some(())
            }
            _ => {
                let line = format!("DELETE /v2/{name}/blobs/{}", blob.digest);
                let change = Change::DeleteBlob(blob.digest);
                self.change(repository, change, request(&line, ""), 202).await.map(drop)
            }
        }
    }

    fn pick(&mut self, blobs: &[Blob]) -> Blob {
        blobs[self.random.usize(..blobs.len())].clone()
    }

    /// Content that no other client pushes, under a tag of its own.
    async fn push_image(&mut self, repository: usize) -> Option<()> {
        self.serial += 1;
        let name = format!("{}-{}", self.name, self.serial);
        let blob = Blob::random(&mut self.random);
        self.push_blob(repository, blob).await?;
        let subject = self.serial.is_multiple_of(4).then_some(0);
        let manifest = self.world.manifest(&name, subject);
        self.put_manifest(repository, Some(&name), manifest).await
    }

    async fn put_manifest(
        &mut self,
        repository: usize,
        tag: Option<&str>,
        manifest: Blob,
    ) -> Option<()> {
        let reference = tag.unwrap_or(&manifest.digest);
        let line = format!("PUT /v2/{}/manifests/{reference}", REPOSITORIES[repository]);
        let mut request = request(&line, manifest.bytes);
        request.headers_mut().insert(header::CONTENT_TYPE, MANIFEST.parse().unwrap());
        let change =
            Change::PutManifest { digest: manifest.digest, tag: tag.map(ToOwned::to_owned) };
        let answer = self.change(repository, change, request, 201).await?;
        assert_eq!(answer.status(), 201, "{line}: {:?}", answer.body());
        Some(())
    }

    /// Pushes a blob in one request, in two, or in chunks.
    async fn push_blob(&mut self, repository: usize, blob: Blob) -> Option<()> {
        let uploads = format!("/v2/{}/blobs/uploads/", REPOSITORIES[repository]);
        let change = Change::PutBlob(blob.digest.clone());
        let way = self.random.usize(..3);
        if way == 0 {
            let line = format!("POST {}", closing(&uploads, &blob.digest));
            let request = request(&line, blob.bytes);
            let answer = self.change(repository, change, request, 201).await?;
            assert_eq!(answer.status(), 201, "{line}: {:?}", answer.body());
            return Some(());
        }
        let started = self.ask(request(&format!("POST {uploads}"), ""), &[202]).await?;
        let location = location(&started);
        let length = blob.bytes.len();
        let held = Held { location, repository, blob, acknowledged: 0, sent: 0, closing: false };
        self.held = Some(held.clone());
        let mut held = held;
        // The first half, and the rest; or everything with the last request.
        let chunks = if way == 1 { vec![] } else { vec![0..length / 2, length / 2..length] };
        let chunks = &chunks[..chunks.len().min(1 + self.random.usize(..2))];
        for chunk in chunks {
            held.sent = chunk.end;
            self.held = Some(held.clone());
            let line = format!("PATCH {}", held.location);
            let mut patch = request(&line, held.blob.bytes.slice(chunk.clone()));
            let range = content_range(chunk.start as u64, chunk.end as u64);
            patch.headers_mut().insert(header::CONTENT_RANGE, range.parse().unwrap());
            let answer = self.ask(patch, &[202]).await?;
            held.location = crate::support::location(&answer);
            held.acknowledged = chunk.end;
        }
        held.closing = true;
        self.held = Some(held.clone());
        let line = format!("PUT {}", closing(&held.location, &held.blob.digest));
        let rest = held.blob.bytes.slice(held.acknowledged..);
        let answer = self.change(repository, change, request(&line, rest), 201).await?;
        assert_eq!(answer.status(), 201, "{line}: {:?}", answer.body());
        self.held = None;
        Some(())
    }

    /// A request that the journal does not record.
    async fn ask(&self, request: Request<Bytes>, statuses: &[u16]) -> Option<Answer> {
        let line = format!("{} {}", request.method(), request.uri());
        let stream = TcpStream::connect(&self.address).await.ok()?;
        let answer = send_on(stream, &self.address, request).await.ok()?;
        assert!(statuses.contains(&answer.status().as_u16()), "{line}: {answer:?}");
        Some(answer)
    }

    /// A change, which takes effect if the status is `status`. The only other
    /// answer is that there is nothing to delete, or to mount.
    async fn change(
        &self,
        repository: usize,
        change: Change,
        request: Request<Bytes>,
        status: u16,
    ) -> Option<Answer> {
        let line = format!("{} {}", request.method(), request.uri());
        let stream = TcpStream::connect(&self.address).await.ok()?;
        stream.set_nodelay(true).ok()?;
        let port = stream.local_addr().ok()?.port();
        let number = self.world.journal.begin(repository, change, port);
        let answer = send_on(stream, &self.address, request).await.ok()?;
        let acknowledged = answer.status() == status;
        self.world.journal.end(number, acknowledged);
        assert!(
            acknowledged || matches!(answer.status().as_u16(), 404 | 202),
            "{line}: {answer:?}"
        );
        if acknowledged {
            self.world.acknowledged.fetch_add(1, Ordering::SeqCst);
        }
        Some(answer)
    }
}
