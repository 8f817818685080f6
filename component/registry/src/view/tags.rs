//! Tags of a repository in an order, with what they lead to.

use super::manifest::Kind;
use super::{AT_ONCE, Budget, Can, LISTED_CONFIG, LOOKS, Listed, VERSION, shown_time};
use crate::store::{Store, recorded};
use crate::{TagOrder, TagsRequest};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use roadstead_oci::{Digest, RepositoryName, Tag};
use roadstead_storage::{Key, Storage, StorageError};
use serde::Serialize;
use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};
use std::time::SystemTime;

/// The answer.
#[derive(Debug, Serialize)]
pub(crate) struct TagsView {
    version: u32,
    name: String,
    /// How many tags there are, and how many of them match.
    total: usize,
    matching: usize,
    can: Can,
    sorted_by: &'static str,
    /// Whether all of them were looked at.
    complete: bool,
    tags: Vec<TagView>,
}

#[derive(Debug, Serialize)]
struct TagView {
    name: String,
    digest: Option<String>,
    media_type: Option<String>,
    artifact_type: Option<String>,
    pushed: Option<String>,
    pulled: Option<String>,
    size: Option<u64>,
    platforms: Vec<String>,
    immutable: bool,
    /// How many other tags have this digest, if all were looked at.
    same: Option<usize>,
}

/// What a list shows of a manifest.
#[derive(Clone, Debug, Default)]
struct Summary {
    media_type: Option<String>,
    artifact_type: Option<String>,
    size: Option<u64>,
    platforms: Vec<String>,
}

impl<S: Storage> Store<S> {
    /// Some of a repository's tags.
    ///
    /// # Errors
    /// [`StorageError::NotFound`] when there is no such repository.
    pub(crate) async fn tags_view(
        &self,
        name: &RepositoryName,
        request: &TagsRequest,
        can: Can,
    ) -> Result<TagsView, StorageError> {
        let (mut tags, all_listed) = self.listed_tags(name).await?;
        if tags.is_empty() {
            self.tags(name, None, 1).await?;
        }
        let total = tags.len();
        let by_size = request.sort == TagOrder::Size;
        let (mut digests, has_digests) = if by_size || !self.costs_requests() {
            self.all_digests(name, &tags).await?
        } else {
            (HashMap::new(), false)
        };
        let mut same = has_digests.then(|| count(&digests));
        if let Some(text) = &request.search {
            tags.retain(|tag| tag.name.to_lowercase().contains(text));
        }
        let matching = tags.len();
        let budget = Budget::new(LOOKS);
        let mut looked = HashMap::new();
        if by_size {
            let wanted = tags.iter().filter_map(|tag| digests.get(&tag.name)).cloned().collect();
            looked = self.summaries(name, wanted, false, &budget).await?;
        }
        let size = |tag: &Listed| looked.get(digests.get(&tag.name)?).and_then(|found| found.size);
        sort(&mut tags, request, size);
        let page: Vec<Listed> = tags.into_iter().skip(request.offset).take(request.limit).collect();
        if !has_digests {
            let names: Vec<&str> = page.iter().map(|tag| tag.name.as_str()).collect();
            digests.extend(self.digests_of(name, &names).await?);
            same = same.or_else(|| (page.len() == total).then(|| count(&digests)));
        }
        let all_sized = budget.was_enough() && (has_digests || !by_size);
        // Those of the page are looked at in any case, for their platforms.
        let budget = Budget::new(LOOKS);
        let wanted = page.iter().filter_map(|tag| digests.get(&tag.name)).cloned().collect();
        for (digest, found) in self.summaries(name, wanted, true, &budget).await? {
            let known = looked.entry(digest).or_default();
            let size = found.size.or(known.size);
            if found.media_type.is_some() {
                *known = Summary { size, ..found };
            }
        }
        let pulled = self.pulled(name, &page).await?;
        let shown = page.iter().zip(pulled).map(|(tag, pulled)| {
            let digest = digests.get(&tag.name);
            let found = digest.and_then(|digest| looked.get(digest)).cloned().unwrap_or_default();
            let same = same.as_ref().and_then(|same| same.get(digest?)).map(|count| count - 1);
            self.tag_view(name, tag, (digest, same), pulled, found)
        });
        Ok(TagsView {
            version: VERSION,
            name: name.as_str().to_owned(),
            total,
            matching,
            can,
            sorted_by: request.sort.as_str(),
            complete: all_listed && all_sized && budget.was_enough(),
            tags: shown.collect(),
        })
    }

    fn tag_view(
        &self,
        name: &RepositoryName,
        tag: &Listed,
        (digest, same): (Option<&Digest>, Option<usize>),
        pulled: Option<SystemTime>,
        found: Summary,
    ) -> TagView {
        TagView {
            name: tag.name.clone(),
            digest: digest.map(ToString::to_string),
            media_type: found.media_type,
            artifact_type: found.artifact_type,
            pushed: shown_time(tag.pushed),
            pulled: pulled.and_then(shown_time),
            size: found.size,
            platforms: found.platforms,
            immutable: self.is_immutable(name, &tag.name),
            same,
        }
    }

    /// What is shown of manifests, as far as the budget allows; their platforms only if that is
    /// asked for.
    async fn summaries(
        &self,
        name: &RepositoryName,
        digests: BTreeSet<Digest>,
        platforms: bool,
        budget: &Budget,
    ) -> Result<HashMap<Digest, Summary>, StorageError> {
        let found = digests.into_iter().map(async |digest| {
            let summary = self.summary(name, &digest, platforms, budget).await?;
            Ok::<_, StorageError>((digest, summary))
        });
        stream::iter(found).buffer_unordered(AT_ONCE).try_collect().await
    }

    async fn summary(
        &self,
        name: &RepositoryName,
        digest: &Digest,
        platforms: bool,
        budget: &Budget,
    ) -> Result<Summary, StorageError> {
        let Some(look) = self.look_at(name, digest, budget).await? else {
            return Ok(Summary::default());
        };
        let own = look.bytes.len() as u64;
        let mut summary = Summary {
            media_type: look.shown.media_type(),
            artifact_type: look.shown.artifact_type(),
            // Several manifests are looked at together already.
            size: self.total(name, (own, &look.shown), 1, budget).await?,
            platforms: Vec::new(),
        };
        if platforms {
            summary.platforms = match (look.shown.kind(), &look.shown.config) {
                (Kind::Index, _) => {
                    let children = look.shown.manifests.kept.iter();
                    let mut seen = BTreeSet::new();
                    let all = children.filter_map(super::Part::platform);
                    all.filter(|platform| seen.insert(platform.clone())).collect()
                }
                (Kind::Image, Some(config)) => {
                    let config = self.read_config(name, config, LISTED_CONFIG, budget).await?;
                    config.and_then(|config| config.platform()).into_iter().collect()
                }
                _ => Vec::new(),
            };
        }
        Ok(summary)
    }

    /// When tags were pulled, as far as that is recorded.
    async fn pulled(
        &self,
        name: &RepositoryName,
        tags: &[Listed],
    ) -> Result<Vec<Option<SystemTime>>, StorageError> {
        if !self.retention.asks_for_pulls(name.as_str()) {
            return Ok(vec![None; tags.len()]);
        }
        let reads = tags.iter().map(async |tag| {
            let Ok(tag) = Tag::parse(&tag.name) else { return Ok(None) };
            let text = super::known(self.storage.read(&Key::Pulled(name.clone(), tag)).await)?;
            Ok(text.and_then(|text| recorded(&text)))
        });
        stream::iter(reads).buffered(AT_ONCE).try_collect().await
    }
}

/// How many tags have each digest.
fn count(digests: &HashMap<String, Digest>) -> HashMap<Digest, usize> {
    let mut counts = HashMap::new();
    for digest in digests.values() {
        *counts.entry(digest.clone()).or_default() += 1;
    }
    counts
}

/// Puts tags into order. Those whose size is not known come last, whatever the order is.
fn sort(tags: &mut [Listed], request: &TagsRequest, size: impl Fn(&Listed) -> Option<u64>) {
    let turned = |order: Ordering| if request.descending { order.reverse() } else { order };
    match request.sort {
        TagOrder::Name => tags.sort_by(|one, other| turned(one.name.cmp(&other.name))),
        TagOrder::Pushed => tags.sort_by(|one, other| {
            turned(one.pushed.cmp(&other.pushed)).then_with(|| one.name.cmp(&other.name))
        }),
        TagOrder::Size => tags.sort_by_cached_key(|tag| {
            let size = size(tag);
            let key = size.map(|size| if request.descending { u64::MAX - size } else { size });
            (key.is_none(), key, tag.name.clone())
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::{Listed, sort};
    use crate::{TagOrder, TagsRequest};
    use std::time::{Duration, SystemTime};

    /// Tags with the times at which they were pushed, in seconds.
    const TAGS: [(&str, u64); 4] = [("c", 1), ("a", 2), ("d", 2), ("b", 3)];

    fn sorted(order: TagOrder, descending: bool) -> String {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let mut tags =
            TAGS.map(|(name, pushed)| Listed { name: name.to_owned(), pushed: at(pushed) });
        let request = TagsRequest { sort: order, descending, search: None, offset: 0, limit: 9 };
        sort(&mut tags, &request, |tag| match tag.name.as_str() {
            "a" => Some(10),
            "b" => Some(0),
            "c" => Some(u64::MAX),
            _ => None,
        });
        tags.iter().map(|tag| tag.name.as_str()).collect()
    }

    #[test]
    fn orders() {
        assert_eq!(sorted(TagOrder::Name, false), "abcd");
        assert_eq!(sorted(TagOrder::Name, true), "dcba");
        assert_eq!(sorted(TagOrder::Pushed, false), "cadb");
        assert_eq!(sorted(TagOrder::Pushed, true), "badc");
        // Not known, so the last one.
        assert_eq!(sorted(TagOrder::Size, false), "bacd");
        assert_eq!(sorted(TagOrder::Size, true), "cabd");
    }
}
