//! What is to be done about one blob.

use super::live::{damaged, unseal};
use super::run::seconds;
use roadstead_oci::Digest;
use roadstead_storage::condemned::{Tombstone, TombstoneState};
use roadstead_storage::{Entry, Key, StorageError};
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The objects of one blob.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Objects {
    /// Its size, and when it was written.
    pub(crate) data: Option<(u64, SystemTime)>,
    pub(crate) tombstone: Option<SystemTime>,
    pub(crate) need: Option<SystemTime>,
}

impl Objects {
    pub(super) fn add(&mut self, entry: &Entry) {
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
    /// To delete its tombstone, as the data is gone.
    Forget,
}

impl Verb {
    const ALL: [Self; 4] = [Self::Condemn, Self::GiveBack, Self::Remove, Self::Forget];

    fn as_str(self) -> &'static str {
        match self {
            Self::Condemn => "condemn",
            Self::GiveBack => "give-back",
            Self::Remove => "remove",
            Self::Forget => "forget",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
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
    /// Parses a record of actions, each when it is asked for: there are many, and a
    /// slice carries out few.
    pub(super) fn parse_all(
        text: &[u8],
        key: &Key,
        from: usize,
    ) -> Result<impl Iterator<Item = Result<Self, StorageError>>, StorageError> {
        let lines = unseal(text, key)?.skip(from);
        Ok(lines.map(|line| Self::parse(line).ok_or_else(|| damaged(key))))
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let verb = words.next()?;
        let verb = Verb::ALL.into_iter().find(|known| known.as_str() == verb)?;
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
pub(super) struct Case {
    pub(super) objects: Objects,
    /// What its tombstone says, which was read after the list.
    pub(super) tombstone: Option<Tombstone>,
    /// The run that is undone: nothing else is done then.
    pub(super) undo: Option<u128>,
    pub(super) live: bool,
    /// Since when it has been a candidate, in seconds since 1970.
    pub(super) sighted: Option<u64>,
    pub(super) begun: SystemTime,
    pub(super) grace: Duration,
    pub(super) keep: Duration,
    /// Whether nothing is waited for.
    pub(super) exclusive: bool,
    /// Whether anything may be removed.
    pub(super) removes: bool,
}

/// What is decided about a blob.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Decision {
    /// It is needed, or young.
    Nothing,
    /// The need is left over.
    ForgetNeed,
    /// It is a candidate since this time.
    Sighted(u64),
    Act(Verb),
    /// It stays condemned.
    Keep,
}

impl Case {
    /// How old something was when the run began.
    fn is_older(&self, time: SystemTime, than: Duration) -> bool {
        self.exclusive || self.begun.duration_since(time).is_ok_and(|age| age >= than)
    }

    pub(super) fn decide(&self) -> Decision {
        let Some(run) = self.undo else { return self.decide_by_need() };
        let has_data = self.objects.data.is_some();
        match self.tombstone {
            Some(tombstone) if has_data && tombstone.run == run => Decision::Act(Verb::GiveBack),
            Some(tombstone) if tombstone.state != TombstoneState::Suspect => Decision::Keep,
            _ => Decision::Nothing,
        }
    }

    fn decide_by_need(&self) -> Decision {
        let Objects { data, tombstone, need } = self.objects;
        let leftover = need.is_some_and(|need| self.is_older(need, 2 * self.grace));
        let settled = if leftover { Decision::ForgetNeed } else { Decision::Nothing };
        let Some((_, written)) = data else {
            return match tombstone {
                Some(time) if self.is_older(time, 2 * self.grace) => Decision::Act(Verb::Forget),
                Some(_) => Decision::Keep,
                None => settled,
            };
        };
        let young = !self.is_older(written, self.grace);
        // Data that is damaged keeps its links, so that its tombstone says nothing here
        // until whoever wrote it has surely forgotten it.
        let state = self.tombstone.map(|tombstone| tombstone.state);
        let suspect = tombstone
            .filter(|_| state == Some(TombstoneState::Suspect))
            .is_some_and(|time| !self.is_older(time, self.keep));
        let tombstone = tombstone.filter(|_| !suspect);
        // Where nobody else is, nobody needs what no manifest refers to.
        if self.live || young || (need.is_some() && !self.exclusive) {
            return if tombstone.is_some() { Decision::Act(Verb::GiveBack) } else { settled };
        }
        // Also what is condemned: its links may be back.
        if self.exclusive {
            return Decision::Act(Verb::Condemn);
        }
        let Some((time, state)) = tombstone.zip(state) else {
            let begun = seconds(self.begun);
            let since = self.sighted.unwrap_or(begun).min(begun);
            let seen =
                self.sighted.is_some() && begun.saturating_sub(since) >= self.grace.as_secs();
            // Another tombstone would let uploads go on beside a scrub.
            return if seen && !suspect {
                Decision::Act(Verb::Condemn)
            } else {
                Decision::Sighted(since)
            };
        };
        let (then, after) = match state {
            TombstoneState::Condemned | TombstoneState::Suspect => (Verb::Condemn, Duration::ZERO),
            TombstoneState::Unlinked => (Verb::Remove, self.keep),
            TombstoneState::Removing => (Verb::Remove, 2 * self.grace),
        };
        let now = self.is_older(time, after) && (self.removes || then != Verb::Remove);
        if now { Decision::Act(then) } else { Decision::Keep }
    }
}

#[cfg(test)]
mod tests {
    use super::{Case, Decision, Objects, Verb};
    use roadstead_storage::condemned::Tombstone;
    use roadstead_storage::condemned::TombstoneState::{
        self, Condemned, Removing, Suspect, Unlinked,
    };
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
            tombstone: row.tombstone.map(|(_, state)| Tombstone { state, slice: 7, run: 8 }),
            undo: None,
            live: row.live,
            sighted: row.sighted.map(|age| NOW - age),
            begun: at(0),
            grace: GRACE,
            keep: KEEP,
            exclusive: false,
            removes: true,
        }
    }

    #[test]
    fn what_is_decided_about_a_blob() {
        use Decision::{Act, ForgetNeed, Keep, Nothing, Sighted};
        use Verb::{Condemn, Forget, GiveBack, Remove};
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
            (row(old, Some((699, Unlinked))), Keep),
            (row(old, Some((700, Unlinked))), Act(Remove)),
            (live(row(old, Some((700, Unlinked)))), Act(GiveBack)),
            (need(5, row(old, Some((700, Unlinked)))), Act(GiveBack)),
            (need(5000, row(old, Some((700, Unlinked)))), Act(GiveBack)),
            (row(Some(99), Some((700, Unlinked))), Act(GiveBack)),
            (row(old, Some((199, Removing))), Keep),
            (row(old, Some((200, Removing))), Act(Remove)),
            (need(5, row(old, Some((0, Removing)))), Act(GiveBack)),
            // Its data is damaged.
            (live(row(old, Some((699, Suspect)))), Nothing),
            (live(row(old, Some((700, Suspect)))), Act(GiveBack)),
            (row(old, Some((10, Suspect))), Sighted(NOW)),
            (sighted(100, row(old, Some((699, Suspect)))), Sighted(NOW - 100)),
            (sighted(100, row(old, Some((700, Suspect)))), Act(Condemn)),
            (row(None, Some((10, Suspect))), Keep),
            // The data is gone, and the tombstone not yet.
            (row(None, Some((199, Removing))), Keep),
            (row(None, Some((200, Removing))), Act(Forget)),
            (live(row(None, Some((200, Removing)))), Act(Forget)),
            (row(None, None), Nothing),
            (need(199, row(None, None)), Nothing),
            (need(200, row(None, None)), ForgetNeed),
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(case(&row).decide(), expected, "row {number}");
        }
        // A run is undone, and nothing else done.
        for (undo, row, expected) in [
            (8, row(old, Some((700, Unlinked))), Act(GiveBack)),
            (8, row(old, Some((0, Condemned))), Act(GiveBack)),
            (8, row(old, Some((200, Removing))), Act(GiveBack)),
            (8, row(None, Some((200, Removing))), Keep),
            (7, row(old, Some((700, Unlinked))), Keep),
            (8, sighted(100, row(old, None)), Nothing),
            (8, need(200, row(old, None)), Nothing),
        ] {
            assert_eq!(Case { undo: Some(undo), ..case(&row) }.decide(), expected, "{undo}");
        }
        let old = row(old, Some((5000, Unlinked)));
        assert_eq!(Case { removes: false, ..case(&old) }.decide(), Keep);
        let young = row(Some(1), None);
        assert_eq!(Case { exclusive: true, ..case(&young) }.decide(), Act(Condemn));
        assert_eq!(Case { exclusive: true, ..case(&old) }.decide(), Act(Condemn));
    }
}
