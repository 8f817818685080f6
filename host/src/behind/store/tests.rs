use super::{BATCH_SIZE, HostStore};
use crate::behind::deadline::Deadlines;
use crate::body::full;
use crate::meter::Meter;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use roadstead_bridge::storage::{Operation, Transfer};
use roadstead_config::UploadPurging;
use roadstead_oci::{Algorithm, Digest, Reference, RepositoryName, Tag};
use roadstead_storage::{Commit, Key, StorageError, UploadSession};
use sha2::{Digest as _, Sha256};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Where the kernel and the file system can do it, which the directory's own tests say.
#[tokio::test]
async fn what_is_in_memory_is_answered_at_once() {
    let root = tempfile::tempdir().unwrap();
    let store = HostStore::open(root.path().to_owned(), false, false).unwrap();
    let (name, bytes) = (RepositoryName::parse("a").unwrap(), vec![b'x'; 9000]);
    let digest = Digest::from_bytes(Algorithm::Sha256, &Sha256::digest(&bytes)).unwrap();
    store.directory.write(&Key::Blob(digest.clone()), &bytes).unwrap();
    let link = Key::Layer(name.clone(), digest.clone());
    store.directory.write(&link, digest.as_str().as_bytes()).unwrap();
    let (repository, range) = (name, None);
    let operation = Operation::Blob { repository, digest, range, content: true };
    match store.read_from_memory(&operation) {
        Some(outcome) => {
            let body = outcome.unwrap().1.unwrap();
            assert_eq!(body.collect().await.unwrap().to_bytes(), bytes);
        }
        None => assert!(store.directory.from_memory(|_| ()).is_none()),
    }
    assert!(store.read_from_memory(&Operation::Remove(link.clone())).is_none());
    assert!(store.directory.path(&link).exists());
}

/// A file that nobody can open before it is dropped: opening it for reading
/// waits for a writer. It stands for a file system that hangs.
struct Hanging(PathBuf);

impl Hanging {
    fn new(path: &Path) -> Self {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let _ = fs::remove_file(path);
        mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        Self(path.to_owned())
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        // Lets go whoever waits, and nobody comes to wait any more.
        let opened = File::options().read(true).write(true).open(&self.0);
        let _ = fs::remove_file(&self.0);
        drop(opened);
    }
}

fn is_unavailable<T>(result: Result<T, StorageError>) -> bool {
    matches!(result, Err(StorageError::Unavailable(cause)) if cause.contains("not answered"))
}

#[tokio::test]
async fn a_directory_that_hangs_is_unavailable() {
    let root = tempfile::tempdir().unwrap();
    let mut store = HostStore::open(root.path().to_owned(), false, false).unwrap();
    let moment = Duration::from_millis(50);
    store.deadlines = Deadlines { read: moment, write: moment, long: moment };
    let (name, tag) = (RepositoryName::parse("a").unwrap(), Tag::parse("v1").unwrap());
    let digest = Digest::from_bytes(Algorithm::Sha256, &[7; 32]).unwrap();
    let key = Key::Tag(name.clone(), tag.clone());
    let _tag = Hanging::new(&store.directory.path(&key));
    let reference = Reference::Tag(tag);
    let [one, other, third] = [7, 8, 9].map(|n| UploadSession::from_random(name.clone(), [n; 16]));
    let _started = [&one, &other, &third].map(|session| {
        store.directory.begin(session).unwrap();
        let path = store.directory.path(&Key::Session(session.clone()));
        Hanging::new(&path.join("startedat"))
    });
    let commit = Commit { session: one, at: None, digest: digest.clone(), receipt: None };
    for operation in [
        Operation::Manifest { repository: name, reference, content: false },
        Operation::Read(key.clone()),
        Operation::Unlink { key, digest },
        Operation::Commit(commit.clone()),
    ] {
        let text = format!("{operation:?}");
        assert!(store.read_from_memory(&operation).is_none(), "{text}");
        assert!(is_unavailable(store.execute(operation).await), "{text}");
    }
    // By one task, and by several.
    for (session, length) in [(other, 5), (third, BATCH_SIZE + 1)] {
        let body = full(Bytes::from(vec![7; length]));
        let transfer = Transfer::AppendAndCommit(Commit { session, ..commit.clone() });
        assert!(is_unavailable(store.transfer(transfer, body).await), "{length}");
    }
}

/// An upload to which nothing was added for so long: the files of its session.
fn upload(store: &HostStore, number: u8, age: Duration) -> PathBuf {
    let name = RepositoryName::parse("a").unwrap();
    let session = UploadSession::from_random(name, [number; 16]);
    store.directory.begin(&session).unwrap();
    let path = store.directory.path(&Key::Session(session));
    for entry in fs::read_dir(&path).unwrap() {
        let file = File::open(entry.unwrap().path()).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
    }
    path
}

/// The settings allow no interval that a test of a process could wait for.
#[tokio::test]
async fn uploads_are_purged_for_as_long_as_the_process_lives() {
    let root = tempfile::tempdir().unwrap();
    let store = Arc::new(HostStore::open(root.path().to_owned(), false, false).unwrap());
    let hour = Duration::from_hours(1);
    let young = upload(&store, 0, hour / 2);
    let interval = Duration::from_millis(20);
    let purging = UploadPurging { age: hour, interval, dry_run: false };
    let purge = tokio::spawn(Arc::clone(&store).purge(purging, Meter::default()));
    for number in 1..=3 {
        let abandoned = upload(&store, number, 2 * hour);
        let gone = async {
            while abandoned.exists() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let seen = tokio::time::timeout(Duration::from_secs(30), gone).await;
        assert!(seen.is_ok(), "upload {number} is still there");
    }
    assert!(young.exists() && !purge.is_finished());
    purge.abort();
}
