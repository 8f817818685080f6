//! Why archives cannot be used.

use std::fmt;

/// Why archives cannot be used. The text names the archive and the entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Error(String);

impl Error {
    /// An error with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(plain(&text.into()))
    }

    /// Something about an archive.
    pub(super) fn of(archive: &str, why: impl fmt::Display) -> Self {
        Self(plain(&format!("{archive}: {why}")))
    }

    /// Something about an entry of an archive.
    pub(super) fn entry(archive: &str, entry: &[u8], why: impl fmt::Display) -> Self {
        Self(plain(&format!("{archive}: {}: {why}", shown(entry))))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

/// The longest message: parsers repeat what they do not understand.
///
/// Limit: characters of a message about an archive; test: `messages_are_short_and_plain`.
const MESSAGE: usize = 2000;

/// A message as a terminal may show it.
fn plain(text: &str) -> String {
    text.chars().take(MESSAGE).map(|c| if c.is_control() { '?' } else { c }).collect()
}

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

#[cfg(test)]
mod tests {
    use super::{Error, MESSAGE};

    #[test]
    fn messages_are_short_and_plain() {
        let error = Error::of("a\u{1b}[2J", "b".repeat(2 * MESSAGE)).to_string();
        assert!(error.starts_with("a?[2J: bbb"), "{error}");
        assert_eq!(error.len(), MESSAGE);
    }
}
