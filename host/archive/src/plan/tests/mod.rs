mod headers;
mod layout;
mod registry;
mod volumes;

use super::{Body, Format, Plan, PlanOptions, Volume};
use crate::{Content, Inventory, Manifest};
use roadstead_oci::{Algorithm, Digest, MediaType};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;

/// A registry: an inventory, and the bytes of all contents.
#[derive(Clone, Default)]
struct Registry {
    inventory: Inventory,
    bytes: BTreeMap<Digest, Vec<u8>>,
}

impl Registry {
    fn store(&mut self, bytes: &[u8]) -> Digest {
        let digest = sha256(bytes);
        let content = Content { size: bytes.len() as u64, pieces: Vec::new() };
        self.inventory.contents.insert(digest.clone(), content);
        self.bytes.insert(digest.clone(), bytes.to_vec());
        digest
    }

    fn push(&mut self, repository: &str, bytes: &[u8], manifest: Manifest) -> Digest {
        let digest = self.store(bytes);
        let repository = repository.parse().unwrap();
        let repository = self.inventory.repositories.entry(repository).or_default();
        repository.manifests.insert(digest.clone(), manifest);
        digest
    }

    /// An image of a config, made of a text, and layers.
    fn image(&mut self, repository: &str, config: &str, layers: &[&[u8]]) -> Digest {
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "comment": config,
            "config": {},
            "rootfs": {
                "type": "layers",
                "diff_ids": layers.iter().map(|layer| sha256(layer)).collect::<Vec<_>>(),
            },
        });
        self.artifact(repository, &config.to_string(), layers, IMAGE_CONFIG, None)
    }

    fn artifact(
        &mut self,
        repository: &str,
        config: &str,
        layers: &[&[u8]],
        kind: &str,
        subject: Option<&Digest>,
    ) -> Digest {
        let sizes = [config.len()].into_iter().chain(layers.iter().map(|layer| layer.len()));
        let blobs = [config.as_bytes()].into_iter().chain(layers.iter().copied());
        let blobs: Vec<_> = blobs.map(|blob| self.store(blob)).collect();
        let descriptors: Vec<_> = blobs
            .iter()
            .zip(sizes)
            .map(|(digest, size)| {
                let layer = "application/vnd.oci.image.layer.v1.tar";
                let kind = if *digest == blobs[0] { kind } else { layer };
                json!({"mediaType": kind, "digest": digest, "size": size})
            })
            .collect();
        let media_type = MediaType::oci_image_manifest();
        let mut text = json!({
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": descriptors[0],
            "layers": descriptors[1..],
        });
        if let Some(subject) = subject {
            let size = self.inventory.contents[subject].size;
            text["subject"] = json!({"mediaType": media_type, "digest": subject, "size": size});
        }
        let manifest = Manifest {
            media_type,
            artifact_type: kind.parse().ok(),
            subject: subject.cloned(),
            children: Vec::new(),
            blobs,
        };
        self.push(repository, text.to_string().as_bytes(), manifest)
    }

    fn index(&mut self, repository: &str, children: &[&Digest]) -> Digest {
        let media_type = MediaType::oci_image_index();
        let list: Vec<_> = children
            .iter()
            .map(|digest| {
                let size = self.inventory.contents[*digest].size;
                json!({"mediaType": MediaType::oci_image_manifest(), "digest": digest, "size": size})
            })
            .collect();
        let text = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": list});
        let manifest = Manifest {
            media_type,
            artifact_type: None,
            subject: None,
            children: children.iter().map(|digest| (*digest).clone()).collect(),
            blobs: Vec::new(),
        };
        self.push(repository, text.to_string().as_bytes(), manifest)
    }

    fn tag(&mut self, repository: &str, tag: &str, digest: &Digest) {
        let repository = repository.parse().unwrap();
        let repository = self.inventory.repositories.get_mut(&repository).unwrap();
        repository.tags.insert(tag.parse().unwrap(), digest.clone());
    }

    /// The volumes, with the digests of pieces and no signature.
    fn volumes(&self, options: &PlanOptions) -> Vec<Volume> {
        let mut plan = Plan::new(self.inventory.clone(), options).unwrap();
        for (index, (digest, range)) in plan.split().to_vec().into_iter().enumerate() {
            let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
            plan.set_piece_digest(index, sha256(&self.bytes[&digest][range]));
        }
        plan.volumes(&|_| Ok(None)).unwrap()
    }

    /// A volume as a tar file.
    fn tar(&self, volume: &Volume) -> Vec<u8> {
        let mut tar = Vec::new();
        for member in &volume.members {
            let header = member.header();
            let bytes = match &member.body {
                Body::Bytes(bytes) => &bytes[..],
                Body::Content { digest, range, repository, manifest } => {
                    let repository = &self.inventory.repositories[repository];
                    let held = repository.manifests.contains_key(digest);
                    assert_eq!(held, *manifest, "{}", member.name);
                    let range = usize::try_from(range.start).unwrap()..;
                    let end = usize::try_from(member.size).unwrap();
                    &self.bytes[digest][range][..end]
                }
            };
            assert_eq!(bytes.len() as u64, member.size, "{}", member.name);
            tar.extend_from_slice(&header);
            tar.extend_from_slice(bytes);
            tar.resize(tar.len() + member.padding(), 0);
        }
        tar.extend_from_slice(Plan::END);
        tar
    }

    /// The only volume as another program reads it.
    fn read(&self, options: &PlanOptions) -> Vec<(String, Vec<u8>)> {
        let [volume] = &self.volumes(options)[..] else { panic!("one volume") };
        members(&self.tar(volume))
    }
}

const IMAGE_CONFIG: &str = "application/vnd.oci.image.config.v1+json";

fn options(format: Format) -> PlanOptions {
    PlanOptions {
        format,
        volume_size: None,
        prefix: String::new(),
        held: BTreeSet::new(),
        platforms: BTreeMap::new(),
    }
}

fn sha256(bytes: &[u8]) -> Digest {
    let hash = <sha2::Sha256 as sha2::Digest>::digest(bytes);
    Digest::from_bytes(Algorithm::Sha256, &hash).unwrap()
}

/// Names and bytes of a tar file's members, all of them regular files without a trace of
/// who wrote them.
fn members(tar: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut archive = tar::Archive::new(tar);
    let members = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let header = entry.header();
        assert_eq!(header.entry_type(), tar::EntryType::Regular);
        assert_eq!((header.mode().unwrap(), header.mtime().unwrap()), (0o644, 0));
        assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
        let name = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (name, bytes)
    });
    members.collect()
}

/// Two repositories that share a layer; an index of two platforms, with a tag for it and one
/// for one of these; an untagged referrer.
fn small() -> Registry {
    let mut registry = Registry::default();
    let one = registry.image("a/app", "one", &[b"base", b"top of one"]);
    let two = registry.image("a/app", "two", &[b"base", b"top of two", b"base"]);
    let index = registry.index("a/app", &[&one, &two]);
    registry.tag("a/app", "latest", &index);
    registry.tag("a/app", "one", &one);
    let kind = "application/vnd.example.sbom+json";
    registry.artifact("a/app", "{}", &[b"list of parts"], kind, Some(&index));
    let other = registry.image("other", "three", &[b"base", b"top of three"]);
    registry.tag("other", "v1", &other);
    registry.tag("other", "v2", &other);
    registry
}
