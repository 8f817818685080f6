//! An OCI image layout, as a directory or as an archive.

use crate::archive::{Entry, append};
use anyhow::Context as _;
use roadstead_oci::{Algorithm, Digest};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use tar::Builder;

/// The files of a layout (image-spec, image-layout.md), by their paths.
#[derive(Debug)]
pub struct Layout {
    files: BTreeMap<String, Vec<u8>>,
    /// The paths of the configuration and of the layer of the last image.
    image: Option<[String; 2]>,
}

impl Default for Layout {
    fn default() -> Self {
        let version = json!({ "imageLayoutVersion": "1.0.0" }).to_string();
        let files = BTreeMap::from([("oci-layout".to_owned(), version.into_bytes())]);
        Self { files, image: None }
    }
}

impl Layout {
    /// Adds a blob, and returns its descriptor.
    pub(crate) fn add(&mut self, media_type: &str, bytes: Vec<u8>) -> Value {
        let (digest, size) = (digest(&bytes), bytes.len());
        self.files.insert(path(&digest), bytes);
        json!({ "mediaType": media_type, "digest": digest, "size": size })
    }

    /// Remembers an image by the descriptors of its configuration and of its layer.
    pub(crate) fn note_image(&mut self, configuration: &Value, layer: &Value) {
        self.image =
            Some([configuration, layer].map(|it| path(it["digest"].as_str().unwrap_or_default())));
    }

    /// Adds the file by which `docker load` of engines before 25 finds the image.
    pub(crate) fn docker_image(&mut self, name: &str) -> anyhow::Result<()> {
        let [configuration, layer] = self.image.as_ref().context("there is no image")?;
        let images = json!([{ "Config": configuration, "RepoTags": [name], "Layers": [layer] }]);
        self.files.insert("manifest.json".to_owned(), images.to_string().into_bytes());
        Ok(())
    }

    /// Sets the image or the index that the layout is of.
    pub(crate) fn set_root(&mut self, descriptor: &Value) {
        let index =
            json!({ "schemaVersion": 2, "mediaType": crate::INDEX, "manifests": [descriptor] });
        self.files.insert("index.json".to_owned(), index.to_string().into_bytes());
    }

    /// A file of the layout, by its path.
    pub fn file(&self, path: &str) -> Option<&[u8]> {
        self.files.get(path).map(Vec::as_slice)
    }

    /// Writes the layout to a directory, which is created.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write_directory(&self, directory: &Path) -> anyhow::Result<()> {
        for (path, bytes) in &self.files {
            let file = directory.join(path);
            let parent = file.parent().unwrap_or(directory);
            let written = fs::create_dir_all(parent).and_then(|()| fs::write(&file, bytes));
            written.with_context(|| format!("cannot write {}", file.display()))?;
        }
        Ok(())
    }

    /// Writes the layout as an archive. All its files are from `created`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_archive(&self, to: impl Write, created: u64) -> io::Result<()> {
        let mut archive = Builder::new(to);
        for directory in ["blobs/", "blobs/sha256/"] {
            append(&mut archive, directory, &Entry::Directory(0o755, 0), created)?;
        }
        for (path, bytes) in &self.files {
            append(&mut archive, path, &Entry::File(0o644, bytes), created)?;
        }
        archive.into_inner()?.flush()
    }
}

/// A blob's path.
fn path(digest: &str) -> String {
    format!("blobs/{}", digest.replace(':', "/"))
}

fn digest(bytes: &[u8]) -> String {
    let digest = Digest::from_bytes(Algorithm::Sha256, &Sha256::digest(bytes));
    digest.map(|digest| digest.as_str().to_owned()).unwrap_or_default()
}
