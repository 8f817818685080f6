//! Blobs that are condemned, and what whoever makes a link to a blob does first: it
//! looks for a tombstone, and says that the blob is needed if there is one.
//!
//! `docs/collection.md` has the protocol. Here are the steps that uploads, which
//! adapters carry out, have in common with mounts and pushes.

use crate::{Key, Moment, Record, Storage, StorageError};
use bytes::Bytes;
use roadstead_oci::Digest;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long who finds an announcement that does not change, of a deletion, of moves
/// or of a removal of data, takes it to be of one that goes on. Each looks again, or
/// announces itself again, before it removes something more than 5 s later, and a
/// removal takes up to 50 s in a bucket, with its retries.
///
/// Limit: time until a deletion or a removal is taken to have died; test:
/// `a_deletion_that_died_does_not_hold_up_pushes`,
/// `what_died_does_not_hold_up_uploads_and_pushes`.
pub const DEAD_AFTER: Duration = Duration::from_secs(56);

/// How long an instance believes that nothing is condemned.
///
/// Limit: time for which the marker of garbage collection is not asked for again;
/// test: `the_marker_is_asked_for_again`.
pub const MARKER_TRUSTED: Duration = Duration::from_mins(10);

/// How long a removal is waited for before the next look, at first; each time twice
/// as long.
///
/// Limit: first pause of an upload beside a removal; test:
/// `what_died_does_not_hold_up_uploads_and_pushes`.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest of these pauses.
///
/// Limit: longest pause of an upload beside a removal; test:
/// `what_died_does_not_hold_up_uploads_and_pushes`.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The value of [`Key::Tombstone`]: how far the collection of the blob has come,
/// and who wrote that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tombstone {
    /// How far.
    pub state: TombstoneState,
    /// The slice that wrote it, which no other slice has the number of.
    pub slice: u128,
    /// The run that the slice belonged to; 0 if it was a scrub, or of a version that did
    /// not say.
    pub run: u128,
}

/// How far the collection of a blob has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TombstoneState {
    /// Its links are being moved.
    Condemned,
    /// No link is left.
    Unlinked,
    /// Its data is about to be removed.
    Removing,
    /// Its data does not have its digest, and is to be moved out of the way once all
    /// uploads have ended that have not seen this. Its links stay.
    Suspect,
}

impl TombstoneState {
    const ALL: [Self; 4] = [Self::Condemned, Self::Unlinked, Self::Removing, Self::Suspect];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Condemned => "condemned",
            Self::Unlinked => "unlinked",
            Self::Removing => "removing",
            Self::Suspect => "suspect",
        }
    }
}

impl Tombstone {
    /// Parses what it prints. What follows the run is for later versions.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let mut words = std::str::from_utf8(value).ok()?.split_ascii_whitespace();
        let (state, slice) = (words.next()?, words.next()?);
        let state = TombstoneState::ALL.into_iter().find(|known| known.as_str() == state)?;
        let number = |digits| u128::from_str_radix(digits, 16).ok();
        let run = words.next().and_then(number).unwrap_or_default();
        Some(Self { state, slice: number(slice)?, run })
    }
}

impl fmt::Display for Tombstone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:032x} {:032x}", self.state.as_str(), self.slice, self.run)
    }
}

/// What an instance knows of [`Record::Marker`], which says that something in the
/// storage is condemned.
#[derive(Debug, Default)]
pub struct Marker(Mutex<Option<Known>>);

#[derive(Clone, Copy, Debug)]
struct Known {
    exists: bool,
    /// When it was asked for.
    at: Moment,
}

impl Known {
    fn is_recent(&self, now: &Moment) -> bool {
        self.at.is_within(MARKER_TRUSTED, now)
    }
}

impl Marker {
    /// Whether something may be condemned.
    async fn is_there<S: Storage>(&self, storage: &S) -> Result<bool, StorageError> {
        let known = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = Moment::now();
        if let Some(known) = known.filter(|known| known.is_recent(&at)) {
            return Ok(known.exists);
        }
        let exists = storage.exists(&Key::Record(Record::Marker)).await?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Known { exists, at });
        Ok(exists)
    }
}

/// Whether something in the storage may be condemned, or moved. Where a look is cheap,
/// nobody asks.
///
/// # Errors
/// When the storage fails.
pub async fn is_marked<S: Storage>(storage: &S) -> Result<bool, StorageError> {
    match storage.marker() {
        Some(marker) => marker.is_there(storage).await,
        None => Ok(true),
    }
}

/// What a look for a tombstone has found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Look {
    /// Nothing in the storage is condemned, as far as is known: nobody looked.
    Unmarked,
    /// The blob has no tombstone.
    Absent,
    /// The blob has one.
    Condemned,
}

/// Looks for the tombstone of a blob. Data that was read before that proves nothing.
///
/// # Errors
/// When the storage fails.
pub async fn look<S: Storage>(storage: &S, digest: &Digest) -> Result<Look, StorageError> {
    if !is_marked(storage).await? {
        return Ok(Look::Unmarked);
    }
    let exists = storage.exists(&Key::Tombstone(digest.clone())).await?;
    Ok(if exists { Look::Condemned } else { Look::Absent })
}

/// Says that a condemned blob is needed, and waits for a removal of its data that
/// may not have seen it. `false` if that still goes on: after [`DEAD_AFTER`], it has
/// died, as each that looks later finds the need.
///
/// # Errors
/// When the storage fails.
pub async fn need<S: Storage>(
    storage: &S,
    digest: &Digest,
    patience: Duration,
) -> Result<bool, StorageError> {
    storage.write(&Key::Need(digest.clone()), Bytes::new()).await?;
    let (mut paused, mut pause) = (Duration::ZERO, FIRST_PAUSE);
    while is_removed(storage, digest).await? {
        if paused >= patience {
            return Ok(false);
        }
        storage.pause(pause).await;
        paused += pause;
        pause = (2 * pause).min(LONGEST_PAUSE);
    }
    Ok(true)
}

/// Does what comes before the data of a blob is written and linked.
///
/// # Errors
/// When the storage fails.
pub async fn prepare_upload<S: Storage>(storage: &S, digest: &Digest) -> Result<(), StorageError> {
    if look(storage, digest).await? == Look::Condemned {
        need(storage, digest, DEAD_AFTER).await?;
    }
    Ok(())
}

/// Whether the data of a blob is being removed, or was by a run that died.
async fn is_removed<S: Storage>(storage: &S, digest: &Digest) -> Result<bool, StorageError> {
    match storage.read(&Key::Tombstone(digest.clone())).await {
        Ok(value) => Ok(Tombstone::parse(&value)
            .is_some_and(|tombstone| tombstone.state == TombstoneState::Removing)),
        Err(StorageError::NotFound) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::{Known, MARKER_TRUSTED, Tombstone, TombstoneState};
    use crate::Moment;

    #[test]
    fn tombstones_are_parsed_as_they_are_printed() {
        for state in TombstoneState::ALL {
            let tombstone = Tombstone { state, slice: 7, run: 8 };
            let text = tombstone.to_string();
            assert_eq!(Tombstone::parse(text.as_bytes()), Some(tombstone));
            assert_eq!(
                Tombstone::parse(format!("{text} 1700000000\n").as_bytes()),
                Some(tombstone)
            );
        }
        let before = Tombstone { state: TombstoneState::Removing, slice: 7, run: 0 };
        assert_eq!(Tombstone::parse(b"removing 7"), Some(before));
        for text in ["", "removing", "removing x", "removed 7", "\0\0"] {
            assert_eq!(Tombstone::parse(text.as_bytes()), None, "{text}");
        }
    }
    #[test]
    fn the_marker_is_asked_for_again() {
        let at = Moment::now();
        let known = Known { exists: false, at };
        assert!(known.is_recent(&at.after(MARKER_TRUSTED / 2)));
        assert!(!known.is_recent(&at.after(MARKER_TRUSTED)));
    }
}
