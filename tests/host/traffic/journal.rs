//! A journal of concurrent changes, and what a registry may hold after them.
//!
//! A change takes effect at some time between its request and its response. One
//! without a response (the registry was stopped) may have taken effect, wholly or
//! in part, or not. So a value may be found if no acknowledged change that
//! overrides it was begun after the value's own change had ended.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Microseconds since the epoch.
pub type Time = u64;

/// What is changed. A repository is named by its number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Register {
    pub repository: usize,
    pub item: Item,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Item {
    Blob(String),
    Manifest(String),
    Tag(String),
}

/// What a register holds: a digest, or nothing.
pub type Value = Option<String>;

/// What a request changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A push or a mount.
    PutBlob(String),
    DeleteBlob(String),
    PutManifest {
        digest: String,
        tag: Option<String>,
    },
    DeleteTag(String),
    /// Also deletes the tags that point to it.
    DeleteManifest(String),
}

impl Change {
    /// For counts of changes.
    pub fn name(&self) -> &'static str {
        match self {
            Self::PutBlob(_) => "blobs pushed or mounted",
            Self::DeleteBlob(_) => "blobs deleted",
            Self::PutManifest { tag: None, .. } => "manifests pushed by digest",
            Self::PutManifest { .. } => "manifests pushed by tag",
            Self::DeleteTag(_) => "tags deleted",
            Self::DeleteManifest(_) => "manifests deleted",
        }
    }

    /// What it does to an item.
    fn effect(&self, item: &Item) -> Option<Effect> {
        let set = |changed: &str, found: &str| {
            (changed == found).then(|| Effect::Set(Some(changed.to_owned())))
        };
        let clear = |changed: &str, found: &str| (changed == found).then_some(Effect::Set(None));
        match (self, item) {
            (Self::PutBlob(digest), Item::Blob(found))
            | (Self::PutManifest { digest, .. }, Item::Manifest(found)) => set(digest, found),
            (Self::DeleteBlob(digest), Item::Blob(found))
            | (Self::DeleteManifest(digest), Item::Manifest(found)) => clear(digest, found),
            (Self::PutManifest { digest, tag: Some(tag) }, Item::Tag(found)) => {
                (tag == found).then(|| Effect::Set(Some(digest.clone())))
            }
            (Self::DeleteTag(tag), Item::Tag(found)) => clear(tag, found),
            (Self::DeleteManifest(digest), Item::Tag(_)) => Some(Effect::ClearIf(digest.clone())),
            _ => None,
        }
    }

    /// The items that it names.
    fn items(&self) -> Vec<Item> {
        match self {
            Self::PutBlob(digest) | Self::DeleteBlob(digest) => vec![Item::Blob(digest.clone())],
            Self::PutManifest { digest, tag } => {
                let tag = tag.iter().cloned().map(Item::Tag);
                tag.chain([Item::Manifest(digest.clone())]).collect()
            }
            Self::DeleteTag(tag) => vec![Item::Tag(tag.clone())],
            Self::DeleteManifest(digest) => vec![Item::Manifest(digest.clone())],
        }
    }
}

#[derive(Debug)]
enum Effect {
    Set(Value),
    /// Clears a tag that holds this digest.
    ClearIf(String),
}

impl Effect {
    fn overrides(&self, value: &Value) -> bool {
        match self {
            Self::Set(_) => true,
            Self::ClearIf(digest) => value.as_ref() == Some(digest),
        }
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Not before the registry was stopped.
    Cut,
    Acknowledged(Time),
    /// With the answer that there is nothing to change.
    Refused(Time),
}

/// A change with its times.
#[derive(Clone, Debug)]
pub struct Operation {
    pub repository: usize,
    pub change: Change,
    pub begun: Time,
    pub end: End,
    /// The client's port, by which its connection is known.
    pub port: u16,
}

impl Operation {
    fn ended(&self) -> Time {
        match self.end {
            End::Cut => Time::MAX,
            End::Acknowledged(at) | End::Refused(at) => at,
        }
    }

    fn effect(&self, register: &Register) -> Option<Effect> {
        let here = self.repository == register.repository;
        here.then(|| self.change.effect(&register.item)).flatten()
    }

    pub fn registers(&self) -> impl Iterator<Item = Register> {
        let repository = self.repository;
        self.change.items().into_iter().map(move |item| Register { repository, item })
    }
}

/// All changes of all clients since the last check, and what was found by it.
#[derive(Debug)]
pub struct Journal {
    start: (Instant, Time),
    operations: Mutex<Vec<Operation>>,
}

/// What registers held when they were last seen.
pub type Known = BTreeMap<Register, Value>;

impl Default for Journal {
    fn default() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let start = (Instant::now(), Time::try_from(now.as_micros()).unwrap_or_default());
        Self { start, operations: Mutex::default() }
    }
}

impl Journal {
    /// Now, by a clock that does not jump.
    pub fn now(&self) -> Time {
        let (instant, time) = self.start;
        time + Time::try_from(instant.elapsed().as_micros()).unwrap_or_default()
    }

    /// A request is about to be sent. Returns its number.
    pub fn begin(&self, repository: usize, change: Change, port: u16) -> usize {
        let mut operations = self.operations.lock().unwrap_or_else(PoisonError::into_inner);
        operations.push(Operation { repository, change, begun: self.now(), end: End::Cut, port });
        operations.len() - 1
    }

    /// Its response was received.
    pub fn end(&self, number: usize, acknowledged: bool) {
        let mut operations = self.operations.lock().unwrap_or_else(PoisonError::into_inner);
        let end = if acknowledged { End::Acknowledged } else { End::Refused };
        operations[number].end = end(self.now());
    }

    /// Removes all that was recorded.
    pub fn take(&self) -> Vec<Operation> {
        std::mem::take(&mut self.operations.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The values that a register may have after the operations.
pub fn admissible(register: &Register, known: &Known, operations: &[Operation]) -> BTreeSet<Value> {
    let changes: Vec<_> = operations
        .iter()
        .filter_map(|operation| Some((operation, operation.effect(register)?)))
        .collect();
    let stands = |value: &Value, ended: Time| {
        !changes.iter().any(|(other, effect)| {
            matches!(other.end, End::Acknowledged(_))
                && other.begun > ended
                && effect.overrides(value)
        })
    };
    let before = known.get(register).cloned().flatten();
    let mut values = BTreeSet::new();
    if stands(&before, 0) {
        values.insert(before.clone());
    }
    for (operation, effect) in &changes {
        // It changed nothing: what it found, another change has made.
        if matches!(operation.end, End::Refused(_)) {
            continue;
        }
        let value = match effect {
            Effect::Set(value) => value.clone(),
            // It cleared the tag only if that could hold the digest.
            Effect::ClearIf(digest) => {
                let held = before.as_ref() == Some(digest) && keeps(digest, 0, &changes)
                    || changes.iter().any(|(other, effect)| {
                        other.begun < operation.ended()
                            && matches!(effect, Effect::Set(Some(set)) if set == digest)
                            && keeps(digest, other.ended(), &changes)
                    });
                if !held {
                    continue;
                }
                None
            }
        };
        if stands(&value, operation.ended()) {
            values.insert(value);
        }
    }
    values
}

/// Whether a tag that got a digest by a change that ended then may hold it to the
/// end: no acknowledged push began later that moved it to another.
fn keeps(digest: &str, ended: Time, changes: &[(&Operation, Effect)]) -> bool {
    !changes.iter().any(|(other, effect)| {
        matches!(other.end, End::Acknowledged(_))
            && other.begun > ended
            && matches!(effect, Effect::Set(Some(set)) if set != digest)
    })
}

/// Operations of the tests below: what, from, to, whether it was acknowledged.
#[cfg(test)]
mod tests {
    use super::{Change, End, Item, Known, Operation, Register, admissible};

    fn operation(change: Change, begun: u64, end: End) -> Operation {
        Operation { repository: 0, change, begun, end, port: 0 }
    }

    fn put(digest: &str, begun: u64, end: End) -> Operation {
        let (digest, tag) = (digest.to_owned(), Some("tag".to_owned()));
        operation(Change::PutManifest { digest, tag }, begun, end)
    }

    fn tag_after(operations: &[Operation]) -> Vec<Option<String>> {
        let tag = Register { repository: 0, item: Item::Tag("tag".to_owned()) };
        admissible(&tag, &Known::new(), operations).into_iter().collect()
    }

    #[test]
    fn a_later_acknowledged_change_overrides() {
        use End::{Acknowledged, Cut};
        let some = |digest: &str| Some(digest.to_owned());
        let first = put("a", 1, Acknowledged(2));
        assert_eq!(tag_after(&[first.clone(), put("b", 3, Acknowledged(4))]), [some("b")]);
        // At the same time, and without a response.
        let both = [some("a"), some("b")];
        assert_eq!(tag_after(&[first.clone(), put("b", 2, Acknowledged(4))]), both);
        assert_eq!(tag_after(&[first.clone(), put("b", 3, Cut)]), both);
        // Deleted by digest, which spares another manifest's tag.
        let delete = |begun, end| operation(Change::DeleteManifest("a".to_owned()), begun, end);
        assert_eq!(tag_after(&[first.clone(), delete(3, Acknowledged(4))]), [None]);
        assert_eq!(tag_after(&[first.clone(), delete(3, Cut)]), [None, some("a")]);
        let other = put("b", 1, Acknowledged(2));
        assert_eq!(tag_after(&[other, delete(3, Acknowledged(4))]), [some("b")]);
        // Moved to another manifest while that is deleted.
        let moved = put("b", 4, Acknowledged(5));
        let both = [first.clone(), delete(3, Acknowledged(6)), moved.clone()];
        assert_eq!(tag_after(&both), [some("b")]);
        let back = put("a", 4, Acknowledged(6));
        let all = [first.clone(), delete(3, Acknowledged(7)), moved, back];
        assert_eq!(tag_after(&all), [None, some("a"), some("b")]);
        // Nothing is deleted by a request that finds nothing.
        let refused = operation(Change::DeleteTag("tag".to_owned()), 3, End::Refused(4));
        assert_eq!(tag_after(&[first.clone(), refused]), [some("a")]);
        // Pushed again after that.
        let again = put("a", 5, Acknowledged(6));
        assert_eq!(tag_after(&[first, delete(3, Acknowledged(4)), again]), [some("a")]);
    }
}
