//! No journal: the system has none of what it needs.

use roadstead_storage::StorageError;
use std::io;
use std::path::Path;

/// What a recovery did.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Recovered {
    /// How many files and directories the journal had records of.
    pub recorded: u64,
    /// How many of them had to be written again.
    pub restored: u64,
    /// How many had to be removed again.
    pub removed: u64,
}

/// What a change has made of a path.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Record<'a> {
    Put(&'a [u8]),
    Placed,
    Gone,
    Made,
}

/// There is none.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ticket {}

/// There is none.
#[derive(Debug)]
pub(crate) enum Journal {}

/// Nothing has a record.
pub(crate) fn fits(_: u64) -> bool {
    false
}

impl Journal {
    pub(crate) fn covers(&self, _: &Path) -> bool {
        match *self {}
    }

    pub(crate) fn change(
        &self,
        _: &Path,
        _: Record<'_>,
        _: impl FnOnce() -> io::Result<bool>,
    ) -> io::Result<Option<Ticket>> {
        match *self {}
    }

    pub(crate) fn wait(&self, _: Ticket) -> Result<(), StorageError> {
        match *self {}
    }

    pub(crate) fn settle(&self) -> io::Result<()> {
        match *self {}
    }
}

/// There is none.
#[expect(clippy::unnecessary_wraps, reason = "Linux can fail")]
pub(crate) fn open(_: &Path, _: fn(&str)) -> io::Result<Option<Journal>> {
    Ok(None)
}

/// Nothing is recovered: only Linux can know of what.
#[expect(clippy::unnecessary_wraps, reason = "Linux can fail")]
pub(crate) fn recover(_: &Path) -> io::Result<Recovered> {
    Ok(Recovered::default())
}
