//! What a run has found to be live: texts in parts, as many as memory holds at a
//! time, by the first digit of their digests.

use super::run::Run;
use roadstead_oci::{Algorithm, Digest};
use roadstead_storage::{Key, Record, Shard, Storage, StorageError};
use std::collections::{BTreeSet, HashMap};
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
    /// A manifest that was deleted, and may be restored, refers to it: it is not removed.
    Held,
}

impl Fact {
    const ALL: [Self; 4] = [Self::Referred, Self::Child, Self::Read, Self::Held];

    fn bit(self) -> u8 {
        match self {
            Self::Referred => 1,
            Self::Child => 2,
            Self::Read => 4,
            Self::Held => 8,
        }
    }

    fn letter(self) -> char {
        match self {
            Self::Referred => 'r',
            Self::Child => 'c',
            Self::Read => 'm',
            Self::Held => 'h',
        }
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

/// What is known of one digest.
#[derive(Clone, Copy, Default, Debug)]
struct Facts(u8);

impl Facts {
    fn has(self, fact: Fact) -> bool {
        self.0 & fact.bit() != 0
    }
}

/// All that is live of one shard, by the bytes of its digests: there may be millions,
/// whose texts would take twice the memory.
#[derive(Debug, Default)]
pub(super) struct Live(HashMap<Box<[u8]>, Facts>);

impl Live {
    fn add(&mut self, digest: &Digest, fact: Fact) {
        self.0.entry(digest.to_bytes().into_boxed_slice()).or_default().0 |= fact.bit();
    }

    fn facts(&self, digest: &Digest) -> Facts {
        self.0.get(digest.to_bytes().as_slice()).copied().unwrap_or_default()
    }

    pub(super) fn contains(&self, digest: &Digest) -> bool {
        let facts = self.facts(digest);
        Fact::ALL.into_iter().any(|fact| fact != Fact::Held && facts.has(fact))
    }

    /// Whether it is not removed in this run.
    pub(super) fn is_held(&self, digest: &Digest) -> bool {
        self.facts(digest).has(Fact::Held)
    }

    /// The manifests that indexes refer to, and whose references have not been read.
    pub(super) fn unread(&self) -> Vec<Digest> {
        let unread =
            self.0.iter().filter(|(_, facts)| facts.has(Fact::Child) && !facts.has(Fact::Read));
        let mut unread: Vec<Digest> = unread.filter_map(|(bytes, _)| digest_of(bytes)).collect();
        unread.sort_unstable();
        unread
    }
}

/// The digest with these bytes: their number tells its algorithm.
fn digest_of(bytes: &[u8]) -> Option<Digest> {
    let mut digests = Algorithm::ALL.into_iter();
    digests.find_map(|algorithm| Digest::from_bytes(algorithm, bytes))
}

impl<S: Storage> Run<'_, S> {
    /// Stores what this slice has found.
    pub(super) async fn store_found(&mut self) -> Result<(), StorageError> {
        let found = std::mem::take(&mut self.found);
        let mut shards: Vec<_> = found.shards.into_iter().collect();
        shards.sort_unstable_by_key(|(shard, _)| *shard);
        for (shard, digests) in shards {
            let digests: Vec<_> = digests.into_iter().collect();
            for digests in digests.chunks(HELD) {
                let mut text = String::new();
                for (digest, fact) in digests {
                    // Writing to a String cannot fail.
                    let _ = writeln!(text, "{} {digest}", fact.letter());
                }
                let part = self.state.parts.entry(shard.number()).or_default();
                let key = Key::Record(Record::Live(self.id, shard, *part));
                *part += 1;
                let text = seal(text);
                self.spend(1, text.len() as u64);
                self.store.storage.write(&key, text.into()).await?;
            }
        }
        Ok(())
    }

    /// All that was found of one shard.
    pub(super) async fn live(&mut self, shard: Shard) -> Result<Live, StorageError> {
        let mut live = Live::default();
        for part in 0..self.state.parts.get(&shard.number()).copied().unwrap_or_default() {
            let key = Key::Record(Record::Live(self.id, shard, part));
            let text = self.store.storage.read(&key).await;
            let text = text.map_err(|error| lost(error, "what is live"))?;
            self.spend(1, text.len() as u64);
            for line in unseal(&text, &key)? {
                let (fact, digest) = parse(line).ok_or_else(|| damaged(&key))?;
                live.add(&digest, fact);
            }
        }
        Ok(live)
    }
}

/// Adds a line that says how many there are before it.
pub(super) fn seal(mut text: String) -> String {
    let lines = text.lines().count();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "end {lines}");
    text
}

/// The lines of a record: all of them, or an error.
pub(super) fn unseal<'a>(
    text: &'a [u8],
    key: &Key,
) -> Result<impl Iterator<Item = &'a str>, StorageError> {
    let text = std::str::from_utf8(text).map_err(|_| damaged(key))?;
    let lines = text.lines().count().saturating_sub(1);
    if text.lines().next_back() != Some(format!("end {lines}").as_str()) {
        return Err(damaged(key));
    }
    Ok(text.lines().take(lines))
}

/// A record that cannot be read: nothing may be concluded from what is left of it.
pub(super) fn damaged(key: &Key) -> StorageError {
    StorageError::Failed(format!("{key} is damaged"))
}

fn parse(line: &str) -> Option<(Fact, Digest)> {
    let (letter, digest) = line.split_once(' ')?;
    let fact = Fact::ALL.into_iter().find(|fact| letter.chars().eq([fact.letter()]))?;
    Some((fact, Digest::parse(digest).ok()?))
}

/// A record of this run that is missing: nothing may be concluded from that.
pub(super) fn lost(error: StorageError, what: &str) -> StorageError {
    match error {
        StorageError::NotFound => StorageError::Failed(format!("the run has lost {what}")),
        error => error,
    }
}
