//! The file system, one call at a time.
//!
//! All calls that other requests can notice are made through the functions of
//! this module, which have the names and the meaning of those of `std::fs`. Each
//! is a step: a test can take [`observe`] a thread's steps, to decide which
//! thread makes the next one and to have one fail. Without an observer a step
//! costs a look at a variable of the thread.
//!
//! A thread that is kept waiting must not hold a lock that others need: no mutex
//! is held across a step, and `RwLock`s are taken by [`read`] and [`write_lock`].

use std::cell::RefCell;
use std::fs::{self, File, Metadata, OpenOptions, ReadDir};
use std::io::{self, Write as _};
use std::path::Path;
use std::rc::Rc;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};

/// What decides over the steps of a thread.
pub trait Observer {
    /// Called before each step. The step is made after it returns `Ok`; an error
    /// is the outcome of the step, which is not made then. Of
    /// [`io::ErrorKind::WriteZero`], a write makes half.
    fn before(&self, call: Call, path: &Path) -> io::Result<()>;
}

/// What a step does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Call {
    /// Reads a file or its metadata.
    Read,
    /// Reads the names in a directory.
    List,
    /// Creates, replaces or removes a file or a directory.
    Change,
    /// Writes bytes to an open file.
    Write,
    /// Makes a file or a directory durable.
    Sync,
    /// Waits for a lock that another thread holds.
    Wait,
}

thread_local! {
    static OBSERVER: RefCell<Option<Rc<dyn Observer>>> = const { RefCell::new(None) };
}

/// Has `observer` decide over this thread's steps from now on, or nobody.
pub fn observe(observer: Option<Rc<dyn Observer>>) {
    OBSERVER.with(|place| *place.borrow_mut() = observer);
}

/// Whether this thread is observed: then it makes all its steps itself, one
/// after the other.
pub(crate) fn observed() -> bool {
    OBSERVER.with(|place| place.borrow().is_some())
}

/// A step that is made by the caller.
pub(crate) fn step(call: Call, path: &Path) -> io::Result<()> {
    let observer = OBSERVER.with(|place| place.borrow().clone());
    observer.map_or(Ok(()), |observer| observer.before(call, path))
}

pub(crate) fn open(path: impl AsRef<Path>) -> io::Result<File> {
    step(Call::Read, path.as_ref())?;
    File::open(path)
}

pub(crate) fn open_with(options: &OpenOptions, path: &Path) -> io::Result<File> {
    step(Call::Change, path)?;
    options.open(path)
}

pub(crate) fn create(path: impl AsRef<Path>) -> io::Result<File> {
    step(Call::Change, path.as_ref())?;
    File::create(path)
}

pub(crate) fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    step(Call::Read, path.as_ref())?;
    fs::read(path)
}

pub(crate) fn read_to_string(path: impl AsRef<Path>) -> io::Result<String> {
    step(Call::Read, path.as_ref())?;
    fs::read_to_string(path)
}

pub(crate) fn metadata(path: impl AsRef<Path>) -> io::Result<Metadata> {
    step(Call::Read, path.as_ref())?;
    fs::metadata(path)
}

pub(crate) fn read_dir(path: impl AsRef<Path>) -> io::Result<ReadDir> {
    step(Call::List, path.as_ref())?;
    fs::read_dir(path)
}

pub(crate) fn write(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> io::Result<()> {
    step(Call::Change, path.as_ref())?;
    fs::write(path, bytes)
}

pub(crate) fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
    step(Call::Change, to.as_ref())?;
    fs::rename(from, to)
}

pub(crate) fn hard_link(original: impl AsRef<Path>, link: impl AsRef<Path>) -> io::Result<()> {
    step(Call::Change, link.as_ref())?;
    fs::hard_link(original, link)
}

pub(crate) fn remove_file(path: impl AsRef<Path>) -> io::Result<()> {
    step(Call::Change, path.as_ref())?;
    fs::remove_file(path)
}

pub(crate) fn remove_dir(path: impl AsRef<Path>) -> io::Result<()> {
    step(Call::Change, path.as_ref())?;
    fs::remove_dir(path)
}

pub(crate) fn create_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    step(Call::Change, path.as_ref())?;
    fs::create_dir_all(path)
}

/// Under an observer, a step for each entry.
pub(crate) fn remove_dir_all(path: &Path) -> io::Result<()> {
    if !observed() {
        return fs::remove_dir_all(path);
    }
    for entry in read_dir(path)? {
        let entry = entry?;
        let removed = if entry.file_type()?.is_dir() {
            remove_dir_all(&entry.path())
        } else {
            remove_file(entry.path())
        };
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    remove_dir(path)
}

/// Writes all bytes to the open file at `path`.
pub(crate) fn write_all(file: &mut File, bytes: &[u8], path: &Path) -> io::Result<()> {
    if let Err(error) = step(Call::Write, path) {
        if error.kind() == io::ErrorKind::WriteZero {
            file.write_all(bytes.get(..bytes.len() / 2).unwrap_or_default())?;
        }
        return Err(error);
    }
    file.write_all(bytes)
}

/// Makes the open file or directory at `path` durable. No test that observes
/// steps cuts the power.
pub(crate) fn sync(file: &File, path: &Path) -> io::Result<()> {
    step(Call::Sync, path)?;
    if observed() { Ok(()) } else { file.sync_all() }
}

/// Takes a lock together with others; `path` is what it protects.
pub(crate) fn read_lock<'a, T>(lock: &'a RwLock<T>, path: &Path) -> RwLockReadGuard<'a, T> {
    while observed() {
        match lock.try_read() {
            Ok(guard) => return guard,
            Err(TryLockError::Poisoned(guard)) => return guard.into_inner(),
            // The outcome of a step of waiting is nothing.
            Err(TryLockError::WouldBlock) => drop(step(Call::Wait, path)),
        }
    }
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

/// Takes a lock alone; `path` is what it protects.
pub(crate) fn write_lock<'a, T>(lock: &'a RwLock<T>, path: &Path) -> RwLockWriteGuard<'a, T> {
    while observed() {
        match lock.try_write() {
            Ok(guard) => return guard,
            Err(TryLockError::Poisoned(guard)) => return guard.into_inner(),
            Err(TryLockError::WouldBlock) => drop(step(Call::Wait, path)),
        }
    }
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
