//! Files that this process has made durable, so that the same content is not written again.
//!
//! A push of a manifest that is there already, as of a tag that moves, writes what is there
//! already. A file is known by its device and inode, and is as it was as long as its ctime is:
//! the kernel changes that with the content, the name, the mode and the number of links. Then
//! the content is compared and the mtime renewed, which tells collectors that it was written
//! again; a loss of power may take the new mtime away, and nothing else.
//!
//! Another registry that writes the same link in place (distribution's version 2) within the
//! tick of the clock in which this process wrote it is not noticed, nor is that it has not
//! synced what it wrote.

#[cfg(target_os = "linux")]
use crate::synced::number;
use crate::{Directory, files};
use roadstead_storage::Key;
use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The most files that are remembered: about 3 MB. Then all are forgotten, which costs that
/// they are written again.
///
/// Limit: files remembered as durable; test: `what_is_forgotten_is_written_again`.
const REMEMBERED: usize = 32 * 1024;

/// What tells a file from what it will be after a change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Mark {
    changed: (i64, i64),
    size: u64,
}

/// A file as it was.
#[derive(Clone, Copy, Debug)]
struct Known {
    mark: Mark,
    /// The generation of the journal that makes it durable in place.
    recorded: Option<usize>,
}

/// A file that has the content that is to be written.
#[derive(Debug)]
pub(crate) struct Written {
    /// It.
    pub(crate) file: File,
    known: Known,
}

/// The files that this process has made durable, by device and inode, with all that leads to
/// them.
#[derive(Debug, Default)]
pub(crate) struct Durable(Mutex<HashMap<(u64, u64), Known>>);

impl Durable {
    fn lock(&self) -> MutexGuard<'_, HashMap<(u64, u64), Known>> {
        // A thread that panicked left the entries consistent.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets all files.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    /// Remembers a file that is durable under its name, in place or by a record of this
    /// generation of the journal.
    pub(crate) fn remember(&self, found: &Metadata, recorded: Option<usize>) {
        let Some((number, mark)) = identify(found) else { return };
        let mut files = self.lock();
        if files.len() >= REMEMBERED {
            files.clear();
        }
        files.insert(number, Known { mark, recorded });
    }

    /// What is known of a file, if it is as it was.
    fn get(&self, found: &Metadata) -> Option<Known> {
        let (number, mark) = identify(found)?;
        self.lock().get(&number).filter(|known| known.mark == mark).copied()
    }
}

#[cfg(target_os = "linux")]
fn identify(found: &Metadata) -> Option<((u64, u64), Mark)> {
    use std::os::unix::fs::MetadataExt as _;
    let changed = (found.ctime(), found.ctime_nsec());
    // Of whole seconds, as on ext4 with small inodes, two changes have the same.
    (changed.1 != 0).then(|| (number(found), Mark { changed, size: found.len() }))
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
    /// there may be another one of that name by now.
    pub(crate) fn remember(&self, key: &Key, file: &File) {
        if key.is_durable()
            && let Ok(found) = file.metadata()
        {
            self.durable.remember(&found, None);
        }
    }

    /// The file of an object if it has this content, and this process has made that durable.
    pub(crate) fn written(&self, key: &Key, bytes: &[u8]) -> Option<Written> {
        let path = self.path(key);
        let read = || {
            let file = files::open(&path)?;
            let found = file.metadata()?;
            let known = self.durable.get(&found).filter(|_| found.len() == bytes.len() as u64);
            let Some(known) = known else { return Ok(None) };
            let same = files::read_from(&file, &path, bytes.len())? == bytes;
            Ok::<_, io::Error>(same.then_some(Written { file, known }))
        };
        if key.is_durable() { read().ok().flatten() } else { None }
    }

    /// Renews the time of an object that is durable in place. If it is not, or that fails, it is to
    /// be replaced. No deletion by this process comes between if the caller holds the lock.
    pub(crate) fn renew(&self, key: &Key, written: &Written) -> bool {
        let path = self.path(key);
        let renewed = || {
            // Its directories may have been renamed.
            path.parent().map_or(Ok(()), |parent| self.sync_ancestry(parent))?;
            files::call("renew", &path, || set_modified(&written.file))
        };
        let renewed = self.is_in_place(written.known) && renewed().is_ok();
        if renewed {
            self.remember(key, &written.file);
        }
        renewed
    }

    /// Whether a file is durable in place. Of one that only the journal has, the new mtime might
    /// survive a loss of power without its content, and recovery would take it for another's.
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
    use std::time::{Duration, SystemTime};

    fn key() -> Key {
        Key::Tag(RepositoryName::parse("a/b").unwrap(), Tag::parse("v1").unwrap())
    }

    fn inode(path: &Path) -> (u64, u64) {
        number(&fs::metadata(path).unwrap())
    }

    #[test]
    fn what_is_durable_is_not_written_again() {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::open(root.path()).unwrap();
        let path = directory.path(&key());
        directory.write(&key(), b"value").unwrap();
        let first = inode(&path);
        let old = SystemTime::now() - Duration::from_hours(1);
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
            assert!(fs::metadata(&path).unwrap().modified().unwrap() > old);
        }
        assert_eq!(changes.load(Ordering::Relaxed), 0);
        directory.write(&key(), b"other").unwrap();
        assert_ne!(inode(&path), first);
        assert_eq!(directory.value(&key()).unwrap(), b"other");
    }

    /// Collectors go by the time.
    #[test]
    fn what_is_written_again_is_new() {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::open(root.path()).unwrap();
        let path = directory.path(&key());
        directory.write(&key(), b"value").unwrap();
        let since = fs::metadata(&path).unwrap().modified().unwrap();
        let first = inode(&path);
        // The clock that stamps files moves on.
        while fs::metadata(&path).unwrap().modified().unwrap() == since {
            directory.write(&key(), b"value").unwrap();
            assert_eq!(inode(&path), first);
        }
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
            // The clock that stamps files moves on.
            std::thread::sleep(Duration::from_millis(20));
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

    /// Another process may not have synced what it wrote, and the journal has its own order.
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
