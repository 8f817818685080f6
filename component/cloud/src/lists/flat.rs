//! Repositories as a list of all keys shows them: most have few, so that one request shows many.
//!
//! Where it does not, as in a repository of very many tags, [`super::repositories`] goes on, by
//! directory. Keys come in another order than names: `a-b/` before `a/`, and `a/0/` before
//! `a/_manifests/`. When the list is left, the few names that it has not reached, and that belong
//! before its place, are looked up one by one.

use super::CONCURRENT_LOOKUPS;
use super::page::{ListQuery, late_names, start_of};
use super::repositories::RESERVED;
use crate::error::Error;
use crate::objects::Objects;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use roadstead_oci::RepositoryName;
use roadstead_storage::{Holding, NamesQuery};
use std::collections::BTreeSet;

/// How many repositories a list of keys has to show to be worth another one: as many as are looked at
/// by directory at the same time.
const WORTH: usize = CONCURRENT_LOOKUPS;

/// Repositories that come after the place of a query, with all up to a text.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) names: BTreeSet<String>,
    /// All names up to this one are known; `None` if all are.
    pub(super) until: Option<String>,
}

impl Objects {
    /// The first repositories of a query: at least one more than it asks for, or as many as are
    /// found with few requests.
    pub(super) async fn first_repositories(
        &self,
        holding: Holding,
        query: &NamesQuery,
    ) -> Result<Known, Error> {
        let root = format!("{}/", query.list.directory());
        let after = query.after.as_deref().unwrap_or_default();
        let is_wanted = |name: &str| name > after && RepositoryName::parse(name).is_ok();
        // Stores may take a directory for all that is in it.
        let start = start_of(after).trim_end_matches('/').to_owned();
        let mut request = ListQuery { after: start, ..ListQuery::of(&root) };
        let mut names: BTreeSet<String> = BTreeSet::new();
        let last = loop {
            let keys = self.list(&request).await?;
            let before = names.len();
            for object in &keys.objects {
                if let (name, Some(child)) = split(&object.name)
                    && holding.shown_by().contains(&child)
                    && is_wanted(name)
                {
                    names.insert(name.to_owned());
                }
            }
            let Some(token) = keys.token else { return Ok(Known { names, until: None }) };
            // A store may have left out everything of a page.
            let Some(last) = keys.objects.last() else { break String::new() };
            let last = split(&last.name).0;
            let is_enough = names.iter().nth(query.limit).is_some_and(|name| name.as_str() <= last);
            if is_enough || names.len() - before < WORTH {
                break last.to_owned();
            }
            request.token = Some(token);
        };
        // Stores that begin at the beginning may not have reached the query's place.
        let until = last.clone().max(after.to_owned());
        names.retain(|name| *name <= until);
        let end = names.iter().nth(query.limit).unwrap_or(&until).clone();
        let late = late_names(&last).chain([last.as_str()]);
        let late = late.filter(|name| **name <= *end && is_wanted(name) && !names.contains(*name));
        let late: Vec<String> = late.map(str::to_owned).collect();
        let lookups = late.into_iter().map(async |name| {
            let is_shown = self.is_shown(&format!("{root}{name}"), holding).await?;
            Ok::<_, Error>(is_shown.then_some(name))
        });
        let found: Vec<_> =
            stream::iter(lookups).buffered(CONCURRENT_LOOKUPS).try_collect().await?;
        names.extend(found.into_iter().flatten());
        Ok(Known { names, until: Some(until) })
    }

    /// Whether there is a key in one of the directories that make this one a repository.
    async fn is_shown(&self, path: &str, holding: Holding) -> Result<bool, Error> {
        for child in holding.shown_by() {
            let directory = format!("{path}/{child}/");
            let query = ListQuery { limit: 1, ..ListQuery::of(&directory) };
            if !self.list(&query).await?.objects.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// What is between a repository's name and its own directories.
const OWN: &str = "/_";

/// The directory of a key in which the registry's own directories are, and which of them it is in.
fn split(key: &str) -> (&str, Option<&str>) {
    if key.starts_with(RESERVED) {
        return ("", None);
    }
    let Some(at) = key.find(OWN) else { return (key, None) };
    let (name, rest) = key.split_at(at);
    (name, rest.split('/').nth(1))
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn keys_are_of_repositories() {
        assert_eq!(split("a/b/_manifests/tags/x"), ("a/b", Some("_manifests")));
        assert_eq!(split("a/_uploads/1/_manifests/x"), ("a", Some("_uploads")));
        assert_eq!(split("a_b/c"), ("a_b/c", None));
        assert_eq!(split("_manifests/x"), ("", None));
    }
}
