//! Damaged archives: cut off anywhere, and changed at random. Whatever is opened then is a
//! part of what was there.

use super::kit::{
    Built, Files, MANIFEST, Tar, content, descriptor, image, in_layout, in_registry, inventory,
    layout, repository, sha256,
};
use crate::Set;
use serde_json::json;
use std::collections::BTreeSet;
use std::fs;

/// An archive of each format, and what is in all of them.
fn archives() -> (Vec<Vec<u8>>, Built) {
    let image = image(&["first layer", "second layer"]);
    let contents: Vec<_> = image.contents().map(Vec::as_slice).collect();
    let oci = layout(&contents, &[descriptor(MANIFEST, &image.manifest)]);
    let layers: Vec<_> = image.blobs[1..].iter().map(|layer| in_layout(layer)).collect();
    let items = json!([{"Config": "c.json", "RepoTags": ["a:1"], "Layers": layers}]).to_string();
    let mut docker = Tar::default();
    for layer in &image.blobs[1..] {
        docker = docker.file(&in_layout(layer), layer);
    }
    let docker = docker.file("c.json", &image.blobs[0]).file("manifest.json", items);
    let mut registry = Tar::default();
    for bytes in &contents {
        registry = registry.file(&in_registry(&sha256(bytes)), bytes);
    }
    let registry = repository(registry, "a", &[(&image, Some("1"))]);
    (vec![oci.end(), docker.end(), registry.end()], image)
}

/// Everything that can be asked. Manifests have their digests; blobs have their sizes.
fn ask(set: &Set, known: &BTreeSet<Vec<u8>>) {
    for image in set.images() {
        let manifest = set.manifest(&image.digest).ok().flatten();
        assert!(manifest.is_none_or(|bytes| sha256(&bytes) == image.digest));
    }
    if let Ok(inventory) = inventory(set) {
        for digest in inventory.contents.keys() {
            assert!(content(set, digest).is_some() || set.missing(&inventory).contains_key(digest));
        }
    }
    for bytes in known {
        if let Some(size) = set.size(&sha256(bytes)) {
            assert_eq!(content(set, &sha256(bytes)).map(|bytes| bytes.len() as u64), Some(size));
        }
    }
}

#[test]
fn archives_that_are_cut_off() {
    let (archives, image) = archives();
    let known: BTreeSet<_> = image.contents().cloned().collect();
    let files = Files::new();
    let path = files.write("a.tar", "");
    for archive in archives {
        fs::write(&path, &archive).unwrap();
        let whole = files.open(std::slice::from_ref(&path)).unwrap();
        ask(&whole, &known);
        let (mut refused, mut smaller) = (0, 0);
        for end in (0..archive.len()).step_by(256) {
            fs::write(&path, &archive[..end]).unwrap();
            match files.open(std::slice::from_ref(&path)) {
                Ok(set) => {
                    ask(&set, &known);
                    assert!(set.images().len() <= whole.images().len());
                    for bytes in &known {
                        let found = content(&set, &sha256(bytes));
                        assert!(found.is_none_or(|found| found == *bytes));
                    }
                    smaller += 1;
                }
                Err(error) => {
                    assert!(error.starts_with("a.tar: "), "{error}");
                    // In the middle of a block, it is always the end that is missing.
                    let says = ["is cut off", "is no tar file", "images", "not in the archive"];
                    assert!(says.iter().any(|words| error.contains(words)), "{end}: {error}");
                    refused += 1;
                }
            }
        }
        assert!(refused > 0 && smaller > 0, "{refused} {smaller}");
    }
}

#[test]
fn archives_that_are_changed_at_random() {
    let (archives, image) = archives();
    let known: BTreeSet<_> = image.contents().cloned().collect();
    let mut random = fastrand::Rng::with_seed(37);
    let files = Files::new();
    let path = files.write("a.tar", "");
    let (mut opened, mut refused) = (0, 0);
    for round in 0..1000 {
        let mut bytes = archives[round % archives.len()].clone();
        for _ in 0..random.usize(1..4) {
            mutate(&mut random, &mut bytes);
        }
        // Most changes should not stop at the checksum of a header.
        if random.bool() {
            mend(&mut bytes);
        }
        fs::write(&path, &bytes).unwrap();
        match files.open(std::slice::from_ref(&path)) {
            Ok(set) => {
                ask(&set, &known);
                opened += 1;
            }
            Err(error) => {
                assert!(!error.contains(char::is_control), "{error:?}");
                refused += 1;
            }
        }
    }
    assert!(opened > 50 && refused > 50, "{opened} {refused}");
}

fn mutate(random: &mut fastrand::Rng, bytes: &mut Vec<u8>) {
    let at = random.usize(..bytes.len());
    let block = (at - at % 512).min(bytes.len() - 512);
    match random.u8(..6) {
        0 => bytes[at] ^= 1 << random.u8(..8),
        1 => bytes[at] = random.u8(..),
        // A field of a header.
        2 => bytes[block + random.usize(..345)] = b"0127xLKgS5/.\0\x80\xff"[random.usize(..15)],
        3 => bytes[block + 156] = random.u8(..),
        4 => {
            let copy: Vec<_> = bytes[block..block + 512].to_vec();
            let to = random.usize(..bytes.len() / 512) * 512;
            bytes[to..to + 512].copy_from_slice(&copy);
        }
        _ => bytes.truncate(at.max(512)),
    }
}

/// Gives everything that looks like a header its checksum.
fn mend(bytes: &mut [u8]) {
    for block in bytes.chunks_exact_mut(512) {
        if &block[257..262] != b"ustar" {
            continue;
        }
        let mut header = tar::Header::new_old();
        header.as_mut_bytes().copy_from_slice(block);
        header.set_cksum();
        block.copy_from_slice(header.as_bytes());
    }
}
