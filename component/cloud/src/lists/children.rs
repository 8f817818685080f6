//! Tags and referrers: names of directories right below another, in the order of
//! names.
//!
//! Stores list keys in their own order, in which `a-b/` comes before `a/`. A page
//! begins at its name in that order; [`late_names`] says which names that come
//! later may belong on it, and these are looked up one by one.
//!
//! The first request lists all keys, and so shows which directories hold the
//! object that makes them a name; for most repositories it is the only request.
//! The rest is listed by directory, however much is in each. There, a directory
//! that has lost that object still counts: only a push or deletion of a tag that
//! was interrupted leaves one.

use super::CONCURRENT_LOOKUPS;
use super::page::{ListQuery, late_names, start_of};
use crate::error::Error;
use crate::objects::Objects;
use bytes::Bytes;
use futures::stream::{self, StreamExt as _};
use object_store::GetResult;
use roadstead_storage::{Key, NameList, NamesQuery, PAGE_BYTES, Page};
use std::collections::BTreeSet;

impl Objects {
    /// A page of tags or referrers. It is empty only at the end of the list: directories
    /// that have lost the object that makes them a name are passed over.
    pub(super) async fn children(&self, query: &NamesQuery) -> Result<Page, Error> {
        let mut query = query.clone();
        loop {
            let (page, last) = self.children_after(&query).await?;
            match last.filter(|_| page.names.is_empty() && page.more) {
                Some(last) => query.after = Some(last),
                None => return Ok(page),
            }
        }
    }

    /// A page, and the last directory that was looked at for it.
    async fn children_after(&self, query: &NamesQuery) -> Result<(Page, Option<String>), Error> {
        let directory = format!("{}/", query.list.directory());
        let after = query.after.as_deref().unwrap_or_default();
        let mut found = NamesAfter { list: &query.list, after, names: BTreeSet::new() };
        let mut request =
            ListQuery { after: start_of(after).to_owned(), ..ListQuery::of(&directory) };
        let keys = self.list(&request).await?;
        for object in &keys.objects {
            if let Some((name, rest)) = object.name.split_once('/')
                && query.list.value_path() == Some(rest)
            {
                found.insert(name);
            }
        }
        let mut more = keys.token.is_some();
        if let Some(last) = keys.token.and(keys.objects.last()) {
            request.after = match last.name.split_once('/') {
                // The rest of this directory is skipped: '0' follows the slash.
                Some((name, _)) => {
                    self.look_up(late_names(name).chain([name]), &mut found).await?;
                    format!("{name}0")
                }
                None => last.name.clone(),
            };
        }
        request.by_directory = true;
        while more && found.names.len() <= query.limit {
            let keys = self.list(&request).await?;
            for name in &keys.directories {
                found.insert(name);
            }
            more = keys.token.is_some();
            if let Some(last) = keys.token.as_ref().and(keys.directories.last()) {
                self.look_up(late_names(last), &mut found).await?;
            }
            request.token = keys.token;
        }
        let more = found.names.len() > query.limit;
        let names: Vec<String> = found.names.into_iter().take(query.limit).collect();
        let last = names.last().cloned();
        let page = if query.values {
            self.with_values(&query.list, names, more).await?
        } else {
            Page { names, values: Vec::new(), more }
        };
        Ok((page, last))
    }

    /// Looks candidates up, and inserts those that are names of the list.
    async fn look_up(
        &self,
        candidates: impl Iterator<Item = &str>,
        found: &mut NamesAfter<'_>,
    ) -> Result<(), Error> {
        let wanted = candidates.filter_map(|name| Some((name, found.wants(name)?)));
        let wanted: Vec<(&str, Key)> = wanted.collect();
        let lookups = wanted.iter().map(async |(name, key)| (*name, self.head(key).await));
        let mut results = stream::iter(lookups).buffered(CONCURRENT_LOOKUPS);
        while let Some((name, result)) = results.next().await {
            match result {
                Ok(_) => found.insert(name),
                Err(Error::NOT_FOUND) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// A page with values, which ends before they have more than [`PAGE_BYTES`].
    /// A name whose value was deleted meanwhile is left out. Values are asked for at
    /// the same time and read one after the other: each may have a page's size.
    async fn with_values(
        &self,
        list: &NameList,
        names: Vec<String>,
        more: bool,
    ) -> Result<Page, Error> {
        let lookups = names.into_iter().filter_map(|name| {
            let key = value_key(list, &name)?;
            Some(async move { (name, self.get(&key).await) })
        });
        let mut results = stream::iter(lookups).buffered(CONCURRENT_LOOKUPS);
        let mut page = Page { more, ..Page::default() };
        let mut bytes = 0;
        while let Some((name, found)) = results.next().await {
            let value = match found {
                Ok(found) => page_value(found).await?,
                Err(Error::NOT_FOUND) => continue,
                Err(error) => return Err(error),
            };
            bytes += value.len();
            if bytes > PAGE_BYTES && !page.names.is_empty() {
                page.more = true;
                break;
            }
            // One that is damaged concerns this name alone.
            let value = String::from_utf8_lossy(&value).into_owned();
            page.names.push(name);
            page.values.push(value);
        }
        Ok(page)
    }
}

/// The value of a name; an empty one for one that no page has room for.
async fn page_value(found: GetResult) -> Result<Bytes, Error> {
    if found.meta.size > PAGE_BYTES as u64 {
        return Ok(Bytes::new());
    }
    Ok(found.bytes().await?)
}

/// The object that makes `name` a name of the list, and holds its value.
fn value_key(list: &NameList, name: &str) -> Option<Key> {
    Key::parse(&format!("{}/{name}/{}", list.directory(), list.value_path()?)).ok()
}

/// Names of a list after a given one.
struct NamesAfter<'a> {
    list: &'a NameList,
    after: &'a str,
    names: BTreeSet<String>,
}

impl NamesAfter<'_> {
    /// The object that makes `name` one of the names, unless it is known or
    /// cannot be one.
    fn wants(&self, name: &str) -> Option<Key> {
        let wanted = name > self.after && !self.names.contains(name);
        wanted.then(|| value_key(self.list, name)).flatten()
    }

    fn insert(&mut self, name: &str) {
        if self.wants(name).is_some() {
            self.names.insert(name.to_owned());
        }
    }
}
