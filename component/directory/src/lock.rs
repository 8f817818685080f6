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
//! that the system drops when it dies: whoever owns it now takes what former
//! owners left at once.

use crate::{Directory, Error};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// A lock that its holder has not refreshed for so long may be taken. A holder
/// refreshes it as bytes arrive, so this is also how long a client may pause
/// within a chunk before another request may take over.
pub(crate) const LOCK_EXPIRY: Duration = Duration::from_mins(1);

/// How often a holder refreshes its lock, at most.
const LOCK_REFRESH: Duration = Duration::from_secs(15);

/// What the locks of owners begin with.
const OWNED: &str = "owned ";

/// Tries to own the directory whose private files are in `private`.
#[cfg(not(target_family = "wasm"))]
pub(crate) fn own(private: &Path) -> Result<Option<File>, Error> {
    let file = File::create(private.join("owner")).map_err(Error::Io)?;
    Ok(file.try_lock().is_ok().then_some(file))
}

/// A component cannot lock a file.
#[cfg(target_family = "wasm")]
#[expect(clippy::unnecessary_wraps, reason = "other targets can fail")]
pub(crate) fn own(_: &Path) -> Result<Option<File>, Error> {
    Ok(None)
}

/// The right to append to a session.
#[derive(Debug)]
pub(crate) struct Lock {
    path: PathBuf,
    token: String,
    refreshed: Instant,
    /// Whether someone else held it, and may think so still.
    pub(crate) taken_over: bool,
}

impl Lock {
    /// Takes the lock of the session whose directory is `session`.
    pub(crate) fn take(directory: &Directory, session: &Path) -> Result<Self, Error> {
        let path = session.join("lock");
        // The token is written before the lock appears, so that a lock
        // without one is impossible.
        let (mut file, temporary) = directory.temporary_file()?;
        let owned = if directory.owner.is_some() { OWNED } else { "" };
        let token = format!("{owned}{}", temporary.to_string_lossy());
        let result = file.write_all(token.as_bytes()).and_then(|()| {
            drop(file);
            match fs::hard_link(&temporary, &path) {
                Err(error)
                    if error.kind() == io::ErrorKind::AlreadyExists
                        && (expired(&path) || directory.left_by_former_owner(&path)) =>
                {
                    fs::rename(&temporary, &path).map(|()| true)
                }
                other => other.map(|()| false),
            }
        });
        // After a rename it is gone already.
        let _ = fs::remove_file(&temporary);
        match result {
            Ok(taken_over) => Ok(Self { path, token, refreshed: Instant::now(), taken_over }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(Error::Busy),
            Err(error) => Err(error.into()),
        }
    }

    /// Keeps the lock, unless another request has taken it.
    pub(crate) fn refresh(&mut self) -> Result<(), Error> {
        if self.refreshed.elapsed() >= LOCK_REFRESH {
            if !self.held() {
                return Err(Error::Busy);
            }
            File::options().write(true).open(&self.path)?.set_modified(SystemTime::now())?;
            self.refreshed = Instant::now();
        }
        Ok(())
    }

    /// Whether nobody has taken it.
    pub(crate) fn held(&self) -> bool {
        fs::read(&self.path).is_ok_and(|token| token == self.token.as_bytes())
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

fn expired(lock: &Path) -> bool {
    let modified = fs::metadata(lock).and_then(|metadata| metadata.modified());
    let age = modified.ok().and_then(|modified| SystemTime::now().duration_since(modified).ok());
    age.is_some_and(|age| age > LOCK_EXPIRY)
}

impl Directory {
    /// Whether a lock is that of a process which owned the directory before
    /// this one does.
    fn left_by_former_owner(&self, lock: &Path) -> bool {
        let mine = format!("{:016x}-", self.nonce);
        self.owner.is_some()
            && fs::read_to_string(lock)
                .is_ok_and(|token| token.starts_with(OWNED) && !token.contains(&mine))
    }
}
