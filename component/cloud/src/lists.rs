//! Lists of keys, a request at a time.

use super::bucket::Bucket;
use crate::store::StorageError;
use object_store::list::PaginatedListOptions;
use object_store::path::Path;
use std::borrow::Cow;

/// How many keys a request asks for: what all stores give at most.
pub(super) const LIST_PAGE: usize = 1000;

/// How long a place is at most, in bytes: names and tags have at most 255.
const PLACE_LIMIT: usize = 512;

/// The separator of keys' segments.
const SLASH: &str = "/";

/// Where a list begins.
#[derive(Clone, Debug, Default)]
pub(super) struct Start {
    /// After this text, which is relative to the directory.
    pub(super) after: String,
    /// Where an earlier request ended that began there.
    pub(super) token: Option<String>,
}

/// What one request gave: names relative to the directory, in the order of
/// keys.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Listing {
    /// Directories right below, without a slash, if they were asked for.
    pub(super) directories: Vec<String>,
    /// Objects: right below if directories were asked for, else all.
    pub(super) objects: Vec<String>,
    /// Where it goes on, if it does.
    pub(super) token: Option<String>,
}

impl Bucket {
    /// Lists a part of what is below a directory, whose text is empty or ends
    /// with a slash.
    pub(super) async fn list(
        &self,
        directory: &str,
        directories: bool,
        start: &Start,
    ) -> Result<Listing, StorageError> {
        let Start { after, token } = start;
        let after = place(after);
        let options = PaginatedListOptions {
            // Not all stores take the place of a directory for one in it.
            offset: (!after.is_empty()).then(|| format!("{directory}{after}")),
            delimiter: directories.then_some(Cow::Borrowed(SLASH)),
            max_keys: Some(LIST_PAGE),
            page_token: token.clone(),
            ..PaginatedListOptions::default()
        };
        let found = self.backend.lists.list_paginated(Some(directory), options).await?;
        let relative = |path: &Path| path.as_ref().strip_prefix(directory).map(str::to_owned);
        Ok(Listing {
            directories: found.result.common_prefixes.iter().filter_map(relative).collect(),
            objects: found.result.objects.iter().filter_map(|o| relative(&o.location)).collect(),
            token: found.page_token,
        })
    }

    /// A directory as lists take it.
    pub(super) fn directory(&self, path: &Path) -> String {
        format!("{}{SLASH}", self.full(path))
    }
}

/// Where a list may begin for what is after `text`, which a client made up: at
/// its beginning, as far as that could be one of a key. What comes between is
/// listed, and left out.
fn place(text: &str) -> &str {
    let of_keys = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._/".contains(byte);
    let length = text.bytes().take(PLACE_LIMIT).take_while(of_keys).count();
    text.get(..length).unwrap_or_default()
}

/// The names that come before `name` by name, but after it by key, because a
/// slash follows there: `a` of `a-b` and of `a.b`.
///
/// Of the names that a list in the order of keys has not reached yet, only
/// these of the last one belong before any that it has given: between `a-b/`
/// and `a/` are only keys that begin with `a`.
pub(super) fn overtaken(name: &str) -> impl Iterator<Item = &str> {
    let before_slash = |&(_, byte): &(usize, u8)| byte < b'/';
    name.bytes().enumerate().filter(before_slash).filter_map(|(at, _)| name.get(..at))
}

#[cfg(test)]
mod tests {
    use super::{overtaken, place};

    #[test]
    fn places_are_like_keys() {
        for (text, expected) in [
            ("a-b/c.d_0", "a-b/c.d_0"),
            ("a\u{1}b", "a"),
            ("\u{7f}", ""),
            ("a\u{e9}", "a"),
            ("a b", "a"),
        ] {
            assert_eq!(place(text), expected);
        }
        assert_eq!(place(&"a".repeat(9999)).len(), super::PLACE_LIMIT);
    }

    #[test]
    fn names_that_keys_put_last() {
        let of = |name| overtaken(name).collect::<Vec<_>>();
        assert_eq!(of("1.2-rc.3_x"), ["1", "1.2", "1.2-rc"]);
        assert_eq!(of("plain0"), [] as [&str; 0]);
    }
}
