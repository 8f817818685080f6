//! Calls of the file system as steps that a test can order.
//!
//! Each call of `files` is a step: a test can [`observe`] a thread's
//! steps, to decide which thread makes the next one and to have one fail. Without
//! an observer a step costs a look at a variable of the thread.
//!
//! A thread that is kept waiting must not hold a lock that others need: no mutex
//! is held across a step, and `RwLock`s are taken by `read_lock` and `write_lock`.

use std::cell::RefCell;
use std::io;
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
