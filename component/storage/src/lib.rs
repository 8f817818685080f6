//! The storage port: what the registry asks of whatever holds its content.
//!
//! [`Key`] names every object by what it is, and is the one place that knows
//! distribution's layout. [`Storage`] is the trait that an adapter implements:
//! one for a directory, one for object stores. The protocol speaks to the trait
//! only, and never sees a path.

mod blob_hash;
mod body;
mod collection;
pub mod condemned;
mod error;
pub mod hash_state;
mod key;
mod moment;
mod moved;
mod pages;
mod port;
mod pushed;
mod session;
mod session_secret;

pub use blob_hash::{BlobHash, HASH_LIMIT, HashOutcome, Hashed, Partial};
pub use body::{Aborted, Bodies, BodyError, ChunkedBody, Content, DRAIN_LIMIT, RequestBody};
pub use collection::{
    Collection, Cursor, Entry, Holding, Listing, NameList, NamesQuery, PAGE_BYTES, Page,
};
pub use error::StorageError;
pub use key::{EventName, InvalidKey, Key, QuotaName, QuotaRecord, ROOT as LAYOUT, Record, Shard};
pub use moment::Moment;
pub use moved::{MovedRevision, MovedTag};
pub use pages::Pages;
pub use port::{Appended, Blob, Commit, Created, Pointer, Quarantine, Storage, StoredManifest};
pub use pushed::{PushState, PushedManifest};
pub use session::{PURGE_LEAST_AGE, PURGE_TIME, SessionFile, UploadSession};
pub use session_secret::{FRESH_HOURS, SessionSecret};
