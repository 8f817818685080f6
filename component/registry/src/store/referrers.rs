//! Referrers: the manifests whose `subject` is a given one.
//!
//! Each has an entry below its subject, a descriptor as the referrers API lists
//! it, so a page is one operation of the storage. The entries repeat what the
//! manifests say: where another registry pushed manifests, which keeps none,
//! they are gathered when a repository's referrers are first asked for.
//! A read-only registry gathers them for each request instead.

use super::Store;
use super::deletions::{Push, Waited};
use bytes::Bytes;
use roadstead_oci::{Descriptor, Digest, Manifest, Reference, RepositoryName};
use roadstead_storage::{
    Collection, Key, NameList, NamesQuery, PAGE_BYTES, Page, Pages, Storage, StorageError,
};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// How many manifests are listed in one operation while referrers are gathered.
///
/// Limit: manifests listed in one operation while referrers are gathered; test: none,
/// more are listed in steps.
const STEP: usize = 1000;

/// How many manifests a repository has at most whose referrers are gathered for the page, which
/// shows what is stored of others.
///
/// Limit: manifests of a repository whose referrers an answer to the page gathers; test: none,
/// the referrers are not complete.
const GATHERED_AT_ONCE: usize = 100;

/// A manifest that refers to another.
#[derive(Clone, Debug)]
pub(crate) struct Referrer {
    /// The digest of the manifest that it refers to.
    subject: Digest,
    /// Itself, as the referrers API lists it.
    descriptor: Descriptor,
}

impl Referrer {
    /// The referrer that a manifest of this digest and size is, if it has a
    /// subject.
    pub(crate) fn of(manifest: &Manifest, digest: &Digest, size: u64) -> Option<Self> {
        let subject = manifest.subject()?.digest.clone();
        let descriptor = Descriptor {
            media_type: manifest.media_type().clone(),
            digest: digest.clone(),
            size,
            artifact_type: manifest.effective_artifact_type().cloned(),
            annotations: manifest.annotations().clone(),
            urls: Vec::new(),
        };
        Some(Self { subject, descriptor })
    }

    /// Whether a page of referrers has room for it.
    pub(crate) fn fits(&self) -> bool {
        self.json().is_ok_and(|json| json.len() <= PAGE_BYTES)
    }

    pub(crate) fn key(&self, name: &RepositoryName) -> Key {
        Key::Referrer {
            repository: name.clone(),
            subject: self.subject.clone(),
            digest: self.descriptor.digest.clone(),
        }
    }

    fn json(&self) -> Result<String, StorageError> {
        serde_json::to_string(&self.descriptor)
            .map_err(|error| StorageError::Failed(error.to_string()))
    }

    /// The same, without its annotations if no page has room for them.
    pub(crate) fn shortened(mut self) -> Self {
        if !self.fits() {
            self.descriptor.annotations.clear();
        }
        self
    }
}

/// Referrers that were gathered and are not stored: a page of them.
struct Gathered<'a> {
    subject: &'a Digest,
    after: &'a str,
    limit: usize,
    /// Their descriptors by name.
    found: BTreeMap<String, String>,
    bytes: usize,
    more: bool,
}

impl Gathered<'_> {
    fn take(&mut self, referrer: &Referrer) -> Result<(), StorageError> {
        let digest = &referrer.descriptor.digest;
        let name = format!("{}-{}", digest.algorithm().as_str(), digest.encoded());
        if referrer.subject == *self.subject && name.as_str() > self.after {
            let json = referrer.json()?;
            self.bytes += json.len();
            self.found.insert(name, json);
            self.cut();
        }
        Ok(())
    }

    /// Leaves as much as a page has room for.
    fn cut(&mut self) {
        let full = |this: &Self| this.bytes > PAGE_BYTES && this.found.len() > 1;
        while self.found.len() > self.limit || full(self) {
            let Some((_, json)) = self.found.pop_last() else { return };
            self.bytes -= json.len();
            self.more = true;
        }
    }

    /// The page, with those that are stored.
    fn with(mut self, stored: Page) -> Page {
        if let (true, Some(last)) = (stored.more, stored.names.last()) {
            // What comes after the stored page is on the next one.
            self.found.retain(|name, _| name <= last);
            self.bytes = self.found.values().map(String::len).sum();
            self.more = true;
        }
        for (name, json) in stored.names.into_iter().zip(stored.values) {
            self.bytes += json.len();
            if let Some(twice) = self.found.insert(name, json) {
                self.bytes -= twice.len();
            }
        }
        self.cut();
        let (names, values) = self.found.into_iter().unzip();
        Page { names, values, more: self.more }
    }
}

/// The digest of a referrer by its name in a list.
fn digest_of(name: &str) -> Option<Digest> {
    let (algorithm, hex) = name.split_once('-')?;
    Digest::parse(&format!("{algorithm}:{hex}")).ok()
}

impl<S: Storage> Store<S> {
    /// A page of the manifests that refer to `subject` (end-12): values are
    /// descriptors as JSON, and empty for those that are not to be listed.
    pub(crate) async fn referrers(
        &self,
        name: &RepositoryName,
        subject: &Digest,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, StorageError> {
        let gathered = self.gather_referrers(name, subject, after, limit).await?;
        let page = self.stored_referrers(name, subject, after, limit).await?;
        Ok(match gathered {
            Some(gathered) => gathered.with(page),
            None => page,
        })
    }

    /// The first of the manifests that refer to `subject`, at most `limit`, as descriptors, and
    /// whether these are all. They are gathered only in a repository with few manifests.
    pub(crate) async fn known_referrers(
        &self,
        name: &RepositoryName,
        subject: &Digest,
        limit: usize,
    ) -> Result<(Vec<String>, bool), StorageError> {
        let is_gathered = self.storage.exists(&Key::ReferrersComplete(name.clone())).await?;
        let is_small = is_gathered || {
            let collection = Collection::Revisions(name.clone());
            self.storage.enumerate(&collection, None, GATHERED_AT_ONCE).await?.next.is_none()
        };
        let page = if is_small {
            self.referrers(name, subject, None, limit).await?
        } else {
            self.stored_referrers(name, subject, None, limit).await?
        };
        let complete = is_small && !page.more;
        let listed = page.values.into_iter().filter(|descriptor| !descriptor.is_empty());
        Ok((listed.collect(), complete))
    }

    /// A page of the referrers that are stored.
    async fn stored_referrers(
        &self,
        name: &RepositoryName,
        subject: &Digest,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, StorageError> {
        let list = NameList::Referrers { repository: name.clone(), subject: subject.clone() };
        let after = after.map(str::to_owned);
        let mut page = self.storage.names(&NamesQuery { list, values: true, after, limit }).await?;
        let missing = self.leave_out_missing(name, &mut page).await?;
        self.restore_long(name, &mut page, &missing).await;
        Ok(page)
    }

    pub(crate) async fn put_referrer(
        &self,
        name: &RepositoryName,
        referrer: &Referrer,
    ) -> Result<(), StorageError> {
        self.storage.write(&referrer.key(name), referrer.json()?.into()).await
    }

    /// Takes the values of the page whose manifest the repository does not hold: another
    /// registry's collector knows nothing of referrers, and clients that copy them would
    /// fail. Their names stay, so that the next page begins after them.
    async fn leave_out_missing(
        &self,
        name: &RepositoryName,
        page: &mut Page,
    ) -> Result<HashSet<Digest>, StorageError> {
        let listed: Vec<Digest> = page.names.iter().filter_map(|name| digest_of(name)).collect();
        let listed: Vec<&Digest> = listed.iter().collect();
        let missing = self.storage.missing_manifests(name, &listed).await?;
        let missing: HashSet<Digest> = missing.into_iter().collect();
        for (referrer, value) in page.names.iter().zip(&mut page.values) {
            if digest_of(referrer).is_some_and(|digest| missing.contains(&digest)) {
                value.clear();
            }
        }
        Ok(missing)
    }

    /// Gives the values that were too long for the page, which an earlier version
    /// stored, without annotations. One whose manifest is `missing` or damaged stays
    /// out.
    async fn restore_long(
        &self,
        name: &RepositoryName,
        page: &mut Page,
        missing: &HashSet<Digest>,
    ) {
        for (referrer, value) in page.names.iter().zip(&mut page.values) {
            let digest = digest_of(referrer).filter(|digest| !missing.contains(digest));
            if let (true, Some(digest)) = (value.is_empty(), digest)
                && let Ok(found) = self.referrer_of(name, &digest).await
            {
                *value = found.and_then(|found| found.shortened().json().ok()).unwrap_or_default();
            }
        }
    }

    /// The referrer that a manifest of the repository is, if it is one.
    async fn referrer_of(
        &self,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<Referrer>, StorageError> {
        let bytes = self.manifest_bytes(digest).await?;
        let stat = self.storage.manifest_stat(name, &Reference::Digest(digest.clone())).await?;
        let manifest = Manifest::parse_stored(&bytes, stat.media_type.as_ref()).ok();
        let referrer = manifest.and_then(|m| Referrer::of(&m, digest, bytes.len() as u64));
        Ok(referrer.map(Referrer::shortened))
    }

    /// Gathers the referrers of manifests that another registry pushed, and stores
    /// them once for all. Where that is not possible, gives those of `subject`:
    /// what is stored is only a cache of the manifests.
    async fn gather_referrers<'a>(
        &self,
        name: &RepositoryName,
        subject: &'a Digest,
        after: Option<&'a str>,
        limit: usize,
    ) -> Result<Option<Gathered<'a>>, StorageError> {
        let complete = Key::ReferrersComplete(name.clone());
        if self.storage.exists(&complete).await? {
            return Ok(None);
        }
        let mut gathered = Gathered {
            subject,
            after: after.unwrap_or_default(),
            limit,
            found: BTreeMap::new(),
            bytes: 0,
            more: false,
        };
        let collection = Collection::Revisions(name.clone());
        let (mut found, mut storing) = (false, !self.read_only);
        let mut pages = Pages::new(&collection, None, STEP);
        while let Some(entries) = pages.next(&self.storage).await? {
            for entry in entries {
                let Key::Revision(_, digest) = entry.key else { continue };
                found = true;
                // A link whose manifest is missing or damaged refers to nothing.
                let Ok(Some(referrer)) = self.referrer_of(name, &digest).await else { continue };
                gathered.take(&referrer)?;
                storing = storing && self.adopt_referrer(name, &referrer).await.is_ok();
            }
        }
        if storing && found {
            // Without it, they are gathered again.
            let _ = self.storage.write(&complete, Bytes::new()).await;
        }
        Ok((!storing).then_some(gathered))
    }

    /// Stores a referrer that is not stored yet. Its manifest may be deleted
    /// meanwhile.
    async fn adopt_referrer(
        &self,
        name: &RepositoryName,
        referrer: &Referrer,
    ) -> Result<(), StorageError> {
        let (key, digest) = (referrer.key(name), &referrer.descriptor.digest);
        if self.storage.exists(&key).await? {
            return Ok(());
        }
        self.put_referrer(name, referrer).await?;
        let push = Push { name, digest, tags: &[], blobs: &[], named: &BTreeSet::new() };
        self.outwait(&push, &mut Waited::new()).await?;
        let revision = Key::Revision(name.clone(), digest.clone());
        if !self.storage.exists(&revision).await? {
            let announcement = self.announce(name, digest).await?;
            if !self.storage.exists(&revision).await? {
                self.storage.delete(&key).await?;
            }
            self.end(announcement).await?;
        }
        Ok(())
    }
}
