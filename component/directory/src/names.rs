//! Lists of names for clients: repositories, tags, referrers.
//!
//! A directory hands out its entries in no order, so a page needs all names of
//! the directories that it touches: see [`crate::sorted_names`].

use crate::Directory;
use crate::entries::Position;
use crate::sorted_names::Sorting;
use roadstead_bridge::storage::LIST_LIMIT;
use roadstead_storage::{NameList, NamesQuery, PAGE_BYTES, Page, StorageError};
use std::fs;
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
    /// Of the page's values.
    bytes: usize,
}

impl Search<'_> {
    /// Visits the directory `path`, whose name with a closing slash is
    /// `prefix`.
    fn visit(&mut self, path: &Path, prefix: &str) -> Result<(), StorageError> {
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

    /// Takes a directory into the page if it is one of the list.
    fn take(&mut self, path: &Path, name: String) -> Result<(), StorageError> {
        let value = match (&self.query.list, self.query.list.value_path()) {
            (NameList::Repositories(holding), _) => {
                if !holding.shown_by().iter().any(|child| path.join(child).is_dir()) {
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

    /// The value of a name, if values are asked for: its writer kept it small.
    fn value(&self, file: &Path) -> Result<Option<String>, StorageError> {
        if self.query.values {
            Ok(Some(fs::read_to_string(file)?))
        } else if fs::metadata(file)?.is_file() {
            Ok(None)
        } else {
            Err(StorageError::NotFound)
        }
    }
}
