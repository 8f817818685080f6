//! All objects of one kind, in the order of keys: see `Storage::enumerate`.

use crate::entries::{EntryType, Position, for_each, read_until_stable};
use crate::sorted_names::Sorting;
use crate::{Directory, files};
use roadstead_bridge::storage::LIST_LIMIT;
use roadstead_storage::{Collection, Cursor, Entry, Key, Listing, StorageError};
use std::path::Path;
use std::time::SystemTime;

/// One call visits at most so many paths for each entry that is asked for, and
/// [`EXTRA_VISITS`] more: a damaged or foreign directory does not hold it up.
///
/// Limit: paths that are visited for each entry that is asked for; test:
/// `a_directory_keeps_the_contract`.
const VISITS_PER_ENTRY: usize = 8;
/// Paths that a call visits besides.
///
/// Limit: paths that are visited besides; test: `a_directory_keeps_the_contract`.
const EXTRA_VISITS: usize = 1000;

/// How many levels of directories below an upload session are read.
///
/// Limit: levels of directories below an upload session that are read; test:
/// `a_directory_keeps_the_contract`.
pub(crate) const SESSION_DEPTH: usize = 4;

/// What is expected at one level below a collection's directory.
#[derive(Clone, Copy)]
enum Level {
    /// Any directory.
    Any,
    /// The directory of this name.
    Named(&'static str),
    /// The objects of these names, in their order: the end.
    Objects(&'static [&'static str]),
    /// Any object: the end.
    AnyObject,
    /// A directory that is the entry itself: the end.
    Whole,
}

impl Level {
    fn of(collection: &Collection) -> &'static [Self] {
        match collection {
            Collection::Blobs => &[
                Self::Any,
                Self::Any,
                Self::Any,
                Self::Objects(&["_condemned", "_needed", "data"]),
            ],
            Collection::Records
            | Collection::Quota(_)
            | Collection::Events
            | Collection::Pulled(_) => &[Self::AnyObject],
            Collection::MovedTags(_) => &[Self::Any, Self::Objects(&["link"])],
            Collection::References(_) => &[Self::Any, Self::Any, Self::Objects(&["digests"])],
            Collection::Layers(_)
            | Collection::Moved(_)
            | Collection::MovedRevisions(_)
            | Collection::Revisions(_)
            | Collection::TagHistory(..) => &[Self::Any, Self::Any, Self::Objects(&["link"])],
            Collection::Tags(_) => &[Self::Any, Self::Named("current"), Self::Objects(&["link"])],
            Collection::TagHistories(_) => {
                &[Self::Any, Self::Named("index"), Self::Any, Self::Any, Self::Objects(&["link"])]
            }
            Collection::Referrers(_) => {
                &[Self::Any, Self::Any, Self::Any, Self::Objects(&["descriptor"])]
            }
            Collection::Deletions(_) => &[Self::Any, Self::Any, Self::Objects(&["links", "tags"])],
            Collection::Sessions(_) => &[Self::Any, Self::Whole],
        }
    }
}

impl Directory {
    /// A part of a collection.
    pub(crate) fn enumerate(
        &self,
        collection: &Collection,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Listing, StorageError> {
        let limit = limit.min(LIST_LIMIT);
        let prefix = collection.prefix();
        let mut walk = Walk {
            directory: self,
            prefix: &prefix,
            after: after.map_or("", |cursor| cursor.0.as_str()),
            limit,
            visits: limit * VISITS_PER_ENTRY + EXTRA_VISITS,
            listing: Listing::default(),
            last: after.map_or_else(String::new, |cursor| cursor.0.clone()),
        };
        walk.visit(Level::of(collection), &self.root().join(&prefix), "")?;
        Ok(walk.listing)
    }
}

struct Walk<'a> {
    directory: &'a Directory,
    prefix: &'a str,
    after: &'a str,
    limit: usize,
    /// How many more paths may be visited.
    visits: usize,
    listing: Listing,
    /// The cursor after the last path that was visited.
    last: String,
}

impl Walk<'_> {
    /// Visits the directory `path`. `relative` is its path below the collection's
    /// directory, empty or with a closing slash.
    fn visit(&mut self, levels: &[Level], path: &Path, relative: &str) -> Result<(), StorageError> {
        let Some((level, below)) = levels.split_first() else { return Ok(()) };
        match level {
            Level::Any => {
                let position = Position::new(relative, self.after);
                let mut items = self.directory.items(path, Sorting::Keys, position)?;
                while let Some(item) = items.next()? {
                    self.visit(below, &path.join(&*item), &format!("{relative}{item}"))?;
                    if self.listing.next.is_some() {
                        return Ok(());
                    }
                }
                Ok(())
            }
            Level::Named(name) => {
                self.visit(below, &path.join(name), &format!("{relative}{name}/"))
            }
            Level::Objects(names) => {
                for name in *names {
                    self.object(&path.join(name), &format!("{relative}{name}"))?;
                    if self.listing.next.is_some() {
                        break;
                    }
                }
                Ok(())
            }
            Level::AnyObject => {
                let position = Position::new(relative, self.after);
                let mut items = self.directory.items(path, Sorting::Files, position)?;
                while let Some(item) = items.next()? {
                    self.object(&path.join(&*item), &format!("{relative}{item}"))?;
                    if self.listing.next.is_some() {
                        break;
                    }
                }
                Ok(())
            }
            Level::Whole => {
                let found = total(self.directory.root(), path, SESSION_DEPTH)?;
                let name = relative.trim_end_matches('/');
                // `0` follows the slash, so the cursor is after all that is in
                // the session.
                self.take(name, &format!("{name}0"), found);
                Ok(())
            }
        }
    }

    /// Adds the file at a path, if it is one.
    fn object(&mut self, path: &Path, relative: &str) -> Result<(), StorageError> {
        if relative <= self.after {
            return Ok(());
        }
        let found = match files::metadata(path).map_err(StorageError::from) {
            Ok(metadata) if metadata.is_file() => Some((metadata.len(), metadata.modified()?)),
            Ok(_) | Err(StorageError::NotFound) => None,
            Err(error) => return Err(error),
        };
        self.take(relative, relative, found);
        Ok(())
    }

    /// Adds the object at a path to the listing, if there is one; `passed` is the
    /// cursor after it.
    fn take(&mut self, relative: &str, passed: &str, found: Option<(u64, SystemTime)>) {
        let entry = found.and_then(|(size, modified)| {
            let key = Key::parse(&format!("{}{relative}", self.prefix)).ok()?;
            Some(Entry { key, size, modified })
        });
        let full = self.listing.entries.len() >= self.limit && entry.is_some();
        if full || self.visits == 0 {
            self.listing.next = Some(Cursor(self.last.clone()));
            return;
        }
        self.visits -= 1;
        passed.clone_into(&mut self.last);
        self.listing.entries.extend(entry);
    }
}

/// The size of all files below a directory, and the time of the last write.
pub(crate) fn total(
    root: &Path,
    path: &Path,
    depth: usize,
) -> Result<Option<(u64, SystemTime)>, StorageError> {
    let names = read_until_stable(|| {
        let mut names = Vec::new();
        for_each(root, path, |name, entry| {
            names.push((name.to_owned(), entry));
            names.len() < LIST_LIMIT
        })?;
        Ok(names)
    })?;
    let mut sum: Option<(u64, SystemTime)> = None;
    for (name, entry) in names {
        let path = path.join(name);
        let found = match entry {
            EntryType::Directory if depth == 0 => None,
            EntryType::Directory => total(root, &path, depth - 1)?,
            EntryType::File => match files::metadata(&path).map_err(StorageError::from) {
                Ok(metadata) => Some((metadata.len(), metadata.modified()?)),
                Err(StorageError::NotFound) => None,
                Err(error) => return Err(error),
            },
        };
        if let Some((size, modified)) = found {
            let (sum_size, newest) = sum.unwrap_or((0, modified));
            sum = Some((sum_size + size, newest.max(modified)));
        }
    }
    Ok(sum)
}
