//! Sessions of which nothing is stored: begun, filled, completed and ended, by one process and
//! by several.

use super::{Ended, REMEMBERED};
use crate::{Appender, Directory};
use roadstead_bridge::storage::Transfer;
use roadstead_oci::{Algorithm, Digest, RepositoryName};
use roadstead_storage::{Commit, Key, SessionSecret, StorageError, UploadSession};
use sha2::{Digest as _, Sha256};
use std::fs;
use std::path::PathBuf;

fn digest(bytes: &[u8]) -> Digest {
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
        let secret = SessionSecret::new(directory.session_secret().unwrap());
        let session = secret.new_session(&RepositoryName::parse("r").unwrap(), [7; 16]);
        Self { root, directory, session }
    }

    /// Another process, which does not own the sessions.
    fn another(&self) -> Directory {
        let another = Directory::open(self.root.path()).unwrap();
        assert_eq!(another.session_secret(), None);
        another
    }

    fn appender(&self, bytes: &[u8]) -> Result<Appender, StorageError> {
        let mut appender = self.directory.append(&self.session, None)?;
        appender.write(bytes)?;
        Ok(appender)
    }

    fn append(&self, bytes: &[u8]) -> Result<u64, StorageError> {
        self.appender(bytes)?.finish(&self.directory)
    }

    fn commit_of(&self, bytes: &[u8]) -> Commit {
        Commit { session: self.session.clone(), at: None, digest: digest(bytes), receipt: None }
    }

    fn commit(&self, bytes: &[u8], expected: &[u8]) -> Result<u64, StorageError> {
        let appender = self.appender(bytes)?;
        self.directory.commit_appended(&self.commit_of(expected), appender)
    }

    fn blob(&self, bytes: &[u8]) -> Result<Vec<u8>, StorageError> {
        self.directory.value(&Key::Blob(digest(bytes)))
    }

    fn session_directory(&self) -> PathBuf {
        self.directory.session_path(&self.session)
    }

    /// Nothing is stored of any session.
    fn assert_nothing(&self) {
        assert!(!self.session_directory().exists());
        let left = fs::read_dir(self.directory.temporary_directory()).unwrap().count();
        assert_eq!(left, 0, "temporary files");
    }

    fn assert_ended(&self) {
        assert_eq!(self.directory.status(&self.session), Err(StorageError::NotFound));
        assert_eq!(self.append(b"x"), Err(StorageError::NotFound));
        assert_eq!(self.directory.discard(&self.session), Err(StorageError::NotFound));
        self.assert_nothing();
    }
}

#[test]
fn nothing_is_stored_before_bytes_come() {
    let f = Fixture::new();
    assert_eq!(f.directory.status(&f.session), Ok(0));
    assert_eq!(f.append(b""), Ok(0));
    assert_eq!(f.directory.append(&f.session, Some(1)).err(), Some(StorageError::Offset(0)));
    drop(f.appender(b"never finished").unwrap());
    f.assert_nothing();
    assert!(!f.root.path().join("docker").exists());
    assert_eq!(f.directory.status(&f.session), Ok(0));
}

#[test]
fn who_signed_an_identifier_knows_it() {
    let (f, other) = (Fixture::new(), Fixture::new());
    assert_eq!(other.directory.status(&f.session), Err(StorageError::NotFound));
    assert_eq!(other.directory.append(&f.session, None).err(), Some(StorageError::NotFound));
    let elsewhere = UploadSession { repository: RepositoryName::parse("q").unwrap(), ..f.session };
    assert_eq!(f.directory.status(&elsewhere), Err(StorageError::NotFound));
    assert_eq!(f.directory.discard(&elsewhere), Err(StorageError::NotFound));
}

#[test]
fn an_upload_in_one_request_has_no_session() {
    let f = Fixture::new();
    let watch = crate::files::testing::watch(f.root.path(), |operation, path| {
        let uploads = path.components().any(|part| part.as_os_str() == "_uploads");
        assert!(!uploads || operation == "look up", "{operation} {}", path.display());
        Ok(())
    });
    assert_eq!(f.commit(b"bytes", b"bytes"), Ok(5));
    drop(watch);
    assert_eq!(f.blob(b"bytes").unwrap(), b"bytes");
    f.assert_ended();
}

#[test]
fn any_process_goes_on_with_bytes_that_are_stored() {
    let f = Fixture::new();
    assert_eq!(f.append(b"one "), Ok(4));
    assert_eq!(f.directory.status(&f.session), Ok(4));
    let another = f.another();
    assert_eq!(another.status(&f.session), Ok(4));
    let mut appender = another.append(&f.session, Some(4)).unwrap();
    appender.write(b"two").unwrap();
    assert_eq!(appender.finish(&another), Ok(7));
    assert_eq!(f.commit(b"", b"one two"), Ok(7));
    assert_eq!(f.blob(b"one two").unwrap(), b"one two");
    f.assert_ended();
}

#[test]
fn any_process_goes_on_with_a_session_without_bytes() {
    let f = Fixture::new();
    let another = f.another();
    let mut appender = another.append(&f.session, None).unwrap();
    appender.write(b"bytes").unwrap();
    assert_eq!(another.commit_appended(&f.commit_of(b"bytes"), appender), Ok(5));
    assert_eq!(another.status(&f.session), Err(StorageError::NotFound));
    // This one does not know that it has ended. What is committed has its digest.
    assert_eq!(f.directory.status(&f.session), Ok(0));
    let mismatch = Err(StorageError::DigestMismatch(Some(digest(b""))));
    assert_eq!(f.commit(b"", b"bytes"), mismatch);
    f.assert_ended();
}

#[test]
fn bytes_of_a_body_that_ends_early_are_kept() {
    let f = Fixture::new();
    for transfer in [
        Transfer::Append { session: f.session.clone(), at: None, length: Some(9) },
        Transfer::AppendAndCommit(f.commit_of(b"one two three")),
    ] {
        let mut receiver = f.directory.receive(transfer).unwrap();
        receiver.write(b"one ").unwrap();
        assert_eq!(receiver.finish(&f.directory, false), Err(StorageError::Aborted));
    }
    assert_eq!(f.directory.status(&f.session), Ok(8));
    // Of one that has another length than was announced, none.
    let f = Fixture::new();
    let transfer = Transfer::Append { session: f.session.clone(), at: None, length: Some(9) };
    let mut receiver = f.directory.receive(transfer).unwrap();
    receiver.write(b"one ").unwrap();
    assert_eq!(receiver.finish(&f.directory, true), Err(StorageError::BodyLength(4)));
    assert_eq!(f.directory.status(&f.session), Ok(0));
    f.assert_nothing();
}

#[test]
fn one_request_at_a_time() {
    let f = Fixture::new();
    let first = f.appender(b"first").unwrap();
    assert_eq!(f.append(b"second"), Err(StorageError::Busy));
    assert_eq!(first.finish(&f.directory), Ok(5));
    // Of two processes, the one that is done first.
    let f = Fixture::new();
    let another = f.another();
    let first = f.appender(b"first").unwrap();
    let mut second = another.append(&f.session, None).unwrap();
    second.write(b"second").unwrap();
    assert_eq!(second.finish(&another), Ok(6));
    assert_eq!(first.finish(&f.directory), Err(StorageError::Busy));
    assert_eq!(f.directory.status(&f.session), Ok(6));
    let left = fs::read_dir(f.directory.temporary_directory()).unwrap().count();
    assert_eq!(left, 0, "temporary files");
}

/// Neither process holds a lock while nothing is stored.
#[test]
fn a_process_leaves_what_another_one_has_stored() {
    let f = Fixture::new();
    let another = f.another();
    let appender = another.append(&f.session, None).unwrap();
    assert_eq!(f.append(b"bytes"), Ok(5));
    let refused = another.commit_appended(&f.commit_of(b"other"), appender);
    assert_eq!(refused, Err(StorageError::DigestMismatch(Some(digest(b"")))));
    assert_eq!(f.directory.status(&f.session), Ok(5));
    // One that becomes a blob ends it, whatever is stored of it.
    let f = Fixture::new();
    let another = f.another();
    let mut appender = another.append(&f.session, None).unwrap();
    appender.write(b"bytes").unwrap();
    assert_eq!(f.append(b"other"), Ok(5));
    assert_eq!(another.commit_appended(&f.commit_of(b"bytes"), appender), Ok(5));
    assert!(!f.session_directory().exists());
}

#[test]
fn a_session_that_is_damaged_or_out_of_sight_is_not_empty() {
    let f = Fixture::new();
    f.append(b"bytes").unwrap();
    let state = f.session_directory().join("state");
    let bytes = fs::read(&state).unwrap();
    fs::write(&state, "").unwrap();
    assert_eq!(f.directory.status(&f.session), Err(StorageError::NotFound));
    assert_eq!(f.append(b"more"), Err(StorageError::NotFound));
    fs::write(&state, bytes).unwrap();
    // As a mount point is without its file system.
    let elsewhere = f.root.path().with_extension("elsewhere");
    fs::rename(f.root.path(), &elsewhere).unwrap();
    fs::create_dir(f.root.path()).unwrap();
    assert!(matches!(f.directory.status(&f.session), Err(StorageError::Unavailable(_))));
    fs::remove_dir(f.root.path()).unwrap();
    fs::rename(&elsewhere, f.root.path()).unwrap();
    assert_eq!(f.directory.status(&f.session), Ok(5));
    // Without the place to which sessions are moved before they are removed.
    fs::remove_dir(f.directory.temporary_directory()).unwrap();
    f.directory.discard(&f.session).unwrap();
    assert!(!f.session_directory().exists());
}

#[test]
fn a_session_is_ended_while_bytes_come() {
    let f = Fixture::new();
    let appender = f.appender(b"bytes").unwrap();
    f.directory.discard(&f.session).unwrap();
    assert_eq!(appender.finish(&f.directory), Err(StorageError::NotFound));
    f.assert_ended();
    let f = Fixture::new();
    let appender = f.appender(b"bytes").unwrap();
    f.directory.discard(&f.session).unwrap();
    let committed = f.directory.commit_appended(&f.commit_of(b"bytes"), appender);
    assert_eq!(committed, Err(StorageError::NotFound));
    assert_eq!(f.blob(b"bytes"), Err(StorageError::NotFound));
    f.assert_ended();
}

#[test]
fn sessions_end_and_stay_so() {
    let f = Fixture::new();
    f.directory.discard(&f.session).unwrap();
    f.assert_ended();
    let f = Fixture::new();
    let mismatch = Err(StorageError::DigestMismatch(Some(digest(b"bytes"))));
    assert_eq!(f.commit(b"bytes", b"other"), mismatch);
    f.assert_ended();
    let f = Fixture::new();
    f.append(b"bytes").unwrap();
    f.directory.discard(&f.session).unwrap();
    f.assert_ended();
}

#[test]
fn a_session_goes_on_if_its_bytes_could_not_become_a_blob() {
    let f = Fixture::new();
    // A file where the link's directory would be.
    let layers = f.directory.path(&Key::Layer(f.session.repository.clone(), digest(b"bytes")));
    let layers = layers.ancestors().nth(3).unwrap().to_owned();
    fs::create_dir_all(layers.parent().unwrap()).unwrap();
    fs::write(&layers, "").unwrap();
    assert!(matches!(f.commit(b"bytes", b"bytes"), Err(StorageError::Failed(_))));
    f.assert_nothing();
    assert_eq!(f.directory.status(&f.session), Ok(0));
    fs::remove_file(&layers).unwrap();
    assert_eq!(f.commit(b"bytes", b"bytes"), Ok(5));
    f.assert_ended();
}

#[test]
fn the_oldest_ended_sessions_are_forgotten() {
    let ended = Ended::default();
    let repository = RepositoryName::parse("r").unwrap();
    let session = |number: usize| {
        let number = u128::try_from(number).unwrap();
        UploadSession::from_random(repository.clone(), number.to_be_bytes())
    };
    for number in 0..=REMEMBERED {
        assert!(ended.insert(&session(number)));
        assert!(!ended.insert(&session(number)));
    }
    assert!(!ended.contains(&session(0)));
    assert!(ended.contains(&session(1)));
    ended.remove(&session(1));
    assert!(!ended.contains(&session(1)));
    assert!(ended.insert(&session(1)));
    assert!(ended.contains(&session(2)));
}
