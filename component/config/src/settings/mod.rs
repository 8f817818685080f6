//! The table of settings.
//!
//! A setting is one row: its key, what it is read into, who needs it, what it
//! means. All else follows from the row: the name of its variable, what is said
//! of a wrong value, the suggestion for a misspelt name, `roadstead serve
//! --help`, `docs/configuration.md`, and whether the component is told its
//! value.
//!
//! To add a setting, add a row to the file of its section and a field to
//! [`Config`](crate::Config) that is read from it, then have the tests write the
//! documentation again: `ROADSTEAD_BLESS=1 cargo test -p roadstead-config`.

mod auth;
mod azure;
mod gcs;
mod health;
mod http;
pub(crate) mod kinds;
mod log;
mod notifications;
mod others;
mod policy;
mod s3;
mod storage;
mod stores;
mod tls;
mod ui;
mod unread;

pub(crate) use auth::*;
pub(crate) use azure::*;
pub(crate) use gcs::*;
pub(crate) use health::*;
pub(crate) use http::*;
pub(crate) use kinds::{
    Description, Each, HeaderLines, List, Number, Parsed, Path, Statements, ValueType, duration,
    written,
};
pub(crate) use log::*;
pub(crate) use notifications::*;
pub(crate) use policy::*;
pub(crate) use s3::*;
pub(crate) use storage::*;
pub(crate) use tls::*;
pub(crate) use ui::*;

use crate::PREFIX;
use std::fmt;
use std::ops::Not as _;

/// Who needs a setting's value where the native host runs the component.
/// Without a native host, the component reads all settings itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// The native host alone; the component is not told.
    Host,
    /// The native host; the component is told only that it is set.
    HostAndPresence,
    /// The component alone.
    Component,
    /// Both.
    Both,
}

/// What becomes of a setting.
#[derive(Clone, Copy, Debug)]
pub enum State {
    /// It is used.
    Used,
    /// It is accepted and has no effect: for this reason, nothing is lost.
    Ignored(&'static str),
    /// It is accepted and has no effect, which a warning at the start says with
    /// this reason, unless the value asks for what happens anyway.
    IgnoredWithWarning(&'static str, fn(&str) -> bool),
    /// It is accepted and has no effect; a warning names the setting to use.
    Deprecated(&'static Row),
    /// It stops the start: it asks for what this registry does not do. The text
    /// says what to do instead.
    Refused(&'static str),
}

/// Which names belong to a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shape {
    /// Its key.
    One,
    /// Its key for a whole list, and the key with a number for an item.
    List,
    /// Its key and everything below it.
    Tree,
    /// Everything below its key.
    Below,
    /// Its key in each mapping of a list, which is the first two parts of the key.
    Each,
    /// The same of a list.
    EachList,
    /// The same of a mapping, the names of which are free.
    EachMap,
}

impl Shape {
    /// Whether it is a part of each mapping of a list.
    pub(crate) const fn is_each(self) -> bool {
        matches!(self, Self::Each | Self::EachList | Self::EachMap)
    }

    /// Whether its values are items.
    pub(crate) const fn has_items(self) -> bool {
        matches!(self, Self::List | Self::EachList | Self::EachMap)
    }
}

/// What all settings have, whatever they are read into.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each says something else of it")]
pub struct Row {
    pub(crate) key: &'static str,
    pub(crate) shape: Shape,
    pub(crate) scope: Scope,
    pub(crate) state: State,
    /// For the documentation, in Markdown.
    pub(crate) meaning: &'static str,
    /// For `serve --help`, if it is worth a line there.
    pub(crate) help: Option<&'static str>,
    /// The default, where it is not a value of the setting.
    pub(crate) default: Option<&'static str>,
    /// Whether messages must not repeat the value.
    pub(crate) secret: bool,
    /// Whether distribution does not have it.
    pub(crate) ours: bool,
    /// What distribution does otherwise with it.
    pub(crate) differs: Option<&'static str>,
    /// Whether it is refused even if a file gives it no value.
    pub(crate) even_empty: bool,
    /// Whether items of a list may be maps in a file, which are read as JSON: for lists within
    /// lists, which rows for keys cannot hold.
    pub(crate) maps: bool,
}

impl Row {
    /// Its key in `config.yml`, with dots between the sections: `http.addr`.
    pub const fn key(&self) -> &'static str {
        self.key
    }

    /// Its name in the environment: `REGISTRY_HTTP_ADDR`; in a list of mappings, that of the
    /// first one.
    pub fn variable(&self) -> String {
        self.variable_of(0)
    }

    /// The same in the mapping with this number.
    pub(crate) fn variable_of(&self, mapping: u32) -> String {
        match self.split() {
            Some((list, rest)) => variable(&format!("{list}.{mapping}.{rest}")),
            None => variable(self.key),
        }
    }

    /// Its key as in `notifications.endpoints[].url`, with a number in the brackets if one is given.
    pub(crate) fn key_of(&self, mapping: Option<u32>) -> String {
        let number = mapping.map(|number| number.to_string()).unwrap_or_default();
        match self.split() {
            Some((list, rest)) => format!("{list}[{number}].{rest}"),
            None => self.key.to_owned(),
        }
    }

    /// The list of mappings that it is in, and its key there.
    pub(crate) fn split(&self) -> Option<(&'static str, &'static str)> {
        let mut dots = self.key.match_indices('.').filter(|_| self.shape.is_each());
        let (at, _) = dots.nth(1)?;
        Some((&self.key[..at], &self.key[at + 1..]))
    }

    /// Who needs its value.
    pub const fn scope(&self) -> Scope {
        self.scope
    }

    /// What becomes of it.
    pub const fn state(&self) -> State {
        self.state
    }

    /// The parts of its key.
    pub(crate) fn parts(&self) -> impl DoubleEndedIterator<Item = &'static str> + Clone {
        self.key.split('.')
    }

    /// Whether its value is secret, and must not be shown.
    pub const fn is_secret(&self) -> bool {
        self.secret
    }

    /// Whether it is a setting here, and not only a name of distribution's.
    pub const fn is_used(&self) -> bool {
        matches!(self.state, State::Used)
    }
}

/// The name in the environment of a key.
pub(crate) fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "_").to_ascii_uppercase())
}

/// A row, and how its text is read.
pub(crate) struct Setting<K> {
    pub(crate) row: Row,
    pub(crate) kind: K,
}

impl<K: ValueType> Setting<K> {
    /// A setting that is used.
    const fn new(key: &'static str, scope: Scope, kind: K, meaning: &'static str) -> Self {
        let row = Row {
            key,
            shape: K::SHAPE,
            scope,
            state: State::Used,
            meaning,
            help: None,
            default: None,
            secret: false,
            ours: false,
            differs: None,
            even_empty: false,
            maps: false,
        };
        Self { row, kind }
    }

    /// A name of distribution's that is not used.
    const fn unused(key: &'static str, state: State, kind: K) -> Self {
        // It would be the host's if it were used: the component is told nothing.
        let mut setting = Self::new(key, Scope::Host, kind, "");
        setting.row.state = state;
        setting
    }

    const fn ignored(key: &'static str, reason: &'static str, kind: K) -> Self {
        Self::unused(key, State::Ignored(reason), kind)
    }

    const fn refused(key: &'static str, instead: &'static str, kind: K) -> Self {
        Self::unused(key, State::Refused(instead), kind)
    }

    /// Gives it a line in `serve --help`.
    const fn help(mut self, text: &'static str) -> Self {
        self.row.help = Some(text);
        self
    }

    /// Says what the default is, where it is not a value of the setting.
    const fn by_default(mut self, text: &'static str) -> Self {
        self.row.default = Some(text);
        self
    }

    /// Keeps the value out of messages.
    const fn secret(mut self) -> Self {
        self.row.secret = true;
        self
    }

    /// Distribution does not have it.
    const fn ours(mut self) -> Self {
        self.row.ours = true;
        self
    }

    /// Says what distribution does otherwise.
    const fn differs(mut self, text: &'static str) -> Self {
        self.row.differs = Some(text);
        self
    }

    /// Reads items that are maps in a file.
    const fn maps(mut self) -> Self {
        self.row.maps = true;
        self
    }

    /// Refuses it even where a file gives it no value.
    const fn even_empty(mut self) -> Self {
        self.row.even_empty = true;
        self
    }
}

/// A setting of any kind.
pub(crate) trait Entry: Sync {
    fn row(&self) -> &Row;
    fn describe(&self) -> Description;
    /// Whether a text is read into another value than the default, or is wrong.
    fn differs(&self, text: &str) -> bool;
    /// The items of a list, in their order: of one text for all of it, and of texts for each.
    fn items(&self, whole: &[String], items: &[String]) -> ListItems;
}

/// The items of a list: their texts, each with the place of the text that it comes from
/// among those of whole lists and of items, in this order.
pub(crate) type ListItems = Vec<(String, usize)>;

impl<K: ValueType> Entry for Setting<K> {
    fn row(&self) -> &Row {
        &self.row
    }

    fn describe(&self) -> Description {
        self.kind.describe()
    }

    fn differs(&self, text: &str) -> bool {
        self.kind.parse(text).is_ok_and(|value| value == self.kind.default()).not()
    }

    fn items(&self, whole: &[String], items: &[String]) -> ListItems {
        let split = whole.iter().zip(0..);
        let split = split.flat_map(|(text, at)| K::split(text).into_iter().map(move |t| (t, at)));
        let numbered = items.iter().zip(whole.len()..);
        let numbered = numbered.filter_map(|(text, at)| Some((K::counted(text)?, at)));
        if K::ITEMS_LAST {
            split.chain(numbered).collect()
        } else {
            numbered.chain(split).collect()
        }
    }
}

impl fmt::Debug for dyn Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().key)
    }
}

/// Declares rows, and the list of them in the order of the documentation.
macro_rules! table {
    ($list:ident: $($(#[$attribute:meta])* $name:ident: $kind:ty = $row:expr;)*) => {
        $($(#[$attribute])* pub(crate) static $name: $crate::settings::Setting<$kind> = $row;)*
        pub(super) static $list: &[&'static dyn $crate::settings::Entry] = &[$(&$name),*];
    };
}
use table;

/// A part of the table with a heading in the documentation.
pub(crate) struct Group {
    pub(crate) title: &'static str,
    pub(crate) intro: &'static str,
    pub(crate) rows: &'static [&'static dyn Entry],
}

/// The table: distribution's settings, and ours in its style.
pub(crate) static GROUPS: [Group; 13] = [
    Group { title: "HTTP", intro: "", rows: HTTP_TABLE },
    Group {
        title: "TLS",
        intro: "With a certificate, HTTPS is served and plain HTTP is not. [tls.md](tls.md) says \
                how to get one. Files are read again when they change.",
        rows: TLS_TABLE,
    },
    Group {
        title: "Storage",
        intro: "The data is in a directory or in an object store. [storage.md](storage.md) \
                describes its layout, which is distribution's.",
        rows: STORAGE_TABLE,
    },
    Group {
        title: "Amazon S3 and compatible stores",
        intro: "The bucket must exist. At the start, the native host checks that the store \
                answers, and that an S3 store can be written to. It lets the component send \
                requests to the store, with Azure's `client_secret` also to \
                `login.microsoftonline.com`, and nowhere else. Where the settings have no keys, \
                the host itself gets the \
                [credentials of the platform](storage.md#credentials-of-the-platform). If the \
                store's certificate is not trusted, the start fails and names `rootcertbundle`.",
        rows: S3_TABLE,
    },
    Group { title: "Google Cloud Storage", intro: "", rows: GCS_TABLE },
    Group { title: "Azure Blob Storage", intro: "", rows: AZURE_TABLE },
    Group {
        title: "Authentication and authorization",
        intro: "Without any of these, everyone who reaches the registry may do everything. \
                [access.md](access.md) explains them.",
        rows: AUTH_TABLE,
    },
    Group {
        title: "Policies",
        intro: "Rules for what is stored, whoever stores it. [policies.md](policies.md) explains \
                them.",
        rows: POLICY_TABLE,
    },
    Group {
        title: "Notifications",
        intro: "Events are sent to each endpoint of a list. A variable has the number of an endpoint, \
                from 0. [notifications.md](notifications.md) explains them.",
        rows: NOTIFICATIONS_TABLE,
    },
    Group { title: "Logs", intro: "", rows: LOG_TABLE },
    Group {
        title: "Health",
        intro: "[operations.md](operations.md#health-checks) says what is checked, and by which requests \
                others can ask.",
        rows: HEALTH_TABLE,
    },
    Group { title: "Page", intro: "", rows: UI_TABLE },
    Group { title: "", intro: "", rows: others::OTHERS_TABLE },
];

/// All entries.
pub(crate) fn entries() -> impl Iterator<Item = &'static dyn Entry> {
    GROUPS.iter().flat_map(|group| group.rows).copied()
}

/// All rows of the table: every setting, and every name of distribution's that
/// is ignored or refused.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    entries().map(Entry::row)
}

/// The top-level keys of distribution's configuration, those of version 2
/// included, and of this registry's own. A variable in none of them is not a setting.
pub(crate) const TOP_LEVEL: [&str; 18] = [
    "auth",
    "catalog",
    "compatibility",
    "health",
    "http",
    "log",
    "loglevel",
    "middleware",
    "notifications",
    "policy",
    "proxy",
    "redis",
    "reporting",
    "storage",
    "tags",
    "ui",
    "validation",
    "version",
];

/// A key with settings below it.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) key: &'static str,
    /// What to do if a file has it without any value: to leave it out would
    /// mean something else.
    pub(crate) empty: Option<&'static str>,
    /// The setting that, where it is set, decides without looking at sections.
    pub(crate) unless: Option<&'static Row>,
}

impl Section {
    const fn new(key: &'static str) -> Self {
        Self { key, empty: None, unless: None }
    }

    const fn not_empty(key: &'static str, todo: &'static str) -> Self {
        Self { key, empty: Some(todo), unless: None }
    }

    const fn unless(mut self, row: &'static Row) -> Self {
        self.unless = Some(row);
        self
    }

    /// Whether a key is the section's or below it.
    pub(crate) fn holds(&self, key: &str) -> bool {
        key.strip_prefix(self.key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

/// The sections that must not be empty in a file.
pub(crate) static NOT_EMPTY: [&Section; 10] = [
    &AUTH_HTPASSWD,
    &AUTH_TOKEN,
    &AUTH_OIDC,
    &RULES,
    &IMMUTABLE,
    &QUOTAS,
    &STORAGE_S3,
    &STORAGE_GCS,
    &STORAGE_AZURE,
    &STORAGE_READONLY,
];
