//! All settings that were given, matched with their rows: what is wrong with
//! their names, which one counts, and what the component is told.

use crate::PREFIX;
use crate::given::{Given, Name, Place, Style, set_by_kubernetes};
use crate::nearest::nearest;
use crate::secrets;
use crate::settings::{NOT_EMPTY, Row, Scope, Section, Shape, State, TOP_LEVEL};
use std::{fmt, mem};

/// What the component is told in place of a value that only the host needs.
const PRESENT: &str = "the host has it";

/// The settings of a file and of the environment.
#[derive(Default)]
pub struct Settings {
    /// Those that count.
    pub(crate) slots: Vec<Slot>,
    /// Those of a file that variables override.
    pub(crate) overridden: Vec<Slot>,
    pub(crate) names: Vec<Seen>,
    notices: Vec<Notice>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Values may be secrets.
        f.debug_list().entries(self.names.iter().map(|seen| &seen.key)).finish()
    }
}

/// A name that was given.
pub(crate) struct Seen {
    /// The name in the form of [`Name::canonical`].
    key: String,
    pub(crate) name: Name,
    /// Whether it belongs to a row, or to a section.
    pub(crate) known: bool,
    /// The row that it belongs to.
    pub(crate) row: Option<&'static Row>,
    /// The line of a file that has it, if that is known.
    pub(crate) line: Option<u32>,
    /// What becomes of its value, if it is not used.
    pub(crate) unused: Option<Fate>,
}

/// What becomes of a value that is not used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    /// Its row says.
    OfRow,
    /// It asks for what happens anyway.
    Anyway,
}

/// A setting's value.
pub(crate) struct Slot {
    pub(crate) row: &'static Row,
    /// Where it is in a list: nowhere if it is a whole list, and for most others.
    pub(crate) place: Place,
    pub(crate) name: Name,
    pub(crate) value: String,
    /// The line of a file that has it, if that is known.
    pub(crate) line: Option<u32>,
}

impl Slot {
    pub(crate) fn is_blank(&self) -> bool {
        self.value.trim().is_empty()
    }
}

/// What is to be said of a name.
struct Notice {
    row: Option<&'static Row>,
    name: String,
    style: Style,
    /// How many more variables it is said of.
    more: usize,
    what: What,
}

enum What {
    Problem(String),
    Refused(&'static str),
    Warning(String),
    Ignored(&'static str),
    Deprecated(&'static Row),
}

impl Settings {
    /// Matches what was given. Variables override keys of a file, in whatever
    /// order they come; a variable for a whole list replaces the file's list,
    /// and one for an item that item.
    pub fn gather(given: impl IntoIterator<Item = Given>) -> Self {
        let mut settings = Self::default();
        for Given { name, value, line } in given {
            if let Name::Variable(variable) = &name
                && (!variable.starts_with(PREFIX) || set_by_kubernetes(variable))
            {
                continue;
            }
            let found = name.find();
            let row = found.as_ref().map(|(row, _)| *row);
            let key = name.canonical(row);
            let known = found.is_some() || value.is_none() && name.is_section();
            let unused = fate(row, value.as_deref());
            settings.names.push(Seen { key, name: name.clone(), known, row, line, unused });
            match (found, value) {
                (Some((row, place)), Some(value)) => {
                    settings.take(Slot { row, place, name, value, line });
                }
                (Some((row, place)), None) => settings.take_empty(row, &place, &name),
                (None, _) if known => {}
                (None, _) => settings.unknown(&name),
            }
        }
        for section in NOT_EMPTY {
            settings.check_not_empty(section);
        }
        settings
    }

    fn take(&mut self, slot: Slot) {
        let row = slot.row;
        match row.state {
            State::Used => self.put(slot),
            State::Ignored(_) => {}
            State::IgnoredWithWarning(_, so_anyway) if so_anyway(&slot.value) => {}
            State::IgnoredWithWarning(reason, _) => {
                self.note(row, &slot.name, What::Ignored(reason));
            }
            State::Deprecated(other) => self.note(row, &slot.name, What::Deprecated(other)),
            State::Refused(instead) => self.note(row, &slot.name, What::Refused(instead)),
        }
    }

    /// Takes a key without a value.
    fn take_empty(&mut self, row: &'static Row, place: &Place, name: &Name) {
        match row.state {
            State::Refused(instead) if row.even_empty => {
                self.note(row, name, What::Refused(instead));
            }
            State::Used if place.item.is_some() => {
                self.problem(name, format!("{} has no value", name.in_full()));
            }
            _ => {}
        }
    }

    /// Keeps a value, in place of those that it overrides.
    fn put(&mut self, slot: Slot) {
        let same = |other: &Slot| other.row.key == slot.row.key && other.place == slot.place;
        let of_list = |other: &Slot| {
            other.row.key == slot.row.key && other.place.mapping == slot.place.mapping
        };
        let whole_list = is_whole_list(&slot);
        match slot.name.style() {
            Style::Variable => {
                // The environment has each name once.
                self.slots.retain(|other| other.name != slot.name);
                let overrides = |other: &Slot| {
                    other.name.style() == Style::Key
                        && (same(other) || whole_list && of_list(other))
                };
                let (gone, kept): (Vec<_>, Vec<_>) =
                    mem::take(&mut self.slots).into_iter().partition(overrides);
                self.slots = kept;
                self.overridden.extend(gone);
            }
            Style::Key => {
                let of_environment = |other: &&Slot| other.name.style() == Style::Variable;
                let mut overriding = self.slots.iter().filter(of_environment);
                if overriding.any(|other| same(other) || of_list(other) && is_whole_list(other)) {
                    self.overridden.push(slot);
                    return;
                }
                if let Some(other) = self.slots.iter().find(|other| same(other)) {
                    let problem = format!(
                        "{} and {} are the same setting; keep one of them",
                        other.name,
                        slot.name.in_full()
                    );
                    return self.problem(&slot.name.clone(), problem);
                }
            }
        }
        self.slots.push(slot);
    }

    /// A name of no row: an error within the configuration's sections, and
    /// elsewhere someone else's variable, as it probably is.
    fn unknown(&mut self, name: &Name) {
        let suggestion = match nearest(&name.as_variable()) {
            None => String::new(),
            Some(row) => {
                let shown = match name.style() {
                    Style::Variable => row.variable(),
                    Style::Key => row.key_of(Some(0)),
                };
                let shown = match (name.style(), row.shape) {
                    (Style::Variable, Shape::List) if is_below(name, row) => format!("{shown}_0"),
                    (Style::Key, Shape::List) if is_below(name, row) => {
                        format!("{shown}, which is a list")
                    }
                    _ => shown,
                };
                format!("; did you mean {shown}?")
            }
        };
        let shown = name.in_full();
        if let Name::Variable(variable) = name
            && !is_in_section(variable)
        {
            let what = What::Warning(format!(
                "{shown} is ignored: it is in no section of the configuration{suggestion}"
            ));
            return self.push(None, name, shown, what);
        }
        self.problem(name, format!("{shown} is not a setting{suggestion}"));
    }

    /// Refuses a section that a file has without any value.
    fn check_not_empty(&mut self, section: &'static Section) {
        let Some(todo) = section.empty else { return };
        let has_value = |slot: &Slot| !slot.is_blank() && section.holds(slot.row.key);
        let decided = |slot: &Slot| {
            section.unless.is_some_and(|row| row.key == slot.row.key && !slot.is_blank())
        };
        if self.slots.iter().any(|slot| has_value(slot) || decided(slot)) {
            return;
        }
        let of_file = |seen: &&Seen| {
            seen.known && seen.name.style() == Style::Key && section.holds(&seen.key)
        };
        if let Some(name) = self.names.iter().find(of_file).map(|seen| seen.name.clone()) {
            let shown = name.in_full_to(section.key.split('.').count());
            let problem = format!("{shown} holds nothing: {}", Style::Key.fill(todo));
            self.problem(&name, problem);
        }
    }

    /// Says something of a name, and no more of the others of the same row than
    /// how many they are. The keys of a tree are one name.
    fn note(&mut self, row: &'static Row, name: &Name, what: What) {
        let below = usize::from(row.shape == Shape::Below);
        let shown = name.in_full_to(row.parts().count() + below);
        let same = |notice: &&mut Notice| {
            notice.row.is_some_and(|other| other.key == row.key) && notice.style == name.style()
        };
        match self.notices.iter_mut().find(same) {
            Some(notice) if notice.name == shown => {}
            Some(notice) => notice.more += 1,
            None => self.push(Some(row), name, shown, what),
        }
    }

    fn problem(&mut self, name: &Name, problem: String) {
        self.push(None, name, String::new(), What::Problem(problem));
    }

    fn push(&mut self, row: Option<&'static Row>, name: &Name, shown: String, what: What) {
        self.notices.push(Notice { row, name: shown, style: name.style(), more: 0, what });
    }

    /// What is wrong with names.
    pub(crate) fn problems(&self) -> Vec<String> {
        let problems = self.notices.iter().filter_map(|notice| match &notice.what {
            What::Problem(problem) => Some(problem.clone()),
            What::Refused(instead) => Some(notice.says("not supported", instead)),
            _ => None,
        });
        problems.collect()
    }

    /// What someone may want to know who gave these settings.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let warnings = self.notices.iter().filter_map(|notice| match &notice.what {
            What::Warning(warning) => Some(warning.clone()),
            What::Ignored(reason) => Some(notice.says("ignored", reason)),
            What::Deprecated(other) => {
                let todo = format!("use {}", notice.style.name(other.key));
                Some(notice.says("deprecated and ignored", &todo))
            }
            _ => None,
        });
        warnings.collect()
    }

    /// How someone who gave these settings names one that may not be among
    /// them: as those next to it.
    pub(crate) fn style(&self, key: &str) -> Style {
        let alike = |other: &str| {
            let parts = key.split('.').zip(other.split('.'));
            parts.take_while(|(a, b)| a == b).count()
        };
        let names = self.names.iter().map(|seen| (alike(&seen.key), seen.name.style()));
        let nearest = names
            .filter(|(alike, _)| *alike > 0)
            .max_by_key(|(alike, style)| (*alike, *style == Style::Key));
        nearest.map_or(Style::Variable, |(_, style)| style)
    }

    /// The settings that the component is given, by their keys, as they may be shown: those that
    /// say where secrets are, or are part of one, are left out.
    pub fn shown(&self) -> Vec<(String, String)> {
        let shown = self.slots.iter().filter(|slot| {
            let row = slot.row;
            let is_told = matches!(row.scope, Scope::Component | Scope::Both);
            let names_key = row.key.ends_with("key") || row.key.contains(".credentials");
            is_told && row.is_used() && !row.secret && !names_key && !slot.is_blank()
        });
        let text = |slot: &Slot| {
            let item = slot.place.item.map(|index| format!("[{index}]")).unwrap_or_default();
            (slot.row.key_of(None) + &item, secrets::shown(slot.row, &slot.value))
        };
        shown.map(text).collect()
    }

    /// What the component finds in its environment: the settings whose rows say
    /// that it needs them, and nothing else.
    pub fn for_component(&self) -> Vec<(String, String)> {
        let told = self.slots.iter().filter_map(|slot| {
            let value = match slot.row.scope {
                Scope::Component | Scope::Both => slot.value.clone(),
                Scope::HostAndPresence if !slot.is_blank() => PRESENT.to_owned(),
                Scope::HostAndPresence | Scope::Host => return None,
            };
            let item = slot.place.item.map(|index| format!("_{index}")).unwrap_or_default();
            Some((slot.row.variable() + &item, value))
        });
        told.collect()
    }
}

impl Notice {
    /// `REGISTRY_A and 2 more are not supported: …`
    fn says(&self, what: &str, text: &str) -> String {
        let Self { name, more, style, .. } = self;
        let text = style.fill(text);
        match more {
            0 => format!("{name} is {what}: {text}"),
            more => format!("{name} and {more} more are {what}: {text}"),
        }
    }
}

/// What becomes of a value that is not used; `None` of one that is, and of no value.
fn fate(row: Option<&'static Row>, value: Option<&str>) -> Option<Fate> {
    let (row, value) = (row?, value?);
    match row.state {
        State::Used => None,
        State::IgnoredWithWarning(_, so_anyway) if so_anyway(value) => Some(Fate::Anyway),
        _ => Some(Fate::OfRow),
    }
}

fn is_whole_list(slot: &Slot) -> bool {
    slot.row.shape.has_items() && slot.place.item.is_none() && slot.place.below.is_none()
}

/// Whether a name is in one of the configuration's sections.
fn is_in_section(variable: &str) -> bool {
    let key = variable.strip_prefix(PREFIX).unwrap_or(variable);
    let first = key.split('_').next().unwrap_or(key);
    TOP_LEVEL.iter().any(|section| section.to_ascii_uppercase() == first)
}

/// Whether a name that is no setting begins with a row's and goes on.
fn is_below(name: &Name, row: &Row) -> bool {
    let own = row.key.replace('.', "_").to_ascii_uppercase();
    name.as_variable().strip_prefix(&own).is_some_and(|rest| rest.starts_with('_'))
}
