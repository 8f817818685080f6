//! The stage `blobs`: what is to be done about each blob.

use super::decisions::{Action, Case, Decision, Objects, Verb};
use super::live::{Live, seal, unseal};
use super::run::{PAGE, Run};
use super::state::{Act, Stage};
use crate::store::Store;
use futures::future::try_join_all;
use roadstead_oci::{Algorithm, Digest};
use roadstead_storage::condemned::Tombstone;
use roadstead_storage::{Collection, Cursor, Key, Pages, Record, Shard, Storage, StorageError};
use std::collections::HashMap;
use std::fmt::Write as _;

/// How many blobs one part of what is to be done is about.
///
/// Limit: blobs that a collector deals with at a time; test: none, more are dealt with in steps.
const PART: usize = 20_000;

/// How many objects are listed to find those of one blob: all, and what follows.
///
/// Limit: objects that are listed to find those of one blob; test: none, more are listed in steps.
const OF_ONE_BLOB: usize = 4;

/// How many tombstones are read at a time.
///
/// Limit: tombstones that a collector reads at a time; test: none, more are read in steps.
const READ_AT_ONCE: usize = 16;

/// What is remembered of a blob.
enum Found {
    /// It is a candidate since this time.
    Sighted(u64),
    Action(Action),
}

impl<S: Storage> Store<S> {
    /// The objects of one blob.
    pub(crate) async fn blob_objects(&self, digest: &Digest) -> Result<Objects, StorageError> {
        let hex = digest.encoded();
        let directory =
            format!("{}/{}/{hex}", digest.algorithm(), hex.get(..2).unwrap_or_default());
        let mut pages = Pages::new(&Collection::Blobs, Some(Cursor(directory)), OF_ONE_BLOB);
        let mut objects = Objects::default();
        while let Some(entries) = pages.next(&self.storage).await? {
            for entry in &entries {
                match &entry.key {
                    Key::Blob(found) | Key::Tombstone(found) | Key::Need(found)
                        if found == digest =>
                    {
                        objects.add(entry);
                    }
                    _ => return Ok(objects),
                }
            }
            // It is the last of them.
            if objects.data.is_some() {
                break;
            }
        }
        Ok(objects)
    }
}

impl<S: Storage> Run<'_, S> {
    /// Decides about the blobs of a shard.
    pub(super) async fn blobs(&mut self, shard: u8) -> Result<(), StorageError> {
        let Some(current) = Shard::all().nth(usize::from(shard)) else {
            let tidies = self.state.marked.is_some() && self.order.undo.is_none();
            if tidies && self.state.actions == 0 {
                // What was moved is looked at even if nothing else is to be done.
                self.state.actions = 1;
                let key = Key::Record(Record::Actions(self.id, 0));
                self.store.storage.write(&key, seal(String::new()).into()).await?;
            }
            let first = Stage::Act(Act::new(0));
            let acts = self.state.actions > 0 && !self.order.dry_run;
            self.state.stage = if acts { first } else { Stage::End };
            return Ok(());
        };
        let live = self.live(current).await?;
        let former = self.sighted(current).await?;
        let mut sighted: Vec<(Digest, u64)> = Vec::new();
        let mut actions: Vec<Action> = Vec::new();
        for algorithm in Algorithm::ALL {
            let from = Cursor(format!("{algorithm}/{current}"));
            let mut pages = Pages::new(&Collection::Blobs, Some(from), PAGE);
            // The last blob of a page may go on with the next one.
            let mut blobs: Vec<(Digest, Objects)> = Vec::new();
            let mut ended = false;
            while !ended {
                self.alive().await?;
                let entries = self.next(&mut pages).await?;
                ended = entries.is_none();
                for entry in entries.iter().flatten() {
                    let (Key::Blob(digest) | Key::Tombstone(digest) | Key::Need(digest)) =
                        &entry.key
                    else {
                        continue;
                    };
                    let shard = Shard::of(digest.encoded());
                    if digest.algorithm() != algorithm || shard != Some(current) {
                        ended = true;
                        break;
                    }
                    if blobs.last().is_none_or(|(last, _)| last != digest) {
                        blobs.push((digest.clone(), Objects::default()));
                    }
                    if let Some((_, objects)) = blobs.last_mut() {
                        objects.add(entry);
                    }
                }
                let last = if ended { None } else { blobs.pop() };
                self.decide_all(&blobs, &live, &former, &mut sighted, &mut actions).await?;
                blobs.clear();
                blobs.extend(last);
            }
        }
        let remembers = !self.order.dry_run && self.order.undo.is_none();
        if remembers && !(former.is_empty() && sighted.is_empty()) {
            self.write_sighted(current, &sighted).await?;
        }
        if !self.order.dry_run {
            self.add_actions(&actions).await?;
        }
        self.state.stage = Stage::Blobs { shard: shard + 1 };
        Ok(())
    }

    async fn decide_all(
        &mut self,
        blobs: &[(Digest, Objects)],
        live: &Live,
        former: &HashMap<Digest, u64>,
        sighted: &mut Vec<(Digest, u64)>,
        actions: &mut Vec<Action>,
    ) -> Result<(), StorageError> {
        let mut rest = blobs;
        while !rest.is_empty() {
            self.alive().await?;
            let (chunk, later) = rest.split_at(rest.len().min(self.at_once(READ_AT_ONCE, 1)));
            rest = later;
            let store = self.store;
            let states = chunk.iter().map(|(digest, objects)| async move {
                match objects.tombstone {
                    Some(_) => store.tombstone(digest).await,
                    None => Ok(None),
                }
            });
            let states = try_join_all(states).await?;
            for ((digest, objects), tombstone) in chunk.iter().zip(states) {
                let case = self.case(digest, *objects, tombstone, live, former.get(digest));
                match self.decide(digest, &case).await? {
                    Some(Found::Sighted(since)) => sighted.push((digest.clone(), since)),
                    Some(Found::Action(action)) => actions.push(action),
                    None => {}
                }
            }
        }
        Ok(())
    }

    fn case(
        &mut self,
        digest: &Digest,
        objects: Objects,
        tombstone: Option<Tombstone>,
        live: &Live,
        sighted: Option<&u64>,
    ) -> Case {
        self.spent += u32::from(objects.tombstone.is_some());
        // Who found no marker a while ago does not look for tombstones.
        let marked = self.state.marked.is_some_and(|age| age >= self.order.keep.as_secs());
        let held = self.state.untagged.holds_all || live.is_held(digest);
        Case {
            objects,
            tombstone,
            undo: self.order.undo,
            live: live.contains(digest),
            sighted: sighted.copied(),
            begun: self.begun,
            grace: self.order.grace,
            keep: self.order.keep,
            exclusive: self.order.exclusive,
            removes: self.order.exclusive || (marked && !held && !self.state.foreign),
        }
    }

    async fn decide(
        &mut self,
        digest: &Digest,
        case: &Case,
    ) -> Result<Option<Found>, StorageError> {
        let objects = case.objects;
        let size = objects.data.map_or(0, |(size, _)| size);
        let report = &mut self.state.report;
        if objects.data.is_some() {
            report.blobs += 1;
            report.bytes += size;
        }
        let verb = match case.decide() {
            Decision::Nothing => return Ok(None),
            Decision::ForgetNeed => {
                if !self.order.dry_run {
                    self.spent += 1;
                    self.store.storage.delete(&Key::Need(digest.clone())).await?;
                }
                return Ok(None);
            }
            Decision::Sighted(since) => {
                report.sighted += 1;
                report.sighted_bytes += size;
                return Ok(Some(Found::Sighted(since)));
            }
            Decision::Keep => {
                report.kept += 1;
                report.kept_bytes += size;
                return Ok(None);
            }
            Decision::Act(verb) => verb,
        };
        if self.order.dry_run {
            self.count(verb, size);
        }
        let (digest, tombstone) = (digest.clone(), objects.tombstone);
        Ok(Some(Found::Action(Action { verb, digest, size, tombstone })))
    }

    /// Counts what is done, or what would be.
    pub(super) fn count(&mut self, verb: Verb, size: u64) {
        let report = &mut self.state.report;
        match verb {
            Verb::Condemn if self.order.exclusive => {
                report.removed += 1;
                report.removed_bytes += size;
            }
            Verb::Condemn => {
                report.condemned += 1;
                report.condemned_bytes += size;
            }
            Verb::Remove => {
                report.removed += 1;
                report.removed_bytes += size;
            }
            Verb::GiveBack => report.given_back += 1,
            Verb::Forget => {}
        }
    }

    pub(super) async fn sighted(
        &mut self,
        shard: Shard,
    ) -> Result<HashMap<Digest, u64>, StorageError> {
        let read = self.store.storage.read(&Key::Record(Record::Sighted(shard))).await;
        self.spend(1, read.as_ref().map_or(0, |text| text.len() as u64));
        let text = match read {
            Err(StorageError::NotFound) => return Ok(HashMap::new()),
            other => other?,
        };
        // One that is damaged is sighted anew.
        let text = String::from_utf8_lossy(&text);
        let lines = text.lines().filter_map(|line| {
            let (digest, since) = line.split_once(' ')?;
            Some((Digest::parse(digest).ok()?, since.parse().ok()?))
        });
        Ok(lines.collect())
    }

    async fn write_sighted(
        &mut self,
        shard: Shard,
        sighted: &[(Digest, u64)],
    ) -> Result<(), StorageError> {
        let key = Key::Record(Record::Sighted(shard));
        let mut text = String::new();
        for (digest, since) in sighted {
            // What there is no room for is sighted by a later run.
            if text.len() + 256 > key.value_limit() {
                break;
            }
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{digest} {since}");
        }
        self.spend(1, text.len() as u64);
        self.store.storage.write(&key, text.into()).await
    }

    /// Stores what is to be done, in parts.
    async fn add_actions(&mut self, actions: &[Action]) -> Result<(), StorageError> {
        let mut rest = actions;
        while !rest.is_empty() {
            let mut text = String::new();
            if self.state.actions > 0 && self.state.in_last < PART {
                let last = Record::Actions(self.id, self.state.actions - 1);
                let key = Key::Record(last.clone());
                let former = self.record(last).await?;
                // What a slice that died has added is added again.
                for line in unseal(&former, &key)?.take(self.state.in_last) {
                    // Writing to a String cannot fail.
                    let _ = writeln!(text, "{line}");
                }
            } else {
                self.state.actions += 1;
                self.state.in_last = 0;
            }
            let (now, later) = rest.split_at(rest.len().min(PART - self.state.in_last));
            for action in now {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "{action}");
            }
            self.state.in_last += now.len();
            rest = later;
            let key = Key::Record(Record::Actions(self.id, self.state.actions - 1));
            let text = seal(text);
            self.spend(1, text.len() as u64);
            self.store.storage.write(&key, text.into()).await?;
        }
        Ok(())
    }
}
