//! Commits an upload session: verified bytes become a blob.

use crate::entries::failed;
use crate::fresh::Claim;
use crate::session::{Complete, HASH_BUFFER};
use crate::steps::observed;
use crate::{Appender, Directory, files};
use roadstead_oci::{Algorithm, Digest, RepositoryName};
use roadstead_storage::{Commit, Key, StorageError, UploadSession};
use sha2::{Digest as _, Sha512};
use std::fs::File;
use std::io::Read as _;
use std::iter;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, Builder};

impl Directory {
    /// Verifies the bytes of a session, with those that were appended but not
    /// finished: the session ends with this call, so they need not be recorded
    /// before. Moves them into place as the blob, then writes the link that
    /// adds it to the repository. Returns the number of bytes. The session has
    /// ended afterwards, whatever the result of the verification.
    pub(crate) fn commit_appended(
        &self,
        commit: &Commit,
        appender: Appender,
    ) -> Result<u64, StorageError> {
        let Commit { session, digest, .. } = commit;
        self.writable()?;
        let mut complete = appender.complete()?;
        let state = complete.state.clone();
        let actual = match digest.algorithm() {
            Algorithm::Sha256 => Digest::from_bytes(Algorithm::Sha256, &state.sha256.finalize()),
            // Sessions are hashed with SHA-256 as bytes arrive, since a client
            // names the algorithm only at the end.
            Algorithm::Sha512 => {
                Digest::from_bytes(Algorithm::Sha512, &hash_again::<Sha512>(&complete.data)?)
            }
        };
        let actual = actual.ok_or_else(|| {
            StorageError::Failed("a hash does not have the length of its algorithm".to_owned())
        })?;
        // The first request to end a fresh session has it; a stored one has its lock for that.
        let claim = if complete.is_fresh() { Some(self.claim(session)?) } else { None };
        if actual != *digest {
            match claim {
                // Another process may have stored the session meanwhile.
                Some(claim) => claim.keep(),
                None => self.discard(session)?,
            }
            return Err(StorageError::DigestMismatch(Some(actual)));
        }
        let blob = Key::Blob(digest.clone());
        let link = PreparedLink::write(self, &session.repository, digest)?;
        if self.is_recorded(&blob, state.offset) {
            let bytes = files::read(&complete.data)?;
            complete.keep();
            let linked = (link.temporary.as_path(), &link.key, digest.as_str().as_bytes());
            self.publish_recorded(&[(&complete.data, &blob, &bytes), linked])?;
            complete.moved();
            self.end_committed(session, claim);
            link.hint(self);
            return Ok(state.offset);
        }
        link.sync_with(self, session, &complete, &blob).inspect_err(|_| {
            for key in [&link.key, &blob] {
                if let Some(parent) = self.path(key).parent() {
                    self.prune(parent);
                }
            }
        })?;
        complete.keep();
        self.publish_existing(&complete.data, &blob)?;
        complete.moved();
        self.end_committed(session, claim);
        link.publish(self)?;
        Ok(state.offset)
    }

    /// Ends a session whose bytes have become an object.
    fn end_committed(&self, session: &UploadSession, claim: Option<Claim<'_>>) {
        if let Some(claim) = claim {
            claim.keep();
            // Usually there is no directory; another process may have made one.
            if files::metadata(&self.session_path(session)).is_err() {
                return;
            }
        }
        self.end(session);
    }
}

/// A link that is written to a temporary file, and not yet published.
struct PreparedLink {
    key: Key,
    file: File,
    temporary: PathBuf,
}

impl PreparedLink {
    fn write(
        directory: &Directory,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Self, StorageError> {
        let key = Key::Layer(repository.clone(), digest.clone());
        let (file, temporary) = directory.temporary_file()?;
        let link = Self { key, file, temporary };
        files::write_all(&link.file, &link.temporary, digest.as_str().as_bytes())
            .map_err(failed)?;
        Ok(link)
    }

    /// Syncs it, the blob's bytes, and the directories that they will be in
    /// concurrently: a disk takes about as long for all of them as for one.
    ///
    /// Bytes whose sync fails may be neither on disk nor in memory, which a second
    /// sync does not say. So a stored session ends; a fresh one loses these bytes
    /// and is empty again.
    fn sync_with(
        &self,
        directory: &Directory,
        session: &UploadSession,
        bytes: &Complete,
        blob: &Key,
    ) -> Result<(), StorageError> {
        let parent = |key: &Key| match directory.path(key).parent() {
            Some(parent) => directory.make_directories(parent).map_err(failed),
            None => Ok(()),
        };
        at_once(vec![
            Box::new(|| {
                files::sync(&bytes.file, &bytes.data).map_err(|error| {
                    if !bytes.is_fresh() {
                        let _ = directory.discard(session);
                    }
                    failed(error)
                })
            }),
            Box::new(|| files::sync(&self.file, &self.temporary).map_err(failed)),
            Box::new(|| parent(&self.key)),
            Box::new(|| parent(blob)),
        ])
    }

    /// Renames it into place.
    fn publish(self, directory: &Directory) -> Result<(), StorageError> {
        directory.publish(&self.temporary, &self.key)?;
        self.hint(directory);
        Ok(())
    }

    fn hint(&self, directory: &Directory) {
        if let Some(hint) = self.key.companion() {
            directory.hint(&hint);
        }
    }
}

impl Drop for PreparedLink {
    fn drop(&mut self) {
        // After it was published, the temporary file no longer exists.
        let _ = files::remove_file(&self.temporary);
    }
}

type Task<'a> = Box<dyn FnOnce() -> Result<(), StorageError> + Send + 'a>;

/// Runs all tasks, concurrently if threads are available.
fn at_once(tasks: Vec<Task<'_>>) -> Result<(), StorageError> {
    let threads =
        if cfg!(target_family = "wasm") || observed() { 0 } else { tasks.len().saturating_sub(1) };
    with_threads(tasks, threads, Builder::new)
}

/// Runs all tasks on this thread and on at most `threads` others, each of which
/// `builder` describes. Where the system has no thread left, the tasks are done
/// by those that there are.
fn with_threads(
    tasks: Vec<Task<'_>>,
    threads: usize,
    builder: impl Fn() -> Builder,
) -> Result<(), StorageError> {
    let tasks = Mutex::new(tasks);
    let next = || tasks.lock().unwrap_or_else(PoisonError::into_inner).pop();
    // Each ends with the first task that fails.
    let work = || iter::from_fn(next).try_for_each(|task| task());
    thread::scope(|scope| {
        let spawn = |_| builder().spawn_scoped(scope, work).ok();
        let others: Vec<_> = (0..threads).map_while(spawn).collect();
        let mut result = work();
        for other in others {
            let panicked = |_| StorageError::Failed("a task of a commit panicked".to_owned());
            result = result.and(other.join().map_err(panicked).flatten());
        }
        result
    })
}

fn hash_again<H: sha2::Digest>(path: &Path) -> Result<Vec<u8>, StorageError> {
    let mut file = files::open(path)?;
    let mut hash = H::new();
    let mut buffer = vec![0; HASH_BUFFER];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash.finalize().to_vec()),
            n => hash.update(&buffer[..n]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Task, with_threads};
    use crate::Directory;
    use crate::files::testing::watch;
    use roadstead_oci::{Algorithm, Digest, RepositoryName};
    use roadstead_storage::{Commit, Key, StorageError, UploadSession};
    use sha2::{Digest as _, Sha256};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread::Builder;
    use std::{fs, io};

    struct Fixture {
        _root: tempfile::TempDir,
        directory: Directory,
        blob: Key,
        layer: Key,
        commit: Commit,
    }

    impl Fixture {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let directory = Directory::open(root.path()).unwrap();
            let digest = Digest::from_bytes(Algorithm::Sha256, &Sha256::digest(b"bytes")).unwrap();
            let name = RepositoryName::parse("r").unwrap();
            let session = UploadSession::from_random(name.clone(), [1; 16]);
            let (blob, layer) = (Key::Blob(digest.clone()), Key::Layer(name, digest.clone()));
            let commit = Commit { session, at: None, digest, receipt: None };
            Self { _root: root, directory, blob, layer, commit }
        }

        fn commit(&self) -> Result<u64, StorageError> {
            self.directory.begin(&self.commit.session)?;
            let mut appender = self.directory.append(&self.commit.session, None)?;
            appender.write(b"bytes")?;
            let result = self.directory.commit_appended(&self.commit, appender);
            let left = fs::read_dir(self.directory.temporary_directory()).unwrap().count();
            assert_eq!(left, 0, "temporary files");
            result
        }
    }

    #[test]
    fn the_link_follows_the_blob() {
        let f = Fixture::new();
        assert_eq!(f.commit().unwrap(), 5);
        assert_eq!(f.directory.value(&f.blob).unwrap(), b"bytes");
        assert!(f.directory.leads_to(&f.layer, &f.commit.digest).unwrap());
        assert_eq!(f.directory.value(&f.layer.companion().unwrap()).unwrap(), b"");
    }

    /// Where the system gives no more threads, which a stack of this size stands
    /// for, one thread does it all.
    #[test]
    fn without_threads_a_commit_takes_longer() {
        let none = || Builder::new().stack_size(1 << 46);
        assert!(none().spawn(|| ()).is_err());
        for builder in [none, Builder::new] {
            let done = AtomicUsize::new(0);
            let task = || -> Task<'_> {
                Box::new(|| {
                    done.fetch_add(1, Ordering::Relaxed);
                    Ok(())
                })
            };
            with_threads(vec![task(), task(), task(), task()], 3, builder).unwrap();
            assert_eq!(done.into_inner(), 4);
        }
        let failing = || -> Task<'_> { Box::new(|| Err(StorageError::NotFound)) };
        let done = || -> Task<'_> { Box::new(|| Ok(())) };
        for tasks in [vec![failing(), done()], vec![done(), failing()]] {
            assert_eq!(with_threads(tasks, 1, none), Err(StorageError::NotFound));
        }
    }

    /// The system says once that it could not write: a second sync of the same
    /// bytes would succeed.
    #[test]
    fn bytes_whose_sync_failed_are_not_committed_later() {
        let f = Fixture::new();
        let data = f.directory.session_path(&f.commit.session).join("data");
        let watch = watch(f.directory.root(), move |operation, path| {
            if operation == "sync" && path == data {
                return Err(io::Error::from_raw_os_error(5));
            }
            Ok(())
        });
        assert!(matches!(f.commit(), Err(StorageError::Unavailable(_))));
        drop(watch);
        assert_eq!(f.directory.status(&f.commit.session), Err(StorageError::NotFound));
        assert_eq!(f.directory.value(&f.blob), Err(StorageError::NotFound));
        assert_eq!(f.commit().unwrap(), 5);
    }

    #[test]
    fn a_hint_may_fail_and_a_link_may_not() {
        let f = Fixture::new();
        // A directory in the place of the file.
        fs::create_dir_all(f.directory.path(&f.layer.companion().unwrap())).unwrap();
        assert_eq!(f.commit().unwrap(), 5);
        assert!(f.directory.leads_to(&f.layer, &f.commit.digest).unwrap());

        let f = Fixture::new();
        // A file where the link's directory would be: there is nothing without
        // the link that makes it visible.
        let layers = f.directory.path(&f.layer).ancestors().nth(3).unwrap().to_owned();
        fs::create_dir_all(layers.parent().unwrap()).unwrap();
        fs::write(&layers, "").unwrap();
        assert!(matches!(f.commit(), Err(StorageError::Failed(_))));
        assert_eq!(f.directory.value(&f.blob), Err(StorageError::NotFound));
    }
}
