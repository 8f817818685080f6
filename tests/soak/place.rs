//! Where the content is, how processes are started over it, and what is there.

use crate::settings::{Settings, Store};
use bytes::Bytes;
use futures::StreamExt as _;
use object_store::ObjectStoreExt as _;
use object_store::path::Path as Key;
use roadstead_buckets::Bucket;
use roadstead_tests::{Azurite, Distribution, Garage, Gcs, Registry, binary, bucket};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::{fs, io};
use tempfile::TempDir;

/// The name of the bucket.
const BUCKET: &str = "soak";

const BLOBS: &str = "docker/registry/v2/blobs/sha256";
const REPOSITORIES: &str = "docker/registry/v2/repositories";
const LEASE: &str = ".roadstead/collect/lease";

/// Instances believe for ten minutes that nothing is condemned.
const MARKER: &str = ".roadstead/collect/condemned";

/// The storage of a soak.
pub struct Place {
    content: Content,
    /// The variables of each instance.
    stores: Vec<Vec<(String, String)>>,
    collection: String,
    /// The peer, or the second registry of a directory.
    distribution: Option<Distribution>,
}

enum Content {
    Directory(TempDir),
    Bucket(Arc<dyn Bucket>, Held),
    Distribution(TempDir),
}

/// A store that runs as long as it is held.
#[expect(dead_code, reason = "they are dropped with it")]
enum Held {
    Garage(Garage),
    Azurite(Azurite),
    Gcs(Gcs),
}

impl Place {
    /// `None` if the store is not installed.
    pub fn new(settings: &Settings) -> Option<Self> {
        let directory = || {
            let mut directory = tempfile::tempdir_in(&settings.directory).unwrap();
            directory.disable_cleanup(settings.keeps);
            directory
        };
        let mut stores = Vec::new();
        let content = match settings.store {
            Store::Directory | Store::Shared => Content::Directory(directory()),
            Store::Distribution => Content::Distribution(directory()),
            Store::Garage => {
                let garage = Garage::start().unwrap()?;
                garage.bucket(BUCKET).unwrap();
                stores = (0..settings.instances()).map(|at| garage.settings(BUCKET, at)).collect();
                Content::Bucket(bucket(stores[0].clone()).unwrap(), Held::Garage(garage))
            }
            Store::Azurite => {
                let azurite = Azurite::start().unwrap()?;
                stores = (0..settings.instances()).map(|_| azurite.settings(BUCKET)).collect();
                Content::Bucket(bucket(stores[0].clone()).unwrap(), Held::Azurite(azurite))
            }
            Store::Gcs => {
                let gcs = Gcs::start().unwrap();
                stores = (0..settings.instances()).map(|_| gcs.settings(BUCKET)).collect();
                Content::Bucket(bucket(stores[0].clone()).unwrap(), Held::Gcs(gcs))
            }
        };
        let program = match &content {
            Content::Distribution(_) => Some(Distribution::program()?),
            _ => settings.second.clone(),
        };
        let distribution = match &content {
            Content::Directory(root) | Content::Distribution(root) => {
                program.map(|program| Distribution::over(root.path(), &program).unwrap())
            }
            Content::Bucket(..) => None,
        };
        Some(Self { content, stores, collection: settings.collection(), distribution })
    }

    /// Whether it is an object store.
    pub fn is_bucket(&self) -> bool {
        matches!(self.content, Content::Bucket(..))
    }

    /// Before the first start.
    pub async fn prepare(&self) {
        if let Content::Bucket(bucket, held) = &self.content {
            if let Held::Azurite(azurite) = held {
                azurite.container(BUCKET).await.unwrap();
            }
            bucket.put(&Key::from(MARKER), Bytes::new().into()).await.unwrap();
        }
    }

    /// Starts a process.
    pub fn start(&self, instance: usize) -> Registry {
        let variables = [
            ("REGISTRY_STORAGE_DELETE_ENABLED", "true"),
            ("REGISTRY_LOG_ACCESSLOG_DISABLED", "true"),
            ("REGISTRY_STORAGE_MAINTENANCE_GC_RATE", "100000"),
            ("ROADSTEAD_TEST_GC", &self.collection),
        ];
        // One redirects clients to the bucket.
        let streaming = [("REGISTRY_STORAGE_REDIRECT_DISABLE", "true")];
        let more = if instance == 0 { &[][..] } else { &streaming };
        let started = match &self.content {
            Content::Directory(root) if instance == 0 || self.distribution.is_none() => {
                Registry::start(&root.path().join("data"), &variables, &[])
            }
            Content::Bucket(..) => {
                Registry::start_over(&self.stores[instance], &[&variables[..], more].concat())
            }
            Content::Directory(_) | Content::Distribution(_) => {
                self.distribution.as_ref().expect("the other registry").serve()
            }
        };
        started.unwrap()
    }

    /// Collects while no registry runs.
    pub async fn collect_alone(&self) {
        let Some(distribution) = &self.distribution else { return };
        let mut command = tokio::process::Command::new(binary().unwrap());
        command.args(["garbage-collect", "-q"]).arg(distribution.config());
        roadstead_tests::program::run(&mut command).await;
    }

    /// A run of a peer's collector; whether it succeeded, and how many blobs it removed.
    pub async fn collect(&self) -> Option<(bool, usize)> {
        let Content::Distribution(_) = &self.content else { return None };
        let command = self.distribution.as_ref()?.garbage_collect(&[]);
        let mut command = tokio::process::Command::from(command);
        let output = command.kill_on_drop(true).output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let removed = said.lines().filter(|line| line.contains("blob eligible for deletion"));
        Some((output.status.success(), removed.count()))
    }

    /// Which run has the lease.
    pub async fn lease(&self) -> Option<String> {
        let bytes = match &self.content {
            Content::Bucket(bucket, _) => {
                let found = bucket.get(&Key::from(LEASE)).await.ok()?;
                found.bytes().await.ok()?.to_vec()
            }
            Content::Directory(root) | Content::Distribution(root) => {
                fs::read(root.path().join("data").join(LEASE)).ok()?
            }
        };
        String::from_utf8(bytes).ok()?.split(' ').next().map(str::to_owned)
    }

    /// Takes it from whoever has it: safety does not rest on it.
    pub async fn take_lease(&self) {
        match &self.content {
            Content::Bucket(bucket, _) => {
                let _ = bucket.delete(&Key::from(LEASE)).await;
            }
            Content::Directory(root) | Content::Distribution(root) => {
                let _ = fs::remove_file(root.path().join("data").join(LEASE));
            }
        }
    }

    /// Removes what requests and collectors have announced in a directory that a kill has
    /// cut off. All of them have died with its only process, but a push would wait for 56 s
    /// to know that. Where there are others it does.
    pub fn end_announcements(&self) {
        let Content::Directory(root) = &self.content else { return };
        let repositories = root.path().join("data").join(REPOSITORIES);
        for entry in fs::read_dir(repositories).into_iter().flatten() {
            match fs::remove_dir_all(entry.unwrap().path().join("_deletions")) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => panic!("{error}"),
                _ => {}
            }
        }
    }

    /// The bytes of blobs by their digests, and the number of other objects beside them.
    pub async fn blobs(&self) -> (BTreeMap<String, u64>, usize) {
        let (mut blobs, mut others) = (BTreeMap::new(), 0);
        for (key, size) in self.list(BLOBS).await {
            let parts: Vec<&str> = key.rsplit('/').take(2).collect();
            if parts[0] == "data" {
                blobs.insert(parts[1].to_owned(), size);
            } else {
                others += 1;
            }
        }
        (blobs, others)
    }

    /// The digests of all manifests that repositories hold.
    pub async fn revisions(&self) -> BTreeSet<String> {
        let keys = self.list(REPOSITORIES).await;
        let digest = |(key, _): &(String, u64)| {
            let rest = key.split_once("/_manifests/revisions/sha256/")?.1;
            Some(rest.strip_suffix("/link")?.to_owned())
        };
        keys.iter().filter_map(digest).collect()
    }

    /// The bytes of a blob, if it is there.
    pub async fn blob(&self, hex: &str) -> Option<Bytes> {
        let key = format!("{BLOBS}/{}/{hex}/data", &hex[..2]);
        match &self.content {
            Content::Bucket(bucket, _) => {
                bucket.get(&Key::from(key)).await.ok()?.bytes().await.ok()
            }
            Content::Directory(root) | Content::Distribution(root) => {
                fs::read(root.path().join("data").join(key)).ok().map(Bytes::from)
            }
        }
    }

    async fn list(&self, prefix: &str) -> Vec<(String, u64)> {
        match &self.content {
            Content::Bucket(bucket, _) => {
                let found = bucket.list(Some(&Key::from(prefix)));
                let all = found.map(|meta| meta.unwrap());
                all.map(|meta| (meta.location.to_string(), meta.size)).collect().await
            }
            Content::Directory(root) | Content::Distribution(root) => {
                let root = root.path().join("data").join(prefix);
                tokio::task::spawn_blocking(move || {
                    let mut files = Vec::new();
                    walk(&root, &mut files);
                    files
                })
                .await
                .unwrap()
            }
        }
    }
}

/// Files that go meanwhile are left out.
fn walk(directory: &Path, files: &mut Vec<(String, u64)>) {
    let gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    let entries = match fs::read_dir(directory) {
        Err(error) if gone(&error) => return,
        other => other.unwrap(),
    };
    for entry in entries {
        let path = match entry {
            Err(error) if gone(&error) => continue,
            other => other.unwrap().path(),
        };
        match fs::symlink_metadata(&path) {
            Err(error) => assert!(gone(&error), "{error}"),
            Ok(data) if data.is_dir() => walk(&path, files),
            Ok(data) => files.push((path.to_string_lossy().into_owned(), data.len())),
        }
    }
}
