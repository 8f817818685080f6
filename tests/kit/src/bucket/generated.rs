//! A bucket whose images are made up when they are listed or read: as many as a test
//! asks for, whatever memory there is.

use super::MemoryBucket;
use async_trait::async_trait;
use chrono::DateTime;
use futures::stream::BoxStream;
use object_store::list::{PaginatedListOptions, PaginatedListResult, PaginatedListStore};
use object_store::path::Path;
use object_store::{
    Attribute, AttributeValue, CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload,
    PutResult,
};
use roadstead_buckets::Backend;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

const REPOSITORIES: &str = "docker/registry/v2/repositories/";
const BLOBS: &str = "docker/registry/v2/blobs/";
const MEDIA_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// Layers of each image, which no other one has.
pub const LAYERS: u64 = 3;

/// The keys of a directory, in their order: how many there are, and what makes each of
/// them, with the size of its object.
struct Keys<'a> {
    count: u64,
    key: Box<dyn Fn(u64) -> (String, u64) + 'a>,
}

/// How many keys a page has at most.
const PAGE: usize = 1000;

/// From how many bytes on a value that was written is kept in a file.
const LARGE: usize = 1024;

/// A bucket with generated images, and with what is written besides.
///
/// All digests are in one order: a manifest, its layers, the next manifest. Images go to
/// the repositories in turn.
#[derive(Clone, Debug)]
pub struct GeneratedBucket(Arc<State>);

#[derive(Debug)]
struct State {
    repositories: u64,
    images: u64,
    written: MemoryBucket,
    /// Where large values are, so that the memory of the process is that of the test.
    files: PathBuf,
    requests: Mutex<BTreeMap<&'static str, u64>>,
}

impl GeneratedBucket {
    /// A bucket with so many images in so many repositories. Whatever is written is kept
    /// in `written`, and its large values in the directory `files`.
    pub fn new(repositories: u64, images: u64, written: MemoryBucket, files: PathBuf) -> Self {
        let requests = Mutex::default();
        Self(Arc::new(State { repositories, images, written, files, requests }))
    }

    /// The bucket as a backend.
    pub fn backend(&self) -> Backend {
        let (store, lists) = (Arc::new(self.clone()), Arc::new(self.clone()));
        Backend { store, lists, ..self.0.written.backend("") }
    }

    /// How many requests of each kind there were since the last call.
    pub fn requests(&self) -> BTreeMap<&'static str, u64> {
        std::mem::take(&mut self.0.requests.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn request(&self, what: &'static str) {
        self.0.written.tick();
        let mut requests = self.0.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry(what).or_default() += 1;
    }

    fn blobs(&self) -> u64 {
        self.0.images * (1 + LAYERS)
    }

    /// The digits of a digest, by its place among all.
    fn hex(&self, blob: u64) -> String {
        let first = u128::from(blob) * (1 << 64) / u128::from(self.blobs());
        // The rest is of no importance, but is not the same for all.
        let rest = blob.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        format!("{first:016x}{rest:016x}{:032x}", 0)
    }

    /// The place of a digest, if there is one with these digits.
    fn place(&self, hex: &str) -> Option<u64> {
        let first = u128::from_str_radix(hex.get(..16)?, 16).ok()?;
        let blob = (first * u128::from(self.blobs())).div_ceil(1 << 64);
        let blob = u64::try_from(blob).ok().filter(|blob| *blob < self.blobs())?;
        (self.hex(blob) == hex).then_some(blob)
    }

    /// How many images a repository has.
    fn images_of(&self, repository: u64) -> u64 {
        (self.0.images + self.0.repositories - 1 - repository) / self.0.repositories
    }

    /// The place of a manifest, or with `layer` of a layer, of an image of a repository.
    fn blob_of(&self, repository: u64, image: u64, layer: u64) -> u64 {
        (image * self.0.repositories + repository) * (1 + LAYERS) + layer
    }

    /// The keys of one of the generated directories.
    fn directory(&self, directory: &str) -> Option<Keys<'_>> {
        if directory == BLOBS {
            let key = |blob: u64| {
                let hex = self.hex(blob);
                let (shard, _) = hex.split_at(2);
                (format!("{BLOBS}sha256/{shard}/{hex}/data"), 1000)
            };
            return Some(Keys { count: self.blobs(), key: Box::new(key) });
        }
        if directory == REPOSITORIES {
            let key = |link| self.link(link);
            return Some(Keys { count: self.blobs(), key: Box::new(key) });
        }
        let (name, rest) = directory.strip_prefix(REPOSITORIES)?.split_once('/')?;
        let repository: u64 = name.strip_prefix('r')?.parse().ok()?;
        let images = self.images_of(repository);
        let of = directory.to_owned();
        let (count, each) = match rest {
            "_manifests/revisions/" => (images, 1),
            "_layers/" => (images * LAYERS, LAYERS),
            _ => return None,
        };
        let key = move |link: u64| {
            let layer = if each == 1 { 0 } else { 1 + link % each };
            let blob = self.blob_of(repository, link / each, layer);
            (format!("{of}sha256/{}/link", self.hex(blob)), 71)
        };
        Some(Keys { count, key: Box::new(key) })
    }

    /// The key of one of all links: of each repository those of its layers, and then those of its
    /// manifests.
    fn link(&self, link: u64) -> (String, u64) {
        let State { repositories, images, .. } = *self.0;
        let (few, larger) = (images / repositories, images % repositories);
        let image = link / (1 + LAYERS);
        let repository = match image.checked_sub(larger * (few + 1)) {
            None => image / (few + 1),
            Some(rest) => larger + rest / few,
        };
        let before = repository * few + repository.min(larger);
        let (link, layers) = (link - before * (1 + LAYERS), self.images_of(repository) * LAYERS);
        let (directory, link) = match link.checked_sub(layers) {
            None => ("_layers", link),
            Some(link) => ("_manifests/revisions", link),
        };
        let of = self.directory(&format!("{REPOSITORIES}r{repository:07}/{directory}/"));
        of.map(|of| (of.key)(link)).unwrap_or_default()
    }

    /// Directories right below this one, if it is one of a generated repository or the one
    /// with all of them.
    fn directories(&self, prefix: &str) -> Option<Vec<String>> {
        let rest = prefix.strip_prefix(REPOSITORIES)?;
        match rest.strip_suffix('/') {
            None => Some((0..self.0.repositories).map(|number| format!("r{number:07}")).collect()),
            Some(name) if !name.contains('/') => {
                Some(["_layers", "_manifests"].map(str::to_owned).to_vec())
            }
            Some(_) => None,
        }
    }

    /// The value of a generated object.
    fn generated(&self, key: &str) -> Option<Vec<u8>> {
        if let Some(link) = key.strip_suffix("/link").filter(|_| key.starts_with(REPOSITORIES)) {
            let (directory, hex) = link.rsplit_once("sha256/")?;
            return self
                .directory(directory)
                .and(self.place(hex))
                .map(|_| format!("sha256:{hex}").into_bytes());
        }
        let rest = key.strip_prefix(BLOBS)?.strip_suffix("/data")?;
        let (_, hex) = rest.rsplit_once('/')?;
        let blob = self.place(hex)?;
        if blob % (1 + LAYERS) > 0 {
            return Some(vec![0; 1000]);
        }
        let descriptor = |blob| json!({ "digest": format!("sha256:{}", self.hex(blob)) });
        let layers: Vec<_> = (1..=LAYERS).map(|layer| descriptor(blob + layer)).collect();
        Some(json!({ "mediaType": MEDIA_TYPE, "layers": layers }).to_string().into_bytes())
    }

    fn file(&self, key: &Path) -> PathBuf {
        self.0.files.join(key.as_ref().replace('/', "!"))
    }
}

fn meta(key: &str, size: u64) -> ObjectMeta {
    // They are older than whatever is written.
    let last_modified = DateTime::UNIX_EPOCH;
    ObjectMeta { location: Path::from(key), last_modified, size, e_tag: None, version: None }
}

/// A page of keys, and where the next one begins.
fn page(keys: &Keys<'_>, after: &str, limit: usize) -> (Vec<(String, u64)>, Option<String>) {
    let Keys { count, key } = keys;
    let (mut start, mut end) = (0, *count);
    while start < end {
        let middle = start.midpoint(end);
        if key(middle).0.as_str() <= after { start = middle + 1 } else { end = middle }
    }
    let keys: Vec<_> = (start..*count).take(limit).map(key).collect();
    let more = start + keys.len() as u64 != *count;
    let token = keys.last().filter(|_| more).map(|(key, _)| key.clone());
    (keys, token)
}

impl std::fmt::Display for GeneratedBucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("generated")
    }
}

fn result(meta: ObjectMeta, bytes: Vec<u8>, media_type: bool) -> GetResult {
    let name = Attribute::Metadata("mediatype".into());
    let media_type = media_type.then(|| (name, AttributeValue::from(MEDIA_TYPE)));
    let range = 0..bytes.len() as u64;
    let stream = futures::stream::iter([Ok(bytes.into())]);
    GetResult {
        payload: GetResultPayload::Stream(Box::pin(stream)),
        meta: ObjectMeta { size: range.end, ..meta },
        range,
        attributes: media_type.into_iter().collect(),
        extensions: http::Extensions::new(),
    }
}

#[async_trait]
impl ObjectStore for GeneratedBucket {
    async fn put_opts(
        &self,
        key: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> object_store::Result<PutResult> {
        self.request("PUT");
        let (file, mut payload) = (self.file(key), payload);
        if payload.content_length() >= LARGE {
            std::fs::write(file, bytes::Bytes::from(payload)).map_err(failed)?;
            payload = PutPayload::new();
        } else if file.exists() {
            std::fs::remove_file(file).map_err(failed)?;
        }
        self.0.written.put_opts(key, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        key: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.0.written.put_multipart_opts(key, options).await
    }

    async fn get_opts(&self, key: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        self.request(if options.head { "HEAD" } else { "GET" });
        if let Some(bytes) = self.generated(key.as_ref()) {
            let media_type = key.as_ref().contains("/revisions/");
            return Ok(result(meta(key.as_ref(), 0), bytes, media_type));
        }
        let found = self.0.written.get_opts(key, options).await?;
        match std::fs::read(self.file(key)) {
            Ok(bytes) => Ok(result(found.meta, bytes, false)),
            Err(_) => Ok(found),
        }
    }

    fn delete_stream(
        &self,
        keys: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.request("DELETE");
        let bucket = self.clone();
        let keys = futures::StreamExt::inspect(keys, move |key| {
            if let Ok(key) = key {
                // It may have been small.
                let _ = std::fs::remove_file(bucket.file(key));
            }
        });
        self.0.written.delete_stream(Box::pin(keys))
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.0.written.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.0.written.list_with_delimiter(prefix).await
    }

    async fn copy_opts(
        &self,
        from: &Path,
        to: &Path,
        options: CopyOptions,
    ) -> object_store::Result<()> {
        self.0.written.copy_opts(from, to, options).await
    }
}

#[async_trait]
impl PaginatedListStore for GeneratedBucket {
    async fn list_paginated(
        &self,
        prefix: Option<&str>,
        options: PaginatedListOptions,
    ) -> object_store::Result<PaginatedListResult> {
        self.request("LIST");
        let prefix = prefix.unwrap_or_default();
        let after = options.page_token.as_ref().or(options.offset.as_ref());
        let after = after.cloned().unwrap_or_default();
        let limit = options.max_keys.unwrap_or(PAGE).min(PAGE);
        let extensions = http::Extensions::new();
        let mut found = ListResult { common_prefixes: Vec::new(), objects: Vec::new(), extensions };
        if options.delimiter.is_some()
            && let Some(names) = self.directories(prefix)
        {
            let name = |number: u64| {
                let name = usize::try_from(number).ok().and_then(|number| names.get(number));
                (format!("{prefix}{}/", name.map_or("", String::as_str)), 0)
            };
            let names = Keys { count: names.len() as u64, key: Box::new(name) };
            let (keys, page_token) = page(&names, &after, limit);
            found.common_prefixes = keys.into_iter().map(|(key, _)| Path::from(key)).collect();
            return Ok(PaginatedListResult { result: found, page_token });
        }
        let Some(keys) = self.directory(prefix) else {
            return self.0.written.list_paginated(Some(prefix), options).await;
        };
        let (keys, page_token) = page(&keys, &after, limit);
        found.objects = keys.into_iter().map(|(key, size)| meta(&key, size)).collect();
        Ok(PaginatedListResult { result: found, page_token })
    }
}

fn failed(error: std::io::Error) -> object_store::Error {
    object_store::Error::Generic { store: "generated", source: error.into() }
}
