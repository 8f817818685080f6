//! The names in a directory, in order, cached while the directory does not
//! change.
//!
//! A directory's modification time shows whether names were added or removed,
//! by any process. It is only as fine as the kernel's clock ticks, so names are
//! cached only if the last change was a while before they were read: a later
//! change then has another time.

use crate::Directory;
use crate::entries::{EntryType, Position, batch, for_each, read_until_stable};
use roadstead_storage::StorageError;
use std::borrow::Cow;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// Fewer items are read faster than they are looked up.
const WORTH_CACHING: usize = 256;

/// The most items that are cached, of all directories together: about 30 MB.
///
/// Limit: names that are kept in memory; test: none, more are read each time.
const MAX_ITEMS: usize = 400_000;

/// How long a directory must have been unchanged when its names are read, for
/// them to be cached. Far more than a tick.
///
/// Limit: time for which a directory must be unchanged for its names to be kept;
/// test: `names_that_are_cached_are_those_that_are_there`.
const SETTLED: Duration = Duration::from_millis(500);

/// What the names of a directory's directories become in a list. Those that
/// begin with `_` are the registry's own, and no repositories.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Sorting {
    /// `c`: in the order of names.
    Names,
    /// `c` for the name and `c/` for what is below it: names like `c-d` come in
    /// between, since `-` sorts before `/`. Without those that begin with `_`.
    NamesAndBelow,
    /// `c/`: in the order of keys.
    Keys,
}

/// The items of directories that have not changed.
#[derive(Debug, Default)]
pub(crate) struct SortedNames {
    cached: Mutex<HashMap<(PathBuf, Sorting), Cached>>,
}

#[derive(Clone, Debug)]
struct Cached {
    modified: SystemTime,
    items: Arc<Vec<String>>,
}

/// Items of a directory, one after the other.
pub(crate) enum Items<'a> {
    All {
        items: Arc<Vec<String>>,
        next: usize,
    },
    Batches {
        path: &'a Path,
        sorting: Sorting,
        batch: std::vec::IntoIter<String>,
        position: Position,
    },
}

impl Items<'_> {
    /// The next item.
    pub(crate) fn next(&mut self) -> Result<Option<Cow<'_, str>>, StorageError> {
        match self {
            Self::All { items, next } => {
                *next += 1;
                Ok(items.get(*next - 1).map(|item| Cow::Borrowed(item.as_str())))
            }
            Self::Batches { path, sorting, batch: items, position } => {
                let mut item = items.next();
                if item.is_none() {
                    *items = batch(path, position, expand(*sorting))?.into_iter();
                    item = items.next();
                }
                if let Some(item) = &item {
                    *position = Position::After(item.clone());
                }
                Ok(item.map(Cow::Owned))
            }
        }
    }
}

impl Directory {
    /// The items of the directory `path` from `position`.
    pub(crate) fn items<'a>(
        &self,
        path: &'a Path,
        sorting: Sorting,
        position: Position,
    ) -> Result<Items<'a>, StorageError> {
        let modified = match fs::metadata(path).and_then(|metadata| metadata.modified()) {
            Ok(modified) => modified,
            Err(error) => match StorageError::from(error) {
                StorageError::NotFound => {
                    return Ok(Items::All { items: Arc::default(), next: 0 });
                }
                error => return Err(error),
            },
        };
        let place = (path.to_owned(), sorting);
        let cached =
            self.sorted.lock().get(&place).filter(|cached| cached.modified == modified).cloned();
        let items = if let Some(cached) = cached {
            cached.items
        } else if let Some(items) = read(path, sorting)? {
            let items = Arc::new(items);
            self.sorted.cache(place, modified, &items);
            items
        } else {
            let batch = Vec::new().into_iter();
            return Ok(Items::Batches { path, sorting, batch, position });
        };
        let next = items.partition_point(|item| !position.precedes(item));
        Ok(Items::All { items, next })
    }
}

impl SortedNames {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(PathBuf, Sorting), Cached>> {
        // A thread that panicked left the entries consistent.
        self.cached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cache(&self, place: (PathBuf, Sorting), modified: SystemTime, items: &Arc<Vec<String>>) {
        let age = SystemTime::now().duration_since(modified).unwrap_or_default();
        if items.len() < WORTH_CACHING || age < SETTLED {
            return;
        }
        let mut cached = self.lock();
        cached.remove(&place);
        let total: usize = cached.values().map(|cached| cached.items.len()).sum();
        if total + items.len() > MAX_ITEMS {
            // Rare enough that all may be read again.
            cached.clear();
        }
        cached.insert(place, Cached { modified, items: Arc::clone(items) });
    }
}

/// All items of a directory, in order; `None` if they are too many to hold.
fn read(path: &Path, sorting: Sorting) -> Result<Option<Vec<String>>, StorageError> {
    let mut expand = expand(sorting);
    let mut items = read_until_stable(|| {
        let mut items = Vec::new();
        for_each(path, |name, entry| {
            expand(name, entry, &mut |item| items.push(item));
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

/// What an entry stands for in a list: files for nothing.
fn expand(sorting: Sorting) -> impl FnMut(&str, EntryType, &mut dyn FnMut(String)) {
    move |name, entry, take| {
        if entry != EntryType::Directory {
            return;
        }
        match sorting {
            Sorting::Names => take(name.to_owned()),
            Sorting::NamesAndBelow if name.starts_with('_') => {}
            Sorting::NamesAndBelow => {
                take(name.to_owned());
                take(format!("{name}/"));
            }
            Sorting::Keys => take(format!("{name}/")),
        }
    }
}
