//! The inventory of images: all that they lead to.

use super::error::Error;
use super::survey::{Budget, REFERENCES};
use super::{DEPTH, Group, Image, Naming, Set};
use crate::{Content, Inventory, Manifest, Piece, Repository};
use roadstead_oci::{Digest, InvalidManifest, ManifestKind, MediaType, RepositoryName, Tag};

pub(super) fn inventory(set: &Set, name: &Naming<'_>) -> Result<Inventory, Error> {
    let volumes = set.found.iter().map(|found| found.inventory.volumes).max();
    let inventory = Inventory { volumes: volumes.unwrap_or_default(), ..Inventory::default() };
    let mut walk = Walk { set, inventory, budget: Budget::new(REFERENCES) };
    for (image, group) in set.images.iter().zip(&set.groups_of) {
        let (repository, tag) = name(image)?;
        let Some(group) = set.groups.get(*group) else { continue };
        walk.add(group, image, &repository, tag)?;
    }
    Ok(walk.inventory)
}

struct Walk<'a> {
    set: &'a Set,
    inventory: Inventory,
    budget: Budget,
}

/// A manifest that is to be looked at.
struct Open {
    digest: Digest,
    media_type: Option<MediaType>,
    /// The size that an index says it has.
    size: Option<u64>,
    depth: usize,
}

/// A manifest that was looked at.
struct Seen {
    manifest: Manifest,
    below: Vec<Open>,
}

impl Walk<'_> {
    fn add(
        &mut self,
        group: &Group,
        image: &Image,
        name: &RepositoryName,
        tag: Option<Tag>,
    ) -> Result<(), Error> {
        let mut repository = self.inventory.repositories.remove(name).unwrap_or_default();
        if let Some(tag) = tag
            && let Some(before) = repository.tags.insert(tag.clone(), image.digest.clone())
            && before != image.digest
        {
            let digest = &image.digest;
            let why = format!("two images are to be {name}:{tag}: {before} and {digest}");
            return Err(Error::of(&group.label, why));
        }
        let (digest, media_type) = (image.digest.clone(), image.media_type.clone());
        let mut open = vec![Open { digest, media_type, size: None, depth: 0 }];
        while let Some(next) = open.pop() {
            self.visit(group, &mut repository, &mut open, next)?;
        }
        self.inventory.repositories.insert(name.clone(), repository);
        Ok(())
    }

    fn visit(
        &mut self,
        group: &Group,
        repository: &mut Repository,
        open: &mut Vec<Open>,
        next: Open,
    ) -> Result<(), Error> {
        if repository.manifests.contains_key(&next.digest) {
            return Ok(());
        }
        if next.depth > DEPTH {
            let why = format!("is an index within more than {DEPTH} others");
            return Err(Error::entry(&group.label, next.digest.as_str().as_bytes(), why));
        }
        let Seen { manifest, below } = match group.inventory {
            Some(found) => self.look_up(group, found, &next)?,
            None => self.read(group, &next)?,
        };
        let read = if group.inventory.is_none() { self.set.size(&next.digest) } else { None };
        let references = 1 + manifest.blobs.len() + below.len();
        self.budget.spend(references, read.unwrap_or_default(), &group.label)?;
        for referrer in group.referrers.get(&next.digest).into_iter().flatten() {
            // A referrer is not within what it refers to.
            let media_type = group.known.get(referrer).cloned().flatten();
            open.push(Open { digest: referrer.clone(), media_type, size: None, depth: 0 });
        }
        open.extend(below);
        repository.manifests.insert(next.digest, manifest);
        Ok(())
    }

    /// A manifest that an inventory tells of, whose bytes may be in a volume that is not
    /// here.
    fn look_up(&mut self, group: &Group, found: usize, next: &Open) -> Result<Seen, Error> {
        let found = self.set.found.get(found);
        let stored = found.map(|found| &found.inventory);
        let name = group.repository.as_ref();
        let repository = stored.zip(name).and_then(|(all, name)| all.repositories.get(name));
        let missing = |digest: &Digest| {
            let why = "is in a repository of the inventory, which does not say what it is";
            Error::entry(&group.label, digest.as_str().as_bytes(), why)
        };
        let manifest = repository.and_then(|repository| repository.manifests.get(&next.digest));
        let manifest = manifest.ok_or_else(|| missing(&next.digest))?.clone();
        for digest in manifest.blobs.iter().chain([&next.digest]) {
            let content = stored.and_then(|stored| stored.contents.get(digest));
            let content = content.ok_or_else(|| missing(digest))?;
            self.content(group, &next.digest, digest, content.size, &content.pieces)?;
        }
        let below = manifest.children.iter().map(|digest| Open {
            digest: digest.clone(),
            media_type: None,
            size: None,
            depth: next.depth + 1,
        });
        let below = below.collect();
        Ok(Seen { manifest, below })
    }

    /// A manifest whose bytes are here.
    fn read(&mut self, group: &Group, next: &Open) -> Result<Seen, Error> {
        let refused = |why: &dyn std::fmt::Display| {
            Error::entry(&group.label, next.digest.as_str().as_bytes(), why)
        };
        let bytes = self.set.manifest(&next.digest)?;
        let bytes = bytes.ok_or_else(|| refused(&"is a manifest that is not in the archive"))?;
        let parsed = roadstead_oci::Manifest::parse_stored(&bytes, next.media_type.as_ref());
        let parsed = parsed.map_err(|error| match error {
            InvalidManifest::MediaTypeMismatch { header, field } => {
                refused(&format!("is listed as {header}, but it is {field}"))
            }
            error => refused(&error),
        })?;
        let size = bytes.len() as u64;
        if let Some(stated) = next.size.filter(|stated| *stated != size) {
            return Err(refused(&format!("has {size} bytes, but an index says {stated}")));
        }
        self.content(group, &next.digest, &next.digest, size, &[])?;
        let mut manifest = Manifest {
            media_type: parsed.media_type().clone(),
            artifact_type: parsed.effective_artifact_type().cloned(),
            subject: parsed.subject().map(|subject| subject.digest.clone()),
            children: Vec::new(),
            blobs: Vec::new(),
        };
        for blob in parsed.blobs() {
            self.content(group, &next.digest, &blob.digest, blob.size, &[])?;
            manifest.blobs.push(blob.digest.clone());
        }
        let mut below = Vec::new();
        let children = match parsed.kind() {
            ManifestKind::Index { manifests } => manifests.as_slice(),
            ManifestKind::Image { .. } | ManifestKind::Other => &[],
        };
        for child in children {
            self.content(group, &next.digest, &child.digest, child.size, &[])?;
            let is_here = self.set.size(&child.digest).is_some();
            if !child.media_type.is_json() {
                // A cache of BuildKit's: an index of layers.
                manifest.blobs.push(child.digest.clone());
            } else if is_here {
                manifest.children.push(child.digest.clone());
                below.push(Open {
                    digest: child.digest.clone(),
                    media_type: Some(child.media_type.clone()),
                    size: Some(child.size),
                    depth: next.depth + 1,
                });
            }
        }
        Ok(Seen { manifest, below })
    }

    /// Adds a content that a manifest refers to.
    fn content(
        &mut self,
        group: &Group,
        manifest: &Digest,
        digest: &Digest,
        size: u64,
        pieces: &[Piece],
    ) -> Result<(), Error> {
        self.set.check_size(digest, size, &format!("{}: {manifest}", group.label))?;
        let is_here = self.set.size(digest).is_some();
        let content = self.inventory.contents.entry(digest.clone()).or_insert_with(|| {
            let all = Piece { volume: 1, offset: 0, length: size, digest: None };
            let own = if is_here { vec![all] } else { Vec::new() };
            Content { size, pieces: if pieces.is_empty() { own } else { pieces.to_vec() } }
        });
        if content.size != size {
            let before = content.size;
            let why = format!("says that {digest} has {size} bytes, but another says {before}");
            return Err(Error::entry(&group.label, manifest.as_str().as_bytes(), why));
        }
        // Not each time that a manifest lists it: there may be many pieces.
        if content.pieces.is_empty() {
            content.pieces = pieces.to_vec();
        }
        Ok(())
    }
}
