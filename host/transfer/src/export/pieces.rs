//! Contents that are larger than a volume: their pieces need digests of their own, which an
//! inventory has before any of them is written.

use crate::progress::Progress;
use crate::source::{Reading, Source};
use crate::write::Failure;
use roadstead_archive::{Inventory, Plan, Repository};
use roadstead_oci::{Algorithm, Digest, RepositoryName};
use roadstead_operator::registry::Registry;
use roadstead_storage::BlobHash;

/// Reads the contents that are larger than a volume, and tells the plan the digests of their
/// pieces.
///
/// # Errors
/// When one cannot be read.
pub(super) async fn hash<R: Registry>(
    plan: &mut Plan,
    source: &Source<'_, R>,
    progress: &Progress,
) -> Result<(), Failure> {
    let pieces = plan.split().to_vec();
    progress.begin("hash", pieces.iter().map(|(_, range)| range.end - range.start).sum());
    for (index, (digest, range)) in pieces.into_iter().enumerate() {
        let repository = holder(plan.inventory(), &digest)?;
        let Reading { mut pieces, pump } = source.open(&repository, &digest, range, false);
        let hash = async {
            let mut hash = BlobHash::new(Algorithm::Sha256);
            while let Some(piece) = pieces.recv().await {
                let piece = piece.map_err(|error| error.to_string())?;
                progress.add(piece.len() as u64);
                let hashed = tokio::task::spawn_blocking(move || {
                    hash.update(&piece);
                    hash
                });
                hash = hashed.await.map_err(|error| error.to_string())?;
            }
            Ok::<_, String>(hash)
        };
        let (read, hash) = tokio::join!(pump, hash);
        let failed = |problem| Failure { content: Some(digest.clone()), problem };
        read.map_err(failed)?;
        let found = hash.map_err(failed)?.finish().map_err(|error| error.to_string())?;
        plan.set_piece_digest(index, found);
    }
    Ok(())
}

/// A repository that holds a blob.
fn holder(inventory: &Inventory, digest: &Digest) -> Result<RepositoryName, String> {
    let holds = |repository: &Repository| {
        repository.manifests.values().any(|manifest| manifest.blobs.contains(digest))
    };
    let found = inventory.repositories.iter().find(|(_, repository)| holds(repository));
    found.map(|(name, _)| name.clone()).ok_or_else(|| format!("{digest} is in no repository"))
}
