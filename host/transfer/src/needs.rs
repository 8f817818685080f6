//! Images that need a content which is not to be had.

use crate::DEPTH;
use roadstead_archive::Repository;
use roadstead_oci::Digest;
use std::collections::BTreeSet;

/// Removes the manifests that are one of these contents or need one: images of their blobs,
/// and indexes of such images. Returns what was removed: of each a tag, or its digest.
pub(crate) fn remove(repository: &mut Repository, contents: BTreeSet<Digest>) -> Vec<String> {
    let mut without = contents;
    for _ in 0..=DEPTH {
        let before = without.len();
        let manifests = repository.manifests.iter();
        let needs = manifests.filter(|(_, manifest)| {
            manifest.blobs.iter().chain(&manifest.children).any(|it| without.contains(it))
        });
        let more: Vec<_> = needs.map(|(digest, _)| digest.clone()).collect();
        without.extend(more);
        if without.len() == before {
            break;
        }
    }
    let named = |digest: &Digest| {
        let mut tags = repository.tags.iter().filter(|(_, it)| *it == digest);
        tags.next().map_or_else(|| format!("@{digest}"), |(tag, _)| format!(":{tag}"))
    };
    let removed = repository.manifests.keys().filter(|it| without.contains(*it));
    let removed = removed.map(named).collect();
    repository.manifests.retain(|digest, _| !without.contains(digest));
    repository.tags.retain(|_, digest| !without.contains(digest));
    removed
}
