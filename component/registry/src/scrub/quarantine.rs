//! Damaged data is moved out of the way in a bucket, where neither a move nor a
//! comparison with what is deleted is one step.
//!
//! An upload looks for a tombstone before it writes its data, so it takes some time
//! until all that go on have seen one: as long as any request takes, and besides that as
//! long as an instance trusts that there is no marker. Whoever comes later says that the
//! blob is needed, and waits while it says `removing`, as beside a collector.

use super::Scrub;
use super::blobs::quarantine_of;
use super::state::{Data, Outcome, RepositoryPlace, Stage, Suspect};
use crate::collect::{LOOK_VALID, Objects, Stopwatch, TOMBSTONE_KEPT};
use roadstead_bridge::scrub::Kind;
use roadstead_oci::Digest;
use roadstead_storage::condemned::{MARKER_TRUSTED, Tombstone, TombstoneState};
use roadstead_storage::{Key, Record, Storage, StorageError};
use std::borrow::Cow;
use std::time::{Duration, SystemTime};
use uuid::Uuid;

/// Why data stays where looks take longer than they are valid.
const TOO_SLOW: &str = "the storage is too slow";

/// What has become of an attempt to move data.
enum Moved {
    Done,
    /// It can be moved after this time.
    Later(Duration),
    /// It stays, for this reason.
    Left(Cow<'static, str>),
    /// The same, after uploads were told to wait by the tombstone with this number. They
    /// go on once no other scrub can be about to move it.
    LeftBehind(u64, Cow<'static, str>),
}

impl<S: Storage> Scrub<'_, S> {
    /// Says of each damaged blob that its data is to be moved out of the way.
    pub(super) async fn announce(&mut self) -> Result<(), StorageError> {
        self.spend(2);
        self.store.mark().await?;
        let (now, _) = self.now().await?;
        let mut left = Vec::new();
        for mut suspect in std::mem::take(&mut self.state.suspects) {
            let digest = &suspect.data.digest;
            self.spend(3);
            if self.data_of(digest).await?.as_ref() != Some(&suspect.data) {
                continue;
            }
            let read = Stopwatch::start();
            let state = self.store.tombstone(digest).await?.map(|tombstone| tombstone.state);
            match state {
                // A collector may be repeating that removal, so uploads wait for another while.
                Some(TombstoneState::Removing)
                    if self.has_ended(digest, now).await? && !self.is_outdated(read) =>
                {
                    let number = number();
                    self.write_tombstone(digest, TombstoneState::Removing, number).await?;
                    suspect.outcome = Outcome::Left(number);
                    let cause = "a removal that died had begun; the next scrub moves it";
                    self.find(Kind::NotQuarantined, &suspect.data.digest).cause =
                        Some(cause.to_owned());
                }
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
                None if self.is_outdated(read) => {
                    self.find(Kind::NotQuarantined, &suspect.data.digest).cause =
                        Some(TOO_SLOW.to_owned());
                    continue;
                }
                None => self.suspect(digest).await?,
            }
            left.push(suspect);
        }
        self.state.suspects = left;
        self.state.stage = Stage::Repositories(RepositoryPlace::default());
        Ok(())
    }

    /// Moves what has been announced for long enough.
    pub(super) async fn move_aside(&mut self) -> Result<(), StorageError> {
        let pending = |suspect: &Suspect| suspect.outcome == Outcome::Pending;
        let Some(index) = self.state.suspects.iter().position(pending) else {
            self.state.stage = Stage::Clear;
            return Ok(());
        };
        let mut suspect = self.state.suspects.remove(index);
        let data = suspect.data.clone();
        match self.try_move(&data).await? {
            Moved::Done => {
                suspect.outcome = Outcome::Moved;
                self.find(Kind::Quarantined, &data.digest).size = Some(data.size);
            }
            Moved::Later(wait) => self.wait = wait,
            Moved::LeftBehind(number, cause) => {
                suspect.outcome = Outcome::Left(number);
                self.find(Kind::NotQuarantined, &data.digest).cause = Some(cause.into_owned());
            }
            Moved::Left(cause) => {
                self.find(Kind::NotQuarantined, &data.digest).cause = Some(cause.into_owned());
                return Ok(());
            }
        }
        self.state.suspects.insert(index, suspect);
        Ok(())
    }

    /// The longest request beside a scrub.
    fn grace(&self) -> Duration {
        self.order.quarantine.unwrap_or(Duration::MAX)
    }

    /// Whether what was read then may have changed by more than others allow for.
    fn is_outdated(&self, read: Stopwatch) -> bool {
        read.elapsed() > self.grace() / 2
    }

    /// Whether what says that a blob is being removed was written by a scrub or a collector
    /// that has died.
    async fn has_ended(&self, digest: &Digest, now: SystemTime) -> Result<bool, StorageError> {
        self.spend(1);
        let since = self.store.blob_objects(digest).await?.tombstone;
        let age = since.and_then(|since| now.duration_since(since).ok());
        Ok(age.is_some_and(|age| age >= self.grace()))
    }

    /// Says that the data of a blob is to be moved.
    async fn suspect(&self, digest: &Digest) -> Result<(), StorageError> {
        self.write_tombstone(digest, TombstoneState::Suspect, number()).await
    }

    async fn try_move(&mut self, data: &Data) -> Result<Moved, StorageError> {
        let digest = &data.digest;
        let read = Stopwatch::start();
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
        let grace = self.grace();
        let last = since.max(before.need.unwrap_or(since)).max(marker + MARKER_TRUSTED);
        let age = now.duration_since(last).unwrap_or_default();
        // A collector may soon take it for forgotten: that is at least twice the grace.
        if now.duration_since(since).is_ok_and(|age| age >= grace.saturating_mul(3) / 2) {
            self.spend(1);
            if !self.is_outdated(read) {
                self.suspect(digest).await?;
            }
            return Ok(Moved::Later(grace));
        }
        if last > now || age < grace {
            let more = last.duration_since(now).unwrap_or_default();
            return Ok(Moved::Later(grace.saturating_sub(age) + more));
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
        number: u64,
    ) -> Result<(), StorageError> {
        let slice = u128::from(number);
        self.store.write_tombstone(digest, Tombstone { state, slice, run: 0 }).await
    }

    /// Moves data whose copy is made, after a last look.
    async fn look_and_move(
        &mut self,
        data: &Data,
        before: &Objects,
    ) -> Result<Moved, StorageError> {
        let digest = &data.digest;
        let number = number();
        // To hash and to copy took its time.
        let read = Stopwatch::start();
        self.spend(1);
        let tombstone = self.store.tombstone(digest).await?;
        if tombstone.is_none_or(|tombstone| tombstone.state != TombstoneState::Suspect) {
            return Ok(Moved::Left("garbage collection has come between".into()));
        }
        // Another scrub that writes `removing` meanwhile, and gives it up, waits for longer.
        if read.elapsed() > LOOK_VALID {
            return Ok(Moved::Left(TOO_SLOW.into()));
        }
        self.spend(4);
        let looked = self.store.look_last(digest, u128::from(number), 0).await?;
        let Some((Objects { data: found, need, .. }, announced)) = looked else {
            return Ok(Moved::Left("garbage collection has come between".into()));
        };
        let same = found.map(|found| Data::new(digest, found)).as_ref() == Some(data);
        if !same || need != before.need {
            return Ok(Moved::LeftBehind(number, "it is being uploaded again".into()));
        }
        if announced.elapsed() > LOOK_VALID {
            return Ok(Moved::LeftBehind(number, TOO_SLOW.into()));
        }
        let moved = self.store.storage.quarantine(&quarantine_of(data, false)).await?;
        Ok(if moved {
            Moved::Done
        } else {
            Moved::LeftBehind(number, "it was uploaded again".into())
        })
    }

    /// Deletes the tombstones of what was moved, and lets uploads of what was left go on,
    /// once no scrub that has not seen them can be about to move anything.
    pub(super) async fn clear(&mut self) -> Result<(), StorageError> {
        let (now, _) = self.now().await?;
        while let Some(Suspect { data, outcome }) = self.state.suspects.last() {
            let (digest, outcome) = (data.digest.clone(), *outcome);
            self.spend(2);
            let time = self.store.blob_objects(&digest).await?.tombstone;
            let tombstone = self.store.tombstone(&digest).await?;
            let removing = tombstone.filter(|one| one.state == TombstoneState::Removing);
            let (Some(time), Some(Tombstone { slice, .. })) = (time, removing) else {
                self.state.suspects.pop();
                continue;
            };
            let age = now.duration_since(time).unwrap_or_default();
            if age < TOMBSTONE_KEPT {
                self.wait = TOMBSTONE_KEPT.saturating_sub(age);
                return Ok(());
            }
            self.spend(1);
            match outcome {
                Outcome::Moved => self.store.storage.delete(&Key::Tombstone(digest)).await?,
                // One that is older may be repeated by a collector at this moment.
                Outcome::Left(number) if slice == u128::from(number) && age < self.grace() => {
                    self.suspect(&digest).await?;
                }
                Outcome::Left(_) | Outcome::Pending => {}
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

/// The number of a tombstone.
fn number() -> u64 {
    Uuid::new_v4().as_u64_pair().0
}
