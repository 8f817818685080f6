//! Clients, with what the registry does for them: each step is one request to the
//! storage.

use super::{Answers, Content, Defect, Scenario, Store, World};
use crate::store::Age;

/// What a client does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Task {
    /// It pulls the manifest by its digest.
    Pull,
    /// It uploads the content, and pushes the manifest with a tag.
    Push,
    /// It looks for the manifest by its digest, and pushes an index that names it, with a
    /// tag.
    Index,
    /// It deletes the manifest by its digest.
    Delete,
}

/// The next step of a client.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum At {
    /// Reads the manifest's link.
    Link,
    /// There was none: reads the moved link.
    Moved,
    /// Writes the need of the bytes.
    Need,
    /// Reads their tombstone, and waits while a removal goes on.
    Look,
    /// Reads the bytes.
    Bytes,
    /// Reads the moved link once more.
    MovedAgain,
    /// Writes the link.
    Restore,
    /// An upload reads the tombstones.
    UploadLook,
    /// Found one: writes needs.
    UploadNeed,
    /// Reads them again, and waits while a removal goes on.
    UploadLookAgain,
    /// Writes the data.
    UploadData,
    /// Writes the link of the manifest, or of the index.
    Publish,
    /// Writes the tag.
    Tag,
    /// Lists announcements, and waits.
    Announcements,
    /// Reads the link.
    Check,
    /// Lists moved links.
    ListMoved,
    /// Found the manifest's: reads its link.
    LinkAgain,
    /// A deletion announces itself.
    Announce,
    /// Deletes the moved link.
    DeleteMoved,
    /// Deletes the tag, and then the link.
    DeleteLink,
    /// Lists announcements, and waits while the link is being moved.
    WaitForMoves,
    /// Deletes the moved link that a collector has written since.
    DeleteMovedAgain,
    /// Deletes the announcement.
    EndDeletion,
    /// The end.
    End,
}

/// How often a push begins again at most.
const ATTEMPTS: u8 = 3;

/// A client.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Client {
    task: Task,
    at: At,
    /// Time since its first step, or since the last answer.
    age: Age,
    /// Time for which it has waited for a removal, or since a deletion announced itself.
    since: Age,
    /// Whether it has published.
    published: bool,
    /// Whether it was told that the manifest is there.
    promised: bool,
    attempts: u8,
}

impl Client {
    pub(super) fn new(task: Task) -> Self {
        let at = match task {
            Task::Pull | Task::Index => At::Link,
            Task::Push => At::UploadLook,
            Task::Delete => At::Announce,
        };
        let (age, since) = (Age::NEW, Age::NEW);
        Self { task, at, age, since, published: false, promised: false, attempts: 0 }
    }

    fn has_begun(&self) -> bool {
        self.at != Self::new(self.task).at || self.promised
    }

    pub(super) fn tick(&mut self) {
        if self.at == At::End || !self.has_begun() {
            return;
        }
        self.age.tick();
        if matches!(self.at, At::Look | At::UploadLookAgain | At::DeleteLink) {
            self.since.tick();
        }
        if self.age >= Age::OLD {
            self.ends();
        }
    }

    fn ends(&mut self) {
        *self = Self { at: At::End, ..Self::new(self.task) };
    }
}

/// Does the next step of a client, unless it waits or has ended.
pub(super) fn step(scenario: &Scenario, world: &mut World, number: usize) -> bool {
    let mut client = world.clients[number].clone();
    let (store, answers) = (&mut world.store, &mut world.answers);
    let next = match client.at {
        At::End => None,
        At::Link | At::Moved | At::Need | At::Look | At::Bytes | At::MovedAgain | At::Restore => {
            restore(scenario, store, answers, &mut client)
        }
        At::UploadLook | At::UploadNeed | At::UploadLookAgain | At::UploadData => {
            upload(store, &mut client)
        }
        At::Publish | At::Tag | At::Announcements | At::Check | At::ListMoved | At::LinkAgain => {
            publish(scenario, store, answers, &mut client)
        }
        _ => delete(scenario, store, answers, &mut client),
    };
    let Some(next) = next else { return false };
    client.at = next;
    if next == At::End {
        client.ends();
    }
    let has_deleted = world.clients[number].at == At::DeleteLink && next != At::End;
    world.clients[number] = client;
    if has_deleted {
        // Nothing is promised any more of what was there before.
        (world.answers.pushed, world.answers.indexed) = (false, false);
        world.clients.iter_mut().for_each(|client| client.promised = false);
    }
    true
}

/// A request has an answer about the manifest.
fn answer(answers: &mut Answers, client: &mut Client, found: bool, late: bool) -> At {
    if client.published {
        // What an index names may be missing.
        return if found { At::Publish } else { acknowledge(answers, client) };
    }
    answers.missed |= !found && !late && !answers.deleted && !answers.expired;
    if client.task == Task::Pull {
        return At::End;
    }
    // An index may name what is not there.
    (client.promised, client.age) = (found, Age::NEW);
    At::Publish
}

fn restore(
    scenario: &Scenario,
    store: &mut Store,
    answers: &mut Answers,
    client: &mut Client,
) -> Option<At> {
    let keep = |defect| scenario.broken.keep(defect);
    let bytes = &mut store.content[0];
    let late = keep(Defect::NeedsLate);
    Some(match client.at {
        At::Link if store.link.is_some() => answer(answers, client, true, false),
        At::Link if !keep(Defect::PullDoesNotRestore) => answer(answers, client, false, false),
        At::Link => At::Moved,
        At::Moved => match store.moved {
            Some(moved) if moved.expired && keep(Defect::ExpiredIsFound) => {
                answer(answers, client, false, true)
            }
            None => answer(answers, client, false, store.deleting.is_some()),
            Some(_) if late => At::Need,
            Some(_) => At::Bytes,
        },
        At::Need => {
            bytes.needed = Some(Age::NEW);
            client.since = Age::NEW;
            if late { At::Look } else { At::MovedAgain }
        }
        At::Look if bytes.is_removing() && client.since == Age::NEW => return None,
        At::Look if bytes.is_removing() => answer(answers, client, false, false),
        At::Look => {
            client.since = Age::NEW;
            At::Bytes
        }
        At::Bytes if bytes.data.is_none() => answer(answers, client, false, false),
        At::Bytes if !late => At::Need,
        At::Bytes => At::MovedAgain,
        At::MovedAgain if store.moved.is_none() => {
            answer(answers, client, false, store.deleting.is_some())
        }
        At::MovedAgain => At::Restore,
        _ => {
            store.link = Some(Age::NEW);
            answer(answers, client, true, false)
        }
    })
}

fn upload(store: &mut Store, client: &mut Client) -> Option<At> {
    let content = &mut store.content;
    Some(match client.at {
        At::UploadLook if content.iter().all(|one| one.tombstone.is_none()) => At::UploadData,
        At::UploadLook => At::UploadNeed,
        At::UploadNeed => {
            for one in content {
                one.needed = Some(Age::NEW);
            }
            At::UploadLookAgain
        }
        At::UploadLookAgain => {
            if content.iter().any(Content::is_removing) && client.since == Age::NEW {
                return None;
            }
            client.since = Age::NEW;
            At::UploadData
        }
        _ => {
            for one in content {
                one.data = Some(Age::NEW);
            }
            At::Publish
        }
    })
}

fn acknowledge(answers: &mut Answers, client: &Client) -> At {
    match client.task {
        Task::Push => answers.pushed = true,
        _ => answers.indexed |= client.promised,
    }
    At::End
}

fn publish(
    scenario: &Scenario,
    store: &mut Store,
    answers: &mut Answers,
    client: &mut Client,
) -> Option<At> {
    let keep = |defect| scenario.broken.keep(defect);
    let pushes = client.task == Task::Push;
    Some(match client.at {
        At::Publish if client.attempts == ATTEMPTS => {
            answers.refused = true;
            At::End
        }
        At::Publish => {
            client.attempts += 1;
            client.published = true;
            if pushes {
                store.link = Some(Age::NEW);
            } else {
                store.index = Some(Age::NEW);
            }
            At::Tag
        }
        At::Tag => {
            if pushes {
                store.tag = true;
            } else {
                store.index_tag = true;
            }
            if keep(Defect::NoLookAfterPublish) {
                At::Announcements
            } else {
                acknowledge(answers, client)
            }
        }
        At::Announcements if store.is_going() && keep(Defect::PushDoesNotWait) => return None,
        At::Announcements if pushes => At::Check,
        At::Announcements if keep(Defect::IndexDoesNotRestore) => At::ListMoved,
        At::Check if store.link.is_none() || !store.tag => At::Publish,
        At::ListMoved if store.moved.is_some() => At::LinkAgain,
        At::LinkAgain if store.link.is_none() => At::Moved,
        _ => acknowledge(answers, client),
    })
}

fn delete(
    scenario: &Scenario,
    store: &mut Store,
    answers: &mut Answers,
    client: &mut Client,
) -> Option<At> {
    let keep = |defect| scenario.broken.keep(defect);
    let leaves = !keep(Defect::DeletionLeavesMoved);
    Some(match client.at {
        At::Announce => {
            store.deleting = Some(Age::NEW);
            At::DeleteMoved
        }
        At::DeleteMoved => {
            if !leaves {
                store.moved = None;
            }
            client.since = Age::NEW;
            At::DeleteLink
        }
        // It took too long, and pushes do not wait for it any longer.
        At::DeleteLink if client.since > Age::NEW => At::End,
        At::DeleteLink => {
            (store.tag, store.link, answers.unlinked) = (false, None, true);
            if keep(Defect::DeletesMovedOnce) { At::WaitForMoves } else { At::EndDeletion }
        }
        At::WaitForMoves if store.is_moving() && keep(Defect::DeletionDoesNotWait) => return None,
        At::WaitForMoves => At::DeleteMovedAgain,
        At::DeleteMovedAgain => {
            if !leaves {
                store.moved = None;
            }
            At::EndDeletion
        }
        _ => {
            store.deleting = None;
            answers.deleted = answers.unlinked;
            At::End
        }
    })
}
