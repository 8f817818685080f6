//! Which directories' entries in their parents are on disk.
//!
//! A file is durable if it is, and the entry of its directory in the parent, and
//! so on up to the root. Whoever makes a directory syncs the parent, but others
//! may write into it before that is done, or the process that made it may have
//! died. So each process syncs the ancestors of what it writes, once for each
//! directory, as long as the directory is the same one: one that a delete removed
//! and a later write made again is another.

use crate::journal::{self, Guard, Journal, Record};
use crate::steps::observed;
use crate::{Directory, files};
use roadstead_storage::Key;
use std::collections::HashMap;
use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// The most directories that are remembered: about 4 MB. Then all are
/// forgotten, which costs syncs and nothing else.
///
/// Limit: directories remembered as synced; test: `what_is_forgotten_is_synced_again`.
pub(crate) const REMEMBERED: usize = 16 * 1024;

/// What tells a directory from a later one with its path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Mark {
    number: (u64, u64),
    created: Option<SystemTime>,
}

impl Mark {
    fn of(metadata: &Metadata) -> Self {
        Self { number: number(metadata), created: metadata.created().ok() }
    }
}

/// The device and the inode, where the platform tells them.
#[cfg(unix)]
pub(crate) fn number(metadata: &Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt as _;
    (metadata.dev(), metadata.ino())
}

/// The device and the inode, where the platform tells them.
#[cfg(not(unix))]
pub(crate) fn number(_: &Metadata) -> (u64, u64) {
    (0, 0)
}

/// The directories whose entries this process has synced.
#[derive(Debug, Default)]
pub(crate) struct Synced(Mutex<HashMap<PathBuf, Mark>>);

impl Synced {
    fn lock(&self) -> MutexGuard<'_, HashMap<PathBuf, Mark>> {
        // A thread that panicked left the entries consistent.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets all directories.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    /// Forgets a directory that was removed.
    pub(crate) fn forget(&self, path: &Path) {
        self.lock().remove(path);
    }
}

/// Files whose names others see and that may not be on disk yet, with how many
/// requests are about to sync each.
#[derive(Debug, Default)]
pub(crate) struct Unsynced(Mutex<HashMap<PathBuf, usize>>);

/// A file is about to be synced, until this is dropped.
#[derive(Debug)]
pub(crate) struct Syncing<'a> {
    all: &'a Unsynced,
    path: &'a Path,
}

impl Unsynced {
    fn lock(&self) -> MutexGuard<'_, HashMap<PathBuf, usize>> {
        // A thread that panicked left the numbers consistent.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to give a file its name and to sync that.
    pub(crate) fn begin<'a>(&'a self, path: &'a Path) -> Syncing<'a> {
        *self.lock().entry(path.to_owned()).or_default() += 1;
        Syncing { all: self, path }
    }
}

impl Drop for Syncing<'_> {
    fn drop(&mut self) {
        let mut all = self.all.lock();
        if let Some(count) = all.get_mut(self.path) {
            *count -= 1;
            if *count == 0 {
                all.remove(self.path);
            }
        }
    }
}

impl Directory {
    /// The journal, unless a test observes each step of this thread.
    pub(crate) fn journal(&self) -> Option<&Journal> {
        self.journal.as_ref().filter(|_| !observed())
    }

    /// Whether an object of so many bytes becomes durable by the journal.
    pub(crate) fn is_recorded(&self, key: &Key, length: u64) -> bool {
        key.is_durable() && journal::fits(length) && self.journal().is_some()
    }

    /// Records changes that are to be made before the result is dropped; what they make is
    /// durable then. `None` without a journal.
    pub(crate) fn record_changes(
        &self,
        changes: &[(&Path, Record<'_>)],
    ) -> io::Result<Option<Guard<'_>>> {
        self.journal().map(|journal| journal.record(changes)).transpose()
    }

    /// Removes the file of an object. Says whether that is durable.
    pub(crate) fn take_away(&self, key: &Key, path: &Path) -> io::Result<bool> {
        let journal = self.journal().filter(|it| key.is_durable() && it.covers(path));
        let Some(journal) = journal else { return files::remove_file(path).map(|()| false) };
        let found = files::metadata(path)?;
        // Or else a write would renew it, without a record after this one.
        self.durable.forget(&found);
        let since = journal::modified(&found).max(journal::now());
        let _guard = journal.record(&[(path, Record::Gone(since))])?;
        files::remove_file(path).map(|()| true)
    }

    /// Has an object that was found reach the disk, unless it has: what relies on it
    /// may be acknowledged before the request that wrote it. Knows only those of
    /// this process.
    pub(crate) fn settle(&self, key: &Key) -> io::Result<()> {
        let path = self.path(key);
        let syncing = self.unsynced.lock().contains_key(&path);
        match path.parent() {
            Some(parent) if syncing => {
                files::sync_directory(parent)?;
                self.sync_ancestry(parent)
            }
            _ => Ok(()),
        }
    }

    /// Has the entry of the directory `path` reach the disk, and those of its
    /// ancestors below the root, unless this process knows that they have.
    pub(crate) fn sync_ancestry(&self, path: &Path) -> io::Result<()> {
        let mut synced = Vec::new();
        for path in path.ancestors().take_while(|path| *path != self.root()) {
            let Some(parent) = path.parent() else { break };
            let mark = match files::metadata(path) {
                Ok(metadata) => Mark::of(&metadata),
                // A concurrent delete has removed it, with what it held.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if self.synced.lock().get(path) == Some(&mark) {
                break;
            }
            files::sync_directory(parent)?;
            synced.push((path.to_owned(), mark));
        }
        let mut known = self.synced.lock();
        if known.len() + synced.len() > REMEMBERED {
            known.clear();
        }
        known.extend(synced);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::REMEMBERED;
    use crate::Directory;
    use crate::files::testing::{Watch, watch};
    use roadstead_oci::{Algorithm, Digest, RepositoryName, Tag};
    use roadstead_storage::{Commit, Key, UploadSession};
    use sha2::{Digest as _, Sha256};
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::sync::{Arc, Mutex, mpsc};

    type Paths = Arc<Mutex<Vec<PathBuf>>>;

    /// Records what is synced below a directory.
    fn syncs(root: &Path) -> (Watch, Paths) {
        let synced = Paths::default();
        let seen = Arc::clone(&synced);
        let watch = watch(root, move |operation, path| {
            if operation == "sync" {
                seen.lock().unwrap().push(path.to_owned());
            }
            Ok(())
        });
        (watch, synced)
    }

    fn tag(text: &str) -> Key {
        Key::Tag(RepositoryName::parse("a/b").unwrap(), Tag::parse(text).unwrap())
    }

    fn digest() -> Digest {
        Digest::from_bytes(Algorithm::Sha256, &Sha256::digest(b"bytes")).unwrap()
    }

    /// Every directory from the file's to the root was synced, which holds the
    /// entry of the next one.
    fn assert_durable(directory: &Directory, key: &Key, synced: &Paths) {
        let (path, synced) = (directory.path(key), synced.lock().unwrap());
        for parent in path.ancestors().skip(1).take_while(|path| path.starts_with(directory.root()))
        {
            assert!(synced.iter().any(|path| path == parent), "{} in {synced:?}", parent.display());
        }
    }

    #[test]
    fn all_that_leads_to_a_file_is_synced() {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::open(root.path()).unwrap();
        let (_watch, synced) = syncs(root.path());
        for text in ["v1", "_uploads", "_hint-x"] {
            directory.write(&tag(text), b"value").unwrap();
            assert_durable(&directory, &tag(text), &synced);
            // The bytes before they have their name.
            let temporary = |path: &PathBuf| path.starts_with(directory.temporary_directory());
            assert!(synced.lock().unwrap().iter().any(temporary));
        }
        // What is known is not synced again.
        synced.lock().unwrap().clear();
        directory.write(&tag("v1"), b"other").unwrap();
        let synced = synced.lock().unwrap().clone();
        let parent = directory.path(&tag("v1")).parent().unwrap().to_owned();
        assert_eq!(synced.len(), 2, "{synced:?}");
        assert_eq!(synced[1], parent);
    }

    #[test]
    fn a_commit_syncs_all_that_leads_to_blob_and_link() {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::open(root.path()).unwrap();
        let (_watch, synced) = syncs(root.path());
        let name = RepositoryName::parse("a/b").unwrap();
        let session = UploadSession::from_random(name.clone(), [1; 16]);
        directory.begin(&session).unwrap();
        let mut appender = directory.append(&session, None).unwrap();
        appender.write(b"bytes").unwrap();
        let commit = Commit { session, at: None, digest: digest(), receipt: None };
        directory.commit_appended(&commit, appender).unwrap();
        assert_durable(&directory, &Key::Blob(digest()), &synced);
        assert_durable(&directory, &Key::Layer(name, digest()), &synced);
    }

    /// A second push into a directory that another has made and not yet synced.
    #[test]
    fn a_push_does_not_rely_on_the_sync_of_another() {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::open(root.path()).unwrap();
        let held = directory.path(&tag("v1")).ancestors().nth(3).unwrap().to_owned();
        let (reached, at_sync) = mpsc::channel();
        let (go_on, waiting) = mpsc::channel();
        let waiting = Mutex::new(Some(waiting));
        // The first sync of the directory of tags waits.
        let waiter = watch(root.path(), move |operation, path| {
            if operation == "sync" && path == held {
                let first = waiting.lock().unwrap().take();
                if let Some(waiting) = first {
                    reached.send(()).unwrap();
                    let _ = waiting.recv();
                }
            }
            Ok(())
        });
        std::thread::scope(|scope| {
            // Dropped by a failure too, so that the other thread ends.
            let go_on = go_on;
            scope.spawn(|| directory.write(&tag("v1"), b"first").unwrap());
            at_sync.recv().unwrap();
            let (_watch, synced) = syncs(&root.path().join("docker"));
            directory.write(&tag("v1"), b"second").unwrap();
            let synced = Arc::clone(&synced);
            synced.lock().unwrap().push(root.path().to_owned());
            assert_durable(&directory, &tag("v1"), &synced);
            go_on.send(()).unwrap();
        });
        drop(waiter);
    }

    /// A manifest whose layer another request has linked and not yet synced.
    #[test]
    fn what_is_found_is_synced_before_others_rely_on_it() {
        let root = tempfile::tempdir().unwrap();
        let blob = Key::Blob(digest());
        Directory::open(root.path()).unwrap().write(&blob, b"bytes").unwrap();
        let directory = Directory::open(root.path()).unwrap();
        let name = RepositoryName::parse("a/b").unwrap();
        let link = Key::Layer(name.clone(), digest());
        let (path, seen) = (directory.path(&link), Paths::default());
        let (reached, at_sync) = mpsc::channel();
        let (go_on, waiting) = mpsc::channel();
        let (first, paths) = (Mutex::new(Some((reached, waiting))), Arc::clone(&seen));
        // The first sync of the link's name waits.
        let waiter = watch(root.path(), move |operation, synced| {
            if operation == "sync" {
                paths.lock().unwrap().push(synced.to_owned());
                if path.parent() == Some(synced) && path.exists() {
                    let first = first.lock().unwrap().take();
                    if let Some((reached, waiting)) = first {
                        reached.send(()).unwrap();
                        let _ = waiting.recv();
                    }
                }
            }
            Ok(())
        });
        std::thread::scope(|scope| {
            // Dropped by a failure too, so that the other thread ends.
            let go_on = go_on;
            scope.spawn(|| directory.link(&link, &digest(), None).unwrap());
            at_sync.recv().unwrap();
            seen.lock().unwrap().clear();
            assert_eq!(directory.missing_blobs(&name, &[digest()]), Ok(Vec::new()));
            assert_durable(&directory, &link, &seen);
            go_on.send(()).unwrap();
        });
        drop(waiter);
        assert!(directory.unsynced.lock().is_empty());
        // Nothing is synced again later.
        let (_watch, synced) = syncs(root.path());
        assert_eq!(directory.missing_blobs(&name, &[digest()]), Ok(Vec::new()));
        assert!(synced.lock().unwrap().is_empty());
    }

    /// Nor on that of another process, or of one that died.
    #[test]
    fn each_process_syncs_for_itself_and_again_what_was_removed() {
        let root = tempfile::tempdir().unwrap();
        let first = Directory::open(root.path()).unwrap();
        first.write(&tag("v1"), b"value").unwrap();
        let second = Directory::open(root.path()).unwrap();
        let (_watch, synced) = syncs(root.path());
        second.write(&tag("v1"), b"other").unwrap();
        assert_durable(&second, &tag("v1"), &synced);
        // The first removes the directories, and makes others.
        first.remove(&tag("v1")).unwrap();
        fs::create_dir_all(first.path(&tag("v1")).parent().unwrap()).unwrap();
        synced.lock().unwrap().clear();
        second.write(&tag("v1"), b"again").unwrap();
        assert_durable(&second, &tag("v1"), &synced);
    }

    #[test]
    fn what_is_forgotten_is_synced_again() {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::open(root.path()).unwrap();
        directory.write(&tag("v1"), b"value").unwrap();
        let (_, mark) =
            directory.synced.lock().iter().next().map(|(p, m)| (p.clone(), *m)).unwrap();
        let many = (0..REMEMBERED).map(|i| (PathBuf::from(format!("{i}")), mark));
        directory.synced.lock().extend(many);
        directory.write(&tag("v2"), b"value").unwrap();
        assert!(directory.synced.lock().len() < 9);
        let (_watch, synced) = syncs(root.path());
        directory.write(&tag("v1"), b"other").unwrap();
        assert!(synced.lock().unwrap().len() > 2);
    }
}
