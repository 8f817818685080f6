//! Makes archives, and opens them.

use super::super::{Context, Error, Image, Options, Set, survey};
use crate::Inventory;
use flate2::{Compression, write::GzEncoder};
use roadstead_oci::{Digest, RepositoryName, Tag};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::io::Write as _;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use tar::{EntryType, Header};
use tempfile::TempDir;

pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A tar file.
#[derive(Clone, Default)]
pub(super) struct Tar(pub(super) Vec<u8>);

impl Tar {
    pub(super) fn file(mut self, name: &str, bytes: impl AsRef<[u8]>) -> Self {
        self.raw(EntryType::Regular, name, "", bytes.as_ref());
        self
    }

    pub(super) fn link(mut self, kind: EntryType, name: &str, target: &str) -> Self {
        self.raw(kind, name, target, b"");
        self
    }

    /// A header without checks of the name, and the bytes.
    pub(super) fn raw(&mut self, kind: EntryType, name: &str, target: &str, bytes: &[u8]) {
        let fits = name.len() <= 100;
        if !fits {
            let header = header(EntryType::GNULongName, "long", "", name.len() as u64);
            self.header(&header, name.as_bytes());
        }
        let header = header(kind, if fits { name } else { "" }, target, bytes.len() as u64);
        self.header(&header, bytes);
    }

    pub(super) fn header(&mut self, header: &Header, bytes: &[u8]) {
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(bytes);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
    }

    /// All of it.
    pub(super) fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

pub(super) fn header(kind: EntryType, name: &str, target: &str, size: u64) -> Header {
    let mut header = Header::new_gnu();
    let old = header.as_old_mut();
    old.name[..name.len()].copy_from_slice(name.as_bytes());
    old.linkname[..target.len()].copy_from_slice(target.as_bytes());
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_cksum();
    header
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(super) fn sha256(bytes: impl AsRef<[u8]>) -> Digest {
    Digest::from_bytes(roadstead_oci::Algorithm::Sha256, &Sha256::digest(bytes)).unwrap()
}

pub(super) fn descriptor(media_type: &str, bytes: impl AsRef<[u8]>) -> Value {
    let size = bytes.as_ref().len();
    json!({"mediaType": media_type, "digest": sha256(bytes).as_str(), "size": size})
}

/// An image of these layers, with the bytes of all of it.
pub(super) struct Built {
    pub(super) manifest: Vec<u8>,
    pub(super) blobs: Vec<Vec<u8>>,
}

pub(super) fn image(layers: &[&str]) -> Built {
    let diff_ids: Vec<_> = layers.iter().map(|layer| sha256(layer).to_string()).collect();
    let config = json!({"rootfs": {"type": "layers", "diff_ids": diff_ids}}).to_string();
    let tar = "application/vnd.oci.image.layer.v1.tar";
    let listed: Vec<_> = layers.iter().map(|layer| descriptor(tar, layer)).collect();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": listed,
    });
    let mut blobs = vec![config.into_bytes()];
    blobs.extend(layers.iter().map(|layer| layer.as_bytes().to_vec()));
    Built { manifest: manifest.to_string().into_bytes(), blobs }
}

impl Built {
    pub(super) fn digest(&self) -> Digest {
        sha256(&self.manifest)
    }

    /// Everything.
    pub(super) fn contents(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.blobs.iter().chain([&self.manifest])
    }

    /// The same image that refers to another.
    pub(super) fn of(&self, subject: &Built) -> Built {
        let mut manifest: Value = serde_json::from_slice(&self.manifest).unwrap();
        manifest["subject"] = descriptor(MANIFEST, &subject.manifest);
        let blobs = self.blobs.clone();
        Built { manifest: manifest.to_string().into_bytes(), blobs }
    }
}

pub(super) fn index(children: &[(&str, &[u8])]) -> Vec<u8> {
    let list: Vec<_> = children.iter().map(|(kind, bytes)| descriptor(kind, bytes)).collect();
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": list}).to_string().into_bytes()
}

pub(super) fn in_layout(bytes: &[u8]) -> String {
    format!("blobs/sha256/{}", sha256(bytes).encoded())
}

pub(super) fn in_registry(digest: &Digest) -> String {
    roadstead_storage::Key::Blob(digest.clone()).to_string()
}

/// An OCI layout with these contents, and what `index.json` lists.
pub(super) fn layout(contents: &[&[u8]], listed: &[Value]) -> Tar {
    let mut tar = Tar::default()
        .file("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#)
        .file("index.json", json!({"schemaVersion": 2, "manifests": listed}).to_string());
    for bytes in contents {
        tar = tar.file(&in_layout(bytes), bytes);
    }
    tar
}

pub(super) fn named(mut descriptor: Value, key: &str, name: &str) -> Value {
    descriptor["annotations"] = json!({key: name});
    descriptor
}

/// A repository in a registry's directory, with these manifests and tags.
pub(super) fn repository(mut tar: Tar, name: &str, images: &[(&Built, Option<&str>)]) -> Tar {
    let at = format!("docker/registry/v2/repositories/{name}/_manifests");
    let mut linked = std::collections::BTreeSet::new();
    for (image, tag) in images {
        let digest = image.digest();
        let link = format!("{at}/revisions/sha256/{}/link", digest.encoded());
        if linked.insert(digest.clone()) {
            tar = tar.file(&link, digest.as_str());
        }
        if let Some(tag) = tag {
            tar = tar.file(&format!("{at}/tags/{tag}/current/link"), digest.as_str());
        }
    }
    tar
}

/// Archives in a directory.
pub(super) struct Files {
    pub(super) directory: TempDir,
}

impl Files {
    pub(super) fn new() -> Self {
        Self { directory: TempDir::new().unwrap() }
    }

    pub(super) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    pub(super) fn open(&self, paths: &[PathBuf]) -> Result<Set, String> {
        self.open_with(paths, 1000, 100, survey::REFERENCES)
    }

    pub(super) fn open_with(
        &self,
        paths: &[PathBuf],
        entries: u64,
        archives: usize,
        references: usize,
    ) -> Result<Set, String> {
        let options = Options { temporary: Some(self.directory.path().to_owned()) };
        let context = Context { options: &options, entries, archives, references };
        let set = Set::read(paths, &context, &mut std::io::empty());
        let directory = format!("{}/", self.directory.path().display());
        set.map_err(|error| error.to_string().replace(&directory, ""))
    }
}

/// Opens one archive.
pub(super) fn open(bytes: impl AsRef<[u8]>) -> Result<Set, String> {
    let files = Files::new();
    let path = files.write("a.tar", bytes);
    files.open(&[path])
}

/// The images as `host repository tag digest`, in which digests have eight digits.
pub(super) fn print(set: &Set) -> Vec<String> {
    let images = set.images().iter();
    let mut lines: Vec<_> = images
        .map(|Image { name, digest, .. }| {
            let host = name.host.as_deref().unwrap_or("-");
            let repository = name.repository.as_ref().map_or("-", |name| name.as_str());
            let tag = name.tag.as_ref().map_or("-", |tag| tag.as_str());
            format!("{host} {repository} {tag} {}", short(digest))
        })
        .collect();
    lines.sort();
    lines
}

pub(super) fn short(digest: &Digest) -> &str {
    &digest.encoded()[..8]
}

/// The inventory under the names of the archive, or `x`.
pub(super) fn inventory(set: &Set) -> Result<Inventory, String> {
    let name = |image: &Image| -> Result<(RepositoryName, Option<Tag>), Error> {
        let unnamed = RepositoryName::parse("x").unwrap();
        Ok((image.name.repository.clone().unwrap_or(unnamed), image.name.tag.clone()))
    };
    set.inventory(&name).map_err(|error| error.to_string())
}

/// The bytes of a content.
pub(super) fn content(set: &Set, digest: &Digest) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for part in set.parts(digest, 0..u64::MAX)? {
        let mut piece = vec![0; usize::try_from(part.range.end - part.range.start).unwrap()];
        part.file.read_exact_at(&mut piece, part.range.start).unwrap();
        bytes.extend(piece);
    }
    assert_eq!(Some(bytes.len() as u64), set.size(digest));
    Some(bytes)
}

/// Some of the bytes.
pub(super) fn cut(bytes: &[u8], range: &Range<u64>) -> Vec<u8> {
    bytes[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()].to_vec()
}

/// Asserts that all of these are there.
pub(super) fn holds(set: &Set, image: &Built) {
    for bytes in image.contents() {
        assert_eq!(content(set, &sha256(bytes)).as_ref(), Some(bytes));
    }
    let manifest = set.manifest(&image.digest()).unwrap();
    assert_eq!(manifest.as_deref(), Some(image.manifest.as_slice()));
}
