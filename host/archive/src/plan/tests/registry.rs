use super::super::{Format, Plan};
use super::{Registry, options, sha256, small};
use crate::{Content, Inventory, Manifest, members};
use roadstead_oci::{Digest, MediaType};
use roadstead_storage::Key;
use std::collections::{BTreeMap, HashSet};

/// What a member of distribution's layout is, by the names of a test: the last parts of keys
/// with digests that are replaced by what has them.
fn told(registry: &Registry, name: &str) -> String {
    let Ok(key) = Key::parse(name) else { return name.to_owned() };
    let short = |digest: &Digest| {
        let text = String::from_utf8(registry.bytes[digest].clone()).unwrap();
        match text.split_once("comment\":\"") {
            Some((_, rest)) => format!("config {}", &rest[..rest.find('"').unwrap()]),
            None if text.starts_with("{\"config\"") => "image".to_owned(),
            None if text.starts_with("{\"manifests\"") => "index".to_owned(),
            None => text,
        }
    };
    match key {
        Key::Blob(digest) => format!("data {}", short(&digest)),
        Key::Layer(name, digest) => format!("{name} layer {}", short(&digest)),
        Key::Revision(name, digest) => format!("{name} {}", short(&digest)),
        Key::MediaType(name, digest) => format!("{name} type of {}", short(&digest)),
        Key::TagHistory(name, tag, digest) => format!("{name} {tag} was {}", short(&digest)),
        Key::Tag(name, tag) => format!("{name} {tag}"),
        _ => name.to_owned(),
    }
}

#[test]
fn registry_archives_are_in_the_order_in_which_images_are_pushed() {
    let registry = small();
    let members = registry.read(&options(Format::Registry));
    let told: Vec<_> = members.iter().map(|(name, _)| told(&registry, name)).collect();
    let expected = "roadstead/inventory.json, roadstead/volume, \
        data config one, data base, data top of one, data config two, data top of two, \
        data image, data image, data index, \
        a/app layer config one, a/app layer base, a/app layer top of one, \
        a/app type of image, a/app image, \
        a/app layer config two, a/app layer top of two, \
        a/app type of image, a/app image, a/app type of index, a/app index, \
        a/app latest was index, a/app latest, a/app one was image, a/app one, \
        data {}, data list of parts, data image, a/app layer {}, a/app layer list of parts, \
        a/app type of image, a/app image, \
        data config three, data top of three, data image, \
        other layer config three, other layer base, other layer top of three, \
        other type of image, other image, \
        other v1 was image, other v1, other v2 was image, other v2";
    assert_eq!(told.join(", "), expected);
    assert_eq!(members[1].1, b"1");
}

#[test]
fn what_is_unpacked_is_what_a_registry_has_stored() {
    let registry = small();
    let mut seen = HashSet::new();
    let mut tags = BTreeMap::new();
    let members = registry.read(&options(Format::Registry));
    for (name, bytes) in members.iter().filter(|(name, _)| name.starts_with("docker/")) {
        let text = || String::from_utf8(bytes.clone()).unwrap();
        let linked = || text().parse::<Digest>().unwrap();
        let key = Key::parse(name).unwrap();
        assert_eq!(key.to_string(), *name);
        match &key {
            Key::Blob(digest) => assert_eq!(sha256(bytes), *digest),
            Key::Layer(_, digest) | Key::Revision(_, digest) => {
                assert_eq!(linked(), *digest);
                assert!(seen.contains(&Key::Blob(digest.clone())), "{name}");
                if matches!(key, Key::Revision(..)) {
                    assert!(seen.contains(&key.companion().unwrap()), "{name}");
                }
            }
            Key::MediaType(repository, digest) => {
                let manifest = &registry.inventory.repositories[repository].manifests[digest];
                assert_eq!(text(), manifest.media_type.as_str());
            }
            Key::TagHistory(_, _, digest) => assert_eq!(linked(), *digest),
            Key::Tag(repository, tag) => {
                let (name, digest) = (repository.clone(), linked());
                assert!(seen.contains(&Key::Revision(name.clone(), digest.clone())), "{name}");
                assert!(seen.contains(&Key::TagHistory(name, tag.clone(), digest.clone())));
                tags.insert((repository.clone(), tag.clone()), digest);
            }
            _ => panic!("{name}"),
        }
        assert!(seen.insert(key), "{name} is there twice");
    }
    for (name, repository) in &registry.inventory.repositories {
        for (digest, manifest) in &repository.manifests {
            assert!(seen.contains(&Key::Revision(name.clone(), digest.clone())));
            for blob in &manifest.blobs {
                assert!(seen.contains(&Key::Layer(name.clone(), blob.clone())));
            }
        }
        for (tag, digest) in &repository.tags {
            assert_eq!(tags.remove(&(name.clone(), tag.clone())).as_ref(), Some(digest));
        }
    }
    assert!(tags.is_empty());
}

#[test]
fn names_may_be_long() {
    let mut registry = Registry::default();
    let name = "n".repeat(255);
    let tag = "t".repeat(128);
    let image = registry.image(&name, "config", &[b"layer"]);
    registry.tag(&name, &tag, &image);
    let members = registry.read(&options(Format::Registry));
    let key = Key::Tag(name.parse().unwrap(), tag.parse().unwrap()).to_string();
    assert_eq!(members.last(), Some(&(key, image.as_str().as_bytes().to_vec())));
}

#[test]
fn contents_that_the_other_side_has_are_left_out() {
    let registry = small();
    let (manifest, base) = {
        let repository = &registry.inventory.repositories[&"other".parse().unwrap()];
        (repository.manifests.keys().next().unwrap().clone(), sha256(b"base"))
    };
    let mut options = options(Format::Registry);
    let all = registry.read(&options);
    options.held = [manifest.clone(), base.clone()].into();
    let rest = registry.read(&options);
    let left_out: Vec<_> = all.iter().filter(|member| !rest.contains(member)).collect();
    let data = |digest: &Digest| Key::Blob(digest.clone()).to_string();
    let names: Vec<_> = left_out.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(names, ["roadstead/inventory.json".to_owned(), data(&base), data(&manifest)]);
    let inventory = Inventory::parse(&rest[0].1).unwrap();
    for (digest, content) in &inventory.contents {
        let held = options.held.contains(digest);
        assert_eq!(content.pieces.len(), usize::from(!held), "{digest}");
        assert_eq!(content.size, registry.bytes[digest].len() as u64);
    }
    assert_eq!(inventory.repositories, registry.inventory.repositories);
}

#[test]
fn inventories_that_make_no_sense_are_refused() {
    let registry = small();
    let base = sha256(b"base");
    let app = "a/app".parse().unwrap();
    let absent = sha256(b"absent");
    let changed = |change: &dyn Fn(&mut Inventory)| {
        let mut inventory = registry.inventory.clone();
        change(&mut inventory);
        Plan::new(inventory, &options(Format::Registry)).map(|_| ()).unwrap_err()
    };
    for (error, says) in [
        (changed(&|inventory| drop(inventory.contents.remove(&base))), "does not say how large"),
        (
            changed(&|inventory| {
                let tags = &mut inventory.repositories.get_mut(&app).unwrap().tags;
                tags.insert("gone".parse().unwrap(), absent.clone());
            }),
            "a/app:gone leads to",
        ),
        (
            changed(&|inventory| {
                let manifests = &mut inventory.repositories.get_mut(&app).unwrap().manifests;
                let index = manifests.values_mut().find(|manifest| !manifest.children.is_empty());
                index.unwrap().children.push(absent.clone());
            }),
            "which a/app does not hold",
        ),
        (
            changed(&|inventory| inventory.contents.get_mut(&base).unwrap().size = 1 << 60),
            "the contents have more than",
        ),
        (
            changed(&|inventory| inventory.contents.get_mut(&base).unwrap().size = u64::MAX),
            "the contents have more than",
        ),
    ] {
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn what_no_repository_holds_is_not_in_the_inventory() {
    let mut registry = small();
    let unused = registry.store(b"unused");
    let mut inventory = registry.inventory.clone();
    inventory.volumes = 7;
    let plan = Plan::new(inventory, &options(Format::Registry)).unwrap();
    assert_eq!(plan.inventory().volumes, 1);
    assert!(!plan.inventory().contents.contains_key(&unused));
    assert_eq!(plan.inventory().contents.len(), registry.inventory.contents.len() - 1);
}

#[test]
fn deep_indexes_and_cycles_end() {
    let name = |number: usize| sha256(&number.to_be_bytes());
    let mut inventory = Inventory::default();
    let repository = inventory.repositories.entry("deep".parse().unwrap()).or_default();
    let count = 20_000;
    for number in 0..count {
        let manifest = Manifest {
            media_type: MediaType::oci_image_index(),
            artifact_type: None,
            subject: None,
            children: vec![name((number + 1) % count)],
            blobs: Vec::new(),
        };
        repository.manifests.insert(name(number), manifest);
        let content = Content { size: 1, pieces: Vec::new() };
        inventory.contents.insert(name(number), content);
    }
    repository.tags.insert("t".parse().unwrap(), name(0));
    let plan = Plan::new(inventory, &options(Format::Registry)).unwrap();
    let volumes = plan.volumes(&|_| Ok(None)).unwrap();
    let data = |member: &super::super::Member| member.name.ends_with("/data");
    assert_eq!(volumes[0].members.iter().filter(|member| data(member)).count(), count);
}

#[test]
fn the_inventory_is_signed() {
    let plan = || Plan::new(small().inventory, &options(Format::Registry)).unwrap();
    let volumes = plan().volumes(&|bytes| Ok(Some(sha256(bytes).as_str().into()))).unwrap();
    let members = members_of(&volumes[0]);
    let names: Vec<_> = members.iter().take(3).map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, [members::INVENTORY, members::SIGNATURE, members::VOLUME]);
    assert_eq!(members[1].1, sha256(&members[0].1).as_str());
    let error = plan().volumes(&|_| Err("no key".to_owned())).unwrap_err();
    assert_eq!(error, "no key");
    let error = plan().volumes(&|_| Ok(Some(vec![b'a'; 513]))).unwrap_err();
    assert_eq!(error, "a signature has more than 512 bytes");
}

fn members_of(volume: &super::Volume) -> Vec<(String, bytes::Bytes)> {
    let members = volume.members.iter().filter_map(|member| match &member.body {
        super::Body::Bytes(bytes) => Some((member.name.clone(), bytes.clone())),
        super::Body::Content { .. } => None,
    });
    members.collect()
}
