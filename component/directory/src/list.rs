//! Lists in lexical order of the whole key, a page at a time.
//!
//! A directory hands out its entries in no order, so each page reads the
//! directories it touches whole, but keeps no more than [`BATCH`] names of
//! each in memory.

use crate::{Directory, Error, Key, Metadata};
use serde::{Deserialize, Serialize};
use std::collections::BinaryHeap;
use std::fs;
use std::path::Path;

/// Most entries of one directory held at a time.
const BATCH: usize = 1024;

/// How far [`Directory::names`] looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Depth {
    /// Names are those of the direct children.
    Children,
    /// Names are relative paths of any depth. Directories whose name starts
    /// with `_` are the registry's own and not entered.
    Descendants,
}

/// A page of names.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Names {
    /// The names, in lexical order.
    pub names: Vec<String>,
    /// Whether there are names after the last.
    pub more: bool,
}

impl Directory {
    /// The directories below `parent` that contain an entry `marker` (a
    /// relative path), by name, after `after`, at most `limit`.
    ///
    /// A missing `parent` holds no names.
    pub fn names(
        &self,
        parent: &Key,
        marker: &Key,
        depth: Depth,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Names, Error> {
        let mut page = Names::default();
        let mut search =
            Search { marker, depth, after: after.unwrap_or(""), limit, page: &mut page };
        search.visit(&self.path(parent), "")?;
        Ok(page)
    }

    /// The objects below `prefix` (whole segments; `None` for all), in order,
    /// after the key `after`, at most `limit`.
    pub fn list(
        &self,
        prefix: Option<&Key>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(Key, Metadata)>, Error> {
        let mut found = Vec::new();
        let (path, key) = match prefix {
            Some(prefix) => (self.path(prefix), format!("{prefix}/")),
            None => (self.root.clone(), String::new()),
        };
        let after = after.unwrap_or("");
        if after < key.as_str() || after.starts_with(&key) {
            collect(&path, &key, after, limit, &mut found)?;
        }
        Ok(found)
    }
}

struct Search<'a> {
    marker: &'a Key,
    depth: Depth,
    after: &'a str,
    limit: usize,
    page: &'a mut Names,
}

impl Search<'_> {
    /// Visits the directory `path`, whose name with a closing slash is
    /// `prefix`.
    fn visit(&mut self, path: &Path, prefix: &str) -> Result<(), Error> {
        let deep = self.depth == Depth::Descendants;
        let mut after = Cursor::new(prefix, self.after);
        loop {
            // A directory `c` is two items, the name `c` and its inside `c/`:
            // between them come names like `c-d`, since '-' sorts before '/'.
            let batch = batch(path, &after, |name, kind, take| {
                if kind == Kind::Directory && !(deep && name.starts_with('_')) {
                    take(name.to_owned());
                    if deep {
                        take(format!("{name}/"));
                    }
                }
            })?;
            for item in &batch {
                if let Some(child) = item.strip_suffix('/') {
                    self.visit(&path.join(child), &format!("{prefix}{item}"))?;
                } else if path.join(item).join(self.marker.as_str()).exists() {
                    if self.page.names.len() == self.limit {
                        self.page.more = true;
                    } else {
                        self.page.names.push(format!("{prefix}{item}"));
                    }
                }
                if self.page.more {
                    return Ok(());
                }
            }
            match batch.into_iter().next_back() {
                Some(last) => after = Cursor::After(last),
                None => return Ok(()),
            }
        }
    }
}

/// Collects the files below `path`, whose keys start with `prefix`.
fn collect(
    path: &Path,
    prefix: &str,
    after: &str,
    limit: usize,
    found: &mut Vec<(Key, Metadata)>,
) -> Result<(), Error> {
    let mut cursor = Cursor::new(prefix, after);
    loop {
        let batch = batch(path, &cursor, |name, kind, take| match kind {
            Kind::Directory => take(format!("{name}/")),
            Kind::File => take(name.to_owned()),
        })?;
        for item in &batch {
            if found.len() >= limit {
                return Ok(());
            }
            if let Some(child) = item.strip_suffix('/') {
                collect(&path.join(child), &format!("{prefix}{item}"), after, limit, found)?;
            } else if let Ok(key) = Key::parse(&format!("{prefix}{item}")) {
                // Gone since the directory was read: not there.
                if let Ok(metadata) = fs::metadata(path.join(item)) {
                    found.push((key, Metadata::of(&metadata)?));
                }
            }
        }
        match batch.into_iter().next_back() {
            Some(last) => cursor = Cursor::After(last),
            None => return Ok(()),
        }
    }
}

/// A place among the items of one directory.
enum Cursor {
    After(String),
    From(String),
}

impl Cursor {
    /// The place in the directory called `prefix` where what follows the name
    /// `after` begins. A directory is visited only if something in it can.
    fn new(prefix: &str, after: &str) -> Self {
        match after.strip_prefix(prefix) {
            // `after` lies inside a child, whose inside may hold more.
            Some(rest) => match rest.split_once('/') {
                Some((child, _)) => Self::From(format!("{child}/")),
                None => Self::After(rest.to_owned()),
            },
            None => Self::After(String::new()),
        }
    }

    fn precedes(&self, item: &str) -> bool {
        match self {
            Self::After(last) => item > last.as_str(),
            Self::From(first) => item >= first.as_str(),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Directory,
    File,
}

/// The first [`BATCH`] items of a directory from `cursor`, in order. `items`
/// turns an entry into its items. A missing directory has none.
fn batch(
    path: &Path,
    cursor: &Cursor,
    mut items: impl FnMut(&str, Kind, &mut dyn FnMut(String)),
) -> Result<Vec<String>, Error> {
    let mut smallest = BinaryHeap::new();
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) => {
            return match Error::from(error) {
                Error::NotFound => Ok(Vec::new()),
                error => Err(error),
            };
        }
    };
    for entry in entries {
        let entry = entry?;
        // A name that is not UTF-8 is no key of ours.
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name == crate::PRIVATE {
            continue;
        }
        let Some(kind) = kind(entry.file_type()?, &entry.path()) else { continue };
        items(&name, kind, &mut |item| {
            if cursor.precedes(&item) {
                smallest.push(item);
                if smallest.len() > BATCH {
                    smallest.pop();
                }
            }
        });
    }
    Ok(smallest.into_sorted_vec())
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

#[cfg(test)]
mod tests {
    use super::{BATCH, Depth, Names};
    use crate::{Directory, Key, WriteMode};

    fn key(key: &str) -> Key {
        Key::parse(key).unwrap()
    }

    fn with(keys: &[&str]) -> (tempfile::TempDir, Directory) {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::open(root.path()).unwrap();
        for k in keys {
            directory.write(&key(k), b"x", WriteMode::Overwrite).unwrap();
        }
        (root, directory)
    }

    /// Every page size gives the same names, cut at the same places.
    fn check_names(directory: &Directory, depth: Depth, expected: &[&str]) {
        for limit in 1..=expected.len() + 1 {
            let mut found: Vec<String> = Vec::new();
            loop {
                let after = found.last().cloned();
                let page =
                    directory.names(&key("r"), &key("_m"), depth, after.as_deref(), limit).unwrap();
                assert!(page.names.len() <= limit);
                found.extend(page.names);
                if !page.more {
                    break;
                }
            }
            assert_eq!(found, expected, "limit {limit}");
        }
    }

    #[test]
    fn names_come_in_order_of_the_whole_name() {
        let (_root, directory) = with(&[
            "r/a/_m/x",
            "r/a/b/_m/x",
            "r/a/b/c/d/_m/x",
            "r/a-b/_m/x",
            "r/a.b/c/_m/x",
            "r/a0/_m/x",
            "r/z/nothing",
            "r/_own/_m/x",
            "r/file",
        ]);
        check_names(&directory, Depth::Descendants, &["a", "a-b", "a.b/c", "a/b", "a/b/c/d", "a0"]);
        check_names(&directory, Depth::Children, &["_own", "a", "a-b", "a0"]);
        // A name that is not there is as good a place as one that is.
        for (after, first) in
            [("a-", "a-b"), ("a/a", "a/b"), ("a/b/c", "a/b/c/d"), ("a.b/d", "a/b")]
        {
            let page =
                directory.names(&key("r"), &key("_m"), Depth::Descendants, Some(after), 1).unwrap();
            assert_eq!(page, Names { names: vec![first.to_owned()], more: true }, "after {after}");
        }
        let none = directory.names(&key("q"), &key("_m"), Depth::Children, None, 9).unwrap();
        assert_eq!(none, Names::default());
        let zero = directory.names(&key("r"), &key("_m"), Depth::Children, None, 0).unwrap();
        assert_eq!(zero, Names { names: vec![], more: true });
    }

    #[test]
    fn more_names_than_one_batch_holds() {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::open(root.path()).unwrap();
        let count = BATCH * 2 + 7;
        for i in 0..count {
            std::fs::create_dir_all(root.path().join(format!("r/{i:05}/_m"))).unwrap();
        }
        let page =
            directory.names(&key("r"), &key("_m"), Depth::Descendants, None, count - 1).unwrap();
        assert!(page.more);
        assert_eq!(page.names.len(), count - 1);
        assert!(page.names.is_sorted());
    }

    #[test]
    fn lists_objects_in_order_and_by_pages() {
        let keys = ["a/b", "a/b-c/d", "a/b.c", "a/c/d/e", "b"];
        let (_root, directory) = with(&keys);
        let list = |prefix: Option<&str>, after: Option<&str>, limit| -> Vec<String> {
            let prefix = prefix.map(key);
            let found = directory.list(prefix.as_ref(), after, limit).unwrap();
            found.into_iter().map(|(key, _)| key.to_string()).collect()
        };
        let mut sorted = keys.to_vec();
        sorted.sort_unstable();
        assert_eq!(list(None, None, 99), sorted);
        for (i, after) in sorted.iter().enumerate() {
            assert_eq!(list(None, Some(after), 99), sorted[i + 1..], "after {after}");
        }
        assert_eq!(list(None, None, 2), sorted[..2]);
        assert_eq!(list(Some("a/c"), None, 99), ["a/c/d/e"]);
        assert_eq!(list(Some("a"), Some("b"), 99), [] as [&str; 0]);
        assert_eq!(list(Some("a/c"), Some("a/b"), 99), ["a/c/d/e"]);
        // A prefix is whole segments, and an object is not below itself.
        assert_eq!(list(Some("a/b"), None, 99), [] as [&str; 0]);
    }
}
