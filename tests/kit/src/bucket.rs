//! A bucket in memory that is as strict as real ones, and records requests.

mod clock;
mod generated;
mod objects;
mod s3;

pub use generated::{GeneratedBucket, LAYERS};
pub use objects::Objects;
pub(crate) use s3::VerifiedPut;

use clock::{Clock, Written};

use crate::body::yield_now;
use crate::explorer::{answered, bucket_step};
use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::{BoxStream, StreamExt as _, TryStreamExt as _};
use object_store::list::{PaginatedListOptions, PaginatedListResult, PaginatedListStore};
use object_store::memory::InMemory;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::signer::{Method, Signer, Url};
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartId, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt as _, PutMode, PutMultipartOptions, PutOptions, PutPayload,
    PutResult,
};
use roadstead_buckets::{Backend, Refusal};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The smallest part but the last, as of S3.
const LEAST_PART: usize = 5 * 1024 * 1024;

/// A bucket in memory. Clones are the same bucket.
#[derive(Clone, Debug, Default)]
pub struct MemoryBucket(Arc<State>);

#[derive(Debug, Default)]
struct State {
    objects: InMemory,
    uploads: Mutex<BTreeMap<String, Upload>>,
    serial: AtomicUsize,
    requests: Mutex<Vec<String>>,
    /// Whether all parts but the last must be equal.
    equal_parts: AtomicBool,
    /// How it treats conditional writes.
    conditions: Mutex<Conditions>,
    /// The most keys of a list, if fewer than those of real stores.
    page: Mutex<Option<usize>>,
    /// Whether lists begin at the beginning wherever they are to begin.
    ignores_offsets: AtomicBool,
    /// The kind of request that fails next.
    failing: Mutex<Option<&'static str>>,
    /// How many requests are answered before one fails.
    answers: Mutex<Option<usize>>,
    /// Whether the next conditional write is repeated after it was applied.
    repeating: AtomicBool,
    /// Decides the order of concurrent requests.
    seed: AtomicU64,
    clock: Mutex<Clock>,
}

#[derive(Debug)]
struct Upload {
    key: Path,
    initiated: DateTime<Utc>,
    /// The name and the bytes of each, by number.
    parts: BTreeMap<usize, (String, Bytes)>,
    /// When the last part arrived.
    newest: Option<DateTime<Utc>>,
}

/// How a store treats conditional writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Conditions {
    /// It honours them.
    #[default]
    Honoured,
    /// It refuses such writes.
    Refused,
    /// It ignores the condition, and writes.
    Ignored,
}

impl State {
    /// Notes that an object is there, and how much time had passed when it was written.
    async fn listed(
        &self,
        key: &Path,
        passed: impl FnOnce(Option<Duration>) -> Duration,
    ) -> object_store::Result<()> {
        let meta = self.objects.head(key).await?;
        let written = &mut lock(&self.clock).written;
        let passed = passed(written.get(key.as_ref()).map(|written| written.passed));
        written.insert(key.to_string(), Written { meta, passed });
        Ok(())
    }
}

impl MemoryBucket {
    /// The bucket as a backend with its objects below `root`.
    pub fn backend(&self, root: &str) -> Backend {
        Backend {
            store: Arc::new(self.clone()),
            multipart: Arc::new(self.clone()),
            lists: Arc::new(self.clone()),
            s3: None,
            uploads: None,
            signer: None,
            root: Path::from(root),
            conditional: *lock(&self.0.conditions) != Conditions::Ignored,
            equal_parts: self.0.equal_parts.load(Ordering::Relaxed),
            part_size: 0,
        }
    }

    /// The same, with signed URLs for clients.
    pub fn redirecting(&self, root: &str) -> Backend {
        Backend { signer: Some(Arc::new(self.clone())), ..self.backend(root) }
    }

    /// The same, with the operations that only S3 has, and lists of multipart uploads.
    pub fn like_s3(&self, root: &str) -> Backend {
        let all = Arc::new(self.clone());
        Backend { s3: Some(Arc::clone(&all) as _), uploads: Some(all), ..self.backend(root) }
    }

    /// A bucket that treats conditional writes in this way.
    #[must_use]
    pub fn with_conditions(self, conditions: Conditions) -> Self {
        *lock(&self.0.conditions) = conditions;
        self
    }

    /// A bucket that refuses multipart uploads with unequal parts.
    #[must_use]
    pub fn with_equal_parts(self) -> Self {
        self.0.equal_parts.store(true, Ordering::Relaxed);
        self
    }

    /// A bucket whose lists have at most so many keys.
    #[must_use]
    pub fn with_page(self, page: usize) -> Self {
        *lock(&self.0.page) = Some(page);
        self
    }

    /// A bucket whose lists begin at the beginning, as Azurite's do.
    #[must_use]
    pub fn without_offsets(self) -> Self {
        self.0.ignores_offsets.store(true, Ordering::Relaxed);
        self
    }

    /// A bucket where concurrent requests take another order.
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        self.0.seed.store(seed, Ordering::Relaxed);
        self
    }

    /// Makes the next request of a kind (`COPY`, `PUT`) fail.
    pub fn fail_next(&self, what: &'static str) {
        *lock(&self.0.failing) = Some(what);
    }

    /// Makes a request of any kind fail, after so many that do not.
    pub fn fail_after(&self, requests: usize) {
        *lock(&self.0.answers) = Some(requests);
    }

    /// Makes the client send the next conditional write a second time, as after a
    /// 503 of a proxy to one that the store has applied.
    pub fn repeat_next_conditional_put(&self) {
        self.0.repeating.store(true, Ordering::Relaxed);
    }

    /// Lets time pass: what is written from now on is so much younger in lists.
    pub fn pass(&self, time: Duration) {
        lock(&self.0.clock).passed += time;
    }

    /// A bucket whose time passes with requests only, by so much each, and that does
    /// not record them.
    #[must_use]
    pub fn with_tick(self, tick: Duration) -> Self {
        lock(&self.0.clock).tick = Some(tick);
        self
    }

    /// Lets the clock tick, and says whether it has one that ticks.
    pub(crate) fn tick(&self) -> bool {
        let mut clock = lock(&self.0.clock);
        let Some(tick) = clock.tick else { return false };
        clock.passed += tick;
        true
    }

    /// How much more time has passed than really did.
    pub fn passed(&self) -> Duration {
        lock(&self.0.clock).passed
    }

    /// The requests since the last call, as kind and key.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.0.requests))
    }

    /// The keys of all objects, sorted.
    pub async fn keys(&self) -> Vec<String> {
        let keys = self.0.objects.list(None).map_ok(|object| object.location.to_string());
        let mut keys: Vec<String> = keys.try_collect().await.unwrap_or_default();
        keys.sort();
        keys
    }

    /// How many multipart uploads were neither completed nor aborted.
    pub fn open_uploads(&self) -> usize {
        lock(&self.0.uploads).len()
    }

    /// The objects, without counting requests.
    pub fn objects(&self) -> Objects<'_> {
        Objects(&self.0)
    }

    /// Notes when an object was written.
    async fn written(&self, key: &Path) -> object_store::Result<()> {
        let passed = self.passed();
        self.0.listed(key, |_| passed).await
    }

    fn deleted(&self, key: &Path) {
        lock(&self.0.clock).written.remove(key.as_ref());
    }

    fn check(&self, what: &str) -> object_store::Result<()> {
        match lock(&self.0.failing).take_if(|failing| *failing == what) {
            Some(_) => Err(failed("as asked for")),
            None => Ok(()),
        }
    }

    async fn request(&self, what: &str, key: &str) -> object_store::Result<()> {
        {
            let mut clock = lock(&self.0.clock);
            match clock.tick {
                Some(tick) => clock.passed += tick,
                None => lock(&self.0.requests).push(format!("{what} {key}")),
            }
        }
        // Knuth's linear congruential generator; its low bits are not used.
        let next = |seed: u64| Some(seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        let seed = self.0.seed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        for _ in 0..=seed.unwrap_or_default() >> 62 {
            yield_now().await;
        }
        bucket_step(what, key).map_err(failed)?;
        let mut answers = lock(&self.0.answers);
        match answers.as_mut() {
            Some(0) => {
                *answers = None;
                Err(failed("as asked for"))
            }
            Some(rest) => {
                *rest -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl std::fmt::Display for MemoryBucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("memory")
    }
}

#[async_trait]
impl ObjectStore for MemoryBucket {
    async fn put_opts(
        &self,
        key: &Path,
        payload: PutPayload,
        mut options: PutOptions,
    ) -> object_store::Result<PutResult> {
        self.request("PUT", key.as_ref()).await?;
        self.check("PUT")?;
        let conditions = *lock(&self.0.conditions);
        match conditions {
            Conditions::Refused if options.mode != PutMode::Overwrite => {
                return Err(object_store::Error::NotImplemented {
                    operation: "conditional write".to_owned(),
                    implementer: self.to_string(),
                });
            }
            Conditions::Ignored => options.mode = PutMode::Overwrite,
            _ => {}
        }
        if options.mode != PutMode::Overwrite && self.0.repeating.swap(false, Ordering::Relaxed) {
            self.0.objects.put_opts(key, payload.clone(), options.clone()).await?;
        }
        let put = self.0.objects.put_opts(key, payload, options).await?;
        self.written(key).await?;
        answered().map_err(failed)?;
        Ok(put)
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        Err(failed("parts are sent by their numbers"))
    }

    async fn get_opts(&self, key: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        let what = if options.head { "HEAD" } else { "GET" };
        self.request(what, key.as_ref()).await?;
        self.check(what)?;
        self.0.objects.get_opts(key, options).await
    }

    fn delete_stream(
        &self,
        keys: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        let bucket = self.clone();
        keys.and_then(move |key| {
            let bucket = bucket.clone();
            async move {
                bucket.request("DELETE", key.as_ref()).await?;
                bucket.check("DELETE")?;
                bucket.0.objects.delete(&key).await?;
                bucket.deleted(&key);
                answered().map_err(failed)?;
                Ok(key)
            }
        })
        .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        let key = prefix.map_or_else(String::new, Path::to_string);
        lock(&self.0.requests).push(format!("LIST {key}"));
        self.0.objects.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.request("LIST", &prefix.map_or_else(String::new, Path::to_string)).await?;
        self.0.objects.list_with_delimiter(prefix).await
    }

    async fn copy_opts(
        &self,
        from: &Path,
        to: &Path,
        options: CopyOptions,
    ) -> object_store::Result<()> {
        self.request("COPY", to.as_ref()).await?;
        self.check("COPY")?;
        self.0.objects.copy_opts(from, to, options).await?;
        self.written(to).await?;
        answered().map_err(failed)
    }
}

#[async_trait]
impl MultipartStore for MemoryBucket {
    async fn create_multipart(&self, key: &Path) -> object_store::Result<MultipartId> {
        self.request("CREATE", key.as_ref()).await?;
        let id = self.0.serial.fetch_add(1, Ordering::Relaxed).to_string();
        let initiated = Utc::now();
        let upload = Upload { key: key.clone(), initiated, parts: BTreeMap::new(), newest: None };
        lock(&self.0.uploads).insert(id.clone(), upload);
        Ok(id)
    }

    async fn put_part(
        &self,
        key: &Path,
        id: &MultipartId,
        index: usize,
        payload: PutPayload,
    ) -> object_store::Result<PartId> {
        self.request("PART", key.as_ref()).await?;
        let name = format!("\"{}\"", self.0.serial.fetch_add(1, Ordering::Relaxed));
        let mut uploads = lock(&self.0.uploads);
        let upload = uploads.get_mut(id).filter(|upload| upload.key == *key);
        let upload = upload.ok_or_else(|| failed("no such upload"))?;
        upload.parts.insert(index, (name.clone(), payload.into()));
        upload.newest = Some(Utc::now());
        Ok(PartId { content_id: name })
    }

    async fn complete_multipart(
        &self,
        key: &Path,
        id: &MultipartId,
        parts: Vec<PartId>,
    ) -> object_store::Result<PutResult> {
        self.request("COMPLETE", key.as_ref()).await?;
        let mut pieces = Vec::new();
        {
            let uploads = lock(&self.0.uploads);
            let upload = uploads.get(id).filter(|upload| upload.key == *key);
            let upload = upload.ok_or_else(|| failed("no such upload"))?;
            for (index, part) in parts.iter().enumerate() {
                match upload.parts.get(&index) {
                    Some((name, bytes)) if *name == part.content_id => pieces.push(bytes.clone()),
                    _ => return Err(missing_parts("another part was sent in its place")),
                }
            }
        }
        if pieces.iter().rev().skip(1).any(|piece| piece.len() < LEAST_PART) {
            return Err(failed("a part is too small"));
        }
        let first = pieces.first().map_or(0, Bytes::len);
        let equal = pieces.iter().rev().skip(1).all(|piece| piece.len() == first)
            && pieces.last().is_some_and(|last| last.len() <= first);
        if self.0.equal_parts.load(Ordering::Relaxed) && !equal {
            return Err(failed("parts are not equal"));
        }
        lock(&self.0.uploads).remove(id);
        let put = self.0.objects.put(key, PutPayload::from_iter(pieces)).await?;
        self.written(key).await?;
        Ok(put)
    }

    async fn abort_multipart(&self, key: &Path, id: &MultipartId) -> object_store::Result<()> {
        self.request("ABORT", key.as_ref()).await?;
        lock(&self.0.uploads).remove(id);
        Ok(())
    }
}

#[async_trait]
impl PaginatedListStore for MemoryBucket {
    async fn list_paginated(
        &self,
        prefix: Option<&str>,
        options: PaginatedListOptions,
    ) -> object_store::Result<PaginatedListResult> {
        let prefix = prefix.unwrap_or_default();
        self.request("LIST", prefix).await?;
        let ignored = self.0.ignores_offsets.load(Ordering::Relaxed);
        let offset = options.offset.filter(|_| !ignored);
        let after = options.page_token.or(offset).unwrap_or_default();
        let page = lock(&self.0.page).unwrap_or(1000);
        let limit = options.max_keys.unwrap_or(page).min(page);
        let delimiter = options.delimiter.as_deref();
        Ok(lock(&self.0.clock).page(prefix, delimiter, after, limit))
    }
}

#[async_trait]
impl Signer for MemoryBucket {
    async fn signed_url(
        &self,
        _: Method,
        key: &Path,
        expires_in: Duration,
    ) -> object_store::Result<Url> {
        let url = format!("https://bucket.example/{key}?seconds={}", expires_in.as_secs());
        Url::parse(&url).map_err(|error| failed(&error.to_string()))
    }
}

/// The typed error of a real store's client.
fn missing_parts(why: &str) -> object_store::Error {
    object_store::Error::Generic {
        store: "memory",
        source: Box::new(Refusal::MissingParts(why.to_owned())),
    }
}

fn failed(why: &str) -> object_store::Error {
    object_store::Error::Generic { store: "memory", source: why.to_owned().into() }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
