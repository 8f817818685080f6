//! Whole images.

use crate::client::{Client, Style};
use crate::content::{Blob, Maker, digest, manifest};
use crate::measure::NAME;
use bytes::Bytes;
use http::StatusCode;
use std::sync::atomic::{AtomicU64, Ordering};

/// The size of an image's configuration.
const CONFIGURATION: usize = 4 << 10;

/// Makes images; no two share a blob.
#[derive(Debug)]
pub(crate) struct Images {
    configurations: Maker,
    layers: Maker,
    count: usize,
    made: AtomicU64,
}

/// An image.
#[derive(Debug)]
pub(crate) struct Image {
    config: Blob,
    layers: Vec<Blob>,
    tag: String,
    manifest: Bytes,
}

impl Images {
    /// For images of `count` layers of `size` bytes.
    pub(crate) fn new(pattern: &Bytes, count: usize, size: usize) -> Self {
        let configurations = Maker::new(pattern, CONFIGURATION);
        Self { configurations, layers: Maker::new(pattern, size), count, made: AtomicU64::new(0) }
    }

    /// The next one.
    pub(crate) fn image(&self) -> Image {
        let config = self.configurations.blob();
        let layers: Vec<_> = (0..self.count).map(|_| self.layers.blob()).collect();
        let manifest = manifest(&config, &layers);
        let tag = format!("image{}", self.made.fetch_add(1, Ordering::Relaxed));
        Image { config, layers, tag, manifest }
    }
}

impl Image {
    /// Bytes of its blobs.
    pub(crate) fn size(&self) -> u64 {
        self.blobs().map(|blob| blob.size as u64).sum()
    }

    /// Where the manifest is, by its tag.
    pub(crate) fn by_tag(&self) -> String {
        format!("/v2/{NAME}/manifests/{}", self.tag)
    }

    /// Where the manifest is, by its digest.
    pub(crate) fn by_digest(&self) -> String {
        format!("/v2/{NAME}/manifests/{}", digest(&self.manifest))
    }

    /// Where the first layer is.
    pub(crate) fn layer(&self) -> String {
        format!("/v2/{NAME}/blobs/{}", self.layers.first().unwrap_or(&self.config).digest)
    }

    /// What a pull gets: the manifest and the blobs.
    pub(crate) fn paths(&self) -> Vec<String> {
        let blobs = self.blobs().map(|blob| format!("/v2/{NAME}/blobs/{}", blob.digest));
        [self.by_tag()].into_iter().chain(blobs).collect()
    }

    /// Pushes it as clients do: each blob after asking for it, then the
    /// manifest.
    pub(crate) async fn push(&self, client: &mut Client, style: Style) -> anyhow::Result<()> {
        self.push_to(client, NAME, style).await?;
        if style == Style::File {
            // A file server has it where it was put, and nowhere else.
            client.put_manifest(&self.by_digest(), &self.manifest).await?;
        }
        Ok(())
    }

    /// Pushes it to a repository.
    pub(crate) async fn push_to(
        &self,
        client: &mut Client,
        name: &str,
        style: Style,
    ) -> anyhow::Result<()> {
        for blob in self.blobs() {
            let path = format!("/v2/{name}/blobs/{}", blob.digest);
            client.head(&path, StatusCode::NOT_FOUND).await?;
            client.push(name, blob, style).await?;
        }
        client.put_manifest(&format!("/v2/{name}/manifests/{}", self.tag), &self.manifest).await
    }

    /// Gives it another tag.
    pub(crate) async fn tag(&self, client: &mut Client, tag: &str) -> anyhow::Result<()> {
        client.put_manifest(&format!("/v2/{NAME}/manifests/{tag}"), &self.manifest).await
    }

    fn blobs(&self) -> impl Iterator<Item = &Blob> {
        self.layers.iter().chain([&self.config])
    }
}
