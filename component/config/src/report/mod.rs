//! What settings come to: each value with its source, what overrides it, and which names
//! have no effect and why. Secrets are masked here, so that nothing that is made of a
//! report can show one.
//!
//! [`Report::yaml`] and [`Report::variables`] write it as settings again.

mod unused;
mod variables;
mod written;
mod yaml;

pub use unused::{Fate, Unused};

use crate::gathered::{Settings, Slot};
use crate::given::{Name, Step};
use crate::secrets;
use crate::settings::{
    AUTH_HTPASSWD, AUTH_TOKEN, Description, Entry, Row, STORAGE_AZURE, STORAGE_FILESYSTEM,
    STORAGE_GCS, STORAGE_S3, Section, Shape, entries,
};
use crate::{Config, Service};
use roadstead_access::Scheme;
use std::collections::BTreeSet;
use std::fmt;

/// What settings come to.
#[derive(Clone, Debug)]
pub struct Report {
    /// All that is wrong, in the words with which a start is refused.
    pub errors: Vec<String>,
    /// What a start warns of.
    pub warnings: Vec<String>,
    /// Each setting of the table, in its order.
    pub settings: Vec<Effective>,
    /// Names that were given and have no effect.
    pub unused: Vec<Unused>,
    /// Whether this registry issues tokens, because the settings choose it.
    issues_tokens: bool,
}

/// A setting and its value.
#[derive(Clone, Debug)]
pub struct Effective {
    /// The setting.
    pub row: &'static Row,
    /// The number of the mapping that it is in, if it is in a list of them.
    mapping: Option<u32>,
    /// Its value, with secrets masked.
    pub value: Value,
    /// Where the value comes from; a list has a source for each item besides.
    pub source: Source,
    /// Where a value is that another one overrides.
    pub overridden: Vec<Source>,
    /// Why the value has no effect, although it is valid.
    pub without_effect: Option<String>,
    /// Whether the value is another one than the default.
    differs: bool,
    /// Whether what is given is an empty text, which is as good as none.
    empty: bool,
    description: Description,
}

/// A setting's value as it may be shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// None, and the setting has no default that is a value.
    Unset,
    /// A text.
    Text(String),
    /// The items of a list, each with its source.
    List(Vec<(String, Source)>),
}

/// Where a value comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// The table of settings.
    Default,
    /// A configuration file.
    File {
        /// The file, as the command line names it.
        file: String,
        /// The key, as it is written there.
        key: String,
        /// The line, from 1, if it is known.
        line: Option<u32>,
    },
    /// A variable of the environment, of this name.
    Variable(String),
}

impl Source {
    pub(crate) fn of(name: &Name, line: Option<u32>) -> Self {
        match name {
            Name::Variable(name) => Self::Variable(name.clone()),
            Name::Key { file, path } => {
                Self::File { file: file.to_string(), key: Step::join(path), line }
            }
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { file, line: Some(line), .. } => write!(f, "{file}, line {line}"),
            Self::File { file, line: None, .. } => f.write_str(file),
            Self::Variable(name) => f.write_str(name),
        }
    }
}

impl Effective {
    /// Whether a file or the environment gives it, if only with an empty text.
    pub fn is_given(&self) -> bool {
        self.source != Source::Default
    }

    /// Its key in `config.yml`: `http.addr`, and with a number `notifications.endpoints[0].url`.
    pub fn key(&self) -> String {
        self.row.key_of(self.mapping)
    }

    /// Its name in the environment.
    pub fn variable(&self) -> String {
        self.row.variable_of(self.mapping.unwrap_or_default())
    }

    /// Its type, as the documentation has it, in Markdown.
    pub fn kind(&self) -> &str {
        &self.description.kind
    }

    /// The source of the value, and what that overrides.
    pub fn origin(&self) -> String {
        let mut text = self.source.to_string();
        for (index, overridden) in self.overridden.iter().enumerate() {
            let joint = if index == 0 { "; overrides " } else { ", " };
            text.extend([joint, &overridden.to_string()]);
        }
        text
    }

    /// The value on one line: `[a, b]` for a list, and nothing for none.
    pub fn shown(&self) -> String {
        self.value.to_string()
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unset => Ok(()),
            Self::Text(text) => f.write_str(text),
            Self::List(items) => {
                let items: Vec<_> = items.iter().map(|(item, _)| item.as_str()).collect();
                write!(f, "[{}]", items.join(", "))
            }
        }
    }
}

impl Settings {
    /// What these settings come to, also where they are wrong.
    pub fn report(&self) -> Report {
        let (config, errors) = Config::read_all(self);
        // Where something is wrong, what is chosen may be wrong too.
        let chosen = errors.is_empty().then_some(&config);
        let used = entries().filter(|entry| entry.row().is_used());
        let settings = used.flat_map(|entry| {
            let mappings = self.mappings(entry.row()).into_iter();
            mappings.map(move |mapping| self.effective(entry, mapping, chosen))
        });
        let settings = settings.collect();
        Report {
            errors,
            settings,
            unused: unused::of(self),
            issues_tokens: matches!(config.auth.scheme, Scheme::Token(_)),
            warnings: config.warnings,
        }
    }

    /// The numbers of the mappings in which a setting can be: one, of no list, for most.
    fn mappings(&self, row: &Row) -> BTreeSet<Option<u32>> {
        let list = row.split().map(|(list, _)| list);
        let in_list =
            |slot: &&Slot| list.is_some() && slot.row.split().map(|(list, _)| list) == list;
        let mut found: BTreeSet<_> =
            self.slots.iter().filter(in_list).map(|slot| slot.place.mapping).collect();
        if found.is_empty() {
            found.insert(None);
        }
        found
    }

    fn effective(
        &self,
        entry: &'static dyn Entry,
        mapping: Option<u32>,
        config: Option<&Config>,
    ) -> Effective {
        let row = entry.row();
        let is_own = |slot: &&Slot| slot.row.key == row.key && slot.place.mapping == mapping;
        let sources = |slots: &'_ [Slot]| -> Vec<Source> {
            slots.iter().filter(is_own).map(Slot::source).collect()
        };
        let description = entry.describe();
        let given = sources(&self.slots);
        let own: Vec<_> = self.slots.iter().filter(is_own).collect();
        let (value, differs) = value(entry, &own, &description);
        let empty = !given.is_empty() && !differs && own.iter().all(|slot| slot.is_blank());
        let without_effect = match config {
            Some(config) if !given.is_empty() => without_effect(row, config),
            _ => None,
        };
        Effective {
            row,
            mapping,
            value,
            source: given.into_iter().next_back().unwrap_or(Source::Default),
            overridden: sources(&self.overridden),
            without_effect,
            differs,
            empty,
            description,
        }
    }
}

/// The value, and whether it is another one than the default.
fn value(entry: &dyn Entry, own: &[&Slot], description: &Description) -> (Value, bool) {
    let row = entry.row();
    if row.shape == Shape::EachMap {
        return headers(row, own);
    }
    if row.shape.has_items() {
        let is_item = |slot: &&&Slot| slot.place.item.is_some();
        let whole: Vec<_> = own.iter().copied().rfind(|slot| !is_item(&slot)).into_iter().collect();
        let mut numbered: Vec<_> = own.iter().filter(is_item).copied().collect();
        numbered.sort_by_key(|slot| slot.place.item);
        let texts = |slots: &[&Slot]| -> Vec<String> {
            slots.iter().map(|slot| slot.value.clone()).collect()
        };
        let items = entry.items(&texts(&whole), &texts(&numbered));
        let slots = [whole, numbered].concat();
        let items = items
            .into_iter()
            .filter_map(|(text, at)| Some((secrets::shown(row, &text), slots.get(at)?.source())));
        let items: Vec<_> = items.collect();
        return if items.is_empty() { (Value::Unset, false) } else { (Value::List(items), true) };
    }
    let default = description.default.clone().map_or(Value::Unset, Value::Text);
    let Some(slot) = own.last() else { return (default, false) };
    let differs = entry.differs(&slot.value);
    let text = match (slot.is_blank(), differs) {
        (true, false) => return (default, false),
        // As a file can have it.
        (true, true) if description.kind == "boolean" => "false".to_owned(),
        _ => secrets::shown(row, &slot.value),
    };
    (Value::Text(text), differs)
}

/// The names of headers, with masks for their values.
fn headers(row: &Row, own: &[&Slot]) -> (Value, bool) {
    let line = |name: &str, value: &str| format!("{name}: {}", secrets::shown(row, value));
    let mut items = Vec::new();
    for slot in own {
        if let Some(name) = &slot.place.below {
            items.push((line(name, &slot.value), slot.source()));
            continue;
        }
        let pairs = slot.value.lines().filter_map(|line| line.split_once(':'));
        items.extend(pairs.map(|(name, value)| (line(name.trim(), value), slot.source())));
    }
    if items.is_empty() { (Value::Unset, false) } else { (Value::List(items), true) }
}

impl Slot {
    fn source(&self) -> Source {
        Source::of(&self.name, self.line)
    }
}

/// Why a valid setting has no effect: another one chooses what it is not for.
fn without_effect(row: &Row, config: &Config) -> Option<String> {
    let driver = match config.cloud.as_ref().map(|cloud| &cloud.service) {
        None => (&STORAGE_FILESYSTEM, "filesystem"),
        Some(Service::S3(_)) => (&STORAGE_S3, "s3"),
        Some(Service::Gcs(_)) => (&STORAGE_GCS, "gcs"),
        Some(Service::Azure(_)) => (&STORAGE_AZURE, "azure"),
    };
    let is_in = |sections: &[&Section]| sections.iter().any(|section| section.holds(row.key));
    let of_drivers = [&STORAGE_FILESYSTEM, &STORAGE_S3, &STORAGE_GCS, &STORAGE_AZURE];
    if is_in(&of_drivers) && !driver.0.holds(row.key) {
        return Some(format!("the data is in {}", driver.1));
    }
    match config.auth.scheme {
        Scheme::None if is_in(&[&AUTH_HTPASSWD, &AUTH_TOKEN]) => {
            Some("users do not authenticate (auth is none)".to_owned())
        }
        Scheme::Htpasswd if is_in(&[&AUTH_TOKEN]) => {
            Some("users authenticate by passwords (auth is htpasswd)".to_owned())
        }
        _ => None,
    }
}
