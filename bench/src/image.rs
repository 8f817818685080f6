//! Images, and how they are pushed and addressed.

use crate::client::{Client, PushStyle};
use crate::content::{Blob, BlobGenerator, REPOSITORY, digest, manifest};
use bytes::Bytes;
use http::StatusCode;
use std::sync::atomic::{AtomicU64, Ordering};

/// The size of an image's configuration.
const CONFIGURATION: usize = 4 << 10;

/// Generates images; no two share a blob, unless they are told to.
#[derive(Debug)]
pub(crate) struct ImageGenerator {
    configurations: BlobGenerator,
    layers: BlobGenerator,
    /// Layers that all images have, before their own.
    shared: Vec<Blob>,
    count: usize,
    /// The size of a layer, which is in tags: a file server replaces no file.
    size: usize,
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

impl ImageGenerator {
    /// For images of `count` layers of `size` bytes.
    pub(crate) fn new(pattern: &Bytes, count: usize, size: usize) -> Self {
        let configurations = BlobGenerator::new(pattern, CONFIGURATION);
        Self {
            configurations,
            layers: BlobGenerator::new(pattern, size),
            shared: Vec::new(),
            count,
            size,
            made: AtomicU64::new(0),
        }
    }

    /// The same, with one layer that changes from image to image.
    pub(crate) fn changing_one(mut self) -> Self {
        self.shared = (1..self.count).map(|_| self.layers.blob()).collect();
        self.count = 1;
        self
    }

    /// The next image.
    pub(crate) fn image(&self) -> Image {
        let config = self.configurations.blob();
        let own = (0..self.count).map(|_| self.layers.blob());
        let layers: Vec<_> = self.shared.iter().cloned().chain(own).collect();
        let manifest = manifest(&config, &layers);
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let tag = format!("image{}-{number}", self.size);
        Image { config, layers, tag, manifest }
    }
}

impl Image {
    /// The size of its blobs, in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.blobs().map(|blob| blob.size as u64).sum()
    }

    /// The path of the manifest by tag.
    pub(crate) fn by_tag(&self) -> String {
        format!("/v2/{REPOSITORY}/manifests/{}", self.tag)
    }

    /// The path of the manifest by digest.
    pub(crate) fn by_digest(&self) -> String {
        format!("/v2/{REPOSITORY}/manifests/{}", digest(&self.manifest))
    }

    /// The path of the first layer.
    pub(crate) fn layer(&self) -> String {
        format!("/v2/{REPOSITORY}/blobs/{}", self.layers.first().unwrap_or(&self.config).digest)
    }

    /// The paths that a pull requests: the manifest and the blobs.
    pub(crate) fn paths(&self) -> Vec<String> {
        let blobs = self.blobs().map(|blob| format!("/v2/{REPOSITORY}/blobs/{}", blob.digest));
        [self.by_tag()].into_iter().chain(blobs).collect()
    }

    /// Pushes it as clients do: a HEAD before each blob, then the manifest.
    pub(crate) async fn push(&self, client: &mut Client, style: PushStyle) -> anyhow::Result<()> {
        self.push_to(client, REPOSITORY, style).await?;
        if style == PushStyle::File {
            // A file server serves it at the path of the PUT only.
            client.put_manifest(&self.by_digest(), &self.manifest).await?;
        }
        Ok(())
    }

    /// Pushes it to a repository.
    pub(crate) async fn push_to(
        &self,
        client: &mut Client,
        name: &str,
        style: PushStyle,
    ) -> anyhow::Result<()> {
        for blob in self.blobs() {
            let path = format!("/v2/{name}/blobs/{}", blob.digest);
            if !client.has(&path).await? {
                client.push(name, blob, style).await?;
            }
        }
        client.put_manifest(&format!("/v2/{name}/manifests/{}", self.tag), &self.manifest).await
    }

    /// The name of a repository that no other image is pushed to.
    pub(crate) fn own_repository(&self) -> String {
        format!("bench/{}", self.tag)
    }

    /// Pushes it as clients do if the server has all of it: a HEAD for each blob, and the
    /// manifest, under a tag of its own.
    pub(crate) async fn push_again(&self, client: &mut Client, number: u64) -> anyhow::Result<()> {
        for blob in self.blobs() {
            client.head(&format!("/v2/{REPOSITORY}/blobs/{}", blob.digest), StatusCode::OK).await?;
        }
        self.tag(client, &format!("again{number}")).await
    }

    /// Tags it once more.
    pub(crate) async fn tag(&self, client: &mut Client, tag: &str) -> anyhow::Result<()> {
        client.put_manifest(&format!("/v2/{REPOSITORY}/manifests/{tag}"), &self.manifest).await
    }

    fn blobs(&self) -> impl Iterator<Item = &Blob> {
        self.layers.iter().chain([&self.config])
    }
}
