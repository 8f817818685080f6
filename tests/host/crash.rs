//! `kill -9` at random times: acknowledged content exists, and all content is
//! complete.

use crate::content::Content;
use crate::disk::Disk;
use crate::images::{Image, Way, accepted, pull, put_manifest};
use crate::support::{TEST_LIMIT, assert_blob, closing, eventually, received, request, within};
use fastrand::Rng;
use roadstead_tests::{Registry, digest, send};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// How often the process is killed.
const ROUNDS: u64 = 15;

/// The number of concurrent clients.
const PUSHERS: u64 = 4;

/// The longest time until the process is killed after the clients have started,
/// in milliseconds. The test does not depend on the exact time.
const LONGEST_LIFE: u64 = 250;

/// Largest layer, in bytes.
const LARGEST_LAYER: u64 = 256 * 1024;

/// The tag that every push of a client moves.
const LATEST: &str = "latest";

/// A client with its own repository, which pushes one image after the other, and
/// records what the server acknowledged.
struct Pusher {
    repository: String,
    seed: u64,
    /// Images whose push was begun.
    begun: u64,
    /// Blobs and manifests acknowledged with 201 since the last check.
    blobs: Vec<String>,
    /// Acknowledged tags, with the numbers of their images.
    tags: BTreeMap<String, u64>,
    /// An upload that acknowledged all bytes of a blob, and was not completed.
    held: Option<(String, Content)>,
    /// The number of blobs and manifests that all clients have pushed.
    pushed: Arc<AtomicU64>,
}

impl Pusher {
    fn new(seed: u64, number: u64, pushed: &Arc<AtomicU64>) -> Self {
        Self {
            repository: format!("crash/pusher-{number}"),
            seed: seed.wrapping_add(number << 32),
            begun: 0,
            blobs: Vec::new(),
            tags: BTreeMap::new(),
            held: None,
            pushed: Arc::clone(pushed),
        }
    }

    /// The image with this number. Its config is the same for all clients, so
    /// that they push it concurrently.
    fn image(&self, number: u64) -> Image {
        let mut random = Rng::with_seed(self.seed ^ number);
        // Small and large ones equally often.
        let magnitude = 1 + random.u32(..LARGEST_LAYER.ilog2());
        // An upload with one byte cannot be distinguished from an empty one.
        let size = 2 + random.u64(..1 << magnitude);
        let config = Content { seed: number, size: 100 + number };
        Image { config, layer: Content { seed: random.u64(..), size } }
    }

    /// Pushes images until the server is killed.
    async fn push(mut self, address: String) -> Self {
        loop {
            self.begun += 1;
            if self.push_image(&address, self.begun).await.is_none() {
                return self;
            }
        }
    }

    async fn push_image(&mut self, address: &str, number: u64) -> Option<()> {
        let image = self.image(number);
        for (index, blob) in (0..).zip(image.blobs()) {
            let way = Way::nth(number + index);
            match way.try_push(address, &self.repository, blob).await {
                Ok(()) => {
                    self.blobs.push(blob.digest());
                    self.pushed.fetch_add(1, Ordering::Relaxed);
                }
                Err(held) => {
                    self.held = held.map(|upload| (upload, blob));
                    return None;
                }
            }
        }
        for tag in [format!("tag-{number}"), LATEST.to_owned()] {
            let request = put_manifest(&self.repository, &tag, image.manifest());
            accepted(address, request, 201).await?;
            self.tags.insert(tag, number);
            self.pushed.fetch_add(1, Ordering::Relaxed);
        }
        Some(())
    }

    /// Asserts that everything acknowledged exists.
    async fn check(&mut self, address: &str, disk: Disk<'_>) {
        for digest in self.blobs.drain(..) {
            assert!(disk.layer_link(&self.repository, &digest).exists(), "{digest}");
            assert_blob(address, &self.repository, &digest).await;
        }
        if let Some((upload, blob)) = self.held.take() {
            self.check_held(address, &upload, blob).await;
        }
        let latest = self.tags.remove(LATEST);
        for (tag, number) in std::mem::take(&mut self.tags) {
            let found = pull(address, &self.repository, &tag).await;
            assert_eq!(found, digest(&self.image(number).manifest()), "{tag}");
        }
        // An image that was not acknowledged may exist as well.
        if let Some(answered) = latest {
            let found = pull(address, &self.repository, LATEST).await;
            let image = |number: &u64| digest(&self.image(*number).manifest()) == found;
            assert!((answered..=self.begun).any(|number| image(&number)), "{LATEST} went back");
        }
    }

    /// Asserts that an upload still holds its bytes, unless the PUT without a
    /// response has completed it.
    async fn check_held(&mut self, address: &str, upload: &str, blob: Content) {
        let status = send(address, request(&format!("GET {upload}"), "")).await.unwrap();
        if status.status() == 404 {
            return;
        }
        assert_eq!(received(address, upload).await, blob.size);
        let line = format!("PUT {}", closing(upload, &blob.digest()));
        let answer = send(address, request(&line, "")).await.unwrap();
        match answer.status().as_u16() {
            201 => self.blobs.push(blob.digest()),
            // The PUT had completed the blob already.
            404 => {}
            status => panic!("{status}: {:?}", answer.body()),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment() {
    let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let seed = std::env::var("ROADSTEAD_SEED").map_or_else(|_| now(), |seed| seed.parse().unwrap());
    println!("ROADSTEAD_SEED={seed}");
    let root = tempfile::tempdir().unwrap();
    within(TEST_LIMIT, crash(seed, root.path())).await;
}

async fn crash(seed: u64, root: &Path) {
    let mut random = Rng::with_seed(seed);
    let pushed = Arc::new(AtomicU64::new(0));
    let client = |number| Pusher::new(seed, number, &pushed);
    let mut pushers: Vec<_> = (0..PUSHERS).map(client).collect();
    for round in 0..ROUNDS {
        let mut host = Registry::start(root, &[], &[]).unwrap();
        check(&host.address, Disk(root), &mut pushers).await;
        let running: Vec<_> = pushers
            .drain(..)
            .map(|pusher| tokio::spawn(pusher.push(host.address.clone())))
            .collect();
        let before = pushed.load(Ordering::Relaxed);
        // Even on a slow machine, content is acknowledged in some rounds.
        if round % 2 == 1 {
            eventually("something is pushed", async || {
                (pushed.load(Ordering::Relaxed) > before).then_some(())
            })
            .await;
        }
        let life = Duration::from_millis(random.u64(..LONGEST_LIFE));
        tokio::time::sleep(life).await;
        host.kill().unwrap();
        for pusher in running {
            pushers.push(pusher.await.unwrap());
        }
        let now = pushed.load(Ordering::Relaxed) - before;
        println!("round {round}: killed {life:?} later, with {now} blobs and manifests pushed");
    }

    // All pushes again, as clients retry after an error.
    let host = Registry::start(root, &[], &[]).unwrap();
    check(&host.address, Disk(root), &mut pushers).await;
    for pusher in &mut pushers {
        for number in 1..=pusher.begun {
            pusher.push_image(&host.address, number).await.unwrap();
        }
    }
    check(&host.address, Disk(root), &mut pushers).await;
}

async fn check(address: &str, disk: Disk<'_>, pushers: &mut [Pusher]) {
    for found in disk.blobs() {
        assert_eq!(digest(&fs::read(disk.blob(&found)).unwrap()), found);
    }
    for pusher in pushers {
        pusher.check(address, disk).await;
        // And there are no links to missing content.
        for (tag, linked) in disk.tags(&pusher.repository) {
            assert!(disk.revision_link(&pusher.repository, &linked).exists(), "{tag}");
            assert_eq!(pull(address, &pusher.repository, &tag).await, linked, "{tag}");
        }
    }
}
