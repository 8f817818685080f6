//! Manifests, and what they refer to.

use super::Scrub;
use super::content::Held;
use roadstead_bridge::scrub::{Counts, Finding, Kind};
use roadstead_oci::{Digest, Manifest, MediaType, Reference, RepositoryName};
use roadstead_storage::{Key, Pointer, Storage, StorageError};

/// How many findings of one manifest are listed.
///
/// Limit: findings of one manifest that a scrub lists; test: `slices_are_bounded`.
const LISTED: usize = 50;

/// What was found about one manifest.
#[derive(Default)]
pub(super) struct Examined {
    pub(super) findings: Vec<Finding>,
    pub(super) counts: Counts,
}

impl Examined {
    fn add(&mut self, finding: Finding) {
        if self.findings.len() < LISTED {
            self.findings.push(finding);
        } else {
            self.counts.unlisted += 1;
        }
    }
}

impl<S: Storage> Scrub<'_, S> {
    /// Looks whether a manifest and all that it needs are there.
    pub(super) async fn manifest(
        &self,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<Examined, StorageError> {
        let mut examined = Examined::default();
        let about = |kind| Finding {
            repository: Some(name.to_string()),
            digest: Some(digest.to_string()),
            ..Finding::new(kind)
        };
        let reference = Reference::Digest(digest.clone());
        self.spend(1);
        let stat = match self.store.storage.manifest_stat(name, &reference).await {
            Ok(stat) => stat,
            Err(error) => {
                examined.findings.extend(
                    self.why_missing(name, digest, error)
                        .await?
                        .map(|(kind, cause)| Finding { cause, ..about(kind) }),
                );
                return Ok(examined);
            }
        };
        examined.counts.manifests = 1;
        if self.state.is_suspect(digest) {
            // What it says cannot be believed, and is reported already.
            return Ok(examined);
        }
        // Larger ones are no manifests of this registry, and refer to nothing.
        if stat.size > Manifest::MAX_SIZE as u64 {
            return Ok(examined);
        }
        self.spend(1);
        match self.store.storage.read(&Key::Blob(digest.clone())).await {
            Ok(bytes) => {
                self.references(name, digest, &bytes, stat.media_type, &mut examined).await?;
            }
            // It is being deleted.
            Err(StorageError::NotFound) => {}
            Err(error) => {
                let cause = Some(self.of_one_object(error).await?);
                examined.findings.push(Finding { cause, ..about(Kind::Unreadable) });
            }
        }
        if !examined.findings.is_empty()
            && !self.exists(&Key::Revision(name.clone(), digest.clone())).await?
        {
            // It has been deleted meanwhile.
            return Ok(Examined::default());
        }
        Ok(examined)
    }

    /// Why a manifest that was listed cannot be had; `None` if it has been deleted or
    /// pushed again meanwhile.
    async fn why_missing(
        &self,
        name: &RepositoryName,
        digest: &Digest,
        error: StorageError,
    ) -> Result<Option<(Kind, Option<String>)>, StorageError> {
        let key = Key::Revision(name.clone(), digest.clone());
        self.spend(1);
        match self.store.storage.read(&key).await {
            Ok(link) => match Pointer::parse(&key, &link) {
                Ok(pointer) if pointer.digest == *digest => {}
                _ => return Ok(Some((Kind::LinkDamaged, None))),
            },
            Err(StorageError::NotFound) => return Ok(None),
            Err(other) => {
                let cause = self.of_one_object(other).await?;
                return Ok(Some((Kind::Unreadable, Some(cause))));
            }
        }
        if error != StorageError::NotFound {
            return Ok(Some((Kind::Unreadable, Some(self.of_one_object(error).await?))));
        }
        let exists = self.exists(&Key::Blob(digest.clone())).await?;
        Ok((!exists).then_some((Kind::ManifestMissing, None)))
    }

    /// Looks at what a manifest refers to. What is no image and no index may refer to
    /// whatever it likes, and so may a subject.
    async fn references(
        &self,
        name: &RepositoryName,
        digest: &Digest,
        bytes: &[u8],
        media_type: Option<MediaType>,
        examined: &mut Examined,
    ) -> Result<(), StorageError> {
        let Ok(manifest) = Manifest::parse_stored(bytes, media_type.as_ref()) else {
            return Ok(());
        };
        let about = |kind, target: &Digest| Finding {
            repository: Some(name.to_string()),
            manifest: Some(digest.to_string()),
            digest: Some(target.to_string()),
            ..Finding::new(kind)
        };
        let wrong_size = |target: &Digest, size, expected| Finding {
            size: Some(size),
            expected: Some(expected),
            ..about(Kind::WrongSize, target)
        };
        for blob in manifest.blobs() {
            if self.state.is_suspect(&blob.digest) {
                examined.add(about(Kind::ContentCorrupt, &blob.digest));
                continue;
            }
            let mut held = self.held(name, &blob.digest).await?;
            if !matches!(held, Held::Data(_)) {
                // It may have been pushed since.
                held = self.look_up(name, &blob.digest).await?;
            }
            let cause = match held {
                Held::Data(size) if size == blob.size => continue,
                Held::Data(size) => {
                    examined.add(wrong_size(&blob.digest, size, blob.size));
                    continue;
                }
                Held::Nothing { .. } if self.order.sparse => {
                    examined.counts.sparse += 1;
                    continue;
                }
                Held::Link | Held::Nothing { data: false } => {
                    let aside = Key::Quarantined(blob.digest.clone());
                    if self.exists(&aside).await? {
                        "its data was damaged, and is in quarantine"
                    } else {
                        "its data is gone"
                    }
                }
                Held::Nothing { data: true } => "the repository has no valid link to it",
            };
            let cause = Some(cause.to_owned());
            examined.add(Finding { cause, ..about(Kind::ContentMissing, &blob.digest) });
        }
        for child in manifest.children() {
            self.spend(1);
            let reference = Reference::Digest(child.digest.clone());
            match self.store.storage.manifest_stat(name, &reference).await {
                Ok(stat) if stat.size == child.size => {}
                Ok(stat) => examined.add(wrong_size(&child.digest, stat.size, child.size)),
                Err(StorageError::NotFound) => {
                    examined.add(about(Kind::ChildMissing, &child.digest));
                }
                Err(error) => {
                    let cause = Some(self.of_one_object(error).await?);
                    examined.add(Finding { cause, ..about(Kind::Unreadable, &child.digest) });
                }
            }
        }
        Ok(())
    }
}
