//! Repositories: names of directories at any depth below another, in the order
//! of names.
//!
//! The first ones are those that lists of all keys show ([`super::flat`]), for as long as these
//! show many. From there on, each directory takes one request, which shows whether it is a repository and
//! which directories it has. The walk visits two steps for a directory `a`: `a`
//! itself, and `a/` for what is below it; in the order of these texts, names come
//! in theirs (`a`, `a-b`, `a/b`). Directories that come next are listed at the
//! same time; the walk ends when the page is full.

use super::CONCURRENT_LOOKUPS;
use super::flat::Known;
use super::page::{KeyPage, ListQuery, late_names, start_of};
use crate::error::Error;
use crate::objects::Objects;
use futures::future::try_join_all;
use roadstead_oci::RepositoryName;
use roadstead_storage::{Holding, NamesQuery, Page};
use std::collections::BTreeMap;

/// A text that comes after every character of a name.
const LAST: &str = "\u{7f}";

/// What the names of the registry's own directories begin with.
pub(super) const RESERVED: &str = "_";

/// The most directories whose lists are held at a time.
///
/// Limit: directories whose lists are held at a time; test: none, no repository is so
/// deep.
const HELD_LISTS: usize = 64;

impl Objects {
    /// A page of repositories.
    pub(super) async fn repositories(
        &self,
        holding: Holding,
        query: &NamesQuery,
    ) -> Result<Page, Error> {
        let Known { names, until } = self.first_repositories(holding, query).await?;
        let more = names.len() > query.limit;
        let names: Vec<String> = names.into_iter().take(query.limit).collect();
        let mut page = Page { names, more, ..Page::default() };
        if let Some(until) = until.filter(|_| !more) {
            let (limit, after) = (query.limit - page.names.len(), Some(until));
            let query = NamesQuery { limit, after, ..query.clone() };
            let rest = self.repositories_by_directory(holding, &query).await?;
            page.names.extend(rest.names);
            page.more = rest.more;
        }
        Ok(page)
    }

    async fn repositories_by_directory(
        &self,
        holding: Holding,
        query: &NamesQuery,
    ) -> Result<Page, Error> {
        let mut walk = Walk {
            objects: self,
            root: format!("{}/", query.list.directory()),
            after: query.after.as_deref().unwrap_or_default(),
            concurrency: CONCURRENT_LOOKUPS.min(query.limit + 1),
            steps: BTreeMap::from([(String::new(), None)]),
            lists: BTreeMap::new(),
            visited: String::new(),
        };
        let mut page = Page::default();
        while let Some((step, rest)) = walk.steps.first_key_value() {
            let (step, rest) = (step.clone(), rest.clone());
            let directory = match &rest {
                Some(rest) => rest.directory.as_str(),
                None => step.strip_suffix('/').unwrap_or(&step),
            };
            let list = match &rest {
                Some(rest) => walk.request(directory, Some(&rest.token)).await?,
                None => walk.list(directory).await?,
            };
            walk.steps.remove(&step);
            let is_directory = rest.is_some() || step.is_empty() || step.ends_with('/');
            if !is_directory && walk.is_repository(&step, &list, holding).await? {
                if page.names.len() == query.limit {
                    page.more = true;
                    break;
                }
                page.names.push(step.clone());
            }
            walk.visited.clone_from(&step);
            if is_directory {
                walk.enter(directory, list);
            }
        }
        Ok(page)
    }
}

struct Walk<'a> {
    objects: &'a Objects,
    root: String,
    after: &'a str,
    /// How many directories are listed at the same time.
    concurrency: usize,
    /// What is to be visited: names, directories with a slash, and the rest of
    /// directories of which a part was listed.
    steps: BTreeMap<String, Option<Rest>>,
    /// The lists of directories that are to be visited.
    lists: BTreeMap<String, KeyPage>,
    /// The last step that was visited.
    visited: String,
}

/// The part of a directory that was not listed yet.
#[derive(Clone)]
struct Rest {
    directory: String,
    token: String,
}

impl Walk<'_> {
    /// The list of a directory. Those of the next steps are asked for as well.
    async fn list(&mut self, directory: &str) -> Result<KeyPage, Error> {
        if let Some(list) = self.lists.get(directory) {
            return Ok(list.clone());
        }
        while self.lists.len() >= HELD_LISTS {
            self.lists.pop_first();
        }
        let mut wanted: Vec<String> = vec![directory.to_owned()];
        for (step, _) in self.steps.iter().filter(|(_, rest)| rest.is_none()) {
            let next = step.strip_suffix('/').unwrap_or(step);
            if wanted.len() >= self.concurrency {
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

    async fn request(&self, directory: &str, token: Option<&String>) -> Result<KeyPage, Error> {
        let path = match directory {
            "" => self.root.clone(),
            directory => format!("{}{directory}/", self.root),
        };
        let query = ListQuery {
            by_directory: true,
            after: start_of(self.start_in(directory)).to_owned(),
            token: token.cloned(),
            ..ListQuery::of(&path)
        };
        self.objects.list(&query).await
    }

    /// Whether a directory, whose first list is given, is a repository.
    async fn is_repository(
        &self,
        name: &str,
        list: &KeyPage,
        holding: Holding,
    ) -> Result<bool, Error> {
        let shown = |list: &KeyPage| {
            let mut directories = list.directories.iter().map(String::as_str);
            directories.any(|child| holding.shown_by().contains(&child))
        };
        if RepositoryName::parse(name).is_err() {
            return Ok(false);
        }
        let before = |last: &String| last.as_str() < RESERVED;
        if shown(list) || list.token.is_none() || !list.directories.last().is_none_or(before) {
            return Ok(shown(list));
        }
        // The registry's own directories come after those listed so far.
        let path = format!("{}{name}/", self.root);
        let after = RESERVED.to_owned();
        let query = ListQuery { by_directory: true, after, ..ListQuery::of(&path) };
        Ok(shown(&self.objects.list(&query).await?))
    }

    /// Adds the directories of a list to the steps: all that come after the
    /// page's place and were not visited.
    fn enter(&mut self, directory: &str, page: KeyPage) {
        let child_of = |child: &str| match directory {
            "" => child.to_owned(),
            directory => format!("{directory}/{child}"),
        };
        let last = page.token.as_ref().and(page.directories.last());
        let late = last.into_iter().flat_map(|last| late_names(last));
        for child in late.chain(page.directories.iter().map(String::as_str)) {
            // The registry's own directories hold no repositories.
            if child.is_empty() || child.starts_with(RESERVED) {
                continue;
            }
            let name = child_of(child);
            let below = format!("{name}/");
            let begins = self.after.starts_with(&below) || below.as_str() > self.after;
            if begins && below > self.visited {
                self.steps.insert(below, None);
            }
            if name.as_str() > self.after && name > self.visited {
                self.steps.insert(name, None);
            }
        }
        if let Some(token) = page.token {
            // It comes after all that is below the last directory, and before
            // those that are not listed yet.
            let place = last.map_or_else(|| format!("{directory}/"), |last| child_of(last) + "/");
            let rest = Rest { directory: directory.to_owned(), token };
            self.steps.insert(place + LAST, Some(rest));
        }
    }

    /// The name in a directory at which the page begins.
    fn start_in(&self, directory: &str) -> &str {
        let rest = match directory {
            "" => Some(self.after),
            directory => self.after.strip_prefix(directory).and_then(|rest| rest.strip_prefix('/')),
        };
        rest.and_then(|rest| rest.split('/').next()).unwrap_or_default()
    }
}
