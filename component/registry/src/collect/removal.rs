//! The last stage: data is removed.

use super::blobs::{Action, Objects, Verb};
use super::run::{LOOK_VALID, Run};
use super::state::Step;
use bytes::Bytes;
use roadstead_oci::Digest;
use roadstead_storage::condemned::TombstoneState;
use roadstead_storage::{Key, Storage, StorageError};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// How long a tombstone outlives the data, so that uploads of the same blob wait until
/// every removal has been carried out.
///
/// Limit: time for which the tombstone of a removed blob stays; test: `tombstones_outlive_data`.
const TOMBSTONE_KEPT: Duration = Duration::from_mins(1);

/// How often the removal of a blob begins again because the last look took too long.
///
/// Limit: attempts to remove a blob from a slow storage; test: none, it takes a store that is slow.
const ATTEMPTS: usize = 3;

impl<S: Storage> Run<'_, S> {
    /// Removes the data of blobs, as far as this slice may.
    pub(super) async fn remove_all(
        &mut self,
        actions: &[Action],
        done: usize,
        left: BTreeSet<Digest>,
        linked: BTreeSet<Digest>,
    ) -> Result<Step, StorageError> {
        for (number, action) in actions.iter().enumerate().skip(done) {
            if number > done && self.is_spent() {
                return Ok(Step::Remove { done: number, left, linked });
            }
            let digest = &action.digest;
            let stays = left.contains(digest) || linked.contains(digest);
            match action.verb {
                Verb::Condemn | Verb::Remove if self.order.alone && !stays => {
                    self.spent += 3;
                    self.store.storage.delete(&Key::Blob(digest.clone())).await?;
                    self.store.storage.delete(&Key::Need(digest.clone())).await?;
                    self.store.storage.delete(&Key::Tombstone(digest.clone())).await?;
                    self.count(Verb::Remove, action.size);
                }
                Verb::Remove if !stays => self.remove(action).await?,
                _ => {}
            }
        }
        Ok(Step::Tombstones { done: 0 })
    }

    /// Removes the data of a blob, unless somebody needs it.
    async fn remove(&mut self, action: &Action) -> Result<(), StorageError> {
        let digest = &action.digest;
        self.spent += 1;
        // Another collector may have condemned it again meanwhile.
        let before = self.store.blob_objects(digest).await?;
        if before.tombstone != action.tombstone {
            return Ok(());
        }
        for _ in 0..ATTEMPTS {
            self.write_tombstone(digest, TombstoneState::Removing).await?;
            let announced = Instant::now();
            self.spent += 2;
            let Objects { data, need, .. } = self.store.blob_objects(digest).await?;
            let tombstone = self.store.tombstone(digest).await?;
            let own = tombstone
                .is_some_and(|t| t.state == TombstoneState::Removing && t.run == self.slice);
            let Some((size, written)) = data else { return Ok(()) };
            if !own {
                return Ok(());
            }
            let renewed = action.tombstone.is_some_and(|condemned| written > condemned);
            if need.is_some() || renewed {
                // The next run gives its links back.
                self.spent += 1;
                return self.store.storage.write(&Key::Need(digest.clone()), Bytes::new()).await;
            }
            if announced.elapsed() > LOOK_VALID {
                continue;
            }
            self.spent += 1;
            self.store.storage.delete(&Key::Blob(digest.clone())).await?;
            self.count(Verb::Remove, size);
            return Ok(());
        }
        Ok(())
    }

    /// Deletes the tombstones of blobs whose data is gone. `None` says that all are.
    pub(super) async fn clear_tombstones(
        &mut self,
        actions: &[Action],
        done: usize,
    ) -> Result<Option<Step>, StorageError> {
        if self.order.alone {
            return Ok(None);
        }
        for (number, action) in actions.iter().enumerate().skip(done) {
            if action.verb != Verb::Remove {
                continue;
            }
            if number > done && self.is_spent() {
                return Ok(Some(Step::Tombstones { done: number }));
            }
            self.spent += 1;
            let objects = self.store.blob_objects(&action.digest).await?;
            let (None, Some(time)) = (objects.data, objects.tombstone) else { continue };
            let age = self.now.duration_since(time).unwrap_or_default();
            if age < TOMBSTONE_KEPT {
                // The next slice knows a later time.
                self.wait = TOMBSTONE_KEPT.saturating_sub(age);
                return Ok(Some(Step::Tombstones { done: number }));
            }
            self.spent += 1;
            if self.tombstone_state(&action.digest).await? == Some(TombstoneState::Removing) {
                self.store.storage.delete(&Key::Tombstone(action.digest.clone())).await?;
            }
        }
        Ok(None)
    }
}
