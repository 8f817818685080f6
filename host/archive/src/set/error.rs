//! Why archives cannot be used.

use std::fmt;

/// Why archives cannot be used. The text names the archive and the entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Error(String);

impl Error {
    /// An error with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Something about an archive.
    pub(super) fn of(archive: &str, why: impl fmt::Display) -> Self {
        Self(format!("{archive}: {why}"))
    }

    /// Something about an entry of an archive.
    pub(super) fn entry(archive: &str, entry: &[u8], why: impl fmt::Display) -> Self {
        Self(format!("{archive}: {}: {why}", shown(entry)))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

/// How much of a name is in a message.
///
/// Limit: characters of an entry's name in a message; test: `names_in_messages_are_short_and_plain`.
const SHOWN: usize = 200;

/// A name as a terminal may show it: no control characters, and not all of a long one.
pub(super) fn shown(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name.get(..4 * SHOWN).unwrap_or(name));
    let mut shown: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if shown.len() < name.len() && text.chars().count() >= SHOWN {
        shown.push_str("...");
    }
    shown
}
