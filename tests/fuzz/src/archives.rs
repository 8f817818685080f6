//! Archives: what is opened gives the same answer in whatever way it is asked.

use super::mend::mended;
use super::plans::{self, length, name};
use roadstead_archive::{Format, Image, Inventory, Options, Part, Plan, PlanOptions, Set, Volume};
use roadstead_oci::{Algorithm, Digest};
use roadstead_storage::BlobHash;
use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

/// The largest contents that are written and read again, in bytes.
const WRITTEN: u64 = 1024 * 1024;

/// The longest message of an error, in characters.
const MESSAGE: usize = 2000;

/// An archive from standard input, as it is and mended.
pub(crate) fn archives(data: &[u8]) {
    open(data);
    if let Some(mended) = mended(data) {
        open(&mended);
    }
}

fn open(mut data: &[u8]) {
    let options = Options { temporary: Some(env::temp_dir()) };
    let set = match Set::open_with(&[PathBuf::from("-")], &options, &mut data) {
        Ok(set) => set,
        Err(error) => return is_plain(&error.to_string()),
    };
    for found in set.inventories() {
        plans::is_printed_and_parsed_again(&found.inventory);
        assert_eq!(Inventory::parse(&found.bytes).as_ref(), Ok(&found.inventory));
        assert!(found.volumes.iter().all(|number| (1..=found.inventory.volumes).contains(number)));
        for digest in found.inventory.contents.keys() {
            content_is_sound(&set, digest);
        }
    }
    let images: BTreeSet<_> = set.images().iter().map(|it| (&it.name, &it.digest)).collect();
    assert_eq!(images.len(), set.images().len(), "an image is there twice");
    for Image { digest, .. } in set.images() {
        content_is_sound(&set, digest);
        match set.manifest(digest) {
            Ok(Some(bytes)) => {
                assert_eq!(set.size(digest), Some(bytes.len() as u64));
                assert_eq!(digest_of(&bytes, digest.algorithm()), *digest);
            }
            Ok(None) => assert_eq!(set.size(digest), None),
            Err(error) => is_plain(&error.to_string()),
        }
    }
    match set.inventory(&name) {
        Ok(inventory) => inventory_is_sound(&set, &inventory),
        Err(error) => is_plain(&error.to_string()),
    }
}

/// A message that a terminal may show.
fn is_plain(message: &str) {
    assert!(!message.contains(char::is_control), "{message:?}");
    let length = message.chars().count();
    assert!(length <= MESSAGE, "{length} characters: {message:?}");
}

fn digest_of(bytes: &[u8], algorithm: Algorithm) -> Digest {
    let mut hash = BlobHash::new(algorithm);
    hash.update(bytes);
    hash.finish().unwrap_or_else(|error| panic!("{error}"))
}

/// That all parts of a content are in files, and as many bytes as it should have.
fn content_is_sound(set: &Set, digest: &Digest) {
    let Some(size) = set.size(digest) else {
        assert!(set.parts(digest, 0..u64::MAX).is_none());
        return;
    };
    let (third, half) = (size / 3, size / 2);
    for range in [0..u64::MAX, 0..size, third..half, half..size, size..size, half..third] {
        let parts = set.parts(digest, range.clone());
        let parts = parts.unwrap_or_else(|| panic!("{digest} is not there"));
        let mut found = 0;
        for Part { file, range } in parts {
            let end = file.metadata().map_or(0, |metadata| metadata.len());
            assert!(range.start < range.end && range.end <= end, "{range:?} of {end}");
            found += range.end - range.start;
        }
        assert_eq!(found, range.end.min(size).saturating_sub(range.start), "{range:?} of {size}");
    }
}

/// That an inventory lacks nothing, agrees with the archive, and can be exported.
fn inventory_is_sound(set: &Set, inventory: &Inventory) {
    plans::is_printed_and_parsed_again(inventory);
    let contents = &inventory.contents;
    for repository in inventory.repositories.values() {
        for digest in repository.tags.values() {
            assert!(repository.manifests.contains_key(digest), "{digest}");
        }
        for (digest, manifest) in &repository.manifests {
            for child in &manifest.children {
                assert!(repository.manifests.contains_key(child), "{child}");
            }
            for digest in manifest.blobs.iter().chain([digest]) {
                assert!(contents.contains_key(digest), "{digest}");
            }
        }
    }
    for (digest, content) in contents {
        content_is_sound(set, digest);
        assert!(set.size(digest).is_none_or(|size| size == content.size), "{digest}");
    }
    let missing = set.missing(inventory);
    let not_here = contents.keys().filter(|digest| set.size(digest).is_none());
    assert_eq!(missing.keys().collect::<Vec<_>>(), not_here.collect::<Vec<_>>());
    let mut volumes = missing.values().flatten();
    assert!(volumes.all(|number| (1..=inventory.volumes).contains(number)), "{missing:?}");
    is_exported(set, inventory, &missing.into_keys().collect());
}

/// Whatever can be imported can be exported and imported again.
fn is_exported(set: &Set, inventory: &Inventory, held: &BTreeSet<Digest>) {
    let sizes = inventory.contents.values().map(|content| content.size);
    // Sizes of contents that are not here may be anything.
    if sizes.fold(0, u64::saturating_add) > 1 << 60 {
        return;
    }
    for format in [Format::Oci, Format::Docker, Format::Registry] {
        let options = PlanOptions {
            format,
            volume_size: None,
            prefix: String::new(),
            held: held.clone(),
            platforms: BTreeMap::new(),
        };
        let plan = Plan::new(inventory.clone(), &options);
        let plan = plan.unwrap_or_else(|error| panic!("{error}"));
        let planned = plans::volumes(plan, &options);
        let (planned, volumes) = planned.unwrap_or_else(|| panic!("one volume has several pieces"));
        let size: u64 = volumes.iter().map(Volume::size).sum();
        if format == Format::Registry && size <= WRITTEN {
            let content = |digest: &Digest, range: Range<u64>| content(set, digest, range);
            plans::is_read_again(&planned, held, &plans::write(&volumes, &content));
        }
    }
}

fn content(set: &Set, digest: &Digest, range: Range<u64>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for Part { file, range } in set.parts(digest, range).unwrap_or_default() {
        let start = bytes.len();
        bytes.resize(start + length(&range), 0);
        let read = file.read_exact_at(&mut bytes[start..], range.start);
        read.unwrap_or_else(|error| panic!("{error}"));
    }
    bytes
}
