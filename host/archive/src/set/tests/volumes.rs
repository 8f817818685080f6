//! Volumes of exports of our own.

use super::kit::{
    Built, Files, Tar, content, cut, holds, image, in_registry, inventory, print, sha256, short,
};
use crate::{Content, Inventory, Manifest, Piece, Repository, members};
use roadstead_oci::Digest;
use std::path::PathBuf;

/// An image whose layer is split.
fn export(image: &Built) -> Inventory {
    let manifest = Manifest {
        media_type: super::kit::MANIFEST.parse().unwrap(),
        artifact_type: None,
        subject: None,
        children: vec![],
        blobs: image.blobs.iter().map(sha256).collect(),
    };
    let tags = [("1".parse().unwrap(), image.digest())].into();
    let manifests = [(image.digest(), manifest)].into();
    let whole = |bytes: &[u8], volume| {
        let length = bytes.len() as u64;
        let piece = Piece { volume, offset: 0, length, digest: None };
        (sha256(bytes), Content { size: length, pieces: vec![piece] })
    };
    let layer = &image.blobs[1];
    let pieces = [(1, 0, 4), (2, 4, layer.len() as u64 - 4)].map(|(volume, offset, length)| {
        let bytes = cut(layer, &(offset..offset + length));
        Piece { volume, offset, length, digest: Some(sha256(bytes)) }
    });
    let split = Content { size: layer.len() as u64, pieces: pieces.into() };
    Inventory {
        schema_version: Inventory::VERSION,
        volumes: 2,
        repositories: [("a/b".parse().unwrap(), Repository { tags, manifests })].into(),
        contents: [whole(&image.blobs[0], 1), (sha256(layer), split), whole(&image.manifest, 2)]
            .into(),
    }
}

fn heading(inventory: &Inventory, volume: &str) -> Tar {
    Tar::default()
        .file(members::INVENTORY, inventory.to_bytes().unwrap())
        .file(members::SIGNATURE, "signature")
        .file(members::VOLUME, volume)
}

/// The two volumes of that.
fn volumes(image: &Built, inventory: &Inventory) -> [Vec<u8>; 2] {
    let layer = &image.blobs[1];
    let digest = sha256(layer);
    let config = &image.blobs[0];
    let first = heading(inventory, "1")
        .file(&members::piece(&digest, 0), &layer[..4])
        .file(&in_registry(&sha256(config)), config);
    let second = heading(inventory, "2")
        .file(&members::piece(&digest, 4), &layer[4..])
        .file(&in_registry(&image.digest()), &image.manifest);
    [first.end(), second.end()]
}

#[test]
fn two_volumes_in_any_order() {
    let image = image(&["layer that is split"]);
    let export = export(&image);
    let files = Files::new();
    let [first, second] = volumes(&image, &export);
    let [first, second] = [files.write("1.tar", first), files.write("2.tar", second)];
    for paths in [
        vec![first.clone(), second.clone()],
        vec![second.clone(), first.clone()],
        vec![second.clone(), first.clone(), second.clone()],
    ] {
        let set = files.open(&paths).unwrap();
        assert_eq!(print(&set), [format!("- a/b 1 {}", short(&image.digest()))]);
        holds(&set, &image);
        let parts = set.parts(&sha256(&image.blobs[1]), 2..7).unwrap();
        let lengths: Vec<_> = parts.iter().map(|part| part.range.end - part.range.start).collect();
        assert_eq!(lengths, [2, 3]);
        let [found] = set.inventories() else { panic!("several inventories") };
        assert_eq!(found.volumes, [1, 2].into());
        assert_eq!(found.bytes, export.to_bytes().unwrap());
        assert_eq!(found.signature.as_deref(), Some(b"signature".as_slice()));
        assert_eq!(inventory(&set).unwrap(), export);
        assert!(set.missing(&export).is_empty());
    }
    for (path, here, missing) in [
        (first, 1, [(sha256(&image.blobs[1]), 2), (image.digest(), 2)]),
        (second, 2, [(sha256(&image.blobs[1]), 1), (sha256(&image.blobs[0]), 1)]),
    ] {
        let set = files.open(&[path]).unwrap();
        assert_eq!(set.inventories()[0].volumes, [here].into());
        assert_eq!(inventory(&set).unwrap(), export);
        assert_eq!(content(&set, &sha256(&image.blobs[1])), None);
        let missing = missing.map(|(digest, volume)| (digest, [volume].into()));
        assert_eq!(set.missing(&export), missing.into());
    }
}

#[test]
fn the_inventory_counts_and_not_the_links() {
    let image = image(&["layer that is split"]);
    let mut export = export(&image);
    export.repositories.clear();
    let files = Files::new();
    let at = "docker/registry/v2/repositories/evil/_manifests/tags/t/current/link";
    let tar = heading(&export, "1").file(at, image.digest().as_str());
    let set = files.open(&[files.write("1.tar", tar.end())]).unwrap();
    assert!(print(&set).is_empty());
}

#[test]
fn hostile_volumes_are_refused() {
    let image = image(&["layer that is split"]);
    let good = export(&image);
    let layer = sha256(&image.blobs[1]);
    let changed = |change: &dyn Fn(&mut Content)| {
        let mut export = good.clone();
        change(export.contents.get_mut(&layer).unwrap());
        heading(&export, "1").end()
    };
    let with = |signature: &str, volume: &str, inventory: &[u8]| {
        Tar::default()
            .file(members::INVENTORY, inventory)
            .file(members::SIGNATURE, signature)
            .file(members::VOLUME, volume)
            .end()
    };
    let json = good.to_bytes().unwrap();
    let huge = "x".repeat(crate::signature::MAX_SIZE + 1);
    let files = Files::new();
    let lie = {
        let mut export = good.clone();
        export.contents.get_mut(&image.digest()).unwrap().size += 1;
        let tar = heading(&export, "2").file(&in_registry(&image.digest()), &image.manifest);
        tar.end()
    };
    for (bytes, expected) in [
        (with("", "1", b"{}"), "roadstead/inventory.json: "),
        (with(&huge, "1", &json), "roadstead/inventory.sig: is too large"),
        (with("", "0", &json), "roadstead/volume: is no number from 1 on"),
        (with("", "-1", &json), "roadstead/volume: is no number from 1 on"),
        (with("", &"1".repeat(17), &json), "roadstead/volume: is too large"),
        (with("", "3", &json), "roadstead/volume: is more than there are"),
        (changed(&|content| content.pieces[1].length += 1), "that is not within it"),
        (changed(&|content| content.pieces[1].offset = u64::MAX), "that is not within it"),
        (changed(&|content| content.pieces[1].volume = 0), "in a volume that does not exist"),
        (changed(&|content| content.pieces[1].volume = 3), "in a volume that does not exist"),
        (lie, "bytes here, but"),
    ] {
        let error = files.open(&[files.write("a.tar", bytes)]).map(|_| ()).expect_err(expected);
        assert!(error.starts_with("a.tar: ") && error.contains(expected), "{expected}: {error}");
    }
    let one = files.write("1.tar", with("signature", "1", &json));
    let two = files.write("2.tar", with("another", "2", &json));
    let error = files.open(&[one.clone(), two]).unwrap_err();
    assert!(error.starts_with("2.tar: roadstead/inventory.sig: is not the one of "), "{error}");
    let piece = |bytes: &[u8]| heading(&good, "2").file(&members::piece(&layer, 4), bytes).end();
    let two = files.write("2.tar", piece(b"x"));
    // A piece of another length is none.
    let set = files.open(&[one.clone(), two.clone()]).unwrap();
    assert_eq!(set.size(&layer), None);
    let three = files.write("3.tar", piece(b"xy"));
    let error = files.open(&[one, two, three]).unwrap_err();
    assert!(error.contains("has 2 bytes, but 1 in another archive"), "{error}");
}

#[test]
fn inventories_without_what_they_list_are_refused() {
    let image = image(&["layer that is split"]);
    let good = export(&image);
    let layer = sha256(&image.blobs[1]);
    let files = Files::new();
    let check = |change: &dyn Fn(&mut Inventory), digest: &Digest| {
        let mut export = good.clone();
        change(&mut export);
        let path = files.write("a.tar", heading(&export, "1").end());
        let error = inventory(&files.open(&[path]).unwrap()).unwrap_err();
        assert!(error.contains("does not say what it is"), "{error}");
        assert!(error.contains(digest.as_str()), "{error}");
    };
    check(&|export| drop(export.contents.remove(&layer)), &layer);
    let manifests = |export: &mut Inventory| {
        export.repositories.values_mut().for_each(|repository| repository.manifests.clear());
    };
    check(&manifests, &image.digest());
}

#[test]
fn exports_are_limited() {
    let files = Files::new();
    let paths: Vec<PathBuf> = (1..=65)
        .map(|volumes| {
            let inventory = Inventory { volumes, ..Inventory::default() };
            files.write(&format!("{volumes}.tar"), heading(&inventory, "1").end())
        })
        .collect();
    assert_eq!(files.open(&paths[..64]).unwrap().inventories().len(), 64);
    assert_eq!(files.open(&paths).unwrap_err(), "65.tar: is of one export more than 64");
}
