//! A file system of which a loss of power leaves only what was synced.
//!
//! By POSIX, `fsync` of a file makes its bytes durable, and `fsync` of a directory
//! its entries. Nothing else is promised, and nothing is forbidden: of what was not
//! synced, any part may be there.

use super::trace::{Call, Follow, bytes};
use fastrand::Rng;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

type Name = Vec<u8>;

/// The index of an inode.
type Inode = usize;

const ROOT: Inode = 0;

/// Names below a directory.
type Place = (Inode, Vec<Name>);

#[derive(Debug)]
enum Node {
    /// With the mtime that it was given, of which nothing says whether it is durable.
    File {
        data: Vec<u8>,
        synced: Option<Vec<u8>>,
        renewed: Option<SystemTime>,
    },
    Directory {
        entries: Entries,
        synced: Entries,
        since: BTreeMap<Name, BTreeSet<Option<Inode>>>,
    },
}

type Entries = BTreeMap<Name, Inode>;

/// What a descriptor is of.
#[derive(Clone, Copy, Debug)]
enum Descriptor {
    Inode {
        inode: Inode,
        at: usize,
    },
    /// A connection from this port.
    Client(u16),
}

/// What a sync that has begun will make durable.
#[derive(Debug)]
struct Syncing {
    /// Which one has begun later: what it made durable stays when this one ends.
    number: u64,
    found: Vec<(Inode, Found)>,
}

#[derive(Debug)]
enum Found {
    Data(Vec<u8>),
    Entries(Entries),
}

/// What a call changes in directories.
///
/// Its effect precedes its end: another thread can already use what it made.
#[derive(Debug)]
enum Change {
    Directory(Place),
    File(Place),
    Link { from: Place, to: Place },
    Rename { from: Place, to: Place },
}

impl Change {
    /// Where there is something after it.
    fn made(&self) -> &Place {
        match self {
            Self::Directory(made) | Self::File(made) => made,
            Self::Link { to, .. } | Self::Rename { to, .. } => to,
        }
    }
}

/// Syncs that are left out, to see whether that is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forget {
    Nothing,
    Files,
    Directories,
}

/// A directory as a process has changed it.
pub struct Disk<'a> {
    root: PathBuf,
    nodes: Vec<Node>,
    descriptors: HashMap<i64, Descriptor>,
    syncing: HashMap<u32, Syncing>,
    /// How many syncs have begun.
    syncs: u64,
    /// The number of the sync that has made an inode what would survive.
    durable: HashMap<Inode, u64>,
    /// Changes that have begun, by thread.
    changing: HashMap<u32, Change>,
    forget: Forget,
    /// Called before a response of success is sent: with the client's port, and the
    /// time.
    acknowledge: &'a mut dyn FnMut(&Surviving<'_>, u16, u64),
}

/// What may survive.
pub struct Surviving<'a>(&'a [Node]);

impl Node {
    fn directory() -> Self {
        Self::Directory { entries: Entries::new(), synced: Entries::new(), since: BTreeMap::new() }
    }
}

impl<'a> Disk<'a> {
    /// An empty directory, which itself is durable.
    pub fn new(
        root: &Path,
        forget: Forget,
        acknowledge: &'a mut dyn FnMut(&Surviving<'_>, u16, u64),
    ) -> Self {
        let nodes = vec![Node::directory()];
        let (descriptors, syncing) = (HashMap::new(), HashMap::new());
        let (changing, syncs, durable) = (HashMap::new(), 0, HashMap::new());
        let root = root.to_owned();
        Self { root, nodes, descriptors, syncing, syncs, durable, changing, forget, acknowledge }
    }

    /// The path of an argument, with that of a descriptor before it.
    fn path(&self, directory: &str, argument: &str) -> Option<Place> {
        let path = PathBuf::from(OsStr::from_bytes(&bytes(argument)));
        let (start, path) = if path.is_absolute() {
            (ROOT, path.strip_prefix(&self.root).ok()?.to_owned())
        } else {
            match self.descriptors.get(&directory.parse().ok()?)? {
                Descriptor::Inode { inode, .. } => (*inode, path),
                Descriptor::Client(_) => return None,
            }
        };
        let names = path.iter().filter(|name| *name != ".").map(|name| name.as_bytes().to_vec());
        Some((start, names.collect()))
    }

    fn entries(&self, inode: Inode) -> &Entries {
        match &self.nodes[inode] {
            Node::Directory { entries, .. } => entries,
            Node::File { .. } => panic!("a file is used as a directory"),
        }
    }

    /// The inode at a path.
    fn find(&self, (start, names): &Place) -> Option<Inode> {
        names.iter().try_fold(*start, |inode, name| self.entries(inode).get(name).copied())
    }

    /// The inode at a path that a call has used, with the changes of other threads that
    /// must have come before, though their ends are not recorded yet.
    fn used(&mut self, (start, names): &Place) -> Inode {
        names.iter().fold(*start, |parent, name| {
            if let Some(inode) = self.entries(parent).get(name) {
                return *inode;
            }
            let thread = *self
                .changing
                .iter()
                .find(|(_, change)| self.is_at(change.made(), parent, name))
                .unwrap_or_else(|| panic!("{names:?} were used, and not made"))
                .0;
            let change = self.changing.remove(&thread).unwrap();
            self.change(change);
            self.entries(parent)[name]
        })
    }

    /// Whether a path is that of a name in a directory.
    fn is_at(&self, (start, names): &Place, parent: Inode, name: &Name) -> bool {
        names.split_last().is_some_and(|(last, parents)| {
            last == name && self.find(&(*start, parents.to_vec())) == Some(parent)
        })
    }

    /// Changes the entry at a path.
    fn set(&mut self, (start, names): &Place, inode: Option<Inode>) {
        let Some((name, parents)) = names.split_last() else { return };
        let parent = self.used(&(*start, parents.to_vec()));
        let Node::Directory { entries, since, .. } = &mut self.nodes[parent] else {
            panic!("a file is used as a directory")
        };
        since.entry(name.clone()).or_default().insert(inode);
        match inode {
            Some(inode) => drop(entries.insert(name.clone(), inode)),
            None => drop(entries.remove(name)),
        }
    }

    fn add(&mut self, path: &Place, node: Node) -> Inode {
        self.nodes.push(node);
        let inode = self.nodes.len() - 1;
        self.set(path, Some(inode));
        inode
    }

    fn open(&mut self, directory: &str, path: &str, flags: &str, result: i64) {
        self.descriptors.remove(&result);
        let Some(path) = self.path(directory, path) else { return };
        let inode = self.used(&path);
        if flags.contains("O_TRUNC")
            && let Node::File { data, .. } = &mut self.nodes[inode]
        {
            data.clear();
        }
        self.descriptors.insert(result, Descriptor::Inode { inode, at: 0 });
    }

    /// Writes where the descriptor stands, or at an offset.
    fn write(&mut self, descriptor: &str, written: &[u8], offset: Option<usize>) {
        let number = descriptor.parse().unwrap();
        let Some(Descriptor::Inode { inode, at }) = self.descriptors.get_mut(&number) else {
            return;
        };
        let start = offset.unwrap_or(*at);
        let end = start + written.len();
        if offset.is_none() {
            *at = end;
        }
        let Node::File { data, renewed, .. } = &mut self.nodes[*inode] else { return };
        *renewed = None;
        data.resize(data.len().max(end), 0);
        data[start..end].copy_from_slice(written);
    }

    fn inode(&self, descriptor: &str) -> Option<Inode> {
        match self.descriptors.get(&descriptor.parse().ok()?)? {
            Descriptor::Inode { inode, .. } => Some(*inode),
            Descriptor::Client(_) => None,
        }
    }

    fn change(&mut self, change: Change) {
        match change {
            Change::Directory(at) if self.find(&at).is_none() => {
                self.add(&at, Node::directory());
            }
            Change::File(at) if self.find(&at).is_none() => {
                self.add(&at, Node::File { data: Vec::new(), synced: None, renewed: None });
            }
            Change::Directory(_) | Change::File(_) => {}
            Change::Link { from, to } => {
                let inode = self.used(&from);
                self.set(&to, Some(inode));
            }
            Change::Rename { from, to } => {
                let inode = self.used(&from);
                self.set(&to, Some(inode));
                self.set(&from, None);
            }
        }
    }

    /// What a call changes below the root.
    fn changed_by(&self, call: &Call<'_>) -> Option<Change> {
        match (call.name, &call.arguments[..]) {
            ("open", [path, flags, ..]) => self.opened(HERE, path, flags),
            ("openat" | "openat2", [directory, path, flags, ..]) => {
                self.opened(directory, path, flags)
            }
            ("mkdir", [path, ..]) => self.path(HERE, path).map(Change::Directory),
            ("mkdirat", [directory, path, ..]) => self.path(directory, path).map(Change::Directory),
            ("link", [from, to]) => {
                Some(Change::Link { from: self.path(HERE, from)?, to: self.path(HERE, to)? })
            }
            ("linkat", [from_in, from, to_in, to, ..]) => {
                Some(Change::Link { from: self.path(from_in, from)?, to: self.path(to_in, to)? })
            }
            ("rename", [from, to]) => {
                Some(Change::Rename { from: self.path(HERE, from)?, to: self.path(HERE, to)? })
            }
            ("renameat" | "renameat2", [from_in, from, to_in, to, ..]) => {
                Some(Change::Rename { from: self.path(from_in, from)?, to: self.path(to_in, to)? })
            }
            _ => None,
        }
    }

    fn opened(&self, directory: &str, path: &str, flags: &str) -> Option<Change> {
        if flags.contains("O_CREAT") { self.path(directory, path).map(Change::File) } else { None }
    }

    /// A sync makes durable what is there when it begins.
    fn begin_sync(&mut self, thread: u32, inodes: impl Iterator<Item = Inode>) {
        let found = |inode| match &self.nodes[inode] {
            Node::File { data, .. } => (inode, Found::Data(data.clone())),
            Node::Directory { entries, .. } => (inode, Found::Entries(entries.clone())),
        };
        let found = inodes.map(found).collect();
        self.syncs += 1;
        self.syncing.insert(thread, Syncing { number: self.syncs, found });
    }

    fn synced(&mut self, Syncing { number, found }: Syncing) {
        for (inode, found) in found {
            let durable = self.durable.entry(inode).or_default();
            if *durable > number {
                continue;
            }
            *durable = number;
            match (&mut self.nodes[inode], found) {
                (Node::File { synced, .. }, Found::Data(data)) if self.forget != Forget::Files => {
                    *synced = Some(data);
                }
                (Node::Directory { entries, synced, since }, Found::Entries(found))
                    if self.forget != Forget::Directories =>
                {
                    // What changed while it ran may have become durable or not.
                    since.retain(|name, _| entries.get(name) != found.get(name));
                    *synced = found;
                }
                _ => {}
            }
        }
    }
}

const HERE: &str = "AT_FDCWD";

impl Follow for Disk<'_> {
    fn begun(&mut self, call: &Call<'_>) {
        if let Some(change) = self.changed_by(call) {
            self.changing.insert(call.thread, change);
        }
        match (call.name, &call.arguments[..]) {
            ("fsync" | "fdatasync", [descriptor, ..]) => {
                let Some(inode) = self.inode(descriptor) else { return };
                self.begin_sync(call.thread, std::iter::once(inode));
            }
            ("syncfs", _) => self.begin_sync(call.thread, 0..self.nodes.len()),
            ("write" | "writev" | "sendto" | "sendmsg", [descriptor, sent, ..]) => {
                let number = descriptor.parse().unwrap_or(-1);
                if let Some(Descriptor::Client(port)) = self.descriptors.get(&number)
                    && bytes(sent).starts_with(b"HTTP/1.1 2")
                {
                    (self.acknowledge)(&Surviving(&self.nodes), *port, call.time);
                }
            }
            // Before it ends, another thread may have got the number.
            ("close", [descriptor]) => {
                self.descriptors.remove(&descriptor.parse().unwrap());
            }
            _ => {}
        }
    }

    fn failed(&mut self, call: &Call<'_>) {
        self.changing.remove(&call.thread);
    }

    fn succeeded(&mut self, call: &Call<'_>, result: i64) {
        let length = usize::try_from(result).unwrap();
        // Unless another thread has needed it before.
        if let Some(change) = self.changing.remove(&call.thread) {
            self.change(change);
        }
        match (call.name, &call.arguments[..]) {
            ("openat" | "openat2", [directory, path, flags, ..]) => {
                self.open(directory, path, flags, result);
            }
            ("open", [path, flags, ..]) => self.open(HERE, path, flags, result),
            ("accept4" | "accept", [_, from, ..]) => {
                let port = from.split_once("htons(").and_then(|(_, rest)| rest.split_once(')'));
                if let Some((port, _)) = port {
                    let port = port.parse().unwrap();
                    self.descriptors.insert(result, Descriptor::Client(port));
                }
            }
            ("dup" | "dup2" | "dup3", [from, ..]) => self.duplicate(from, result),
            ("fcntl", [from, command, ..]) if command.starts_with("F_DUPFD") => {
                self.duplicate(from, result);
            }
            ("lseek", [descriptor, ..]) => {
                let number = descriptor.parse().unwrap();
                if let Some(Descriptor::Inode { at, .. }) = self.descriptors.get_mut(&number) {
                    *at = length;
                }
            }
            ("write" | "writev", [descriptor, written, ..]) if self.inode(descriptor).is_some() => {
                self.write(descriptor, &bytes(written)[..length], None);
            }
            ("pwrite64", [descriptor, written, _, offset]) if self.inode(descriptor).is_some() => {
                let offset = offset.parse().unwrap();
                self.write(descriptor, &bytes(written)[..length], Some(offset));
            }
            ("ftruncate", [descriptor, to]) => {
                if let Some(inode) = self.inode(descriptor)
                    && let Node::File { data, .. } = &mut self.nodes[inode]
                {
                    data.resize(to.parse().unwrap(), 0);
                }
            }
            ("utimensat", [descriptor, "NULL", times, ..]) => {
                if let Some(inode) = self.inode(descriptor)
                    && let Node::File { renewed, .. } = &mut self.nodes[inode]
                {
                    *renewed = Some(mtime(times, call.time));
                }
            }
            ("unlink" | "rmdir", [path]) => self.unlink(HERE, path),
            ("unlinkat", [directory, path, ..]) => self.unlink(directory, path),
            ("fsync" | "fdatasync" | "syncfs", _) => {
                if let Some(syncing) = self.syncing.remove(&call.thread) {
                    self.synced(syncing);
                }
            }
            // Nothing else may change what is below the root. The first seven are followed
            // as changes.
            (
                "link" | "linkat" | "mkdir" | "mkdirat" | "rename" | "renameat" | "renameat2"
                | "close" | "fcntl" | "sendfile" | "sendmsg" | "sendto" | "write" | "writev",
                _,
            ) => {}
            (_, arguments) => {
                let below = arguments.iter().any(|argument| self.inode(argument).is_some());
                assert!(!below, "{call:?} is not understood");
            }
        }
    }
}

/// The mtime among the times of a call that was made at a time, in microseconds.
fn mtime(times: &str, made: u64) -> SystemTime {
    let Some((_, given)) = times.rsplit_once("tv_sec=") else {
        // The clock that stamps files is behind by a tick.
        return SystemTime::UNIX_EPOCH + Duration::from_micros(made) - Duration::from_millis(10);
    };
    let number = |text: &str| {
        let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap_or_else(|_| panic!("no time: {times}"))
    };
    let nanoseconds = given.split_once("tv_nsec=").map_or(0, |(_, text)| number(text));
    SystemTime::UNIX_EPOCH + Duration::from_secs(number(given)) + Duration::from_nanos(nanoseconds)
}

impl Disk<'_> {
    fn duplicate(&mut self, from: &str, to: i64) {
        match self.descriptors.get(&from.parse().unwrap()).copied() {
            Some(descriptor) => drop(self.descriptors.insert(to, descriptor)),
            None => drop(self.descriptors.remove(&to)),
        }
    }

    fn unlink(&mut self, directory: &str, path: &str) {
        if let Some(path) = self.path(directory, path) {
            self.set(&path, None);
        }
    }
}

impl Surviving<'_> {
    /// Writes what survives: only what was synced, or besides that, what `random`
    /// chooses of the rest. Returns the files whose new mtime survives too.
    pub fn write(&self, to: &Path, random: &mut Option<Rng>) -> Vec<(PathBuf, SystemTime)> {
        let mut renewed = Vec::new();
        self.directory(ROOT, to, random, &mut renewed);
        renewed
    }

    fn directory(
        &self,
        inode: Inode,
        to: &Path,
        random: &mut Option<Rng>,
        renewed: &mut Vec<(PathBuf, SystemTime)>,
    ) {
        let Node::Directory { synced, since, .. } = &self.0[inode] else { return };
        fs::create_dir_all(to).unwrap();
        let mut entries = synced.clone();
        if let Some(random) = random {
            for (name, later) in since {
                let mut choices: Vec<_> = later.iter().copied().collect();
                choices.push(synced.get(name).copied());
                match choices[random.usize(..choices.len())] {
                    Some(inode) => drop(entries.insert(name.clone(), inode)),
                    None => drop(entries.remove(name)),
                }
            }
        }
        for (name, inode) in entries {
            let path = to.join(OsStr::from_bytes(&name));
            match &self.0[inode] {
                Node::Directory { .. } => self.directory(inode, &path, random, renewed),
                Node::File { data, synced, renewed: mtime } => {
                    let synced = synced.as_deref().unwrap_or_default();
                    let survives = match random.as_mut().map(|random| random.u8(..3)) {
                        None | Some(0) => synced,
                        // Cut off within what was not synced.
                        Some(1) if data.starts_with(synced) => {
                            &data[..usize::midpoint(synced.len(), data.len())]
                        }
                        Some(_) => data,
                    };
                    fs::write(&path, survives).unwrap();
                    if let (Some(mtime), Some(random)) = (mtime, random.as_mut())
                        && random.bool()
                    {
                        renewed.push((path, *mtime));
                    }
                }
            }
        }
    }
}
