//! Names that were given and have no effect.

use super::Source;
use crate::gathered::{Fate as Given, Seen, Settings};
use crate::settings::State;

/// A name that was given and has no effect. Its value is not shown: it may be a secret of
/// something that this registry knows nothing about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unused {
    /// The name as it was given: of a section, one of its names.
    pub name: String,
    /// How many more names were given that belong to the same row.
    pub more: usize,
    /// Where it is.
    pub source: Source,
    /// What becomes of it.
    pub fate: Fate,
    /// Why, or what to do instead.
    pub reason: String,
}

/// What becomes of a name that has no effect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// Nothing is lost.
    Ignored,
    /// What it asks for does not happen, which a start warns of.
    IgnoredWithWarning,
    /// Another name is used, which a start warns of.
    Deprecated,
    /// It stops the start.
    Refused,
    /// It is no name of a setting.
    Unknown,
}

impl Fate {
    /// Its word: `ignored`, `deprecated`, `refused` or `unknown`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ignored | Self::IgnoredWithWarning => "ignored",
            Self::Deprecated => "deprecated",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }
}

/// The key that is no setting of anything.
const VERSION: &str = "version";

/// The names among these settings that have no effect, those of one row together.
pub(super) fn of(settings: &Settings) -> Vec<Unused> {
    let mut found: Vec<(Option<&'static str>, Unused)> = Vec::new();
    for seen in &settings.names {
        let Some(unused) = unused(seen) else { continue };
        let key = seen.row.map(|row| row.key);
        let same = |(other, earlier): &&mut (Option<&str>, Unused)| {
            key.is_some() && *other == key && earlier.fate == unused.fate
        };
        match found.iter_mut().find(same) {
            Some((_, earlier)) => earlier.more += 1,
            None => found.push((key, unused)),
        }
    }
    found.into_iter().map(|(_, unused)| unused).collect()
}

fn unused(seen: &Seen) -> Option<Unused> {
    // Every file has it.
    if seen.row.is_some_and(|row| row.key == VERSION) {
        return None;
    }
    let style = seen.name.style();
    let (fate, reason) = match (seen.row.map(|row| row.state), seen.unused) {
        (None, _) if seen.known => return None,
        (None, _) => (Fate::Unknown, "it is not a setting".to_owned()),
        (Some(_), Some(Given::Anyway)) => {
            (Fate::Ignored, "it asks for what happens anyway".to_owned())
        }
        (Some(State::Used), _) | (Some(_), None) => return None,
        (Some(State::Ignored(reason)), _) => (Fate::Ignored, style.fill(reason)),
        (Some(State::IgnoredWithWarning(reason, _)), _) => {
            (Fate::IgnoredWithWarning, style.fill(reason))
        }
        (Some(State::Deprecated(other)), _) => {
            (Fate::Deprecated, format!("use {}", style.name(other.key)))
        }
        (Some(State::Refused(instead)), _) => (Fate::Refused, style.fill(instead)),
    };
    let source = Source::of(&seen.name, seen.line);
    Some(Unused { name: seen.name.to_string(), more: 0, source, fate, reason })
}
