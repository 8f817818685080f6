//! Single objects: read, written and deleted, atomically and durably.

use crate::entries::failed;
use crate::journal::Record;
use crate::steps::{read_lock, write_lock};
use crate::{Directory, files};
use roadstead_oci::{Digest, MediaType, RepositoryName, Tag};
use roadstead_storage::{Key, StorageError};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How long an empty link counts as one that another registry is writing.
///
/// Limit: time for which an empty link counts; test: `what_has_an_empty_link_is_held`.
const WRITING: Duration = Duration::from_mins(1);

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
        let file = files::open(&self.path(key))?;
        Ok((size_of(&file.metadata()?)?, file))
    }

    /// The size of an object in bytes.
    pub(crate) fn size(&self, key: &Key) -> Result<u64, StorageError> {
        size_of(&files::metadata(&self.path(key))?)
    }

    /// Whether an object is there; if so, it is durable when this returns.
    pub(crate) fn holds(&self, key: &Key) -> Result<bool, StorageError> {
        match self.size(key) {
            Ok(_) => self.settle(key).map(|()| true).map_err(StorageError::from),
            Err(StorageError::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
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

    /// Whether a link points to `digest`. One to a blob or a manifest is named after it, and
    /// does so also for a while in which it is empty: distribution's version 2 writes a link in
    /// place, also one that is there, and truncates it first. If it stays empty, it is damaged,
    /// and a push writes it again.
    pub(crate) fn leads_to(&self, key: &Key, digest: &Digest) -> Result<bool, StorageError> {
        let Some(text) = self.text(key)? else { return Ok(false) };
        Ok(match (text.as_str(), key) {
            ("", Key::Layer(_, named) | Key::Revision(_, named)) if named == digest => {
                is_being_written(&self.path(key))?
            }
            (text, _) => text.trim_end() == digest.as_str(),
        })
    }

    /// Writes a whole object.
    ///
    /// # Errors
    /// When the value is longer than [`Key::value_limit`], or the file system
    /// fails.
    pub fn write(&self, key: &Key, bytes: &[u8]) -> Result<(), StorageError> {
        if !self.write_recorded(&[(key, bytes)])? {
            self.write_beside(key, bytes, None)?;
        }
        Ok(())
    }

    /// Writes a whole object, if the file of `companion` is there, and says whether
    /// it is: no deletion by this process comes between.
    fn write_beside(
        &self,
        key: &Key,
        bytes: &[u8],
        companion: Option<&Path>,
    ) -> Result<bool, StorageError> {
        check_length(key, bytes)?;
        self.writable()?;
        if let Some(file) = self.written(key, bytes) {
            let _shared = read_lock(&self.replacing, &self.root);
            if !is_there(companion)? {
                return Ok(false);
            }
            if self.renew(key, &file) {
                return Ok(true);
            }
        }
        let (file, temporary) = self.temporary_file()?;
        let synced = files::write_all(&file, &temporary, bytes)
            .and_then(|()| if key.is_durable() { files::sync(&file, &temporary) } else { Ok(()) })
            .and_then(|()| file.metadata());
        let published = synced
            .map_err(failed)
            .and_then(|synced| {
                let published = self.publish_beside(&temporary, key, companion)?;
                if published {
                    self.remember(key, &file, &synced);
                }
                Ok(published)
            })
            .map_err(|error| vanished(error, &temporary));
        if !matches!(published, Ok(true)) {
            // The outcome to report is the one above.
            let _ = files::remove_file(&temporary);
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
        self.writable()?;
        let companion = key.companion();
        if let Some(companion @ Key::MediaType(..)) = &companion {
            match media_type {
                Some(media_type) => {
                    let media_type = media_type.as_str().as_bytes();
                    let link = digest.as_str().as_bytes();
                    if !self.write_recorded(&[(companion, media_type), (key, link)])? {
                        self.link_beside(key, digest, companion, media_type)?;
                    }
                    return match key {
                        Key::Revision(name, _) => self.make_kept(name),
                        _ => Ok(()),
                    };
                }
                // The companion of an earlier link must not apply to this one.
                None => match self.take_away(companion, &self.path(companion)) {
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

    /// Points a tag to a manifest; the entry in the tag's history is written first. The same as
    /// two calls of [`Self::link`], but one change of the journal.
    pub(crate) fn link_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        digest: &Digest,
    ) -> Result<(), StorageError> {
        let history = Key::TagHistory(repository.clone(), tag.clone(), digest.clone());
        let key = Key::Tag(repository.clone(), tag.clone());
        let link = digest.as_str().as_bytes();
        if self.write_recorded(&[(&history, link), (&key, link)])? {
            return Ok(());
        }
        self.link(&history, digest, None)?;
        self.link(&key, digest, None)
    }

    /// Writes a companion and then its link. A deletion may remove the companion in
    /// between, after it has removed an earlier link.
    fn link_beside(
        &self,
        key: &Key,
        digest: &Digest,
        companion: &Key,
        value: &[u8],
    ) -> Result<(), StorageError> {
        let path = self.path(companion);
        for _ in 0..=PRUNE_RETRIES {
            self.write(companion, value)?;
            if self.write_beside(key, digest.as_str().as_bytes(), Some(&path))? {
                return Ok(());
            }
        }
        Err(StorageError::Unavailable(format!("{key} is deleted as often as it is written")))
    }

    /// Makes a hint. Failures are ignored, as the link is authoritative:
    /// without the hint, a mount that names no repository may not find the
    /// blob.
    pub(crate) fn hint(&self, hint: &Key) {
        let path = self.path(hint);
        if let (Key::Hint(digest, _), Some(parent)) = (hint, path.parent())
            && parent != self.root.join(Key::blob_directory(digest))
        {
            // That of a long name is in a directory of its own.
            let _ = files::create_dir(parent);
        }
        let _ = files::open_for_writing(&path);
    }

    /// Deletes an object that must exist, its companion, and the directories
    /// that they leave empty.
    pub(crate) fn remove(&self, key: &Key) -> Result<(), StorageError> {
        self.writable()?;
        let path = self.path(key);
        size_of(&files::metadata(&path)?)?;
        let is_durable = self.take_away(key, &path)?;
        self.removed(key, &path, is_durable)
    }

    /// Deletes a link if it points to `digest`. No write of this process comes
    /// between the comparison and the deletion.
    pub(crate) fn unlink(&self, key: &Key, digest: &Digest) -> Result<(), StorageError> {
        self.writable()?;
        let path = self.path(key);
        let is_durable = {
            let _exclusive = write_lock(&self.replacing, &self.root);
            if !self.leads_to(key, digest)? {
                return Ok(());
            }
            self.take_away(key, &path)?
        };
        self.removed(key, &path, is_durable)
    }

    /// Makes a deletion durable, unless it is, and deletes files that are meaningless
    /// without the object.
    fn removed(&self, key: &Key, path: &Path, is_durable: bool) -> Result<(), StorageError> {
        if let Some(parent) = path.parent() {
            if key.is_durable() && !is_durable {
                files::sync_directory(parent).map_err(failed)?;
            }
            if let Some(beside) = key.companion() {
                let companion = self.path(&beside);
                {
                    let _exclusive = write_lock(&self.replacing, &self.root);
                    // The companion of a link that was written meanwhile stays.
                    if files::metadata(path)
                        .is_err_and(|gone| gone.kind() == io::ErrorKind::NotFound)
                    {
                        let _ = self.take_away(&beside, &companion);
                    }
                }
                if let Some(parent) = companion.parent() {
                    self.prune(parent);
                }
            }
            self.prune_of(key, parent);
        }
        Ok(())
    }

    /// Renames the synced file `temporary` to the path of `key`, durably.
    pub(crate) fn publish(&self, temporary: &Path, key: &Key) -> Result<(), StorageError> {
        self.publish_existing(temporary, key).map_err(|error| vanished(error, temporary))
    }

    /// The same of a file that another request may remove.
    ///
    /// # Errors
    /// [`StorageError::NotFound`] when it did.
    pub(crate) fn publish_existing(&self, file: &Path, key: &Key) -> Result<(), StorageError> {
        self.publish_beside(file, key, None).map(drop)
    }

    /// The same, if the file of `companion` is there, and says whether it is.
    fn publish_beside(
        &self,
        file: &Path,
        key: &Key,
        companion: Option<&Path>,
    ) -> Result<bool, StorageError> {
        let path = self.path(key);
        let parent = path.parent().unwrap_or(&self.root);
        let _syncing = key.is_durable().then(|| self.unsynced.begin(&path));
        let put = || {
            let _shared = read_lock(&self.replacing, &self.root);
            if !is_there(companion)? {
                return Ok(false);
            }
            files::rename(file, &path).map(|()| true)
        };
        let mut result = put();
        for _ in 0..PRUNE_RETRIES {
            match &result {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    // Fails if it is the file that is missing.
                    files::metadata(file)?;
                    self.create_directories(parent).map_err(failed)?;
                    result = put();
                }
                _ => break,
            }
        }
        if !matches!(result, Ok(true)) {
            self.prune_of(key, parent);
            return result.map_err(failed);
        }
        if key.is_durable() {
            files::sync_directory(parent).map_err(failed)?;
            self.sync_ancestry(parent).map_err(failed)?;
            // Else the record of an earlier deletion would remove it.
            drop(self.record_changes(&[(&path, Record::Placed)]).map_err(failed)?);
        }
        Ok(true)
    }

    /// Renames a file into a directory that deletes may remove.
    pub(crate) fn rename_into(&self, file: &Path, path: &Path) -> io::Result<()> {
        let mut result = files::rename(file, path);
        for _ in 0..PRUNE_RETRIES {
            match &result {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    // Fails if it is the file that is missing.
                    files::metadata(file)?;
                    self.create_directories(path.parent().unwrap_or(&self.root))?;
                    result = files::rename(file, path);
                }
                _ => break,
            }
        }
        result
    }

    /// Makes `path` and its missing ancestors, and has all their entries reach
    /// the disk.
    pub(crate) fn make_directories(&self, path: &Path) -> io::Result<()> {
        self.create_directories(path)?;
        self.sync_ancestry(path)
    }

    /// Makes `path` and its missing ancestors below the root, which must exist.
    pub(crate) fn create_directories(&self, path: &Path) -> io::Result<()> {
        let mut result = Ok(());
        for _ in 0..PRUNE_RETRIES {
            result = match files::create_dir(path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    match files::metadata(path) {
                        Ok(metadata) if metadata.is_dir() => return Ok(()),
                        // A concurrent delete has just pruned it.
                        Err(gone) if gone.kind() == io::ErrorKind::NotFound => Err(error),
                        _ => return Err(error),
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => match path.parent() {
                    Some(parent) if parent != self.root => {
                        self.create_directories(parent)?;
                        Err(error)
                    }
                    _ => return Err(error),
                },
                made => return made,
            };
        }
        result
    }

    /// Removes `path` and its ancestors below the root as far as they are
    /// empty.
    pub(crate) fn prune(&self, path: &Path) {
        self.prune_until(path, &[]);
    }

    /// The same, as far as one of `ends`, which stay.
    pub(crate) fn prune_until(&self, path: &Path, ends: &[PathBuf]) {
        let mut path = path;
        while path != self.root
            && !ends.iter().any(|end| end == path)
            && path.starts_with(&self.root)
            && files::remove_dir(path).is_ok()
        {
            self.synced.forget(path);
            match path.parent() {
                Some(parent) => path = parent,
                None => return,
            }
        }
    }
}

pub(crate) fn check_length(key: &Key, bytes: &[u8]) -> Result<(), StorageError> {
    let (length, limit) = (bytes.len(), key.value_limit());
    if length > limit {
        return Err(StorageError::Failed(format!("{key}: {length} bytes, at most {limit}")));
    }
    Ok(())
}

/// Whether the companion of a link is there, if it has one.
fn is_there(companion: Option<&Path>) -> io::Result<bool> {
    match companion.map(files::metadata) {
        Some(Err(gone)) if gone.kind() == io::ErrorKind::NotFound => Ok(false),
        Some(Err(error)) => Err(error),
        Some(Ok(_)) | None => Ok(true),
    }
}

/// Whether a file has just been changed, by a clock that may be ahead or behind.
fn is_being_written(path: &Path) -> Result<bool, StorageError> {
    match files::metadata(path).and_then(|metadata| metadata.modified()) {
        Ok(modified) => {
            let age = SystemTime::now().duration_since(modified);
            Ok(age.unwrap_or_else(|ahead| ahead.duration()) < WRITING)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The error of a write whose file vanished, which must not say that the object is
/// missing.
pub(crate) fn vanished(error: StorageError, file: &Path) -> StorageError {
    match error {
        StorageError::NotFound => StorageError::Failed(format!("{} was removed", file.display())),
        error => error,
    }
}

/// The size of a file; a directory is not an object.
fn size_of(metadata: &fs::Metadata) -> Result<u64, StorageError> {
    if metadata.is_dir() { Err(StorageError::NotFound) } else { Ok(metadata.len()) }
}

/// The bytes of a file of at most `limit` bytes; `None` for a larger one.
pub(crate) fn read_limited(path: &Path, limit: usize) -> Result<Option<Vec<u8>>, StorageError> {
    let file = files::open(path)?;
    let size = size_of(&file.metadata()?)?;
    let Some(size) = usize::try_from(size).ok().filter(|size| *size <= limit) else {
        return Ok(None);
    };
    Ok(Some(files::read_from(&file, path, size)?))
}

#[cfg(test)]
mod tests {
    use crate::Directory;
    use roadstead_oci::{Algorithm, Digest, MediaType, RepositoryName, Tag};
    use roadstead_storage::{Key, StorageError};
    use sha2::{Digest as _, Sha256};
    use std::fs;

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
}
