//! All objects of a collection, a page at a time.

use crate::{Collection, Cursor, Entry, Listing, Storage, StorageError};

/// The pages of a collection, which are listed one after the other.
#[derive(Clone, Debug)]
pub struct Pages<'a> {
    collection: &'a Collection,
    limit: usize,
    /// Where the next page begins.
    next: Option<Cursor>,
    has_ended: bool,
}

impl<'a> Pages<'a> {
    /// Pages of at most `limit` objects, after `after` or from the beginning.
    pub fn new(collection: &'a Collection, after: Option<Cursor>, limit: usize) -> Self {
        Self { collection, limit, next: after, has_ended: false }
    }

    /// The next page, which may be empty; `None` after the last.
    ///
    /// # Errors
    /// Those of [`Storage::enumerate`].
    pub async fn next<S: Storage>(
        &mut self,
        storage: &S,
    ) -> Result<Option<Vec<Entry>>, StorageError> {
        if self.has_ended {
            return Ok(None);
        }
        let Listing { entries, next } =
            storage.enumerate(self.collection, self.next.as_ref(), self.limit).await?;
        self.has_ended = next.is_none();
        self.next = next;
        Ok(Some(entries))
    }

    /// Where the next page begins; `None` after the last.
    pub fn cursor(&self) -> Option<&Cursor> {
        self.next.as_ref()
    }
}
