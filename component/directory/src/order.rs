//! The names in a directory, in order, kept while the directory does not
//! change.
//!
//! A directory's modification time says whether names came or went, whoever
//! made them. It is only as fine as the kernel's clock ticks, so names are kept
//! only if the last change was a while before they were read: a later change
//! then has another time.

use crate::list::{BATCH, Cursor};
use crate::{Depth, Directory, Error};
use std::borrow::Cow;
use std::collections::{BinaryHeap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use std::{fs, io};

/// Fewer items are read faster than they are looked up.
const WORTH_KEEPING: usize = 256;

/// Most items that are kept, of all directories together: about 30 MB.
const MAX_ITEMS: usize = 400_000;

/// How long a directory must have been unchanged when its names are read, for
/// them to be kept. Far more than a tick.
const SETTLED: Duration = Duration::from_millis(500);

/// How often a directory is read at most, if each time entries vanish.
const READINGS: usize = 16;

/// The items of directories that have not changed.
#[derive(Debug, Default)]
pub(crate) struct Order {
    kept: Mutex<HashMap<(PathBuf, Depth), Kept>>,
}

#[derive(Clone, Debug)]
struct Kept {
    modified: SystemTime,
    items: Arc<Vec<String>>,
}

/// Items of a directory, one after the other. A directory `c` is the item `c`,
/// its name, and, where its inside counts, the item `c/`: between them come
/// names like `c-d`, since '-' sorts before '/'.
pub(crate) enum Items<'a> {
    All { items: Arc<Vec<String>>, next: usize },
    Batches { path: &'a Path, depth: Depth, batch: std::vec::IntoIter<String>, cursor: Cursor },
}

impl Items<'_> {
    /// The next item.
    pub(crate) fn next(&mut self) -> Result<Option<Cow<'_, str>>, Error> {
        match self {
            Self::All { items, next } => {
                *next += 1;
                Ok(items.get(*next - 1).map(|item| Cow::Borrowed(item.as_str())))
            }
            Self::Batches { path, depth, batch: items, cursor } => {
                let mut item = items.next();
                if item.is_none() {
                    *items = batch(path, cursor, of_names(*depth))?.into_iter();
                    item = items.next();
                }
                if let Some(item) = &item {
                    *cursor = Cursor::After(item.clone());
                }
                Ok(item.map(Cow::Owned))
            }
        }
    }
}

impl Directory {
    /// The items of the directory `path` from `cursor`.
    pub(crate) fn items<'a>(
        &self,
        path: &'a Path,
        depth: Depth,
        cursor: Cursor,
    ) -> Result<Items<'a>, Error> {
        let modified = match fs::metadata(path).and_then(|metadata| metadata.modified()) {
            Ok(modified) => modified,
            Err(error) => match Error::from(error) {
                Error::NotFound => return Ok(Items::All { items: Arc::default(), next: 0 }),
                error => return Err(error),
            },
        };
        let place = (path.to_owned(), depth);
        let kept = self.order.lock().get(&place).filter(|kept| kept.modified == modified).cloned();
        let items = if let Some(kept) = kept {
            kept.items
        } else if let Some(items) = read(path, depth)? {
            let items = Arc::new(items);
            self.order.keep(place, modified, &items);
            items
        } else {
            let batch = Vec::new().into_iter();
            return Ok(Items::Batches { path, depth, batch, cursor });
        };
        let next = items.partition_point(|item| !cursor.precedes(item));
        Ok(Items::All { items, next })
    }
}

impl Order {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(PathBuf, Depth), Kept>> {
        // Whoever panicked left whole entries.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, place: (PathBuf, Depth), modified: SystemTime, items: &Arc<Vec<String>>) {
        let age = SystemTime::now().duration_since(modified).unwrap_or_default();
        if items.len() < WORTH_KEEPING || age < SETTLED {
            return;
        }
        let mut kept = self.lock();
        kept.remove(&place);
        let total: usize = kept.values().map(|kept| kept.items.len()).sum();
        if total + items.len() > MAX_ITEMS {
            // Rare enough that what is wanted again may be read again.
            kept.clear();
        }
        kept.insert(place, Kept { modified, items: Arc::clone(items) });
    }
}

/// All items of a directory, in order; `None` if they are too many to keep.
fn read(path: &Path, depth: Depth) -> Result<Option<Vec<String>>, Error> {
    let mut expand = of_names(depth);
    let mut items = whole(|| {
        let mut items = Vec::new();
        for_each(path, |name, kind| {
            expand(name, kind, &mut |item| items.push(item));
            items.len() <= MAX_ITEMS
        })?;
        Ok(items)
    })?;
    if items.len() > MAX_ITEMS {
        return Ok(None);
    }
    items.sort_unstable();
    Ok(Some(items))
}

/// What a name stands for in a list of names: directories only.
fn of_names(depth: Depth) -> impl FnMut(&str, Kind, &mut dyn FnMut(String)) {
    move |name, kind, take| {
        let deep = depth == Depth::Descendants;
        if kind == Kind::Directory && !(deep && name.starts_with('_')) {
            take(name.to_owned());
            if deep {
                take(format!("{name}/"));
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Directory,
    File,
}

/// The first [`BATCH`] items of a directory from `cursor`, in order. `expand`
/// turns an entry into its items. A missing directory has none.
pub(crate) fn batch(
    path: &Path,
    cursor: &Cursor,
    mut expand: impl FnMut(&str, Kind, &mut dyn FnMut(String)),
) -> Result<Vec<String>, Error> {
    whole(|| {
        let mut smallest = BinaryHeap::new();
        for_each(path, |name, kind| {
            expand(name, kind, &mut |item| {
                if cursor.precedes(&item) {
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

/// Reads again where an entry vanished meanwhile: over WASI, that ends the
/// reading, with entries left that nobody has seen.
fn whole<T>(mut read: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    for _ in 0..READINGS {
        match read() {
            Err(Error::NotFound) => {}
            read => return read,
        }
    }
    // Not NotFound, which would say that the directory is missing.
    Err(Error::Io(io::Error::other("the directory changes while it is read")))
}

/// Hands out the entries of a directory until `take` says to stop; a missing
/// one has none. [`Error::NotFound`] means that an entry vanished, and that
/// not all were handed out.
fn for_each(path: &Path, mut take: impl FnMut(&str, Kind) -> bool) -> Result<(), Error> {
    let entries = match fs::read_dir(path).map_err(Error::from) {
        Ok(entries) => entries,
        Err(Error::NotFound) => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        // A name that is not UTF-8 is no key of ours.
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name == crate::PRIVATE {
            continue;
        }
        let Some(kind) = kind(entry.file_type()?, &entry.path()) else { continue };
        if !take(&name, kind) {
            break;
        }
    }
    Ok(())
}

/// Operators link directories to other disks, so links are followed.
fn kind(file_type: fs::FileType, path: &Path) -> Option<Kind> {
    let (directory, file) = if file_type.is_symlink() {
        let metadata = fs::metadata(path).ok()?;
        (metadata.is_dir(), metadata.is_file())
    } else {
        (file_type.is_dir(), file_type.is_file())
    };
    match (directory, file) {
        (true, _) => Some(Kind::Directory),
        (_, true) => Some(Kind::File),
        _ => None,
    }
}
