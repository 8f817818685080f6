//! Names of directories right below another, in the order of names: tags,
//! referrers, layers.
//!
//! Stores list keys in their own order, in which `a-b/` comes before `a/`. A
//! page begins at its place in that order; of the names that come late,
//! [`overtaken`] tells which may belong on it, and each is asked for.
//!
//! The first request lists all keys, so it shows which directories have the
//! marker; of most repositories it is the only one. Of others, the rest is
//! listed by directory, however much is in each: one that has lost its marker
//! is taken for one that has it, which happens only to a tag whose push or
//! deletion broke off.

use super::bucket::Bucket;
use super::lists::{Listing, Start, overtaken};
use crate::store::{Names, Page, StorageError};
use futures::stream::{self, StreamExt as _};
use object_store::ObjectStoreExt as _;
use object_store::path::Path;
use roadstead_directory::PAGE_BYTES;
use std::collections::BTreeSet;

/// How many small objects are asked for at a time.
pub(super) const LOOKUPS: usize = 16;

impl Bucket {
    /// See [`crate::store::Storage::names`].
    pub(super) async fn children(&self, query: &Names<'_>) -> Result<Page, StorageError> {
        let directory = self.directory(&query.parent);
        let after = query.after.unwrap_or_default();
        let mut found = Found { after, names: BTreeSet::new() };
        let mut start = Start { after: after.to_owned(), token: None };
        let keys = self.list(&directory, false, &start).await?;
        for key in &keys.objects {
            if let Some((name, rest)) = key.split_once('/')
                && rest == query.marker.as_ref()
            {
                found.take(name);
            }
        }
        let mut last = keys.token.and(keys.objects.last());
        let mut last = last.take().and_then(|key| Some(key.split_once('/')?.0.to_owned()));
        if let Some(last) = &last {
            // The rest of its directory is passed over: '0' follows the slash.
            start = Start { after: format!("{last}0"), token: None };
            let candidates = overtaken(last).chain([last.as_str()]);
            self.look_for(query, candidates, &mut found).await?;
        }
        while last.is_some() && found.names.len() <= query.limit {
            let Listing { directories, token, .. } = self.list(&directory, true, &start).await?;
            for name in &directories {
                found.take(name);
            }
            last = match (token, directories.into_iter().next_back()) {
                (Some(token), Some(name)) => {
                    start.token = Some(token);
                    self.look_for(query, overtaken(&name), &mut found).await?;
                    Some(name)
                }
                // A page of objects only: none of ours, but there is more.
                (Some(token), None) => {
                    start.token = Some(token);
                    last
                }
                (None, _) => None,
            };
        }
        let more = found.names.len() > query.limit;
        let names: Vec<String> = found.names.into_iter().take(query.limit).collect();
        let page = Page { names, values: Vec::new(), more };
        if query.values { self.with_values(query, page).await } else { Ok(page) }
    }

    /// Takes those candidates that have the marker.
    async fn look_for(
        &self,
        query: &Names<'_>,
        candidates: impl Iterator<Item = &str>,
        found: &mut Found<'_>,
    ) -> Result<(), StorageError> {
        let wanted: Vec<&str> = candidates.filter(|name| found.wants(name)).collect();
        let lookups = wanted.into_iter().map(|name| async move {
            (name, self.objects().head(&marker(query, name)).await.map_err(StorageError::from))
        });
        let mut results = stream::iter(lookups).buffered(LOOKUPS);
        while let Some((name, result)) = results.next().await {
            match result {
                Ok(_) => found.take(name),
                Err(StorageError::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// A page with the markers' values. It ends before they are too many
    /// bytes; a name whose marker is gone is left out.
    pub(super) async fn with_values(
        &self,
        query: &Names<'_>,
        page: Page,
    ) -> Result<Page, StorageError> {
        let lookups = page.names.into_iter().map(|name| async move {
            let value = self.value(&marker(query, &name)).await;
            (name, value)
        });
        let mut results = stream::iter(lookups).buffered(LOOKUPS);
        let mut filled = Page { more: page.more, ..Page::default() };
        let mut bytes = 0;
        while let Some((name, value)) = results.next().await {
            let Some(value) = value? else { continue };
            bytes += value.len();
            if bytes > PAGE_BYTES && !filled.names.is_empty() {
                filled.more = true;
                break;
            }
            filled.names.push(name);
            filled.values.push(value);
        }
        Ok(filled)
    }
}

/// The marker of a named directory.
fn marker(query: &Names<'_>, name: &str) -> Path {
    let name = Path::from(name);
    query.parent.parts().chain(name.parts()).chain(query.marker.parts()).collect()
}

/// Names after a place.
struct Found<'a> {
    after: &'a str,
    names: BTreeSet<String>,
}

impl Found<'_> {
    fn wants(&self, name: &str) -> bool {
        !name.is_empty() && name > self.after && !self.names.contains(name)
    }

    fn take(&mut self, name: &str) {
        if self.wants(name) {
            self.names.insert(name.to_owned());
        }
    }
}
