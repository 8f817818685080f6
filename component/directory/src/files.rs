//! The calls of the file system, with the operation and the path in each error.

use crate::memory;
use crate::steps::{Call, observed, step};
use std::error::Error;
use std::fmt;
use std::fs::{self, File, Metadata, OpenOptions, ReadDir};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// An error with what was done when it occurred.
#[derive(Debug)]
struct Failure {
    operation: &'static str,
    path: PathBuf,
    error: io::Error,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.operation, self.path.display(), self.error)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}

/// Adds the operation and the path to the error of `call`. The kind stays. Not on a thread
/// that must not wait.
pub(crate) fn call<T>(
    operation: &'static str,
    path: &Path,
    call: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    if memory::only_memory() {
        return Err(memory::would_wait());
    }
    call_anywhere(operation, path, call)
}

/// The same for what [`memory`] does.
fn call_anywhere<T>(
    operation: &'static str,
    path: &Path,
    call: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    #[cfg(test)]
    let call = || testing::seen(operation, path).and_then(|()| call());
    step(kind(operation), path).and_then(|()| call()).map_err(|error| {
        io::Error::new(error.kind(), Failure { operation, path: path.to_owned(), error })
    })
}

/// What others can notice of an operation.
fn kind(operation: &str) -> Call {
    match operation {
        "open" | "read" | "look up" => Call::Read,
        "list" => Call::List,
        "write" => Call::Write,
        "sync" => Call::Sync,
        _ => Call::Change,
    }
}

pub(crate) fn open(path: &Path) -> io::Result<File> {
    call_anywhere("open", path, || memory::open(path))
}

/// Opens a file for writing, and makes it if it is missing.
pub(crate) fn open_for_writing(path: &Path) -> io::Result<File> {
    let options = || OpenOptions::new().write(true).create(true).truncate(false).open(path);
    call("open for writing", path, options)
}

/// Makes a file that must not exist.
pub(crate) fn create_new(path: &Path) -> io::Result<File> {
    call("create", path, || OpenOptions::new().write(true).create_new(true).open(path))
}

pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    call("read", path, || fs::read(path))
}

/// Reads at most `length` bytes of `file` from its beginning, which is open at `path`.
pub(crate) fn read_from(file: &File, path: &Path, length: usize) -> io::Result<Vec<u8>> {
    call_anywhere("read", path, || memory::read_at(file, 0, length))
}

/// Writes bytes to `file`, which is open at `path`.
pub(crate) fn write_all(mut file: &File, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let result = call("write", path, || file.write_all(bytes));
    if observed() && result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WriteZero) {
        // Torn.
        file.write_all(bytes.get(..bytes.len() / 2).unwrap_or_default())?;
    }
    result
}

pub(crate) fn metadata(path: &Path) -> io::Result<Metadata> {
    call_anywhere("look up", path, || memory::metadata(path))
}

pub(crate) fn read_dir(path: &Path) -> io::Result<ReadDir> {
    call("list", path, || fs::read_dir(path))
}

pub(crate) fn create_dir(path: &Path) -> io::Result<()> {
    call("make directory", path, || fs::create_dir(path))
}

pub(crate) fn remove_file(path: &Path) -> io::Result<()> {
    call("remove", path, || fs::remove_file(path))
}

pub(crate) fn remove_dir(path: &Path) -> io::Result<()> {
    call("remove directory", path, || fs::remove_dir(path))
}

/// Under an observer, a step for each entry.
pub(crate) fn remove_dir_all(path: &Path) -> io::Result<()> {
    if !observed() {
        return call("remove directory", path, || fs::remove_dir_all(path));
    }
    for entry in read_dir(path)? {
        let entry = entry?;
        let removed = if entry.file_type()?.is_dir() {
            remove_dir_all(&entry.path())
        } else {
            remove_file(&entry.path())
        };
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    remove_dir(path)
}

/// Renames `from`; errors name `to`.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    call("rename to", to, || fs::rename(from, to))
}

/// Makes `to` another name of `from`; errors name `to`.
pub(crate) fn hard_link(from: &Path, to: &Path) -> io::Result<()> {
    call("link", to, || fs::hard_link(from, to))
}

/// Has what was written to `file`, which is open at `path`, reach the disk. No test
/// that observes steps cuts the power.
pub(crate) fn sync(file: &File, path: &Path) -> io::Result<()> {
    call("sync", path, || if observed() { Ok(()) } else { file.sync_all() })
}

/// Has the entries of a directory reach the disk; if a concurrent delete removed
/// it, those of the nearest directory that is left.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    // Windows cannot open a directory this way; its file systems journal
    // their entries.
    if cfg!(windows) {
        return Ok(());
    }
    match (open(path), path.parent()) {
        (Err(error), Some(parent)) if error.kind() == io::ErrorKind::NotFound => {
            sync_directory(parent)
        }
        (directory, _) => sync(&directory?, path),
    }
}

/// Shows tests what is called, and lets them have a call fail.
#[cfg(test)]
pub(crate) mod testing {
    use std::io;
    use std::path::{Path, PathBuf};
    use std::sync::{Arc, Mutex, PoisonError};

    type Watcher = Arc<dyn Fn(&str, &Path) -> io::Result<()> + Send + Sync>;

    /// By the directory whose calls are watched: commits take several threads.
    static WATCHERS: Mutex<Vec<(PathBuf, Watcher)>> = Mutex::new(Vec::new());

    /// Watches until it is dropped.
    pub(crate) struct Watch(PathBuf);

    /// Has `watcher` see every call below `directory`, and decide whether it
    /// fails.
    pub(crate) fn watch(
        directory: &Path,
        watcher: impl Fn(&str, &Path) -> io::Result<()> + Send + Sync + 'static,
    ) -> Watch {
        let mut watchers = WATCHERS.lock().unwrap_or_else(PoisonError::into_inner);
        watchers.push((directory.to_owned(), Arc::new(watcher)));
        Watch(directory.to_owned())
    }

    impl Drop for Watch {
        fn drop(&mut self) {
            let mut watchers = WATCHERS.lock().unwrap_or_else(PoisonError::into_inner);
            watchers.retain(|(directory, _)| *directory != self.0);
        }
    }

    pub(super) fn seen(operation: &str, path: &Path) -> io::Result<()> {
        let watchers = WATCHERS.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut below = watchers.iter().filter(|(directory, _)| path.starts_with(directory));
        below.try_for_each(|(_, watcher)| watcher(operation, path))
    }
}
