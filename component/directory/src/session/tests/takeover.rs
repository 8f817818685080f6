//! A request takes over from a former holder of the lock that is still running.

use super::{Fixture, sha256};
use crate::Directory;
use crate::files::testing::watch;
use roadstead_storage::StorageError;
use std::io;

#[test]
fn who_takes_over_is_not_disturbed_by_the_former_holder() {
    // Who owns the directory is taken over from, and takes over.
    for owner_first in [true, false] {
        let f = Fixture::new();
        let other = Directory::open(f.root.path()).unwrap();
        let (first, second) =
            if owner_first { (&f.directory, &other) } else { (&other, &f.directory) };
        f.append(None, b"good ").unwrap();
        let mut former = first.append(&f.session, None).unwrap();
        former.write(b"lost").unwrap();
        assert!(matches!(second.append(&f.session, None), Err(StorageError::Busy)));
        f.age_lock();
        let mut taker = second.append(&f.session, None).unwrap();
        taker.write(b"by").unwrap();
        // Not dead, only slow: it writes on, but into its own file.
        former.write(b" and more of it").unwrap();
        taker.write(b"tes").unwrap();
        assert!(matches!(former.finish(first), Err(StorageError::Busy)));
        assert_eq!(taker.finish(second).unwrap(), 10);
        assert_eq!(f.commit(b"good bytes").unwrap(), 10);
        assert_eq!(f.blob(&sha256(b"good bytes")).unwrap(), b"good bytes");
    }
}

/// The next request finds the lock free, and shares no file with the former
/// holder either.
#[test]
fn who_takes_over_and_fails_has_moved_the_bytes() {
    let f = Fixture::new();
    let other = Directory::open(f.root.path()).unwrap();
    f.append(None, b"good ").unwrap();
    let mut former = other.append(&f.session, None).unwrap();
    former.write(b"evil").unwrap();
    f.age_lock();
    assert_eq!(f.append(Some(9), b"x"), Err(StorageError::Offset(5)));
    let mut next = f.directory.append(&f.session, Some(5)).unwrap();
    next.write(b"by").unwrap();
    next.settle().unwrap();
    former.settle().unwrap();
    drop(former);
    next.write(b"tes").unwrap();
    assert_eq!(next.finish(&f.directory).unwrap(), 10);
    assert_eq!(f.commit(b"good bytes").unwrap(), 10);
    assert_eq!(f.blob(&sha256(b"good bytes")).unwrap(), b"good bytes");
}

/// Without room for the copy, the lock is not free either.
#[test]
fn who_takes_over_without_room_does_not_release_the_lock() {
    let f = Fixture::new();
    let (first, second) = (&f.directory, Directory::open(f.root.path()).unwrap());
    f.append(None, b"good ").unwrap();
    let former = first.append(&f.session, None).unwrap();
    f.age_lock();
    let state = f.file("state");
    let watch = watch(f.root.path(), move |operation, path| {
        if operation == "rename to" && path == state {
            return Err(io::Error::from_raw_os_error(28));
        }
        Ok(())
    });
    let found = second.append(&f.session, None).map(drop);
    assert!(matches!(found, Err(StorageError::Full(_))), "{found:?}");
    drop(watch);
    assert_eq!(second.append(&f.session, None).map(drop), Err(StorageError::Busy));
    drop(former);
    f.age_lock();
    assert_eq!(f.append(Some(5), b"bytes"), Ok(10));
    assert_eq!(f.commit(b"good bytes"), Ok(10));
}
