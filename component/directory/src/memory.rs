//! Reads that the kernel answers from memory, for threads that must not wait for a disk.
//!
//! Paths are looked up in the kernel's cache of names (`RESOLVE_CACHED` of openat2(2), since
//! Linux 5.12), and bytes come from its page cache (`RWF_NOWAIT` of preadv2(2), since Linux
//! 4.14). A call that would wait, or that would change anything, fails instead, and the
//! caller repeats all of the work on a thread that may wait. The same happens on other
//! systems, where the kernel or a sandbox lacks these calls, and on file systems that ask
//! other machines even for what is cached.
//!
//! What still waits: a program that the kernel asks for permission to open a file (fanotify,
//! of virus scanners), and the first open after ext4 was mounted, which the superblock notes.

use std::cell::{Cell, RefCell};
use std::fs::{File, Metadata};
use std::io;
use std::path::Path;

/// The longest read on a thread that must not wait, in bytes: others wait for it to copy
/// them.
///
/// Limit: bytes read of a file without a thread for it; test:
/// `long_reads_are_left_to_other_threads`.
const READ_LIMIT: usize = 64 * 1024;

thread_local! {
    /// Where a thread reads from that must not wait.
    static ROOT: RefCell<Option<kernel::Root>> = const { RefCell::new(None) };
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

/// Runs `work`, which reads files below `root`, without waiting. `root` must be the directory
/// with this device and inode. `None` if that is not possible: then the result of the work,
/// which may have been run, has no meaning.
pub(crate) fn only<T>(root: &Path, number: (u64, u64), work: impl FnOnce() -> T) -> Option<T> {
    let root = kernel::Root::open(root, number)?;
    WOULD_WAIT.set(false);
    ROOT.set(Some(root));
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
        Some(root) => root.file(path),
        None => File::open(path),
    })
}

/// The metadata of a file or directory.
pub(crate) fn metadata(path: &Path) -> io::Result<Metadata> {
    ROOT.with_borrow(|root| match root {
        Some(root) => root.metadata(path),
        None => std::fs::metadata(path),
    })
}

/// Reads `length` bytes of a file from `offset` on; fewer if it ends before.
///
/// # Errors
/// When they cannot be read.
pub fn read_at(mut file: &File, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    use std::io::{Read as _, Seek as _, SeekFrom};
    if only_memory() {
        return if length > READ_LIMIT {
            Err(would_wait())
        } else {
            kernel::read_at(file, offset, length)
        };
    }
    let mut bytes = Vec::with_capacity(length);
    file.seek(SeekFrom::Start(offset))?;
    file.take(length as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whether a directory with this device and inode is on a file system that is read this way.
pub(crate) use kernel::is_local;

#[cfg(target_os = "linux")]
mod kernel {
    use super::would_wait;
    use crate::synced;
    use rustix::fs::{
        AtFlags, CWD, Mode, OFlags, ResolveFlags, StatxFlags, fstatfs, makedev, openat2, statx,
    };
    use rustix::io::{Errno, ReadWriteFlags, preadv2};
    use std::fs::{File, Metadata};
    use std::io::{self, IoSliceMut};
    use std::path::{Path, PathBuf};

    /// The file systems that wait for no other machine, and whose page cache can be asked,
    /// by the numbers of statfs(2): ext2 to ext4, XFS, Btrfs, F2FS.
    const LOCAL: [u32; 4] = [0xEF53, 0x5846_5342, 0x9123_683E, 0xF2F5_2010];

    pub(crate) fn is_local(root: &Path, number: (u64, u64)) -> bool {
        let Ok(root) = File::open(root) else { return false };
        let same = root.metadata().is_ok_and(|metadata| synced::number(&metadata) == number);
        // The type is a number of 32 bits in a field that is wider on most platforms.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "as said")]
        let local = fstatfs(&root).is_ok_and(|found| LOCAL.contains(&(found.f_type as u32)));
        same && local
    }

    /// A directory below which files are looked up.
    pub(super) struct Root {
        path: PathBuf,
        /// Opened with `O_PATH`.
        descriptor: File,
    }

    impl Root {
        /// Opens a directory if it has this device and inode.
        pub(super) fn open(path: &Path, number: (u64, u64)) -> Option<Self> {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let root = openat2(CWD, path, flags, Mode::empty(), ResolveFlags::CACHED).ok()?;
            // Without DONT_SYNC, this may wait for the machine that has it by now.
            let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
            let found = statx(&root, c"", flags, StatxFlags::INO).ok()?;
            let device = makedev(found.stx_dev_major, found.stx_dev_minor);
            let same = (device, found.stx_ino) == number;
            same.then(|| Self { path: path.to_owned(), descriptor: root.into() })
        }

        fn look_up(&self, path: &Path, flags: OFlags) -> io::Result<File> {
            let mut relative = path.strip_prefix(&self.path).map_err(|_| would_wait())?;
            if relative.as_os_str().is_empty() {
                relative = Path::new(".");
            }
            let (flags, mode) = (flags | OFlags::CLOEXEC, Mode::empty());
            let resolve = ResolveFlags::CACHED | ResolveFlags::NO_XDEV;
            match openat2(&self.descriptor, relative, flags, mode, resolve) {
                Ok(file) => Ok(file.into()),
                Err(error @ (Errno::NOENT | Errno::NOTDIR)) => Err(error.into()),
                // Other errors are left to the attempt that may wait, which reports them.
                Err(_) => Err(would_wait()),
            }
        }

        pub(super) fn file(&self, path: &Path) -> io::Result<File> {
            // NONBLOCK is for pipes, which wait for a writer. NOATIME, which the owner of a
            // file may ask for, because a new time of access waits for the journal.
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOATIME;
            let file = self.look_up(path, flags)?;
            if file.metadata()?.is_file() { Ok(file) } else { Err(would_wait()) }
        }

        pub(super) fn metadata(&self, path: &Path) -> io::Result<Metadata> {
            self.look_up(path, OFlags::PATH)?.metadata()
        }
    }

    pub(super) fn read_at(file: &File, offset: u64, length: usize) -> io::Result<Vec<u8>> {
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
    use super::would_wait;
    use std::fs::{File, Metadata};
    use std::io;
    use std::path::Path;

    pub(crate) fn is_local(_: &Path, _: (u64, u64)) -> bool {
        false
    }

    /// There is none.
    pub(super) enum Root {}

    impl Root {
        pub(super) fn open(_: &Path, _: (u64, u64)) -> Option<Self> {
            None
        }

        pub(super) fn file(&self, _: &Path) -> io::Result<File> {
            match *self {}
        }

        pub(super) fn metadata(&self, _: &Path) -> io::Result<Metadata> {
            match *self {}
        }
    }

    pub(super) fn read_at(_: &File, _: u64, _: usize) -> io::Result<Vec<u8>> {
        Err(would_wait())
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::{READ_LIMIT, only, only_memory};
    use crate::synced::number;
    use crate::{Directory, files};
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
        let path = directory.path(&Key::Blob(digest(b"{}")));
        let read = || files::read_from(&files::open(&path)?, &path, 1);
        let possible = directory.from_memory(|_| read().is_ok()) == Some(true);
        if !possible {
            eprintln!("SKIPPED: {} cannot be read from memory alone", path.display());
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
        let before = found_below(root.path());
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
        assert_eq!(found_below(root.path()), before);
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

    fn found_below(path: &std::path::Path) -> Vec<std::path::PathBuf> {
        let mut found = Vec::new();
        for entry in fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                found.extend(found_below(&path));
            }
            found.push(path);
        }
        found.sort();
        found
    }

    #[test]
    fn long_reads_are_left_to_other_threads() {
        let (_root, directory, name) = fixture();
        let possible = possible(&directory);
        for (length, at_once) in [(READ_LIMIT, true), (READ_LIMIT + 1, false)] {
            let bytes = vec![1; length];
            let digest = digest(&bytes);
            directory.write(&Key::Blob(digest.clone()), &bytes).unwrap();
            directory.link(&Key::Layer(name.clone(), digest.clone()), &digest, None).unwrap();
            let (repository, range) = (name.clone(), None);
            let operation = Operation::Blob { repository, digest, range, content: true };
            let found = directory.from_memory(|directory| carry_out(directory, &operation));
            assert_eq!(found.is_some(), at_once && possible, "{length}");
        }
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
