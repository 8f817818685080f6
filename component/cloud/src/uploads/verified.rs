//! Bodies whose length and digest are known are passed on as they are: the store
//! verifies them, and no byte of them is held here.

use super::Uploads;
use super::part_sizes::FIRST_SIZE;
use crate::error::Error;
use crate::metadata::Metadata;
use crate::multipart::REQUEST_LIMIT;
use roadstead_buckets::{Refusal, Verified, remedy};
use roadstead_oci::{Algorithm, Digest};
use roadstead_storage::condemned::prepare_upload;
use roadstead_storage::{ChunkedBody, Commit, Key, Storage, StorageError};

/// The object that is written to find out whether the store verifies. It stays if
/// the store does not.
const PROBE: &str = ".roadstead/checked-writes";

impl Uploads {
    /// Whether a body that begins a session is passed on. A small one is held
    /// instead, as its request can then be retried.
    pub(super) async fn passes_on<B: ChunkedBody>(&self, body: &B, digest: &Digest) -> bool {
        let suits = |length| FIRST_SIZE < length && length <= REQUEST_LIMIT;
        digest.algorithm() == Algorithm::Sha256
            && body.length().is_some_and(suits)
            && self.store_verifies().await
    }

    /// Whether the store refuses a body whose hash is not the announced one.
    async fn store_verifies(&self) -> bool {
        let Some(s3) = &self.objects.backend.s3 else { return false };
        if let Some(&known) = self.verifies.get() {
            return known;
        }
        match s3.verifies(&self.objects.path_of(PROBE)).await {
            Ok(verifies) => *self.verifies.get_or_init(|| verifies),
            Err(_) => false,
        }
    }

    /// Passes a body on as the blob of the commit. Returns its length in bytes.
    pub(super) async fn pass_on<B: ChunkedBody>(
        &self,
        storage: &impl Storage,
        commit: &Commit,
        body: B,
    ) -> Result<u64, Error> {
        if let Err(error) = prepare_upload(storage, &commit.digest).await {
            body.drain().await;
            return Err(error.into());
        }
        let (Some(s3), Some(length)) = (&self.objects.backend.s3, body.length()) else {
            return Err(Error::failed("the body cannot be passed on"));
        };
        let blob = Key::Blob(commit.digest.clone());
        let holder = Metadata::Holder(&commit.session.repository).into_pair();
        let (path, sha256) = (self.objects.path(&blob), commit.digest.to_bytes());
        let head = s3.put_verified(&path, &sha256, Some(holder)).await?;
        let (status, body) = body.pass_on(head).await?;
        match Verified::of(status, &body) {
            Verified::Stored => Ok(length),
            Verified::Mismatch => Err(StorageError::DigestMismatch(None).into()),
            Verified::Refused => {
                let text = String::from_utf8_lossy(&body).into_owned();
                let failed = format!("{blob}: the store responds with {status}: {text}");
                let refusal = Refusal::Unavailable { store: blob.to_string(), status, text };
                Err(if refusal.is_full() {
                    StorageError::Full(refusal.to_string()).into()
                } else if remedy(status).is_some() {
                    StorageError::Unavailable(refusal.to_string()).into()
                } else {
                    Error::failed(failed)
                })
            }
        }
    }
}
