//! Settings as someone gave them: where, under which name, and the row that
//! the name belongs to.

use crate::PREFIX;
use crate::settings::{Row, Shape, rows, variable};
use std::fmt;
use std::sync::Arc;

/// A setting as a file or the environment gives it.
#[derive(Clone)]
pub struct Given {
    pub(crate) name: Name,
    /// Its text; `None` if a file names it and gives it no value.
    pub(crate) value: Option<String>,
    /// The line of a file that has it, from 1, if that is known.
    pub(crate) line: Option<u32>,
}

impl Given {
    /// A variable of the environment.
    pub fn variable(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: Name::Variable(name.into()), value: Some(value.into()), line: None }
    }

    /// A value of a configuration file, which messages call `file`. `None` is
    /// for a key that has no value, no item and no key below it.
    pub fn key(file: &Arc<str>, path: Vec<Step>, value: Option<String>) -> Self {
        Self { name: Name::Key { file: Arc::clone(file), path }, value, line: None }
    }

    /// Whether a key of a file is an item of a list whose items may be maps: such a map is one
    /// value, as JSON.
    pub fn may_be_map(path: &[Step]) -> bool {
        let item =
            |row: &&Row| row.maps && fits_path(row, path).is_some_and(|at| at.item.is_some());
        rows().find(item).is_some()
    }

    /// The same with the line of the file that has it, from 1: for reports alone.
    #[must_use]
    pub const fn at_line(mut self, line: Option<u32>) -> Self {
        self.line = line;
        self
    }

    /// The line of a file that has it, if that is known.
    pub const fn line(&self) -> Option<u32> {
        self.line
    }

    /// The steps of a file's key; none of a variable.
    pub fn path(&self) -> Option<&[Step]> {
        match &self.name {
            Name::Key { path, .. } => Some(path),
            Name::Variable(_) => None,
        }
    }
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The value may be a secret.
        write!(f, "Given({})", self.name)
    }
}

/// A step on the way to a value of a configuration file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// A key of a mapping, as it is written.
    Key(String),
    /// An item of a list.
    Item(u32),
}

impl Step {
    /// A path as messages have it: `http.tls.clientcas[0]`.
    pub fn join(path: &[Self]) -> String {
        let mut text = String::new();
        for step in path {
            match step {
                Self::Key(key) if text.is_empty() => text.push_str(key),
                Self::Key(key) => text.extend([".", key]),
                Self::Item(index) => text.extend(["[", &index.to_string(), "]"]),
            }
        }
        text
    }
}

/// A setting's name as it was given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Name {
    Variable(String),
    Key { file: Arc<str>, path: Vec<Step> },
}

/// Which kind of name someone uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Style {
    /// `REGISTRY_HTTP_ADDR`.
    Variable,
    /// `http.addr`.
    Key,
}

impl Style {
    /// A setting's name, or a section's.
    pub(crate) fn name(self, key: &str) -> String {
        match self {
            Self::Variable => variable(key),
            Self::Key => key.to_owned(),
        }
    }

    /// A setting and the value that it should have.
    pub(crate) fn with(self, key: &str, value: &str) -> String {
        match self {
            Self::Variable => format!("{}={value}", variable(key)),
            Self::Key => format!("{key}: {value}"),
        }
    }

    /// Puts names into a text that has keys in braces.
    pub(crate) fn fill(self, text: &str) -> String {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, (key, after))) =
            rest.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?)))
        {
            filled.extend([before, &self.name(key)]);
            rest = after;
        }
        filled + rest
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => f.write_str(name),
            Self::Key { path, .. } => f.write_str(&Step::join(path)),
        }
    }
}

impl Name {
    pub(crate) const fn style(&self) -> Style {
        match self {
            Self::Variable(_) => Style::Variable,
            Self::Key { .. } => Style::Key,
        }
    }

    /// The name, and for a key the file that has it.
    pub(crate) fn in_full(&self) -> String {
        self.in_full_to(usize::MAX)
    }

    /// The same for the first steps of a key.
    pub(crate) fn in_full_to(&self, steps: usize) -> String {
        match self {
            Self::Variable(name) => name.clone(),
            Self::Key { file, path } => {
                format!("{} in {file}", Step::join(&path[..steps.min(path.len())]))
            }
        }
    }

    /// The name with dots and in lower case, as rows have it: for a key as it
    /// is, and for a variable as far as its row goes.
    pub(crate) fn canonical(&self, row: Option<&Row>) -> String {
        match (self, row) {
            (Self::Variable(_), Some(row)) => row.key.to_owned(),
            (Self::Variable(name), None) => name.clone(),
            (Self::Key { path, .. }, _) => {
                let steps = path.iter().map(|step| match step {
                    Step::Key(key) => key.to_ascii_lowercase(),
                    Step::Item(index) => index.to_string(),
                });
                steps.collect::<Vec<_>>().join(".")
            }
        }
    }

    /// The name as a variable would have it, without the prefix: for what is
    /// like it.
    pub(crate) fn as_variable(&self) -> String {
        match self {
            Self::Variable(name) => name.strip_prefix(PREFIX).unwrap_or(name).to_owned(),
            Self::Key { .. } => self.canonical(None).replace('.', "_").to_ascii_uppercase(),
        }
    }

    /// The row that the name belongs to, and its place in lists.
    pub(crate) fn find(&self) -> Option<(&'static Row, Place)> {
        let found = rows().filter_map(|row| {
            let fit = match self {
                Self::Variable(name) => fits_variable(row, name.strip_prefix(PREFIX)?),
                Self::Key { path, .. } => fits_path(row, path),
            };
            Some((row, fit?))
        });
        // A row for one name goes before the tree that it stands in.
        found.max_by_key(|(row, _)| row.key.len())
    }

    /// Whether a key leads to settings and is none itself.
    pub(crate) fn is_section(&self) -> bool {
        /// What distribution takes for a section too.
        const EMPTY: [&str; 1] = ["auth.none"];
        let Self::Key { path, .. } = self else { return false };
        let leads_to = |path: &[Step], key: &str| {
            let mut parts = key.split('.');
            path.iter().all(|step| match (step, parts.next()) {
                (Step::Key(key), Some(part)) => key.eq_ignore_ascii_case(part),
                _ => false,
            })
        };
        let leads_to_row = |row: &'static Row| match mapping(row, path) {
            Some((_, steps, key)) => leads_to(steps, key),
            None => leads_to(path, row.key),
        };
        EMPTY.into_iter().any(|key| leads_to(path, key)) || rows().any(leads_to_row)
    }
}

/// Where a name is in the lists and mappings of its row.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct Place {
    /// The number of the mapping in a list of them.
    pub(crate) mapping: Option<u32>,
    /// The key below the row's, in lower case.
    pub(crate) below: Option<String>,
    /// The number of an item of a list.
    pub(crate) item: Option<u32>,
}

impl Place {
    const fn item(index: u32) -> Self {
        Self { mapping: None, below: None, item: Some(index) }
    }
}

/// Whether a variable's name, without the prefix, belongs to a row.
fn fits_variable(row: &Row, name: &str) -> Option<Place> {
    if let Some((list, key)) = row.split() {
        let (number, rest) = after(name, list)?.strip_prefix('_')?.split_once('_')?;
        let (mapping, rest) = (Some(index(number)?), after(rest, key)?);
        let place = |below: Option<&str>, item| {
            let below = below.map(|text| text.replace('_', "-").to_ascii_lowercase());
            Some(Place { mapping, below, item })
        };
        if rest.is_empty() {
            return place(None, None);
        }
        let rest = rest.strip_prefix('_')?;
        return match row.shape {
            Shape::EachList => place(None, Some(index(rest)?)),
            Shape::EachMap => match rest.rsplit_once('_').map(|(name, item)| (name, index(item))) {
                Some((name, item @ Some(_))) => place(Some(name), item),
                _ => place(Some(rest), None),
            },
            _ => None,
        };
    }
    let rest = after(name, row.key)?;
    match row.shape {
        Shape::One | Shape::List | Shape::Tree if rest.is_empty() => Some(Place::default()),
        // Under another name than a number, an item would be left out silently.
        Shape::List => index(rest.strip_prefix('_')?).map(Place::item),
        Shape::Tree | Shape::Below if rest.starts_with('_') => Some(Place::default()),
        _ => None,
    }
}

/// What follows a key in a variable's name.
fn after<'a>(name: &'a str, key: &str) -> Option<&'a str> {
    let mut rest = name.bytes();
    for byte in key.bytes() {
        let expected = if byte == b'.' { b'_' } else { byte.to_ascii_uppercase() };
        if rest.next() != Some(expected) {
            return None;
        }
    }
    Some(&name[name.len() - rest.len()..])
}

/// A number in the one form that it has: two names of an item would be one in
/// the component's environment.
fn index(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let plain = text == "0" || !text.starts_with('0');
    (digits && plain).then(|| text.parse().ok()).flatten()
}

/// Whether a key of a file belongs to a row.
fn fits_path(row: &Row, path: &[Step]) -> Option<Place> {
    if let Some((mapping, steps, key)) = mapping(row, path) {
        let rest = steps_after(steps, key)?;
        let place = |below: Option<&String>, item: Option<&u32>| {
            let below = below.map(|text| text.to_ascii_lowercase());
            Some(Place { mapping: Some(mapping), below, item: item.copied() })
        };
        return match (row.shape, rest) {
            (_, []) => place(None, None),
            (Shape::EachList, [Step::Item(item)]) => place(None, Some(item)),
            (Shape::EachMap, [Step::Key(name)]) => place(Some(name), None),
            (Shape::EachMap, [Step::Key(name), Step::Item(item)]) => place(Some(name), Some(item)),
            _ => None,
        };
    }
    if row.shape.is_each() {
        return None;
    }
    match (row.shape, steps_after(path, row.key)?) {
        (Shape::List, [Step::Item(index)]) => Some(Place::item(*index)),
        (Shape::One | Shape::List | Shape::Tree, []) | (Shape::Tree | Shape::Below, [_, ..]) => {
            Some(Place::default())
        }
        _ => None,
    }
}

/// The number of a mapping in the list that a row is in, the steps after it, and the row's key
/// there.
fn mapping<'a>(row: &Row, path: &'a [Step]) -> Option<(u32, &'a [Step], &'static str)> {
    let (list, key) = row.split()?;
    match steps_after(path, list)? {
        [Step::Item(number), steps @ ..] => Some((*number, steps, key)),
        _ => None,
    }
}

/// The steps after those of a key.
fn steps_after<'a>(mut path: &'a [Step], key: &str) -> Option<&'a [Step]> {
    for part in key.split('.') {
        match path {
            [Step::Key(key), after @ ..] if key.eq_ignore_ascii_case(part) => path = after,
            _ => return None,
        }
    }
    Some(path)
}

/// Kubernetes gives every container variables for each service of its
/// namespace; a service called `registry` looks like settings.
pub(crate) fn set_by_kubernetes(variable: &str) -> bool {
    let Some(key) = variable.strip_prefix(PREFIX) else { return false };
    let of_port = |rest: &str| {
        let end = rest.find('_').unwrap_or(rest.len());
        end > 0 && rest[..end].bytes().all(|b| b.is_ascii_digit())
    };
    matches!(key, "SERVICE_HOST" | "PORT")
        || key.starts_with("SERVICE_PORT")
        || key.strip_prefix("PORT_").is_some_and(of_port)
}
