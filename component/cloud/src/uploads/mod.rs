//! Upload sessions in a bucket.
//!
//! `record` says what is stored of a session, `session` how a request finds it,
//! `writer` how bytes get into it, and `publish` how they become a blob.

mod append;
mod commit;
mod part_sizes;
mod publish;
mod purge;
mod receipts;
mod record;
pub(crate) mod session;
mod verified;
mod writer;

pub use part_sizes::{MAX_BLOB_SIZE, MEMORY_LIMIT};
#[cfg(test)]
pub(crate) use purge::{PURGE_LIMIT, Purge, Purged};
pub use purge::{PurgeLine, Purging};

use crate::objects::Objects;
use roadstead_storage::SessionSecret;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// The upload sessions of a bucket.
#[derive(Debug)]
pub(crate) struct Uploads {
    pub(crate) objects: Arc<Objects>,
    secret: Option<SessionSecret>,
    purging: Option<Purging>,
    /// Whether the store verifies bodies, once that is known.
    verifies: OnceLock<bool>,
}

impl Uploads {
    pub(crate) fn new(objects: Arc<Objects>, options: Options) -> Self {
        let Options { secret, purging } = options;
        Self { objects, secret: secret.map(SessionSecret::new), purging, verifies: OnceLock::new() }
    }
}

/// How upload sessions are kept in a bucket.
#[derive(Clone, Default)]
pub struct Options {
    /// What identifiers and receipts are signed with, the same for all instances:
    /// derived from the secret that opens the bucket or, without one, from
    /// `REGISTRY_HTTP_SECRET`. Without either, each upload takes two requests
    /// more.
    pub secret: Option<Vec<u8>>,
    /// How uploads are removed that never ended; `None` for never. Other uploads
    /// remove them.
    pub purging: Option<Purging>,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("secret", &self.secret.is_some())
            .field("purging", &self.purging)
            .finish()
    }
}
