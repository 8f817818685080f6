//! Lists of keys, one request at a time.

use crate::error::Error;
use crate::objects::Objects;
use object_store::ObjectMeta;
use object_store::list::PaginatedListOptions;
use roadstead_storage::Key;
use std::borrow::Cow;

/// How many keys one request asks for: what all stores return at most.
///
/// Limit: keys in one list of a store; test:
/// `a_page_of_many_tags_takes_few_requests`.
pub(crate) const LIST_LIMIT: usize = 1000;

/// The longest text of a client that a list is begun after, in bytes: names and
/// tags have at most 255.
///
/// Limit: bytes of a client's text that a list begins after; test: none, longer text
/// is cut off there.
const AFTER_LIMIT: usize = 512;

/// The separator of the segments of keys.
const SLASH: &str = "/";

/// Which keys a request asks for.
#[derive(Clone, Debug)]
pub(crate) struct ListQuery<'a> {
    /// The directory, as [`Key`] prints it, with a closing slash.
    pub(crate) directory: &'a str,
    /// Whether what is in a directory below counts as one.
    pub(crate) by_directory: bool,
    /// The text, relative to the directory, after which the list begins. Azurite
    /// and S3 Express begin at the beginning nevertheless.
    pub(crate) after: String,
    /// Where an earlier request ended that was otherwise the same.
    pub(crate) token: Option<String>,
    /// The most keys.
    pub(crate) limit: usize,
}

impl<'a> ListQuery<'a> {
    /// The first keys of a directory.
    pub(crate) fn of(directory: &'a str) -> Self {
        let (after, token, limit) = (String::new(), None, LIST_LIMIT);
        Self { directory, by_directory: false, after, token, limit }
    }
}

/// The response to one request: names relative to the directory, in the order of
/// keys.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyPage {
    /// The directories right below, without a slash, if they count as one.
    pub(crate) directories: Vec<String>,
    /// The objects: all of them, or those right below.
    pub(crate) objects: Vec<ListedObject>,
    /// Where the list goes on, if it does.
    pub(crate) token: Option<String>,
}

/// An object in a list.
#[derive(Clone, Debug)]
pub(crate) struct ListedObject {
    /// Its name relative to the directory.
    pub(crate) name: String,
    /// What it is, if it is of the registry.
    pub(crate) key: Option<Key>,
    /// What the store says of it.
    pub(crate) meta: ObjectMeta,
}

impl Objects {
    /// Lists a part of a directory.
    pub(crate) async fn list(&self, query: &ListQuery<'_>) -> Result<KeyPage, Error> {
        let root = match self.backend.root.as_ref() {
            "" => String::new(),
            root => format!("{root}{SLASH}"),
        };
        let directory = format!("{root}{}", query.directory);
        let after = &query.after;
        let options = PaginatedListOptions {
            // Not all stores take the place of a directory for one in it.
            offset: (!after.is_empty()).then(|| format!("{directory}{after}")),
            delimiter: query.by_directory.then_some(Cow::Borrowed(SLASH)),
            max_keys: Some(query.limit),
            page_token: query.token.clone(),
            ..PaginatedListOptions::default()
        };
        let found = self.backend.lists.list_paginated(Some(&directory), options).await?;
        let directories = found.result.common_prefixes.iter();
        let directories =
            directories.filter_map(|path| Some(path.as_ref().strip_prefix(&directory)?.to_owned()));
        let objects = found.result.objects.into_iter().filter_map(|meta| {
            let name = meta.location.as_ref().strip_prefix(&directory)?.to_owned();
            let key = meta.location.as_ref().strip_prefix(&root);
            Some(ListedObject { name, key: key.and_then(|key| Key::parse(key).ok()), meta })
        });
        Ok(KeyPage {
            directories: directories.collect(),
            objects: objects.collect(),
            token: found.page_token,
        })
    }
}

/// Where a list of keys can begin for what is after `text`, which a client made
/// up: as much of its beginning as could be that of a key. What comes between is
/// listed, and has to be left out.
pub(super) fn start_of(text: &str) -> &str {
    let of_keys = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._/".contains(byte);
    let length = text.bytes().take(AFTER_LIMIT).take_while(of_keys).count();
    text.get(..length).unwrap_or_default()
}

/// The names that come before `name` in the order of names, but after it in the
/// order of keys, because a slash follows there: `a` for `a-b` and `a.b`. So does `a` for `a/0`, as
/// what makes `a` a repository is in `a/_manifests`.
///
/// Of all names that a list in the order of keys has not reached yet, only these
/// belong before its last one: between `a-b/` and `a/`, all keys begin with `a`.
pub(super) fn late_names(name: &str) -> impl Iterator<Item = &str> {
    let bytes = name.as_bytes();
    let comes_first = move |&(at, byte): &(usize, u8)| match byte {
        b'/' => bytes.get(at + 1).is_some_and(|next| *next < b'_'),
        byte => byte < b'/',
    };
    name.bytes().enumerate().filter(comes_first).filter_map(|(at, _)| name.get(..at))
}

#[cfg(test)]
mod tests {
    use super::{AFTER_LIMIT, late_names, start_of};

    #[test]
    fn lists_begin_like_keys() {
        for (text, expected) in [
            ("a-b/c.d_0", "a-b/c.d_0"),
            ("a\u{1}b", "a"),
            ("\u{7f}", ""),
            ("a\u{e9}", "a"),
            ("a b", "a"),
        ] {
            assert_eq!(start_of(text), expected);
        }
        assert_eq!(start_of(&"a".repeat(9999)).len(), AFTER_LIMIT);
    }

    #[test]
    fn names_that_come_later_by_key() {
        let of = |name| late_names(name).collect::<Vec<_>>();
        assert_eq!(of("1.2-rc.3_x"), ["1", "1.2", "1.2-rc"]);
        assert_eq!(of("plain0"), [] as [&str; 0]);
        assert_eq!(of("team-x/a.b"), ["team", "team-x/a"]);
        assert_eq!(of("team/0/app"), ["team"]);
        assert_eq!(of("team/app"), [] as [&str; 0]);
    }
}
