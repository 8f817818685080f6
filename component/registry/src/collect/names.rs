//! Repositories and tags, by their names.

use super::run::{PAGE, Run};
use roadstead_oci::{Digest, RepositoryName, Tag};
use roadstead_storage::{Holding, Key, NameList, NamesQuery, Pointer, Storage, StorageError};

impl<S: Storage> Run<'_, S> {
    /// The repositories after one, at most `limit`.
    pub(super) async fn repositories(
        &mut self,
        after: Option<String>,
        limit: usize,
    ) -> Result<Vec<RepositoryName>, StorageError> {
        let list = NameList::Repositories(Holding::Anything);
        let query = NamesQuery { list, values: false, after, limit };
        self.spent += 1;
        let page = self.store.storage.names(&query).await?;
        let names = page.names.iter().map(|name| RepositoryName::parse(name));
        names.collect::<Result<_, _>>().map_err(|error| StorageError::Failed(error.to_string()))
    }

    /// Visits the next page of a repository's tags after `after`, with what they lead to:
    /// an error if that is damaged. A tag that a loss of power has left without a value
    /// leads nowhere. Returns where the next page begins.
    pub(super) async fn tags(
        &mut self,
        name: &RepositoryName,
        after: Option<String>,
        mut visit: impl FnMut(Tag, Result<Digest, StorageError>),
    ) -> Result<Option<String>, StorageError> {
        let list = NameList::Tags(name.clone());
        let query = NamesQuery { list, values: true, after, limit: PAGE };
        let page = self.store.storage.names(&query).await?;
        self.spent += 1 + u32::try_from(page.names.len()).unwrap_or(u32::MAX);
        for (tag, value) in page.names.iter().zip(&page.values) {
            // Others may have directories that are no tags.
            let Ok(tag) = Tag::parse(tag) else { continue };
            let key = Key::Tag(name.clone(), tag.clone());
            match Pointer::parse(&key, value.as_bytes()) {
                Ok(pointer) => visit(tag, Ok(pointer.digest)),
                Err(StorageError::NotFound) => {}
                Err(error) => visit(tag, Err(error)),
            }
        }
        if !page.more {
            return Ok(None);
        }
        // Nothing may be concluded from tags that are not shown.
        let ends_early = || StorageError::Failed(format!("the list of tags of {name} ends early"));
        page.names.into_iter().next_back().map(Some).ok_or_else(ends_early)
    }
}

/// How far a walk through repositories has come, in percent, by the name of the last one:
/// names begin with a letter or a digit.
pub(crate) fn percent(name: &str) -> u8 {
    match name.bytes().next() {
        Some(byte @ b'0'..=b'9') => (byte - b'0') * 2,
        Some(byte @ b'a'..=b'z') => 20 + (byte - b'a') * 3,
        _ => 0,
    }
}
