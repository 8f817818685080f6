//! Plans of archives: every content is in one exactly once, and every volume is as small as
//! it should be and a tar file that says the same as the inventory.

use roadstead_archive::{
    Body, Content, Error, Format, Image, Inventory, Options, Piece, Plan, PlanOptions, Set, Volume,
};
use roadstead_oci::{Algorithm, Digest, RepositoryName, Tag};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::env;
use std::ops::Range;
use std::path::PathBuf;

/// The largest archive that is written and read again, in bytes.
const WRITTEN: u64 = 256 * 1024;

/// The most pieces that are given digests: looking for each of them among the others takes
/// long if a content has very many.
const PIECES: usize = 2048;

/// The longest text of a signature.
const SIGNATURE: [u8; 512] = [b'A'; 512];

/// The first four bytes say how the archive is to be, the rest is the inventory.
pub(crate) fn inventories(data: &[u8]) {
    let Some(([flags, exponent, mantissa @ ..], json)) = data.split_first_chunk::<4>() else {
        return;
    };
    let Ok(inventory) = Inventory::parse(json) else { return };
    is_printed_and_parsed_again(&inventory);
    let format = [Format::Registry, Format::Docker, Format::Oci][usize::from(flags % 3)];
    // Small and large ones are as likely.
    let volume_size = (1 << (exponent % 63)) | u64::from(u16::from_le_bytes(*mantissa));
    let options = PlanOptions {
        format,
        volume_size: (*exponent > 0).then_some(volume_size),
        prefix: if flags & 0x20 == 0 { String::new() } else { "example.com:5000/".to_owned() },
        held: if flags & 0x40 == 0 { BTreeSet::new() } else { every_other(&inventory) },
        platforms: if flags & 0x80 == 0 { BTreeMap::new() } else { first_children(&inventory) },
    };
    let Ok(plan) = Plan::new(inventory, &options) else { return };
    let Some((planned, volumes)) = volumes(plan, &options) else { return };
    if format == Format::Registry && volumes.iter().map(Volume::size).sum::<u64>() <= WRITTEN {
        let zeros = |_: &Digest, range: Range<u64>| vec![0; length(&range)];
        is_read_again(&planned, &options.held, &write(&volumes, &zeros));
    }
}

fn every_other(inventory: &Inventory) -> BTreeSet<Digest> {
    inventory.contents.keys().step_by(2).cloned().collect()
}

fn first_children(inventory: &Inventory) -> BTreeMap<Digest, Digest> {
    let manifests = inventory.repositories.values().flat_map(|repository| &repository.manifests);
    let first = manifests.filter_map(|(digest, index)| Some((digest, index.children.first()?)));
    first.map(|(index, child)| (index.clone(), child.clone())).collect()
}

pub(crate) fn is_printed_and_parsed_again(inventory: &Inventory) {
    let json = inventory.to_bytes().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(Inventory::parse(&json).as_ref(), Ok(inventory));
}

/// The inventory of a plan and its volumes, in which everything is where the inventory says;
/// none if there are very many.
pub(crate) fn volumes(mut plan: Plan, options: &PlanOptions) -> Option<(Inventory, Vec<Volume>)> {
    are_covered(plan.inventory(), plan.split(), &options.held);
    if plan.split().len() > PIECES {
        return None;
    }
    let any = Digest::from_bytes(Algorithm::Sha256, &[7; 32]);
    let any = any.unwrap_or_else(|| panic!("no digest"));
    for at in 0..plan.split().len() {
        plan.set_piece_digest(at, any.clone());
    }
    let planned = plan.inventory().clone();
    for Content { pieces, .. } in planned.contents.values() {
        let has_digest = pieces.len() > 1;
        assert!(pieces.iter().all(|piece| piece.digest.is_some() == has_digest), "{pieces:?}");
    }
    let volumes = plan.volumes(&|_| Ok(Some(SIGNATURE.to_vec())));
    let volumes = volumes.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(volumes.len(), usize::try_from(planned.volumes).unwrap_or_default());
    are_sound(&volumes, &planned, options);
    Some((planned, volumes))
}

/// That the pieces of each content that is written are all of it.
fn are_covered(inventory: &Inventory, split: &[(Digest, Range<u64>)], held: &BTreeSet<Digest>) {
    let mut parts: HashSet<_> = split.iter().collect();
    assert_eq!(parts.len(), split.len());
    for (digest, Content { size, pieces }) in &inventory.contents {
        assert_eq!(pieces.is_empty(), held.contains(digest), "{digest}");
        let mut end = 0;
        for Piece { volume, offset, length, .. } in pieces {
            assert!((1..=inventory.volumes).contains(volume), "{digest}: {pieces:?}");
            assert!(*offset == end && (*length > 0 || *size == 0), "{digest}: {pieces:?}");
            end += length;
            if pieces.len() > 1 {
                assert!(parts.remove(&(digest.clone(), *offset..end)), "{digest}: {pieces:?}");
            }
        }
        assert!(pieces.is_empty() || end == *size, "{digest}: {size}, {pieces:?}");
    }
    assert!(parts.is_empty(), "{parts:?}");
}

/// That names, sizes and places are right.
fn are_sound(volumes: &[Volume], inventory: &Inventory, options: &PlanOptions) {
    let mut placed: BTreeMap<&Digest, Vec<(u32, Range<u64>)>> = BTreeMap::new();
    let mut names = BTreeSet::new();
    for (volume, number) in volumes.iter().zip(1..) {
        let mut size = Plan::END.len() as u64;
        for (at, member) in volume.members.iter().enumerate() {
            let (header, padding) = (member.header(), member.padding() as u64);
            assert_eq!(header.len() % 512, 0);
            assert_eq!((member.size + padding) % 512, 0);
            size += header.len() as u64 + member.size + padding;
            let name = member.name.as_str();
            let is_plain = |part: &str| !["", ".", ".."].contains(&part);
            assert!(name.split('/').all(is_plain) && !name.contains('\0'), "{name}");
            // Each volume of a registry's archive has the same heading.
            let is_heading = options.format == Format::Registry && at < 3;
            assert!(is_heading || names.insert(name), "{name} is there twice");
            match &member.body {
                Body::Bytes(bytes) => assert_eq!(bytes.len() as u64, member.size, "{name}"),
                Body::Content { digest, range, repository, manifest } => {
                    assert_eq!(range.end - range.start, member.size, "{name}");
                    let holder = inventory.repositories.get(repository);
                    assert!(holder.is_some_and(|holder| {
                        let mut all = holder.manifests.values();
                        let is_manifest = holder.manifests.contains_key(digest);
                        if *manifest {
                            is_manifest
                        } else {
                            all.any(|it| it.blobs.contains(digest))
                        }
                    }));
                    placed.entry(digest).or_default().push((number, range.clone()));
                }
            }
        }
        assert_eq!(size, volume.size());
        assert!(options.volume_size.is_none_or(|limit| size <= limit), "{number}: {size}");
    }
    let contents = inventory.contents.iter().filter(|(_, content)| !content.pieces.is_empty());
    let pieces = contents.map(|(digest, content)| {
        let pieces = content.pieces.iter();
        let ranges = pieces.map(|piece| (piece.volume, piece.offset..piece.offset + piece.length));
        (digest, ranges.collect())
    });
    assert_eq!(placed, pieces.collect::<BTreeMap<_, Vec<_>>>());
}

/// Volumes as files.
pub(crate) fn write(
    volumes: &[Volume],
    content: &dyn Fn(&Digest, Range<u64>) -> Vec<u8>,
) -> Vec<Vec<u8>> {
    let write = |volume: &Volume| {
        let mut file = Vec::new();
        for member in &volume.members {
            file.extend(member.header());
            match &member.body {
                Body::Bytes(bytes) => file.extend_from_slice(bytes),
                Body::Content { digest, range, .. } => file.extend(content(digest, range.clone())),
            }
            file.resize(file.len() + member.padding(), 0);
        }
        file.extend_from_slice(Plan::END);
        assert_eq!(file.len() as u64, volume.size());
        file
    };
    volumes.iter().map(write).collect()
}

/// That volumes say what their inventory does. Images that only lead to each other are none:
/// real digests cannot be so.
pub(crate) fn is_read_again(inventory: &Inventory, held: &BTreeSet<Digest>, files: &[Vec<u8>]) {
    let directory = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
    let paths = files.iter().enumerate().rev().map(|(number, file)| {
        let path = directory.path().join(format!("{number}.tar"));
        std::fs::write(&path, file).unwrap_or_else(|error| panic!("{error}"));
        path
    });
    let paths: Vec<PathBuf> = paths.collect();
    let options = Options { temporary: Some(env::temp_dir()) };
    let set = Set::open_with(&paths, &options, &mut std::io::empty());
    let set = set.unwrap_or_else(|error| panic!("{error}"));
    let [found] = set.inventories() else { panic!("{} inventories", set.inventories().len()) };
    assert_eq!(found.inventory, *inventory);
    assert_eq!(found.volumes, (1..=inventory.volumes).collect());
    assert_eq!(found.signature.as_deref(), Some(SIGNATURE.as_slice()));
    let missing = set.missing(inventory);
    assert_eq!(missing.keys().collect::<Vec<_>>(), held_of(inventory, held));
    assert!(missing.values().all(BTreeSet::is_empty), "{missing:?}");
    let again = match set.inventory(&name) {
        Ok(again) => again,
        Err(error) => return assert!(error.to_string().contains("is an index within"), "{error}"),
    };
    for (name, repository) in &again.repositories {
        let before = inventory.repositories.get(name).unwrap_or_else(|| panic!("{name} is new"));
        assert_eq!(repository.tags, before.tags, "{name}");
        for (digest, manifest) in &repository.manifests {
            assert_eq!(before.manifests.get(digest), Some(manifest), "{name}");
        }
    }
    for (digest, content) in &again.contents {
        let before = inventory.contents.get(digest).unwrap_or_else(|| panic!("{digest} is new"));
        let is_here = !held.contains(digest);
        assert_eq!(set.size(digest), is_here.then_some(content.size), "{digest}");
        assert_eq!(content.size, before.size, "{digest}");
        assert!(!is_here || content.pieces == before.pieces, "{digest}");
    }
}

fn held_of<'a>(inventory: &'a Inventory, held: &BTreeSet<Digest>) -> Vec<&'a Digest> {
    inventory.contents.keys().filter(|digest| held.contains(digest)).collect()
}

/// The name that an image has, or any.
#[expect(clippy::unnecessary_wraps)] // What names images may fail.
pub(crate) fn name(image: &Image) -> Result<(RepositoryName, Option<Tag>), Error> {
    let unnamed = || RepositoryName::parse("unnamed").unwrap_or_else(|error| panic!("{error}"));
    Ok((image.name.repository.clone().unwrap_or_else(unnamed), image.name.tag.clone()))
}

pub(crate) fn length(range: &Range<u64>) -> usize {
    usize::try_from(range.end - range.start).unwrap_or_else(|error| panic!("{error}"))
}
