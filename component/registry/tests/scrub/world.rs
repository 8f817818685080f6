//! Storages in which things are damaged, and a client that scrubs them.

use bytes::Bytes;
use http::{Request, Response};
use roadstead_bridge::scrub::{Counts, Finding, Kind, PATH, Progress, ScrubRequest};
use roadstead_cloud::{CloudStorage, Options};
use roadstead_directory::{Directory, DirectoryStorage};
use roadstead_kit::body::{MemoryBody, NativeBodies};
use roadstead_kit::bucket::MemoryBucket;
use roadstead_kit::contract::{Readable, sha256};
use roadstead_kit::directory::NativeDirectory;
use roadstead_kit::native::NativeRegistry;
use roadstead_oci::{Digest, RepositoryName};
use roadstead_storage::{Key, Storage};
use serde_json::{Value, json};
use std::time::Duration;

pub(crate) const DELETES: (&str, &str) = ("REGISTRY_STORAGE_DELETE_ENABLED", "true");
pub(crate) const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A storage of this process.
pub(crate) trait World: Default {
    type Storage: Storage<Upload = MemoryBody, Download: Readable>;

    fn storage(&self) -> Self::Storage;

    fn pass(&self, time: Duration);

    fn client(&self) -> Client<Self::Storage> {
        self.client_with(&[DELETES])
    }

    fn client_with(&self, settings: &[(&str, &str)]) -> Client<Self::Storage> {
        let registry = NativeRegistry::new(self.storage(), settings).unwrap();
        Client { registry, storage: self.storage() }
    }
}

#[derive(Default)]
pub(crate) struct InBucket(pub(crate) MemoryBucket);

pub(crate) struct InDirectory(pub(crate) tempfile::TempDir);

impl Default for InDirectory {
    fn default() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

impl World for InBucket {
    type Storage = CloudStorage<NativeBodies>;

    fn storage(&self) -> Self::Storage {
        CloudStorage::new(self.0.backend(""), Options::default())
    }

    fn pass(&self, time: Duration) {
        self.0.pass(time);
    }
}

impl World for InDirectory {
    type Storage = DirectoryStorage<NativeDirectory>;

    fn storage(&self) -> Self::Storage {
        DirectoryStorage(NativeDirectory(Directory::open(self.0.path()).unwrap()))
    }

    fn pass(&self, _: Duration) {}
}

pub(crate) fn name(text: &str) -> RepositoryName {
    RepositoryName::parse(text).unwrap()
}

pub(crate) fn blob(bytes: &str) -> Key {
    Key::Blob(sha256(bytes.as_bytes()))
}

/// What a scrub has said.
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub(crate) findings: Vec<Finding>,
    pub(crate) counts: Counts,
    pub(crate) hashed: u64,
    pub(crate) slices: usize,
    pub(crate) cursors: Vec<String>,
}

impl Said {
    pub(crate) fn kinds(&self) -> Vec<Kind> {
        self.findings.iter().map(|finding| finding.kind).collect()
    }

    fn add(&mut self, progress: Progress) -> Option<String> {
        self.findings.extend(progress.findings);
        self.counts.add(&progress.counts);
        self.hashed += progress.hashed;
        self.slices += 1;
        self.cursors.extend(progress.cursor.clone());
        progress.cursor
    }
}

/// A client of a registry, and who reaches behind it.
pub(crate) struct Client<S> {
    registry: NativeRegistry<S>,
    pub(crate) storage: S,
}

impl<S: Storage<Upload = MemoryBody, Download: Readable>> Client<S> {
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        of: &str,
        body: Bytes,
    ) -> Response<Bytes> {
        let request = Request::builder().method(method).uri(path).header("content-type", of);
        self.registry.send(request.body(body).unwrap()).await
    }

    pub(crate) async fn status(&self, method: &str, path: &str) -> u16 {
        self.send(method, path, IMAGE, Bytes::new()).await.status().as_u16()
    }

    pub(crate) async fn push_blob(&self, repository: &str, bytes: &str) -> Digest {
        let digest = sha256(bytes.as_bytes());
        let path = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        let body = Bytes::copy_from_slice(bytes.as_bytes());
        let response = self.send("POST", &path, "application/octet-stream", body).await;
        assert_eq!(response.status(), 201, "{response:?}");
        digest
    }

    pub(crate) async fn push(&self, repository: &str, tag: &str, manifest: &Value) -> Digest {
        let bytes = Bytes::from(manifest.to_string());
        let digest = sha256(&bytes);
        let tag = if tag.is_empty() { digest.as_str() } else { tag };
        let path = format!("/v2/{repository}/manifests/{tag}");
        let of = manifest["mediaType"].as_str().unwrap();
        let response = self.send("PUT", &path, of, bytes).await;
        assert_eq!(response.status(), 201, "{response:?}");
        digest
    }

    /// An image whose configuration and layer have these bytes.
    pub(crate) async fn push_image(
        &self,
        repository: &str,
        tag: &str,
        config: &str,
        layer: &str,
    ) -> Digest {
        self.push_blob(repository, config).await;
        self.push_blob(repository, layer).await;
        self.push(repository, tag, &image(config, layer)).await
    }

    /// Replaces the data of a blob behind the registry's back.
    pub(crate) async fn damage(&self, digest: &Digest, bytes: &'static str) {
        self.storage.write(&Key::Blob(digest.clone()), bytes.into()).await.unwrap();
    }

    pub(crate) async fn slice(&self, ask: &ScrubRequest) -> Progress {
        let body = serde_json::to_vec(ask).unwrap();
        let response = self.send("POST", PATH, "application/json", body.into()).await;
        assert_eq!(response.status(), 200, "{response:?}");
        serde_json::from_slice(response.body()).unwrap()
    }

    /// A whole scrub, whose waits pass at once.
    pub(crate) async fn scrub(&self, world: &impl World, ask: ScrubRequest) -> Said {
        let (mut ask, mut said) = (ask, Said::default());
        for _ in 0..10_000 {
            let progress = self.slice(&ask).await;
            world.pass(Duration::from_millis(progress.wait));
            ask.cursor = said.add(progress);
            if ask.cursor.is_none() {
                return said;
            }
        }
        panic!("a scrub does not end");
    }
}

pub(crate) fn descriptor(kind: &str, bytes: &str) -> Value {
    json!({ "mediaType": kind, "digest": sha256(bytes.as_bytes()), "size": bytes.len() })
}

pub(crate) fn image(config: &str, layer: &str) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": IMAGE,
        "config": descriptor("application/vnd.oci.image.config.v1+json", config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", layer)],
    })
}

/// An index of these manifests.
pub(crate) fn index(manifests: &[&Value]) -> Value {
    let of = |manifest: &&Value| descriptor(IMAGE, &manifest.to_string());
    let manifests: Vec<_> = manifests.iter().map(of).collect();
    json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests })
}
