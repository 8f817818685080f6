//! The contract of the storage port over a directory.

use roadstead_directory::{Directory, DirectoryStorage, Options};
use roadstead_kit::{contract, directory::NativeDirectory};

#[tokio::test]
async fn a_directory_keeps_the_contract() {
    let root = tempfile::tempdir().unwrap();
    let directory = Directory::open(root.path()).unwrap();
    contract::check(&DirectoryStorage(NativeDirectory::new(directory)), true).await;
}

/// Its sessions are made when they begin.
#[tokio::test]
async fn of_a_process_that_does_not_own_the_sessions() {
    let root = tempfile::tempdir().unwrap();
    let _owner = Directory::open(root.path()).unwrap();
    let directory = Directory::open(root.path()).unwrap();
    assert_eq!(directory.session_secret(), None);
    contract::check(&DirectoryStorage(NativeDirectory::new(directory)), true).await;
}

#[tokio::test]
async fn with_a_journal_too() {
    let root = tempfile::tempdir().unwrap();
    let options = Options { journal: true, ..Options::default() };
    let directory = Directory::open_with(root.path(), options).unwrap();
    assert_eq!(directory.has_journal(), cfg!(target_os = "linux"));
    contract::check(&DirectoryStorage(NativeDirectory::new(directory)), true).await;
}
