//! Which manifests nothing else leads to, and which refer to others by `subject`.

use super::error::Error;
use super::{DEPTH, Group, Image, Name, Set};
use roadstead_oci::{Digest, Manifest, ManifestKind, MediaType};
use std::collections::{BTreeMap, BTreeSet};

/// How much manifests may refer to, each counted as often as a repository has it: a few
/// large manifests in many repositories would fill any memory.
///
/// Limit: references that are followed in a set; test: `references_are_limited`.
pub(super) const REFERENCES: usize = 10_000_000;

/// Reads the manifests of all groups, and finds their images.
pub(super) fn survey(set: &mut Set, limit: usize) -> Result<(), Error> {
    let mut budget = Budget::new(limit);
    let mut groups = std::mem::take(&mut set.groups);
    let mut seen = BTreeSet::new();
    for (at, group) in groups.iter_mut().enumerate() {
        let led = match group.inventory {
            Some(found) => of_inventory(set, group, found),
            None => of_manifests(set, group, &mut budget)?,
        };
        let mut images = group.roots.clone();
        images.retain(|(name, digest)| name.tag.is_some() || !led.contains(digest));
        let named: BTreeSet<_> = images.iter().map(|(_, digest)| digest).collect();
        let others =
            group.known.keys().filter(|known| !named.contains(known) && !led.contains(known));
        let repository = &group.repository;
        let others: Vec<_> = others
            .map(|digest| (Name { repository: repository.clone(), ..Name::default() }, digest))
            .map(|(name, digest)| (name, digest.clone()))
            .collect();
        for (name, digest) in images.into_iter().chain(others) {
            let media_type = group.known.get(&digest).cloned().flatten();
            let image = Image { name, digest, media_type };
            if seen.insert((image.name.clone(), image.digest.clone())) {
                set.images.push(image);
                set.groups_of.push(at);
            }
        }
    }
    set.groups = groups;
    Ok(())
}

/// How many bytes of manifests are read, each as often as a repository has it: that takes
/// some seconds for each GiB.
///
/// Limit: bytes of manifests that are read in a set; test: none, it would take as long.
const BYTES: u64 = 16 * 1024 * 1024 * 1024;

/// How much may be followed yet.
pub(super) struct Budget {
    references: usize,
    bytes: u64,
}

impl Budget {
    pub(super) fn new(references: usize) -> Self {
        Self { references, bytes: BYTES }
    }

    /// Follows so many references of a manifest, of which so many bytes were read.
    pub(super) fn spend(&mut self, references: usize, read: u64, label: &str) -> Result<(), Error> {
        let left = self.references.checked_sub(references).zip(self.bytes.checked_sub(read));
        let why = "has manifests that refer to too much";
        (self.references, self.bytes) = left.ok_or_else(|| Error::of(label, why))?;
        Ok(())
    }
}

/// What other manifests lead to, of those that an inventory tells of.
fn of_inventory(set: &Set, group: &mut Group, found: usize) -> BTreeSet<Digest> {
    let mut led = BTreeSet::new();
    let found = set.found.get(found);
    let repositories = found.map(|found| &found.inventory.repositories);
    let repository =
        group.repository.as_ref().and_then(|name| repositories.and_then(|all| all.get(name)));
    for (digest, manifest) in repository.iter().flat_map(|repository| &repository.manifests) {
        led.extend(manifest.children.iter().cloned());
        if let Some(subject) = &manifest.subject {
            group.referrers.entry(subject.clone()).or_default().push(digest.clone());
            if group.known.contains_key(subject) {
                led.insert(digest.clone());
            }
        }
    }
    led
}

/// The same by reading them. Those of a layout are only the outermost: others are below
/// them.
fn of_manifests(
    set: &Set,
    group: &mut Group,
    budget: &mut Budget,
) -> Result<BTreeSet<Digest>, Error> {
    let (mut led, mut seen) = (BTreeSet::new(), BTreeSet::new());
    let descends = group.repository.is_none();
    let mut level: Vec<(Digest, Option<MediaType>)> = group
        .known
        .iter()
        .map(|(digest, media_type)| (digest.clone(), media_type.clone()))
        .collect();
    for _ in 0..=DEPTH {
        let mut below = BTreeMap::new();
        for (digest, media_type) in level {
            if !seen.insert(digest.clone()) {
                continue;
            }
            // One that is too large for a manifest is not read.
            let read = set.size(&digest).filter(|size| *size <= Manifest::MAX_SIZE as u64);
            budget.spend(0, read.unwrap_or_default(), &group.label)?;
            // What is no manifest is an error once it is asked for.
            let Some(manifest) = set.parse(&digest, media_type.as_ref())? else { continue };
            if let Some(known) = group.known.get_mut(&digest) {
                *known = Some(manifest.media_type().clone());
            }
            if let Some(subject) = manifest.subject() {
                group.referrers.entry(subject.digest.clone()).or_default().push(digest);
            }
            let (children, count) = match manifest.kind() {
                ManifestKind::Index { manifests } => (manifests.as_slice(), manifests.len()),
                ManifestKind::Image { layers, .. } => ([].as_slice(), layers.len()),
                ManifestKind::Other => ([].as_slice(), 0),
            };
            budget.spend(1 + count, 0, &group.label)?;
            for child in children {
                led.insert(child.digest.clone());
                if descends && child.media_type.is_json() && !seen.contains(&child.digest) {
                    below.insert(child.digest.clone(), Some(child.media_type.clone()));
                }
            }
        }
        level = below.into_iter().collect();
    }
    for (subject, referrers) in &group.referrers {
        if seen.contains(subject) {
            led.extend(referrers.iter().cloned());
        }
    }
    Ok(led)
}
