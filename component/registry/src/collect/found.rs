//! What a count for a quota has found.

use std::collections::HashMap;

/// The blobs that were found so far, by their hashes.
pub(super) struct Found {
    /// Their sizes, and whether they count. For the others, the size is what was known before.
    blobs: HashMap<u128, (u64, bool)>,
    pub(super) counted: usize,
    limit: usize,
    pub(super) is_full: bool,
}

impl Found {
    pub(super) fn new(limit: usize) -> Self {
        Self { blobs: HashMap::new(), counted: 0, limit, is_full: false }
    }

    /// Remembers a size for when the blob is found.
    pub(super) fn know(&mut self, blob: u128, size: u64) {
        if self.blobs.len() < 2 * self.limit {
            self.blobs.entry(blob).or_insert((size, false));
        }
    }

    /// Counts a blob, if its size is known or given: `false` if it has to be looked up.
    pub(super) fn count(&mut self, blob: u128, size: Option<u64>) -> bool {
        let known = self.blobs.get(&blob).copied();
        if known.is_some_and(|(_, counts)| counts) {
            return true;
        }
        if self.counted >= self.limit {
            self.is_full = true;
            return true;
        }
        let Some(size) = known.map(|(size, _)| size).or(size) else { return false };
        self.blobs.insert(blob, (size, true));
        self.counted += 1;
        true
    }

    pub(super) fn counts(&self, blob: u128) -> bool {
        self.blobs.get(&blob).is_some_and(|(_, counts)| *counts)
    }

    /// Those that count, with their sizes.
    pub(super) fn all(&self) -> impl Iterator<Item = (u128, u64)> {
        let counted = self.blobs.iter().filter(|(_, (_, counts))| *counts);
        counted.map(|(blob, (size, _))| (*blob, *size))
    }
}
