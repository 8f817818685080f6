//! Upload sessions: one writer at a time, and what crashes leave of them.

mod takeover;

use super::{Appender, Holder, State};
use crate::Directory;
use crate::files::testing::watch;
use crate::lock::{LOCK_EXPIRY, LOCK_REFRESH, Lock};
use roadstead_oci::{Algorithm, Digest, RepositoryName, Tag};
use roadstead_storage::{Collection, Commit, Key, StorageError, UploadSession};
use sha2::{Digest as _, Sha256, Sha512};
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};
use std::{fs, io};

fn repository() -> RepositoryName {
    RepositoryName::parse("r").unwrap()
}

fn session(number: u8) -> UploadSession {
    UploadSession::from_random(repository(), [number; 16])
}

fn sha256(bytes: &[u8]) -> Digest {
    Digest::from_bytes(Algorithm::Sha256, &Sha256::digest(bytes)).unwrap()
}

fn sha512(bytes: &[u8]) -> Digest {
    Digest::from_bytes(Algorithm::Sha512, &Sha512::digest(bytes)).unwrap()
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

fn lock(appender: &mut Appender) -> &mut Lock {
    let Holder::Lock(lock) = &mut appender.holder else { panic!("nothing of it is stored") };
    lock
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
    let digest = sha512(b"bytes");
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
fn a_damaged_state_is_no_state() {
    let good = State::new().print();
    assert!(State::parse(&good).is_some());
    for bad in
        ["", "0", "x\ndata\n", "0\n../data\n\n00", "0\ndata\n\nzz", &good.replace("data", "a/b")]
    {
        assert!(State::parse(bad).is_none(), "{bad:?}");
    }
}

thread_local! {
    static LOG: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// As a loss of power may leave it. Every request says the same.
#[test]
fn a_damaged_session_is_unknown_to_every_request() {
    type Damage = fn(&Fixture);
    let damages: [(Damage, usize); 5] = [
        (|f| fs::write(f.file("state"), "junk").unwrap(), 3),
        (|f| fs::write(f.file("state"), "").unwrap(), 3),
        (|f| fs::remove_file(f.file("startedat")).unwrap(), 0),
        (|f| fs::remove_file(f.file("data")).unwrap(), 0),
        (|f| fs::write(f.file("data"), "byte").unwrap(), 0),
    ];
    for (number, (damage, logged)) in damages.into_iter().enumerate() {
        let mut f = Fixture::new();
        f.directory.log = |line| LOG.with_borrow_mut(|log| log.push(line.to_owned()));
        f.append(None, b"bytes").unwrap();
        damage(&f);
        assert_eq!(f.directory.status(&f.session), Err(StorageError::NotFound), "{number}");
        assert_eq!(f.append(None, b"x"), Err(StorageError::NotFound), "{number}");
        assert_eq!(f.commit(b"bytes"), Err(StorageError::NotFound), "{number}");
        let lines = LOG.take();
        assert_eq!(lines.len(), logged, "{lines:?}");
        assert!(lines.iter().all(|line| line.contains("/state is damaged")), "{lines:?}");
        // It can be cancelled, unless it has been removed already.
        let _ = f.directory.discard(&f.session);
        assert!(!f.file("").exists());
    }
}

#[test]
fn a_request_beside_a_cancel_finds_no_session() {
    for hashed in [sha256(b"bytes"), sha512(b"bytes")] {
        for cancelled_before in [true, false] {
            let f = Fixture::new();
            let mut appender = f.directory.append(&f.session, None).unwrap();
            appender.write(b"bytes").unwrap();
            // The blob is there already, of another push.
            f.directory.write(&Key::Blob(hashed.clone()), b"bytes").unwrap();
            let cancel = f.directory.session_path(&f.session);
            let grave = f.root.path().join("cancelled");
            let path = f.directory.path(&Key::Blob(hashed.clone()));
            let session = cancel.clone();
            let watch = watch(f.root.path(), move |operation, called| {
                if operation == "rename to" && called == path && session.exists() {
                    fs::rename(&session, &grave)?;
                }
                Ok(())
            });
            if cancelled_before {
                f.directory.discard(&f.session).unwrap();
            }
            let session = f.session.clone();
            let commit = Commit { session, at: None, digest: hashed.clone(), receipt: None };
            let committed = f.directory.commit_appended(&commit, appender);
            assert_eq!(committed, Err(StorageError::NotFound), "{cancelled_before}");
            drop(watch);
            assert!(!cancel.exists());
            assert_eq!(f.blob(&hashed).unwrap(), b"bytes");
        }
    }
    // Nor does one that only appends.
    let f = Fixture::new();
    let mut appender = f.directory.append(&f.session, None).unwrap();
    appender.write(b"bytes").unwrap();
    f.directory.discard(&f.session).unwrap();
    assert_eq!(appender.finish(&f.directory), Err(StorageError::NotFound));
    assert_eq!(f.directory.discard(&f.session), Err(StorageError::NotFound));
    assert_eq!(fs::read_dir(f.directory.temporary_directory()).unwrap().count(), 0);
}

#[test]
fn chunks_and_cancels_at_once() {
    let f = Fixture::new();
    std::thread::scope(|scope| {
        for round in 0..100 {
            let session = session(2 + round);
            f.directory.begin(&session).unwrap();
            let append = scope.spawn({
                let (directory, session) = (&f.directory, session.clone());
                move || {
                    let mut appender = directory.append(&session, None)?;
                    appender.write(b"bytes")?;
                    let (session, digest) = (session, sha256(b"bytes"));
                    let commit = Commit { session, at: None, digest, receipt: None };
                    directory.commit_appended(&commit, appender)
                }
            });
            let discarded = f.directory.discard(&session);
            let committed = append.join().unwrap();
            assert!(matches!(committed, Ok(5) | Err(StorageError::NotFound)), "{committed:?}");
            assert!(matches!(discarded, Ok(()) | Err(StorageError::NotFound)), "{discarded:?}");
            assert!(committed.is_ok() || discarded.is_ok());
        }
    });
}

/// A lock that was written while a clock was wrong, by hours in either
/// direction, ends as any other.
#[test]
fn a_wrong_clock_does_not_hold_a_lock() {
    let f = Fixture::new();
    let other = Directory::open(f.root.path()).unwrap();
    f.append(None, b"good ").unwrap();
    let hours = Duration::from_hours(3);
    for (stamp, expected) in [
        (SystemTime::now() + hours, Ok(())),
        (SystemTime::now() - hours, Ok(())),
        (SystemTime::now(), Err(StorageError::Busy)),
    ] {
        fs::write(f.file("lock"), "/some/where/0123456789abcdef-7").unwrap();
        fs::File::options().write(true).open(f.file("lock")).unwrap().set_modified(stamp).unwrap();
        let appended = other.append(&f.session, None).map(drop);
        assert_eq!(appended, expected);
    }
    // A holder's lock is stamped by the file system when it is refreshed.
    fs::remove_file(f.file("lock")).unwrap();
    for directory in [&f.directory, &other] {
        let mut appender = directory.append(&f.session, None).unwrap();
        f.age_lock();
        lock(&mut appender).refreshed = Instant::now().checked_sub(LOCK_REFRESH).unwrap();
        appender.write(b"x").unwrap();
        let modified = fs::metadata(f.file("lock")).unwrap().modified().unwrap();
        let now = directory.clock().unwrap();
        assert!(now.duration_since(modified).unwrap_or_default() < LOCK_EXPIRY);
        assert_eq!(lock(&mut appender).check(), Ok(()));
    }
}

/// What did not fit does not stay, and what was counted does.
#[test]
fn a_full_disk_keeps_no_uncounted_bytes() {
    let f = Fixture::new();
    f.append(None, b"good ").unwrap();
    let data = f.file("data");
    let full = |after: usize| {
        let (data, writes) = (data.clone(), AtomicUsize::new(0));
        watch(f.root.path(), move |operation, path| {
            let counted = operation == "write" && path == data;
            if counted && writes.fetch_add(1, Ordering::Relaxed) >= after {
                return Err(io::Error::from_raw_os_error(28));
            }
            Ok(())
        })
    };
    for after in [0, 1, 3] {
        let watch = full(after);
        let bytes = vec![7; 4 * 512 * 1024];
        let failed = f.append(Some(5), &bytes);
        drop(watch);
        let Err(StorageError::Full(cause)) = failed else { panic!("{failed:?}") };
        assert!(cause.starts_with(&format!("write {}: No space left", data.display())), "{cause}");
        assert_eq!(fs::metadata(&data).unwrap().len(), 5);
        assert_eq!(f.directory.status(&f.session), Ok(5));
    }
    assert_eq!(f.append(Some(5), b"bytes"), Ok(10));
    assert_eq!(f.commit(b"good bytes"), Ok(10));
}

/// Every call of a push fails once: what it said is true, the next attempt
/// succeeds, and nothing is left of the failed one.
#[test]
fn a_push_can_fail_at_every_call() {
    let push = |directory: &Directory, session: &UploadSession| -> Result<u64, StorageError> {
        directory.begin(session)?;
        let mut appender = directory.append(session, None)?;
        appender.write(b"good ")?;
        assert_eq!(appender.finish(directory)?, 5);
        let mut appender = directory.append(session, Some(5))?;
        appender.write(b"bytes")?;
        let (session, digest) = (session.clone(), sha256(b"good bytes"));
        let commit = Commit { session, at: None, digest: digest.clone(), receipt: None };
        let size = directory.commit_appended(&commit, appender)?;
        let tag = Key::Tag(repository(), Tag::parse("v1").unwrap());
        directory.link(&tag, &digest, None)?;
        Ok(size)
    };
    let mut failures = 0;
    let errors = [(28, "full"), (30, "read-only"), (24, "unavailable"), (5, "unavailable")];
    // In memory where that is possible: hundreds of syncs are not the matter.
    let memory = Path::new("/dev/shm");
    for (call, (code, expected)) in errors.into_iter().cycle().enumerate() {
        let root = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let root = root.unwrap();
        let directory = Directory::open(root.path()).unwrap();
        let (calls, last) = (Arc::new(AtomicUsize::new(0)), session(7));
        let counted = Arc::clone(&calls);
        let watch = watch(root.path(), move |_, _| {
            if counted.fetch_add(1, Ordering::Relaxed) == call {
                return Err(io::Error::from_raw_os_error(code));
            }
            Ok(())
        });
        let pushed = push(&directory, &last);
        drop(watch);
        if calls.load(Ordering::Relaxed) <= call {
            assert_eq!(pushed, Ok(10));
            break;
        }
        match &pushed {
            // Of a call that need not succeed.
            Ok(10) | Err(StorageError::Busy) => {}
            Err(error) => {
                failures += 1;
                let class = serde_json::to_value(error).unwrap();
                let cause = class.get(expected).and_then(|cause| cause.as_str());
                let cause = cause.unwrap_or_else(|| panic!("{call}: {error:?}"));
                assert!(cause.contains(root.path().to_str().unwrap()), "{cause}");
            }
            Ok(other) => panic!("{call}: {other}"),
        }
        let _ = directory.discard(&last);
        let again = session(8);
        assert_eq!(push(&directory, &again), Ok(10), "{call}: {pushed:?}");
        let left = fs::read_dir(directory.temporary_directory()).unwrap().count();
        assert!(left <= 1, "{call}: {left} temporary files after {pushed:?}");
        assert_eq!(directory.value(&Key::Blob(sha256(b"good bytes"))).unwrap(), b"good bytes");
        assert!(!directory.session_path(&last).exists(), "{call}");
    }
    assert!(failures > 40, "{failures}");
}
