//! Upload sessions: one writer at a time, and what crashes leave of them.

use super::State;
use crate::Directory;
use crate::lock::LOCK_EXPIRY;
use roadstead_oci::{Algorithm, Digest, RepositoryName};
use roadstead_storage::{Collection, Commit, Key, StorageError, UploadSession};
use sha2::{Digest as _, Sha256, Sha512};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

fn repository() -> RepositoryName {
    RepositoryName::parse("r").unwrap()
}

fn session(number: u8) -> UploadSession {
    UploadSession::from_random(repository(), [number; 16])
}

fn sha256(bytes: &[u8]) -> Digest {
    Digest::from_bytes(Algorithm::Sha256, &Sha256::digest(bytes)).unwrap()
}

struct Fixture {
    root: tempfile::TempDir,
    directory: Directory,
    session: UploadSession,
}

impl Fixture {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::open(root.path()).unwrap();
        let session = session(1);
        directory.begin(&session).unwrap();
        Self { root, directory, session }
    }

    fn append(&self, at: Option<u64>, bytes: &[u8]) -> Result<u64, StorageError> {
        let mut appender = self.directory.append(&self.session, at)?;
        appender.write(bytes)?;
        appender.finish(&self.directory)
    }

    fn commit(&self, bytes: &[u8]) -> Result<u64, StorageError> {
        self.commit_as(sha256(bytes))
    }

    fn commit_as(&self, digest: Digest) -> Result<u64, StorageError> {
        let appender = self.directory.append(&self.session, None)?;
        let session = self.session.clone();
        let commit = Commit { session, at: None, digest, receipt: None };
        self.directory.commit_appended(&commit, appender)
    }

    /// The file of this name in the session's directory.
    fn file(&self, name: &str) -> PathBuf {
        self.directory.session_path(&self.session).join(name)
    }

    /// The bytes of a blob.
    fn blob(&self, digest: &Digest) -> Result<Vec<u8>, StorageError> {
        self.directory.value(&Key::Blob(digest.clone()))
    }

    /// Makes the lock that is held look as old as one whose holder died.
    fn age_lock(&self) {
        let lock = self.file("lock");
        let old = SystemTime::now() - LOCK_EXPIRY - Duration::from_secs(1);
        fs::File::options().write(true).open(lock).unwrap().set_modified(old).unwrap();
    }
}

#[test]
fn chunks_become_an_object() {
    let f = Fixture::new();
    assert_eq!(f.directory.status(&f.session).unwrap(), 0);
    assert_eq!(f.append(Some(0), b"one ").unwrap(), 4);
    assert_eq!(f.append(None, b"two").unwrap(), 7);
    assert_eq!(f.directory.status(&f.session).unwrap(), 7);
    assert_eq!(f.commit(b"one two").unwrap(), 7);
    assert_eq!(f.blob(&sha256(b"one two")).unwrap(), b"one two");
    assert!(matches!(f.directory.status(&f.session), Err(StorageError::NotFound)));
    assert!(!f.file("").exists(), "nothing is left of it");
}

#[test]
fn chunks_follow_one_another() {
    let f = Fixture::new();
    f.append(None, b"12345").unwrap();
    for at in [0, 4, 6, u64::MAX] {
        assert!(matches!(f.append(Some(at), b"x"), Err(StorageError::Offset(5))));
    }
    assert_eq!(f.append(Some(5), b"6").unwrap(), 6);
}

#[test]
fn an_appender_that_is_dropped_changes_nothing() {
    let f = Fixture::new();
    f.append(None, b"good ").unwrap();
    let mut appender = f.directory.append(&f.session, None).unwrap();
    appender.write(b"this is never finished").unwrap();
    drop(appender);
    assert_eq!(f.directory.status(&f.session).unwrap(), 5);
    assert_eq!(f.append(Some(5), b"bytes").unwrap(), 10);
    assert_eq!(f.commit(b"good bytes").unwrap(), 10);
}

#[test]
fn one_at_a_time() {
    let f = Fixture::new();
    let holder = f.directory.append(&f.session, None).unwrap();
    assert!(matches!(f.append(None, b"x"), Err(StorageError::Busy)));
    assert!(matches!(f.commit(b""), Err(StorageError::Busy)));
    drop(holder);
    assert_eq!(f.append(None, b"x").unwrap(), 1);
}

#[test]
fn who_takes_over_is_not_disturbed_by_the_former_holder() {
    // Who owns the directory is taken over from, and takes over.
    for owner_first in [true, false] {
        let f = Fixture::new();
        let other = Directory::open(f.root.path()).unwrap();
        let (first, second) =
            if owner_first { (&f.directory, &other) } else { (&other, &f.directory) };
        f.append(None, b"good ").unwrap();
        let mut former = first.append(&f.session, None).unwrap();
        former.write(b"lost").unwrap();
        assert!(matches!(second.append(&f.session, None), Err(StorageError::Busy)));
        f.age_lock();
        let mut taker = second.append(&f.session, None).unwrap();
        taker.write(b"by").unwrap();
        // Not dead, only slow: it writes on, but into its own file.
        former.write(b" and more of it").unwrap();
        taker.write(b"tes").unwrap();
        assert!(matches!(former.finish(first), Err(StorageError::Busy)));
        assert_eq!(taker.finish(second).unwrap(), 10);
        assert_eq!(f.commit(b"good bytes").unwrap(), 10);
        assert_eq!(f.blob(&sha256(b"good bytes")).unwrap(), b"good bytes");
    }
}

#[test]
fn sessions_begin_and_end_at_once() {
    let f = Fixture::new();
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let directory = &f.directory;
            scope.spawn(move || {
                for round in 0..50 {
                    let session = session(2 + worker * 50 + round);
                    directory.begin(&session).unwrap();
                    directory.discard(&session).unwrap();
                }
            });
        }
    });
}

#[test]
fn a_session_whose_bytes_are_gone_is_gone() {
    // As a process leaves it that dies between making the bytes an object
    // and removing the session.
    let f = Fixture::new();
    f.append(None, b"bytes").unwrap();
    let data = f.file("data");
    fs::rename(&data, f.root.path().join("blob")).unwrap();
    assert!(matches!(f.commit(b"bytes"), Err(StorageError::NotFound)));
    assert!(matches!(f.directory.status(&f.session), Err(StorageError::NotFound)));
    assert_eq!(f.blob(&sha256(b"bytes")), Err(StorageError::NotFound));
}

#[test]
fn bytes_of_another_epoch_are_hashed_again() {
    let f = Fixture::new();
    f.append(None, b"bytes").unwrap();
    let in_session = |name: &str| f.file(name);
    // As a loss of power may leave it: the length is right, the bytes are
    // not, and the state says that they are.
    fs::write(in_session("data"), [0; 5]).unwrap();
    let state = fs::read_to_string(in_session("state")).unwrap();
    fs::write(in_session("state"), state.replace(&f.directory.epoch, "before")).unwrap();
    assert!(matches!(f.commit(b"bytes"), Err(StorageError::DigestMismatch(_))));
}

#[test]
fn what_a_dead_owner_held_is_free() {
    let f = Fixture::new();
    f.append(None, b"good ").unwrap();
    let in_session = |name: &str| f.file(name);
    let lock = in_session("lock");
    // As a process leaves it that owned the directory and was killed ...
    fs::hard_link(in_session("startedat"), &lock).unwrap();
    assert_eq!(f.append(None, b"bytes").unwrap(), 10);
    // ... and as one that did not own it, and may be alive.
    fs::write(&lock, "/some/where/0123456789abcdef-7").unwrap();
    assert!(matches!(f.append(None, b"x"), Err(StorageError::Busy)));
    fs::remove_file(&lock).unwrap();
    // A second process does not own the directory, and waits as well.
    fs::hard_link(in_session("startedat"), &lock).unwrap();
    let second = Directory::open(f.root.path()).unwrap();
    assert!(matches!(second.append(&f.session, None), Err(StorageError::Busy)));
}

#[test]
fn a_wrong_digest_leaves_nothing() {
    let f = Fixture::new();
    f.append(None, b"this").unwrap();
    let actual = sha256(b"this");
    match f.commit(b"that") {
        Err(StorageError::DigestMismatch(found)) => assert_eq!(found, Some(actual)),
        other => panic!("{other:?}"),
    }
    assert!(matches!(f.directory.status(&f.session), Err(StorageError::NotFound)));
    for bytes in [b"this", b"that"] {
        assert_eq!(f.blob(&sha256(bytes)), Err(StorageError::NotFound));
    }
    for collection in [Collection::Blobs, Collection::Layers(repository())] {
        let listing = f.directory.enumerate(&collection, None, 99).unwrap();
        assert!(listing.entries.is_empty(), "{listing:?}");
    }
}

#[test]
fn sha512_is_verified_too() {
    let f = Fixture::new();
    f.append(None, b"bytes").unwrap();
    let digest = Digest::from_bytes(Algorithm::Sha512, &Sha512::digest(b"bytes")).unwrap();
    assert_eq!(f.commit_as(digest.clone()).unwrap(), 5);
    assert_eq!(f.blob(&digest).unwrap(), b"bytes");
}

#[test]
fn sessions_survive_the_process() {
    let f = Fixture::new();
    f.append(None, b"before, ").unwrap();
    let again = Directory::open(f.root.path()).unwrap();
    let mut appender = again.append(&f.session, Some(8)).unwrap();
    appender.write(b"after").unwrap();
    appender.finish(&again).unwrap();
    assert_eq!(f.commit(b"before, after").unwrap(), 13);
}

#[test]
fn no_session_no_bytes() {
    let f = Fixture::new();
    let other = session(2);
    assert!(matches!(f.directory.append(&other, None), Err(StorageError::NotFound)));
    assert!(matches!(f.directory.discard(&other), Err(StorageError::NotFound)));
    assert!(!f.directory.session_path(&other).exists());
}

#[test]
fn a_damaged_state_is_an_error_and_no_session() {
    let good = State::new().print();
    assert!(State::parse(&good).is_some());
    for bad in
        ["", "0", "x\ndata\n", "0\n../data\n\n00", "0\ndata\n\nzz", &good.replace("data", "a/b")]
    {
        assert!(State::parse(bad).is_none(), "{bad:?}");
    }
    let f = Fixture::new();
    fs::write(f.file("state"), "junk").unwrap();
    assert!(matches!(f.append(None, b"x"), Err(StorageError::Failed(_))));
}
