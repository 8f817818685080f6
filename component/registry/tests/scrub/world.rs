//! Storages in which things are damaged, and a client that scrubs them.

use bytes::Bytes;
use object_store::path::Path;
use roadstead_bridge::scrub::{Counts, Finding, Kind, PATH, Progress, ScrubRequest};
use roadstead_cloud::{CloudStorage, Options};
use roadstead_directory::{Directory, DirectoryStorage};
use roadstead_kit::body::NativeBodies;
use roadstead_kit::bucket::MemoryBucket;
use roadstead_kit::contract::sha256;
use roadstead_kit::directory::NativeDirectory;
pub(crate) use roadstead_kit::images::{IMAGE, INDEX, descriptor, image};
use roadstead_kit::native::{NativeRegistry, NativeStorage};
use roadstead_oci::{Digest, RepositoryName};
use roadstead_storage::{Key, Storage};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::ops::Deref;
use std::time::Duration;

pub(crate) const DELETES: (&str, &str) = ("REGISTRY_STORAGE_DELETE_ENABLED", "true");

/// What the places of records begin with.
const RECORDS: &str = ".roadstead/";

/// A storage of this process.
pub(crate) trait World: Default {
    type Storage: Storage + Into<NativeStorage>;

    fn storage(&self) -> Self::Storage;

    fn pass(&self, time: Duration);

    /// All that is stored but records of collectors, by its place.
    async fn content(&self) -> BTreeMap<String, Bytes>;

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

    async fn content(&self) -> BTreeMap<String, Bytes> {
        let mut content = BTreeMap::new();
        for key in self.0.keys().await.into_iter().filter(|key| !key.starts_with(RECORDS)) {
            let object = self.0.objects().get(&Path::from(key.as_str())).await.unwrap();
            content.insert(key, object.bytes().await.unwrap());
        }
        content
    }
}

impl World for InDirectory {
    type Storage = DirectoryStorage<NativeDirectory>;

    fn storage(&self) -> Self::Storage {
        DirectoryStorage(NativeDirectory::new(Directory::open(self.0.path()).unwrap()))
    }

    fn pass(&self, _: Duration) {}

    async fn content(&self) -> BTreeMap<String, Bytes> {
        let (mut content, mut directories) = (BTreeMap::new(), vec![self.0.path().to_owned()]);
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                let place = path.strip_prefix(self.0.path()).unwrap().to_str().unwrap();
                if place.starts_with(RECORDS) {
                } else if path.is_dir() {
                    directories.push(path);
                } else {
                    content.insert(place.to_owned(), std::fs::read(&path).unwrap().into());
                }
            }
        }
        content
    }
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
    registry: NativeRegistry,
    pub(crate) storage: S,
}

impl<S> Deref for Client<S> {
    type Target = NativeRegistry;

    fn deref(&self) -> &NativeRegistry {
        &self.registry
    }
}

impl<S: Storage> Client<S> {
    pub(crate) async fn push(&self, repository: &str, tag: &str, manifest: &Value) -> Digest {
        let of = manifest["mediaType"].as_str().unwrap();
        self.registry.push(repository, tag, of, manifest).await
    }

    /// Replaces the data of a blob behind the registry's back.
    pub(crate) async fn damage(&self, digest: &Digest, bytes: &'static str) {
        self.storage.write(&Key::Blob(digest.clone()), bytes.into()).await.unwrap();
    }

    pub(crate) async fn slice(&self, ask: &ScrubRequest) -> Progress {
        let body = serde_json::to_vec(ask).unwrap();
        let response = self.ask("POST", PATH, "application/json", body.into()).await;
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

/// An index of these manifests.
pub(crate) fn index(manifests: &[&Value]) -> Value {
    let of = |manifest: &&Value| descriptor(IMAGE, &manifest.to_string());
    let manifests: Vec<_> = manifests.iter().map(of).collect();
    json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests })
}
