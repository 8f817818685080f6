//! A bucket: everything an adapter needs of one, whoever provides it.

use crate::{S3Operations, UploadLists};
use object_store::ObjectStore;
use object_store::list::PaginatedListStore;
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::signer::Signer;
use std::fmt;
use std::sync::Arc;

/// The traits of one store, all of the same bucket. What one store offers by
/// several traits is one `Arc` in several places.
#[derive(Clone)]
pub struct Backend {
    /// Objects and copies.
    pub store: Arc<dyn ObjectStore>,
    /// Large objects in parts.
    pub multipart: Arc<dyn MultipartStore>,
    /// Lists by pages.
    pub lists: Arc<dyn PaginatedListStore>,
    /// What the store can do besides.
    pub s3: Option<Arc<dyn S3Operations>>,
    /// Lists of multipart uploads, if the store has them.
    pub uploads: Option<Arc<dyn UploadLists>>,
    /// Makes addresses for clients, if they are to be sent to the store:
    /// `None` where redirects are switched off.
    pub signer: Option<Arc<dyn Signer>>,
    /// What all keys begin with; empty for none.
    pub root: Path,
    /// Whether the store honours `If-Match` and `If-None-Match` on writes. One
    /// that ignores them in silence must be marked by `false`; one that
    /// refuses them is found out.
    pub conditional: bool,
    /// Whether all parts of an upload but the last must have one size (R2).
    pub equal_parts: bool,
    /// The least bytes of a part but the last; more where an object needs it.
    pub part_size: u64,
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend")
            .field("store", &self.store)
            .field("root", &self.root)
            .field("conditional", &self.conditional)
            .field("equal_parts", &self.equal_parts)
            .finish_non_exhaustive()
    }
}
