//! Upload sessions: bytes that arrive in chunks, hashed as they come.
//!
//! A session is a directory `<session>/` with distribution's `startedat` and
//! `data`, and our `state`: how many bytes count, the SHA-256 state after
//! them, and the file they are in. `state` is replaced by rename, so the
//! triple is always consistent: bytes in the file beyond the offset are a
//! chunk that never ended and are cut off by the next one.
//!
//! Nothing of a session is synced, so after a loss of power the file may not
//! hold what the state says. A state is therefore of an epoch, which a loss of
//! power ends: the bytes of an older one are hashed again before they count.
//! If some are missing, the session is gone: so it is also if a process died
//! between making the bytes an object and removing the session.

use crate::Directory;
use crate::commit::HASH_BUFFER;
use crate::entries::failed;
use crate::lock::Lock;
use crate::objects::{PRUNE_RETRIES, read_limited};
use crate::sink::Sink;
use roadstead_storage::{Key, StorageError, UploadSession, hash_state};
use sha2::{Digest as _, Sha256};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Largest `state` file that is read, in bytes; ours have about 300.
const STATE_LIMIT: usize = 1024;

/// What a loss of power ends: the time since the machine started or, where that
/// has no name, since this process did.
pub(crate) fn epoch(nonce: u64) -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    boot.map_or_else(|_| format!("{nonce:016x}"), |id| id.trim().to_owned())
}

/// The state of the hash after the first `length` bytes of a file.
fn hash_prefix(path: &Path, length: u64) -> Result<Sha256, StorageError> {
    let mut bytes = File::open(path)?.take(length);
    let mut sha256 = Sha256::new();
    let mut buffer = vec![0; HASH_BUFFER];
    loop {
        match bytes.read(&mut buffer)? {
            0 => return Ok(sha256),
            count => sha256.update(&buffer[..count]),
        }
    }
}

/// What counts in a session.
#[derive(Clone)]
pub(crate) struct State {
    pub(crate) offset: u64,
    pub(crate) sha256: Sha256,
    /// Name of the file of bytes, within the session's directory.
    file: String,
    /// When the bytes were hashed; see [`epoch`].
    epoch: String,
}

impl State {
    fn new() -> Self {
        Self { offset: 0, sha256: Sha256::new(), file: "data".to_owned(), epoch: String::new() }
    }

    fn print(&self) -> String {
        let Self { offset, file, epoch, sha256 } = self;
        format!("{offset}\n{file}\n{epoch}\n{}", hash_state::print(sha256))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let offset = lines.next()?.parse().ok()?;
        let file = lines.next()?;
        let epoch = lines.next()?;
        if !file.starts_with("data") || file.contains('/') {
            return None;
        }
        let sha256 = hash_state::parse(lines.next()?)?;
        Some(Self { offset, sha256, file: file.to_owned(), epoch: epoch.to_owned() })
    }
}

impl Directory {
    /// Makes an empty session. Its name must be one that was never used.
    pub fn begin(&self, session: &UploadSession) -> Result<(), StorageError> {
        let path = self.session_path(session);
        // What is above all sessions will hold what must last, and whoever
        // puts it there takes a directory that exists for a durable one.
        if let Some(owner) = path.parent().and_then(Path::parent) {
            self.make_directories(owner).map_err(failed)?;
        }
        let now = chrono::DateTime::<chrono::Utc>::from(SystemTime::now());
        let started = now.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        let begin = || {
            fs::create_dir_all(&path)?;
            fs::write(path.join("startedat"), &started)
        };
        let mut result = begin();
        for _ in 0..PRUNE_RETRIES {
            match &result {
                Err(error) if error.kind() == io::ErrorKind::NotFound => result = begin(),
                _ => break,
            }
        }
        result.map_err(failed)
    }

    /// The directory of a session.
    pub(crate) fn session_path(&self, session: &UploadSession) -> PathBuf {
        self.path(&Key::Session(session.clone()))
    }

    /// How many bytes the session holds.
    pub fn status(&self, session: &UploadSession) -> Result<u64, StorageError> {
        Ok(self.state(session)?.offset)
    }

    /// Starts to append to the session, at `at` if given, which must be its
    /// end.
    ///
    /// # Errors
    /// [`StorageError::NotFound`] without such a session, [`Error::Offset`],
    /// [`StorageError::Busy`] while another request appends.
    pub fn append(&self, session: &UploadSession, at: Option<u64>) -> Result<Appender, StorageError> {
        let path = self.session_path(session);
        let lock = Lock::take(self, &path)?;
        let mut state = self.state(session)?;
        if let Some(at) = at
            && at != state.offset
        {
            return Err(StorageError::Offset(state.offset));
        }
        if lock.taken_over {
            state.file = self.copy_data(&path, &state)?;
        }
        let data = path.join(&state.file);
        let held = fs::metadata(&data).map_or(0, |metadata| metadata.len());
        if held < state.offset {
            let _ = self.discard(session);
            return Err(StorageError::NotFound);
        }
        if state.offset > 0 && state.epoch != self.epoch {
            state.sha256 = hash_prefix(&data, state.offset)?;
        }
        state.epoch.clone_from(&self.epoch);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&data)
            .map_err(failed)?;
        if held > state.offset {
            file.set_len(state.offset).map_err(failed)?;
        }
        let start = state.offset;
        let sink = Sink::new(file, &data, start);
        Ok(Appender { sink, path, start, state, lock })
    }

    /// Removes the session and its bytes.
    pub fn discard(&self, session: &UploadSession) -> Result<(), StorageError> {
        let path = self.session_path(session);
        fs::remove_dir_all(&path)?;
        if let Some(parent) = path.parent() {
            self.prune(parent);
        }
        Ok(())
    }

    /// Removes what a session leaves behind whose bytes have become an object.
    pub(crate) fn end(&self, session: &UploadSession) {
        let path = self.session_path(session);
        for file in ["lock", "startedat", "state"] {
            let _ = fs::remove_file(path.join(file));
        }
        if fs::remove_dir(&path).is_err() {
            // What stays is without bytes, and thus no session.
            let _ = fs::remove_dir_all(&path);
        }
    }

    pub(crate) fn state(&self, session: &UploadSession) -> Result<State, StorageError> {
        let path = self.session_path(session);
        match read_limited(&path.join("state"), STATE_LIMIT) {
            Ok(bytes) => bytes
                .and_then(|bytes| State::parse(std::str::from_utf8(&bytes).ok()?))
                .ok_or_else(|| StorageError::Failed(format!("{session}/state is damaged"))),
            Err(StorageError::NotFound) => {
                fs::metadata(path.join("startedat"))?;
                Ok(State::new())
            }
            Err(error) => Err(error),
        }
    }

    /// Copies the bytes that count to a new file and gives its name.
    fn copy_data(&self, path: &Path, state: &State) -> Result<String, StorageError> {
        let (mut copy, temporary) = self.temporary_file().map_err(failed)?;
        let name = match temporary.file_name().and_then(|name| name.to_str()) {
            Some(unique) => format!("data-{unique}"),
            None => {
                return Err(StorageError::Failed("a temporary file has no name".to_owned()));
            }
        };
        if state.offset > 0 {
            let data = File::open(path.join(&state.file))?;
            io::copy(&mut data.take(state.offset), &mut copy).map_err(failed)?;
        }
        fs::rename(temporary, path.join(&name)).map_err(failed)?;
        Ok(name)
    }
}

/// Appends to a session. What was written counts once [`Appender::finish`]
/// has run; an appender that is dropped leaves the session as it was.
pub struct Appender {
    sink: Sink,
    path: PathBuf,
    start: u64,
    state: State,
    lock: Lock,
}

impl Appender {
    /// Writes and hashes `bytes`.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.lock.refresh()?;
        self.sink.write(bytes).map_err(failed)?;
        self.state.sha256.update(bytes);
        self.state.offset += bytes.len() as u64;
        Ok(())
    }

    /// Has the file hold all that was written, and memory nothing: for when no
    /// more bytes are to be expected soon.
    pub fn settle(&mut self) -> Result<(), StorageError> {
        self.sink.settle().map_err(failed)
    }

    /// How many bytes were written here.
    pub fn appended(&self) -> u64 {
        self.state.offset - self.start
    }

    /// Makes what was written count. Returns the session's new end.
    pub fn finish(mut self, directory: &Directory) -> Result<u64, StorageError> {
        self.sink.settle().map_err(failed)?;
        let (mut file, temporary) = directory.temporary_file().map_err(failed)?;
        let written = file.write_all(self.state.print().as_bytes());
        drop(file);
        let renamed = written.and_then(|()| {
            if self.lock.held() {
                fs::rename(&temporary, self.path.join("state"))
            } else {
                Err(io::ErrorKind::AlreadyExists.into())
            }
        });
        if let Err(error) = renamed {
            let _ = fs::remove_file(&temporary);
            return Err(match error.kind() {
                io::ErrorKind::AlreadyExists => StorageError::Busy,
                _ => error.into(),
            });
        }
        Ok(self.state.offset)
    }

    /// What [`Directory::commit`] needs of a session whose bytes may change no
    /// more.
    pub(crate) fn into_parts(self) -> Result<(File, PathBuf, State, impl Sized), StorageError> {
        let data = self.path.join(&self.state.file);
        let file = self.sink.into_file().map_err(failed)?;
        Ok((file, data, self.state, self.lock))
    }
}

impl std::fmt::Debug for Appender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Appender")
            .field("path", &self.path)
            .field("offset", &self.state.offset)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::State;
    use crate::lock::LOCK_EXPIRY;
    use crate::{Directory, Error, Key, WriteMode};
    use roadstead_oci::{Algorithm, Digest};
    use sha2::{Digest as _, Sha256, Sha512};
    use std::fs;
    use std::time::{Duration, SystemTime};

    fn key(key: &str) -> Key {
        Key::parse(key).unwrap()
    }

    struct Fixture {
        root: tempfile::TempDir,
        directory: Directory,
        session: Key,
    }

    impl Fixture {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let directory = Directory::open(root.path()).unwrap();
            let session = key("r/_uploads/1");
            directory.begin(&session).unwrap();
            Self { root, directory, session }
        }

        fn append(&self, at: Option<u64>, bytes: &[u8]) -> Result<u64, Error> {
            let mut appender = self.directory.append(&self.session, at)?;
            appender.write(bytes)?;
            appender.finish(&self.directory)
        }

        fn commit(&self, bytes: &[u8]) -> Result<u64, Error> {
            let digest = Digest::from_bytes(Algorithm::Sha256, &Sha256::digest(bytes)).unwrap();
            self.directory.commit(&self.session, &key("blob/data"), &digest)
        }

        /// Makes the lock that is held look as old as one whose holder died.
        fn age_lock(&self) {
            let lock = self.root.path().join("r/_uploads/1/lock");
            let old = SystemTime::now() - LOCK_EXPIRY - Duration::from_secs(1);
            fs::File::options().write(true).open(lock).unwrap().set_modified(old).unwrap();
        }
    }

    #[test]
    fn chunks_become_an_object() {
        let f = Fixture::new();
        assert_eq!(f.directory.session(&f.session).unwrap(), 0);
        assert_eq!(f.append(Some(0), b"one ").unwrap(), 4);
        assert_eq!(f.append(None, b"two").unwrap(), 7);
        assert_eq!(f.directory.session(&f.session).unwrap(), 7);
        assert_eq!(f.commit(b"one two").unwrap(), 7);
        let object = f.directory.read_small(&key("blob/data"), 99).unwrap();
        assert_eq!(object.as_deref(), Some(&b"one two"[..]));
        assert!(matches!(f.directory.session(&f.session), Err(Error::NotFound)));
        assert!(!f.root.path().join("r/_uploads/1").exists(), "nothing is left of it");
    }

    #[test]
    fn chunks_follow_one_another() {
        let f = Fixture::new();
        f.append(None, b"12345").unwrap();
        for at in [0, 4, 6, u64::MAX] {
            assert!(matches!(f.append(Some(at), b"x"), Err(Error::Offset { expected: 5 })));
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
        assert_eq!(f.directory.session(&f.session).unwrap(), 5);
        assert_eq!(f.append(Some(5), b"bytes").unwrap(), 10);
        assert_eq!(f.commit(b"good bytes").unwrap(), 10);
    }

    #[test]
    fn one_at_a_time() {
        let f = Fixture::new();
        let holder = f.directory.append(&f.session, None).unwrap();
        assert!(matches!(f.append(None, b"x"), Err(Error::Busy)));
        assert!(matches!(f.commit(b""), Err(Error::Busy)));
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
            assert!(matches!(second.append(&f.session, None), Err(Error::Busy)));
            f.age_lock();
            let mut taker = second.append(&f.session, None).unwrap();
            taker.write(b"by").unwrap();
            // Not dead, only slow: it writes on, but into its own file.
            former.write(b" and more of it").unwrap();
            taker.write(b"tes").unwrap();
            assert!(matches!(former.finish(first), Err(Error::Busy)));
            assert_eq!(taker.finish(second).unwrap(), 10);
            assert_eq!(f.commit(b"good bytes").unwrap(), 10);
            let object = f.directory.read_small(&key("blob/data"), 99).unwrap();
            assert_eq!(object.as_deref(), Some(&b"good bytes"[..]));
        }
    }

    #[test]
    fn sessions_begin_and_end_at_once() {
        let f = Fixture::new();
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let directory = &f.directory;
                scope.spawn(move || {
                    for round in 0..100 {
                        let session = key(&format!("r/_uploads/{worker}-{round}"));
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
        let data = f.root.path().join("r/_uploads/1/data");
        fs::rename(&data, f.root.path().join("blob")).unwrap();
        assert!(matches!(f.commit(b"bytes"), Err(Error::NotFound)));
        assert!(matches!(f.directory.session(&f.session), Err(Error::NotFound)));
        assert!(matches!(f.directory.stat(&key("blob/data")), Err(Error::NotFound)));
    }

    #[test]
    fn bytes_of_another_epoch_are_hashed_again() {
        let f = Fixture::new();
        f.append(None, b"bytes").unwrap();
        let in_session = |name: &str| f.root.path().join("r/_uploads/1").join(name);
        // As a loss of power may leave it: the length is right, the bytes are
        // not, and the state says that they are.
        fs::write(in_session("data"), [0; 5]).unwrap();
        let state = fs::read_to_string(in_session("state")).unwrap();
        fs::write(in_session("state"), state.replace(&f.directory.epoch, "before")).unwrap();
        assert!(matches!(f.commit(b"bytes"), Err(Error::DigestMismatch { .. })));
    }

    #[test]
    fn what_a_dead_owner_held_is_free() {
        let f = Fixture::new();
        f.append(None, b"good ").unwrap();
        let in_session = |name: &str| f.root.path().join("r/_uploads/1").join(name);
        let lock = in_session("lock");
        // As a process leaves it that owned the directory and was killed ...
        fs::hard_link(in_session("startedat"), &lock).unwrap();
        assert_eq!(f.append(None, b"bytes").unwrap(), 10);
        // ... and as one that did not own it, and may be alive.
        fs::write(&lock, "/some/where/0123456789abcdef-7").unwrap();
        assert!(matches!(f.append(None, b"x"), Err(Error::Busy)));
        fs::remove_file(&lock).unwrap();
        // A second process does not own the directory, and waits as well.
        fs::hard_link(in_session("startedat"), &lock).unwrap();
        let second = Directory::open(f.root.path()).unwrap();
        assert!(matches!(second.append(&f.session, None), Err(Error::Busy)));
    }

    #[test]
    fn a_wrong_digest_leaves_nothing() {
        let f = Fixture::new();
        f.append(None, b"this").unwrap();
        let actual = Digest::from_bytes(Algorithm::Sha256, &Sha256::digest(b"this")).unwrap();
        match f.commit(b"that") {
            Err(Error::DigestMismatch { actual: found }) => assert_eq!(found, actual),
            other => panic!("{other:?}"),
        }
        assert!(matches!(f.directory.session(&f.session), Err(Error::NotFound)));
        assert!(matches!(f.directory.stat(&key("blob/data")), Err(Error::NotFound)));
        let rest = f.directory.list(None, None, 99).unwrap();
        assert!(rest.is_empty(), "{rest:?}");
    }

    #[test]
    fn sha512_is_verified_too() {
        let f = Fixture::new();
        f.append(None, b"bytes").unwrap();
        let digest = Digest::from_bytes(Algorithm::Sha512, &Sha512::digest(b"bytes")).unwrap();
        assert_eq!(f.directory.commit(&f.session, &key("blob/data"), &digest).unwrap(), 5);
        assert_eq!(f.directory.digest(&key("blob/data"), Algorithm::Sha512).unwrap(), digest);
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
        let other = key("r/_uploads/2");
        assert!(matches!(f.directory.append(&other, None), Err(Error::NotFound)));
        assert!(matches!(f.directory.discard(&other), Err(Error::NotFound)));
        assert!(!f.root.path().join("r/_uploads/2").exists());
    }

    #[test]
    fn a_damaged_state_is_an_error_and_no_session() {
        let good = State::new().print();
        assert!(State::parse(&good).is_some());
        for bad in [
            "",
            "0",
            "x\ndata\n",
            "0\n../data\n\n00",
            "0\ndata\n\nzz",
            &good.replace("data", "a/b"),
        ] {
            assert!(State::parse(bad).is_none(), "{bad:?}");
        }
        let f = Fixture::new();
        f.directory.write(&key("r/_uploads/1/state"), b"junk", WriteMode::Overwrite).unwrap();
        assert!(matches!(f.append(None, b"x"), Err(Error::Io(_))));
    }
}
