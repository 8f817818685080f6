//! The stage `removal`: data is removed.

use super::decisions::{Action, Objects, Verb};
use super::run::{LOOK_VALID, Run};
use super::state::Act;
use bytes::Bytes;
use roadstead_storage::condemned::TombstoneState;
use roadstead_storage::{Key, Storage, StorageError};
use std::time::{Duration, SystemTime};

/// How long a tombstone outlives the data, so that uploads of the same blob wait until
/// every removal has been carried out.
///
/// Limit: time for which the tombstone of a removed blob stays; test: `tombstones_outlive_data`.
pub const TOMBSTONE_KEPT: Duration = Duration::from_mins(1);

/// How often the removal of a blob begins again because the last look took too long.
///
/// Limit: attempts to remove a blob from a slow storage; test: none, it takes a store that is slow.
const ATTEMPTS: usize = 3;

impl<S: Storage> Run<'_, S> {
    /// Removes the data of a blob, or what was left of one whose data is gone.
    pub(super) async fn remove(&mut self, action: &Action, act: &Act) -> Result<(), StorageError> {
        let digest = &action.digest;
        let stays = act.left.contains(digest) || act.linked.contains(digest);
        match action.verb {
            Verb::Condemn if self.order.exclusive && !stays => {
                self.spent += 3;
                self.store.storage.delete(&Key::Blob(digest.clone())).await?;
                self.store.storage.delete(&Key::Need(digest.clone())).await?;
                self.store.storage.delete(&Key::Tombstone(digest.clone())).await?;
                self.count(Verb::Remove, action.size);
            }
            Verb::Remove if !stays => self.remove_condemned(action).await?,
            Verb::Forget => {
                self.spent += 2;
                let now = self.store.blob_objects(digest).await?;
                if now.data.is_none() && now.tombstone == action.tombstone {
                    self.store.storage.delete(&Key::Tombstone(digest.clone())).await?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Removes the data of a blob that has been condemned for long enough, unless
    /// somebody needs it.
    async fn remove_condemned(&mut self, action: &Action) -> Result<(), StorageError> {
        let digest = &action.digest;
        self.spent += 1;
        // Another collector may have condemned it again meanwhile.
        let before = self.store.blob_objects(digest).await?;
        let renewed = |data: Option<(u64, SystemTime)>| {
            data.zip(action.tombstone).is_some_and(|((_, written), condemned)| written > condemned)
        };
        let needed = before.need.is_some() || renewed(before.data);
        if before.tombstone != action.tombstone || needed {
            return Ok(());
        }
        for _ in 0..ATTEMPTS {
            self.spent += 3;
            let looked = self.store.look_last(digest, self.slice, self.id).await?;
            let Some((Objects { data, need, .. }, announced)) = looked else { return Ok(()) };
            let Some((size, _)) = data else { return Ok(()) };
            if need.is_some() || renewed(data) {
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

    /// Deletes the tombstone of a blob that was removed, once that is surely over; the
    /// slice waits until then.
    pub(super) async fn clear_tombstone(&mut self, action: &Action) -> Result<(), StorageError> {
        if action.verb != Verb::Remove {
            return Ok(());
        }
        let digest = &action.digest;
        self.spent += 2;
        let Objects { data, tombstone, .. } = self.store.blob_objects(digest).await?;
        let Some(time) = tombstone.filter(|time| Some(*time) != action.tombstone) else {
            return Ok(());
        };
        if self.tombstone_state(digest).await? != Some(TombstoneState::Removing) {
            return Ok(());
        }
        let age = self.now.duration_since(time).unwrap_or_default();
        if age < self.order.settled {
            // The next slice knows a later time.
            self.wait = self.order.settled.saturating_sub(age);
            return Ok(());
        }
        if data.is_some() {
            // Somebody needs it: uploads wait no longer, and the next run gives its links
            // back.
            return self.write_tombstone(digest, TombstoneState::Condemned).await;
        }
        self.store.storage.delete(&Key::Tombstone(digest.clone())).await
    }
}
