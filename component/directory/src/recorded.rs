//! Objects that become durable by the journal.

use crate::entries::failed;
use crate::journal::{self, Record};
use crate::objects::{check_length, vanished};
use crate::steps::read_lock;
use crate::synced::number;
use crate::{Directory, files};
use roadstead_storage::{Key, StorageError};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Where the content of an object is.
#[derive(Debug)]
enum Source {
    /// In a file that is to be renamed.
    File(PathBuf),
    /// In its own file, which is open.
    Same(File),
}

impl Directory {
    /// Writes whole objects in this order as one change of the journal. Returns `false`, and
    /// writes nothing, if there is no journal or one of them is not recorded in it.
    pub(crate) fn write_recorded(&self, objects: &[(&Key, &[u8])]) -> Result<bool, StorageError> {
        if !objects.iter().all(|(key, bytes)| self.is_recorded(key, bytes.len() as u64)) {
            return Ok(false);
        }
        self.writable()?;
        objects.iter().try_for_each(|(key, bytes)| check_length(key, bytes))?;
        let _shared = read_lock(&self.replacing, &self.root);
        let mut changes = Vec::with_capacity(objects.len());
        let placed = objects
            .iter()
            .try_for_each(|(key, content)| {
                let source = match self.written(key, content) {
                    Some(written) if self.renew(key, &written) => return Ok(()),
                    Some(written) => Source::Same(written.file),
                    None => Source::File(self.write_temporary(content)?),
                };
                changes.push((source, *key, *content));
                Ok(())
            })
            .and_then(|()| self.place_recorded(&changes));
        placed.map(|()| true).map_err(|error| {
            changes.iter().fold(error, |error, (source, ..)| match source {
                Source::File(file) => {
                    let _ = files::remove_file(file);
                    vanished(error, file)
                }
                Source::Same(_) => error,
            })
        })
    }

    fn write_temporary(&self, content: &[u8]) -> Result<PathBuf, StorageError> {
        let (file, path) = self.temporary_file()?;
        files::write_all(&file, &path, content).map_err(|error| {
            let _ = files::remove_file(&path);
            vanished(failed(error), &path)
        })?;
        Ok(path)
    }

    /// Renames files that are not synced to the paths of keys, in this order; the journal makes
    /// all of them durable at once. Each has its content. No deletion by this process comes
    /// between.
    ///
    /// # Errors
    /// [`StorageError::NotFound`] when another request has removed one of the files.
    pub(crate) fn publish_recorded(
        &self,
        objects: &[(&Path, &Key, &[u8])],
    ) -> Result<(), StorageError> {
        let _shared = read_lock(&self.replacing, &self.root);
        let changes = objects.iter();
        let changes = changes.map(|(file, key, content)| {
            let source = Source::File((*file).to_owned());
            (source, *key, *content)
        });
        self.place_recorded(&changes.collect::<Vec<_>>())
    }

    /// Records changes, and makes them; the caller holds the lock.
    fn place_recorded(&self, changes: &[(Source, &Key, &[u8])]) -> Result<(), StorageError> {
        if changes.is_empty() {
            return Ok(());
        }
        let mut recorded = Vec::with_capacity(changes.len());
        for (source, key, content) in changes {
            let modified = match source {
                Source::File(file) => journal::modified(&files::metadata(file)?),
                Source::Same(_) => journal::now(),
            };
            recorded.push((self.path(key), modified, *content));
        }
        let records: Vec<_> = recorded
            .iter()
            .map(|(path, modified, content)| (path.as_path(), Record::Put(content, *modified)))
            .collect();
        let guard = self.record_changes(&records).map_err(failed)?;
        for ((source, key, _), (path, modified, content)) in changes.iter().zip(&recorded) {
            let placed = match source {
                Source::File(file) => self.rename_into(file, path),
                Source::Same(file) => self.place_again(file, path, content, *modified),
            };
            placed.inspect_err(|_| {
                self.prune_of(key, path.parent().unwrap_or(&self.root));
            })?;
            // One of another process by that name is made durable with it.
            if let (Some(guard), Ok(found)) = (&guard, files::metadata(path)) {
                self.durable.remember(&found, Some(guard.generation()));
            }
        }
        Ok(())
    }

    /// Gives a file the time of its record. If there is another one at `path`, or none, it is
    /// replaced by a file of that time: recovery goes by it.
    fn place_again(
        &self,
        file: &File,
        path: &Path,
        content: &[u8],
        modified: u64,
    ) -> io::Result<()> {
        let modified = SystemTime::UNIX_EPOCH + Duration::from_nanos(modified);
        let is_there = files::metadata(path)
            .is_ok_and(|found| file.metadata().is_ok_and(|file| number(&found) == number(&file)));
        if is_there && files::call("renew", path, || file.set_modified(modified)).is_ok() {
            return Ok(());
        }
        let (file, temporary) = self.temporary_file().map_err(io::Error::other)?;
        let placed = files::write_all(&file, &temporary, content)
            .and_then(|()| file.set_modified(modified))
            .and_then(|()| self.rename_into(&temporary, path));
        if placed.is_err() {
            let _ = files::remove_file(&temporary);
        }
        placed
    }
}
