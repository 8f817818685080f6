//! Locks of upload sessions: one request at a time may append.
//!
//! A writer holds the file `lock`, which it creates exclusively: sessions may
//! be shared with processes that cannot lock a file otherwise (a component over
//! a mounted directory). A process that dies leaves its lock behind; after
//! [`LOCK_EXPIRY`] the next request takes it over, and copies the recorded
//! bytes to a new file: if the former holder is still alive, it writes to a
//! file that is no longer read.
//!
//! Native processes can do better. One of them owns the directory, by a lock
//! that the operating system releases when it dies. It tracks in memory which
//! sessions it appends to, and its lock on a session is a hard link to the
//! session's `startedat`, which needs no new file. The current owner takes over
//! such a lock of a former owner at once.

use crate::Directory;
use crate::entries::failed;
use roadstead_storage::StorageError;
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// A lock that its holder has not refreshed for this long may be taken over. A
/// holder refreshes it as bytes arrive, so this is also how long a client may
/// pause within a chunk before another request may take over.
///
/// Limit: time after which an upload's lock may be taken over; test:
/// `who_takes_over_is_not_disturbed_by_the_former_holder`.
pub(crate) const LOCK_EXPIRY: Duration = Duration::from_mins(1);

/// How often a holder refreshes its lock, at most.
///
/// Limit: time between refreshes of an upload's lock; test: none, it would take as
/// long.
const LOCK_REFRESH: Duration = Duration::from_secs(15);

/// Tries to own the directory whose private files are in `private`.
#[cfg(not(target_family = "wasm"))]
pub(crate) fn own(private: &Path) -> io::Result<Option<File>> {
    let file = File::create(private.join("owner"))?;
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
struct Entered {
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
    refreshed: Instant,
    /// Whether it was taken over from another holder, which may still be
    /// running.
    pub(crate) taken_over: bool,
    /// Dropped after the lock file is removed.
    _entered: Option<Entered>,
}

impl Lock {
    /// Takes the lock of the session whose directory is `session`.
    pub(crate) fn take(directory: &Directory, session: &Path) -> Result<Self, StorageError> {
        let path = session.join("lock");
        let entered = match &directory.owner {
            Some(_) => Some(Entered::enter(&directory.appending, session)?),
            None => None,
        };
        // The token is written before the file becomes the lock, so that a lock
        // always has one.
        let (file, temporary, token) = if entered.is_some() {
            let started = session.join("startedat");
            let token = fs::read(&started)?;
            if age(&started).is_some_and(|age| age > LOCK_REFRESH) {
                touch(&started)?;
            }
            (started, None, token)
        } else {
            let (mut file, temporary) = directory.temporary_file().map_err(failed)?;
            let token = temporary.to_string_lossy().into_owned().into_bytes();
            file.write_all(&token).map_err(failed)?;
            (temporary.clone(), Some(temporary), token)
        };
        let result = match fs::hard_link(&file, &path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let left = entered.is_some() && fs::read(&path).is_ok_and(|left| left == token);
                if left || age(&path).is_some_and(|age| age > LOCK_EXPIRY) {
                    directory.replace(&file, &path).map(|()| true)
                } else {
                    Err(error)
                }
            }
            other => other.map(|()| false),
        };
        if let Some(temporary) = temporary {
            let _ = fs::remove_file(&temporary);
        }
        match result {
            Ok(taken_over) => {
                let refreshed = Instant::now();
                Ok(Self { path, token, refreshed, taken_over, _entered: entered })
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(StorageError::Busy),
            Err(error) => Err(error.into()),
        }
    }

    /// Refreshes the lock, unless another request has taken it over.
    pub(crate) fn refresh(&mut self) -> Result<(), StorageError> {
        if self.refreshed.elapsed() >= LOCK_REFRESH {
            if !self.held() {
                return Err(StorageError::Busy);
            }
            touch(&self.path)?;
            self.refreshed = Instant::now();
        }
        Ok(())
    }

    /// Whether the lock is still held.
    pub(crate) fn held(&self) -> bool {
        fs::read(&self.path).is_ok_and(|token| token == self.token)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.held() {
            // A lock file that cannot be removed expires.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// How long ago a file was written.
fn age(file: &Path) -> Option<Duration> {
    let modified = fs::metadata(file).and_then(|metadata| metadata.modified());
    SystemTime::now().duration_since(modified.ok()?).ok()
}

fn touch(file: &Path) -> io::Result<()> {
    File::options().write(true).open(file)?.set_modified(SystemTime::now())
}

impl Directory {
    /// Makes `lock` another link to `file`.
    fn replace(&self, file: &Path, lock: &Path) -> io::Result<()> {
        let link = self.temporary_directory().join(self.temporary_name());
        fs::hard_link(file, &link)?;
        let renamed = fs::rename(&link, lock);
        // If both already were the same file, the rename leaves `link` in
        // place.
        let _ = fs::remove_file(&link);
        renamed
    }
}
