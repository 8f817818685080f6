//! Sessions of which nothing is stored.
//!
//! An identifier that is signed with the storage's identity stands for an empty session
//! ([`SessionSecret`]), so that an upload costs nothing before its bytes come. The first request
//! that sends some writes them to a temporary file. If it completes the upload, that becomes the
//! blob; otherwise the file, with the session's state beside it, becomes the session's directory
//! by one rename, and whoever comes second finds a session that is not empty.
//!
//! A session that has ended must not look empty again. This process remembers the last
//! [`REMEMBERED`] that it ended. Another process, or this one after a restart, reports such a
//! session as empty. That does no harm: a blob has the digest that its client names.

use crate::entries::failed;
use crate::session::State;
use crate::{Directory, files};
use roadstead_storage::{SessionSecret, StorageError, UploadSession};
use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many sessions are remembered that have ended.
///
/// Limit: ended uploads that are remembered; test: `the_oldest_ended_sessions_are_forgotten`.
const REMEMBERED: usize = 16 * 1024;

/// The sessions with signed identifiers that this process has ended, by their hashes.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    hasher: RandomState,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    all: HashSet<u64>,
    /// The same, the oldest first.
    order: VecDeque<u64>,
}

impl Ended {
    /// Notes that a session has ended, and says whether that is new.
    fn insert(&self, session: &UploadSession) -> bool {
        let hash = self.hasher.hash_one(session);
        let mut known = self.lock();
        let is_new = known.all.insert(hash);
        if is_new {
            known.order.push_back(hash);
            if known.order.len() > REMEMBERED
                && let Some(oldest) = known.order.pop_front()
            {
                known.all.remove(&oldest);
            }
        }
        is_new
    }

    /// Notes that a session goes on after all.
    fn remove(&self, session: &UploadSession) {
        let hash = self.hasher.hash_one(session);
        let mut known = self.lock();
        if known.all.remove(&hash) {
            known.order.retain(|other| *other != hash);
        }
    }

    fn contains(&self, session: &UploadSession) -> bool {
        self.lock().all.contains(&self.hasher.hash_one(session))
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end of a session of which nothing is stored, by a request that completes its upload.
/// Unless that succeeds, the session goes on.
pub(crate) struct Claim<'a> {
    directory: &'a Directory,
    session: &'a UploadSession,
    is_kept: bool,
}

impl Claim<'_> {
    /// The session has ended.
    pub(crate) fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if !self.is_kept {
            self.directory.ended.remove(self.session);
        }
    }
}

impl Directory {
    /// What identifiers of sessions are signed with, for [`SessionSecret::new`]. `None` unless
    /// this process owns the sessions: only the owner remembers which of them have ended. Without
    /// it, [`Directory::begin`] makes each session.
    pub fn session_secret(&self) -> Option<String> {
        self.identity.get().filter(|_| self.owns_sessions()).cloned()
    }

    /// Whether a session, if nothing of it is stored, is an empty one.
    pub(crate) fn is_fresh(&self, session: &UploadSession) -> bool {
        self.is_signed(session) && !self.ended.contains(session)
    }

    fn is_signed(&self, session: &UploadSession) -> bool {
        let identity = self.identity.get();
        identity.is_some_and(|it| SessionSecret::new(it.as_bytes()).recognizes(session))
    }

    /// Remembers that a signed session ends; to be called before its files are removed. Returns
    /// whether that is new; `false` for one that is not signed.
    pub(crate) fn note_end(&self, session: &UploadSession) -> bool {
        self.is_signed(session) && self.ended.insert(session)
    }

    /// Ends a session of which nothing is stored.
    ///
    /// # Errors
    /// [`StorageError::NotFound`] when it has ended.
    pub(crate) fn claim<'a>(
        &'a self,
        session: &'a UploadSession,
    ) -> Result<Claim<'a>, StorageError> {
        if !self.ended.insert(session) {
            return Err(StorageError::NotFound);
        }
        Ok(Claim { directory: self, session, is_kept: false })
    }

    /// Makes a session of a state and the bytes in a temporary file.
    ///
    /// # Errors
    /// [`StorageError::Busy`] when another request has made it, and [`StorageError::NotFound`]
    /// when one has ended it.
    pub(crate) fn make_session(
        &self,
        session: &UploadSession,
        state: &State,
        bytes: &Path,
    ) -> Result<(), StorageError> {
        let prepared = self.temporary_directory().join(self.temporary_name());
        let made = prepare(state, bytes, &prepared).map_err(failed).and_then(|()| {
            if self.ended.contains(session) {
                return Err(StorageError::NotFound);
            }
            self.rename_into(&prepared, &self.session_path(session)).map_err(|error| {
                match error.kind() {
                    ErrorKind::AlreadyExists | ErrorKind::DirectoryNotEmpty => StorageError::Busy,
                    _ => failed(error),
                }
            })
        });
        if made.is_err() {
            let _ = files::remove_dir_all(&prepared);
        }
        made?;
        // A `discard` after the check above may have found no directory to remove.
        if self.ended.contains(session) {
            let _ = self.discard(session);
            return Err(StorageError::NotFound);
        }
        Ok(())
    }
}

/// Makes the directory of a session where nobody looks for it.
fn prepare(state: &State, bytes: &Path, path: &Path) -> io::Result<()> {
    files::create_dir(path)?;
    state.write_new(path)?;
    files::rename(bytes, &path.join(state.file()))
}

#[cfg(test)]
mod tests;
