//! Damaged data is moved out of the way in a bucket, where neither a move nor a
//! comparison with what is deleted is one step.
//!
//! An upload looks for a tombstone before it writes its data, so it takes some time
//! until all that go on have seen one: the marker has to be there for longer than
//! instances trust its absence, and the tombstone for longer than any request takes.
//! Whoever comes later says that the blob is needed, and waits while it says
//! `removing`, as beside a collector.

use super::Scrub;
use super::blobs::quarantine_of;
use super::state::{Data, RepositoryPlace, Stage, Suspect};
use crate::collect::{LOOK_VALID, Objects, TOMBSTONE_KEPT};
use roadstead_bridge::scrub::Kind;
use roadstead_oci::Digest;
use roadstead_storage::condemned::{MARKER_TRUSTED, Tombstone, TombstoneState};
use roadstead_storage::{Key, Record, Storage, StorageError};
use std::borrow::Cow;
use std::time::{Duration, SystemTime};
use uuid::Uuid;

/// How often the last look is repeated because it took too long.
///
/// Limit: attempts to move a damaged blob in a slow storage; test: none, it takes a store that is slow.
const ATTEMPTS: usize = 3;

/// What has become of an attempt to move data.
enum Moved {
    Done,
    /// It can be moved after this time.
    Later(Duration),
    /// It stays, for this reason.
    Left(Cow<'static, str>),
}

impl<S: Storage> Scrub<'_, S> {
    /// Says of each damaged blob that its data is to be moved out of the way.
    pub(super) async fn announce(&mut self) -> Result<(), StorageError> {
        self.spend(2);
        self.store.mark().await?;
        let mut left = Vec::new();
        for suspect in std::mem::take(&mut self.state.suspects) {
            let digest = &suspect.data.digest;
            self.spend(3);
            if self.data_of(digest).await?.as_ref() != Some(&suspect.data) {
                continue;
            }
            match self.store.tombstone(digest).await?.map(|tombstone| tombstone.state) {
                // Also while it is being removed: uploads have to wait for that.
                Some(
                    TombstoneState::Condemned | TombstoneState::Unlinked | TombstoneState::Removing,
                ) => {
                    let cause = "garbage collection has condemned it";
                    self.find(Kind::NotQuarantined, &suspect.data.digest).cause =
                        Some(cause.to_owned());
                    continue;
                }
                // By an earlier scrub: its time counts.
                Some(TombstoneState::Suspect) => {}
                None => {
                    let number = Uuid::new_v4().as_u128();
                    self.write_tombstone(digest, TombstoneState::Suspect, number).await?;
                }
            }
            left.push(suspect);
        }
        self.state.suspects = left;
        self.state.stage = Stage::Repositories(RepositoryPlace::default());
        Ok(())
    }

    /// Moves what has been announced for long enough.
    pub(super) async fn move_aside(&mut self) -> Result<(), StorageError> {
        let grace = self.order.quarantine.unwrap_or(Duration::MAX);
        let Some(index) = self.state.suspects.iter().position(|suspect| !suspect.moved) else {
            self.state.stage = Stage::Clear;
            return Ok(());
        };
        let Some(Suspect { data, .. }) = self.state.suspects.get(index).cloned() else {
            return Ok(());
        };
        match self.try_move(&data, grace.max(MARKER_TRUSTED)).await? {
            Moved::Done => {
                if let Some(suspect) = self.state.suspects.get_mut(index) {
                    suspect.moved = true;
                }
                self.find(Kind::Quarantined, &data.digest).size = Some(data.size);
            }
            Moved::Later(wait) => self.wait = wait,
            Moved::Left(cause) => {
                self.state.suspects.remove(index);
                self.find(Kind::NotQuarantined, &data.digest).cause = Some(cause.into_owned());
            }
        }
        Ok(())
    }

    async fn try_move(&mut self, data: &Data, waits: Duration) -> Result<Moved, StorageError> {
        let digest = &data.digest;
        let (now, marker) = self.now().await?;
        self.spend(2);
        let before = self.store.blob_objects(digest).await?;
        let state = self.store.tombstone(digest).await?.map(|tombstone| tombstone.state);
        if before.data.map(|found| Data::new(digest, found)).as_ref() != Some(data) {
            if state == Some(TombstoneState::Suspect) {
                self.spend(1);
                self.store.storage.delete(&Key::Tombstone(digest.clone())).await?;
            }
            return Ok(Moved::Left("it was uploaded again or removed meanwhile".into()));
        }
        let (Some(TombstoneState::Suspect), Some(since), Some(marker)) =
            (state, before.tombstone, marker)
        else {
            return Ok(Moved::Left("garbage collection has come between".into()));
        };
        // Who needs it may be about to write it.
        let last = since.max(marker).max(before.need.unwrap_or(since));
        let age = now.duration_since(last).unwrap_or_default();
        if age < waits {
            return Ok(Moved::Later(waits.saturating_sub(age)));
        }
        if !self.is_damaged(data).await? {
            self.spend(1);
            self.store.storage.delete(&Key::Tombstone(digest.clone())).await?;
            return Ok(Moved::Left("hashed once more, the data has its digest".into()));
        }
        self.spend(1);
        if let Err(error) = self.store.storage.quarantine(&quarantine_of(data, true)).await {
            // Such as an object that the store does not copy.
            return Ok(Moved::Left(self.of_one_object(error).await?.into()));
        }
        self.look_and_move(data, &before).await
    }

    /// Writes a tombstone, which no run of garbage collection undoes.
    async fn write_tombstone(
        &self,
        digest: &Digest,
        state: TombstoneState,
        slice: u128,
    ) -> Result<(), StorageError> {
        self.store.write_tombstone(digest, Tombstone { state, slice, run: 0 }).await
    }

    /// Moves data whose copy is made, after a last look.
    async fn look_and_move(
        &mut self,
        data: &Data,
        before: &Objects,
    ) -> Result<Moved, StorageError> {
        let digest = &data.digest;
        let number = Uuid::new_v4().as_u128();
        // To hash and to copy took its time.
        self.spend(1);
        let tombstone = self.store.tombstone(digest).await?;
        if tombstone.is_none_or(|tombstone| tombstone.state != TombstoneState::Suspect) {
            return Ok(Moved::Left("garbage collection has come between".into()));
        }
        for _ in 0..ATTEMPTS {
            self.spend(4);
            let looked = self.store.look_last(digest, number, 0).await?;
            let Some((Objects { data: found, need, .. }, announced)) = looked else {
                return Ok(Moved::Left("garbage collection has come between".into()));
            };
            let same = found.map(|found| Data::new(digest, found)).as_ref() == Some(data);
            if !same || need != before.need {
                self.spend(1);
                self.write_tombstone(digest, TombstoneState::Suspect, number).await?;
                return Ok(Moved::Left("it is being uploaded again".into()));
            }
            if announced.elapsed() > LOOK_VALID {
                continue;
            }
            let moved = self.store.storage.quarantine(&quarantine_of(data, false)).await?;
            return Ok(if moved {
                Moved::Done
            } else {
                Moved::Left("it was uploaded again".into())
            });
        }
        self.write_tombstone(digest, TombstoneState::Suspect, number).await?;
        Ok(Moved::Left("the storage is too slow".into()))
    }

    /// Deletes the tombstones of what was moved, once each upload that has not seen them
    /// has ended.
    pub(super) async fn clear(&mut self) -> Result<(), StorageError> {
        let (now, _) = self.now().await?;
        while let Some(Suspect { data, .. }) = self.state.suspects.last() {
            let digest: Digest = data.digest.clone();
            self.spend(2);
            let time = self.store.blob_objects(&digest).await?.tombstone;
            let state = self.store.tombstone(&digest).await?.map(|tombstone| tombstone.state);
            if let (Some(time), Some(TombstoneState::Removing)) = (time, state) {
                let age = now.duration_since(time).unwrap_or_default();
                if age < TOMBSTONE_KEPT {
                    self.wait = TOMBSTONE_KEPT.saturating_sub(age);
                    return Ok(());
                }
                self.spend(1);
                self.store.storage.delete(&Key::Tombstone(digest)).await?;
            }
            self.state.suspects.pop();
        }
        self.state.stage = Stage::End;
        Ok(())
    }

    /// The time by the storage's clock, and that of the marker.
    async fn now(&self) -> Result<(SystemTime, Option<SystemTime>), StorageError> {
        let id = Uuid::new_v4().as_u128();
        self.spend(3);
        let (now, records) = self.store.clock(id).await?;
        self.store.storage.delete(&Key::Record(Record::Begun(id))).await?;
        Ok((now, records.marker))
    }
}
