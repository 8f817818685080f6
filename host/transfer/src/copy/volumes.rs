//! Volumes that come one after the other, in any order: what cannot be used yet is kept in the
//! target, as blobs of the repository that needs it. These are parts of contents that are
//! larger than a volume, and manifests whose content is not all there. A collector removes
//! them after its wait, like all blobs that no manifest refers to.

use super::Copy;
use crate::source::{self, Reading};
use crate::summary::Problem;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use roadstead_archive::{Part, Piece, Set};
use roadstead_oci::{Digest, Manifest, RepositoryName};
use roadstead_operator::hash::digest_of;
use roadstead_operator::pull;
use roadstead_operator::push;
use roadstead_operator::registry::Registry;

/// Where the parts of a content are, in order.
pub(super) struct Joined(Vec<Place>);

enum Place {
    /// In a volume that is here.
    Here(Part),
    /// In the target, as a blob.
    Kept(Digest, u64),
}

impl<S: Registry, T: Registry> Copy<'_, S, T> {
    /// Finds the parts of a content of which the volumes that are here have not all. If some
    /// are nowhere, the others are kept.
    ///
    /// # Errors
    /// When some are nowhere.
    pub(super) async fn join(
        &self,
        set: &Set,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<Joined, Problem> {
        let content = self.inventory.contents.get(digest);
        let pieces = content.map(|content| content.pieces.as_slice()).unwrap_or_default();
        let mut places = Vec::new();
        for piece in pieces {
            let Some(sum) = &piece.digest else { break };
            let place = match set.piece(digest, piece.offset) {
                Some(part) => Place::Here(part),
                None if self.keeps(name, sum).await? => Place::Kept(sum.clone(), piece.length),
                None => break,
            };
            places.push(place);
        }
        if !places.is_empty() && places.len() == pieces.len() {
            return Ok(Joined(places));
        }
        for piece in pieces {
            self.keep_piece(set, name, digest, piece).await?;
        }
        Err(Problem::Missing(digest.clone()))
    }

    async fn keeps(&self, name: &RepositoryName, digest: &Digest) -> Result<bool, String> {
        push::has(self.target, &format!("/v2/{name}/blobs/{digest}")).await
    }

    async fn keep_piece(
        &self,
        set: &Set,
        name: &RepositoryName,
        digest: &Digest,
        piece: &Piece,
    ) -> Result<(), String> {
        let (Some(sum), Some(part)) = (&piece.digest, set.piece(digest, piece.offset)) else {
            return Ok(());
        };
        if self.keeps(name, sum).await? {
            return Ok(());
        }
        let open = || source::parts(vec![part.clone()], sum);
        self.bring(name, sum, piece.length, None, open).await
    }

    /// The content that parts make.
    pub(super) fn joined<'b>(
        &'b self,
        name: &'b RepositoryName,
        digest: &'b Digest,
        joined: &'b Joined,
    ) -> Reading<'b> {
        let readings = joined.0.iter().map(|place| match place {
            Place::Here(part) => source::parts(vec![part.clone()], digest),
            Place::Kept(sum, size) => source::blob(self.target, name, sum, *size),
        });
        source::chain(readings.collect())
    }

    /// Keeps manifests whose content is not all there: the volume that completes it may not
    /// have them.
    pub(super) async fn keep_manifests<'b>(
        &self,
        set: &Set,
        name: &RepositoryName,
        manifests: impl Iterator<Item = &'b Digest>,
    ) {
        for digest in manifests {
            let Some(size) = set.size(digest) else { continue };
            let Some(parts) = set.parts(digest, 0..size) else { continue };
            if matches!(self.keeps(name, digest).await, Ok(false)) {
                let open = || source::parts(parts.clone(), digest);
                // Without it, the volume is needed once more, as is said then.
                let _ = self.bring(name, digest, size, None, open).await;
            }
        }
    }

    /// A manifest that was kept.
    pub(super) async fn kept_manifest(
        &self,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Option<Bytes> {
        self.volumes()?;
        let response = pull::blob(self.target, name, digest, 0).await.ok()?;
        let body = Limited::new(response.into_body(), Manifest::MAX_SIZE);
        let bytes = body.collect().await.ok()?.to_bytes();
        let found = digest_of(digest.algorithm(), &bytes).ok()?;
        (found == *digest).then_some(bytes)
    }
}
