//! What deletions of tags would affect.

use super::{AT_ONCE, VERSION};
use crate::store::Store;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use roadstead_oci::{Digest, RepositoryName, Tag};
use roadstead_storage::{Storage, StorageError};
use serde::Serialize;
use std::collections::{BTreeSet, HashMap};

/// How many other tags are named for each tag.
///
/// Limit: other tags with the same digest that the preview of a deletion names; test:
/// `ten_thousand_tags`.
const OTHERS: usize = 1000;

/// How many referrers are counted of a manifest.
///
/// Limit: referrers of a manifest that the preview of a deletion counts; test: none, more count
/// as so many.
const REFERRERS: usize = 100;

/// The answer.
#[derive(Debug, Serialize)]
pub(crate) struct DeletionView {
    version: u32,
    tags: Vec<DeletedTag>,
}

#[derive(Debug, Serialize)]
struct DeletedTag {
    name: String,
    digest: Option<String>,
    immutable: bool,
    missing: bool,
    /// Other tags with the same digest.
    others: Vec<String>,
    others_complete: bool,
    /// How many manifests refer to it, at most [`REFERRERS`]; `None` if there is no such tag.
    referrers: Option<usize>,
}

impl<S: Storage> Store<S> {
    /// What deletions of tags would affect.
    pub(crate) async fn deletion_view(
        &self,
        name: &RepositoryName,
        wanted: &[Tag],
    ) -> Result<DeletionView, StorageError> {
        let (listed, all_listed) = self.listed_tags(name).await?;
        let (digests, all) = self.all_digests(name, &listed).await?;
        let names: Vec<&str> = wanted.iter().map(Tag::as_str).collect();
        let current = self.digests_of(name, &names).await?;
        let mut of_digest: HashMap<&Digest, Vec<&str>> = HashMap::new();
        for tag in &listed {
            if let Some(digest) = digests.get(&tag.name) {
                of_digest.entry(digest).or_default().push(&tag.name);
            }
        }
        let referrers = self.referrer_counts(name, current.values().collect()).await?;
        let mut tags = Vec::new();
        for tag in wanted {
            let digest = current.get(tag.as_str());
            let all_others = digest.and_then(|digest| of_digest.get(digest));
            let all_others = all_others.map(Vec::as_slice).unwrap_or_default();
            let is_other = |other: &&&str| **other != tag.as_str();
            let others: Vec<String> =
                all_others.iter().filter(is_other).take(OTHERS).map(ToString::to_string).collect();
            let all_named = all_others.len() <= OTHERS;
            tags.push(DeletedTag {
                name: tag.as_str().to_owned(),
                digest: digest.map(ToString::to_string),
                immutable: self.keeps_tag(name, tag.as_str()).is_some(),
                missing: digest.is_none(),
                others,
                others_complete: all_listed && all && all_named,
                referrers: digest.and_then(|digest| referrers.get(digest).copied()),
            });
        }
        Ok(DeletionView { version: VERSION, tags })
    }

    /// How many manifests refer to each of some. The first look may gather the referrers of the
    /// repository, which the others find.
    async fn referrer_counts<'a>(
        &self,
        name: &RepositoryName,
        digests: BTreeSet<&'a Digest>,
    ) -> Result<HashMap<&'a Digest, usize>, StorageError> {
        let mut looks = digests.into_iter().map(async |digest| {
            let (found, _) = self.known_referrers(name, digest, REFERRERS).await?;
            Ok::<_, StorageError>((digest, found.len()))
        });
        let Some(first) = looks.next() else { return Ok(HashMap::new()) };
        let first = first.await?;
        let others = stream::iter(looks).buffer_unordered(AT_ONCE);
        let mut counts: HashMap<_, _> = others.try_collect().await?;
        counts.insert(first.0, first.1);
        Ok(counts)
    }
}
