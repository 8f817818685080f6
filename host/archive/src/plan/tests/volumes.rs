use super::super::volumes::room;
use super::super::{Format, Plan, PlanOptions};
use super::{Registry, members, options, sha256};
use crate::{Content, Inventory, Manifest, members as names};
use fastrand::Rng;
use roadstead_oci::{Algorithm, Digest, MediaType};
use roadstead_storage::Key;
use std::collections::BTreeMap;

const SEED: u64 = 4_700_000_000;

fn sized(volume_size: u64) -> PlanOptions {
    PlanOptions { volume_size: Some(volume_size), ..options(Format::Registry) }
}

/// Some images whose blobs have up to `largest` bytes.
fn random(rng: &mut Rng, largest: usize) -> Registry {
    let mut registry = Registry::default();
    let blob = |rng: &mut Rng| -> Vec<u8> {
        let length = rng.usize(..=largest) >> rng.usize(..5);
        std::iter::repeat_with(|| rng.u8(..)).take(length).collect()
    };
    let shared = blob(rng);
    for number in 0..rng.usize(..12) {
        let repository = ["a", "b/c", "long/name/of/a/repository"][rng.usize(..3)];
        let own: Vec<_> = (0..rng.usize(..4)).map(|_| blob(rng)).collect();
        let mut layers: Vec<&[u8]> = own.iter().map(Vec::as_slice).collect();
        if rng.bool() {
            layers.push(&shared);
        }
        let image = registry.image(repository, &number.to_string(), &layers);
        if rng.bool() {
            registry.tag(repository, &format!("t{number}"), &image);
        }
    }
    registry
}

/// The least size that the error names for a size that is too small.
fn least(inventory: &Inventory) -> u64 {
    let error = Plan::new(inventory.clone(), &sized(1)).map(|_| ()).unwrap_err();
    let words: Vec<_> = error.split(' ').collect();
    words[words.len() - 2].parse().unwrap()
}

#[test]
fn volumes_are_no_larger_than_they_may_be_and_have_everything() {
    let mut rng = Rng::with_seed(SEED);
    let (mut split, mut most) = (0, 0);
    for _ in 0..100 {
        let largest = 1 << rng.usize(12..19);
        let registry = random(&mut rng, largest);
        let size = least(&registry.inventory) + (rng.u64(..100_000) >> rng.usize(..17));
        let volumes = registry.volumes(&sized(size));
        let tars: Vec<_> = volumes.iter().map(|volume| registry.tar(volume)).collect();
        for (tar, volume) in tars.iter().zip(&volumes) {
            assert_eq!(tar.len() as u64, volume.size());
            assert!(volume.size() <= size, "{} > {size}", volume.size());
        }
        split += check(&registry, &tars);
        most = most.max(tars.len());
        let again: Vec<_> =
            registry.volumes(&sized(size)).iter().map(|v| registry.tar(v)).collect();
        assert!(tars == again, "another plan of the same images differs");
    }
    // Otherwise the test does not test what it is for.
    assert!(split > 100 && most > 20, "{split} {most}");
}

/// Reads volumes as the inventory says, and returns how many contents were split.
fn check(registry: &Registry, tars: &[Vec<u8>]) -> usize {
    let volumes: Vec<_> = tars.iter().map(|tar| members(tar)).collect();
    let inventory = Inventory::parse(&volumes[0][0].1).unwrap();
    assert_eq!(inventory.volumes as usize, volumes.len());
    for (volume, number) in volumes.iter().zip(1..) {
        assert_eq!(volume[0], (names::INVENTORY.to_owned(), volumes[0][0].1.clone()));
        assert_eq!(volume[1], (names::VOLUME.to_owned(), format!("{number}").into_bytes()));
    }
    let indexed = volumes.iter().map(|volume| volume.iter().cloned().collect());
    let indexed: Vec<BTreeMap<String, Vec<u8>>> = indexed.collect();
    let count: usize = volumes.iter().map(Vec::len).sum();
    let mut links = count - 2 * volumes.len();
    let mut split = 0;
    for (digest, content) in &inventory.contents {
        let mut bytes = Vec::new();
        for piece in &content.pieces {
            assert_eq!(piece.offset, bytes.len() as u64);
            let whole = piece.digest.is_none();
            let name = if whole {
                Key::Blob(digest.clone()).to_string()
            } else {
                names::piece(digest, piece.offset)
            };
            let part = &indexed[piece.volume as usize - 1][&name];
            assert_eq!(piece.length, part.len() as u64);
            assert_eq!(piece.digest, (!whole).then(|| sha256(part)));
            assert_eq!(whole, content.pieces.len() == 1);
            bytes.extend_from_slice(part);
        }
        assert_eq!(sha256(&bytes), *digest);
        links -= content.pieces.len();
        split += usize::from(content.pieces.len() > 1);
    }
    // All else is links, none of them twice.
    let all = volumes.iter().flatten().filter_map(|(name, _)| Key::parse(name).ok());
    let all = all.filter(|key| !matches!(key, Key::Blob(_)));
    assert_eq!(all.collect::<std::collections::BTreeSet<_>>().len(), links);
    assert_eq!(inventory.contents.len(), registry.inventory.contents.len());
    split
}

/// An image whose blobs have these sizes, and no bytes.
fn of_sizes(algorithm: Algorithm, sizes: &[u64]) -> Inventory {
    let mut inventory = Inventory::default();
    let digests = (0u64..).map(|number| {
        let mut bytes = vec![0; algorithm.byte_length()];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        Digest::from_bytes(algorithm, &bytes).unwrap()
    });
    let mut digests: Vec<_> = digests.take(sizes.len() + 1).collect();
    for (digest, size) in digests.iter().zip(sizes.iter().chain(&[1000])) {
        inventory.contents.insert(digest.clone(), Content { size: *size, pieces: Vec::new() });
    }
    let root = digests.pop().unwrap();
    let manifest = Manifest {
        media_type: MediaType::oci_image_manifest(),
        artifact_type: None,
        subject: None,
        children: Vec::new(),
        blobs: digests,
    };
    let repository = inventory.repositories.entry("large".parse().unwrap()).or_default();
    repository.tags.insert("t".parse().unwrap(), root.clone());
    repository.manifests.insert(root, manifest);
    inventory
}

/// The sizes of the volumes, and the volumes, offsets and lengths of all pieces.
fn placed(inventory: Inventory, volume_size: u64) -> (Vec<u64>, Vec<(u32, u64, u64)>) {
    let mut plan = Plan::new(inventory, &sized(volume_size)).unwrap();
    (0..plan.split().len()).for_each(|index| plan.set_piece_digest(index, sha256(b"piece")));
    let contents = plan.inventory().contents.values();
    for pieces in contents.clone().map(|content| &content.pieces) {
        // Pieces, and only these, have a digest of their own.
        assert!(pieces.iter().all(|piece| piece.digest.is_some() == (pieces.len() > 1)));
    }
    let pieces = contents.flat_map(|content| &content.pieces);
    let pieces = pieces.map(|piece| (piece.volume, piece.offset, piece.length)).collect();
    let signed = plan.volumes(&|_| Ok(Some(vec![b'a'; 512]))).unwrap();
    (signed.iter().map(super::Volume::size).collect(), pieces)
}

#[test]
fn contents_larger_than_a_volume_fill_it() {
    const DVD: u64 = 4_700_000_000;
    for algorithm in Algorithm::ALL {
        for size in [64 << 10, (64 << 10) + 511, 1 << 20, DVD, 50 * DVD] {
            let inventory = of_sizes(algorithm, &[size / 2, 10 * size + 13, size / 3, 1]);
            let (sizes, pieces) = placed(inventory, size);
            assert!(sizes.iter().all(|volume| *volume <= size), "{size}: {sizes:?}");
            // Nothing but the inventory's reserve is lost in those that a large content fills.
            let reserve = 16 * 1024;
            let full = sizes.get(..10).unwrap().iter().all(|volume| size - volume < reserve);
            assert!(full, "{size}: {sizes:?}");
            let [small, pieces @ .., third, last, manifest] = &pieces[..] else { panic!() };
            assert_eq!(small, &(1, 0, size / 2));
            assert_eq!(pieces.first().map(|piece| (piece.0, piece.1)), Some((1, 0)));
            let mut end = 0;
            for (piece, volume) in pieces.iter().zip(1..) {
                assert_eq!((piece.0, piece.1), (volume, end));
                end += piece.2;
            }
            assert_eq!(end, 10 * size + 13);
            assert!(
                [third, last, manifest].iter().all(|piece| piece.0 as usize >= sizes.len() - 1)
            );
        }
    }
}

#[test]
fn what_fits_into_a_volume_is_whole_and_pieces_are_not_tiny() {
    let size = 1 << 20;
    // Whole: not in what is left of the first, although there is room for a part.
    let (sizes, pieces) = placed(of_sizes(Algorithm::Sha256, &[size / 2, size * 3 / 4]), size);
    assert_eq!(pieces, [(1, 0, size / 2), (2, 0, size * 3 / 4), (2, 0, 1000)]);
    assert_eq!(sizes.len(), 2);
    // Split, but not for less than an eighth.
    let (_, pieces) = placed(of_sizes(Algorithm::Sha256, &[size * 15 / 16, 2 * size]), size);
    assert_eq!(pieces.iter().map(|piece| piece.0).collect::<Vec<_>>(), [1, 2, 3, 4, 4]);
}

#[test]
fn contents_that_barely_fit_into_a_volume() {
    for algorithm in Algorithm::ALL {
        let (mut whole, mut split) = (0, 0);
        for size in (56 << 10..64 << 10).step_by(97) {
            let (sizes, pieces) = placed(of_sizes(algorithm, &[size]), 64 << 10);
            assert!(sizes.iter().all(|volume| *volume <= 64 << 10), "{size}: {sizes:?}");
            let [first @ .., _] = &pieces[..] else { panic!() };
            assert_eq!(first.iter().map(|piece| piece.2).sum::<u64>(), size);
            whole += usize::from(first.len() == 1);
            split += usize::from(first.len() == 2);
        }
        assert!(whole > 10 && split > 10, "{whole} {split}");
    }
}

#[test]
fn what_the_other_side_has_needs_no_room() {
    let mut inventory = of_sizes(Algorithm::Sha256, &[1 << 50, 1000]);
    let held = inventory.contents.iter().find(|(_, content)| content.size == 1 << 50);
    let held = [held.unwrap().0.clone()].into();
    let options = PlanOptions { held, ..sized(64 << 10) };
    let plan = Plan::new(inventory.clone(), &options).unwrap();
    assert_eq!(plan.volumes(&|_| Ok(None)).unwrap().len(), 1);
    inventory.repositories.clear();
    assert_eq!(Plan::new(inventory, &options).unwrap().inventory().contents.len(), 0);
}

#[test]
fn volumes_that_are_too_small_are_refused() {
    let mut rng = Rng::with_seed(SEED);
    for _ in 0..30 {
        let registry = random(&mut rng, 1 << 18);
        let least = least(&registry.inventory);
        let plan = |size| Plan::new(registry.inventory.clone(), &sized(size));
        assert!(plan(least).is_ok());
        let error = plan(least - 1).unwrap_err();
        assert!(error.contains("too small") && error.contains(&least.to_string()), "{error}");
    }
    for size in [1 << 30, 1 << 40, 1 << 50] {
        let inventory = of_sizes(Algorithm::Sha256, &[size, size]);
        let least = least(&inventory);
        assert!(least < size && Plan::new(inventory.clone(), &sized(least)).is_ok(), "{size}");
        assert!(Plan::new(inventory, &sized(u64::MAX)).is_ok(), "{size}");
    }
}

#[test]
fn too_many_volumes_are_refused() {
    // No two of them fit into a volume together.
    for (count, accepted) in [(60_000, true), (65_536, false)] {
        let inventory = of_sizes(Algorithm::Sha256, &vec![7681; count]);
        let size = least(&inventory);
        let plan = Plan::new(inventory, &sized(size)).map(|plan| plan.inventory().volumes);
        match plan {
            Ok(volumes) => assert!(accepted && volumes > 60_000, "{volumes}"),
            Err(error) => {
                assert!(!accepted && error.contains("more than 65536 volumes"), "{error}");
            }
        }
    }
}

#[test]
fn pieces_need_their_digests() {
    let inventory = of_sizes(Algorithm::Sha512, &[1 << 18]);
    let plan = Plan::new(inventory, &sized(1 << 17)).unwrap();
    assert!(plan.split().len() > 1);
    for wrong in [None, Digest::from_bytes(Algorithm::Sha512, &[0; 64])] {
        let mut plan = plan.clone();
        plan.set_piece_digest(usize::MAX, sha256(b"of no piece"));
        for index in 0..plan.split().len() {
            match &wrong {
                Some(digest) => plan.set_piece_digest(index, digest.clone()),
                None if index > 0 => plan.set_piece_digest(index, sha256(b"piece")),
                None => {}
            }
        }
        let error = plan.volumes(&|_| Ok(None)).unwrap_err();
        assert!(error.contains("SHA-256 of bytes 0 to"), "{error}");
    }
}

#[test]
fn inventories_that_nobody_reads_are_refused() {
    let inventory = |length: usize| {
        let mut inventory = of_sizes(Algorithm::Sha512, &[1]);
        let repository = inventory.repositories.values_mut().next().unwrap();
        let manifest = repository.manifests.values_mut().next().unwrap();
        let blob = manifest.blobs[0].clone();
        manifest.artifact_type = "a/b".parse().ok();
        let rest = length - inventory.to_bytes().unwrap().len();
        let each = blob.as_str().len() + 3;
        let manifest = inventory.repositories.values_mut().next().unwrap();
        let manifest = manifest.manifests.values_mut().next().unwrap();
        manifest.blobs.resize(1 + rest / each, blob);
        let rest = rest % each;
        let kind = format!("a{}/b{}", "a".repeat(rest / 2), "b".repeat(rest - rest / 2));
        manifest.artifact_type = kind.parse().ok();
        inventory
    };
    // What is too long is the inventory without pieces, with them, or nothing.
    for (length, expected) in [
        (Inventory::MAX_SIZE + 1, Err("the inventory has more than 67108864 bytes")),
        (Inventory::MAX_SIZE - 100, Err("bytes would be too long; export less")),
        (Inventory::MAX_SIZE - 1000, Ok(())),
    ] {
        match (room(&inventory(length), &sized(1 << 30)), expected) {
            (Ok(room), Ok(())) => assert!(room > 1 << 29, "{room}"),
            (Err(error), Err(end)) => assert!(error.ends_with(end), "{error}"),
            (found, _) => panic!("{length}: {found:?}"),
        }
    }
}
