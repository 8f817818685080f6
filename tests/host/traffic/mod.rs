//! Random changes by concurrent clients, a journal of them, and the check that a
//! registry that was stopped at any moment holds what it acknowledged.

mod check;
mod client;
mod journal;

pub use check::{Check, check};
pub use client::{Client, Held};
pub use journal::{Change, End, Journal, Known, Operation, Register};

use crate::content::Content;
use crate::support::request;
use bytes::Bytes;
use fastrand::Rng;
use roadstead_tests::{Target, digest};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Mutex, PoisonError};

/// The settings that clients need.
pub const SETTINGS: [(&str, &str); 1] = [("REGISTRY_STORAGE_DELETE_ENABLED", "true")];

/// Has changes become durable by a journal.
pub const JOURNAL: (&str, &str) = ("REGISTRY_STORAGE_FILESYSTEM_JOURNAL", "true");

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Repositories, between which blobs are mounted.
pub const REPOSITORIES: [&str; 2] = ["team/app", "base"];

/// Tags that all clients move and delete. One has the name of a directory of
/// the registry's own.
const TAGS: [&str; 4] = ["latest", "1.2", "nightly", "_uploads"];

/// How many manifests all clients push and delete.
const MANIFESTS: usize = 6;

/// How many blobs all clients push, mount and delete.
const BLOBS: usize = 4;

/// Largest blob, in bytes.
const LARGEST_BLOB: u64 = 64 * 1024;

/// Content with its digest.
#[derive(Clone, Debug)]
pub struct Blob {
    pub digest: String,
    pub bytes: Bytes,
}

impl From<Bytes> for Blob {
    fn from(bytes: Bytes) -> Self {
        Self { digest: digest(&bytes), bytes }
    }
}

impl Blob {
    /// A blob of random size: small and large ones equally often. One of a single
    /// byte cannot be distinguished from an empty one while it is uploaded.
    pub fn random(random: &mut Rng) -> Self {
        let magnitude = 2 + random.u32(..LARGEST_BLOB.ilog2() - 1);
        let content = Content { seed: random.u64(..), size: 4 + random.u64(..1 << magnitude) };
        content.bytes().into()
    }
}

/// What all clients of a registry share.
#[derive(Debug)]
pub struct World {
    /// The config and the layer of all manifests, which are never deleted.
    base: [Blob; 2],
    manifests: Vec<Blob>,
    blobs: Vec<Blob>,
    /// All manifests, by their digests.
    contents: Mutex<BTreeMap<String, Bytes>>,
    /// The subjects of manifests that have one.
    subjects: Mutex<BTreeMap<String, String>>,
    pub journal: Journal,
    /// Whether the registry is being stopped: only then may a request fail.
    pub stopping: AtomicBool,
    /// How many manifests were about to be deleted, and how many changes were
    /// acknowledged.
    pub deletes: AtomicU64,
    pub acknowledged: AtomicU64,
}

impl World {
    pub fn new(random: &mut Rng) -> Self {
        let base = [Blob::random(random), Blob::random(random)];
        let mut world = Self {
            base,
            manifests: Vec::new(),
            blobs: (0..BLOBS).map(|_| Blob::random(random)).collect(),
            contents: Mutex::default(),
            subjects: Mutex::default(),
            journal: Journal::default(),
            stopping: AtomicBool::new(false),
            deletes: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
        };
        for number in 0..MANIFESTS {
            // The last ones refer to the first.
            let subject = (number + 2 >= MANIFESTS).then_some(0);
            let manifest = world.manifest(&format!("shared {number}"), subject);
            world.manifests.push(manifest);
        }
        world
    }

    /// A manifest of its own, with one of the shared ones as its subject.
    fn manifest(&self, note: &str, subject: Option<usize>) -> Blob {
        let descriptor = |media_type: &str, blob: &Blob| json!({ "mediaType": media_type, "digest": blob.digest, "size": blob.bytes.len() });
        let [config, layer] = &self.base;
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor("application/vnd.oci.image.config.v1+json", config),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", layer)],
            "annotations": { "test.note": note },
        });
        let subject = subject.and_then(|number| self.manifests.get(number));
        if let Some(subject) = subject {
            manifest["subject"] = descriptor(MANIFEST, subject);
        }
        let manifest = Blob::from(Bytes::from(manifest.to_string()));
        {
            let mut contents = self.contents.lock().unwrap_or_else(PoisonError::into_inner);
            contents.insert(manifest.digest.clone(), manifest.bytes.clone());
        }
        if let Some(subject) = subject {
            let mut subjects = self.subjects.lock().unwrap_or_else(PoisonError::into_inner);
            subjects.insert(manifest.digest.clone(), subject.digest.clone());
        }
        manifest
    }

    /// Pushes the blobs of all manifests, and says where they are.
    pub async fn prepare(&self, target: &Target) -> Known {
        let mut known = Known::new();
        for (number, repository) in REPOSITORIES.into_iter().enumerate() {
            for blob in &self.base {
                let line = format!("POST /v2/{repository}/blobs/uploads/?digest={}", blob.digest);
                let answer = target.send(request(&line, blob.bytes.clone())).await.unwrap();
                assert_eq!(answer.status(), 201, "{:?}", answer.body());
                let item = journal::Item::Blob(blob.digest.clone());
                known.insert(Register { repository: number, item }, Some(blob.digest.clone()));
            }
        }
        known
    }
}
