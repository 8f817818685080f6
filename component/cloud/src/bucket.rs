//! A bucket: what an object store's traits offer, under one root.

use object_store::list::PaginatedListStore;
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::signer::Signer;
use object_store::{
    Attribute, Attributes, ObjectStore, ObjectStoreExt as _, PutOptions, PutPayload,
};
use roadstead_buckets::S3Operations;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// How a bucket is used.
#[derive(Clone, Default)]
pub struct Options {
    /// What identifiers of uploads are signed with, the same for all
    /// instances: something derived from the secret that opens the bucket or,
    /// without one, from `REGISTRY_HTTP_SECRET`. Without either, each upload costs a
    /// request more.
    pub secret: Option<Vec<u8>>,
    /// How old uploads are removed that nobody ended; `None` for never. It
    /// happens on the occasion of other uploads to the same repository.
    pub purge_after: Option<Duration>,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("secret", &self.secret.is_some())
            .field("purge_after", &self.purge_after)
            .finish()
    }
}

/// The metadata of a pointer that holds the media type of what it leads to. In
/// the letters that all stores take: Azure's names are identifiers.
pub(super) const MEDIA_TYPE: &str = "mediatype";

/// The metadata of a link that names the session which made it.
pub(super) const UPLOAD: &str = "upload";

/// The metadata of a blob that names a repository which may hold it: whose
/// upload made it. For mounts that name none.
pub(super) const HOLDER: &str = "repository";

#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) backend: Backend,
    pub(super) options: Options,
    objects: PrefixStore<Arc<dyn ObjectStore>>,
    /// What is known of the store's conditional writes.
    conditional: AtomicBool,
    /// Whether the store checks what it is sent, once that is known.
    pub(super) verifies: OnceLock<bool>,
}

impl Bucket {
    pub(super) fn new(backend: Backend, options: Options) -> Self {
        Self {
            objects: PrefixStore::new(Arc::clone(&backend.store), backend.root.clone()),
            conditional: AtomicBool::new(backend.conditional),
            verifies: OnceLock::new(),
            backend,
            options,
        }
    }

    pub(super) fn objects(&self) -> &dyn ObjectStore {
        &self.objects
    }

    /// The key of an object as the store has it, for the traits that know no
    /// root.
    pub(super) fn full(&self, key: &Path) -> Path {
        self.backend.root.parts().chain(key.parts()).collect()
    }

    pub(super) fn conditional(&self) -> bool {
        self.conditional.load(Ordering::Relaxed)
    }

    /// Notes that the store refuses conditional writes. Losing the note costs
    /// a request.
    pub(super) fn refuses_conditions(&self) {
        self.conditional.store(false, Ordering::Relaxed);
    }

    /// Writes an object with metadata.
    pub(super) async fn put_noted(
        &self,
        key: &Path,
        payload: PutPayload,
        note: Option<(&'static str, String)>,
    ) -> object_store::Result<()> {
        let Some((name, value)) = note else {
            return self.objects.put(key, payload).await.map(drop);
        };
        let mut attributes = Attributes::new();
        attributes.insert(Attribute::Metadata(name.into()), value.into());
        let options = PutOptions { attributes, ..PutOptions::default() };
        self.objects.put_opts(key, payload, options).await.map(drop)
    }

    /// Deletes an object. That it is gone already is no error.
    pub(super) async fn delete(&self, key: &Path) -> object_store::Result<()> {
        match self.objects.delete(key).await {
            Err(object_store::Error::NotFound { .. }) => Ok(()),
            other => other,
        }
    }
}

/// The metadata of an object by its name.
pub(super) fn note(attributes: &Attributes, name: &'static str) -> Option<String> {
    attributes.get(&Attribute::Metadata(name.into())).map(|value| value.as_ref().to_owned())
}
