//! The contract of the storage port over a directory.

use roadstead_directory::{Directory, DirectoryStorage};
use roadstead_kit::{contract, directory::NativeDirectory};

#[tokio::test]
async fn a_directory_keeps_the_contract() {
    let root = tempfile::tempdir().unwrap();
    let directory = Directory::open(root.path()).unwrap();
    contract::check(&DirectoryStorage(NativeDirectory::new(directory)), true).await;
}
