//! What a collector does about the content: the manifest's bytes and its blob, each
//! step for both at once.

use super::collector::{self, Collector};
use super::{CONDEMNED, Content, Store, Tombstone};
use crate::store::Age;

/// The next step.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum At {
    /// Writes tombstones, and needs of what is given back.
    Write,
    /// Looks whether another collector is about to remove the data.
    GiveWay,
    /// Deletes the tombstones of what is given back.
    Acquit,
    /// Writes that it removes.
    Remove,
    /// The last look: lists the directory, and reads the tombstone.
    LastLook,
    /// Deletes the data.
    Delete,
    /// Deletes the tombstone after some time.
    Clear,
}

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Verb {
    /// Nothing.
    #[default]
    Keep,
    /// To move its links.
    Condemn,
    /// To give it back.
    GiveBack,
    /// To remove it.
    Remove,
}

/// Lists the content, and decides.
pub(super) fn decide(store: &mut Store, collector: &mut Collector) -> collector::At {
    for (verb, content) in collector.verbs.iter_mut().zip(&mut store.content) {
        *verb = verb_of(content, collector.age, collector.live, collector.held);
    }
    (collector.live, collector.held) = (false, false);
    if collector.verbs == [Verb::Keep; 2] {
        return collector::At::Idle;
    }
    collector::At::Act(At::Write)
}

fn verb_of(content: &mut Content, begun: Age, live: bool, held: bool) -> Verb {
    let kept = |age: Age| age.was(CONDEMNED, begun);
    let Some(written) = content.data else {
        match content.tombstone {
            Some((_, age)) if kept(age) => content.tombstone = None,
            Some(_) => {}
            None => {
                content.needed.take_if(|age| kept(*age));
            }
        }
        return Verb::Keep;
    };
    if live || !written.was_old(begun) || content.needed.is_some() {
        if content.tombstone.is_some() {
            return Verb::GiveBack;
        }
        content.needed.take_if(|age| kept(*age));
        return Verb::Keep;
    }
    match content.tombstone {
        None => Verb::Condemn,
        Some((_, age)) if kept(age) && !held => Verb::Remove,
        Some(_) => Verb::Keep,
    }
}

/// Does the next step, unless it waits.
pub(super) fn act(
    store: &mut Store,
    collector: &mut Collector,
    at: At,
    number: usize,
) -> Option<collector::At> {
    let own = Tombstone::Removing(number);
    let begun = collector.age;
    let late = collector.since > Age::NEW;
    for (verb, content) in collector.verbs.iter_mut().zip(&mut store.content) {
        match (at, *verb) {
            (At::Write, Verb::Condemn) => {
                content.tombstone = Some((Tombstone::Unlinked, Age::NEW));
                *verb = Verb::Keep;
            }
            (At::Write, Verb::GiveBack) => content.needed = Some(Age::NEW),
            (At::GiveWay, Verb::GiveBack) => {
                let young = content.tombstone.is_some_and(|(_, age)| !age.was(CONDEMNED, begun));
                if content.is_removing() && young {
                    *verb = Verb::Keep;
                }
            }
            (At::Acquit, Verb::GiveBack) => {
                content.tombstone = None;
                *verb = Verb::Keep;
            }
            (At::Remove, Verb::Remove) => content.tombstone = Some((own, Age::NEW)),
            (At::LastLook, Verb::Remove) => {
                let is_own = content.tombstone.is_some_and(|(tombstone, _)| tombstone == own);
                let young = content.data.is_none_or(|age| !age.was_old(begun));
                if content.needed.is_some() || young || !is_own {
                    *verb = Verb::Keep;
                }
            }
            (At::Delete, Verb::Remove) if !late => content.data = None,
            (At::Clear, Verb::Remove) if late && content.is_removing() => content.tombstone = None,
            _ => {}
        }
    }
    let next = match at {
        At::Write => At::GiveWay,
        At::GiveWay => At::Acquit,
        At::Acquit => At::Remove,
        At::Remove => {
            collector.since = Age::NEW;
            At::LastLook
        }
        At::LastLook => At::Delete,
        At::Delete if late => At::Remove,
        At::Delete => At::Clear,
        At::Clear if !late => return None,
        At::Clear => return Some(collector::At::Idle),
    };
    let is_next = |verb: &Verb| match next {
        At::Write => true,
        At::GiveWay | At::Acquit => *verb != Verb::Keep,
        _ => *verb == Verb::Remove,
    };
    let done = !collector.verbs.iter().any(is_next);
    Some(if done { collector::At::Idle } else { collector::At::Act(next) })
}
