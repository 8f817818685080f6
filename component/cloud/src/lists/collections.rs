//! Collections: all objects of one kind, in the order of keys.
//!
//! One call takes one request in the usual case, and begins at a key rather than
//! where a token of the store says, so that a cursor stays valid.

use super::page::{LIST_LIMIT, ListQuery, ListedObject};
use crate::error::Error;
use crate::objects::Objects;
use roadstead_oci::UploadId;
use roadstead_storage::{Collection, Cursor, Entry, Listing};
use std::time::SystemTime;

/// How many requests list the objects of one upload session at most. Of a session
/// with more objects, these are counted.
///
/// Limit: requests that list one upload session; test: `sessions_take_few_requests`.
const SESSION_REQUESTS: usize = 100;

impl Objects {
    /// See [`roadstead_storage::Storage::enumerate`].
    pub(crate) async fn enumerate(
        &self,
        collection: &Collection,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Listing, Error> {
        let directory = collection.prefix();
        let after = after.map_or_else(String::new, |cursor| resume_after(collection, &cursor.0));
        let mut part = Part {
            collection,
            directory: &directory,
            limit: limit.max(1),
            entries: Vec::new(),
            passed: None,
        };
        let mut request = ListQuery { after, limit: part.keys(), ..ListQuery::of(&directory) };
        let mut session_requests = 0;
        loop {
            let page = self.list(&request).await?;
            for object in page.objects {
                // Not all stores begin where they are asked to.
                if object.name > request.after && !part.take(object) {
                    let next = part.after_last_entry();
                    return Ok(Listing { entries: part.entries, next });
                }
            }
            let Some(token) = page.token else {
                return Ok(Listing { entries: part.entries, next: None });
            };
            request.token = Some(token);
            if part.passed.is_none() {
                continue;
            }
            session_requests += 1;
            if part.is_one_session() && session_requests < SESSION_REQUESTS {
                continue;
            }
            return Ok(part.cut());
        }
    }
}

/// A part of a collection, while it is listed.
struct Part<'a> {
    collection: &'a Collection,
    directory: &'a str,
    limit: usize,
    entries: Vec<Entry>,
    /// The name of the last object that was listed.
    passed: Option<String>,
}

impl Part<'_> {
    /// How many keys a request asks for: more than entries where most keys may
    /// be of other objects.
    fn keys(&self) -> usize {
        match self.collection {
            Collection::Tags(_) | Collection::TagHistories(_) | Collection::Sessions(_) => {
                LIST_LIMIT
            }
            _ => self.limit.min(LIST_LIMIT),
        }
    }

    /// Counts an object. `false` means that it belongs to an entry over the limit.
    fn take(&mut self, object: ListedObject) -> bool {
        let key = object.key.and_then(|key| self.collection.entry_of(key));
        if let Some(key) = key {
            let (size, modified) = (object.meta.size, SystemTime::from(object.meta.last_modified));
            let is_full = self.entries.len() == self.limit;
            match self.entries.last_mut() {
                // Another object of the same session.
                Some(last) if last.key == key => {
                    last.size += size;
                    last.modified = last.modified.max(modified);
                }
                _ if is_full => return false,
                _ => self.entries.push(Entry { key, size, modified }),
            }
        }
        self.passed = Some(object.name);
        true
    }

    fn is_session(&self) -> bool {
        matches!(self.collection, Collection::Sessions(_))
    }

    /// Whether all that was listed is one upload session, which may go on.
    fn is_one_session(&self) -> bool {
        self.is_session() && self.entries.len() == 1
    }

    /// The part as far as it was listed, when there is more. The last of several
    /// sessions may go on, and is left to the next call.
    fn cut(mut self) -> Listing {
        if !self.is_session() || self.entries.is_empty() {
            return Listing { entries: self.entries, next: self.passed.map(Cursor) };
        }
        if self.entries.len() > 1 {
            self.entries.pop();
        }
        let next = self.after_last_entry();
        Listing { entries: self.entries, next }
    }

    fn after_last_entry(&self) -> Option<Cursor> {
        let key = self.entries.last()?.key.to_string();
        Some(Cursor(key.strip_prefix(self.directory)?.to_owned()))
    }
}

/// The text after which a list goes on at a cursor: what belongs to the same
/// upload session or tag is skipped. `0` follows the slash.
fn resume_after(collection: &Collection, cursor: &str) -> String {
    let (directory, rest) = cursor.split_once('/').unwrap_or((cursor, ""));
    match collection {
        Collection::Sessions(_) if UploadId::parse(directory).is_ok() => format!("{directory}0"),
        Collection::Tags(_) if rest >= "current/link" => format!("{directory}0"),
        _ => cursor.to_owned(),
    }
}
