//! Lists in lexical order of the whole key, a page at a time.
//!
//! A directory hands out its entries in no order, so a page needs all names of
//! the directories that it touches. [`crate::order`] keeps them while the
//! directory does not change; of a larger directory no more than [`BATCH`]
//! names are held at a time, and each page reads it whole.

use crate::order::{Kind, batch};
use crate::{Directory, Error, Key, Metadata};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;

/// Most entries of one directory that are held at a time where all are too
/// many.
pub(crate) const BATCH: usize = 1024;

/// Most bytes of the values on one page of names: what a response of the
/// referrers API may have, less room for what is around them.
pub const PAGE_BYTES: usize = 4 * 1024 * 1024 - 64 * 1024;

/// How far [`Directory::names`] looks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Depth {
    /// Names are those of the direct children.
    Children,
    /// Names are relative paths of any depth. Directories whose name starts
    /// with `_` are the registry's own and not entered.
    Descendants,
}

/// Which names are asked for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NamesQuery {
    /// Below which directory; a missing one holds no names.
    pub parent: Key,
    /// What a named directory contains, as a relative path.
    pub marker: Key,
    /// Whether the markers' values are wanted too: text.
    pub values: bool,
    /// How far to look.
    pub depth: Depth,
    /// The name after which the page begins; it need not exist.
    pub after: Option<String>,
    /// At most so many.
    pub limit: usize,
}

/// A page of names.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Names {
    /// The names, in lexical order.
    pub names: Vec<String>,
    /// The values of their markers, if they were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    /// Whether there are names after the last.
    pub more: bool,
}

impl Directory {
    /// The directories that contain a marker, by name. A page ends before its
    /// values have more than [`PAGE_BYTES`], but has at least one name.
    pub fn names(&self, query: &NamesQuery) -> Result<Names, Error> {
        let mut search = Search { directory: self, query, page: Names::default(), bytes: 0 };
        search.visit(&self.path(&query.parent), "")?;
        Ok(search.page)
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
    directory: &'a Directory,
    query: &'a NamesQuery,
    page: Names,
    /// Of the page's values.
    bytes: usize,
}

impl Search<'_> {
    /// Visits the directory `path`, whose name with a closing slash is
    /// `prefix`.
    fn visit(&mut self, path: &Path, prefix: &str) -> Result<(), Error> {
        let after = self.query.after.as_deref().unwrap_or("");
        let cursor = Cursor::new(prefix, after);
        let mut items = self.directory.items(path, self.query.depth, cursor)?;
        while let Some(item) = items.next()? {
            if let Some(child) = item.strip_suffix('/') {
                self.visit(&path.join(child), &format!("{prefix}{item}"))?;
            } else {
                self.take(&path.join(&*item), format!("{prefix}{item}"))?;
            }
            if self.page.more {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Takes a directory into the page if it has the marker.
    fn take(&mut self, path: &Path, name: String) -> Result<(), Error> {
        let marker = path.join(self.query.marker.as_str());
        let value = match (self.query.values, marker.exists()) {
            (_, false) => return Ok(()),
            (false, true) => None,
            // The marker's writer keeps it small.
            (true, true) => match fs::read_to_string(marker).map_err(Error::from) {
                Ok(value) => Some(value),
                Err(Error::NotFound) => return Ok(()),
                Err(error) => return Err(error),
            },
        };
        let bytes = value.as_ref().map_or(0, String::len);
        let full = self.bytes + bytes > PAGE_BYTES && !self.page.names.is_empty();
        if full || self.page.names.len() == self.query.limit {
            self.page.more = true;
        } else {
            self.bytes += bytes;
            self.page.names.push(name);
            self.page.values.extend(value);
        }
        Ok(())
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
    let kinds = |name: &str, kind: Kind, take: &mut dyn FnMut(String)| match kind {
        Kind::Directory => take(format!("{name}/")),
        Kind::File => take(name.to_owned()),
    };
    let mut cursor = Cursor::new(prefix, after);
    loop {
        let batch = batch(path, &cursor, kinds)?;
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
pub(crate) enum Cursor {
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

    pub(crate) fn precedes(&self, item: &str) -> bool {
        match self {
            Self::After(last) => item > last.as_str(),
            Self::From(first) => item >= first.as_str(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BATCH, Depth, Names, NamesQuery};
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

    fn query(depth: Depth, after: Option<&str>, limit: usize) -> NamesQuery {
        let after = after.map(str::to_owned);
        NamesQuery { parent: key("r"), marker: key("_m"), values: false, depth, after, limit }
    }

    fn page(names: &[&str], more: bool) -> Names {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        Names { names, values: Vec::new(), more }
    }

    /// Every page size gives the same names, cut at the same places.
    fn check_names(directory: &Directory, depth: Depth, expected: &[&str]) {
        for limit in 1..=expected.len() + 1 {
            let mut found: Vec<String> = Vec::new();
            loop {
                let after = found.last().cloned();
                let page = directory.names(&query(depth, after.as_deref(), limit)).unwrap();
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
            let found = directory.names(&query(Depth::Descendants, Some(after), 1)).unwrap();
            assert_eq!(found, page(&[first], true), "after {after}");
        }
        let none = directory
            .names(&NamesQuery { parent: key("q"), ..query(Depth::Children, None, 9) })
            .unwrap();
        assert_eq!(none, Names::default());
        let zero = directory.names(&query(Depth::Children, None, 0)).unwrap();
        assert_eq!(zero, page(&[], true));
    }

    #[test]
    fn values_come_with_names_and_end_a_page() {
        let (_root, directory) = with(&["r/a/_m", "r/b/_m", "r/c/_m"]);
        let big = "y".repeat(super::PAGE_BYTES);
        directory.write(&key("r/b/_m"), big.as_bytes(), WriteMode::Overwrite).unwrap();
        let ask = |after| {
            let query = NamesQuery { values: true, ..query(Depth::Children, after, 9) };
            directory.names(&query).unwrap()
        };
        let first = ask(None);
        assert_eq!((first.names, first.more), (vec!["a".to_owned()], true));
        assert_eq!(first.values, ["x"]);
        let second = ask(Some("a"));
        assert_eq!((second.names, second.more), (vec!["b".to_owned()], true));
        assert_eq!(second.values, [big]);
        assert_eq!(ask(Some("b")).values, ["x"]);
    }

    #[test]
    fn names_that_are_kept_are_those_that_are_there() {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::open(root.path()).unwrap();
        let make = |i: usize| {
            std::fs::create_dir_all(root.path().join(format!("r/{i:05}/_m"))).unwrap();
        };
        let names = || directory.names(&query(Depth::Children, None, 9999)).unwrap().names.len();
        (0..400).for_each(make);
        // Settled, so that the names are kept; then again and again changed.
        let old = std::time::SystemTime::now() - std::time::Duration::from_mins(1);
        let settle = || std::fs::File::open(root.path().join("r")).unwrap().set_modified(old);
        settle().unwrap();
        assert_eq!((names(), names()), (400, 400));
        make(400);
        assert_eq!((names(), names()), (401, 401));
        std::fs::remove_dir_all(root.path().join("r/00007")).unwrap();
        assert_eq!((names(), names()), (400, 400));
    }

    #[test]
    fn more_names_than_one_batch_holds() {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::open(root.path()).unwrap();
        let count = BATCH * 2 + 7;
        for i in 0..count {
            std::fs::create_dir_all(root.path().join(format!("r/{i:05}/_m"))).unwrap();
        }
        let page = directory.names(&query(Depth::Descendants, None, count - 1)).unwrap();
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
