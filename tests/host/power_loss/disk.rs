//! A file system of which a loss of power leaves only what was synced.
//!
//! By POSIX, `fsync` of a file makes its bytes durable, and `fsync` of a directory
//! its entries. Nothing else is promised, and nothing is forbidden: of what was not
//! synced, any part may be there.

use super::trace::{Call, Follow, bytes};
use fastrand::Rng;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

type Name = Vec<u8>;

/// The index of an inode.
type Inode = usize;

const ROOT: Inode = 0;

#[derive(Debug)]
enum Node {
    File { data: Vec<u8>, synced: Option<Vec<u8>> },
    Directory { entries: Entries, synced: Entries, since: BTreeMap<Name, BTreeSet<Option<Inode>>> },
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
enum Syncing {
    Data(Inode, Vec<u8>),
    Entries(Inode, Entries),
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
    /// Directories in which something was made before they were recorded.
    early: HashSet<Inode>,
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
        let early = HashSet::new();
        Self { root: root.to_owned(), nodes, descriptors, syncing, early, forget, acknowledge }
    }

    /// The path of an argument, with that of a descriptor before it.
    fn path(&self, directory: &str, argument: &str) -> Option<(Inode, Vec<Name>)> {
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

    fn entries(&mut self, inode: Inode) -> &mut Entries {
        match &mut self.nodes[inode] {
            Node::Directory { entries, .. } => entries,
            Node::File { .. } => panic!("a file is used as a directory"),
        }
    }

    /// The inode at a path.
    fn find(&mut self, (start, names): &(Inode, Vec<Name>)) -> Option<Inode> {
        names.iter().try_fold(*start, |inode, name| self.entries(inode).get(name).copied())
    }

    /// Changes the entry at a path.
    fn set(&mut self, (start, names): &(Inode, Vec<Name>), inode: Option<Inode>) {
        let Some((name, parents)) = names.split_last() else { return };
        let parent = self.find(&(*start, parents.to_vec())).expect("a directory that was made");
        let Node::Directory { entries, since, .. } = &mut self.nodes[parent] else {
            panic!("a file is used as a directory")
        };
        since.entry(name.clone()).or_default().insert(inode);
        match inode {
            Some(inode) => drop(entries.insert(name.clone(), inode)),
            None => drop(entries.remove(name)),
        }
    }

    fn add(&mut self, path: &(Inode, Vec<Name>), node: Node) -> Inode {
        self.nodes.push(node);
        let inode = self.nodes.len() - 1;
        self.set(path, Some(inode));
        inode
    }

    fn open(&mut self, directory: &str, path: &str, flags: &str, result: i64) {
        self.descriptors.remove(&result);
        let Some(path) = self.path(directory, path) else { return };
        let inode = match self.find(&path) {
            Some(inode) => inode,
            None if flags.contains("O_CREAT") => {
                self.add(&path, Node::File { data: Vec::new(), synced: None })
            }
            None => panic!("{path:?} was opened, and not made"),
        };
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
        let Node::File { data, .. } = &mut self.nodes[*inode] else { return };
        data.resize(data.len().max(end), 0);
        data[start..end].copy_from_slice(written);
    }

    fn inode(&self, descriptor: &str) -> Option<Inode> {
        match self.descriptors.get(&descriptor.parse().ok()?)? {
            Descriptor::Inode { inode, .. } => Some(*inode),
            Descriptor::Client(_) => None,
        }
    }

    fn rename(&mut self, from: Option<(Inode, Vec<Name>)>, to: Option<(Inode, Vec<Name>)>) {
        let (Some(from), Some(to)) = (from, to) else { return };
        let inode = self.find(&from).expect("what was renamed");
        self.set(&to, Some(inode));
        self.set(&from, None);
    }

    fn link(&mut self, from: Option<(Inode, Vec<Name>)>, to: Option<(Inode, Vec<Name>)>) {
        let (Some(from), Some(to)) = (from, to) else { return };
        let inode = self.find(&from).expect("what was linked");
        self.set(&to, Some(inode));
    }

    /// A sync makes durable what was there when it began.
    fn synced(&mut self, syncing: Syncing) {
        match syncing {
            Syncing::Data(inode, data) if self.forget != Forget::Files => {
                if let Node::File { synced, .. } = &mut self.nodes[inode] {
                    *synced = Some(data);
                }
            }
            Syncing::Entries(inode, found) if self.forget != Forget::Directories => {
                if let Node::Directory { entries, synced, since } = &mut self.nodes[inode] {
                    // What changed while it ran may have become durable or not.
                    since.retain(|name, _| entries.get(name) != found.get(name));
                    *synced = found;
                }
            }
            _ => {}
        }
    }
}

const HERE: &str = "AT_FDCWD";

impl Follow for Disk<'_> {
    fn begun(&mut self, call: &Call<'_>) {
        match (call.name, &call.arguments[..]) {
            ("fsync" | "fdatasync", [descriptor, ..]) => {
                let Some(inode) = self.inode(descriptor) else { return };
                let syncing = match &self.nodes[inode] {
                    Node::File { data, .. } => Syncing::Data(inode, data.clone()),
                    Node::Directory { entries, .. } => Syncing::Entries(inode, entries.clone()),
                };
                self.syncing.insert(call.thread, syncing);
            }
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

    fn succeeded(&mut self, call: &Call<'_>, result: i64) {
        let length = usize::try_from(result).unwrap();
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
            ("rename", [from, to]) => self.rename(self.path(HERE, from), self.path(HERE, to)),
            ("renameat" | "renameat2", [from_in, from, to_in, to, ..]) => {
                self.rename(self.path(from_in, from), self.path(to_in, to));
            }
            ("link", [from, to]) => self.link(self.path(HERE, from), self.path(HERE, to)),
            ("linkat", [from_in, from, to_in, to, ..]) => {
                self.link(self.path(from_in, from), self.path(to_in, to));
            }
            ("unlink" | "rmdir", [path]) => self.unlink(HERE, path),
            ("unlinkat", [directory, path, ..]) => self.unlink(directory, path),
            ("mkdir", [path, ..]) => self.make_directory(HERE, path),
            ("mkdirat", [directory, path, ..]) => self.make_directory(directory, path),
            ("fsync" | "fdatasync", _) => {
                if let Some(syncing) = self.syncing.remove(&call.thread) {
                    self.synced(syncing);
                }
            }
            // Nothing else may change what is below the root.
            ("close" | "fcntl" | "sendfile" | "sendmsg" | "sendto" | "write" | "writev", _) => {}
            (_, arguments) => {
                let below = arguments.iter().any(|argument| self.inode(argument).is_some());
                assert!(!below, "{call:?} is not understood");
            }
        }
    }
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

    fn make_directory(&mut self, directory: &str, path: &str) {
        let Some(path) = self.path(directory, path) else { return };
        if path.1.is_empty() || self.find(&path).is_some_and(|inode| self.early.remove(&inode)) {
            return;
        }
        // Another thread has made its parent, and that is not recorded yet.
        for length in 1..path.1.len() {
            let parent = (path.0, path.1[..length].to_vec());
            if self.find(&parent).is_none() {
                let inode = self.add(&parent, Node::directory());
                self.early.insert(inode);
            }
        }
        self.add(&path, Node::directory());
    }
}

impl Surviving<'_> {
    /// Writes what survives: only what was synced, or besides that, what `random`
    /// chooses of the rest.
    pub fn write(&self, to: &Path, random: &mut Option<Rng>) {
        self.directory(ROOT, to, random);
    }

    fn directory(&self, inode: Inode, to: &Path, random: &mut Option<Rng>) {
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
                Node::Directory { .. } => self.directory(inode, &path, random),
                Node::File { data, synced } => {
                    let synced = synced.as_deref().unwrap_or_default();
                    let survives = match random.as_mut().map(|random| random.u8(..3)) {
                        None | Some(0) => synced,
                        // Cut off within what was not synced.
                        Some(1) if data.starts_with(synced) => {
                            &data[..usize::midpoint(synced.len(), data.len())]
                        }
                        Some(_) => data,
                    };
                    fs::write(path, survives).unwrap();
                }
            }
        }
    }
}
