//! Carries out what was decided, a part at a time and in phases.

use super::decisions::{Action, Verb};
use super::run::Run;
use super::state::{Act, Phase, Stage};
use bytes::Bytes;
use roadstead_oci::Digest;
use roadstead_storage::condemned::{Tombstone, TombstoneState};
use roadstead_storage::{Key, Record, Storage, StorageError};

impl<S: Storage> Run<'_, S> {
    /// Goes on with a part, as far as this slice may.
    pub(super) async fn act(&mut self, mut act: Act) -> Result<(), StorageError> {
        let record = Record::Actions(self.id, act.part);
        let text = self.record(record.clone()).await?;
        let key = Key::Record(record);
        let is_done = if act.phase == Phase::Links {
            let actions: Result<Vec<_>, _> = Action::parse_all(&text, &key, 0)?.collect();
            self.links(&actions?, &mut act).await?
        } else {
            let actions = Action::parse_all(&text, &key, act.done)?;
            self.each(actions, &mut act).await?
        };
        self.state.stage = if !is_done || act.advance() {
            Stage::Act(act)
        } else if act.part + 1 < self.state.actions {
            Stage::Act(Act::new(act.part + 1))
        } else {
            Stage::End
        };
        Ok(())
    }

    /// Carries out a phase for one action after the other, and says whether that is
    /// all of them.
    async fn each(
        &mut self,
        actions: impl Iterator<Item = Result<Action, StorageError>>,
        act: &mut Act,
    ) -> Result<bool, StorageError> {
        let begin = act.done;
        for action in actions {
            if act.done > begin && self.is_spent() {
                return Ok(false);
            }
            let action = &action?;
            self.alive().await?;
            match act.phase {
                Phase::Announce => self.announce(action, act).await?,
                Phase::Conclude => self.conclude(action, act).await?,
                Phase::Remove => self.remove(action, act).await?,
                Phase::Tombstones => self.clear_tombstone(action).await?,
                Phase::Links => {}
            }
            if !self.wait.is_zero() {
                return Ok(false);
            }
            act.done += 1;
        }
        Ok(true)
    }

    /// Condemns a blob, or says that it is needed, before its links change.
    async fn announce(&mut self, action: &Action, act: &mut Act) -> Result<(), StorageError> {
        if !self.order.exclusive {
            self.mark().await?;
        }
        match action.verb {
            // Nobody else looks for it.
            Verb::Condemn if self.order.exclusive => {}
            Verb::Condemn => {
                self.write_tombstone(&action.digest, TombstoneState::Condemned).await?;
            }
            Verb::GiveBack => {
                self.spent += 1;
                let need = Key::Need(action.digest.clone());
                self.store.storage.write(&need, Bytes::new()).await?;
                if self.gives_way(&action.digest).await? {
                    act.left.insert(action.digest.clone());
                }
            }
            Verb::Remove | Verb::Forget => {}
        }
        Ok(())
    }

    /// Says of a blob that its links have moved, or are back.
    async fn conclude(&mut self, action: &Action, act: &Act) -> Result<(), StorageError> {
        let digest = &action.digest;
        match action.verb {
            Verb::Condemn | Verb::GiveBack if act.left.contains(digest) => {}
            Verb::Condemn if self.order.exclusive => {}
            Verb::Condemn => {
                self.write_tombstone(digest, TombstoneState::Unlinked).await?;
                self.count(Verb::Condemn, action.size);
            }
            Verb::GiveBack => {
                self.spent += 1;
                self.store.storage.delete(&Key::Tombstone(digest.clone())).await?;
                self.count(Verb::GiveBack, action.size);
            }
            // The next run moves the link.
            Verb::Remove if act.linked.contains(digest) => {
                self.write_tombstone(digest, TombstoneState::Condemned).await?;
            }
            Verb::Remove | Verb::Forget => {}
        }
        Ok(())
    }

    /// Says in the storage that something in it is condemned.
    pub(super) async fn mark(&mut self) -> Result<(), StorageError> {
        if self.marked {
            return Ok(());
        }
        self.spent += 1;
        self.store.mark().await?;
        self.marked = true;
        Ok(())
    }

    /// Writes a tombstone.
    pub(super) async fn write_tombstone(
        &mut self,
        digest: &Digest,
        state: TombstoneState,
    ) -> Result<(), StorageError> {
        self.spent += 1;
        let tombstone = Tombstone { state, slice: self.slice, run: self.id };
        self.store.write_tombstone(digest, tombstone).await
    }

    /// What the tombstone of a blob says, if it has one.
    pub(super) async fn tombstone_state(
        &mut self,
        digest: &Digest,
    ) -> Result<Option<TombstoneState>, StorageError> {
        self.spent += 1;
        Ok(self.store.tombstone(digest).await?.map(|tombstone| tombstone.state))
    }

    /// Whether another collector may be about to remove the data of a blob.
    pub(super) async fn gives_way(&mut self, digest: &Digest) -> Result<bool, StorageError> {
        if self.tombstone_state(digest).await? != Some(TombstoneState::Removing) {
            return Ok(false);
        }
        self.spent += 1;
        let objects = self.store.blob_objects(digest).await?;
        Ok(objects.tombstone.is_some_and(|time| self.age(time) < 2 * self.order.grace))
    }
}
