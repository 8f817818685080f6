//! A storage whose clock can be put forward, and a client of a registry over it.

use bytes::Bytes;
use http::StatusCode;
use roadstead_cloud::{CloudStorage, Options};
use roadstead_directory::{Directory, DirectoryStorage};
use roadstead_kit::body::NativeBodies;
use roadstead_kit::bucket::MemoryBucket;
use roadstead_kit::contract::sha256;
use roadstead_kit::directory::{NativeDirectory, make_older};
pub(crate) use roadstead_kit::images::{IMAGE, INDEX, image};
use roadstead_kit::native::{NativeRegistry, NativeStorage, default_order};
use roadstead_oci::{Digest, RepositoryName};
use roadstead_registry::{Progress, Report, SliceOptions};
use roadstead_storage::{Key, Storage, StorageError};
use std::ops::Deref;
use std::time::Duration;

pub(crate) const DELETES: &[(&str, &str)] = &[("REGISTRY_STORAGE_DELETE_ENABLED", "true")];
pub(crate) const DAY: Duration = Duration::from_hours(24);
pub(crate) const HOUR: Duration = Duration::from_hours(1);

/// As the settings have it by default, with slices of any length. A day is longer than the
/// interval, so that the next run is due.
pub(crate) fn order() -> SliceOptions {
    SliceOptions { interval: 23 * HOUR, ..default_order() }
}

/// A storage of this process, whose clock can be put forward.
pub(crate) trait World {
    type Storage: Storage + Into<NativeStorage>;

    fn storage(&self) -> Self::Storage;

    fn pass(&self, time: Duration);

    fn registry(&self) -> NativeRegistry {
        NativeRegistry::new(self.storage(), DELETES).unwrap()
    }
}

impl World for MemoryBucket {
    type Storage = CloudStorage<NativeBodies>;

    fn storage(&self) -> Self::Storage {
        CloudStorage::new(self.backend(""), Options::default())
    }

    fn pass(&self, time: Duration) {
        Self::pass(self, time);
    }
}

impl World for tempfile::TempDir {
    type Storage = DirectoryStorage<NativeDirectory>;

    fn storage(&self) -> Self::Storage {
        DirectoryStorage(NativeDirectory::new(Directory::open(self.path()).unwrap()))
    }

    fn pass(&self, time: Duration) {
        make_older(self.path(), time);
    }
}

pub(crate) fn name(text: &str) -> RepositoryName {
    RepositoryName::parse(text).unwrap()
}

/// A client of a registry.
pub(crate) struct Client(pub(crate) NativeRegistry);

impl Deref for Client {
    type Target = NativeRegistry;

    fn deref(&self) -> &NativeRegistry {
        &self.0
    }
}

impl Client {
    pub(crate) async fn delete(&self, repository: &str, digest: &Digest) {
        let path = format!("/v2/{repository}/manifests/{digest}");
        let response = self.ask("DELETE", &path, IMAGE, Bytes::new()).await;
        assert_eq!(response.status(), StatusCode::ACCEPTED, "{response:?}");
    }

    /// A whole run, whose waits pass at once.
    pub(crate) async fn run(&self, world: &impl World, order: SliceOptions) -> Report {
        self.try_run(world, order).await.unwrap().unwrap()
    }

    pub(crate) async fn try_run(
        &self,
        world: &impl World,
        mut order: SliceOptions,
    ) -> Result<Option<Report>, StorageError> {
        for _ in 0..100_000 {
            match self.0.collect(&order).await? {
                Progress::Running { run, wait, .. } => {
                    order.run = Some(u128::from_str_radix(&run, 16).unwrap());
                    world.pass(Duration::from_millis(wait));
                }
                Progress::Done { report } => return Ok(Some(*report)),
                Progress::NotDue { .. } => return Ok(None),
            }
        }
        panic!("a run does not end");
    }
}

pub(crate) async fn exists<S: Storage>(storage: &S, key: Key) -> bool {
    storage.exists(&key).await.unwrap()
}

pub(crate) fn blob(bytes: &str) -> Key {
    Key::Blob(sha256(bytes.as_bytes()))
}

pub(crate) fn layer(repository: &str, bytes: &str) -> Key {
    Key::Layer(name(repository), sha256(bytes.as_bytes()))
}

/// Until what is garbage is condemned.
pub(crate) async fn condemn<W: World>(world: &W, client: &Client) -> Report {
    world.pass(2 * DAY);
    let report = client.run(world, order()).await;
    assert_eq!((report.condemned, report.removed), (0, 0), "{report:?}");
    assert!(report.sighted > 0, "{report:?}");
    world.pass(2 * DAY);
    client.run(world, order()).await
}

/// An image whose tag `old` is deleted by digest, another with the same layer that
/// stays, and a blob that no manifest refers to.
pub(crate) async fn fill(client: &Client) {
    let old = client.push_image("a/b", "old", "old config", "shared layer").await;
    client.push_image("a/b", "new", "new config", "shared layer").await;
    client.push_image("c", "new", "new config", "shared layer").await;
    client.push_blob("a/b", b"orphan").await;
    client.push_blob("c", b"orphan").await;
    client.delete("a/b", &old).await;
}

/// What [`fill`] leaves to be collected: two blobs and a manifest.
pub(crate) const GARBAGE: u64 = 3;
