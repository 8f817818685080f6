//! Pages of names; see [`roadstead_storage::Page`].

use roadstead_bridge::storage::LIST_LIMIT;
use roadstead_storage::{NameList, NamesQuery, PAGE_BYTES, Page};
use std::borrow::Cow;

/// A page that is being filled.
pub(super) struct Pages<'a> {
    query: &'a NamesQuery,
    limit: usize,
    /// Whether values are asked for, and the list has some.
    values: bool,
    page: Page,
    /// The length of all values.
    bytes: usize,
}

impl<'a> Pages<'a> {
    pub(super) fn new(query: &'a NamesQuery) -> Self {
        let limit = query.limit.min(LIST_LIMIT);
        let values = query.values && !matches!(query.list, NameList::Repositories(_));
        Self { query, limit, values, page: Page::default(), bytes: 0 }
    }

    /// Takes what there is room for of a list, which is in the order of names.
    pub(super) fn take<T>(
        &mut self,
        items: &[T],
        name: impl Fn(&T) -> Cow<'_, str>,
        value: impl Fn(&T) -> String,
    ) {
        let after = self.query.after.as_deref().unwrap_or_default();
        let start = items.partition_point(|item| *name(item) <= *after);
        for item in items.get(start..).unwrap_or_default() {
            if self.page.names.len() == self.limit {
                self.page.more = true;
                return;
            }
            let value = self.values.then(|| value(item));
            // One that no page has room for is given as an empty one.
            let value = value.map(|it| if it.len() > PAGE_BYTES { String::new() } else { it });
            let bytes = self.bytes + value.as_ref().map_or(0, String::len);
            if bytes > PAGE_BYTES && !self.page.names.is_empty() {
                self.page.more = true;
                return;
            }
            self.bytes = bytes;
            self.page.names.push(name(item).into_owned());
            self.page.values.extend(value);
        }
    }

    pub(super) fn page(self) -> Page {
        self.page
    }
}
