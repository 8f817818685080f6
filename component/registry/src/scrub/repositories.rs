//! The second stage: what repositories hold is followed.

use super::Scrub;
use super::manifests::Examined;
use super::state::{Part, RepositoryPlace, Stage, Within};
use futures::future::try_join_all;
use roadstead_bridge::scrub::{Finding, Kind};
use roadstead_oci::{Digest, Reference, RepositoryName};
use roadstead_storage::{
    Collection, Cursor, Entry, Holding, Key, NameList, NamesQuery, Pointer, Storage, StorageError,
};

/// How many objects are looked at at a time.
///
/// Limit: objects that a scrub looks at at a time; test: none, more are looked at in steps.
const AT_ONCE: usize = 8;

impl<S: Storage> Scrub<'_, S> {
    /// Follows a page of one part of a repository.
    pub(super) async fn repositories(
        &mut self,
        place: RepositoryPlace,
    ) -> Result<(), StorageError> {
        let RepositoryPlace { done, within } = place;
        let Some(within) = within else {
            self.known.borrow_mut().clear();
            let next = self.next_repository(done.as_ref()).await?;
            self.state.stage = match next {
                Some(name) => {
                    self.counts.repositories += 1;
                    let within = Within { name, part: Part::Revisions, after: None };
                    Stage::Repositories(RepositoryPlace { done, within: Some(within) })
                }
                None if self.order.quarantine.is_some() && self.has_announced() => Stage::Move,
                None => Stage::End,
            };
            return Ok(());
        };
        let next = match self.part(&within).await? {
            Some(after) => Some(Within { after: Some(after), ..within.clone() }),
            None => within.part.next().map(|part| Within { part, after: None, ..within.clone() }),
        };
        let place = match next {
            Some(next) => RepositoryPlace { done, within: Some(next) },
            None => RepositoryPlace { done: Some(within.name), within: None },
        };
        self.state.stage = Stage::Repositories(place);
        Ok(())
    }

    /// Whether blobs may have been announced to be moved out of the way.
    fn has_announced(&self) -> bool {
        self.store.storage.marker().is_some() && !self.state.suspects.is_empty()
    }

    async fn next_repository(
        &self,
        after: Option<&RepositoryName>,
    ) -> Result<Option<RepositoryName>, StorageError> {
        let list = NameList::Repositories(Holding::Anything);
        let after = after.map(|name| name.as_str().to_owned());
        let query = NamesQuery { list, values: false, after, limit: 1 };
        self.spend(1);
        let page = self.store.storage.names(&query).await?;
        let name = page.names.first().map(|name| RepositoryName::parse(name));
        name.transpose().map_err(|error| StorageError::Failed(error.to_string()))
    }

    /// Follows a part of a repository as far as this slice may, a page at most. Says
    /// where it goes on.
    async fn part(&mut self, within: &Within) -> Result<Option<Cursor>, StorageError> {
        let Within { name, part, after } = within;
        let collection = match part {
            Part::Revisions => Collection::Revisions(name.clone()),
            Part::Tags => Collection::Tags(name.clone()),
            Part::Referrers => Collection::Referrers(name.clone()),
            // Each link is a request more in a bucket, for a count.
            Part::Layers if self.store.storage.marker().is_some() => return Ok(None),
            Part::Layers => Collection::Layers(name.clone()),
        };
        let listing = self.page(&collection, after.as_ref()).await?;
        let mut chunks = listing.entries.chunks(AT_ONCE).peekable();
        while let Some(chunk) = chunks.next() {
            let looks = chunk.iter().map(|entry| self.entry(name, entry));
            for Examined { mut findings, counts } in try_join_all(looks).await? {
                self.counts.add(&counts);
                self.findings.append(&mut findings);
            }
            if self.is_spent()
                && chunks.peek().is_some()
                && let Some(last) = chunk.last()
            {
                let key = last.key.to_string();
                let place = key.strip_prefix(&collection.prefix());
                return Ok(place.map(|place| Cursor(place.to_owned())).or(listing.next));
            }
        }
        Ok(listing.next)
    }

    async fn entry(&self, name: &RepositoryName, entry: &Entry) -> Result<Examined, StorageError> {
        let mut examined = Examined::default();
        match &entry.key {
            Key::Revision(_, digest) => return self.manifest(name, digest).await,
            Key::Tag(_, tag) => {
                examined.counts.tags = 1;
                let found = self.tag(name, &entry.key).await?;
                examined.findings.extend(found.map(|(kind, digest, cause)| Finding {
                    repository: Some(name.to_string()),
                    tag: Some(tag.to_string()),
                    digest,
                    cause,
                    ..Finding::new(kind)
                }));
            }
            Key::Referrer { subject, digest, .. } => {
                examined.counts.referrers = 1;
                if !self.holds(name, digest).await? && self.exists(&entry.key).await? {
                    examined.findings.push(Finding {
                        repository: Some(name.to_string()),
                        digest: Some(digest.to_string()),
                        cause: Some(format!("a referrer of {subject}")),
                        ..Finding::new(Kind::ReferrerDangling)
                    });
                }
            }
            Key::Layer(_, digest) => {
                let known = self.known.borrow().contains_key(digest);
                if !known && !self.exists(&Key::Blob(digest.clone())).await? {
                    examined.counts.empty_links = 1;
                }
            }
            _ => {}
        }
        Ok(examined)
    }

    /// What is wrong with a tag.
    async fn tag(
        &self,
        name: &RepositoryName,
        key: &Key,
    ) -> Result<Option<(Kind, Option<String>, Option<String>)>, StorageError> {
        self.spend(1);
        let value = match self.store.storage.read(key).await {
            Ok(value) => value,
            // It has been deleted meanwhile.
            Err(StorageError::NotFound) => return Ok(None),
            Err(error) => {
                let cause = self.of_one_object(error).await?;
                return Ok(Some((Kind::TagDamaged, None, Some(cause))));
            }
        };
        let Ok(Pointer { digest, .. }) = Pointer::parse(key, &value) else {
            return Ok(Some((Kind::TagDamaged, None, None)));
        };
        if self.holds(name, &digest).await? {
            return Ok(None);
        }
        // It may have been moved, or deleted with its manifest.
        self.spend(1);
        let same = match self.store.storage.read(key).await {
            Ok(again) => again == value,
            Err(StorageError::NotFound) => false,
            Err(error) => return Err(error),
        };
        Ok(same.then(|| (Kind::TagDangling, Some(digest.to_string()), None)))
    }

    /// Whether a repository holds a manifest, with its bytes.
    async fn holds(&self, name: &RepositoryName, digest: &Digest) -> Result<bool, StorageError> {
        self.spend(1);
        let reference = Reference::Digest(digest.clone());
        match self.store.storage.manifest_stat(name, &reference).await {
            Ok(_) => Ok(true),
            Err(StorageError::NotFound) => Ok(false),
            // It is there, and reported where it is read.
            Err(error) => self.of_one_object(error).await.map(|_| true),
        }
    }
}
