//! Single objects: read, written and deleted, atomically and durably.

use crate::entries::failed;
use crate::{Directory, PRIVATE};
use roadstead_oci::{Digest, MediaType};
use roadstead_storage::{Key, StorageError};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

/// Temporary files older than this were left by a process that died. Newer ones
/// may belong to another process that shares the directory.
///
/// Limit: age of temporary files that are removed at a start; test:
/// `what_dead_processes_left_is_swept`.
const TEMPORARY_FILE_EXPIRY: Duration = Duration::from_hours(24);

/// How many times a write recreates its directory after a concurrent delete
/// removed it.
///
/// Limit: attempts to make a directory that deletes remove; test:
/// `writes_and_deletes_at_once`.
pub(crate) const PRUNE_RETRIES: u32 = 8;

impl Directory {
    /// The file that holds the object of `key`.
    pub fn path(&self, key: &Key) -> PathBuf {
        self.root.join(key.to_string())
    }

    /// Opens an object, and gives its size in bytes.
    pub(crate) fn open_object(&self, key: &Key) -> Result<(u64, File), StorageError> {
        let file = File::open(self.path(key))?;
        Ok((size_of(&file.metadata()?)?, file))
    }

    /// The size of an object in bytes.
    pub(crate) fn size(&self, key: &Key) -> Result<u64, StorageError> {
        size_of(&fs::metadata(self.path(key))?)
    }

    /// The text of a small object; `None` if there is none, or if it is not
    /// text of at most [`Key::value_limit`] bytes.
    pub(crate) fn text(&self, key: &Key) -> Result<Option<String>, StorageError> {
        match read_limited(&self.path(key), key.value_limit()) {
            Ok(bytes) => Ok(bytes.and_then(|bytes| String::from_utf8(bytes).ok())),
            Err(StorageError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether a link points to `digest`.
    pub(crate) fn leads_to(&self, key: &Key, digest: &Digest) -> Result<bool, StorageError> {
        Ok(self.text(key)?.is_some_and(|text| text.trim_end() == digest.as_str()))
    }

    /// Writes a whole object.
    ///
    /// # Errors
    /// When the value is longer than [`Key::value_limit`], or the file system
    /// fails.
    pub fn write(&self, key: &Key, bytes: &[u8]) -> Result<(), StorageError> {
        if bytes.len() > key.value_limit() {
            let (length, limit) = (bytes.len(), key.value_limit());
            return Err(StorageError::Failed(format!("{key}: {length} bytes, at most {limit}")));
        }
        let (mut file, temporary) = self.temporary_file().map_err(failed)?;
        let written = file
            .write_all(bytes)
            .and_then(|()| if key.is_durable() { file.sync_all() } else { Ok(()) });
        drop(file);
        let published = written.map_err(failed).and_then(|()| self.publish(&temporary, key));
        if published.is_err() {
            // The error to report is the one above.
            let _ = fs::remove_file(&temporary);
        }
        published
    }

    /// Writes a link, and its companion: a manifest's media type before it, so
    /// that no reader sees the link alone, and a blob's hint after it.
    pub(crate) fn link(
        &self,
        key: &Key,
        digest: &Digest,
        media_type: Option<&MediaType>,
    ) -> Result<(), StorageError> {
        let companion = key.companion();
        if let Some(companion @ Key::MediaType(..)) = &companion {
            match media_type {
                Some(media_type) => self.write(companion, media_type.as_str().as_bytes())?,
                // The companion of an earlier link must not apply to this one.
                None => match fs::remove_file(self.path(companion)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(error.into());
                    }
                    _ => {}
                },
            }
        }
        self.write(key, digest.as_str().as_bytes())?;
        if let Some(hint @ Key::Hint(..)) = &companion {
            self.hint(hint);
        }
        Ok(())
    }

    /// Makes a hint. Failures are ignored, as the link is authoritative:
    /// without the hint, a mount that names no repository may not find the
    /// blob.
    pub(crate) fn hint(&self, hint: &Key) {
        let _ = File::create(self.path(hint));
    }

    /// Deletes an object that must exist, its companion, and the directories
    /// that they leave empty.
    pub(crate) fn remove(&self, key: &Key) -> Result<(), StorageError> {
        let path = self.path(key);
        size_of(&fs::metadata(&path)?)?;
        fs::remove_file(&path)?;
        self.removed(key, &path)
    }

    /// Deletes a link if it points to `digest`. No write of this process comes
    /// between the comparison and the deletion.
    pub(crate) fn unlink(&self, key: &Key, digest: &Digest) -> Result<(), StorageError> {
        let path = self.path(key);
        {
            let _exclusive = self.replacing.write().unwrap_or_else(PoisonError::into_inner);
            if !self.leads_to(key, digest)? {
                return Ok(());
            }
            fs::remove_file(&path)?;
        }
        self.removed(key, &path)
    }

    /// Makes a deletion durable, and deletes files that are meaningless without
    /// the object.
    fn removed(&self, key: &Key, path: &Path) -> Result<(), StorageError> {
        if let Some(parent) = path.parent() {
            if key.is_durable() {
                sync_directory(parent).map_err(failed)?;
            }
            if let Some(companion) = key.companion() {
                let companion = self.path(&companion);
                let _ = fs::remove_file(&companion);
                if let Some(parent) = companion.parent() {
                    self.prune(parent);
                }
            }
            self.prune(parent);
        }
        Ok(())
    }

    /// Renames the synced file `temporary` to the path of `key`, durably.
    pub(crate) fn publish(&self, temporary: &Path, key: &Key) -> Result<(), StorageError> {
        let path = self.path(key);
        let parent = path.parent().unwrap_or(&self.root);
        let put = || {
            let _shared = self.replacing.read().unwrap_or_else(PoisonError::into_inner);
            fs::rename(temporary, &path)
        };
        let mut result = put();
        for _ in 0..PRUNE_RETRIES {
            match &result {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    if key.is_durable() {
                        self.make_directories(parent).map_err(failed)?;
                    } else {
                        fs::create_dir_all(parent).map_err(failed)?;
                    }
                    result = put();
                }
                _ => break,
            }
        }
        // Not NotFound, which would say that the object is missing.
        result.map_err(failed)?;
        if key.is_durable() { sync_directory(parent).map_err(failed) } else { Ok(()) }
    }

    /// Makes `path` and its missing ancestors, each synced into its parent.
    pub(crate) fn make_directories(&self, path: &Path) -> io::Result<()> {
        let mut result = Ok(());
        for _ in 0..PRUNE_RETRIES {
            let (made, young) = {
                let mut young = self.young.lock().unwrap_or_else(PoisonError::into_inner);
                let made = fs::create_dir(path);
                if made.is_ok() {
                    young.insert(path.to_owned());
                }
                (made, young.contains(path))
            };
            result = match made {
                Ok(()) => {
                    let synced = self.sync_into_parent(path);
                    self.young.lock().unwrap_or_else(PoisonError::into_inner).remove(path);
                    return synced;
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    match fs::metadata(path) {
                        // The process that created it may not have synced it yet.
                        Ok(metadata) if metadata.is_dir() && young => {
                            return self.sync_into_parent(path);
                        }
                        Ok(metadata) if metadata.is_dir() => return Ok(()),
                        // A concurrent delete has just pruned it.
                        Err(gone) if gone.kind() == io::ErrorKind::NotFound => Err(error),
                        _ => return Err(error),
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => match path.parent() {
                    Some(parent) => {
                        self.make_directories(parent)?;
                        Err(error)
                    }
                    None => return Err(error),
                },
                Err(error) => return Err(error),
            };
        }
        result
    }

    fn sync_into_parent(&self, path: &Path) -> io::Result<()> {
        match path.parent().filter(|parent| parent.starts_with(&self.root)) {
            Some(parent) => sync_directory(parent),
            None => Ok(()),
        }
    }

    /// A new, empty, exclusively created file outside all keys.
    pub(crate) fn temporary_file(&self) -> io::Result<(File, PathBuf)> {
        let path = self.temporary_directory().join(self.temporary_name());
        let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        Ok((file, path))
    }

    /// A name that no other temporary file has.
    pub(crate) fn temporary_name(&self) -> String {
        format!("{:016x}-{}", self.nonce, self.serial.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn temporary_directory(&self) -> PathBuf {
        self.root.join(PRIVATE).join("tmp")
    }

    /// Removes temporary files of processes that died.
    pub(crate) fn sweep_temporary_files(&self) -> io::Result<()> {
        for entry in fs::read_dir(self.temporary_directory())? {
            // Over WASI, a file that another process has just removed ends the
            // listing. The next process to open the directory removes the rest.
            let entry = match entry {
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                entry => entry?,
            };
            let modified = entry.metadata().and_then(|m| m.modified());
            let age = modified.ok().and_then(|m| SystemTime::now().duration_since(m).ok());
            if age.is_some_and(|age| age > TEMPORARY_FILE_EXPIRY) {
                // Another process may be doing the same.
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(())
    }

    /// Removes `path` and its ancestors below the root as far as they are
    /// empty.
    pub(crate) fn prune(&self, path: &Path) {
        let mut path = path;
        while path != self.root && path.starts_with(&self.root) && fs::remove_dir(path).is_ok() {
            match path.parent() {
                Some(parent) => path = parent,
                None => return,
            }
        }
    }
}

/// The size of a file; a directory is not an object.
fn size_of(metadata: &fs::Metadata) -> Result<u64, StorageError> {
    if metadata.is_dir() { Err(StorageError::NotFound) } else { Ok(metadata.len()) }
}

/// The bytes of a file of at most `limit` bytes; `None` for a larger one.
pub(crate) fn read_limited(path: &Path, limit: usize) -> Result<Option<Vec<u8>>, StorageError> {
    let file = File::open(path)?;
    let size = size_of(&file.metadata()?)?;
    let Some(size) = usize::try_from(size).ok().filter(|size| *size <= limit) else {
        return Ok(None);
    };
    let mut bytes = Vec::with_capacity(size);
    file.take(limit as u64).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// Makes the entries of a directory durable; if a concurrent delete removed it,
/// those of the nearest directory that is left.
fn sync_directory(path: &Path) -> io::Result<()> {
    // Windows cannot open a directory this way; its file systems journal
    // their entries.
    if cfg!(windows) {
        return Ok(());
    }
    match (File::open(path), path.parent()) {
        (Err(error), Some(parent)) if error.kind() == io::ErrorKind::NotFound => {
            sync_directory(parent)
        }
        (directory, _) => directory?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use super::TEMPORARY_FILE_EXPIRY;
    use crate::Directory;
    use roadstead_oci::{Algorithm, Digest, MediaType, RepositoryName, Tag};
    use roadstead_storage::{Key, StorageError};
    use sha2::{Digest as _, Sha256};
    use std::fs;
    use std::time::{Duration, SystemTime};

    fn fixture() -> (tempfile::TempDir, Directory) {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::open(root.path().join("not/there/yet")).unwrap();
        (root, directory)
    }

    fn name() -> RepositoryName {
        RepositoryName::parse("a/b").unwrap()
    }

    fn tag(tag: &str) -> Key {
        Key::Tag(name(), Tag::parse(tag).unwrap())
    }

    fn digest(bytes: &[u8]) -> Digest {
        Digest::from_bytes(Algorithm::Sha256, &Sha256::digest(bytes)).unwrap()
    }

    #[test]
    fn objects_come_and_go() {
        let (_root, directory) = fixture();
        let a = tag("a");
        assert_eq!(directory.value(&a), Err(StorageError::NotFound));
        directory.write(&a, b"one").unwrap();
        assert_eq!(directory.value(&a).unwrap(), b"one");
        directory.write(&a, b"three").unwrap();
        assert_eq!(directory.size(&a).unwrap(), 5);
        let long = vec![b'x'; Key::LINK_LIMIT + 1];
        assert!(matches!(directory.write(&a, &long), Err(StorageError::Failed(_))));
        assert_eq!(directory.size(&a).unwrap(), 5);
        directory.remove(&a).unwrap();
        assert_eq!(directory.remove(&a), Err(StorageError::NotFound));
        assert!(!directory.root().join("docker").exists(), "the empty directories are gone");
        assert!(directory.root().exists());
        let left = fs::read_dir(directory.temporary_directory()).unwrap().count();
        assert_eq!(left, 0, "temporary files");
    }

    #[test]
    fn a_link_is_deleted_if_it_leads_there() {
        let (_root, directory) = fixture();
        let (tag, old, new) = (tag("a"), digest(b"old"), digest(b"new"));
        directory.unlink(&tag, &old).unwrap();
        directory.link(&tag, &old, None).unwrap();
        directory.unlink(&tag, &new).unwrap();
        assert!(directory.leads_to(&tag, &old).unwrap());
        directory.unlink(&tag, &old).unwrap();
        assert_eq!(directory.size(&tag), Err(StorageError::NotFound));
        assert_eq!(fs::read_dir(directory.temporary_directory()).unwrap().count(), 0);
    }

    #[test]
    fn companions_come_and_go_with_their_objects() {
        let (_root, directory) = fixture();
        let digest = digest(b"bytes");
        directory.write(&Key::Blob(digest.clone()), b"bytes").unwrap();
        let media_type = MediaType::parse("application/vnd.example+json").unwrap();
        let revision = Key::Revision(name(), digest.clone());
        let layer = Key::Layer(name(), digest.clone());
        directory.link(&revision, &digest, Some(&media_type)).unwrap();
        directory.link(&layer, &digest, None).unwrap();
        let companions = [&revision, &layer].map(|key| key.companion().unwrap());
        assert_eq!(directory.value(&companions[0]).unwrap(), media_type.as_str().as_bytes());
        assert_eq!(directory.value(&companions[1]).unwrap(), b"");
        directory.unlink(&revision, &digest).unwrap();
        directory.remove(&layer).unwrap();
        for companion in &companions {
            assert_eq!(directory.size(companion), Err(StorageError::NotFound), "{companion}");
        }
        assert!(!directory.root().join("docker/registry/v2/repositories").exists());
        assert_eq!(directory.value(&Key::Blob(digest)).unwrap(), b"bytes");
    }

    #[test]
    fn what_is_no_object_is_not_found() {
        let (_root, directory) = fixture();
        let in_the_way = tag("a");
        fs::create_dir_all(directory.path(&in_the_way)).unwrap();
        assert_eq!(directory.size(&in_the_way), Err(StorageError::NotFound));
        assert_eq!(directory.value(&in_the_way), Err(StorageError::NotFound));
        assert_eq!(directory.remove(&in_the_way), Err(StorageError::NotFound));
        // No object can be read or written below a file; writing must not fail
        // with "not found".
        let current = directory.path(&tag("b")).parent().unwrap().to_owned();
        fs::create_dir_all(current.parent().unwrap()).unwrap();
        fs::write(&current, "").unwrap();
        assert_eq!(directory.size(&tag("b")), Err(StorageError::NotFound));
        assert!(matches!(directory.write(&tag("b"), b"x"), Err(StorageError::Failed(_))));
    }

    #[test]
    fn writes_and_deletes_at_once() {
        let (_root, directory) = fixture();
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let (directory, key) = (&directory, tag(&format!("{worker}")));
                scope.spawn(move || {
                    for _ in 0..100 {
                        directory.write(&key, b"x").unwrap();
                        directory.remove(&key).unwrap();
                    }
                });
            }
        });
    }

    #[test]
    fn what_dead_processes_left_is_swept() {
        let (_root, directory) = fixture();
        let (file, old) = directory.temporary_file().unwrap();
        let (_, young) = directory.temporary_file().unwrap();
        let long_ago = SystemTime::now() - TEMPORARY_FILE_EXPIRY - Duration::from_secs(1);
        file.set_modified(long_ago).unwrap();
        Directory::open(directory.root()).unwrap();
        assert!(!old.exists());
        assert!(young.exists());
    }
}
