//! Commits an upload session: verified bytes become a blob.

use crate::entries::failed;
use crate::session::{Complete, HASH_BUFFER};
use crate::{Appender, Directory, files};
use roadstead_oci::{Algorithm, Digest, RepositoryName};
use roadstead_storage::{Commit, Key, StorageError};
use sha2::{Digest as _, Sha512};
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

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
        if actual != *digest {
            self.discard(session)?;
            return Err(StorageError::DigestMismatch(Some(actual)));
        }
        let blob = Key::Blob(digest.clone());
        let link = PreparedLink::write(self, &session.repository, digest)?;
        link.sync_with(self, &complete, &blob).inspect_err(|_| {
            for key in [&link.key, &blob] {
                if let Some(parent) = self.path(key).parent() {
                    self.prune(parent);
                }
            }
        })?;
        complete.keep();
        self.publish_existing(&complete.data, &blob)?;
        self.end(session);
        link.publish(self)?;
        Ok(state.offset)
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
    fn sync_with(
        &self,
        directory: &Directory,
        bytes: &Complete,
        blob: &Key,
    ) -> Result<(), StorageError> {
        let parent = |key: &Key| match directory.path(key).parent() {
            Some(parent) => directory.make_directories(parent).map_err(failed),
            None => Ok(()),
        };
        at_once(vec![
            Box::new(|| files::sync(&bytes.file, &bytes.data).map_err(failed)),
            Box::new(|| files::sync(&self.file, &self.temporary).map_err(failed)),
            Box::new(|| parent(&self.key)),
            Box::new(|| parent(blob)),
        ])
    }

    /// Renames it into place.
    fn publish(self, directory: &Directory) -> Result<(), StorageError> {
        directory.publish(&self.temporary, &self.key)?;
        if let Some(hint) = self.key.companion() {
            directory.hint(&hint);
        }
        Ok(())
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
fn at_once(mut tasks: Vec<Task<'_>>) -> Result<(), StorageError> {
    if cfg!(target_family = "wasm") {
        return tasks.into_iter().try_for_each(|task| task());
    }
    let Some(own) = tasks.pop() else { return Ok(()) };
    std::thread::scope(|scope| {
        let others: Vec<_> = tasks.into_iter().map(|task| scope.spawn(task)).collect();
        let mut result = own();
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
    use crate::Directory;
    use roadstead_oci::{Algorithm, Digest, RepositoryName};
    use roadstead_storage::{Commit, Key, StorageError, UploadSession};
    use sha2::{Digest as _, Sha256};
    use std::fs;

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
