//! Storage in a directory, in plain `std::fs`, but for reads without waiting (Linux).
//!
//! One crate serves both ways to a directory: the native host carries out the
//! operations of [`roadstead_bridge::storage`] with it, and the component does
//! so itself over a mounted directory. [`DirectoryStorage`] is the storage port
//! over either. All calls on a [`Directory`] block, except within
//! [`Directory::from_memory`].
//!
//! # Durability
//! A call that returns `Ok` has put its result where it survives a crash and a
//! loss of power, if `Key::is_durable`: bytes go to a temporary file, which is
//! synced, renamed into place, and whose directory (and every directory made on
//! the way) is synced. A file that this process has made durable, and that has the
//! content already, gets a new mtime only. So a reader sees the whole object or none. Nothing in an
//! upload session is synced before it is committed, since a client that loses
//! its session starts over.
//!
//! # Layout
//! An object's file is its key below the root. This crate's own files are all
//! below [`PRIVATE`], which distribution never visits.

mod adapter;
mod commit;
mod content;
mod created;
mod durable;
mod entries;
mod enumeration;
mod file_range;
mod files;
mod fresh;
#[cfg(target_os = "linux")]
mod journal;
#[cfg(not(target_os = "linux"))]
#[path = "no_journal.rs"]
mod journal;
mod lock;
mod memory;
mod names;
mod objects;
mod operation;
mod purge;
mod pushed;
mod recorded;
mod root;
mod scrub;
mod session;
mod sink;
mod sorted_names;
pub mod steps;
mod synced;
mod temporary;
mod tidy;

pub use adapter::{DirectoryStorage, Transport};
pub use file_range::FileRange;
pub use memory::read_at;
pub use operation::Receiver;
pub use purge::Purged;
pub use session::Appender;

use roadstead_storage::StorageError;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{OnceLock, RwLock};

/// Directory below the root for this crate's own files: temporary ones, the lock
/// of the process that owns the directory, and the storage's identity.
pub const PRIVATE: &str = ".roadstead";

/// A registry's storage directory.
#[derive(Debug)]
pub struct Directory {
    root: PathBuf,
    /// Makes the names of temporary files unique within this process.
    serial: AtomicU64,
    /// Makes them unique among processes that share the directory.
    nonce: u64,
    /// What a loss of power ends; see [`session`].
    epoch: String,
    sorted: sorted_names::SortedNames,
    /// Ends before [`root::Place`] gives up the lock of the directory's owner.
    journal: Option<journal::Journal>,
    recovered: Recovered,
    place: RwLock<root::Place>,
    /// The sessions that this process appends to, if it is the owner.
    appending: lock::Appending,
    ended: fresh::Ended,
    /// The storage's identity when it was opened; signs identifiers of sessions.
    identity: OnceLock<String>,
    synced: synced::Synced,
    durable: durable::Durable,
    unsynced: synced::Unsynced,
    /// Held exclusively to compare a link and delete it, shared to replace one.
    replacing: RwLock<()>,
    creating: created::Creating,
    read_only: bool,
    log: fn(&str),
}

/// What a recovery from the journal did.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Recovered {
    /// How many files the journal had records of that may have been lost.
    pub recorded: u64,
    /// How many of them had to be written again.
    pub restored: u64,
    /// How many had to be removed again.
    pub removed: u64,
}

/// How a directory is opened.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Nothing is written, not even a lock: for a directory on a file system
    /// that is read-only.
    pub read_only: bool,
    /// Small changes become durable by a journal, if this process is the only native one
    /// that has the directory, and its file system is one on which that is possible (Linux).
    pub journal: bool,
    /// Takes what an operator should know and no error says.
    pub log: fn(&str),
}

impl Default for Options {
    fn default() -> Self {
        Self { read_only: false, journal: false, log: |_| () }
    }
}

impl Directory {
    /// Opens `root`, makes it where it is missing, and proves that it can be
    /// written.
    ///
    /// # Errors
    /// When the directory can be neither made nor written.
    pub fn open(root: impl Into<PathBuf>) -> io::Result<Self> {
        Self::open_with(root, Options::default())
    }

    /// The same with options. A full disk is no error: what is there can be
    /// served. A directory that is read-only must exist.
    ///
    /// # Errors
    /// When the directory can be neither made nor written, or not be read.
    pub fn open_with(root: impl Into<PathBuf>, options: Options) -> io::Result<Self> {
        use std::hash::{BuildHasher, RandomState};
        let nonce = RandomState::new().hash_one(std::time::SystemTime::now());
        let mut directory = Self {
            root: root.into(),
            serial: AtomicU64::new(0),
            nonce,
            epoch: session::epoch(nonce),
            sorted: sorted_names::SortedNames::default(),
            place: RwLock::default(),
            appending: lock::Appending::default(),
            ended: fresh::Ended::default(),
            identity: OnceLock::new(),
            synced: synced::Synced::default(),
            durable: durable::Durable::default(),
            unsynced: synced::Unsynced::default(),
            journal: None,
            recovered: Recovered::default(),
            replacing: RwLock::new(()),
            creating: created::Creating::default(),
            read_only: options.read_only,
            log: options.log,
        };
        if !options.read_only {
            directory.make_root()?;
        }
        directory.settle_in()?;
        if !options.read_only {
            directory.prove_writable()?;
            directory.sweep_temporary_files()?;
        }
        if directory.owns_sessions() {
            directory.recovered = journal::recover(directory.root())?;
            if options.journal {
                directory.journal = journal::open(directory.root(), options.log)?;
            }
        } else if journal::is_pending(directory.root()).unwrap_or(false) {
            (options.log)(
                "what a loss of power took away is not put back yet: have the native host serve \
                 the directory with write access once, or run `roadstead recover`",
            );
        }
        Ok(directory)
    }

    /// What was put back from the journal of a process before this one.
    pub fn recovered(&self) -> Recovered {
        self.recovered
    }

    /// Whether small changes become durable by a journal.
    pub fn has_journal(&self) -> bool {
        self.journal.is_some()
    }

    fn prove_writable(&self) -> io::Result<()> {
        let path = self.temporary_directory().join(self.temporary_name());
        let result = match files::create_new(&path) {
            Ok(file) => files::write_all(&file, &path, b"x"),
            Err(error) => Err(error),
        };
        let _ = files::remove_file(&path);
        result.or_else(|error| match StorageError::of_file_system(&error) {
            StorageError::Full(cause) => {
                (self.log)(&format!("only pulls can be served: {cause}"));
                Ok(())
            }
            _ => Err(error),
        })
    }

    /// The directory that keys are relative to.
    pub fn root(&self) -> &Path {
        &self.root
    }
}
