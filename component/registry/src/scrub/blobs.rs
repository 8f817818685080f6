//! The first stage: the data of all blobs is hashed.

use super::Scrub;
use super::state::{BlobPlace, Data, Open, Outcome, RepositoryPlace, SUSPECTS, Stage, Suspect};
use roadstead_bridge::scrub::Kind;
use roadstead_oci::Digest;
use roadstead_storage::{
    Collection, Cursor, HashOutcome, Hashed, Key, Partial, Quarantine, Storage, StorageError,
};
use std::time::SystemTime;

/// How much of a damaged blob is hashed in one operation, when it is hashed once more
/// before its data is moved out of the way: 64 MiB. The whole blob is, in one slice, as a
/// disk, a network or a cursor may have been wrong.
///
/// Limit: bytes of a damaged blob that are hashed again in one operation; test: none, more are hashed in steps.
const HASHED_AGAIN: u64 = 64 * 1024 * 1024;

/// What hashing a blob has come to.
enum Checked {
    /// Another slice goes on.
    Open(Open),
    /// Its data is gone.
    Gone,
    /// It has this digest.
    Digest(Data, Digest),
    Unreadable(String),
}

impl<S: Storage> Scrub<'_, S> {
    /// Hashes the blobs of a page, as far as this slice may.
    pub(super) async fn blobs(&mut self, place: BlobPlace) -> Result<(), StorageError> {
        let BlobPlace { mut after, open } = place;
        if let Some(Open { data, partial }) = open {
            let key = Key::Blob(data.digest.clone());
            if !self.blob(&mut after, &data.digest.clone(), data.clone(), Some(partial)).await? {
                return Ok(());
            }
            after = place_of(&key).or(after);
            self.state.stage = Stage::Blobs(BlobPlace { after, open: None });
            return Ok(());
        }
        let listing = self.page(&Collection::Blobs, after.as_ref()).await?;
        for entry in &listing.entries {
            if let Key::Blob(digest) = &entry.key {
                self.counts.blobs += 1;
                self.counts.bytes += entry.size;
                let data = Data::new(digest, (entry.size, entry.modified));
                if self.order.hash && !self.blob(&mut after, digest, data, None).await? {
                    return Ok(());
                }
            }
            after = place_of(&entry.key).or(after);
            if self.is_spent() {
                self.state.stage = Stage::Blobs(BlobPlace { after, open: None });
                return Ok(());
            }
        }
        self.state.stage = match listing.next {
            Some(next) => Stage::Blobs(BlobPlace { after: Some(next), open: None }),
            None if self.is_to_announce() => Stage::Announce,
            None => Stage::Repositories(RepositoryPlace::default()),
        };
        Ok(())
    }

    /// Whether damaged data is to be moved out of the way, which takes several steps
    /// where each object costs a request.
    fn is_to_announce(&self) -> bool {
        self.order.quarantine.is_some()
            && self.store.storage.marker().is_some()
            && !self.state.suspects.is_empty()
    }

    /// Hashes a blob. `false` if another slice has to go on with it.
    async fn blob(
        &mut self,
        after: &mut Option<Cursor>,
        digest: &Digest,
        data: Data,
        from: Option<Partial>,
    ) -> Result<bool, StorageError> {
        match self.check(data.clone(), from).await? {
            Checked::Open(open) => {
                let place = BlobPlace { after: after.take(), open: Some(open) };
                self.state.stage = Stage::Blobs(place);
                return Ok(false);
            }
            Checked::Gone => {}
            Checked::Digest(_, found) if found == *digest => {}
            Checked::Digest(data, found) => self.damaged(data, &found).await?,
            Checked::Unreadable(cause) => {
                let size = data.size;
                let finding = self.find(Kind::Unreadable, digest);
                finding.cause = Some(cause);
                finding.size = Some(size);
            }
        }
        Ok(true)
    }

    /// Hashes a blob as far as this slice may. Data that changes meanwhile is hashed
    /// again.
    async fn check(
        &mut self,
        mut data: Data,
        mut from: Option<Partial>,
    ) -> Result<Checked, StorageError> {
        if from.is_some() {
            // It was listed by another slice.
            match self.data_of(&data.digest).await? {
                None => return Ok(Checked::Gone),
                Some(now) if now != data => (data, from) = (now, None),
                Some(_) => {}
            }
        }
        loop {
            let left = self.order.bytes.saturating_sub(self.hashed);
            if left == 0
                && let Some(partial) = from
            {
                return Ok(Checked::Open(Open { data, partial }));
            }
            match self.hash(&data.digest, from.as_ref(), left).await {
                Ok(Hashed { outcome: HashOutcome::Partial(partial), .. }) => {
                    from = Some(partial);
                }
                Ok(Hashed { outcome: HashOutcome::Whole(found), .. }) if found == data.digest => {
                    return Ok(Checked::Digest(data, found));
                }
                Ok(Hashed { outcome: HashOutcome::Whole(found), .. }) => {
                    match self.data_of(&data.digest).await? {
                        None => return Ok(Checked::Gone),
                        Some(now) if now != data => (data, from) = (now, None),
                        Some(_) => return Ok(Checked::Digest(data, found)),
                    }
                }
                Err(StorageError::NotFound) => return Ok(Checked::Gone),
                Err(error) => {
                    let cause = self.of_one_object(error).await?;
                    match self.data_of(&data.digest).await? {
                        None => return Ok(Checked::Gone),
                        Some(now) if now != data => (data, from) = (now, None),
                        Some(_) => return Ok(Checked::Unreadable(cause)),
                    }
                }
            }
        }
    }

    async fn hash(
        &mut self,
        digest: &Digest,
        from: Option<&Partial>,
        limit: u64,
    ) -> Result<Hashed, StorageError> {
        self.spend(1);
        let hashed = self.store.storage.hash_blob(digest, from, limit.max(1)).await?;
        // An empty blob is work too.
        self.hashed += hashed.read.max(1);
        Ok(hashed)
    }

    /// The data of a blob as it is now.
    pub(super) async fn data_of(&self, digest: &Digest) -> Result<Option<Data>, StorageError> {
        self.spend(1);
        let data: Option<(u64, SystemTime)> = self.store.blob_objects(digest).await?.data;
        Ok(data.map(|data| Data::new(digest, data)))
    }

    /// Whether the data of a blob is damaged still, when it is hashed from its
    /// beginning.
    pub(super) async fn is_damaged(&mut self, data: &Data) -> Result<bool, StorageError> {
        let mut from = None;
        loop {
            let hashed = self.hash(&data.digest, from.as_ref(), HASHED_AGAIN).await?;
            match hashed.outcome {
                HashOutcome::Partial(partial) => from = Some(partial),
                HashOutcome::Whole(found) => return Ok(found != data.digest),
            }
        }
    }

    /// Data that does not have its digest.
    async fn damaged(&mut self, data: Data, found: &Digest) -> Result<(), StorageError> {
        let finding = self.find(Kind::Corrupt, &data.digest);
        finding.size = Some(data.size);
        finding.computed = Some(found.to_string());
        if self.order.quarantine.is_some() && self.store.storage.marker().is_none() {
            return self.move_at_once(data).await;
        }
        if self.state.suspects.len() < SUSPECTS && !self.state.is_suspect(&data.digest) {
            self.state.suspects.push(Suspect { data, outcome: Outcome::Pending });
        }
        Ok(())
    }

    /// Moves damaged data out of the way where a move is one step.
    async fn move_at_once(&mut self, data: Data) -> Result<(), StorageError> {
        let damaged = match self.is_damaged(&data).await {
            Err(StorageError::NotFound) => false,
            other => other?,
        };
        if !damaged {
            let cause = "hashed once more, the data has its digest: check the disk and the memory";
            self.find(Kind::NotQuarantined, &data.digest).cause = Some(cause.to_owned());
            return Ok(());
        }
        self.spend(1);
        let seen = quarantine_of(&data, false);
        let cause = match self.store.storage.quarantine(&seen).await {
            Ok(true) => {
                self.find(Kind::Quarantined, &data.digest).size = Some(data.size);
                return Ok(());
            }
            Ok(false) => "it was uploaded again meanwhile".to_owned(),
            // Such as a file that cannot be moved.
            Err(error) => self.of_one_object(error).await?,
        };
        self.find(Kind::NotQuarantined, &data.digest).cause = Some(cause);
        Ok(())
    }
}

/// What the storage is asked to move.
pub(super) fn quarantine_of(data: &Data, prepare: bool) -> Quarantine {
    Quarantine { digest: data.digest.clone(), size: data.size, modified: data.modified(), prepare }
}

/// The place of an object of the collection of all blobs.
fn place_of(key: &Key) -> Option<Cursor> {
    let key = key.to_string();
    key.strip_prefix(&Collection::Blobs.prefix()).map(|place| Cursor(place.to_owned()))
}
