//! Who may append to an upload session: one request at a time.
//!
//! Whoever appends holds the file `lock`, created exclusively, since sessions
//! may be shared by processes of which some cannot lock a file otherwise (a
//! component over a mounted directory). A process that dies leaves its lock;
//! after [`LOCK_EXPIRY`] the next request takes it, and copies the bytes that
//! count to a file of its own: should the former holder be alive after all,
//! it writes where nobody reads.
//!
//! Native processes can do better. One of them owns the directory, by a lock
//! that the system drops when it dies. It knows by itself which sessions it
//! appends to, and its lock on one is a link to the session's `startedat`, which
//! costs no new file: whoever owns the directory now takes such a lock that a
//! former owner left at once.

use crate::Directory;
use crate::entries::failed;
use roadstead_storage::StorageError;
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// A lock that its holder has not refreshed for so long may be taken. A holder
/// refreshes it as bytes arrive, so this is also how long a client may pause
/// within a chunk before another request may take over.
pub(crate) const LOCK_EXPIRY: Duration = Duration::from_mins(1);

/// How often a holder refreshes its lock, at most.
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
    /// Whether someone else held it, and may think so still.
    pub(crate) taken_over: bool,
    /// Left when the file is gone.
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
        // The token is in the file before it is the lock, so that a lock
        // without one is impossible.
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

    /// Keeps the lock, unless another request has taken it.
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

    /// Whether nobody has taken it.
    pub(crate) fn held(&self) -> bool {
        fs::read(&self.path).is_ok_and(|token| token == self.token)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.held() {
            // What stays behind expires.
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
        // Where both were one file already, it stays.
        let _ = fs::remove_file(&link);
        renamed
    }
}
