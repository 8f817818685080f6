//! The second stage: what is to be done about each blob.

use super::live::Live;
use super::run::{PAGE, Run, seconds};
use super::state::{Stage, Step};
use crate::store::Store;
use bytes::Bytes;
use futures::future::try_join_all;
use roadstead_oci::{Algorithm, Digest};
use roadstead_storage::condemned::{Tombstone, TombstoneState};
use roadstead_storage::{
    Collection, Cursor, Entry, Key, Listing, Record, Shard, Storage, StorageError,
};
use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How many blobs one part of what is to be done is about.
///
/// Limit: blobs that a collector deals with at a time; test: none, more are dealt with in steps.
const PART: usize = 20_000;

/// How many tombstones are read at a time.
///
/// Limit: tombstones that a collector reads at a time; test: none, more are read in steps.
const READ_AT_ONCE: usize = 16;

/// The objects of one blob.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Objects {
    /// Its size, and when it was written.
    pub(super) data: Option<(u64, SystemTime)>,
    pub(super) tombstone: Option<SystemTime>,
    pub(super) need: Option<SystemTime>,
}

impl Objects {
    fn add(&mut self, entry: &Entry) {
        match entry.key {
            Key::Blob(_) => self.data = Some((entry.size, entry.modified)),
            Key::Tombstone(_) => self.tombstone = Some(entry.modified),
            Key::Need(_) => self.need = Some(entry.modified),
            _ => {}
        }
    }
}

/// What is to be done about a blob.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verb {
    /// To move its links.
    Condemn,
    /// To give its links back.
    GiveBack,
    /// To remove it, if nothing links to it.
    Remove,
    /// To leave it condemned.
    Keep,
}

impl Verb {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Condemn, "condemn"),
        (Self::GiveBack, "give-back"),
        (Self::Remove, "remove"),
        (Self::Keep, "keep"),
    ];
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.into_iter().find(|(verb, _)| verb == self);
        f.write_str(name.map_or("", |(_, name)| name))
    }
}

/// Something to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Action {
    pub(super) verb: Verb,
    pub(super) digest: Digest,
    pub(super) size: u64,
    /// When its tombstone was written, where it has one.
    pub(super) tombstone: Option<SystemTime>,
}

impl Action {
    pub(super) fn parse_all(text: &[u8]) -> Option<Vec<Self>> {
        std::str::from_utf8(text).ok()?.lines().map(Self::parse).collect()
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let verb = words.next()?;
        let verb = Verb::ALL.into_iter().find(|(_, name)| *name == verb)?.0;
        let digest = Digest::parse(words.next()?).ok()?;
        let size = words.next()?.parse().ok()?;
        let tombstone = match words.next()? {
            "-" => None,
            nanoseconds => {
                let nanoseconds: u64 = nanoseconds.parse().ok()?;
                Some(UNIX_EPOCH + Duration::from_nanos(nanoseconds))
            }
        };
        Some(Self { verb, digest, size, tombstone })
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} ", self.verb, self.digest, self.size)?;
        match self.tombstone {
            Some(time) => {
                write!(f, "{}", time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos())
            }
            None => f.write_str("-"),
        }
    }
}

/// What is known of a blob when it is decided what to do about it.
#[derive(Clone, Copy, Debug)]
struct Case {
    objects: Objects,
    /// What its tombstone says, which was read after the list.
    state: Option<TombstoneState>,
    live: bool,
    /// Since when it has been a candidate, in seconds since 1970.
    sighted: Option<u64>,
    begun: SystemTime,
    grace: Duration,
    keep: Duration,
    /// Whether nothing is waited for.
    alone: bool,
    /// Whether anything may be removed.
    removes: bool,
}

/// What is decided about a blob.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Decision {
    /// It is needed, or young.
    Nothing,
    /// The need is left over.
    ForgetNeed,
    /// It is a candidate since this time.
    Sighted(u64),
    Act(Verb),
}

/// What is remembered of a blob.
enum Found {
    /// It is a candidate since this time.
    Sighted(u64),
    Action(Action),
}

impl Case {
    /// How old something was when the run began.
    fn is_older(&self, time: SystemTime, than: Duration) -> bool {
        self.alone || self.begun.duration_since(time).is_ok_and(|age| age >= than)
    }

    fn decide(&self) -> Decision {
        let Objects { data, tombstone, need } = self.objects;
        let leftover = need.is_some_and(|need| self.is_older(need, 2 * self.grace));
        let settled = if leftover { Decision::ForgetNeed } else { Decision::Nothing };
        let Some((_, written)) = data else {
            return match tombstone {
                Some(time) if self.is_older(time, 2 * self.grace) => Decision::Act(Verb::Remove),
                Some(_) => Decision::Act(Verb::Keep),
                None => settled,
            };
        };
        let young = !self.is_older(written, self.grace);
        // Alone, nobody needs what no manifest refers to.
        if self.live || young || (need.is_some() && !self.alone) {
            return if tombstone.is_some() { Decision::Act(Verb::GiveBack) } else { settled };
        }
        let Some((time, state)) = tombstone.zip(self.state) else {
            let begun = seconds(self.begun);
            let since = self.sighted.unwrap_or(begun);
            let seen =
                self.sighted.is_some() && begun.saturating_sub(since) >= self.grace.as_secs();
            return if self.alone || seen {
                Decision::Act(Verb::Condemn)
            } else {
                Decision::Sighted(since)
            };
        };
        let (then, after) = match state {
            TombstoneState::Condemned => (Verb::Condemn, Duration::ZERO),
            TombstoneState::Unlinked => (Verb::Remove, self.keep),
            TombstoneState::Removing => (Verb::Remove, 2 * self.grace),
        };
        let now = self.is_older(time, after) && (self.removes || then != Verb::Remove);
        Decision::Act(if now { then } else { Verb::Keep })
    }
}

impl<S: Storage> Store<S> {
    /// The objects of one blob.
    pub(super) async fn blob_objects(&self, digest: &Digest) -> Result<Objects, StorageError> {
        let hex = digest.encoded();
        let directory =
            format!("{}/{}/{hex}", digest.algorithm(), hex.get(..2).unwrap_or_default());
        let mut after = Cursor(directory);
        let mut objects = Objects::default();
        loop {
            let listing = self.storage.enumerate(&Collection::Blobs, Some(&after), 4).await?;
            for entry in &listing.entries {
                match &entry.key {
                    Key::Blob(found) | Key::Tombstone(found) | Key::Need(found)
                        if found == digest =>
                    {
                        objects.add(entry);
                    }
                    _ => return Ok(objects),
                }
            }
            match listing.next {
                Some(next) if objects.data.is_none() => after = next,
                _ => return Ok(objects),
            }
        }
    }
}

impl<S: Storage> Run<'_, S> {
    /// Decides about the blobs of a shard.
    pub(super) async fn blobs(&mut self, shard: u8) -> Result<(), StorageError> {
        let Some(current) = Shard::all().nth(usize::from(shard)) else {
            if self.state.marked && self.state.actions == 0 {
                // What was moved is looked at even if nothing else is to be done.
                self.state.actions = 1;
                let key = Key::Record(Record::Actions(self.id, 0));
                self.store.storage.write(&key, Bytes::new()).await?;
            }
            let first = Stage::Act { part: 0, step: Step::first() };
            let acts = self.state.actions > 0 && !self.order.dry_run;
            self.state.stage = if acts { first } else { Stage::End };
            return Ok(());
        };
        let live = self.live(current).await?;
        let former = self.sighted(current).await?;
        let mut sighted: Vec<(Digest, u64)> = Vec::new();
        let mut actions: Vec<Action> = Vec::new();
        for algorithm in Algorithm::ALL {
            let mut after = Cursor(format!("{algorithm}/{current}"));
            // The last blob of a page may go on with the next one.
            let mut blobs: Vec<(Digest, Objects)> = Vec::new();
            loop {
                self.spent += 1;
                let Listing { entries, next } =
                    self.store.storage.enumerate(&Collection::Blobs, Some(&after), PAGE).await?;
                let mut ended = next.is_none();
                for entry in &entries {
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
                match next {
                    Some(next) if !ended => after = next,
                    _ => break,
                }
            }
        }
        if !(self.order.dry_run || former.is_empty() && sighted.is_empty()) {
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
        for chunk in blobs.chunks(READ_AT_ONCE) {
            let store = self.store;
            let states = chunk.iter().map(|(digest, objects)| async move {
                match objects.tombstone {
                    Some(_) => store.tombstone(digest).await,
                    None => Ok(None),
                }
            });
            let states = try_join_all(states).await?;
            for ((digest, objects), tombstone) in chunk.iter().zip(states) {
                let case =
                    self.case(*objects, tombstone, live.contains(digest), former.get(digest));
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
        objects: Objects,
        tombstone: Option<Tombstone>,
        live: bool,
        sighted: Option<&u64>,
    ) -> Case {
        self.spent += u32::from(objects.tombstone.is_some());
        Case {
            objects,
            state: tombstone.map(|tombstone| tombstone.state),
            live,
            sighted: sighted.copied(),
            begun: self.begun,
            grace: self.order.grace,
            keep: self.order.keep,
            alone: self.order.alone,
            removes: self.order.alone || !self.state.foreign,
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
            Decision::Act(verb) => verb,
        };
        if self.order.dry_run {
            self.count(verb, size);
        }
        if verb == Verb::Keep {
            self.state.report.kept += 1;
            self.state.report.kept_bytes += size;
        }
        self.state.condemned = true;
        let (digest, tombstone) = (digest.clone(), objects.tombstone);
        Ok(Some(Found::Action(Action { verb, digest, size, tombstone })))
    }

    /// Counts what is done, or what would be.
    pub(super) fn count(&mut self, verb: Verb, size: u64) {
        let report = &mut self.state.report;
        match verb {
            Verb::Condemn if self.order.alone => {
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
            Verb::Keep => {}
        }
    }

    pub(super) async fn tombstone_state(
        &mut self,
        digest: &Digest,
    ) -> Result<Option<TombstoneState>, StorageError> {
        self.spent += 1;
        Ok(self.store.tombstone(digest).await?.map(|tombstone| tombstone.state))
    }

    async fn sighted(&mut self, shard: Shard) -> Result<HashMap<Digest, u64>, StorageError> {
        self.spent += 1;
        let text = match self.store.storage.read(&Key::Record(Record::Sighted(shard))).await {
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
        self.spent += 1;
        self.store.storage.write(&key, text.into()).await
    }

    /// Stores what is to be done, in parts.
    async fn add_actions(&mut self, actions: &[Action]) -> Result<(), StorageError> {
        let mut rest = actions;
        while !rest.is_empty() {
            let mut text = String::new();
            if self.state.actions > 0 && self.state.in_last < PART {
                let last = Record::Actions(self.id, self.state.actions - 1);
                text = String::from_utf8_lossy(&self.record(last).await?).into_owned();
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
            self.spent += 1;
            self.store.storage.write(&key, text.into()).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Case, Decision, Objects, Verb};
    use roadstead_storage::condemned::TombstoneState::{self, Condemned, Removing, Unlinked};
    use std::time::{Duration, SystemTime};

    const GRACE: Duration = Duration::from_secs(100);
    const KEEP: Duration = Duration::from_secs(700);
    const NOW: u64 = 1_000_000;

    /// Ages in seconds; `sighted` is one too.
    struct Row {
        data: Option<u64>,
        tombstone: Option<(u64, TombstoneState)>,
        need: Option<u64>,
        live: bool,
        sighted: Option<u64>,
    }

    fn row(data: Option<u64>, tombstone: Option<(u64, TombstoneState)>) -> Row {
        Row { data, tombstone, need: None, live: false, sighted: None }
    }

    fn case(row: &Row) -> Case {
        let at = |age: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(NOW - age);
        Case {
            objects: Objects {
                data: row.data.map(|age| (1, at(age))),
                tombstone: row.tombstone.map(|(age, _)| at(age)),
                need: row.need.map(at),
            },
            state: row.tombstone.map(|(_, state)| state),
            live: row.live,
            sighted: row.sighted.map(|age| NOW - age),
            begun: at(0),
            grace: GRACE,
            keep: KEEP,
            alone: false,
            removes: true,
        }
    }

    #[test]
    fn what_is_decided_about_a_blob() {
        use Decision::{Act, ForgetNeed, Nothing, Sighted};
        use Verb::{Condemn, GiveBack, Keep, Remove};
        let old = Some(5000);
        let live = |row: Row| Row { live: true, ..row };
        let need = |age, row: Row| Row { need: Some(age), ..row };
        let sighted = |age, row: Row| Row { sighted: Some(age), ..row };
        for (number, (row, expected)) in [
            (live(row(old, None)), Nothing),
            (row(Some(99), None), Nothing),
            (row(old, None), Sighted(NOW)),
            (sighted(99, row(old, None)), Sighted(NOW - 99)),
            (sighted(100, row(old, None)), Act(Condemn)),
            (sighted(100, live(row(old, None))), Nothing),
            (need(10, row(old, None)), Nothing),
            (need(200, row(old, None)), ForgetNeed),
            // A run died while it moved links.
            (row(old, Some((0, Condemned))), Act(Condemn)),
            (row(old, Some((699, Unlinked))), Act(Keep)),
            (row(old, Some((700, Unlinked))), Act(Remove)),
            (live(row(old, Some((700, Unlinked)))), Act(GiveBack)),
            (need(5, row(old, Some((700, Unlinked)))), Act(GiveBack)),
            (need(5000, row(old, Some((700, Unlinked)))), Act(GiveBack)),
            (row(Some(99), Some((700, Unlinked))), Act(GiveBack)),
            (row(old, Some((199, Removing))), Act(Keep)),
            (row(old, Some((200, Removing))), Act(Remove)),
            (need(5, row(old, Some((0, Removing)))), Act(GiveBack)),
            // The data is gone, and the tombstone not yet.
            (row(None, Some((199, Removing))), Act(Keep)),
            (row(None, Some((200, Removing))), Act(Remove)),
            (live(row(None, Some((200, Removing)))), Act(Remove)),
            (row(None, None), Nothing),
            (need(199, row(None, None)), Nothing),
            (need(200, row(None, None)), ForgetNeed),
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(case(&row).decide(), expected, "row {number}");
        }
        let old = row(old, Some((5000, Unlinked)));
        assert_eq!(Case { removes: false, ..case(&old) }.decide(), Act(Keep));
        let young = row(Some(1), None);
        assert_eq!(Case { alone: true, ..case(&young) }.decide(), Act(Condemn));
    }
}
