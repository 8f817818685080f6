//! Locks of upload sessions: one request at a time may append.
//!
//! A writer holds the file `lock`, which it creates exclusively: sessions may
//! be shared with processes that cannot lock a file otherwise (a component over
//! a mounted directory). A process that dies leaves its lock behind; after
//! [`LOCK_EXPIRY`] the next request takes it over, and first of all moves the
//! recorded bytes to a new file: if the former holder is still alive, it writes
//! to a file that is no longer read.
//!
//! Native processes can do better. One of them owns the directory, by a lock
//! that the operating system releases when it dies. It tracks in memory which
//! sessions it appends to, and its lock on a session is a hard link to the
//! session's `startedat`, which needs no new file. The current owner takes over
//! such a lock of a former owner at once.
//!
//! Ages are told by the file system's clock alone, which stamps a file that is
//! written: the clocks of processes may differ by hours.

use crate::entries::failed;
use crate::steps::{Call, step};
use crate::{Directory, files};
use roadstead_storage::StorageError;
use std::collections::HashSet;
use std::fs::{File, Metadata};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// A lock that its holder has not refreshed for this long may be taken over. A
/// holder refreshes it as bytes arrive, so this is also how long a client may
/// pause within a chunk before another request may take over.
///
/// Limit: time without bytes after which another request may continue an upload;
/// test: `who_takes_over_is_not_disturbed_by_the_former_holder`.
pub(crate) const LOCK_EXPIRY: Duration = Duration::from_mins(1);

/// How often a holder refreshes its lock, at most.
///
/// Limit: time between refreshes of an upload's lock; test: none, it would take as long.
pub(crate) const LOCK_REFRESH: Duration = Duration::from_secs(15);

/// The file that the owner of the directory holds locked, below
/// [`crate::PRIVATE`].
pub(crate) const OWNER: &str = "owner";

/// Tries to own the directory whose private files are in `private`.
#[cfg(not(target_family = "wasm"))]
pub(crate) fn own(private: &Path) -> io::Result<Option<File>> {
    let file = files::open_for_writing(&private.join(OWNER))?;
    Ok(file.try_lock().is_ok().then_some(file))
}

/// A component cannot lock a file.
#[cfg(target_family = "wasm")]
#[expect(clippy::unnecessary_wraps, reason = "other targets can fail")]
pub(crate) fn own(_: &Path) -> io::Result<Option<File>> {
    Ok(None)
}

/// The sessions that the owner of the directory appends to.
pub(crate) type Appending = Arc<Mutex<HashSet<PathBuf>>>;

/// Membership in [`Appending`].
#[derive(Debug)]
pub(crate) struct Entered {
    all: Appending,
    session: PathBuf,
}

impl Entered {
    fn enter(all: &Appending, session: &Path) -> Result<Self, StorageError> {
        let session = session.to_owned();
        let new = all.lock().unwrap_or_else(PoisonError::into_inner).insert(session.clone());
        if new { Ok(Self { all: Arc::clone(all), session }) } else { Err(StorageError::Busy) }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.session);
    }
}

/// The right to append to a session.
#[derive(Debug)]
pub(crate) struct Lock {
    path: PathBuf,
    token: Vec<u8>,
    pub(crate) refreshed: Instant,
    /// Whether it was taken over from another holder, which may still be running,
    /// and the bytes have not been moved away from it. Until then the lock is not
    /// released: who takes a lock that is free does not move them.
    pub(crate) taken_over: bool,
    /// Dropped after the lock file is removed.
    _entered: Option<Entered>,
}

impl Lock {
    /// Takes the lock of the session in the directory `session`. `entered` comes from
    /// [`Directory::enter`].
    pub(crate) fn take(
        directory: &Directory,
        session: &Path,
        entered: Option<Entered>,
    ) -> Result<Self, StorageError> {
        let path = session.join("lock");
        // The token is written before the file becomes the lock, so that a lock
        // always has one.
        let (file, temporary, token) = if entered.is_some() {
            let started = session.join("startedat");
            let token = files::read(&started)?;
            if !is_fresh(&files::metadata(&started)?) {
                touch(&started, &token)?;
            }
            (started, None, token)
        } else {
            let (file, temporary) = directory.temporary_file()?;
            let token = temporary.to_string_lossy().into_owned().into_bytes();
            if let Err(error) = files::write_all(&file, &temporary, &token) {
                let _ = files::remove_file(&temporary);
                return Err(failed(error));
            }
            (temporary.clone(), Some(temporary), token)
        };
        let result = match files::hard_link(&file, &path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let left = entered.is_some() && files::read(&path).is_ok_and(|left| left == token);
                if left || directory.has_expired(&path) {
                    directory.replace(&file, &path).map(|()| true)
                } else {
                    Err(error)
                }
            }
            other => other.map(|()| false),
        };
        if let Some(temporary) = temporary {
            let _ = files::remove_file(&temporary);
        }
        match result {
            Ok(taken_over) => {
                let refreshed = Instant::now();
                Ok(Self { path, token, refreshed, taken_over, _entered: entered })
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(StorageError::Busy),
            Err(error) => Err(error.into()),
        }
    }

    /// Refreshes the lock, unless another request has taken it over.
    pub(crate) fn refresh(&mut self) -> Result<(), StorageError> {
        if self.refreshed.elapsed() >= LOCK_REFRESH {
            self.check()?;
            touch(&self.path, &self.token)?;
            self.refreshed = Instant::now();
        }
        Ok(())
    }

    /// Fails unless the lock is still held: another request has taken it over,
    /// or the session is gone.
    pub(crate) fn check(&self) -> Result<(), StorageError> {
        match files::read(&self.path).map_err(StorageError::from) {
            Ok(token) if token == self.token => Ok(()),
            Ok(_) => Err(StorageError::Busy),
            Err(StorageError::NotFound) => {
                files::metadata(&self.path.with_file_name("startedat"))?;
                Err(StorageError::Busy)
            }
            Err(error) => Err(error),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if !self.taken_over && self.check().is_ok() {
            // A lock file that cannot be removed expires.
            let _ = files::remove_file(&self.path);
        }
    }
}

/// Whether a file is not older than a holder lets its lock become. If the clocks
/// differ, it may be, and is then written again.
fn is_fresh(metadata: &Metadata) -> bool {
    let age = |modified| SystemTime::now().duration_since(modified).ok();
    metadata.modified().ok().and_then(age).is_some_and(|age| age <= LOCK_REFRESH)
}

/// Has the file system stamp a file, which holds `bytes`.
fn touch(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = files::open_for_writing(path)?;
    if bytes.is_empty() {
        return files::call("touch", path, || file.set_modified(SystemTime::now()));
    }
    files::write_all(&file, path, bytes)
}

impl Directory {
    /// Enters a session whose directory is `session`, if this process owns the sessions.
    ///
    /// # Errors
    /// [`StorageError::Busy`] while another request of this process is in it.
    pub(crate) fn enter(&self, session: &Path) -> Result<Option<Entered>, StorageError> {
        if !self.owns_sessions() {
            return Ok(None);
        }
        // Who comes first is in memory.
        step(Call::Change, session)?;
        Entered::enter(&self.appending, session).map(Some)
    }

    /// Whether the holder of a lock is taken for dead. A stamp in the future is
    /// as wrong as an old one: a living holder would have refreshed it.
    fn has_expired(&self, lock: &Path) -> bool {
        let modified = files::metadata(lock).and_then(|metadata| metadata.modified());
        let (Ok(modified), Ok(now)) = (modified, self.clock()) else { return false };
        let difference = now.duration_since(modified).unwrap_or_else(|ahead| ahead.duration());
        difference > LOCK_EXPIRY
    }

    /// Makes `lock` another link to `file`.
    fn replace(&self, file: &Path, lock: &Path) -> io::Result<()> {
        let link = self.temporary_directory().join(self.temporary_name());
        files::hard_link(file, &link)?;
        let renamed = files::rename(&link, lock);
        // If both already were the same file, the rename leaves `link` in
        // place.
        let _ = files::remove_file(&link);
        renamed
    }
}
