//! The root: made at the start, and never again.
//!
//! While a file system is not mounted, its mount point is an empty directory: a
//! registry that served it would have lost everything, and one that wrote to it
//! would hide that later. So the root must stay the directory that was opened,
//! which its device and inode tell. One that is mounted again may have other
//! numbers, and has the same [`MARKER`].

use crate::entries::failed;
use crate::objects::read_limited;
use crate::synced::number;
use crate::{Directory, PRIVATE, files, journal, lock, memory};
use roadstead_storage::StorageError;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLockReadGuard, RwLockWriteGuard};

/// The file with the storage's identity, below [`PRIVATE`].
const MARKER: &str = "id";

/// The largest [`MARKER`] that is read, in bytes; ours have 32.
///
/// Limit: bytes of the storage's identity; test: `a_marker_that_is_too_long_is_none`.
const MARKER_LIMIT: usize = 64;

/// Where the data is.
#[derive(Debug, Default)]
pub(crate) struct Place {
    /// The root's device and inode.
    number: (u64, u64),
    /// Whether files there can be read from memory; see [`memory`].
    is_local: bool,
    /// Whether only this kernel changes files there, and their ctime with each change.
    keeps_ctime: bool,
    marker: Option<String>,
    /// Held by the one process that owns the directory's sessions, if it is
    /// this one; see [`lock`].
    owner: Option<File>,
}

impl Directory {
    /// Makes the root and its ancestors where they are missing. Their entries
    /// are synced, whoever made them: a former process may have died before.
    pub(crate) fn make_root(&self) -> io::Result<()> {
        let root = std::path::absolute(self.root()).unwrap_or_else(|_| self.root().to_owned());
        let missing: Vec<&Path> =
            root.ancestors().take_while(|path| files::metadata(path).is_err()).collect();
        files::call("make directory", &root, || std::fs::create_dir_all(&root))?;
        let device = number(&files::metadata(&root)?).0;
        for path in root.ancestors() {
            let Some(parent) = path.parent() else { break };
            let synced = files::sync_directory(parent);
            if missing.contains(&path) {
                synced?;
            } else if files::metadata(parent).map_or(true, |parent| number(&parent).0 != device) {
                break;
            }
        }
        Ok(())
    }

    /// Remembers which directory the root is.
    pub(crate) fn settle_in(&self) -> io::Result<()> {
        let metadata = files::metadata(self.root())?;
        if !metadata.is_dir() {
            return Err(ErrorKind::NotADirectory.into());
        }
        self.move_to(number(&metadata));
        if self.read_only {
            files::read_dir(self.root())?;
            self.place_mut().marker = self.marker();
            return Ok(());
        }
        self.furnish()
    }

    /// Makes what this crate keeps below [`PRIVATE`], where it is missing.
    fn furnish(&self) -> io::Result<()> {
        for path in [self.private(), self.temporary_directory()] {
            match files::create_dir(&path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                made => made?,
            }
        }
        let mut place = self.place_mut();
        let lock = files::metadata(&self.private().join(lock::OWNER));
        let held = place.owner.as_ref().and_then(|file| file.metadata().ok());
        let kept = matches!((held, lock), (Some(a), Ok(b)) if number(&a) == number(&b));
        if !kept {
            place.owner = lock::own(&self.private())?;
        }
        // Without it, the numbers alone count.
        place.marker = self.marker().or_else(|| self.mark(place.marker.as_deref()).ok().flatten());
        if let Some(marker) = &place.marker {
            // Set once: if the marker is replaced, sessions signed with the first one stay valid.
            self.identity.get_or_init(|| marker.clone());
        }
        Ok(())
    }

    /// Fails unless the root is the directory that was opened.
    pub(crate) fn present(&self) -> Result<(), StorageError> {
        if memory::only_memory() {
            // `memory::only` has compared device and inode.
            return Ok(());
        }
        let found = match files::metadata(self.root()) {
            Ok(metadata) if metadata.is_dir() => number(&metadata),
            Ok(_) => return Err(self.gone()),
            Err(error) => {
                return Err(match StorageError::from(error) {
                    StorageError::NotFound => self.gone(),
                    error => error,
                });
            }
        };
        if found == self.place().number {
            return Ok(());
        }
        let marker = self.marker();
        if marker.is_none() || marker != self.place().marker {
            return Err(self.gone());
        }
        self.move_to(found);
        if let Some(journal) = &self.journal {
            journal.abandon("the storage was mounted again, and its journal was not");
        }
        self.sorted.clear();
        self.synced.clear();
        self.durable.clear();
        if self.read_only { Ok(()) } else { self.furnish().map_err(failed) }
    }

    fn move_to(&self, number: (u64, u64)) {
        let found = memory::file_system(self.root(), number);
        let mut place = self.place_mut();
        place.number = number;
        place.is_local = found.is_some_and(|kind| memory::LOCAL.contains(&kind));
        place.keeps_ctime = found.is_some_and(|kind| journal::FILE_SYSTEMS.contains(&kind));
    }

    /// Whether only this kernel changes files of the directory.
    pub(crate) fn keeps_ctime(&self) -> bool {
        self.place().keeps_ctime
    }

    /// Runs operations that only read, if the kernel has all of their paths and bytes in
    /// memory. `None` if it does not, or if they would change anything: the caller repeats
    /// them where they may wait. Always `None` on other systems than Linux.
    pub fn from_memory<T>(&self, work: impl FnOnce(&Self) -> T) -> Option<T> {
        let number = self.place.try_read().ok().filter(|place| place.is_local)?.number;
        memory::only(self.root(), number, || work(self))
    }

    /// Fails unless the directory may be written, and is there.
    pub(crate) fn writable(&self) -> Result<(), StorageError> {
        if self.read_only {
            let cause = "REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED forbids to write";
            return Err(StorageError::ReadOnly(format!("{}: {cause}", self.root().display())));
        }
        self.present()
    }

    /// Makes [`PRIVATE`] again, which someone has removed.
    pub(crate) fn remake_private(&self) -> Result<(), StorageError> {
        self.writable()?;
        self.furnish().map_err(failed)
    }

    /// Whether this process owns the directory's sessions: no other native process
    /// does. A component over a mounted directory owns nothing.
    pub fn owns_sessions(&self) -> bool {
        self.place().owner.is_some()
    }

    /// Tries to own the directory's sessions: the process that did at the start of
    /// this one may have ended since.
    pub(crate) fn claim_sessions(&self) -> io::Result<bool> {
        let owner = lock::own(&self.private())?;
        let claimed = owner.is_some();
        if claimed {
            // What a former owner left.
            journal::recover(self.root())?;
            self.place_mut().owner = owner;
        }
        Ok(claimed)
    }

    fn gone(&self) -> StorageError {
        StorageError::Unavailable(format!(
            "{} is not the directory that was opened at the start: it was unmounted, moved, \
             removed or replaced; mount it again or move it back, or restart the registry to \
             serve what is there now",
            self.root().display()
        ))
    }

    fn private(&self) -> PathBuf {
        self.root().join(PRIVATE)
    }

    fn marker(&self) -> Option<String> {
        let text = read_limited(&self.private().join(MARKER), MARKER_LIMIT).ok()??;
        String::from_utf8(text).ok().filter(|text| !text.is_empty())
    }

    /// Writes the marker, unless another process does.
    fn mark(&self, former: Option<&str>) -> io::Result<Option<String>> {
        let path = self.private().join(MARKER);
        let temporary = self.temporary_directory().join(self.temporary_name());
        let unique = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), &temporary);
        let text =
            former.map_or_else(|| format!("{:016x}{unique:016x}", self.nonce), str::to_owned);
        let written = files::create_new(&temporary)
            .and_then(|file| files::write_all(&file, &temporary, text.as_bytes()));
        let put = written.and_then(|()| match files::hard_link(&temporary, &path) {
            // Of another process, or empty.
            Err(error) if error.kind() == ErrorKind::AlreadyExists && self.marker().is_none() => {
                files::rename(&temporary, &path)
            }
            _ => Ok(()),
        });
        let _ = files::remove_file(&temporary);
        put.map(|()| self.marker())
    }

    fn place(&self) -> RwLockReadGuard<'_, Place> {
        self.place.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn place_mut(&self) -> RwLockWriteGuard<'_, Place> {
        self.place.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use crate::files::testing::watch;
    use crate::{Directory, Options, PRIVATE};
    use roadstead_bridge::storage::{Operation, Reply, Write};
    use roadstead_oci::{Algorithm, Digest, MediaType, Reference, RepositoryName, Tag};
    use roadstead_storage::{
        Collection, Holding, Key, NameList, NamesQuery, PushState, PushedManifest, StorageError,
        UploadSession,
    };
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::sync::{Arc, Mutex};

    fn name() -> RepositoryName {
        RepositoryName::parse("a/b").unwrap()
    }

    fn key() -> Key {
        Key::Tag(name(), Tag::parse("v1").unwrap())
    }

    fn session() -> UploadSession {
        UploadSession::from_random(name(), [7; 16])
    }

    fn pushed() -> PushedManifest {
        let digest = Digest::from_bytes(Algorithm::Sha256, &[7; 32]).unwrap();
        let media_type = MediaType::parse("a/b").unwrap();
        PushedManifest { repository: name(), digest, media_type, tags: Vec::new() }
    }

    /// Operations that find nothing in an empty directory, and those that write.
    fn operations() -> Vec<Operation> {
        let digest = Digest::from_bytes(Algorithm::Sha256, &[7; 32]).unwrap();
        let (repository, after, limit) = (name(), None, 9);
        let list = NameList::Repositories(Holding::Manifests);
        let reference = Reference::Digest(digest.clone());
        vec![
            Operation::Manifest { repository: name(), reference, content: false },
            Operation::Blob { repository, digest: digest.clone(), range: None, content: true },
            Operation::MissingBlobs { repository: name(), digests: vec![digest.clone()] },
            Operation::PushState { manifest: pushed(), blobs: Vec::new() },
            Operation::Hints { digest: digest.clone(), limit },
            Operation::Read(key()),
            Operation::Exists(key()),
            Operation::Names(NamesQuery { list, values: false, after: None, limit }),
            Operation::Enumerate { collection: Collection::Blobs, after, limit },
            Operation::Status(session()),
            Operation::Link { key: key(), digest: digest.clone(), media_type: None },
            Operation::Remove(key()),
            Operation::Unlink { key: key(), digest },
            Operation::Begin(session()),
            Operation::Discard(session()),
        ]
    }

    /// Nothing is found missing, and nothing is written.
    fn assert_gone(directory: &Directory) {
        for operation in operations() {
            let found = directory.execute(&operation).map(|(reply, _)| reply);
            let Err(StorageError::Unavailable(cause)) = found else {
                panic!("{operation:?}: {found:?}")
            };
            assert!(cause.starts_with(directory.root().to_str().unwrap()), "{cause}");
        }
        for write in [Write::Object(key()), Write::Manifest(pushed())] {
            let written = directory.write_value(&write, b"x");
            assert!(matches!(written, Err(StorageError::Unavailable(_))), "{write:?}: {written:?}");
        }
        let appended = directory.append(&session(), None);
        assert!(matches!(appended, Err(StorageError::Unavailable(_))));
    }

    #[test]
    fn a_root_that_is_gone_is_neither_empty_nor_made_again() {
        let parent = tempfile::tempdir().unwrap();
        let (root, elsewhere) = (parent.path().join("root"), parent.path().join("elsewhere"));
        let directory = Directory::open(&root).unwrap();
        directory.write(&key(), b"value").unwrap();
        fs::rename(&root, &elsewhere).unwrap();
        assert_gone(&directory);
        assert!(!root.exists());
        // As a mount point is, and with another registry's directory in it.
        for another in [false, true] {
            fs::create_dir(&root).unwrap();
            if another {
                drop(Directory::open(&root).unwrap());
            }
            assert_gone(&directory);
            assert!(!root.join("docker").exists());
            assert_eq!(root.join(PRIVATE).exists(), another);
            fs::remove_dir_all(&root).unwrap();
        }
        // Without a restart.
        fs::rename(&elsewhere, &root).unwrap();
        assert_eq!(directory.value(&key()).unwrap(), b"value");
        directory.write(&key(), b"other").unwrap();
    }

    /// As after a mount of a file system whose numbers are others then.
    #[test]
    fn the_same_storage_at_other_numbers_is_served() {
        let parent = tempfile::tempdir().unwrap();
        let (root, copy) = (parent.path().join("root"), parent.path().join("copy"));
        let directory = Directory::open(&root).unwrap();
        assert!(directory.owns_sessions());
        fs::create_dir_all(copy.join(PRIVATE).join("tmp")).unwrap();
        fs::copy(root.join(PRIVATE).join("id"), copy.join(PRIVATE).join("id")).unwrap();
        fs::rename(&root, parent.path().join("before")).unwrap();
        fs::rename(&copy, &root).unwrap();
        directory.write(&key(), b"value").unwrap();
        assert_eq!(directory.value(&key()).unwrap(), b"value");
        assert!(directory.owns_sessions());
        assert!(root.join(PRIVATE).join("owner").exists());
    }

    #[test]
    fn a_marker_that_is_too_long_is_none() {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::open(root.path()).unwrap();
        assert_eq!(directory.marker().unwrap().len(), 32);
        for (length, read) in [(0, false), (64, true), (65, false)] {
            fs::write(root.path().join(".roadstead/id"), "x".repeat(length)).unwrap();
            assert_eq!(directory.marker().is_some(), read, "{length}");
        }
    }

    #[test]
    fn the_private_directory_is_made_again() {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::open(root.path()).unwrap();
        for removed in [PRIVATE, ".roadstead/tmp"] {
            fs::remove_dir_all(root.path().join(removed)).unwrap();
            directory.write(&key(), b"value").unwrap();
            assert!(directory.owns_sessions(), "{removed}");
        }
        assert!(!Directory::open(root.path()).unwrap().owns_sessions());
        directory.begin(&session()).unwrap();
        let mut appender = directory.append(&session(), None).unwrap();
        appender.write(b"bytes").unwrap();
        assert_eq!(appender.finish(&directory), Ok(5));
    }

    #[test]
    fn the_ancestors_of_the_root_are_synced() {
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().join("not/there/yet");
        for _ in 0..2 {
            let synced = Arc::new(Mutex::new(Vec::<PathBuf>::new()));
            let seen = Arc::clone(&synced);
            let watch = watch(parent.path(), move |operation, path| {
                if operation == "sync" {
                    seen.lock().unwrap().push(path.to_owned());
                }
                Ok(())
            });
            Directory::open(&root).unwrap();
            drop(watch);
            let synced = synced.lock().unwrap();
            for path in ["", "not", "not/there"] {
                let path = parent.path().join(path);
                assert!(synced.contains(&path), "{synced:?}");
            }
        }
    }

    fn read_only(root: &Path) -> std::io::Result<Directory> {
        Directory::open_with(root, Options { read_only: true, ..Options::default() })
    }

    #[test]
    fn a_registry_that_is_read_only_writes_nothing() {
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().join("root");
        assert!(read_only(&root).is_err());
        assert!(!root.exists());
        fs::create_dir(&root).unwrap();
        let _watch = watch(&root, |operation, path| {
            let reads = ["look up", "open", "read", "list"].contains(&operation);
            assert!(reads, "{operation} {}", path.display());
            Ok(())
        });
        let directory = read_only(&root).unwrap();
        for operation in operations() {
            match directory.execute(&operation).map(|(reply, _)| reply) {
                Err(StorageError::NotFound | StorageError::ReadOnly(_))
                | Ok(
                    Reply::Missing(_)
                    | Reply::PushState(Some(PushState { held: false, .. }))
                    | Reply::Repositories(_)
                    | Reply::Exists(false)
                    | Reply::Names(_)
                    | Reply::Listing(_),
                ) => {}
                other => panic!("{operation:?}: {other:?}"),
            }
        }
        assert!(matches!(directory.write(&key(), b"x"), Err(StorageError::ReadOnly(_))));
        assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
    }
}
