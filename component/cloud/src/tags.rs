//! Tags that are created and do not replace another: for tags that never change.
//!
//! A store with conditional writes decides who is first. In others, entries of the tag's history
//! are claims: who wants to create the tag writes its entry, and goes on only if no other entry is
//! new. Each writes before it reads, so of two that claim a tag at the same time one sees the
//! other, at least, and is refused; perhaps both are. Claims are not taken back: one of the same
//! manifest may be another's. After [`DEAD_AFTER`] one that led to no tag counts no longer. Only beside
//! a deletion of the tag, which takes claims away with its history, two can create it there.

use crate::error::Error;
use crate::objects::Objects;
use roadstead_oci::{Digest, MediaType, RepositoryName, Tag};
use roadstead_storage::condemned::DEAD_AFTER;
use roadstead_storage::{Collection, Created, Entry, Key, StorageError};

/// How often it is looked where a tag points to, if it could not be created.
///
/// Limit: attempts to create a tag; test: none, another one is needed only if it is deleted at the
/// same moment.
const ATTEMPTS: usize = 4;

/// How many claims are listed in one request.
///
/// Limit: claims of a tag that are listed in one request; test: none, more are listed in steps.
const STEP: usize = 1000;

impl Objects {
    /// See [`roadstead_storage::Storage::create_tag`].
    pub(crate) async fn create_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        digest: &Digest,
        media_type: &MediaType,
    ) -> Result<Created, Error> {
        let key = Key::Tag(repository.clone(), tag.clone());
        let history = Key::TagHistory(repository.clone(), tag.clone(), digest.clone());
        for _ in 0..ATTEMPTS {
            if let Some(created) = self.created(&key, digest).await? {
                return Ok(created);
            }
            if !self.is_conditional() {
                let others = Collection::TagHistory(repository.clone(), tag.clone());
                return self.create_claimed(&key, &history, &others, digest, media_type).await;
            }
            match self.create_link(&key, digest, media_type).await {
                Ok(()) => {
                    self.link(&history, digest, None).await?;
                    return Ok(Created::Here);
                }
                // Another one has created it, or an earlier attempt of this request has; or the
                // store knows no conditions.
                Err(Error::Conflict(_) | Error::Unsupported(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Err(goes_on(&key))
    }

    /// Where a tag points to, if it exists.
    async fn created(&self, key: &Key, digest: &Digest) -> Result<Option<Created>, Error> {
        match self.pointer(key).await {
            Ok(found) if found.digest == *digest => Ok(Some(Created::Here)),
            Ok(found) => Ok(Some(Created::Elsewhere(found.digest))),
            Err(Error::NOT_FOUND) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates a tag in a store without conditional writes.
    async fn create_claimed(
        &self,
        key: &Key,
        claim: &Key,
        claims: &Collection,
        digest: &Digest,
        media_type: &MediaType,
    ) -> Result<Created, Error> {
        self.link(claim, digest, None).await?;
        let mut entries: Vec<Entry> = Vec::new();
        let mut after = None;
        loop {
            let listing = self.enumerate(claims, after.as_ref(), STEP).await?;
            entries.extend(listing.entries);
            after = listing.next;
            if after.is_none() {
                break;
            }
        }
        let own = entries.iter().find(|entry| entry.key == *claim).map(|entry| entry.modified);
        let is_new = |entry: &Entry| {
            let age = own.and_then(|own| own.duration_since(entry.modified).ok());
            entry.key != *claim && age.is_none_or(|age| age <= DEAD_AFTER)
        };
        let claimed = own.is_none() || entries.iter().any(is_new);
        // Only now: whoever has created it has claimed it before.
        match self.created(key, digest).await? {
            Some(created) => Ok(created),
            None if claimed => Err(goes_on(key)),
            None => {
                self.link(key, digest, Some(media_type)).await?;
                Ok(Created::Here)
            }
        }
    }
}

fn goes_on(key: &Key) -> Error {
    StorageError::Unavailable(format!("{key} is being created by another push")).into()
}
