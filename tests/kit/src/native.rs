//! The registry in this process, without WASI and without a host.

use crate::body::{MemoryBody, NativeBodies};
use crate::contract::Readable;
use crate::directory::NativeDirectory;
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::LocalBoxFuture;
use http::header::CONTENT_LENGTH;
use http::{Request, Response};
use roadstead_access::Authority;
use roadstead_bridge::Services;
use roadstead_cloud::CloudStorage;
use roadstead_config::Config;
use roadstead_directory::DirectoryStorage;
use roadstead_registry::{
    Ask, Body, Gate, Progress, Registry, SliceOptions, Switches, TOMBSTONE_KEPT,
};
use roadstead_storage::{Storage, StorageError};
use std::fmt::Debug;
use std::time::Duration;

const DAY: Duration = Duration::from_hours(24);

/// A run of garbage collection by the default settings, with slices of any length.
pub fn default_order() -> SliceOptions {
    SliceOptions {
        run: None,
        adopt: false,
        grace: DAY,
        keep: 7 * DAY,
        interval: DAY,
        valid: DAY / 2,
        settled: TOMBSTONE_KEPT,
        dry_run: false,
        untagged: None,
        exclusive: false,
        undo: None,
        pace: Duration::ZERO,
        budget: u32::MAX,
    }
}

/// What a registry of this process keeps images in.
#[derive(Debug)]
pub enum NativeStorage {
    /// A bucket in memory.
    Bucket(CloudStorage<NativeBodies>),
    /// A directory.
    Directory(DirectoryStorage<NativeDirectory>),
}

impl From<CloudStorage<NativeBodies>> for NativeStorage {
    fn from(storage: CloudStorage<NativeBodies>) -> Self {
        Self::Bucket(storage)
    }
}

impl From<DirectoryStorage<NativeDirectory>> for NativeStorage {
    fn from(storage: DirectoryStorage<NativeDirectory>) -> Self {
        Self::Directory(storage)
    }
}

/// The protocol over any storage. Behind this, it is compiled in this crate, and not
/// again in each test program.
trait Protocol: Debug {
    fn collect<'a>(
        &'a self,
        order: &'a SliceOptions,
    ) -> LocalBoxFuture<'a, Result<Progress, StorageError>>;

    fn send(&self, request: Request<Bytes>) -> LocalBoxFuture<'_, Response<Bytes>>;
}

impl<S> Protocol for Registry<S>
where
    S: Storage<Upload = MemoryBody, Download: Readable> + Debug,
{
    fn collect<'a>(
        &'a self,
        order: &'a SliceOptions,
    ) -> LocalBoxFuture<'a, Result<Progress, StorageError>> {
        self.collect_slice(order).boxed_local()
    }

    fn send(&self, request: Request<Bytes>) -> LocalBoxFuture<'_, Response<Bytes>> {
        async {
            let (mut parts, bytes) = request.into_parts();
            let mut body = None;
            if !bytes.is_empty() {
                // As clients announce it, whose whole body is at hand.
                parts.headers.insert(CONTENT_LENGTH, bytes.len().into());
                body = Some(MemoryBody { bytes, aborted: false });
            }
            let response = self.handle(Request::from_parts(parts, body)).await;
            let (parts, body) = response.into_parts();
            let bytes = match body {
                Body::Empty => Bytes::new(),
                Body::Bytes(bytes) => bytes,
                Body::Stream(stream) => stream.read().await,
            };
            // No client waits for it.
            if self.has_pulls() {
                self.record_pulls().await;
            }
            Response::from_parts(parts, bytes)
        }
        .boxed_local()
    }
}

/// The registry over a storage of this process.
#[derive(Debug)]
pub struct NativeRegistry(Box<dyn Protocol>);

impl NativeRegistry {
    /// A registry with these settings, by the names of environment variables.
    ///
    /// # Errors
    /// When a setting is not valid.
    pub fn new(
        storage: impl Into<NativeStorage>,
        settings: &[(&str, &str)],
    ) -> Result<Self, String> {
        Self::offered(storage, settings, Services::default())
    }

    /// The same beside a native host that offers these services.
    ///
    /// # Errors
    /// When a setting is not valid.
    pub fn offered(
        storage: impl Into<NativeStorage>,
        settings: &[(&str, &str)],
        services: Services,
    ) -> Result<Self, String> {
        let owned = settings.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
        let config = Config::from_variables(owned).map_err(|error| error.to_string())?;
        Self::open(storage.into(), &config, services)
    }

    /// A registry with settings that were read.
    ///
    /// # Errors
    /// When its users cannot be read.
    pub fn with_config(storage: NativeStorage, config: &Config) -> Result<Self, String> {
        Self::open(storage, config, Services::default())
    }

    fn open(storage: NativeStorage, config: &Config, services: Services) -> Result<Self, String> {
        let mut authority = None;
        if config.auth.enabled() {
            let opened = Authority::open(config.auth.clone(), true)?;
            authority = Some(Box::new(opened) as Box<dyn Ask>);
        }
        let gate = Gate::new(config, services, authority);
        let switches = Switches::new(config, services);
        Ok(Self(match storage {
            NativeStorage::Bucket(storage) => Box::new(Registry::new(storage, switches, gate)),
            NativeStorage::Directory(storage) => Box::new(Registry::new(storage, switches, gate)),
        }))
    }

    /// Does a slice of garbage collection.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn collect(&self, order: &SliceOptions) -> Result<Progress, StorageError> {
        self.0.collect(order).await
    }

    /// The response to a request, with its whole body.
    pub async fn send(&self, request: Request<Bytes>) -> Response<Bytes> {
        self.0.send(request).await
    }
}
