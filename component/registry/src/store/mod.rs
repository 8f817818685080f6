//! Typed operations over storage: what the registry keeps, by its own names.
//!
//! [`Store`] knows repositories, blobs, manifests, tags and upload sessions,
//! and the module `keys` where each of them is. Below it is the port [`Storage`]:
//! object_store for objects and lists, and a few operations of our own for
//! bulk bytes, which pass as handles and are never buffered here.

mod blobs;
pub mod cloud;
#[cfg(all(not(target_family = "wasm"), any(test, feature = "testing")))]
pub mod contract;
mod keys;
mod local;
mod manifests;
mod port;
mod referrers;
mod tags;
mod uploads;

pub use blobs::Blob;
pub use local::{LocalStorage, Transport};
pub use manifests::{Stored, StoredManifest};
pub use port::{
    Appended, BodyError, Content, DRAIN_LIMIT, Names, Opened, Pointer, RequestBody, Stat, Storage,
    StorageError,
};
pub use referrers::Referrer;
pub use roadstead_directory::{Depth, Names as Page};
pub use uploads::Offset;

/// The registry's storage, by the registry's names.
#[derive(Debug)]
pub struct Store<S> {
    storage: S,
}

impl<S: Storage> Store<S> {
    /// A store over `storage`.
    pub fn new(storage: S) -> Self {
        Self { storage }
    }
}
