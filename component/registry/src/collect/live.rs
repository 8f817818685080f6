//! What a run has found to be live: texts in parts, as many as memory holds at a
//! time, by the first digit of their digests.

use super::run::Run;
use roadstead_oci::Digest;
use roadstead_storage::{Key, Record, Shard, Storage, StorageError};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Write as _;

/// How many digests are collected before they are stored.
///
/// Limit: digests of a run that are held until they are stored; test: `what_is_live_is_kept_in_parts`.
const HELD: usize = 32_768;

/// What is known of a digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Fact {
    /// A manifest refers to it.
    Referred,
    /// It is a manifest to which an index refers.
    Child,
    /// It is a manifest whose references have been read.
    Read,
}

impl Fact {
    const ALL: [(Self, char); 3] = [(Self::Referred, 'r'), (Self::Child, 'c'), (Self::Read, 'm')];

    fn letter(self) -> char {
        Self::ALL.into_iter().find(|(fact, _)| *fact == self).map_or('r', |(_, letter)| letter)
    }
}

/// What a slice has found and not stored yet.
#[derive(Debug, Default)]
pub(super) struct Found {
    shards: HashMap<Shard, BTreeSet<(Digest, Fact)>>,
    count: usize,
}

impl Found {
    pub(super) fn add(&mut self, digest: &Digest, fact: Fact) {
        let Some(shard) = Shard::of(digest.encoded()) else { return };
        if self.shards.entry(shard).or_default().insert((digest.clone(), fact)) {
            self.count += 1;
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.count >= HELD
    }
}

/// All that is live of one shard.
#[derive(Debug, Default)]
pub(super) struct Live(HashMap<Digest, HashSet<Fact>>);

impl Live {
    pub(super) fn contains(&self, digest: &Digest) -> bool {
        self.0.contains_key(digest)
    }

    /// The manifests that indexes refer to, and whose references have not been read.
    pub(super) fn unread(&self) -> Vec<Digest> {
        let unread =
            |facts: &HashSet<Fact>| facts.contains(&Fact::Child) && !facts.contains(&Fact::Read);
        let mut unread: Vec<Digest> =
            self.0.iter().filter(|(_, facts)| unread(facts)).map(|(d, _)| d.clone()).collect();
        unread.sort_unstable();
        unread
    }
}

impl<S: Storage> Run<'_, S> {
    /// Stores what this slice has found.
    pub(super) async fn store_found(&mut self) -> Result<(), StorageError> {
        let found = std::mem::take(&mut self.found);
        let mut shards: Vec<_> = found.shards.into_iter().collect();
        shards.sort_unstable_by_key(|(shard, _)| *shard);
        for (shard, digests) in shards {
            let mut text = String::new();
            for (digest, fact) in digests {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "{} {digest}", fact.letter());
            }
            let part = self.state.parts.entry(shard.number()).or_default();
            let key = Key::Record(Record::Live(self.id, shard, *part));
            *part += 1;
            self.spent += 1;
            self.store.storage.write(&key, text.into()).await?;
        }
        Ok(())
    }

    /// All that was found of one shard.
    pub(super) async fn live(&mut self, shard: Shard) -> Result<Live, StorageError> {
        let mut live = Live::default();
        for part in 0..self.state.parts.get(&shard.number()).copied().unwrap_or_default() {
            self.spent += 1;
            let key = Key::Record(Record::Live(self.id, shard, part));
            let text = self.store.storage.read(&key).await;
            let text = text.map_err(|error| lost(error, "what is live"))?;
            for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                let (fact, digest) =
                    parse(line).ok_or_else(|| StorageError::Failed(format!("{key} is damaged")))?;
                live.0.entry(digest).or_default().insert(fact);
            }
        }
        Ok(live)
    }
}

fn parse(line: &[u8]) -> Option<(Fact, Digest)> {
    let (letter, digest) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    let fact = Fact::ALL.into_iter().find(|(_, known)| letter.chars().eq([*known]))?.0;
    Some((fact, Digest::parse(digest).ok()?))
}

/// A record of this run that is missing: nothing may be concluded from that.
pub(super) fn lost(error: StorageError, what: &str) -> StorageError {
    match error {
        StorageError::NotFound => StorageError::Failed(format!("the run has lost {what}")),
        error => error,
    }
}
