//! Lists of names for clients: repositories, tags, referrers.
//!
//! A file system lists a directory's entries in no order, so a page needs all
//! names of the directories that it reads: see [`crate::sorted_names`].

use crate::entries::Position;
use crate::sorted_names::Sorting;
use crate::{Directory, files};
use roadstead_bridge::storage::LIST_LIMIT;
use roadstead_oci::RepositoryName;
use roadstead_storage::{NameList, NamesQuery, PAGE_BYTES, Page, StorageError};
use std::path::Path;

impl Directory {
    /// A page of names; see `Storage::names`.
    pub(crate) fn names(&self, query: &NamesQuery) -> Result<Page, StorageError> {
        let limit = query.limit.min(LIST_LIMIT);
        let mut search = Search { directory: self, query, limit, page: Page::default(), bytes: 0 };
        search.visit(&self.root().join(query.list.directory()), "")?;
        Ok(search.page)
    }
}

struct Search<'a> {
    directory: &'a Directory,
    query: &'a NamesQuery,
    limit: usize,
    page: Page,
    /// The total length of the page's values.
    bytes: usize,
}

impl Search<'_> {
    /// Visits the directory `path`; `prefix` is its name with a closing slash, or
    /// empty.
    fn visit(&mut self, path: &Path, prefix: &str) -> Result<(), StorageError> {
        // Nothing below has a name that is short enough.
        if prefix.len() >= RepositoryName::MAX_LENGTH {
            return Ok(());
        }
        let position = Position::new(prefix, self.query.after.as_deref().unwrap_or(""));
        let sorting = match self.query.list {
            NameList::Repositories(_) => Sorting::NamesAndBelow,
            NameList::Tags(_) | NameList::Referrers { .. } => Sorting::Names,
        };
        let mut items = self.directory.items(path, sorting, position)?;
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

    /// Adds a directory to the page if it belongs to the list.
    fn take(&mut self, path: &Path, name: String) -> Result<(), StorageError> {
        let value = match (&self.query.list, self.query.list.value_path()) {
            (NameList::Repositories(holding), _) => {
                let is_there = |child| files::metadata(&path.join(child)).is_ok_and(|m| m.is_dir());
                if !holding.shown_by().iter().any(is_there) {
                    return Ok(());
                }
                None
            }
            (_, None) => None,
            (_, Some(file)) => match self.value(&path.join(file)) {
                Ok(value) => value,
                Err(StorageError::NotFound) => return Ok(()),
                Err(error) => return Err(error),
            },
        };
        // One that no page has room for.
        let value = value.map(|value| if value.len() > PAGE_BYTES { String::new() } else { value });
        let bytes = value.as_ref().map_or(0, String::len);
        let full = self.bytes + bytes > PAGE_BYTES && !self.page.names.is_empty();
        if full || self.page.names.len() == self.limit {
            self.page.more = true;
        } else {
            self.bytes += bytes;
            self.page.names.push(name);
            self.page.values.extend(value);
        }
        Ok(())
    }

    /// The value of a name, if the query asks for values. Keys limit its length.
    /// An empty file, which a loss of power can leave, is no value.
    fn value(&self, file: &Path) -> Result<Option<String>, StorageError> {
        if self.query.values {
            // One that is damaged concerns this name alone.
            let value = files::read(file)?;
            let value = String::from_utf8_lossy(&value).into_owned();
            if value.is_empty() { Err(StorageError::NotFound) } else { Ok(Some(value)) }
        } else {
            let metadata = files::metadata(file)?;
            let holds = metadata.is_file() && metadata.len() > 0;
            if holds { Ok(None) } else { Err(StorageError::NotFound) }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::Directory;
    use crate::entries::BATCH;
    use roadstead_oci::{Algorithm, Digest, RepositoryName};
    use roadstead_storage::{Holding, NameList, NamesQuery, PAGE_BYTES, Page};
    use std::fs;

    fn fixture() -> (tempfile::TempDir, Directory) {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::open(root.path()).unwrap();
        (root, directory)
    }

    /// Makes directories and files below a list's directory.
    fn make(directory: &Directory, list: &NameList, files: &[&str]) {
        for file in files {
            let path = directory.root().join(list.directory()).join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
    }

    fn query(list: &NameList, after: Option<&str>, limit: usize) -> NamesQuery {
        let after = after.map(str::to_owned);
        NamesQuery { list: list.clone(), values: false, after, limit }
    }

    fn repository() -> RepositoryName {
        RepositoryName::parse("r").unwrap()
    }

    /// Every page size gives the same names, cut at the same places.
    fn check_names(directory: &Directory, list: &NameList, expected: &[&str]) {
        for limit in 1..=expected.len() + 1 {
            let mut found: Vec<String> = Vec::new();
            loop {
                let after = found.last().cloned();
                let page = directory.names(&query(list, after.as_deref(), limit)).unwrap();
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
    fn repositories_come_in_order_of_the_whole_name() {
        let (_root, directory) = fixture();
        let catalog = NameList::Repositories(Holding::Manifests);
        let files = [
            "a/_manifests/x",
            "a/b/_manifests/x",
            "a/b/c/d/_manifests/x",
            "a-b/_manifests/x",
            "a.b/c/_manifests/x",
            "a0/_manifests/x",
            "layers/_layers/x",
            "z/nothing",
            "_own/_manifests/x",
            "file",
        ];
        make(&directory, &catalog, &files);
        let names = ["a", "a-b", "a.b/c", "a/b", "a/b/c/d", "a0"];
        check_names(&directory, &catalog, &names);
        let all = NameList::Repositories(Holding::Anything);
        check_names(&directory, &all, &[&names[..], &["layers"]].concat());
        // A name that is not there is as good a place as one that is.
        for (after, first) in
            [("a-", "a-b"), ("a/a", "a/b"), ("a/b/c", "a/b/c/d"), ("a.b/d", "a/b")]
        {
            let found = directory.names(&query(&catalog, Some(after), 1)).unwrap();
            assert_eq!((found.names, found.more), (vec![first.to_owned()], true), "{after}");
        }
        let zero = directory.names(&query(&catalog, None, 0)).unwrap();
        assert_eq!(zero, Page { more: true, ..Page::default() });
        let none = directory.names(&query(&NameList::Tags(repository()), None, 9)).unwrap();
        assert_eq!(none, Page::default());
    }

    #[test]
    fn tags_come_in_their_order() {
        let (_root, directory) = fixture();
        let tags = NameList::Tags(repository());
        let link = |tag: &str| format!("{tag}/current/link");
        let files = ["a", "a-b", "a.b", "a0", "_own", "_uploads"].map(link);
        make(&directory, &tags, &files.each_ref().map(String::as_str));
        make(&directory, &tags, &["gone/index/sha256/0/link", "empty/current/x"]);
        check_names(&directory, &tags, &["_own", "_uploads", "a", "a-b", "a.b", "a0"]);
    }

    #[test]
    fn values_come_with_names_and_end_a_page() {
        let (_root, directory) = fixture();
        let subject = Digest::from_bytes(Algorithm::Sha256, &[7; 32]).unwrap();
        let referrers = NameList::Referrers { repository: repository(), subject };
        make(&directory, &referrers, &["a/descriptor", "b/descriptor", "c/descriptor"]);
        let big = "y".repeat(PAGE_BYTES);
        let file = directory.root().join(referrers.directory()).join("b/descriptor");
        fs::write(&file, &big).unwrap();
        let ask = |after| {
            let query = NamesQuery { values: true, ..query(&referrers, after, 9) };
            directory.names(&query).unwrap()
        };
        let first = ask(None);
        assert_eq!((first.names, first.more), (vec!["a".to_owned()], true));
        assert_eq!(first.values, ["a/descriptor"]);
        let second = ask(Some("a"));
        assert_eq!((second.names, second.more), (vec!["b".to_owned()], true));
        assert_eq!(second.values, [big.as_str()]);
        assert_eq!(ask(Some("b")).values, ["c/descriptor"]);
        fs::write(&file, format!("{big}y")).unwrap();
        assert_eq!(ask(None).values, ["a/descriptor", "", "c/descriptor"]);
    }

    /// Links to the directory that they are in, above it, to each other, and to
    /// another disk.
    #[cfg(unix)]
    #[test]
    fn links_that_lead_back_are_not_followed() {
        use std::os::unix::fs::symlink;
        let (root, directory) = fixture();
        let catalog = NameList::Repositories(Holding::Manifests);
        make(&directory, &catalog, &["a/_manifests/x", "b/c/_manifests/x"]);
        let repositories = root.path().join(catalog.directory());
        let other_disk = tempfile::tempdir().unwrap();
        fs::create_dir_all(other_disk.path().join("d/_manifests")).unwrap();
        symlink("..", repositories.join("a/up")).unwrap();
        symlink(".", repositories.join("a/self")).unwrap();
        symlink(root.path(), repositories.join("a/root")).unwrap();
        symlink("/", repositories.join("a/top")).unwrap();
        symlink("../b", repositories.join("a/b")).unwrap();
        symlink("../a", repositories.join("b/a")).unwrap();
        symlink("missing", repositories.join("dangling")).unwrap();
        symlink(other_disk.path(), repositories.join("disk")).unwrap();
        symlink(other_disk.path(), other_disk.path().join("d/up")).unwrap();
        symlink(&repositories, other_disk.path().join("back")).unwrap();
        check_names(&directory, &catalog, &["a", "a/b/c", "b/a", "b/c", "disk/d"]);
    }

    #[test]
    fn names_whose_file_is_torn_are_not_listed() {
        let (_root, directory) = fixture();
        let tags = NameList::Tags(repository());
        make(&directory, &tags, &["a/current/link", "b/current/link"]);
        fs::write(directory.root().join(tags.directory()).join("a/current/link"), "").unwrap();
        for values in [false, true] {
            let query = NamesQuery { values, ..query(&tags, None, 9) };
            assert_eq!(directory.names(&query).unwrap().names, ["b"]);
        }
    }

    #[test]
    fn names_that_are_cached_are_those_that_are_there() {
        let (_root, directory) = fixture();
        let tags = NameList::Tags(repository());
        let make = |i: usize| make(&directory, &tags, &[&format!("{i:05}/current/link")]);
        let names = || directory.names(&query(&tags, None, 9999)).unwrap().names.len();
        (0..400).for_each(make);
        let parent = directory.root().join(tags.directory());
        // Settled, so that the names are cached; then changed again and again.
        let old = std::time::SystemTime::now() - std::time::Duration::from_mins(1);
        fs::File::open(&parent).unwrap().set_modified(old).unwrap();
        assert_eq!((names(), names()), (400, 400));
        make(400);
        assert_eq!((names(), names()), (401, 401));
        fs::remove_dir_all(parent.join("00007")).unwrap();
        assert_eq!((names(), names()), (400, 400));
    }

    #[test]
    fn more_names_than_one_batch_holds() {
        let (_root, directory) = fixture();
        let catalog = NameList::Repositories(Holding::Manifests);
        let count = BATCH * 2 + 7;
        let parent = directory.root().join(catalog.directory());
        for i in 0..count {
            fs::create_dir_all(parent.join(format!("{i:05}/_manifests"))).unwrap();
        }
        let page = directory.names(&query(&catalog, None, count - 1)).unwrap();
        assert!(page.more);
        assert_eq!(page.names.len(), count - 1);
        assert!(page.names.is_sorted());
    }
}
