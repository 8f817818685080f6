//! Tombstones: what is said of a blob that is condemned.
//!
//! `docs/collection.md` has the protocol.

use super::Store;
use roadstead_oci::Digest;
use roadstead_storage::{Key, Storage, StorageError};
use std::fmt;

/// How far the removal of a blob is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TombstoneState {
    /// Links to it are being moved.
    Condemned,
    /// No repository links to it.
    Unlinked,
    /// Its data is about to be removed, or is so already.
    Removing,
}

impl TombstoneState {
    const ALL: [(Self, &'static str); 3] = [
        (Self::Condemned, "condemned"),
        (Self::Unlinked, "unlinked"),
        (Self::Removing, "removing"),
    ];
}

/// A tombstone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Tombstone {
    pub(crate) state: TombstoneState,
    /// Tells apart those who write it.
    pub(crate) writer: u128,
}

impl Tombstone {
    /// Parses a tombstone. One that is damaged says the least that it can.
    fn parse(text: &[u8]) -> Self {
        Self::read(text).unwrap_or(Self { state: TombstoneState::Condemned, writer: 0 })
    }

    fn read(text: &[u8]) -> Option<Self> {
        let (word, writer) = std::str::from_utf8(text).ok()?.split_once(' ')?;
        let state = TombstoneState::ALL.into_iter().find(|(_, name)| *name == word)?.0;
        Some(Self { state, writer: u128::from_str_radix(writer, 16).ok()? })
    }
}

impl fmt::Display for Tombstone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = TombstoneState::ALL.into_iter().find(|(state, _)| *state == self.state);
        write!(f, "{} {:032x}", word.map_or("", |(_, word)| word), self.writer)
    }
}

impl<S: Storage> Store<S> {
    /// The tombstone of a blob, if it has one.
    pub(crate) async fn tombstone(
        &self,
        digest: &Digest,
    ) -> Result<Option<Tombstone>, StorageError> {
        match self.storage.read(&Key::Tombstone(digest.clone())).await {
            Ok(text) => Ok(Some(Tombstone::parse(&text))),
            Err(StorageError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes the tombstone of a blob.
    pub(crate) async fn write_tombstone(
        &self,
        digest: &Digest,
        state: TombstoneState,
        writer: u128,
    ) -> Result<(), StorageError> {
        let tombstone = Tombstone { state, writer };
        self.storage.write(&Key::Tombstone(digest.clone()), tombstone.to_string().into()).await
    }
}

#[cfg(test)]
mod tests {
    use super::{Tombstone, TombstoneState};

    #[test]
    fn tombstones_parse_from_what_they_print() {
        for (state, _) in TombstoneState::ALL {
            let tombstone = Tombstone { state, writer: 0xab };
            assert_eq!(Tombstone::parse(tombstone.to_string().as_bytes()), tombstone);
        }
        for damaged in ["", "gone 1", "removing", "removing x"] {
            assert_eq!(Tombstone::parse(damaged.as_bytes()).state, TombstoneState::Condemned);
        }
    }
}
