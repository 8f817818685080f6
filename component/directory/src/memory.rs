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

/// The file systems that wait for no other machine, and whose page cache can be asked, by the
/// numbers of statfs(2): ext2 to ext4, XFS, Btrfs, F2FS.
pub(crate) const LOCAL: [u32; 4] = [0xEF53, 0x5846_5342, 0x9123_683E, 0xF2F5_2010];

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

/// Reads `length` bytes of a file from `offset` on; fewer if it ends before. Threads may read the
/// same file at once.
///
/// # Errors
/// When they cannot be read.
pub fn read_at(file: &File, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    match only_memory() {
        false => positioned(file, offset, length),
        true if length > READ_LIMIT => Err(would_wait()),
        true => kernel::read_at(file, offset, length),
    }
}

/// Leaves the position of the file alone, which all who share the file would share.
#[cfg(unix)]
fn positioned(file: &File, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    use std::os::unix::fs::FileExt as _;
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while filled < length {
        match file.read_at(&mut bytes[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// In a component, one thread reads, and nothing else happens between the two calls.
#[cfg(not(unix))]
fn positioned(mut file: &File, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let mut bytes = Vec::with_capacity(length);
    file.seek(SeekFrom::Start(offset))?;
    file.take(length as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The number that statfs(2) has for the file system of a directory, if that has this device and
/// inode.
pub(crate) use kernel::file_system;

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

    pub(crate) fn file_system(root: &Path, number: (u64, u64)) -> Option<u32> {
        let root = File::open(root).ok()?;
        root.metadata().ok().filter(|metadata| synced::number(metadata) == number)?;
        // The type is a number of 32 bits in a field that is wider on most platforms.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "as said")]
        fstatfs(&root).ok().map(|found| found.f_type as u32)
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

    pub(crate) fn file_system(_: &Path, _: (u64, u64)) -> Option<u32> {
        None
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
mod tests;
