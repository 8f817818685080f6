//! The order in which images are written.

use crate::{Inventory, Manifest, Repository};
use roadstead_oci::{Digest, RepositoryName, Tag};
use std::collections::HashSet;

/// The most bytes that an archive may have to hold. It keeps sums of sizes, which nobody has
/// checked yet, far from the end of their type.
///
/// Limit: bytes of all contents of an inventory; test: `inventories_that_make_no_sense_are_refused`.
const CONTENTS_LIMIT: u64 = 1 << 60;

/// A tagged image, or manifests that no tag leads to.
#[derive(Debug)]
pub(super) struct Image<'a> {
    /// The tag, if there is one.
    pub(super) tag: Option<&'a Tag>,
    /// The manifest that it begins with.
    pub(super) root: &'a Digest,
    /// That and those that it leads to, children before their index, without those of
    /// images before it.
    pub(super) manifests: Vec<(&'a Digest, &'a Manifest)>,
}

impl Repository {
    /// All manifests: those of tags first, in the tags' order.
    pub(super) fn images(&self) -> Vec<Image<'_>> {
        let mut seen = HashSet::new();
        let mut images = Vec::new();
        for (tag, root) in &self.tags {
            images.push(Image { tag: Some(tag), root, manifests: self.family(root, &mut seen) });
        }
        for root in self.manifests.keys() {
            let manifests = self.family(root, &mut seen);
            if !manifests.is_empty() {
                images.push(Image { tag: None, root, manifests });
            }
        }
        images
    }

    /// A manifest and all that it leads to, except what was `seen`, children first.
    fn family<'a>(
        &'a self,
        root: &'a Digest,
        seen: &mut HashSet<&'a Digest>,
    ) -> Vec<(&'a Digest, &'a Manifest)> {
        let mut found = Vec::new();
        // No recursion: it would be as deep as the indexes are nested.
        let mut open = vec![(root, false)];
        while let Some((digest, has_children_before)) = open.pop() {
            let Some(manifest) = self.manifests.get(digest) else { continue };
            if has_children_before {
                found.push((digest, manifest));
            } else if seen.insert(digest) {
                open.push((digest, true));
                open.extend(manifest.children.iter().rev().map(|child| (child, false)));
            }
        }
        found
    }

    /// The manifests that no tag and no index leads to.
    pub(super) fn untagged_roots(&self) -> impl Iterator<Item = &Digest> {
        let children = self.manifests.values().flat_map(|manifest| &manifest.children);
        let led_to: HashSet<_> = children.chain(self.tags.values()).collect();
        self.manifests.keys().filter(move |digest| !led_to.contains(digest))
    }
}

/// Removes contents that no repository holds.
///
/// # Errors
/// When a repository lacks something, or the sizes cannot be true.
pub(super) fn tidy(inventory: &mut Inventory) -> Result<(), String> {
    let Inventory { repositories, contents, .. } = inventory;
    let mut held = HashSet::new();
    for (name, repository) in repositories.iter() {
        check(name, repository)?;
        for (digest, manifest) in &repository.manifests {
            held.insert(digest);
            held.extend(&manifest.blobs);
        }
    }
    if let Some(missing) = held.iter().find(|digest| !contents.contains_key(**digest)) {
        return Err(format!("the inventory does not say how large {missing} is"));
    }
    contents.retain(|digest, _| held.contains(digest));
    let mut sizes = contents.values().map(|content| content.size);
    let total = sizes.try_fold(0, u64::checked_add);
    if total.is_none_or(|total| total > CONTENTS_LIMIT) {
        return Err(format!("the contents have more than {CONTENTS_LIMIT} bytes"));
    }
    for content in contents.values_mut() {
        content.pieces.clear();
    }
    Ok(())
}

/// That tags and indexes lead to manifests of their repository.
fn check(name: &RepositoryName, repository: &Repository) -> Result<(), String> {
    let has = |digest: &Digest| repository.manifests.contains_key(digest);
    if let Some((tag, digest)) = repository.tags.iter().find(|(_, digest)| !has(digest)) {
        return Err(format!("{name}:{tag} leads to {digest}, which {name} does not hold"));
    }
    for (index, manifest) in &repository.manifests {
        if let Some(child) = manifest.children.iter().find(|child| !has(child)) {
            return Err(format!("{name}@{index} leads to {child}, which {name} does not hold"));
        }
    }
    Ok(())
}
