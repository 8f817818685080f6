//! What requests have changed or read, until a native host sends it on.

use super::number;
use std::fmt;

/// Where it is: beside what clients push, so that no other registry sees it.
pub(crate) const DIRECTORY: &str = ".roadstead/outbox/";

/// The largest value, in bytes: a manifest's references, tags and names of a request, or those of
/// many pulls.
///
/// Limit: bytes of an object with events that wait in the storage; test:
/// `the_longest_event_fits`.
pub(super) const VALUE_LIMIT: usize = 512 * 1024;

/// What [`EventName`] begins with, if it is of pulls.
const PULLS: &str = "pulls-";

/// What it begins with otherwise.
const CHANGES: &str = "changes-";

/// The name of an object with events. In the order of keys, the oldest comes first, and pulls come
/// after all changes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EventName {
    /// Whether it has events of pulls.
    pub pulls: bool,
    /// When it was written, in milliseconds since 1970, by the clock of who wrote it.
    pub time: u64,
    /// Sets it apart from others.
    pub id: u128,
}

impl EventName {
    /// Parses what [`EventName`] prints.
    pub fn parse(text: &str) -> Option<Self> {
        let (rest, pulls) = match text.strip_prefix(PULLS) {
            Some(rest) => (rest, true),
            None => (text.strip_prefix(CHANGES)?, false),
        };
        let (time, id) = rest.split_once('-')?;
        let parsed = Self { pulls, time: u64::from_str_radix(time, 16).ok()?, id: number(id)? };
        // Such as upper case.
        (parsed.to_string() == text).then_some(parsed)
    }
}

impl fmt::Display for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.pulls { PULLS } else { CHANGES };
        write!(f, "{kind}{:016x}-{:032x}", self.time, self.id)
    }
}
