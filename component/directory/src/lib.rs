//! Storage in a directory, in plain `std::fs`.
//!
//! One crate serves both ways to a directory: the native host carries out the
//! operations of [`roadstead_bridge::storage`] with it, and the component does
//! so itself over a mounted directory. [`DirectoryStorage`] is the storage port
//! over either. All calls on a [`Directory`] block.
//!
//! # Durability
//! A call that returns `Ok` has put its result where it survives a crash and a
//! loss of power, if `Key::is_durable`: bytes go to a temporary file, which is
//! synced, renamed into place, and whose directory (and every directory made on
//! the way) is synced. So a reader sees the whole object or none. Nothing in an
//! upload session is synced before it is committed, since a client that loses
//! its session starts over.
//!
//! # Layout
//! An object's file is its key below the root. This crate's own files are all
//! below [`PRIVATE`], which distribution never visits.

mod adapter;
mod commit;
mod content;
mod entries;
mod enumeration;
mod file_range;
mod lock;
mod names;
mod objects;
mod operation;
mod session;
mod sink;
mod sorted_names;
pub mod steps;

pub use adapter::{DirectoryStorage, Transport};
pub use file_range::FileRange;
pub use operation::Receiver;
pub use session::Appender;

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, RwLock};

/// Directory below the root for this crate's own files: temporary ones, and the
/// lock of the process that owns the directory.
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
    /// Held by the one process that owns the directory's sessions, if it is
    /// this one; see [`lock`].
    owner: Option<File>,
    /// The sessions that this process appends to, if it is the owner.
    appending: lock::Appending,
    /// Directories that were made and are not synced into their parents yet.
    young: Mutex<HashSet<PathBuf>>,
    /// Held exclusively to compare a link and delete it, shared to replace one.
    replacing: RwLock<()>,
}

impl Directory {
    /// Opens `root`, makes it where it is missing, and proves that it can be
    /// written.
    ///
    /// # Errors
    /// When the directory can be neither made nor written.
    pub fn open(root: impl Into<PathBuf>) -> io::Result<Self> {
        use std::hash::{BuildHasher, RandomState};
        let mut directory = Self {
            root: root.into(),
            serial: AtomicU64::new(0),
            nonce: RandomState::new().hash_one(std::time::SystemTime::now()),
            epoch: String::new(),
            sorted: sorted_names::SortedNames::default(),
            owner: None,
            appending: lock::Appending::default(),
            young: Mutex::default(),
            replacing: RwLock::new(()),
        };
        directory.make_directories(&directory.temporary_directory())?;
        let (file, path) = directory.temporary_file()?;
        drop(file);
        std::fs::remove_file(path)?;
        directory.sweep_temporary_files()?;
        directory.epoch = session::epoch(directory.nonce);
        directory.owner = lock::own(&directory.root.join(PRIVATE))?;
        Ok(directory)
    }

    /// The directory that keys are relative to.
    pub fn root(&self) -> &Path {
        &self.root
    }
}
