//! Objects that become durable by the journal.

use crate::entries::failed;
use crate::journal::{self, Record};
use crate::objects::{check_length, vanished};
use crate::steps::read_lock;
use crate::synced::number;
use crate::{Directory, files};
use roadstead_storage::{Key, StorageError};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Where the content of an object comes from.
#[derive(Debug)]
enum Source {
    /// A file of an upload, which is renamed to the object's path. It is not remembered: most blobs
    /// are stored once, and would displace what is written again.
    Upload(PathBuf),
    /// A temporary file, which is renamed to the object's path.
    File(PathBuf),
    /// The object's own file, which gets the time of its record.
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
        // Read before the lock, which deletions wait for.
        let written: Vec<_> = objects.iter().map(|(key, bytes)| self.written(key, bytes)).collect();
        let _shared = read_lock(&self.replacing, &self.root);
        let mut changes = Vec::with_capacity(objects.len());
        let placed = objects
            .iter()
            .zip(written)
            .try_for_each(|((key, content), written)| {
                let source = match written {
                    Some(file) if self.renew(key, &file) => return Ok(()),
                    Some(file) => Source::Same(file),
                    None => Source::File(self.write_temporary(content)?.1),
                };
                changes.push((source, *key, *content));
                Ok(())
            })
            .and_then(|()| self.place_recorded(&changes));
        let Err(mut error) = placed else { return Ok(true) };
        for (source, ..) in &changes {
            if let Source::File(file) = source {
                let _ = files::remove_file(file);
                error = vanished(error, file);
            }
        }
        Err(error)
    }

    fn write_temporary(&self, content: &[u8]) -> Result<(File, PathBuf), StorageError> {
        let (file, path) = self.temporary_file()?;
        files::write_all(&file, &path, content).map_err(|error| {
            let _ = files::remove_file(&path);
            vanished(failed(error), &path)
        })?;
        Ok((file, path))
    }

    /// Renames files, which have these contents and are not synced, to the paths of keys, in this
    /// order, as one change of the journal. No conditional deletion comes between.
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
            let source = Source::Upload((*file).to_owned());
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
                Source::Upload(file) | Source::File(file) => {
                    journal::modified(&files::metadata(file)?)
                }
                Source::Same(file) => journal::modified(&file.metadata()?).max(journal::now()),
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
                Source::Upload(file) | Source::File(file) => {
                    self.rename_into(file, path).map_err(failed)
                }
                Source::Same(file) => self.place_again(file, path, content, *modified),
            };
            placed.inspect_err(|_| {
                // The records stay: what is written next must have later ones.
                self.durable.clear();
                self.prune_of(key, path.parent().unwrap_or(&self.root));
            })?;
            if matches!(source, Source::Upload(_)) {
                continue;
            }
            // If another process has replaced it, that file is meant: the next checkpoint syncs it
            // too.
            if let (Some(guard), Ok(found)) = (&guard, files::metadata(path)) {
                self.remember_recorded(key, &found, guard.generation());
            }
        }
        Ok(())
    }

    /// Gives the object's file the time of its record, by which recovery compares. If `path` has
    /// another file by now, or none, a new file with that time takes its place.
    fn place_again(
        &self,
        file: &File,
        path: &Path,
        content: &[u8],
        modified: u64,
    ) -> Result<(), StorageError> {
        let modified = SystemTime::UNIX_EPOCH + Duration::from_nanos(modified);
        let is_there = files::metadata(path)
            .is_ok_and(|found| file.metadata().is_ok_and(|file| number(&found) == number(&file)));
        if is_there && files::call("renew", path, || file.set_modified(modified)).is_ok() {
            return Ok(());
        }
        let (file, temporary) = self.write_temporary(content)?;
        let placed = file.set_modified(modified).and_then(|()| self.rename_into(&temporary, path));
        placed.map_err(|error| {
            let _ = files::remove_file(&temporary);
            vanished(failed(error), &temporary)
        })
    }
}
