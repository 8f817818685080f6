//! The names in a directory, in order, cached while the directory does not
//! change.
//!
//! A directory's modification time shows whether names were added or removed,
//! by any process. File systems keep it in whole seconds or even in twos, so
//! names are cached only if the last change was longer ago when they began to be
//! read: a later change then has another time.

use crate::entries::{EntryType, Position, batch, for_each, read_until_stable};
use crate::{Directory, files};
use roadstead_storage::StorageError;
use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// Fewer items are read faster than they are looked up.
const WORTH_CACHING: usize = 256;

/// The most items that are cached, of all directories together: about 30 MB.
///
/// Limit: names kept in memory; test: `what_is_cached_is_bounded`.
const MAX_ITEMS: usize = 400_000;

/// How long a directory must have been unchanged when its names begin to be
/// read, for them to be cached: the coarsest time of a file system (FAT's).
///
/// Limit: time for which a directory must be unchanged for its names to be kept; test: `no_change_hides_behind_a_coarse_clock`.
const SETTLED: Duration = Duration::from_secs(2);

/// What the names in a directory become in a list: of its directories, unless it says
/// files. Those that begin with `_` are the registry's own, and no repositories.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Sorting {
    /// `c`: in the order of names.
    Names,
    /// `c` for the name and `c/` for what is below it: names like `c-d` come in
    /// between, since `-` sorts before `/`. Without those that begin with `_`.
    NamesAndBelow,
    /// `c/`: in the order of keys.
    Keys,
    /// `c`: files, in the order of names.
    Files,
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
        root: &'a Path,
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
            Self::Batches { root, path, sorting, batch: items, position } => {
                let mut item = items.next();
                if item.is_none() {
                    *items = batch(root, path, position, expand(*sorting))?.into_iter();
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
        &'a self,
        path: &'a Path,
        sorting: Sorting,
        position: Position,
    ) -> Result<Items<'a>, StorageError> {
        let begun = Instant::now();
        let modified = match files::metadata(path).and_then(|metadata| metadata.modified()) {
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
        } else if let Some(items) = read(self.root(), path, sorting)? {
            let items = Arc::new(items);
            // The clock is asked afterwards, which takes a file, and only for
            // many items; how long reading took is known.
            if items.len() >= WORTH_CACHING
                && let Ok(now) = self.clock()
                && is_settled(modified, now, begun.elapsed())
            {
                self.sorted.cache(place, modified, &items);
            }
            items
        } else {
            let batch = Vec::new().into_iter();
            return Ok(Items::Batches { root: self.root(), path, sorting, batch, position });
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

    /// Forgets all items.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    fn cache(&self, place: (PathBuf, Sorting), modified: SystemTime, items: &Arc<Vec<String>>) {
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

/// Whether every change of a directory after the names began to be read, which
/// was `elapsed` before `now`, gives it another time than `modified`. Both times
/// are the file system's, whose clock may differ from this process's.
fn is_settled(modified: SystemTime, now: SystemTime, elapsed: Duration) -> bool {
    let begun = now.checked_sub(elapsed);
    begun.and_then(|begun| begun.duration_since(modified).ok()).is_some_and(|age| age >= SETTLED)
}

/// All items of a directory, in order; `None` if they are too many to hold.
fn read(root: &Path, path: &Path, sorting: Sorting) -> Result<Option<Vec<String>>, StorageError> {
    let mut expand = expand(sorting);
    let mut items = read_until_stable(|| {
        let mut items = Vec::new();
        for_each(root, path, |name, entry| {
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

/// What an entry stands for in a list.
fn expand(sorting: Sorting) -> impl FnMut(&str, EntryType, &mut dyn FnMut(String)) {
    move |name, entry, take| match (sorting, entry) {
        (Sorting::Names, EntryType::Directory) | (Sorting::Files, EntryType::File) => {
            take(name.to_owned());
        }
        (Sorting::NamesAndBelow, EntryType::Directory) if !name.starts_with('_') => {
            take(name.to_owned());
            take(format!("{name}/"));
        }
        (Sorting::Keys, EntryType::Directory) => take(format!("{name}/")),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_ITEMS, SortedNames, Sorting, is_settled};
    use crate::Directory;
    use crate::entries::Position;
    use std::fs::{self, File};
    use std::path::{Path, PathBuf};
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};

    /// What a file system whose times are multiples of `grain` writes down.
    fn stamp(time: Duration, grain: Duration) -> SystemTime {
        let grains = time.as_millis() / grain.as_millis();
        let whole = Duration::from_millis(u64::try_from(grains * grain.as_millis()).unwrap());
        SystemTime::UNIX_EPOCH + whole
    }

    /// A directory changes, its names are read, a file tells the time, and the
    /// directory changes again while it is read or later: if the names are
    /// trusted, the second change shows.
    #[test]
    fn no_change_hides_behind_a_coarse_clock() {
        let milliseconds = |n: u64| Duration::from_millis(n);
        let (mut trusted, mut cases) = (0, 0);
        for grain in [1, 10, 1000, 2000].map(milliseconds) {
            for changed in (0..2000).step_by(50).map(|n| milliseconds(10_000 + n)) {
                for wait in (0..5000).step_by(100).map(milliseconds) {
                    for elapsed in [0, 1, 700, 2500].map(milliseconds) {
                        let begun = changed + wait;
                        let now = stamp(begun + elapsed, grain);
                        cases += 1;
                        if is_settled(stamp(changed, grain), now, elapsed) {
                            trusted += 1;
                            // Later changes have no earlier time.
                            assert!(stamp(begun, grain) > stamp(changed, grain));
                        }
                    }
                }
            }
        }
        assert!(trusted > cases / 4, "{trusted} of {cases}");
    }

    fn names(directory: &Directory, path: &Path) -> usize {
        let position = Position::After(String::new());
        let mut items = directory.items(path, Sorting::Names, position).unwrap();
        let mut count = 0;
        while items.next().unwrap().is_some() {
            count += 1;
        }
        count
    }

    /// Several processes over a directory whose time is kept in whole seconds.
    #[test]
    fn what_another_process_adds_within_a_second_is_listed() {
        let root = tempfile::tempdir().unwrap();
        let processes = [(); 2].map(|()| Directory::open(root.path()).unwrap());
        let path = root.path().join("names");
        for i in 0..300 {
            fs::create_dir_all(path.join(format!("{i:03}"))).unwrap();
        }
        let coarse = SystemTime::now() - Duration::from_millis(1200);
        let set = || File::open(&path).unwrap().set_modified(coarse).unwrap();
        for count in 300..310 {
            set();
            for process in &processes {
                let listed = names(process, &path);
                // On a machine that was busy for long, the time is settled.
                let busy = coarse.elapsed().unwrap() > Duration::from_secs(2);
                assert!(listed == count || busy, "{listed} of {count}");
            }
            fs::create_dir(path.join(format!("{count}"))).unwrap();
        }
        // What is settled is cached, and what is changed then is seen.
        let old = SystemTime::now() - Duration::from_mins(1);
        File::open(&path).unwrap().set_modified(old).unwrap();
        for process in &processes {
            assert_eq!(names(process, &path), 310);
            assert_eq!(process.sorted.lock().len(), 1);
        }
        fs::create_dir(path.join("more")).unwrap();
        assert!(processes.iter().all(|process| names(process, &path) == 311));
    }

    #[test]
    fn what_is_cached_is_bounded() {
        let sorted = SortedNames::default();
        let items = Arc::new(vec![String::new(); MAX_ITEMS / 2]);
        for name in ["a", "b", "c"] {
            sorted.cache((PathBuf::from(name), Sorting::Names), SystemTime::now(), &items);
            assert!(sorted.lock().len() <= 2, "{name}");
        }
        assert_eq!(sorted.lock().len(), 1);
    }
}
