//! Names of directories however deep below another, in the order of names: the
//! catalog.
//!
//! Each directory is one request, which tells whether it has the marker and
//! what is below it. Two items stand for a directory `a`: `a` itself, and `a/`
//! for what is below it; in the order of these texts, names come in theirs
//! (`a`, `a-b`, `a/b`). Directories that will be needed next are listed at the
//! same time; the walk ends when the page is full.

use super::bucket::Bucket;
use super::lists::{Listing, Start, overtaken};
use super::names::LOOKUPS;
use crate::store::{Names, Page, StorageError};
use futures::future::try_join_all;
use std::collections::BTreeMap;

/// Comes after every character of a name.
const LAST: &str = "\u{7f}";

/// Most directories whose lists are held at a time.
const HELD_LISTS: usize = 64;

impl Bucket {
    /// See [`crate::store::Storage::names`].
    pub(super) async fn descendants(&self, query: &Names<'_>) -> Result<Page, StorageError> {
        let mut walk = Walk {
            bucket: self,
            root: self.directory(&query.parent),
            after: query.after.unwrap_or_default(),
            ahead: LOOKUPS.min(query.limit + 1),
            items: BTreeMap::from([(String::new(), None)]),
            lists: BTreeMap::new(),
            passed: String::new(),
        };
        let mut page = Page::default();
        while let Some((item, rest)) = walk.items.first_key_value() {
            let (item, rest) = (item.clone(), rest.clone());
            let directory = match &rest {
                Some(rest) => rest.directory.as_str(),
                None => item.strip_suffix('/').unwrap_or(&item),
            };
            let listing = match &rest {
                Some(rest) => walk.request(directory, Some(&rest.token)).await?,
                None => walk.list(directory).await?,
            };
            walk.items.remove(&item);
            let is_name = rest.is_none() && !item.is_empty() && !item.ends_with('/');
            if is_name && listing.directories.iter().any(|child| child == query.marker.as_ref()) {
                if page.names.len() == query.limit {
                    page.more = true;
                    break;
                }
                page.names.push(item.clone());
            }
            walk.passed.clone_from(&item);
            if !is_name {
                walk.enter(directory, listing);
            }
        }
        if query.values { self.with_values(query, page).await } else { Ok(page) }
    }
}

struct Walk<'a> {
    bucket: &'a Bucket,
    root: String,
    after: &'a str,
    /// How many directories are listed at the same time.
    ahead: usize,
    /// What is to be visited: names, directories with a slash, and the rest of
    /// those of which a part is known.
    items: BTreeMap<String, Option<Rest>>,
    /// What is known already of directories.
    lists: BTreeMap<String, Listing>,
    /// The last item that was visited.
    passed: String,
}

/// What is not known yet of a directory.
#[derive(Clone)]
struct Rest {
    directory: String,
    token: String,
}

impl Walk<'_> {
    /// What is in a directory; what will be asked for next is listed as well.
    async fn list(&mut self, directory: &str) -> Result<Listing, StorageError> {
        if let Some(listing) = self.lists.get(directory) {
            return Ok(listing.clone());
        }
        while self.lists.len() >= HELD_LISTS {
            self.lists.pop_first();
        }
        let mut wanted: Vec<String> = vec![directory.to_owned()];
        for (item, _) in self.items.iter().filter(|(_, rest)| rest.is_none()) {
            let next = item.strip_suffix('/').unwrap_or(item);
            if wanted.len() >= self.ahead {
                break;
            }
            if !self.lists.contains_key(next) && !wanted.iter().any(|wanted| wanted == next) {
                wanted.push(next.to_owned());
            }
        }
        let this = &*self;
        let requests = wanted.iter().map(|directory| this.request(directory, None));
        let lists = try_join_all(requests).await?;
        self.lists.extend(wanted.into_iter().zip(lists));
        Ok(self.lists.get(directory).cloned().unwrap_or_default())
    }

    async fn request(
        &self,
        directory: &str,
        token: Option<&String>,
    ) -> Result<Listing, StorageError> {
        let start = Start { after: self.place_in(directory).to_owned(), token: token.cloned() };
        self.bucket.list(&self.prefix(directory), true, &start).await
    }

    /// Adds what a list says to what is to be visited: all that comes after the
    /// page's place and was not passed.
    fn enter(&mut self, directory: &str, listing: Listing) {
        let child_of = |child: &str| match directory {
            "" => child.to_owned(),
            directory => format!("{directory}/{child}"),
        };
        let last = listing.token.as_ref().and(listing.directories.last());
        let late = last.into_iter().flat_map(|last| overtaken(last));
        for child in late.chain(listing.directories.iter().map(String::as_str)) {
            // The registry's own directories hold no repositories.
            if child.is_empty() || child.starts_with('_') {
                continue;
            }
            let name = child_of(child);
            let below = format!("{name}/");
            let begins = self.after.starts_with(&below) || below.as_str() > self.after;
            if begins && below > self.passed {
                self.items.insert(below, None);
            }
            if name.as_str() > self.after && name > self.passed {
                self.items.insert(name, None);
            }
        }
        if let Some(token) = listing.token {
            // It comes after all that is below the last one, and before what is
            // not listed yet.
            let place = last.map_or_else(|| format!("{directory}/"), |last| child_of(last) + "/");
            let rest = Rest { directory: directory.to_owned(), token };
            self.items.insert(place + LAST, Some(rest));
        }
    }

    fn prefix(&self, directory: &str) -> String {
        match directory {
            "" => self.root.clone(),
            directory => format!("{}{directory}/", self.root),
        }
    }

    /// Where the page's place is in a directory: what is listed begins there.
    fn place_in(&self, directory: &str) -> &str {
        let rest = match directory {
            "" => Some(self.after),
            directory => self.after.strip_prefix(directory).and_then(|rest| rest.strip_prefix('/')),
        };
        rest.and_then(|rest| rest.split('/').next()).unwrap_or_default()
    }
}
