//! The rules of a registry's storage in a directory, in plain `std::fs`.
//!
//! One crate serves both ways to a directory: the native host runs it behind
//! the host store, and the component runs it over a mounted directory. It
//! knows keys and upload sessions, but nothing of repositories or of manifests;
//! all calls block.
//!
//! # Durability
//! A call that returns `Ok` has put its result where it survives a crash and
//! a power loss: bytes go to a temporary file, which is synced, renamed into
//! place, and whose directory (and every directory made on the way) is synced.
//! So a reader sees the whole object or none, and never a torn one. Upload
//! sessions are the exception: nothing in them is synced before
//! [`Directory::commit`], since a client that loses its session starts over.
//!
//! # Layout
//! A key `a/b/c` is the file `a/b/c` below the root: whoever chooses keys
//! chooses the layout, and the component chooses distribution's. This crate's
//! own files are all below [`PRIVATE`], which distribution never visits.

mod commit;
mod error;
mod files;
pub mod hash_state;
mod key;
mod list;
mod lock;
mod operation;
mod order;
mod session;
mod sink;

pub use error::Error;
pub use files::{Metadata, WriteMode};
pub use key::{InvalidKey, Key};
pub use list::{Depth, Names, NamesQuery, PAGE_BYTES};
pub use operation::{
    Executed, Fault, LINKS_LIMIT, LIST_LIMIT, Listed, OPERATION_HEADER, Object, Operation,
    REPLY_HEADER, REPLY_HEADER_LIMIT, Reply, VALUE_LIMIT, WRITE_LIMIT, header_json,
};
pub use session::Appender;

use std::collections::HashSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, RwLock};

/// Directory below the root for this crate's own files (temporary ones).
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
    order: order::Order,
    /// Held by the one process that owns the directory's sessions, if it is
    /// this one; see [`lock`].
    owner: Option<File>,
    /// The sessions that this process appends to, if it is the owner.
    appending: lock::Appending,
    /// Directories that were made and are not synced into their parents yet.
    young: Mutex<HashSet<PathBuf>>,
    /// Held alone to look at an object and delete it, shared to replace one.
    replacing: RwLock<()>,
}

impl Directory {
    /// Opens `root`, making it where it is missing, and proves that it can be
    /// written.
    ///
    /// # Errors
    /// [`Error::Io`] when the directory can be neither made nor written.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, Error> {
        use std::hash::{BuildHasher, RandomState};
        let mut directory = Self {
            root: root.into(),
            serial: AtomicU64::new(0),
            nonce: RandomState::new().hash_one(std::time::SystemTime::now()),
            epoch: String::new(),
            order: order::Order::default(),
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

    /// The file that holds the object of `key`.
    pub fn path(&self, key: &Key) -> PathBuf {
        self.root.join(key.as_str())
    }
}
