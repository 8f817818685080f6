//! Reads that the kernel answers from memory, for a thread that must not wait for a disk.
//!
//! Paths are looked up in the kernel's cache of names (`RESOLVE_CACHED` of openat2(2), since
//! Linux 5.12), and bytes come from its page cache (`RWF_NOWAIT` of preadv2(2), since Linux
//! 4.14). A call that would wait, or that changes anything, fails instead, and all of the
//! work is to be done again where it may wait. So it is on other systems, where the kernel
//! or a sandbox has no such calls, and on file systems of other machines, which wait even
//! for what is cached.

use std::cell::{Cell, RefCell};
use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};

/// A directory, whose files a thread may read that must not wait.
struct Root {
    path: PathBuf,
    /// Opened for lookups below it alone.
    file: File,
}

thread_local! {
    static ROOT: RefCell<Option<Root>> = const { RefCell::new(None) };
    /// Whether a call failed because it would have waited.
    static WOULD_WAIT: Cell<bool> = const { Cell::new(false) };
}

/// Ends a thread's work, also when that panics.
struct End;

impl Drop for End {
    fn drop(&mut self) {
        drop(ROOT.take());
    }
}

/// Does `work` without waiting, which reads files below `root`, the directory with this
/// device and inode. `None` if that is not possible: whatever the work returns then is
/// meaningless.
pub(crate) fn only<T>(root: &Path, number: (u64, u64), work: impl FnOnce() -> T) -> Option<T> {
    let file = kernel::root(root, number)?;
    WOULD_WAIT.set(false);
    ROOT.set(Some(Root { path: root.to_owned(), file }));
    let _end = End;
    let result = work();
    (!WOULD_WAIT.get()).then_some(result)
}

/// Whether this thread must not wait.
pub(crate) fn only_memory() -> bool {
    ROOT.with_borrow(Option::is_some)
}

/// The error of a call that would wait.
pub(crate) fn would_wait() -> io::Error {
    WOULD_WAIT.set(true);
    io::ErrorKind::WouldBlock.into()
}

/// Opens a file for reading.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    ROOT.with_borrow(|root| match root {
        Some(root) => kernel::open(root, path),
        None => File::open(path),
    })
}

/// The metadata of a file or directory.
pub(crate) fn metadata(path: &Path) -> io::Result<Metadata> {
    ROOT.with_borrow(|root| match root {
        Some(root) => kernel::metadata(root, path),
        None => std::fs::metadata(path),
    })
}

/// Reads `length` bytes of a file from `offset` on; fewer if it ends before.
///
/// # Errors
/// When they cannot be read.
pub fn read(mut file: &File, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    use std::io::{Read as _, Seek as _, SeekFrom};
    if only_memory() {
        return kernel::read(file, offset, length);
    }
    let mut bytes = Vec::with_capacity(length);
    file.seek(SeekFrom::Start(offset))?;
    file.take(length as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whether files of a directory can be read this way.
pub(crate) use kernel::is_local;

#[cfg(target_os = "linux")]
mod kernel {
    use super::{Root, would_wait};
    use rustix::fs::{
        AtFlags, CWD, Mode, OFlags, ResolveFlags, StatxFlags, makedev, openat2, statfs, statx,
    };
    use rustix::io::{Errno, ReadWriteFlags, preadv2};
    use std::fs::{File, Metadata};
    use std::io::{self, IoSliceMut};
    use std::path::Path;

    /// The file systems whose opens and metadata wait for no other machine, by the numbers
    /// of statfs(2): ext2 to ext4, XFS, Btrfs, F2FS, tmpfs.
    const LOCAL: [u32; 5] = [0xEF53, 0x5846_5342, 0x9123_683E, 0xF2F5_2010, 0x0102_1994];

    pub(crate) fn is_local(root: &Path) -> bool {
        // The type is a number of 32 bits in a field that is wider on most platforms.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "as said")]
        statfs(root).is_ok_and(|found| LOCAL.contains(&(found.f_type as u32)))
    }

    /// Opens a directory if it has this device and inode.
    pub(super) fn root(path: &Path, number: (u64, u64)) -> Option<File> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat2(CWD, path, flags, Mode::empty(), ResolveFlags::CACHED).ok()?;
        // If it is on another machine by now, even this waits without DONT_SYNC.
        let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
        let found = statx(&root, c"", flags, StatxFlags::INO).ok()?;
        let device = makedev(found.stx_dev_major, found.stx_dev_minor);
        ((device, found.stx_ino) == number).then(|| root.into())
    }

    /// Opens a file below the root, on its file system.
    fn look_up(root: &Root, path: &Path, flags: OFlags) -> io::Result<File> {
        let mut relative = path.strip_prefix(&root.path).map_err(|_| would_wait())?;
        if relative.as_os_str().is_empty() {
            relative = Path::new(".");
        }
        let resolve = ResolveFlags::CACHED | ResolveFlags::NO_XDEV;
        match openat2(&root.file, relative, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Ok(file) => Ok(file.into()),
            Err(error @ (Errno::NOENT | Errno::NOTDIR)) => Err(error.into()),
            // What else is wrong shows where it may wait.
            Err(_) => Err(would_wait()),
        }
    }

    pub(super) fn open(root: &Root, path: &Path) -> io::Result<File> {
        // Without NONBLOCK, a pipe would wait for a writer.
        let file = look_up(root, path, OFlags::RDONLY | OFlags::NONBLOCK)?;
        if file.metadata()?.is_file() { Ok(file) } else { Err(would_wait()) }
    }

    pub(super) fn metadata(root: &Root, path: &Path) -> io::Result<Metadata> {
        look_up(root, path, OFlags::PATH)?.metadata()
    }

    pub(super) fn read(file: &File, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        let mut filled = 0;
        while filled < length {
            let mut rest = [IoSliceMut::new(&mut bytes[filled..])];
            match preadv2(file, &mut rest, offset + filled as u64, ReadWriteFlags::NOWAIT) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(_) => return Err(would_wait()),
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }
}

/// Nothing is read this way.
#[cfg(not(target_os = "linux"))]
mod kernel {
    use super::{Root, would_wait};
    use std::fs::{File, Metadata};
    use std::io;
    use std::path::Path;

    pub(crate) fn is_local(_: &Path) -> bool {
        false
    }

    pub(super) fn root(_: &Path, _: (u64, u64)) -> Option<File> {
        None
    }

    pub(super) fn open(_: &Root, _: &Path) -> io::Result<File> {
        Err(would_wait())
    }

    pub(super) fn metadata(_: &Root, _: &Path) -> io::Result<Metadata> {
        Err(would_wait())
    }

    pub(super) fn read(_: &File, _: u64, _: usize) -> io::Result<Vec<u8>> {
        Err(would_wait())
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::{only, only_memory};
    use crate::Directory;
    use crate::synced::number;
    use roadstead_bridge::storage::{Operation, Reply};
    use roadstead_oci::{Algorithm, Digest, MediaType, Reference, RepositoryName, Tag};
    use roadstead_storage::{Key, StorageError, UploadSession};
    use sha2::{Digest as _, Sha256};
    use std::fs::{self, File};

    fn digest(bytes: &[u8]) -> Digest {
        Digest::from_bytes(Algorithm::Sha256, &Sha256::digest(bytes)).unwrap()
    }

    /// A repository with a tagged manifest, and a blob that is longer than what travels
    /// within replies.
    fn fixture() -> (tempfile::TempDir, Directory, RepositoryName) {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::open(root.path()).unwrap();
        let name = RepositoryName::parse("a/b").unwrap();
        let (manifest, blob) = (digest(b"{}"), digest(&[7; 5000]));
        directory.write(&Key::Blob(manifest.clone()), b"{}").unwrap();
        directory.write(&Key::Blob(blob.clone()), &[7; 5000]).unwrap();
        let media_type = MediaType::parse("a/b").unwrap();
        let revision = Key::Revision(name.clone(), manifest.clone());
        directory.link(&revision, &manifest, Some(&media_type)).unwrap();
        let tag = Key::Tag(name.clone(), Tag::parse("v1").unwrap());
        directory.link(&tag, &manifest, None).unwrap();
        directory.link(&Key::Layer(name.clone(), blob.clone()), &blob, None).unwrap();
        (root, directory, name)
    }

    fn reads(name: &RepositoryName) -> Vec<Operation> {
        let tags = ["v1", "none"].map(|tag| Reference::Tag(Tag::parse(tag).unwrap()));
        let digests = [&b"{}"[..], &[7; 5000], b"never written"].map(digest);
        let mut reads = Vec::new();
        for content in [false, true] {
            for reference in tags.iter().cloned().chain(digests.clone().map(Reference::Digest)) {
                let repository = name.clone();
                reads.push(Operation::Manifest { repository, reference, content });
            }
            for digest in digests.clone() {
                let (repository, range) = (name.clone(), None);
                reads.push(Operation::Blob { repository, digest, range, content });
            }
        }
        for digest in digests {
            reads.push(Operation::Exists(Key::Blob(digest.clone())));
            reads.push(Operation::Read(Key::Layer(name.clone(), digest)));
        }
        reads
    }

    fn carry_out(
        directory: &Directory,
        operation: &Operation,
    ) -> Result<(Reply, Option<Vec<u8>>), StorageError> {
        let (reply, file) = directory.execute(operation)?;
        Ok((reply, file.map(|file| file.read()).transpose()?))
    }

    /// Whether the kernel and the file system here can do it.
    fn possible(directory: &Directory) -> bool {
        let root = directory.root().to_owned();
        let possible = directory.from_memory(|_| super::metadata(&root).is_ok()) == Some(true);
        if !possible {
            eprintln!("SKIPPED: {} cannot be read from memory alone", root.display());
        }
        possible
    }

    #[test]
    fn what_is_read_from_memory_is_what_is_read() {
        let (_root, directory, name) = fixture();
        let possible = possible(&directory);
        for operation in reads(&name) {
            let expected = carry_out(&directory, &operation);
            let found = directory.from_memory(|directory| carry_out(directory, &operation));
            match found {
                Some(found) => assert_eq!(found, expected, "{operation:?}"),
                // A name that is missing need not be in the cache.
                None => assert!(!possible || expected.is_err(), "{operation:?}"),
            }
        }
    }

    #[test]
    fn bytes_that_are_not_in_memory_are_not_waited_for() {
        use rustix::fs::{Advice, fadvise};
        let (_root, directory, name) = fixture();
        for operation in reads(&name) {
            let expected = carry_out(&directory, &operation);
            for bytes in [&b"{}"[..], &[7; 5000]] {
                let file = File::open(directory.path(&Key::Blob(digest(bytes)))).unwrap();
                fadvise(&file, 0, None, Advice::DontNeed).unwrap();
            }
            let found = directory.from_memory(|directory| carry_out(directory, &operation));
            assert!(found.is_none_or(|found| found == expected), "{operation:?}");
            assert_eq!(carry_out(&directory, &operation), expected);
        }
    }

    /// Nothing is written, listed, synced or waited for.
    #[test]
    fn what_does_not_only_read_is_not_done() {
        let (root, directory, name) = fixture();
        let before = files(root.path());
        let key = Key::Tag(name.clone(), Tag::parse("v1").unwrap());
        let session = UploadSession::from_random(name.clone(), [1; 16]);
        for operation in [
            Operation::Link { key: key.clone(), digest: digest(b"x"), media_type: None },
            Operation::Remove(key.clone()),
            Operation::Unlink { key: key.clone(), digest: digest(b"{}") },
            Operation::Begin(session),
            Operation::Tidy(name.clone()),
            Operation::Hints { digest: digest(&[7; 5000]), limit: 9 },
        ] {
            let found = directory.from_memory(|directory| carry_out(directory, &operation));
            assert_eq!(found, None, "{operation:?}");
        }
        assert_eq!(files(root.path()), before);
        // What another request is about to sync.
        let path = directory.path(&key);
        let _syncing = directory.unsynced.begin(&path);
        let exists = Operation::Exists(key.clone());
        assert!(directory.from_memory(|directory| carry_out(directory, &exists)).is_none());
        // A pipe, which to open waits for a writer.
        fs::remove_file(&path).unwrap();
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let read = Operation::Read(key);
        assert!(directory.from_memory(|directory| carry_out(directory, &read)).is_none());
    }

    fn files(path: &std::path::Path) -> Vec<std::path::PathBuf> {
        let mut found = Vec::new();
        for entry in fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                found.extend(files(&path));
            }
            found.push(path);
        }
        found.sort();
        found
    }

    /// As while a file system is not mounted.
    #[test]
    fn nothing_is_read_of_a_root_that_is_another() {
        let (root, directory, name) = fixture();
        let tag = Operation::Read(Key::Tag(name, Tag::parse("v1").unwrap()));
        let (place, other) = (root.path().join("docker"), root.path().join("other"));
        fs::rename(&place, &other).unwrap();
        let found = directory.from_memory(|directory| carry_out(directory, &tag));
        assert!(found.is_none_or(|found| found == Err(StorageError::NotFound)));
        fs::rename(&other, &place).unwrap();
        let inode = number(&fs::metadata(root.path()).unwrap());
        let read = || carry_out(&directory, &tag);
        assert!(only(root.path(), (inode.0, inode.1 + 1), read).is_none());
        assert!(only(root.path(), (inode.0 + 1, inode.1), read).is_none());
        assert!(only(&other, inode, read).is_none());
    }

    /// Links may lead to the disk of another machine.
    #[test]
    fn no_mount_point_is_crossed() {
        let (root, directory, _) = fixture();
        let leads = root.path().join("proc");
        std::os::unix::fs::symlink("/proc", &leads).unwrap();
        let found = directory.from_memory(|_| super::metadata(&leads).map(drop));
        assert!(found.is_none());
    }

    #[test]
    fn a_panic_ends_it() {
        let (_root, directory, _) = fixture();
        let work = || directory.from_memory(|_| panic!("on purpose"));
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        assert!(ended.is_err() || !possible(&directory));
        assert!(!only_memory());
    }
}
