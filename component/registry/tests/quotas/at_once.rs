//! Pushes under one quota at the same time.

use super::{manifest_size, put, text};
use crate::collection::world::{Client, name};
use bytes::Bytes;
use futures::future::join_all;
use roadstead_cloud::{CloudStorage, Options};
use roadstead_directory::{Directory, DirectoryStorage};
use roadstead_kit::body::NativeBodies;
use roadstead_kit::bucket::MemoryBucket;
use roadstead_kit::contract::sha256;
use roadstead_kit::directory::NativeDirectory;
use roadstead_kit::images::IMAGE;
use roadstead_kit::native::NativeRegistry;
use roadstead_storage::{Collection, Storage as _};
use serde_json::Value;
use std::sync::Arc;

const BLOB: &str = "application/octet-stream";

/// Many threads over a directory, and many requests over a bucket: never more than there is room
/// for, and of pushes that come one after the other all for which there is.
#[test]
fn of_many_pushes_at_once_not_too_many_are_admitted() {
    const THREADS: usize = 6;
    let root = tempfile::tempdir().unwrap();
    let directory = Arc::new(Directory::open(root.path()).unwrap());
    let size = 1000 + manifest_size(&text(1, 1000));
    let settings = [("REGISTRY_POLICY_QUOTAS", "all ** 10KiB 4 tags")];
    let storage = |directory| DirectoryStorage(NativeDirectory::new(directory));
    let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
    let admitted: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let directory = Arc::clone(&directory);
                scope.spawn(move || {
                    let registry = NativeRegistry::new(storage(directory), &settings).unwrap();
                    let client = Client(registry);
                    let upload = async |text: &str| {
                        let digest = sha256(text.as_bytes());
                        let path = format!("/v2/a/blobs/uploads/?digest={digest}");
                        let body = Bytes::copy_from_slice(text.as_bytes());
                        client.ask("POST", &path, BLOB, body).await.status().as_u16()
                    };
                    let push = async |number: usize| {
                        let layer = text(number, 1000);
                        // What others have uploaded counts too, once somebody counts.
                        for blob in ["config", &layer] {
                            let status = upload(blob).await;
                            if status != 201 {
                                return status;
                            }
                        }
                        put(&client, "a", &format!("v{number}"), &layer).await.0
                    };
                    let statuses: Vec<u16> =
                        (0..3).map(|at| runtime().block_on(push(thread * 3 + at))).collect();
                    assert!(
                        statuses.iter().all(|status| [201, 403].contains(status)),
                        "{statuses:?}"
                    );
                    statuses.into_iter().filter(|status| *status == 201).count()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert!(admitted <= 4, "{admitted}");
    assert!(admitted as u64 * size <= 10 * 1024);
    let client = Client(NativeRegistry::new(storage(directory), &settings).unwrap());
    let tags = runtime().block_on(client.ask("GET", "/v2/a/tags/list", IMAGE, Bytes::new()));
    let tags: Value = serde_json::from_slice(tags.body()).unwrap_or_default();
    assert_eq!(tags["tags"].as_array().map_or(0, Vec::len), admitted);
}

#[tokio::test]
async fn pushes_to_a_bucket_at_once() {
    let bucket = MemoryBucket::default();
    let storage = || CloudStorage::<NativeBodies>::new(bucket.backend(""), Options::default());
    let settings = [("REGISTRY_POLICY_QUOTAS", "all ** 1GiB 4 tags")];
    let clients: Vec<Client> =
        (0..4).map(|_| Client(NativeRegistry::new(storage(), &settings).unwrap())).collect();
    clients[0].push_blob("a", "config").await;
    clients[0].push_blob("a", "layer").await;
    for round in 0..4 {
        let pushes = clients
            .iter()
            .enumerate()
            .map(async |(at, client)| put(client, "a", &format!("v{round}-{at}"), "layer").await.0);
        let statuses = join_all(pushes).await;
        assert!(statuses.iter().all(|status| [201, 403].contains(status)), "{statuses:?}");
    }
    for number in 0..4 {
        put(&clients[0], "a", &format!("last{number}"), "layer").await;
    }
    let storage = storage();
    let tags = storage.enumerate(&Collection::Tags(name("a")), None, 100).await.unwrap();
    assert_eq!(tags.entries.len(), 4);
}
