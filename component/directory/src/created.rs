//! Tags that are created and do not replace another: for tags that never change.
//!
//! A hard link is made only where there is no file, by whichever process is first. With a
//! journal, what is seen is recorded before, so the file is not linked but renamed into place, as
//! every other one; then a lock lets one request at a time look and write. Only one process has a
//! journal, and that is for a directory of this process alone.

use crate::entries::failed;
use crate::objects::{PRUNE_RETRIES, read_limited, vanished};
use crate::steps::write_lock;
use crate::{Directory, files};
use roadstead_oci::{Digest, RepositoryName, Tag};
use roadstead_storage::{Created, Key, StorageError};
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::path::Path;
use std::sync::RwLock;

/// How many tags can be created at once beside a journal; of one tag, one.
///
/// Limit: tags that are created at once beside a journal; test: none, others wait for a sync.
const STRIPES: usize = 64;

/// The tags that are being created, by their hashes.
#[derive(Debug)]
pub(crate) struct Creating {
    stripes: [RwLock<()>; STRIPES],
    hasher: RandomState,
}

impl Default for Creating {
    fn default() -> Self {
        Self { stripes: [const { RwLock::new(()) }; STRIPES], hasher: RandomState::new() }
    }
}

impl Creating {
    fn stripe(&self, key: &Key) -> &RwLock<()> {
        let stripe = self.hasher.hash_one(key) % STRIPES as u64;
        // Less than the number of stripes.
        &self.stripes[usize::try_from(stripe).unwrap_or_default()]
    }
}

impl Directory {
    /// Points a tag to a manifest if it points to nothing; the entry in the tag's history is
    /// written last.
    pub(crate) fn create_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        digest: &Digest,
    ) -> Result<Created, StorageError> {
        self.writable()?;
        let key = Key::Tag(repository.clone(), tag.clone());
        let history = Key::TagHistory(repository.clone(), tag.clone(), digest.clone());
        let recorded = self.is_recorded(&key, digest.as_str().len() as u64);
        let _creating = recorded.then(|| write_lock(self.creating.stripe(&key), &self.root));
        for _ in 0..=PRUNE_RETRIES {
            match self.target(&key)? {
                Target::Manifest(found) if found != *digest => {
                    return Ok(Created::Elsewhere(found));
                }
                // It may have been deleted at this moment.
                Target::Manifest(_) if self.holds(&key)? => return Ok(Created::Here),
                Target::Manifest(_) => continue,
                // What a loss of power left, or another program: nobody could pull by it. Two
                // processes that find it at the same moment both replace it.
                Target::Damaged => {
                    self.link_tag(repository, tag, digest)?;
                    return Ok(Created::Here);
                }
                Target::None => {}
            }
            let link = digest.as_str().as_bytes();
            if recorded && self.write_recorded(&[(&key, link), (&history, link)])? {
                return Ok(Created::Here);
            }
            if self.write_new(&key, link)? {
                self.link(&history, digest, None)?;
                return Ok(Created::Here);
            }
        }
        Err(StorageError::Unavailable(format!("{key} is created as often as it is deleted")))
    }

    /// Writes a whole object that does not exist, and says whether that is so.
    fn write_new(&self, key: &Key, bytes: &[u8]) -> Result<bool, StorageError> {
        let (file, temporary) = self.temporary_file()?;
        let written = files::write_all(&file, &temporary, bytes)
            .and_then(|()| files::sync(&file, &temporary))
            .map_err(failed)
            .and_then(|()| self.publish_new(&temporary, key));
        // It has the other name, or none is needed.
        let _ = files::remove_file(&temporary);
        written.map_err(|error| vanished(error, &temporary))
    }

    /// Gives the synced file `temporary` the path of `key` too, durably, if nothing has it, and
    /// says whether it has got it.
    fn publish_new(&self, temporary: &Path, key: &Key) -> Result<bool, StorageError> {
        let path = self.path(key);
        let parent = path.parent().unwrap_or(&self.root);
        let _syncing = self.unsynced.begin(&path);
        let mut result = files::hard_link(temporary, &path);
        for _ in 0..PRUNE_RETRIES {
            match &result {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    // Fails if it is the file that is missing.
                    files::metadata(temporary)?;
                    self.create_directories(parent).map_err(failed)?;
                    result = files::hard_link(temporary, &path);
                }
                _ => break,
            }
        }
        match result {
            Ok(()) => {
                files::sync_directory(parent).map_err(failed)?;
                self.sync_ancestry(parent).map_err(failed)?;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => {
                self.prune_of(key, parent);
                Err(failed(error))
            }
        }
    }

    /// Where a tag points to. Read at once, as others create it meanwhile.
    fn target(&self, key: &Key) -> Result<Target, StorageError> {
        let bytes = match read_limited(&self.path(key), key.value_limit()) {
            Err(StorageError::NotFound) => return Ok(Target::None),
            bytes => bytes?,
        };
        let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
        let digest = text.and_then(|text| Digest::parse(text.trim_end()).ok());
        Ok(digest.map_or(Target::Damaged, Target::Manifest))
    }
}

/// Where a tag points to.
enum Target {
    /// Nowhere: there is none.
    None,
    /// To this manifest.
    Manifest(Digest),
    /// It holds no digest.
    Damaged,
}
