//! Bodies whose length and digest are known go to their place as they are: the
//! store itself checks them, and no byte is held here.

use super::ChunkedBody;
use super::bucket::{Bucket, HOLDER};
use super::parts::{FIRST_SIZE, REQUEST_LIMIT};
use crate::store::{StorageError, keys};
use object_store::path::Path;
use roadstead_buckets::{Verified, promises_better};
use roadstead_oci::{Algorithm, Digest};

/// What is written to find out whether the store checks. It stays if the store
/// does not.
const PROBE: [&str; 2] = [".roadstead", "checked-writes"];

impl Bucket {
    /// Whether a body that begins a session can be passed on. A small one is
    /// held instead: its request can then be repeated.
    pub(super) async fn passes<B: ChunkedBody>(&self, body: &B, digest: &Digest) -> bool {
        let suits = |length| FIRST_SIZE < length && length <= REQUEST_LIMIT;
        digest.algorithm() == Algorithm::Sha256
            && body.length().is_some_and(suits)
            && self.verifies().await
    }

    /// Whether the store refuses a body that is not the one announced.
    async fn verifies(&self) -> bool {
        let Some(s3) = &self.backend.s3 else { return false };
        if let Some(&known) = self.verifies.get() {
            return known;
        }
        match s3.verifies(&self.full(&PROBE.into_iter().collect())).await {
            Ok(verifies) => *self.verifies.get_or_init(|| verifies),
            Err(_) => false,
        }
    }

    /// Passes a body on, and gives its length.
    pub(super) async fn pass<B: ChunkedBody>(
        &self,
        session: &Path,
        body: B,
        to: &Path,
        digest: &Digest,
    ) -> Result<u64, StorageError> {
        let (Some(s3), Some(length)) = (&self.backend.s3, body.length()) else {
            return Err(StorageError::Failed("a body that cannot be passed on".to_owned()));
        };
        let holder = keys::repository_of(session);
        let metadata = holder.as_deref().map(|name| (HOLDER, name));
        let head = s3.put_verified(&self.full(to), &digest.to_bytes(), metadata)?;
        let (status, answer) = body.pass_on(head).await?;
        match Verified::of(status, &answer) {
            Verified::Stored => Ok(length),
            Verified::Mismatch => Err(StorageError::DigestMismatch(None)),
            Verified::Refused => {
                let text = String::from_utf8_lossy(&answer);
                let text = format!("{to}: the store answers {status}: {text}");
                Err(if promises_better(status) {
                    StorageError::Unavailable(text)
                } else {
                    StorageError::Failed(text)
                })
            }
        }
    }
}
