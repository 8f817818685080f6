//! Files that this process has made durable, and need not write again.
//!
//! A push of a manifest that is there already, as to move a tag, stores the same bytes, links and
//! media type once more. Each of these files is recognised by its device and inode, and has not
//! changed if its ctime and size are the same: the kernel sets the ctime with every change of
//! content, name, mode and number of links. If its content is the one to be written, only the
//! mtime is renewed, by which collectors see that the object was stored again. The mtime is not
//! synced: a loss of power may bring the old one back.
//!
//! That holds where this kernel alone decides over a file's ctime, so not on file systems that
//! other machines change, and for the process that owns the directory.
//!
//! One case goes unnoticed: another registry that writes the link in place (distribution's
//! version 2) within the same tick of the kernel's clock leaves the same ctime. If it has not
//! synced the file, this process takes it for durable.

#[cfg(target_os = "linux")]
use crate::synced::number;
use crate::{Directory, files};
use roadstead_storage::Key;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::fs::{File, Metadata};
use std::hash::BuildHasher as _;
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The most files that are remembered: about 4 MB. Beyond that all are forgotten, and the next
/// write of each writes its file again.
///
/// Limit: files remembered as durable; test: `what_is_forgotten_is_written_again`.
const REMEMBERED: usize = 32 * 1024;

/// What changes whenever the file does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Mark {
    /// Its ctime: seconds and nanoseconds.
    changed: (i64, i64),
    size: u64,
}

/// A file as it was when it was made durable.
#[derive(Clone, Copy, Debug)]
struct Known {
    mark: Mark,
    /// The hash of its path, whose directories are durable too.
    path: u64,
    /// The generation of the journal that recorded it; `None` if it was synced in place.
    recorded: Option<usize>,
}

/// The files that this process has made durable, with the directories that lead to them; by
/// device and inode.
#[derive(Debug, Default)]
pub(crate) struct Durable {
    files: Mutex<HashMap<(u64, u64), Known>>,
    hasher: RandomState,
}

impl Durable {
    fn lock(&self) -> MutexGuard<'_, HashMap<(u64, u64), Known>> {
        // A thread that panicked left the entries consistent.
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets all files.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    /// Forgets a file that is about to be removed.
    pub(crate) fn forget(&self, found: &Metadata) {
        if let Some((number, _)) = identify(found) {
            self.lock().remove(&number);
        }
    }

    fn remember(&self, path: &Path, found: &Metadata, recorded: Option<usize>) {
        let Some((number, mark)) = identify(found) else { return };
        let path = self.hasher.hash_one(path);
        let mut files = self.lock();
        if files.len() >= REMEMBERED {
            files.clear();
        }
        files.insert(number, Known { mark, path, recorded });
    }

    /// What is known of a file, if it and its path are as they were.
    fn get(&self, path: &Path, found: &Metadata) -> Option<Known> {
        let (number, mark) = identify(found)?;
        let path = self.hasher.hash_one(path);
        self.lock().get(&number).filter(|known| known.mark == mark && known.path == path).copied()
    }

    /// Whether anything is known of a file.
    #[cfg(test)]
    pub(crate) fn knows(&self, found: &Metadata) -> bool {
        identify(found).is_some_and(|(number, _)| self.lock().contains_key(&number))
    }

    /// Notes what a file became when its mtime was renewed. `false` if it was forgotten or removed
    /// meanwhile.
    fn renewed(&self, found: &Metadata) -> bool {
        let Some((number, mark)) = identify(found) else { return false };
        let mut files = self.lock();
        let Some(known) = files.get_mut(&number) else { return false };
        *known = Known { mark, path: known.path, recorded: None };
        true
    }
}

/// Which file it is, and what tells it from itself after a change. `None` if it has no name any
/// more.
#[cfg(target_os = "linux")]
fn identify(found: &Metadata) -> Option<((u64, u64), Mark)> {
    use std::os::unix::fs::MetadataExt as _;
    let changed = (found.ctime(), found.ctime_nsec());
    // A ctime in whole seconds, as on ext4 with inodes of 128 bytes, does not tell two changes
    // apart.
    let is_one = changed.1 != 0 && found.nlink() > 0;
    is_one.then(|| (number(found), Mark { changed, size: found.len() }))
}

/// Nothing tells whether a file was changed.
#[cfg(not(target_os = "linux"))]
fn identify(_: &Metadata) -> Option<((u64, u64), Mark)> {
    None
}

/// Sets the mtime of a file to now, by the clock of the file system.
#[cfg(target_os = "linux")]
fn set_modified(file: &File) -> io::Result<()> {
    use rustix::fs::{Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, futimens};
    let time = |tv_nsec| Timespec { tv_sec: 0, tv_nsec };
    let times = Timestamps { last_access: time(UTIME_OMIT), last_modification: time(UTIME_NOW) };
    Ok(futimens(file, &times)?)
}

#[cfg(not(target_os = "linux"))]
fn set_modified(file: &File) -> io::Result<()> {
    file.set_modified(std::time::SystemTime::now())
}

impl Directory {
    /// Remembers a file that was made durable under the name of an object; by the open file, as
    /// there may be another one of that name by now. `synced` is what it was after its content was
    /// synced.
    pub(crate) fn remember(&self, key: &Key, file: &File, synced: &Metadata) {
        let Ok(found) = file.metadata() else { return };
        let same = found.len() == synced.len() && found.modified().ok() == synced.modified().ok();
        if same && self.remembers(key) {
            self.durable.remember(&self.path(key), &found, None);
        }
    }

    /// Remembers a file that a generation of the journal has recorded.
    pub(crate) fn remember_recorded(&self, key: &Key, found: &Metadata, generation: usize) {
        if self.remembers(key) {
            self.durable.remember(&self.path(key), found, Some(generation));
        }
    }

    /// Whether files of an object are remembered. Without owning the directory, this process
    /// does not know what the owner's journal has recorded.
    fn remembers(&self, key: &Key) -> bool {
        key.is_durable() && self.keeps_ctime() && self.owns_sessions()
    }

    /// The file of an object, open for reading, if it has this content and this process has made
    /// that durable.
    pub(crate) fn written(&self, key: &Key, bytes: &[u8]) -> Option<File> {
        if !self.remembers(key) {
            return None;
        }
        let path = self.path(key);
        let file = files::open(&path).ok()?;
        let found = file.metadata().ok()?;
        self.durable.get(&path, &found).filter(|_| found.len() == bytes.len() as u64)?;
        let content = files::read_from(&file, &path, bytes.len()).ok()?;
        (content == bytes).then_some(file)
    }

    /// Renews the mtime of an object that is durable in place. `false` if it is not, or if that
    /// failed: then it has to be written. The caller holds `replacing`, so that no conditional
    /// deletion comes between.
    pub(crate) fn renew(&self, key: &Key, file: &File) -> bool {
        let path = self.path(key);
        let known = file.metadata().ok().and_then(|found| self.durable.get(&path, &found));
        known.is_some_and(|known| self.is_in_place(known))
            && files::call("renew", &path, || set_modified(file)).is_ok()
            && file.metadata().is_ok_and(|found| self.durable.renewed(&found))
    }

    /// Whether a file is durable in place. If only the journal has it, a loss of power may keep
    /// the new mtime and lose the content, which recovery would take for a later write by another
    /// program.
    fn is_in_place(&self, known: Known) -> bool {
        let has_retired =
            |generation| self.journal().is_some_and(|journal| journal.has_retired(generation));
        known.recorded.is_none_or(has_retired)
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::REMEMBERED;
    use crate::files::testing::watch;
    use crate::synced::number;
    use crate::{Directory, Options};
    use roadstead_oci::{RepositoryName, Tag};
    use roadstead_storage::Key;
    use std::fs::{self, File, Permissions};
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::SystemTime;

    fn key() -> Key {
        Key::Tag(RepositoryName::parse("a/b").unwrap(), Tag::parse("v1").unwrap())
    }

    fn inode(path: &Path) -> (u64, u64) {
        number(&fs::metadata(path).unwrap())
    }

    /// Waits until the clock that stamps files has moved on.
    fn tick(root: &Path) {
        let stamp = || tempfile::tempfile_in(root).unwrap().metadata().unwrap().modified().unwrap();
        let since = stamp();
        while stamp() == since {}
    }

    #[test]
    fn what_is_durable_is_not_written_again() {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::open(root.path()).unwrap();
        let path = directory.path(&key());
        directory.write(&key(), b"value").unwrap();
        let first = inode(&path);
        let changes = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&changes);
        let _watch = watch(root.path(), move |operation, _| {
            let is_change = matches!(operation, "create" | "write" | "sync" | "rename to");
            count.fetch_add(usize::from(is_change), Ordering::Relaxed);
            Ok(())
        });
        for _ in 0..3 {
            directory.write(&key(), b"value").unwrap();
            assert_eq!(inode(&path), first);
        }
        assert_eq!(changes.load(Ordering::Relaxed), 0);
        directory.write(&key(), b"other").unwrap();
        assert_ne!(inode(&path), first);
        assert_eq!(directory.value(&key()).unwrap(), b"other");
    }

    /// Collectors go by the mtime.
    #[test]
    fn what_is_written_again_is_new() {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::open(root.path()).unwrap();
        let path = directory.path(&key());
        directory.write(&key(), b"value").unwrap();
        let since = fs::metadata(&path).unwrap().modified().unwrap();
        let first = inode(&path);
        tick(root.path());
        directory.write(&key(), b"value").unwrap();
        assert_eq!(inode(&path), first);
        assert!(fs::metadata(&path).unwrap().modified().unwrap() > since);
    }

    /// Whatever others do to a file, or in its place, it is replaced: nobody knows whether
    /// that is durable.
    #[test]
    fn what_others_have_changed_is_written_again() {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::open(root.path()).unwrap();
        let path = directory.path(&key());
        let beside = path.with_file_name("beside");
        let changes: [&dyn Fn(); 6] = [
            &|| fs::write(&path, "value").unwrap(),
            &|| fs::write(&path, "").unwrap(),
            &|| fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap(),
            &|| fs::hard_link(&path, &beside).unwrap(),
            &|| {
                fs::write(&beside, "value").unwrap();
                fs::rename(&beside, &path).unwrap();
            },
            &|| File::open(&path).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap(),
        ];
        for (index, change) in changes.iter().enumerate() {
            directory.write(&key(), b"value").unwrap();
            directory.write(&key(), b"value").unwrap();
            tick(root.path());
            change();
            let found = inode(&path);
            directory.write(&key(), b"value").unwrap();
            assert_ne!(inode(&path), found, "change {index}");
            assert_eq!(directory.value(&key()).unwrap(), b"value");
            let _ = fs::remove_file(&beside);
        }
    }

    #[test]
    fn what_is_forgotten_is_written_again() {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::open(root.path()).unwrap();
        let path = directory.path(&key());
        directory.write(&key(), b"value").unwrap();
        let first = inode(&path);
        let known = *directory.durable.lock().values().next().unwrap();
        let many = (0..REMEMBERED as u64).map(|i| ((0, i), known));
        directory.durable.lock().extend(many);
        let other = Key::Tag(RepositoryName::parse("a/b").unwrap(), Tag::parse("v2").unwrap());
        directory.write(&other, b"value").unwrap();
        assert_eq!(directory.durable.lock().len(), 1);
        directory.write(&key(), b"value").unwrap();
        assert_ne!(inode(&path), first);
    }

    /// Another process may not have synced what it wrote; so it is with a journal, too.
    #[test]
    fn nothing_of_others_is_trusted() {
        let root = tempfile::tempdir().unwrap();
        Directory::open(root.path()).unwrap().write(&key(), b"value").unwrap();
        for journal in [false, true] {
            let options = Options { journal, ..Options::default() };
            let directory = Directory::open_with(root.path(), options).unwrap();
            let path = directory.path(&key());
            let first = inode(&path);
            directory.write(&key(), b"value").unwrap();
            assert_ne!(inode(&path), first);
        }
    }
}
