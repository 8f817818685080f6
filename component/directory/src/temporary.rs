//! Temporary files: what is written before it gets the name of an object.

use crate::entries::failed;
use crate::{Directory, PRIVATE, files};
use roadstead_storage::StorageError;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

/// Temporary files older than this were left by a process that died. Newer ones
/// may belong to another process that shares the directory.
///
/// Limit: age of temporary files before they are removed; test:
/// `what_dead_processes_left_is_swept`.
const TEMPORARY_FILE_EXPIRY: Duration = Duration::from_hours(24);

impl Directory {
    /// A new, empty, exclusively created file outside all keys.
    pub(crate) fn temporary_file(&self) -> Result<(File, PathBuf), StorageError> {
        let path = self.temporary_directory().join(self.temporary_name());
        let file = match files::create_new(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.remake_private()?;
                files::create_new(&path)
            }
            file => file,
        };
        Ok((file.map_err(failed)?, path))
    }

    /// What the file system's clock says, which stamps the files of all
    /// processes alike; that of this process may differ.
    pub(crate) fn clock(&self) -> Result<SystemTime, StorageError> {
        if self.read_only {
            return Ok(SystemTime::now());
        }
        let (file, path) = self.temporary_file()?;
        let now = files::call("look up", &path, || file.metadata()?.modified());
        let _ = files::remove_file(&path);
        now.map_err(failed)
    }

    /// A name that no other temporary file has.
    pub(crate) fn temporary_name(&self) -> String {
        format!("{:016x}-{}", self.nonce, self.serial.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn temporary_directory(&self) -> PathBuf {
        self.root.join(PRIVATE).join("tmp")
    }

    /// Removes temporary files of processes that died. Returns how many.
    pub(crate) fn sweep_temporary_files(&self) -> io::Result<u64> {
        let mut swept = 0;
        // The file system's clock takes a new file, which a full disk may refuse; then this
        // process's clock has to do, so that space is freed.
        let now = self.clock().unwrap_or_else(|_| SystemTime::now());
        for entry in files::read_dir(&self.temporary_directory())? {
            // Over WASI, a file that another process has just removed ends the
            // listing. The next process to open the directory removes the rest.
            let entry = match entry {
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                entry => entry?,
            };
            let Ok(metadata) = entry.metadata() else { continue };
            let age = metadata.modified().ok().and_then(|m| now.duration_since(m).ok());
            if age.is_some_and(|age| age > TEMPORARY_FILE_EXPIRY) {
                // What is left of a session is a directory. Another process may
                // be doing the same.
                let removed = if metadata.is_dir() {
                    files::remove_dir_all(&entry.path())
                } else {
                    files::remove_file(&entry.path())
                };
                swept += u64::from(removed.is_ok());
            }
        }
        Ok(swept)
    }
}

#[cfg(test)]
mod tests {
    use super::TEMPORARY_FILE_EXPIRY;
    use crate::Directory;
    use std::time::{Duration, SystemTime};

    #[test]
    fn what_dead_processes_left_is_swept() {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::open(root.path()).unwrap();
        let (file, old) = directory.temporary_file().unwrap();
        let (_, young) = directory.temporary_file().unwrap();
        let long_ago = SystemTime::now() - TEMPORARY_FILE_EXPIRY - Duration::from_secs(1);
        file.set_modified(long_ago).unwrap();
        Directory::open(directory.root()).unwrap();
        assert!(!old.exists());
        assert!(young.exists());
    }
}
