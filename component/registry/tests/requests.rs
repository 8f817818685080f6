//! The protocol as tables of requests, over a directory and over a bucket of this
//! process. The package of tests runs the same tables against processes.

use roadstead_cloud::{CloudStorage, Options};
use roadstead_directory::{Directory, DirectoryStorage};
use roadstead_kit::body::NativeBodies;
use roadstead_kit::bucket::MemoryBucket;
use roadstead_kit::directory::NativeDirectory;
use roadstead_kit::native::{NativeRegistry, NativeStorage};
use roadstead_kit::requests::{self, Table};
use std::convert::Infallible;

async fn check(table: &Table, storage: impl Into<NativeStorage>) {
    let registry = NativeRegistry::new(storage, table.settings).unwrap();
    let send = async |request| Ok::<_, Infallible>(registry.send(request).await);
    if let Err(error) = requests::run(&table.steps, send).await {
        panic!("{}: {error}", table.name);
    }
}

#[tokio::test]
async fn over_a_directory() {
    for table in requests::all() {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::open(root.path()).unwrap();
        check(&table, DirectoryStorage(NativeDirectory::new(directory))).await;
    }
}

#[tokio::test]
async fn over_a_bucket() {
    for table in requests::all() {
        let options = Options { secret: Some(b"secret".to_vec()), ..Options::default() };
        let backend = MemoryBucket::default().backend("root");
        check(&table, CloudStorage::<NativeBodies>::new(backend, options)).await;
    }
}
