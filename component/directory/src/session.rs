//! Upload sessions: bytes that arrive in chunks, hashed as they are received.
//!
//! A session of which something is stored (for others, see [`crate::fresh`]) is a
//! directory `<session>/` with distribution's `startedat` and `data`, and our
//! `state`: how many bytes are recorded, the SHA-256 state after them, and the
//! file they are in. `state` is replaced by rename, so the triple is always
//! consistent: bytes in the file beyond the offset belong to an incomplete chunk
//! and are truncated by the next one.
//!
//! Nothing of a session is synced, so after a loss of power the file may not
//! hold what the state says. A state therefore belongs to an epoch, which ends
//! with a loss of power: bytes of an older epoch are hashed again before they
//! are used. If some are missing, the session is lost; the same holds if a
//! process died between making the bytes an object and removing the session.

use crate::entries::failed;
use crate::lock::{Entered, Lock};
use crate::objects::{PRUNE_RETRIES, read_limited};
use crate::sink::Sink;
use crate::{Directory, files};
use roadstead_storage::{Key, StorageError, UploadSession, hash_state};
use sha2::{Digest as _, Sha256};
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// Bytes read at a time where bytes are hashed again.
pub(crate) const HASH_BUFFER: usize = 256 * 1024;

/// Largest `state` file that is read, in bytes; ours have about 300.
///
/// Limit: bytes of an upload's state; test:
/// `a_damaged_state_is_no_state`.
const STATE_LIMIT: usize = 1024;

/// The current epoch, which ends with a loss of power: identified by the boot
/// id or, where there is none, by a nonce of this process.
pub(crate) fn epoch(nonce: u64) -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    boot.map_or_else(|_| format!("{nonce:016x}"), |id| id.trim().to_owned())
}

/// The state of the hash after the first `length` bytes of a file.
fn hash_prefix(path: &Path, length: u64) -> Result<Sha256, StorageError> {
    let mut bytes = files::open(path)?.take(length);
    let mut sha256 = Sha256::new();
    let mut buffer = vec![0; HASH_BUFFER];
    loop {
        match bytes.read(&mut buffer)? {
            0 => return Ok(sha256),
            count => sha256.update(&buffer[..count]),
        }
    }
}

/// The recorded state of a session.
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
    pub(crate) fn new() -> Self {
        Self { offset: 0, sha256: Sha256::new(), file: "data".to_owned(), epoch: String::new() }
    }

    /// Name of the file of bytes, within the session's directory.
    pub(crate) fn file(&self) -> &str {
        &self.file
    }

    /// Writes it to the directory of a session that nobody else knows yet.
    pub(crate) fn write_new(&self, session: &Path) -> io::Result<()> {
        start(session)?;
        let path = session.join("state");
        files::write_all(&files::create_new(&path)?, &path, self.print().as_bytes())
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

/// Writes when a session has begun.
fn start(session: &Path) -> io::Result<()> {
    let now = chrono::DateTime::<chrono::Utc>::from(SystemTime::now());
    let started = now.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let file = session.join("startedat");
    files::write_all(&files::open_for_writing(&file)?, &file, started.as_bytes())
}

impl Directory {
    /// Makes an empty session. Its name must be one that was never used.
    pub fn begin(&self, session: &UploadSession) -> Result<(), StorageError> {
        self.writable()?;
        let path = self.session_path(session);
        let begin = || {
            self.create_directories(&path)?;
            start(&path)
        };
        let mut result = begin();
        for _ in 0..PRUNE_RETRIES {
            match &result {
                Err(error) if error.kind() == ErrorKind::NotFound => result = begin(),
                _ => break,
            }
        }
        result.map_err(|error| {
            let _ = files::remove_dir_all(&path);
            if let Some(parent) = path.parent() {
                self.prune(parent);
            }
            failed(error)
        })
    }

    /// The directory of a session.
    pub(crate) fn session_path(&self, session: &UploadSession) -> PathBuf {
        self.path(&Key::Session(session.clone()))
    }

    /// How many bytes the session holds.
    pub fn status(&self, session: &UploadSession) -> Result<u64, StorageError> {
        let state = match self.state(session) {
            Err(StorageError::NotFound)
                if self.is_fresh(session) && !exists(&self.session_path(session))? =>
            {
                // Unless all of the storage is gone.
                return self.present().map(|()| 0);
            }
            state => state?,
        };
        // As `append` does, so that no client is told to continue in vain.
        if held(&self.session_path(session).join(&state.file))? < state.offset {
            return Err(StorageError::NotFound);
        }
        Ok(state.offset)
    }

    /// Starts to append to the session, at `at` if given, which must be its
    /// end.
    ///
    /// # Errors
    /// [`StorageError::NotFound`] without such a session, [`StorageError::Offset`],
    /// [`StorageError::Busy`] while another request appends.
    pub fn append(
        &self,
        session: &UploadSession,
        at: Option<u64>,
    ) -> Result<Appender, StorageError> {
        self.writable()?;
        let path = self.session_path(session);
        let entered = self.enter(&path)?;
        if self.is_fresh(session) && !exists(&path)? {
            return self.append_fresh(session, at, entered);
        }
        let mut lock = Lock::take(self, &path, entered)?;
        let mut state = self.state(session)?;
        if lock.taken_over {
            self.move_data(&path, &mut state, &lock)?;
            lock.taken_over = false;
        }
        if let Some(at) = at
            && at != state.offset
        {
            return Err(StorageError::Offset(state.offset));
        }
        let data = path.join(&state.file);
        let held = held(&data)?;
        if held < state.offset {
            let _ = self.discard(session);
            return Err(StorageError::NotFound);
        }
        if state.offset > 0 && state.epoch != self.epoch {
            state.sha256 = hash_prefix(&data, state.offset)?;
        }
        state.epoch.clone_from(&self.epoch);
        // A request beside it may have removed the session.
        let file = Arc::new(files::open_for_writing(&data)?);
        let start = state.offset;
        let unrecorded = Unrecorded(Some(Undo::Truncate(Arc::clone(&file), start)));
        if held > start {
            files::call("truncate", &data, || file.set_len(start)).map_err(failed)?;
        }
        let sink = Sink::new(file, &data, start);
        let holder = Holder::Lock(lock);
        Ok(Appender { sink, session: session.clone(), data, start, state, unrecorded, holder })
    }

    /// Starts to append to a session of which nothing is stored.
    fn append_fresh(
        &self,
        session: &UploadSession,
        at: Option<u64>,
        entered: Option<Entered>,
    ) -> Result<Appender, StorageError> {
        if at.is_some_and(|at| at > 0) {
            return Err(StorageError::Offset(0));
        }
        let (file, data) = self.temporary_file()?;
        let state = State { epoch: self.epoch.clone(), ..State::new() };
        let unrecorded = Unrecorded(Some(Undo::Remove(data.clone())));
        let holder = Holder::Fresh(entered);
        let sink = Sink::new(Arc::new(file), &data, 0);
        Ok(Appender { sink, session: session.clone(), data, start: 0, state, unrecorded, holder })
    }

    /// Removes the session and its bytes.
    pub fn discard(&self, session: &UploadSession) -> Result<(), StorageError> {
        self.writable()?;
        let was_fresh = self.note_end(session);
        let path = self.session_path(session);
        // In one step, so that a request beside it finds the session or none.
        let grave = self.temporary_directory().join(self.temporary_name());
        match files::rename(&path, &grave) {
            Ok(()) => {
                if let Err(error) = files::remove_dir_all(&grave) {
                    (self.log)(&format!("removed later: {error}"));
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound && was_fresh && !exists(&path)? => {
                return Ok(());
            }
            // On another file system, or on a disk too full for a new entry.
            Err(_) => remove_all(&path)?,
        }
        if let Some(parent) = path.parent() {
            self.prune(parent);
        }
        Ok(())
    }

    /// Removes the rest of a session whose bytes have become an object.
    pub(crate) fn end(&self, session: &UploadSession) {
        self.note_end(session);
        let path = self.session_path(session);
        for file in ["lock", "startedat", "state"] {
            let _ = files::remove_file(&path.join(file));
        }
        if files::remove_dir(&path).is_err() {
            // Files that remain have no bytes, so they are not a session.
            let _ = files::remove_dir_all(&path);
        }
    }

    pub(crate) fn state(&self, session: &UploadSession) -> Result<State, StorageError> {
        let path = self.session_path(session);
        files::metadata(&path.join("startedat"))?;
        let state = path.join("state");
        match read_limited(&state, STATE_LIMIT) {
            Ok(bytes) => bytes
                .and_then(|bytes| State::parse(std::str::from_utf8(&bytes).ok()?))
                .ok_or_else(|| {
                    (self.log)(&format!("{} is damaged; the upload is lost", state.display()));
                    StorageError::NotFound
                }),
            Err(StorageError::NotFound) => Ok(State::new()),
            Err(error) => Err(error),
        }
    }

    /// Moves the recorded bytes to a new file: a former holder of the lock may still
    /// be running, and writes to the one before.
    fn move_data(&self, path: &Path, state: &mut State, lock: &Lock) -> Result<(), StorageError> {
        let copy = self.copy_data(path, state)?;
        let former = std::mem::replace(&mut state.file, copy);
        let recorded = self.record(path, state, lock);
        let unused = if recorded.is_ok() { &former } else { &state.file };
        let _ = files::remove_file(&path.join(unused));
        recorded
    }

    /// Records the state of a session whose directory is `path`, if its lock is
    /// still held.
    fn record(&self, path: &Path, state: &State, lock: &Lock) -> Result<(), StorageError> {
        let (file, temporary) = self.temporary_file()?;
        let recorded = files::write_all(&file, &temporary, state.print().as_bytes())
            .map_err(failed)
            .and_then(|()| lock.check())
            .and_then(|()| Ok(files::rename(&temporary, &path.join("state"))?));
        if recorded.is_err() {
            let _ = files::remove_file(&temporary);
        }
        recorded
    }

    /// Copies the recorded bytes to a new file and returns its name.
    fn copy_data(&self, path: &Path, state: &State) -> Result<String, StorageError> {
        let (copy, temporary) = self.temporary_file()?;
        let name = match temporary.file_name().and_then(|name| name.to_str()) {
            Some(unique) => format!("data-{unique}"),
            None => {
                return Err(StorageError::Failed("a temporary file has no name".to_owned()));
            }
        };
        let copied = if state.offset > 0 {
            files::open(&path.join(&state.file)).and_then(|data| {
                let mut data = data.take(state.offset);
                files::call("write", &temporary, || io::copy(&mut data, &mut &copy))
            })
        } else {
            Ok(0)
        };
        if let Err(error) = copied.and_then(|_| files::rename(&temporary, &path.join(&name))) {
            let _ = files::remove_file(&temporary);
            return Err(error.into());
        }
        Ok(name)
    }
}

fn found(path: &Path) -> Result<Option<Metadata>, StorageError> {
    match files::metadata(path).map_err(StorageError::from) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(StorageError::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

fn exists(path: &Path) -> Result<bool, StorageError> {
    Ok(found(path)?.is_some())
}

/// How many bytes a file has; none if it is missing.
fn held(path: &Path) -> Result<u64, StorageError> {
    Ok(found(path)?.map_or(0, |metadata| metadata.len()))
}

/// Removes a directory to which files may be added meanwhile.
fn remove_all(path: &Path) -> io::Result<()> {
    let mut result = files::remove_dir_all(path);
    for _ in 0..PRUNE_RETRIES {
        match &result {
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {
                result = files::remove_dir_all(path);
            }
            _ => break,
        }
    }
    result
}

/// Bytes that are not recorded. They are taken away again when this is dropped, unless they
/// are to be kept.
struct Unrecorded(Option<Undo>);

enum Undo {
    /// Truncate the session's file to the recorded bytes.
    Truncate(Arc<File>, u64),
    /// Remove the temporary file.
    Remove(PathBuf),
}

impl Drop for Unrecorded {
    fn drop(&mut self) {
        // What stays is truncated by the next request that appends, or swept.
        match &self.0 {
            Some(Undo::Truncate(file, recorded)) => {
                let _ = file.set_len(*recorded);
            }
            Some(Undo::Remove(path)) => {
                let _ = files::remove_file(path);
            }
            None => {}
        }
    }
}

/// What keeps others from appending to a session.
enum Holder {
    /// Its lock.
    Lock(Lock),
    /// That this process has entered it, if it owns the sessions: nothing of the session is
    /// stored, so that there is nothing to lock.
    Fresh(#[expect(dead_code, reason = "it is held")] Option<Entered>),
}

/// Appends to a session. Written bytes are recorded by [`Appender::finish`]; an
/// appender that is dropped leaves the session as it was.
pub struct Appender {
    sink: Sink,
    session: UploadSession,
    /// Where the bytes are.
    data: PathBuf,
    start: u64,
    state: State,
    /// Dropped before `holder`, so that nobody else appends meanwhile.
    unrecorded: Unrecorded,
    holder: Holder,
}

/// A session whose bytes may change no more. It is held until this is dropped.
pub(crate) struct Complete {
    /// Its bytes.
    pub(crate) file: Arc<File>,
    /// Where they are.
    pub(crate) data: PathBuf,
    pub(crate) state: State,
    unrecorded: Unrecorded,
    holder: Holder,
}

impl Complete {
    /// Truncates the file no more: it is about to become an object. A temporary file is still
    /// removed, until [`Self::moved`].
    pub(crate) fn keep(&mut self) {
        if matches!(self.unrecorded.0, Some(Undo::Truncate(..))) {
            self.unrecorded.0 = None;
        }
    }

    /// The file has become an object.
    pub(crate) fn moved(&mut self) {
        self.unrecorded.0 = None;
    }

    /// Whether nothing of the session is stored but these bytes.
    pub(crate) fn is_fresh(&self) -> bool {
        matches!(self.holder, Holder::Fresh(_))
    }
}

impl Appender {
    /// Writes and hashes `bytes`.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        if let Holder::Lock(lock) = &mut self.holder {
            lock.refresh()?;
        }
        self.sink.write(bytes).map_err(failed)?;
        self.state.sha256.update(bytes);
        self.state.offset += bytes.len() as u64;
        Ok(())
    }

    /// Flushes all buffered bytes to the file and frees the buffer: for when no
    /// more bytes are expected soon.
    pub fn settle(&mut self) -> Result<(), StorageError> {
        self.sink.settle().map_err(failed)
    }

    /// How many bytes this appender has written.
    pub fn appended(&self) -> u64 {
        self.state.offset - self.start
    }

    /// Records the written bytes. Returns the session's new end.
    pub fn finish(mut self, directory: &Directory) -> Result<u64, StorageError> {
        self.sink.settle().map_err(failed)?;
        match &self.holder {
            Holder::Lock(lock) => {
                directory.record(&directory.session_path(&self.session), &self.state, lock)?;
            }
            // It stays as it is.
            Holder::Fresh(_) if self.state.offset == 0 => return Ok(0),
            Holder::Fresh(_) => directory.make_session(&self.session, &self.state, &self.data)?,
        }
        self.unrecorded.0 = None;
        Ok(self.state.offset)
    }

    /// What [`Directory::commit`] needs of a session.
    pub(crate) fn complete(self) -> Result<Complete, StorageError> {
        let file = self.sink.into_file().map_err(failed)?;
        let Self { data, state, unrecorded, holder, .. } = self;
        Ok(Complete { file, data, state, unrecorded, holder })
    }
}

impl std::fmt::Debug for Appender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Appender")
            .field("session", &self.session)
            .field("offset", &self.state.offset)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
