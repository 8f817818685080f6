//! Clients, with what the registry does for them: each step is one request to the
//! storage.

use crate::rules::Defect;
use crate::store::Age;
use crate::world::World;

/// What a client does before it pushes a manifest that refers to the blob.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Task {
    /// It asks with HEAD whether the repository holds the blob, and uploads it if
    /// not.
    Head,
    /// The same, where HEAD restores a link that was moved, or it reads the blob.
    Read,
    /// It uploads the blob.
    Upload,
    /// It mounts the blob from another repository, and uploads it if that fails.
    Mount(usize),
    /// Nothing: it believes that the blob is there.
    Push,
    /// The same through another registry on the same storage, which looks at the
    /// data and at nothing of this protocol, and skips what is there.
    ForeignUpload,
    /// A push through another registry, which saw the link earlier.
    ForeignPush,
}

/// The next step of a client.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum At {
    /// Nothing is done yet.
    Start,
    /// HEAD has read the link, and reads the data.
    HeadData,
    /// A mount has looked for a tombstone, and reads the data.
    MountData,
    /// Reads the tombstone.
    Look,
    /// Found a tombstone: writes that the blob is needed.
    Need,
    /// Reads the tombstone again, and waits while a removal goes on.
    LookAgain,
    /// Writes the data.
    WriteData,
    /// Writes the link.
    WriteLink,
    /// A push reads the link.
    Check,
    /// There was none: reads the moved link.
    CheckMoved,
    /// There was none either: reads the link once more.
    CheckAgain,
    /// Found a moved link: writes that the blob is needed.
    RestoreNeed,
    /// Reads the tombstone, and waits while a removal goes on.
    RestoreLook,
    /// Reads the data.
    RestoreData,
    /// Writes the link.
    RestoreLink,
    /// Writes the manifest's link in the repository.
    Publish,
    /// Lists announcements, and waits while a move goes on.
    Announcements,
    /// Another registry writes the link.
    ForeignLink,
    /// Another registry writes the manifest's link.
    ForeignPublish,
    /// The end, however it came.
    End,
}

/// A client.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Client {
    /// What it does.
    pub task: Task,
    /// The repository that it pushes to.
    pub repository: usize,
    /// Its next step.
    pub at: At,
    /// Time since its first step.
    pub age: Age,
    /// Whether it was told that the repository holds the blob.
    promised: bool,
    /// Whether its manifest is published.
    published: bool,
    /// Whether it mounts.
    mounting: bool,
    /// Whether it only asks for the blob so far.
    asking: bool,
}

impl Client {
    /// A client that has done nothing yet.
    pub fn new(task: Task, repository: usize) -> Self {
        Self {
            task,
            repository,
            at: At::Start,
            age: Age::NEW,
            promised: false,
            published: false,
            mounting: false,
            asking: false,
        }
    }

    /// A tick passes. No client waits for longer than the grace.
    pub fn tick(&mut self) {
        if matches!(self.at, At::Start | At::End) {
            return;
        }
        self.age.tick();
        if self.age >= Age::OLD {
            *self = Self { at: At::End, age: Age::NEW, ..Self::new(self.task, self.repository) };
        }
    }

    fn is_done(&mut self) {
        *self = Self { at: At::End, ..Self::new(self.task, self.repository) };
    }
}

/// Does the next step of a client, unless it waits or has ended.
pub fn step(world: &mut World, number: usize) -> bool {
    let mut client = world.clients[number].clone();
    let done = match client.at {
        At::End => false,
        At::Start => start(world, &mut client),
        At::HeadData | At::MountData | At::Look | At::Need | At::LookAgain => {
            look(world, &mut client)
        }
        At::WriteData | At::WriteLink => write(world, &mut client),
        At::Check | At::CheckMoved | At::CheckAgain => check(world, &mut client),
        At::RestoreNeed | At::RestoreLook | At::RestoreData | At::RestoreLink => {
            restore(world, &mut client)
        }
        At::Publish | At::Announcements => publish(world, &mut client),
        At::ForeignLink | At::ForeignPublish => foreign(world, &mut client),
    };
    world.clients[number] = client;
    done
}

fn start(world: &mut World, client: &mut Client) -> bool {
    let store = &world.store;
    client.at = match client.task {
        Task::Head | Task::Read if store.link[client.repository].is_some() => At::HeadData,
        Task::Read => {
            client.asking = true;
            At::CheckMoved
        }
        Task::Mount(from) if store.link[from].is_some() => {
            client.mounting = true;
            At::Look
        }
        Task::Head | Task::Upload | Task::Mount(_) => At::Look,
        Task::Push => At::Check,
        Task::ForeignUpload => {
            if store.data.is_none() {
                world.store.data = Some(Age::NEW);
            }
            At::ForeignLink
        }
        Task::ForeignPush => match (store.link[client.repository], store.data) {
            (Some(_), Some(_)) => At::ForeignPublish,
            _ => At::End,
        },
    };
    true
}

fn look(world: &mut World, client: &mut Client) -> bool {
    let (store, rules) = (&mut world.store, &world.rules);
    match client.at {
        At::HeadData => {
            client.promised = store.data.is_some();
            client.asking = false;
            client.at = if client.promised { At::Check } else { At::Look };
        }
        At::MountData => {
            client.mounting = store.data.is_some();
            client.at = if client.mounting { At::WriteLink } else { At::Look };
        }
        At::Look => {
            let broken =
                if client.mounting { Defect::MountDoesNotLook } else { Defect::UploadDoesNotLook };
            if !client.mounting && !rules.keep(Defect::UploadSkips) && store.data.is_some() {
                client.at = At::WriteLink;
                return true;
            }
            let found = rules.keep(broken) && store.tombstone.is_some();
            client.at = if found && (client.mounting || rules.keep(Defect::UploadDoesNotNeed)) {
                At::Need
            } else {
                after_look(client)
            };
        }
        At::Need => {
            store.needed = Some(Age::NEW);
            client.at = At::LookAgain;
        }
        _ => match store.removing() {
            // A mount is answered as if there were no blob: the client uploads.
            Some(_) if client.mounting => client.mounting = false,
            // The collector may be at work.
            Some(Age::NEW) => return false,
            _ => client.at = after_look(client),
        },
    }
    true
}

fn after_look(client: &Client) -> At {
    if client.mounting { At::MountData } else { At::WriteData }
}

fn write(world: &mut World, client: &mut Client) -> bool {
    let store = &mut world.store;
    if client.at == At::WriteData {
        store.data = Some(Age::NEW);
        client.at = At::WriteLink;
    } else {
        store.link[client.repository] = Some(Age::NEW);
        client.promised = true;
        client.at = At::Check;
    }
    true
}

fn check(world: &mut World, client: &mut Client) -> bool {
    let (store, rules, repository) = (&world.store, &world.rules, client.repository);
    let cached = !client.published && !rules.keep(Defect::LinkFromCache);
    let held = store.link[repository].is_some() || cached;
    client.at = match client.at {
        At::Check | At::CheckAgain if held && client.published => {
            return acknowledge(world, client);
        }
        At::CheckAgain if held && client.asking => At::HeadData,
        At::Check | At::CheckAgain if held => At::Publish,
        At::Check if rules.keep(Defect::PushIgnoresMoved) => At::CheckMoved,
        At::CheckMoved if store.moved[repository].is_some() => At::RestoreNeed,
        At::CheckMoved if rules.keep(Defect::PushReadsOnce) => At::CheckAgain,
        _ => return refuse(world, client),
    };
    true
}

/// The client gets an error, and uploads what it only asked for.
fn refuse(world: &mut World, client: &mut Client) -> bool {
    if client.asking {
        client.asking = false;
        client.at = At::Look;
        return true;
    }
    world.refused |= client.promised && !world.let_go[client.repository];
    client.is_done();
    true
}

fn acknowledge(world: &mut World, client: &mut Client) -> bool {
    world.acknowledged[client.repository] = world.store.manifest[client.repository];
    client.is_done();
    true
}

fn restore(world: &mut World, client: &mut Client) -> bool {
    let store = &mut world.store;
    match client.at {
        At::RestoreNeed => {
            store.needed = Some(Age::NEW);
            client.at = At::RestoreLook;
        }
        At::RestoreLook => match store.removing() {
            Some(Age::NEW) => return false,
            Some(_) => return refuse(world, client),
            None => client.at = At::RestoreData,
        },
        At::RestoreData if store.data.is_none() => return refuse(world, client),
        At::RestoreData => client.at = At::RestoreLink,
        _ => {
            store.link[client.repository] = Some(Age::NEW);
            client.at = if client.asking { At::Check } else { At::Publish };
            client.promised |= client.asking;
            client.asking = false;
            if client.published {
                return acknowledge(world, client);
            }
        }
    }
    true
}

fn publish(world: &mut World, client: &mut Client) -> bool {
    let (store, rules, repository) = (&mut world.store, &world.rules, client.repository);
    if client.at == At::Publish {
        store.manifest[repository] = true;
        client.published = true;
        client.at = At::Announcements;
        if rules.keep(Defect::NoLookAfterPublish) {
            return true;
        }
        return acknowledge(world, client);
    }
    if rules.keep(Defect::PushDoesNotWait) {
        // Whoever announced the older ones has died, or will look again.
        if store.moving(repository).any(|age| age == Age::NEW) {
            return false;
        }
    }
    if store.announced[repository].iter().all(Option::is_none) {
        return acknowledge(world, client);
    }
    client.at = At::Check;
    true
}

fn foreign(world: &mut World, client: &mut Client) -> bool {
    let (store, repository) = (&mut world.store, client.repository);
    if client.at == At::ForeignLink {
        store.link[repository] = Some(Age::NEW);
        client.at = At::ForeignPublish;
    } else {
        store.manifest[repository] = true;
        world.foreign[repository] = true;
        client.is_done();
    }
    true
}
