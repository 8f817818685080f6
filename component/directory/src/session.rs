//! Upload sessions: bytes that arrive in chunks, hashed as they are received.
//!
//! A session is a directory `<session>/` with distribution's `startedat` and
//! `data`, and our `state`: how many bytes are recorded, the SHA-256 state
//! after them, and the file they are in. `state` is replaced by rename, so the
//! triple is always consistent: bytes in the file beyond the offset belong to
//! an incomplete chunk and are truncated by the next one.
//!
//! Nothing of a session is synced, so after a loss of power the file may not
//! hold what the state says. A state therefore belongs to an epoch, which ends
//! with a loss of power: bytes of an older epoch are hashed again before they
//! are used. If some are missing, the session is lost; the same holds if a
//! process died between making the bytes an object and removing the session.

use crate::Directory;
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

/// Bytes read at a time where bytes are hashed again.
pub(crate) const HASH_BUFFER: usize = 256 * 1024;

/// Largest `state` file that is read, in bytes; ours have about 300.
const STATE_LIMIT: usize = 1024;

/// The current epoch, which ends with a loss of power: identified by the boot
/// id or, where there is none, by a nonce of this process.
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
        // The parent of all sessions' directories will also hold durable
        // objects, whose writers assume that an existing directory is durable.
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
    /// [`StorageError::NotFound`] without such a session, [`StorageError::Offset`],
    /// [`StorageError::Busy`] while another request appends.
    pub fn append(
        &self,
        session: &UploadSession,
        at: Option<u64>,
    ) -> Result<Appender, StorageError> {
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

    /// Removes the rest of a session whose bytes have become an object.
    pub(crate) fn end(&self, session: &UploadSession) {
        let path = self.session_path(session);
        for file in ["lock", "startedat", "state"] {
            let _ = fs::remove_file(path.join(file));
        }
        if fs::remove_dir(&path).is_err() {
            // Files that remain have no bytes, so they are not a session.
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

    /// Copies the recorded bytes to a new file and returns its name.
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

/// Appends to a session. Written bytes are recorded by [`Appender::finish`]; an
/// appender that is dropped leaves the session as it was.
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
mod tests;
