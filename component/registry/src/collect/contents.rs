//! What a repository holds, for quotas and for `roadstead du`.

use super::manifests::Damaged;
use super::run::{PAGE, Run};
use crate::store::{Store, blob_hash};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use roadstead_bridge::contents::{ContentsAnswer, RepositoryContents};
use roadstead_oci::{Digest, RepositoryName};
use roadstead_storage::{Collection, Key, Pages, Storage, StorageError};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

/// How long a blob counts that a repository links to, and that none of its manifests refers to. By
/// then a collector has moved the link away, unless another repository needs the blob.
///
/// Limit: time for which a blob counts that no manifest of the repository refers to; test:
/// `what_no_manifest_refers_to_counts_for_some_days`.
const UNREFERRED: Duration = Duration::from_hours(7 * 24);

/// How many blobs an answer names: those of one repository with more are in several answers.
///
/// Limit: blobs that an answer about the contents of repositories names; test:
/// `contents_in_several_answers`.
const ANSWER: usize = 10_000;

/// How many blobs of a repository have their size looked up, since no manifest says it.
///
/// Limit: blobs of a repository whose size no manifest says and that `du` and the report of usage
/// count; test: none, such blobs are seldom.
pub(super) const UNSIZED: usize = 1000;

/// How many are looked up at a time.
///
/// Limit: blobs whose size is looked up at a time; test: none, more are looked up in steps.
const AT_ONCE: usize = 8;

/// Something that a repository holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Held {
    /// A manifest that it links to, with its size.
    Manifest(u64),
    /// What a manifest refers to, with the size that the manifest says.
    Referred(Option<u64>),
    /// A blob that it links to; a manifest may refer to it too.
    Linked,
}

impl Held {
    /// The size in bytes, if that is not only what a manifest says.
    pub(super) fn seen_size(self) -> Option<u64> {
        match self {
            Self::Manifest(size) => Some(size),
            Self::Referred(_) | Self::Linked => None,
        }
    }

    /// The size in bytes, where it is known.
    pub(super) fn size(self) -> Option<u64> {
        match self {
            Self::Manifest(size) => Some(size),
            Self::Referred(size) => size,
            Self::Linked => None,
        }
    }
}

/// The first blobs of a repository after one, in order.
struct First {
    after: Option<u128>,
    /// With their sizes, where they are known.
    blobs: BTreeMap<u128, Option<u64>>,
    limit: usize,
    has_more: bool,
}

impl First {
    fn take(&mut self, blob: u128, size: Option<u64>) {
        if self.after.is_some_and(|after| blob <= after) {
            return;
        }
        let known = self.blobs.entry(blob).or_default();
        *known = (*known).or(size);
        if self.blobs.len() > self.limit {
            self.blobs.pop_last();
            self.has_more = true;
        }
    }
}

impl<S: Storage> Store<S> {
    /// What repositories hold after the end of an answer: one at least, and then as many as
    /// `budget` operations of the storage allow. The answer after the last one is empty, and has
    /// no `next`.
    pub(crate) async fn contents(
        &self,
        last: Option<&str>,
        budget: u32,
    ) -> Result<ContentsAnswer, StorageError> {
        let mut run = self.looker();
        let mut answer = ContentsAnswer::default();
        let (mut names, mut within) = (Vec::new(), None);
        let mut after = last.map(str::to_owned);
        if let Some((name, blob)) = last.and_then(|last| last.split_once('@'))
            && let (Ok(repository), Ok(blob)) =
                (RepositoryName::parse(name), u128::from_str_radix(blob, 16))
        {
            (names, within) = (vec![repository], Some(blob));
            after = Some(name.to_owned());
        }
        names.extend(run.repositories(after, PAGE).await?);
        let mut room = ANSWER;
        for name in names {
            let first = within.take();
            let (contents, more) = match run.contents_of(&name, first, room).await {
                // Something in it is damaged.
                Err(StorageError::Failed(_)) => (unknown(&name), None),
                contents => contents?,
            };
            room = room.saturating_sub(contents.blobs.len().max(1));
            answer.repositories.push(contents);
            answer.next = Some(match more {
                Some(blob) => format!("{name}@{blob:032x}"),
                None => name.as_str().to_owned(),
            });
            if more.is_some() || run.spent >= budget || room == 0 {
                break;
            }
        }
        Ok(answer)
    }
}

/// A repository of which it is not known what it holds.
fn unknown(name: &RepositoryName) -> RepositoryContents {
    let name = name.as_str().to_owned();
    RepositoryContents { name, incomplete: true, ..RepositoryContents::default() }
}

impl<S: Storage> Run<'_, S> {
    /// What a repository holds after a blob, of at most `limit` blobs, and the last of them if
    /// there are more.
    async fn contents_of(
        &mut self,
        name: &RepositoryName,
        after: Option<u128>,
        limit: usize,
    ) -> Result<(RepositoryContents, Option<u128>), StorageError> {
        let mut first = First { after, blobs: BTreeMap::new(), limit, has_more: false };
        let mut unsized_ones: Vec<Digest> = Vec::new();
        let rules = self.store.quotas.rules(name.as_str()).map(|rule| rule.name().to_owned());
        let mut contents = RepositoryContents {
            name: name.as_str().to_owned(),
            rules: rules.collect(),
            ..RepositoryContents::default()
        };
        let visited = self.contents(name, SystemTime::now(), |digest, held| {
            contents.manifests += u64::from(matches!(held, Held::Manifest(_)));
            first.take(blob_hash(digest), held.size());
            if held.size().is_none() && unsized_ones.len() < UNSIZED {
                unsized_ones.push(digest.clone());
            }
        });
        visited.await?;
        let is_unknown = |first: &First, digest: &Digest| {
            first.blobs.get(&blob_hash(digest)).is_some_and(Option::is_none)
        };
        unsized_ones.retain(|digest| is_unknown(&first, digest));
        for (digest, size) in self.data_sizes(unsized_ones).await? {
            first.take(blob_hash(&digest), Some(size.unwrap_or(0)));
        }
        if after.is_none() {
            let mut tags = 0;
            self.tag_names(name, |_| tags += 1).await?;
            contents.tags = tags;
        } else {
            contents.manifests = 0;
        }
        let last = first.blobs.last_key_value().map(|(blob, _)| *blob);
        for (blob, size) in first.blobs {
            contents.incomplete |= size.is_none();
            contents.blobs.push((format!("{blob:032x}"), size.unwrap_or(0)));
        }
        Ok((contents, last.filter(|_| first.has_more)))
    }

    /// Visits what counts of a repository: its manifests, what they refer to, and the blobs that
    /// were uploaded or mounted not long before `now`. One thing may come several times.
    pub(super) async fn contents(
        &mut self,
        name: &RepositoryName,
        now: SystemTime,
        mut visit: impl FnMut(&Digest, Held),
    ) -> Result<(), StorageError> {
        let visited = self.visit(name, Damaged::PassesOver, None, |manifest, known| {
            visit(manifest, Held::Manifest(known.size));
            for (digest, size) in &known.references.content {
                visit(digest, Held::Referred(*size));
            }
        });
        visited.await?;
        let collection = Collection::Layers(name.clone());
        let mut pages = Pages::new(&collection, None, PAGE);
        while let Some(entries) = self.next(&mut pages).await? {
            self.keep_pace().await;
            for entry in entries {
                let age = now.duration_since(entry.modified).unwrap_or_default();
                if let Key::Layer(_, digest) = &entry.key
                    && age < UNREFERRED
                {
                    visit(digest, Held::Linked);
                }
            }
        }
        Ok(())
    }

    /// Visits the names of a repository's tags.
    pub(super) async fn tag_names(
        &mut self,
        name: &RepositoryName,
        mut visit: impl FnMut(&str),
    ) -> Result<(), StorageError> {
        let collection = Collection::Tags(name.clone());
        let mut pages = Pages::new(&collection, None, PAGE);
        while let Some(entries) = self.next(&mut pages).await? {
            self.keep_pace().await;
            for entry in entries {
                if let Key::Tag(_, tag) = &entry.key {
                    visit(tag.as_str());
                }
            }
        }
        Ok(())
    }

    /// The sizes of the data of blobs, where it is there.
    pub(super) async fn data_sizes(
        &mut self,
        digests: Vec<Digest>,
    ) -> Result<Vec<(Digest, Option<u64>)>, StorageError> {
        self.spent = self.spent.saturating_add(u32::try_from(digests.len()).unwrap_or(u32::MAX));
        let store = self.store;
        let sizes = digests.into_iter().map(|digest| async move {
            let data = store.blob_objects(&digest).await?.data;
            Ok::<_, StorageError>((digest, data.map(|(size, _)| size)))
        });
        let (mut sizes, mut found) = (stream::iter(sizes).buffered(AT_ONCE), Vec::new());
        while let Some(size) = sizes.try_next().await? {
            self.keep_pace().await;
            found.push(size);
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::First;
    use std::collections::BTreeMap;

    #[test]
    fn contents_in_several_answers() {
        let (mut after, mut all) = (None, Vec::new());
        loop {
            let mut first = First { after, blobs: BTreeMap::new(), limit: 3, has_more: false };
            for blob in [7, 1, 9, 3, 1, 8, 2, 7] {
                first.take(blob, None);
                first.take(blob, Some(1));
            }
            all.extend(first.blobs.keys().copied());
            assert!(first.blobs.values().all(|size| *size == Some(1)));
            after = first.blobs.last_key_value().map(|(blob, _)| *blob);
            if !first.has_more {
                break;
            }
        }
        assert_eq!(all, [1, 2, 3, 7, 8, 9]);
    }
}
