//! What `docker save` wrote before version 25, and what others write for `docker load`:
//! configurations and layers by `manifest.json`. Such images have no manifests; they are
//! made, always in the same way.

use super::error::Error;
use super::files::{At, Place, Span, digest_of};
use super::layout::JSON;
use super::scan::{Scan, parse_blob};
use super::{Context, DEPTH, Group, Name, Set, names, paths};
use roadstead_oci::{Algorithm, Descriptor, Digest, Manifest, ManifestKind, MediaType};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

/// How many members a layer may stand for, one after the other.
///
/// Limit: links from layer to layer; test: `layers_that_stand_for_others`.
const LINKS: usize = 8;

/// An image of `manifest.json`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Item {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Config {
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Option<Vec<Digest>>,
}

/// An image manifest, in the order of its properties.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Made {
    schema_version: u32,
    media_type: MediaType,
    config: Descriptor,
    layers: Vec<Descriptor>,
}

/// Reads `manifest.json`.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Item>, String> {
    serde_json::from_slice(bytes).map_err(|error| format!("manifest.json: {error}"))
}

impl Item {
    /// The digest of its configuration, if the name of that says it.
    pub(super) fn config(&self) -> Option<Digest> {
        let name = &self.config;
        let hex = name.strip_suffix(".json").or(name.strip_prefix("sha256:"));
        parse_blob(name).or_else(|| Digest::parse(&format!("sha256:{}", hex?)).ok())
    }

    /// Its names; images that lost theirs have `<none>:<none>` from some versions.
    pub(super) fn names(&self) -> Result<Vec<Name>, String> {
        let tags = self.repo_tags.iter().flatten().filter(|tag| !tag.starts_with("<none>"));
        tags.map(|tag| names::parse_docker(tag)).collect()
    }
}

/// The images of a layout, from the digests of configurations to roots that lead to them.
pub(super) fn configs(set: &Set, group: &Group) -> Result<BTreeMap<Digest, Digest>, Error> {
    let (mut configs, mut seen) = (BTreeMap::new(), BTreeSet::new());
    let roots = group.known.iter();
    let mut level: BTreeMap<Digest, _> =
        roots.map(|(root, media_type)| (root.clone(), (root, media_type.clone()))).collect();
    for _ in 0..=DEPTH {
        let mut below = BTreeMap::new();
        for (digest, (root, media_type)) in level {
            if !seen.insert(digest.clone()) {
                continue;
            }
            let Some(manifest) = set.parse(&digest, media_type.as_ref())? else { continue };
            match manifest.kind() {
                ManifestKind::Image { config, .. } => {
                    configs.entry(config.digest.clone()).or_insert_with(|| root.clone());
                }
                ManifestKind::Index { manifests } => {
                    let here = manifests.iter().filter(|child| !seen.contains(&child.digest));
                    for child in here {
                        let found = (root, Some(child.media_type.clone()));
                        below.entry(child.digest.clone()).or_insert(found);
                    }
                }
                ManifestKind::Other => {}
            }
        }
        level = below;
    }
    Ok(configs)
}

/// Makes manifests.
pub(super) struct Maker<'a> {
    set: &'a mut Set,
    archive: usize,
    label: String,
    file: &'a File,
    scan: &'a Scan,
    context: &'a Context<'a>,
    /// Layers by where they are: images share them.
    layers: BTreeMap<u64, Descriptor>,
    /// Configs by where they are: their sizes, their digests, and those of their layers.
    configs: BTreeMap<u64, (u64, Digest, Vec<Digest>)>,
}

impl<'a> Maker<'a> {
    pub(super) fn new(
        set: &'a mut Set,
        archive: usize,
        file: &'a File,
        scan: &'a Scan,
        context: &'a Context<'a>,
    ) -> Self {
        let label = set.archives.get(archive).map_or("", |archive| &archive.label).to_owned();
        let (layers, configs) = (BTreeMap::new(), BTreeMap::new());
        Self { set, archive, label, file, scan, context, layers, configs }
    }

    /// Adds these images. Their manifests are written to a file, as all contents are parts
    /// of files.
    pub(super) fn add(mut self, items: &[Item]) -> Result<(), Error> {
        let mut group = Group { label: self.label.clone(), ..Group::default() };
        let file = match &self.context.options.temporary {
            Some(directory) => tempfile::tempfile_in(directory),
            None => tempfile::tempfile(),
        };
        let file = Arc::new(file.map_err(|error| self.refused(MANIFEST, error))?);
        let place = Place::File(Arc::clone(&file));
        let archive = paths::push(self.set, &self.label, place, self.context)?;
        let mut offset = 0;
        for item in items {
            let names = item.names().map_err(|why| self.refused(MANIFEST, why))?;
            let manifest = self.make(item)?;
            let bytes = serde_json::to_vec(&manifest);
            let bytes = bytes.map_err(|error| self.refused(MANIFEST, error))?;
            if bytes.len() > Manifest::MAX_SIZE {
                return Err(self.refused(MANIFEST, "has an image with too many layers"));
            }
            let Some(digest) = digest_of(&bytes, Algorithm::Sha256) else { continue };
            if group.known.insert(digest.clone(), Some(manifest.media_type)).is_none() {
                let written = file.write_all_at(&bytes, offset);
                written.map_err(|error| self.refused(MANIFEST, error))?;
                let span = Span { offset, size: bytes.len() as u64 };
                self.set.add_blob(&digest, At { archive, span })?;
                offset += span.size;
            }
            let names = if names.is_empty() { vec![Name::default()] } else { names };
            group.roots.extend(names.into_iter().map(|name| (name, digest.clone())));
        }
        self.set.groups.push(group);
        Ok(())
    }

    fn make(&mut self, item: &Item) -> Result<Made, Error> {
        let (span, digest, diff_ids) = self.config(&item.config)?;
        if item
            .config()
            .is_some_and(|named| named.algorithm() == Algorithm::Sha256 && named != digest)
        {
            return Err(self.refused(&item.config, format_args!("has another digest: {digest}")));
        }
        let names = item.layers.as_deref().unwrap_or_default();
        if diff_ids.len() != names.len() {
            let (layers, ids) = (names.len(), diff_ids.len());
            let why = format!("has {ids} layers in rootfs, and manifest.json has {layers} for it");
            return Err(self.refused(&item.config, why));
        }
        if names.len() >= Manifest::MAX_DESCRIPTORS {
            return Err(self.refused(MANIFEST, "has an image with too many layers"));
        }
        let mut layers = Vec::with_capacity(names.len());
        for (name, diff_id) in names.iter().zip(&diff_ids) {
            let layer = self.layer(name)?;
            let is_plain = layer.media_type.as_str() == TAR;
            let is_same = layer.digest == *diff_id || diff_id.algorithm() != Algorithm::Sha256;
            if is_plain && !is_same {
                let found = &layer.digest;
                let why = format!("has the digest {found}, but {} has {diff_id}", item.config);
                return Err(self.refused(name, why));
            }
            layers.push(layer);
        }
        let config = descriptor(CONFIG, digest, span.size);
        let config = config.ok_or_else(|| self.refused(&item.config, "has no media type"))?;
        let media_type = MediaType::oci_image_manifest();
        Ok(Made { schema_version: 2, media_type, config, layers })
    }

    /// The digest of a config, and those of its layers. Each is read once, however many images
    /// name it.
    fn config(&mut self, name: &str) -> Result<(Span, Digest, Vec<Digest>), Error> {
        let span = self.resolve(name)?;
        if let Some((size, digest, diff_ids)) = self.configs.get(&span.offset)
            && *size == span.size
        {
            return Ok((span, digest.clone(), diff_ids.clone()));
        }
        let bytes = span.read(self.file, JSON).map_err(|error| self.refused(name, error))?;
        let bytes = bytes.ok_or_else(|| self.refused(name, "is too large"))?;
        let Some(digest) = digest_of(&bytes, Algorithm::Sha256) else {
            return Err(self.refused(name, "has no digest"));
        };
        let config: Config =
            serde_json::from_slice(&bytes).map_err(|error| self.refused(name, error))?;
        let diff_ids = config.rootfs.diff_ids.unwrap_or_default();
        self.set.add_blob(&digest, At { archive: self.archive, span })?;
        let known = (span.size, digest.clone(), diff_ids.clone());
        self.configs.insert(span.offset, known);
        Ok((span, digest, diff_ids))
    }

    fn layer(&mut self, name: &str) -> Result<Descriptor, Error> {
        let span = self.resolve(name)?;
        // Nothing else begins at the same byte, but an empty member.
        if let Some(layer) = self.layers.get(&span.offset).filter(|layer| layer.size == span.size) {
            return Ok(layer.clone());
        }
        let failed = |error: std::io::Error| Error::entry(&self.label, name.as_bytes(), error);
        let mut first = [0; 4];
        let length = usize::try_from(span.size).unwrap_or(4).min(4);
        let first = first.get_mut(..length).unwrap_or_default();
        self.file.read_exact_at(first, span.offset).map_err(failed)?;
        let media_type = match first {
            [0x1f, 0x8b, ..] => GZIP,
            [0x28, 0xb5, 0x2f, 0xfd] => ZSTD,
            _ => TAR,
        };
        let digest = span.digest(self.file, Algorithm::Sha256).map_err(failed)?;
        if let Some(named) = parse_blob(name)
            && named.algorithm() == Algorithm::Sha256
            && named != digest
        {
            return Err(self.refused(name, format_args!("has another digest: {digest}")));
        }
        self.set.add_blob(&digest, At { archive: self.archive, span })?;
        let layer = descriptor(media_type, digest, span.size);
        let layer = layer.ok_or_else(|| self.refused(name, "has no media type"))?;
        self.layers.insert(span.offset, layer.clone());
        Ok(layer)
    }

    /// Where a member is that `manifest.json` names.
    fn resolve(&self, name: &str) -> Result<Span, Error> {
        let mut at = name;
        for _ in 0..=LINKS {
            if let Some(span) = self.scan.file(at) {
                return Ok(span);
            }
            match self.scan.link(at) {
                Some(target) => at = target,
                None if at == name => {
                    return Err(self.refused(name, "is in manifest.json, but not in the archive"));
                }
                None => return Err(self.refused(name, "is a link to what is not there")),
            }
        }
        Err(self.refused(name, "is a link in a circle, or in too long a chain"))
    }

    fn refused(&self, entry: &str, why: impl std::fmt::Display) -> Error {
        Error::entry(&self.label, entry.as_bytes(), why)
    }
}

/// Docker's index.
const MANIFEST: &str = "manifest.json";

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const TAR: &str = "application/vnd.oci.image.layer.v1.tar";
const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

fn descriptor(media_type: &str, digest: Digest, size: u64) -> Option<Descriptor> {
    Some(Descriptor {
        media_type: MediaType::parse(media_type).ok()?,
        digest,
        size,
        artifact_type: None,
        annotations: BTreeMap::new(),
        urls: Vec::new(),
    })
}
