//! The entries of one directory, in order and a bounded number at a time.

use crate::files;
use roadstead_storage::StorageError;
use std::collections::BinaryHeap;
use std::path::Path;
use std::{fs, io};

/// The maximum number of entries of one directory that are held in memory at a
/// time, if all of them are too many.
///
/// Limit: entries of a directory that are held at a time; test:
/// `more_names_than_one_batch_holds`.
pub(crate) const BATCH: usize = 1024;

/// The maximum number of times that a directory is read, if entries vanish each
/// time.
///
/// Limit: times that a directory is read while entries vanish; test:
/// `entries_vanish_while_directories_are_read`.
const READINGS: usize = 16;

/// A position among the items of one directory.
pub(crate) enum Position {
    /// After this item.
    After(String),
    /// At this item, or after it.
    From(String),
}

impl Position {
    /// The position in the directory `prefix` of the first item that follows
    /// the path `after`. A directory is visited only if it can contain one.
    pub(crate) fn new(prefix: &str, after: &str) -> Self {
        match after.strip_prefix(prefix) {
            // `after` lies inside a child, which may contain more items.
            Some(rest) => match rest.split_once('/') {
                Some((child, _)) => Self::From(format!("{child}/")),
                None => Self::After(rest.to_owned()),
            },
            None => Self::After(String::new()),
        }
    }

    pub(crate) fn precedes(&self, item: &str) -> bool {
        match self {
            Self::After(last) => item > last.as_str(),
            Self::From(first) => item >= first.as_str(),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryType {
    Directory,
    File,
}

/// The first [`BATCH`] items of a directory from `position`, in order. `expand`
/// turns an entry into its items. A missing directory has none.
pub(crate) fn batch(
    root: &Path,
    path: &Path,
    position: &Position,
    mut expand: impl FnMut(&str, EntryType, &mut dyn FnMut(String)),
) -> Result<Vec<String>, StorageError> {
    read_until_stable(|| {
        let mut smallest = BinaryHeap::new();
        for_each(root, path, |name, entry| {
            expand(name, entry, &mut |item| {
                if position.precedes(&item) {
                    smallest.push(item);
                    if smallest.len() > BATCH {
                        smallest.pop();
                    }
                }
            });
            true
        })?;
        Ok(smallest.into_sorted_vec())
    })
}

/// Reads again if an entry vanished meanwhile: over WASI, that ends the listing
/// early.
pub(crate) fn read_until_stable<T>(
    mut read: impl FnMut() -> Result<T, StorageError>,
) -> Result<T, StorageError> {
    for _ in 0..READINGS {
        match read() {
            Err(StorageError::NotFound) => {}
            read => return read,
        }
    }
    // Not NotFound, which would say that the directory is missing.
    Err(StorageError::Failed("the directory changes while it is read".to_owned()))
}

/// Passes the entries of a directory to `take` until it says to stop; a missing
/// directory has none. It is below `root`, or `root`.
///
/// # Errors
/// [`StorageError::NotFound`] when an entry vanished before all were seen.
pub(crate) fn for_each(
    root: &Path,
    path: &Path,
    mut take: impl FnMut(&str, EntryType) -> bool,
) -> Result<(), StorageError> {
    let entries = match files::read_dir(path).map_err(StorageError::from) {
        Ok(entries) => entries,
        Err(StorageError::NotFound) => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = files::call("list", path, || entry)?;
        // The registry writes no name that is not UTF-8.
        let Ok(name) = entry.file_name().into_string() else { continue };
        let file_type = files::call("list", path, || entry.file_type())?;
        let Some(entry_type) = entry_type(file_type, root, &entry.path()) else { continue };
        if !take(&name, entry_type) {
            break;
        }
    }
    Ok(())
}

/// Operators link directories to other disks, so links are followed, but not
/// back to a directory that they are in: a walk would not end.
fn entry_type(file_type: fs::FileType, root: &Path, path: &Path) -> Option<EntryType> {
    let (directory, file) = if file_type.is_symlink() {
        let metadata = fs::metadata(path).ok()?;
        (metadata.is_dir() && !leads_back(root, path), metadata.is_file())
    } else {
        (file_type.is_dir(), file_type.is_file())
    };
    match (directory, file) {
        (true, _) => Some(EntryType::Directory),
        (_, true) => Some(EntryType::File),
        _ => None,
    }
}

/// Whether a link below `root` leads to one of the directories on the way to it,
/// by whatever links, or above them.
fn leads_back(root: &Path, link: &Path) -> bool {
    // WASI does not tell: there, the length of names ends a walk.
    let Ok(target) = fs::canonicalize(link) else { return false };
    link.ancestors()
        .skip(1)
        .take_while(|path| path.starts_with(root))
        .any(|path| fs::canonicalize(path).is_ok_and(|path| path.starts_with(&target)))
}

/// The error for a path that cannot be read or written, even if a part of it is
/// missing: for failures that must not look like a missing object.
#[expect(clippy::needless_pass_by_value, reason = "it is a function for map_err")]
pub(crate) fn failed(error: io::Error) -> StorageError {
    StorageError::of_file_system(&error)
}
