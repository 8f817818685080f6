//! A collector, as far as it takes manifests away and restores them. Each step is one
//! request to the storage; it can die or stall between any two.

use super::{Announced, CONDEMNED, Defect, HIGHEST, Moved, Scenario, Store, World, blobs};
use crate::store::Age;

/// The next step of a collector.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum At {
    /// No run goes on.
    #[default]
    Idle,
    /// The mark: lists manifests.
    Mark,
    /// Lists moved links.
    Taken,
    /// Lists the links of manifests.
    Links,
    /// Reads the tags, and knows the graph.
    Tags,
    /// Reads the moved link, and decides what becomes of it.
    Hold,
    /// Writes the need of the bytes, to restore the manifest.
    Need,
    /// Looks whether another collector is about to remove them, and reads them.
    Bytes,
    /// Reads the moved link once more.
    MovedAgain,
    /// Writes the link.
    Restore,
    /// Writes the moved link as expired.
    Expire,
    /// Deletes the moved link.
    Forget,
    /// Announces what it takes away.
    Announce,
    /// Lists the links again.
    LinksAgain,
    /// Lists the tags again.
    TagsAgain,
    /// Reads the link and the manifest.
    Read,
    /// Writes the moved link.
    WriteMoved,
    /// With a defect, reads the link again.
    ReadAgain,
    /// It is gone: deletes the moved link.
    DropMoved,
    /// Deletes the link.
    DeleteLink,
    /// Says in the announcement that it is done.
    EndMove,
    /// Lists the content, and decides about it.
    Blobs,
    /// The rest of the run.
    Act(blobs::At),
}

/// A collector.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Collector {
    /// Its next step.
    pub at: At,
    /// Time since its run began.
    pub(super) age: Age,
    /// Whether the content is live.
    pub(super) live: bool,
    /// Whether a request may be about to restore the manifest.
    pub(super) held: bool,
    /// Time since it announced or wrote that it removes, by a clock of its own.
    pub(super) since: Age,
    /// Whether it has found a moved link.
    taken: bool,
    /// The link that it has found.
    link: Option<Age>,
    /// Whether the manifest stays.
    stays: bool,
    /// What is to be done about the content.
    pub(super) verbs: [blobs::Verb; 2],
}

impl Collector {
    pub(super) fn tick(&mut self) {
        if self.at == At::Idle {
            return;
        }
        self.age.tick();
        self.since.tick();
        self.link.iter_mut().for_each(|age| age.tick_to(HIGHEST));
    }
}

/// Does the next step, unless it waits.
pub(super) fn step(scenario: &Scenario, world: &mut World, number: usize) -> bool {
    let mut collector = world.collectors[number].clone();
    let store = &mut world.store;
    let next = match collector.at {
        _ if collector.age >= Age::OLD => Some(At::Idle),
        At::Idle => Some(At::Mark),
        At::Mark | At::Taken | At::Links | At::Tags | At::Hold => {
            Some(look(scenario, store, &mut collector))
        }
        At::Need | At::Bytes | At::MovedAgain | At::Restore | At::Expire | At::Forget => {
            Some(settle(scenario, store, &mut collector))
        }
        At::Blobs => Some(blobs::decide(store, &mut collector)),
        At::Act(at) => blobs::act(store, &mut collector, at, number),
        _ => Some(take_away(scenario, store, &mut collector, number)),
    };
    let Some(next) = next else { return false };
    collector.at = next;
    if matches!(next, At::Blobs) {
        // Nothing of this is asked for any longer.
        (collector.taken, collector.link, collector.stays) = (false, None, false);
        collector.since = Age::NEW;
    }
    world.collectors[number] = if next == At::Idle { Collector::default() } else { collector };
    true
}

/// Whether something of now leads to the manifest; `young` are links that stay by
/// themselves.
fn is_led_to(store: &Store, begun: Age) -> bool {
    let young = |age: Age| !age.was_old(begun);
    store.index.is_some_and(|age| young(age) || store.index_tag) || store.link.is_some_and(young)
}

fn look(scenario: &Scenario, store: &mut Store, collector: &mut Collector) -> At {
    let keep = |defect| scenario.broken.keep(defect);
    match collector.at {
        At::Mark => {
            collector.live = store.link.is_some() || store.index.is_some();
            At::Taken
        }
        At::Taken => {
            collector.taken = store.moved.is_some();
            At::Links
        }
        At::Links => {
            collector.link = store.link;
            collector.stays = is_led_to(store, collector.age);
            At::Tags
        }
        At::Tags => {
            collector.stays |= store.tag;
            if collector.taken { At::Hold } else { doomed(scenario, collector) }
        }
        _ => {
            let Some(Moved { expired, age }) = store.moved else {
                return doomed(scenario, collector);
            };
            let begun = collector.age;
            let is_over = expired && age.was_old(begun);
            collector.held = !is_over
                && keep(Defect::HoldsNothing)
                && (!expired || keep(Defect::ExpiredHoldsNothing))
                && (collector.link.is_none() || keep(Defect::RestoredHoldsNothing));
            if let Some(link) = collector.link {
                let at_once = !keep(Defect::RestoredGoesAtOnce);
                let forgets = age.was(CONDEMNED, begun) && link.was_old(begun);
                return if forgets || at_once { At::Forget } else { doomed(scenario, collector) };
            }
            let comes_back = !expired || !keep(Defect::RunRestoresExpired);
            if collector.stays && comes_back && keep(Defect::RunRestoresNothing) {
                At::Need
            } else if is_over {
                At::Forget
            } else if !expired && age.was(CONDEMNED, begun) {
                At::Expire
            } else {
                At::Blobs
            }
        }
    }
}

fn settle(scenario: &Scenario, store: &mut Store, collector: &mut Collector) -> At {
    let keep = |defect| scenario.broken.keep(defect);
    let bytes = &mut store.content[0];
    match collector.at {
        At::Need => {
            if keep(Defect::NeedsLate) {
                bytes.needed = Some(Age::NEW);
            }
            At::Bytes
        }
        At::Bytes if bytes.is_removing() || bytes.data.is_none() => At::Blobs,
        At::Bytes => At::MovedAgain,
        At::MovedAgain if store.moved.is_none() => At::Blobs,
        At::MovedAgain => At::Restore,
        At::Restore => {
            store.link = Some(Age::NEW);
            collector.held = true;
            At::Blobs
        }
        At::Expire => {
            // What was deleted meanwhile stays so: requests find nothing in it.
            store.moved = Some(Moved { expired: true, age: Age::NEW });
            if keep(Defect::ExpiredGoesAtOnce) { At::Blobs } else { At::Forget }
        }
        _ => {
            store.moved = None;
            doomed(scenario, collector)
        }
    }
}

/// Takes the manifest away, if it is there and does not stay.
fn doomed(scenario: &Scenario, collector: &Collector) -> At {
    if collector.stays || collector.link.is_none() {
        At::Blobs
    } else if scenario.broken.keep(Defect::NoAnnouncement) {
        At::Announce
    } else {
        At::LinksAgain
    }
}

fn take_away(
    scenario: &Scenario,
    store: &mut Store,
    collector: &mut Collector,
    number: usize,
) -> At {
    let keep = |defect| scenario.broken.keep(defect);
    let is_late = collector.since > Age::NEW && keep(Defect::NoSecondLook);
    match collector.at {
        At::Announce => {
            store.announced[number] = Some((Announced::Moving, Age::NEW));
            collector.since = Age::NEW;
            if keep(Defect::NoSecondGraph) { At::LinksAgain } else { At::Read }
        }
        At::LinksAgain => {
            collector.stays |= is_led_to(store, collector.age);
            At::TagsAgain
        }
        At::TagsAgain => {
            collector.stays |= store.tag;
            if collector.stays { At::EndMove } else { At::Read }
        }
        // A deletion by request has taken it.
        At::Read if store.link.is_none() && keep(Defect::NoLinkAgain) => At::EndMove,
        At::Read if keep(Defect::LinkGoesFirst) => At::WriteMoved,
        At::WriteMoved | At::DeleteLink if is_late => At::Announce,
        At::WriteMoved => {
            store.moved = Some(Moved { expired: false, age: Age::NEW });
            if !keep(Defect::LinkGoesFirst) {
                At::EndMove
            } else if keep(Defect::DropsMoved) {
                At::DeleteLink
            } else {
                At::ReadAgain
            }
        }
        At::ReadAgain if store.link.is_none() => At::DropMoved,
        At::Read | At::ReadAgain => At::DeleteLink,
        At::DropMoved => {
            store.moved = None;
            At::EndMove
        }
        At::DeleteLink => {
            store.link = None;
            if keep(Defect::LinkGoesFirst) { At::EndMove } else { At::WriteMoved }
        }
        _ => {
            store.announced[number] =
                keep(Defect::NoAnnouncement).then_some((Announced::Moved, Age::NEW));
            At::Blobs
        }
    }
}
