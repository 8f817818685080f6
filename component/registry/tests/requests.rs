//! The protocol as tables of requests, over a directory of this process. The
//! package of tests runs the same tables against processes.

use roadstead_directory::{Directory, DirectoryStorage};
use roadstead_kit::directory::NativeDirectory;
use roadstead_kit::native::NativeRegistry;
use roadstead_kit::requests;
use std::convert::Infallible;

#[tokio::test]
async fn over_a_directory() {
    for table in requests::all() {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::open(root.path()).unwrap();
        let storage = DirectoryStorage(NativeDirectory(directory));
        let registry = NativeRegistry::new(storage, table.settings).unwrap();
        let send = async |request| Ok::<_, Infallible>(registry.send(request).await);
        if let Err(error) = requests::run(&table.steps, send).await {
            panic!("{}: {error}", table.name);
        }
    }
}
