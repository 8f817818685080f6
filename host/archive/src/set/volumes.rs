//! Volumes of our own exports: inventories, their signatures, and parts of contents that
//! are larger than a volume.

use super::error::Error;
use super::files::{At, Span, digest_of};
use super::scan::Scan;
use super::{Group, Name, Set};
use crate::{Content, Inventory, members, signature as signatures};
use bytes::Bytes;
use roadstead_oci::{Algorithm, Digest};
use std::collections::BTreeSet;
use std::fs::File;

/// The longest number of a volume.
///
/// Limit: bytes of the number of a volume; test: `hostile_volumes_are_refused`.
const NUMBER: usize = 16;

/// Different inventories in one set.
///
/// Limit: exports that are read together; test: `exports_are_limited`.
const INVENTORIES: usize = 64;

/// The inventory of an export of ours, as volumes have it.
#[derive(Debug)]
pub struct Found {
    /// The inventory. Who wrote it is known only once [`Found::signature`] was verified.
    pub inventory: Inventory,
    /// Its bytes, which are signed.
    pub bytes: Bytes,
    /// The signature, if there is one.
    pub signature: Option<Bytes>,
    /// The volumes that are here.
    pub volumes: BTreeSet<u32>,
    /// The archive that it was found in first, for messages.
    pub archive: String,
    digest: Option<Digest>,
}

/// Adds a volume.
pub(super) fn add(
    set: &mut Set,
    archive: usize,
    file: &File,
    scan: &Scan,
    inventory: Span,
) -> Result<(), Error> {
    set.with_inventory.insert(archive);
    let label = set.archives.get(archive).map_or("", |archive| &archive.label).to_owned();
    let read = |name: &str, span: Span, limit: usize| {
        let refused = |why: &dyn std::fmt::Display| Error::entry(&label, name.as_bytes(), why);
        match span.read(file, limit) {
            Ok(Some(bytes)) => Ok(Bytes::from(bytes)),
            Ok(None) => Err(refused(&"is too large")),
            Err(error) => Err(refused(&error)),
        }
    };
    let bytes = read(members::INVENTORY, inventory, Inventory::MAX_SIZE)?;
    let signature = match scan.signature {
        Some(at) => Some(read(members::SIGNATURE, at, signatures::MAX_SIZE)?),
        None => None,
    };
    let number = match scan.volume {
        Some(at) => Some(read(members::VOLUME, at, NUMBER)?),
        None => None,
    };
    let refused = |name: &str, why| Error::entry(&label, name.as_bytes(), why);
    let number = number.map(|bytes| parse_number(&bytes)).transpose();
    let number = number.map_err(|why| refused(members::VOLUME, why))?;
    let digest = digest_of(&bytes, Algorithm::Sha256);
    let found = match set.found.iter().position(|found| found.digest == digest) {
        Some(at) => at,
        None if set.found.len() == INVENTORIES => {
            return Err(Error::of(
                &label,
                format_args!("is of one export more than {INVENTORIES}"),
            ));
        }
        None => {
            let inventory = parse(&bytes);
            let inventory = inventory.map_err(|why| refused(members::INVENTORY, why))?;
            let volumes = BTreeSet::new();
            let archive = label.clone();
            set.found.push(Found { inventory, bytes, signature: None, volumes, archive, digest });
            set.found.len() - 1
        }
    };
    if let Some(found) = set.found.get_mut(found) {
        match (&found.signature, signature) {
            (Some(before), Some(signature)) if *before != signature => {
                let why = format!("is not the one of {}", found.archive);
                return Err(refused(members::SIGNATURE, why));
            }
            (None, Some(signature)) => found.signature = Some(signature),
            _ => {}
        }
        if let Some(number) = number {
            if number > found.inventory.volumes {
                return Err(refused(members::VOLUME, "is more than there are".to_owned()));
            }
            found.volumes.insert(number);
        }
    }
    for (digest, pieces) in &scan.pieces {
        for (offset, span) in pieces {
            add_piece(set, digest, *offset, At { archive, span: *span }, &label)?;
        }
    }
    Ok(())
}

fn add_piece(
    set: &mut Set,
    digest: &Digest,
    offset: u64,
    at: At,
    label: &str,
) -> Result<(), Error> {
    let known = set.pieces.entry(digest.clone()).or_default().entry(offset).or_insert(at);
    if known.span.size == at.span.size {
        return Ok(());
    }
    let (size, before) = (at.span.size, known.span.size);
    let why = format!("has {size} bytes, but {before} in another archive");
    Err(Error::entry(label, members::piece(digest, offset).as_bytes(), why))
}

fn parse_number(bytes: &[u8]) -> Result<u32, String> {
    let number = std::str::from_utf8(bytes).ok().and_then(|text| text.trim_end().parse().ok());
    number.filter(|number| *number > 0).ok_or_else(|| "is no number from 1 on".to_owned())
}

/// Parses an inventory, whose pieces are within their contents.
fn parse(bytes: &[u8]) -> Result<Inventory, String> {
    let inventory = Inventory::parse(bytes)?;
    for (digest, Content { size, pieces }) in &inventory.contents {
        for piece in pieces {
            let end = piece.offset.checked_add(piece.length);
            if end.is_none_or(|end| end > *size) {
                return Err(format!("has a piece of {digest} that is not within it"));
            }
            if piece.volume == 0 || piece.volume > inventory.volumes {
                return Err(format!("has a piece of {digest} in a volume that does not exist"));
            }
        }
    }
    Ok(inventory)
}

/// The images of all inventories, and the contents that are complete by their pieces.
pub(super) fn group(set: &mut Set) -> Result<(), Error> {
    for (at, found) in set.found.iter().enumerate() {
        for (name, repository) in &found.inventory.repositories {
            let manifests = repository.manifests.iter();
            let known = manifests
                .map(|(digest, manifest)| (digest.clone(), Some(manifest.media_type.clone())));
            let named = repository.tags.iter().map(|(tag, digest)| {
                let (repository, tag) = (Some(name.clone()), Some(tag.clone()));
                (Name { host: None, repository, tag }, digest.clone())
            });
            set.groups.push(Group {
                label: format!("{}: repository {name}", found.archive),
                repository: Some(name.clone()),
                inventory: Some(at),
                known: known.collect(),
                roots: named.collect(),
                ..Group::default()
            });
        }
        for (digest, content) in &found.inventory.contents {
            if let Some(whole) = set.contents.get(digest) {
                if whole.span.size != content.size {
                    let (size, label) = (content.size, &found.archive);
                    return Err(set.other_size(digest, size, label));
                }
            } else if let Some(parts) = join(set, digest, content) {
                set.joined.insert(digest.clone(), parts);
            }
        }
    }
    Ok(())
}

/// The pieces of a content, in order, if all of it is here.
fn join(set: &Set, digest: &Digest, content: &Content) -> Option<Vec<At>> {
    let here = set.pieces.get(digest)?;
    let mut pieces: Vec<_> = content.pieces.iter().collect();
    pieces.sort_by_key(|piece| piece.offset);
    let (mut parts, mut end) = (Vec::new(), 0);
    for piece in pieces {
        let at = here.get(&piece.offset).filter(|at| at.span.size == piece.length)?;
        if piece.offset != end {
            return None;
        }
        end += piece.length;
        parts.push(*at);
    }
    (end == content.size).then_some(parts)
}
