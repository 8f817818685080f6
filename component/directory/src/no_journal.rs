//! No journal: the system has none of what it needs.

use crate::Recovered;
use std::fs::Metadata;
use std::io;
use std::path::Path;

/// None has one.
pub(crate) const FILE_SYSTEMS: [u32; 0] = [];

/// What a change makes of a path.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Record<'a> {
    Put(&'a [u8], u64),
    Placed,
    Gone(u64),
}

/// There is none.
#[derive(Debug)]
pub(crate) enum Guard<'a> {
    #[expect(dead_code, reason = "for the lifetime")]
    None(std::convert::Infallible, &'a ()),
}

/// There is none.
#[derive(Debug)]
pub(crate) enum Journal {}

/// Nothing has a record.
pub(crate) fn fits(_: u64) -> bool {
    false
}

impl Guard<'_> {
    pub(crate) fn generation(&self) -> usize {
        match *self {
            Self::None(never, _) => match never {},
        }
    }
}

impl Journal {
    pub(crate) fn has_retired(&self, _: usize) -> bool {
        match *self {}
    }

    pub(crate) fn covers(&self, _: &Path) -> bool {
        match *self {}
    }

    pub(crate) fn record(&self, _: &[(&Path, Record<'_>)]) -> io::Result<Guard<'_>> {
        match *self {}
    }

    pub(crate) fn abandon(&self, _: &str) {
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

/// Only Linux can know.
#[expect(clippy::unnecessary_wraps, reason = "Linux can fail")]
pub(crate) fn is_pending(_: &Path) -> io::Result<bool> {
    Ok(false)
}

/// For records, of which there are none.
pub(crate) fn modified(_: &Metadata) -> u64 {
    0
}

/// The same.
pub(crate) fn now() -> u64 {
    0
}
