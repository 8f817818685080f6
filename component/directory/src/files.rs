//! Objects: read, write, copy, delete, all durable and atomic.

use crate::{Directory, Error, Key, PRIVATE};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

/// Temporary files older than this belong to no one: a process that died left
/// them. Younger ones may be another process's that shares the directory.
const TEMPORARY_FILE_EXPIRY: Duration = Duration::from_hours(24);

/// How often a write makes its directory again after a concurrent delete
/// pruned it.
pub(crate) const PRUNE_RETRIES: u32 = 8;

/// What the file system says of an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Metadata {
    /// Size in bytes.
    pub size: u64,
    /// When the object was last written.
    pub modified: SystemTime,
}

impl Metadata {
    pub(crate) fn of(metadata: &fs::Metadata) -> Result<Self, Error> {
        if metadata.is_dir() {
            return Err(Error::NotFound);
        }
        Ok(Self { size: metadata.len(), modified: metadata.modified()? })
    }
}

/// What a write does where there is an object already.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WriteMode {
    /// Replaces it.
    Overwrite,
    /// Fails with [`Error::AlreadyExists`].
    Create,
}

impl Directory {
    /// Size and time of the object.
    pub fn stat(&self, key: &Key) -> Result<Metadata, Error> {
        Metadata::of(&fs::metadata(self.path(key))?)
    }

    /// Opens the object for reading from its first byte.
    pub fn read(&self, key: &Key) -> Result<(Metadata, File), Error> {
        let file = File::open(self.path(key))?;
        Ok((Metadata::of(&file.metadata()?)?, file))
    }

    /// The bytes of an object of at most `limit` bytes; `None` for a larger
    /// one.
    pub fn read_small(&self, key: &Key, limit: u64) -> Result<Option<Vec<u8>>, Error> {
        let (metadata, file) = self.read(key)?;
        if metadata.size > limit {
            return Ok(None);
        }
        let mut bytes = Vec::with_capacity(usize::try_from(metadata.size).unwrap_or(0));
        file.take(limit).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    /// Writes the object whole.
    pub fn write(&self, key: &Key, bytes: &[u8], mode: WriteMode) -> Result<(), Error> {
        let (mut file, temporary) = self.temporary_file()?;
        let written = file
            .write_all(bytes)
            .and_then(|()| if key.unsynced() { Ok(()) } else { file.sync_all() });
        drop(file);
        let published =
            written.map_err(Error::from).and_then(|()| self.publish(&temporary, key, mode));
        if published.is_err() || mode == WriteMode::Create {
            // Renamed away or not, nothing must stay behind; the error that
            // counts is the one above.
            let _ = fs::remove_file(&temporary);
        }
        published
    }

    /// Copies an object.
    pub fn copy(&self, from: &Key, to: &Key, mode: WriteMode) -> Result<(), Error> {
        let (_, mut source) = self.read(from)?;
        let (mut file, temporary) = self.temporary_file()?;
        let written = io::copy(&mut source, &mut file).and_then(|_| file.sync_all());
        drop(file);
        let published =
            written.map_err(Error::from).and_then(|()| self.publish(&temporary, to, mode));
        if published.is_err() || mode == WriteMode::Create {
            let _ = fs::remove_file(&temporary);
        }
        published
    }

    /// Deletes the object and the directories that it leaves empty.
    pub fn delete(&self, key: &Key) -> Result<(), Error> {
        let path = self.path(key);
        if fs::metadata(&path)?.is_dir() {
            return Err(Error::NotFound);
        }
        fs::remove_file(&path)?;
        if let Some(parent) = path.parent() {
            if !key.unsynced() {
                sync_directory(parent)?;
            }
            self.prune(parent);
        }
        Ok(())
    }

    /// Deletes the object if its value is `value`; says whether it did. No
    /// write of this process comes between the look and the deletion.
    pub fn delete_value(&self, key: &Key, value: &str) -> Result<bool, Error> {
        let path = self.path(key);
        {
            let _alone = self.replacing.write().unwrap_or_else(PoisonError::into_inner);
            if fs::read(&path)? != value.as_bytes() {
                return Ok(false);
            }
            fs::remove_file(&path)?;
        }
        if let Some(parent) = path.parent() {
            sync_directory(parent)?;
            self.prune(parent);
        }
        Ok(true)
    }

    /// Puts the synced file `temporary` in the place of `key`, durably.
    pub(crate) fn publish(
        &self,
        temporary: &Path,
        key: &Key,
        mode: WriteMode,
    ) -> Result<(), Error> {
        let path = self.path(key);
        let parent = path.parent().unwrap_or(&self.root);
        let put = || {
            let _shared = self.replacing.read().unwrap_or_else(PoisonError::into_inner);
            match mode {
                WriteMode::Overwrite => fs::rename(temporary, &path),
                WriteMode::Create => fs::hard_link(temporary, &path),
            }
        };
        let mut result = put();
        for _ in 0..PRUNE_RETRIES {
            match &result {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    if key.unsynced() {
                        fs::create_dir_all(parent).map_err(Error::Io)?;
                    } else {
                        self.make_directories(parent)?;
                    }
                    result = put();
                }
                _ => break,
            }
        }
        match result {
            Ok(()) if key.unsynced() => Ok(()),
            Ok(()) => Ok(sync_directory(parent)?),
            // Not NotFound, which would say that the object is missing.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(Error::Io(io::Error::other(error)))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Makes the directory that the object of `key` is in.
    pub(crate) fn make_parent(&self, key: &Key) -> Result<(), Error> {
        self.path(key).parent().map_or(Ok(()), |parent| self.make_directories(parent))
    }

    /// Makes `path` and its missing ancestors, each synced into its parent.
    pub(crate) fn make_directories(&self, path: &Path) -> Result<(), Error> {
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
                        // Who made it may not have synced it yet.
                        Ok(metadata) if metadata.is_dir() && young => {
                            return self.sync_into_parent(path);
                        }
                        Ok(metadata) if metadata.is_dir() => return Ok(()),
                        // A concurrent delete has just pruned it.
                        Err(gone) if gone.kind() == io::ErrorKind::NotFound => {
                            Err(Error::Io(error))
                        }
                        _ => return Err(Error::Io(error)),
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => match path.parent() {
                    Some(parent) => {
                        self.make_directories(parent)?;
                        Err(Error::Io(error))
                    }
                    None => return Err(Error::Io(error)),
                },
                Err(error) => return Err(Error::Io(error)),
            };
        }
        result
    }

    fn sync_into_parent(&self, path: &Path) -> Result<(), Error> {
        match path.parent().filter(|parent| parent.starts_with(&self.root)) {
            Some(parent) => Ok(sync_directory(parent)?),
            None => Ok(()),
        }
    }

    /// A new, empty, exclusively created file outside all keys.
    pub(crate) fn temporary_file(&self) -> Result<(File, PathBuf), Error> {
        let path = self.temporary_directory().join(self.temporary_name());
        let file =
            OpenOptions::new().write(true).create_new(true).open(&path).map_err(Error::Io)?;
        Ok((file, path))
    }

    /// A name that no other temporary file has.
    pub(crate) fn temporary_name(&self) -> String {
        format!("{:016x}-{}", self.nonce, self.serial.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn temporary_directory(&self) -> PathBuf {
        self.root.join(PRIVATE).join("tmp")
    }

    /// Removes what dead processes left in the temporary directory.
    pub(crate) fn sweep_temporary_files(&self) -> Result<(), Error> {
        for entry in fs::read_dir(self.temporary_directory())? {
            // Over WASI, a file that another process has just removed ends the
            // reading. Whoever opens the directory next sweeps the rest.
            let entry = match entry {
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                entry => entry?,
            };
            let modified = entry.metadata().and_then(|m| m.modified());
            let age = modified.ok().and_then(|m| SystemTime::now().duration_since(m).ok());
            if age.is_some_and(|age| age > TEMPORARY_FILE_EXPIRY) {
                // Another process may be sweeping too.
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

/// Makes the entries of a directory durable; if a concurrent delete pruned it,
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
    use super::{TEMPORARY_FILE_EXPIRY, WriteMode};
    use crate::{Directory, Error, Key};
    use std::fs;
    use std::time::{Duration, SystemTime};

    fn key(key: &str) -> Key {
        Key::parse(key).unwrap()
    }

    fn fixture() -> (tempfile::TempDir, Directory) {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::open(root.path().join("not/there/yet")).unwrap();
        (root, directory)
    }

    #[test]
    fn objects_come_and_go() {
        let (_root, directory) = fixture();
        let a = key("a/b/c");
        assert!(matches!(directory.stat(&a), Err(Error::NotFound)));
        directory.write(&a, b"one", WriteMode::Create).unwrap();
        assert!(matches!(
            directory.write(&a, b"two", WriteMode::Create),
            Err(Error::AlreadyExists)
        ));
        assert_eq!(directory.read_small(&a, 3).unwrap().as_deref(), Some(&b"one"[..]));
        assert_eq!(directory.read_small(&a, 2).unwrap(), None);
        directory.write(&a, b"three", WriteMode::Overwrite).unwrap();
        assert_eq!(directory.stat(&a).unwrap().size, 5);
        directory.copy(&a, &key("d"), WriteMode::Create).unwrap();
        assert!(matches!(
            directory.copy(&a, &key("d"), WriteMode::Create),
            Err(Error::AlreadyExists)
        ));
        assert_eq!(directory.stat(&key("d")).unwrap().size, 5);
        directory.delete(&a).unwrap();
        assert!(matches!(directory.delete(&a), Err(Error::NotFound)));
        assert!(!directory.root().join("a").exists(), "the empty directories are gone");
        assert!(directory.root().exists());
        let left = fs::read_dir(directory.temporary_directory()).unwrap().count();
        assert_eq!(left, 0, "temporary files");
    }

    #[test]
    fn a_value_is_deleted_and_no_other_one() {
        let (_root, directory) = fixture();
        let tag = key("tags/a/link");
        assert!(matches!(directory.delete_value(&tag, "x"), Err(Error::NotFound)));
        directory.write(&tag, b"old", WriteMode::Overwrite).unwrap();
        assert!(!directory.delete_value(&tag, "new").unwrap());
        assert_eq!(directory.read_small(&tag, 9).unwrap().as_deref(), Some(&b"old"[..]));
        assert!(directory.delete_value(&tag, "old").unwrap());
        assert!(matches!(directory.stat(&tag), Err(Error::NotFound)));
        assert_eq!(fs::read_dir(directory.temporary_directory()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_no_object_is_not_found() {
        let (_root, directory) = fixture();
        directory.write(&key("a/b"), b"x", WriteMode::Overwrite).unwrap();
        assert!(matches!(directory.stat(&key("a")), Err(Error::NotFound)));
        assert!(matches!(directory.read(&key("a")), Err(Error::NotFound)));
        assert!(matches!(directory.delete(&key("a")), Err(Error::NotFound)));
        assert!(matches!(directory.stat(&key("a/b/c")), Err(Error::NotFound)));
        // And there is no object below one, which is no one's "not found".
        let below = directory.write(&key("a/b/c"), b"x", WriteMode::Overwrite);
        assert!(matches!(below, Err(Error::Io(_) | Error::NotFound)), "{below:?}");
    }

    #[test]
    fn writes_and_deletes_at_once() {
        let (_root, directory) = fixture();
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let (directory, key) = (&directory, key(&format!("a/b/{worker}")));
                scope.spawn(move || {
                    for _ in 0..100 {
                        directory.write(&key, b"x", WriteMode::Overwrite).unwrap();
                        directory.delete(&key).unwrap();
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
