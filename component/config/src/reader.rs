//! Typed values out of settings, and what is wrong with them.

use crate::gathered::{Settings, Slot};
use crate::given::{Name, Place, Style};
use crate::secrets;
use crate::settings::{Each, List, Row, Section, Setting, Statements, ValueType};

/// Reads typed values and gathers what is wrong with them.
pub(crate) struct Reader<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) problems: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(settings: &'a Settings) -> Self {
        Self { settings, problems: settings.problems() }
    }

    /// A setting's value, or its default. What cannot be read is a problem.
    pub(crate) fn read<K: ValueType>(&mut self, setting: &Setting<K>) -> K::Value {
        self.try_read(setting).unwrap_or_else(|| setting.kind.default())
    }

    /// The same, but `None` where the value cannot be read.
    pub(crate) fn try_read<K: ValueType>(&mut self, setting: &Setting<K>) -> Option<K::Value> {
        self.parse(setting, self.slot(&setting.row))
    }

    /// The value in the mapping of a list with this number.
    pub(crate) fn read_each<K: ValueType>(
        &mut self,
        setting: &Setting<Each<K>>,
        mapping: u32,
    ) -> K::Value {
        let slot = self.slot_of(&setting.row, Some(mapping));
        self.parse(setting, slot).unwrap_or_else(|| setting.kind.default())
    }

    /// The texts of a list there.
    pub(crate) fn list_each(&mut self, setting: &Setting<Each<List>>, mapping: u32) -> Vec<String> {
        let mut values = self.read_each(setting, mapping);
        let items = self.items(&setting.row, Some(mapping));
        values.extend(items.filter_map(|item| List::item(&item)));
        values
    }

    /// The name of a setting there.
    pub(crate) fn name_each(&self, row: &Row, mapping: u32) -> String {
        match (self.slot_of(row, Some(mapping)), self.style(row.key)) {
            (Some(slot), _) => slot.name.to_string(),
            (None, Style::Variable) => row.variable_of(mapping),
            (None, Style::Key) => row.key_of(Some(mapping)),
        }
    }

    fn parse<K: ValueType>(
        &mut self,
        setting: &Setting<K>,
        slot: Option<&Slot>,
    ) -> Option<K::Value> {
        let Some(slot) = slot else { return Some(setting.kind.default()) };
        match setting.kind.parse(&slot.value) {
            Ok(value) => Some(value),
            Err(rule) => {
                let Slot { row, name, value, .. } = slot;
                let rule = name.style().fill(&rule);
                // A secret is not repeated.
                let value = secrets::shown(row, value);
                let shown = match name {
                    _ if row.secret => name.to_string(),
                    Name::Variable(name) => format!("{name}={value:?}"),
                    Name::Key { .. } => format!("{name}: {value:?}"),
                };
                self.problems.push(format!("{shown}: {rule}"));
                None
            }
        }
    }

    /// The texts of a list: the whole list, and then its items by their
    /// numbers.
    pub(crate) fn list(&mut self, setting: &Setting<List>) -> Vec<String> {
        let mut values = self.read(setting);
        values.extend(self.items(&setting.row, None).filter_map(|item| List::item(&item)));
        values
    }

    /// The statements of a list: its items by their numbers, and then those of
    /// one text.
    pub(crate) fn statements(&mut self, setting: &Setting<Statements>) -> Vec<String> {
        let whole = self.read(setting);
        self.items(&setting.row, None).chain(whole).collect()
    }

    fn items(&self, row: &Row, mapping: Option<u32>) -> impl Iterator<Item = String> + use<> {
        let numbered = self.settings.slots.iter().filter_map(|slot| {
            let own = slot.row.key == row.key && slot.place.mapping == mapping;
            let index = slot.place.item.filter(|_| own)?;
            Some((index, slot.value.clone()))
        });
        let mut numbered: Vec<_> = numbered.collect();
        numbered.sort_unstable();
        numbered.into_iter().map(|(_, value)| value)
    }

    /// Whether a section has any value.
    pub(crate) fn has(&self, section: &Section) -> bool {
        let mut slots = self.settings.slots.iter();
        slots.any(|slot| {
            slot.row.key != section.key && section.holds(slot.row.key) && !slot.value.is_empty()
        })
    }

    /// Whether a setting is given, if only with no text.
    pub(crate) fn is_given(&self, row: &Row) -> bool {
        self.slot(row).is_some()
    }

    /// Whether a setting has a value.
    pub(crate) fn is_set(&self, row: &Row) -> bool {
        self.slot(row).is_some_and(|slot| !slot.is_blank())
    }

    /// A setting's name, as it was given or would be.
    pub(crate) fn name(&self, row: &Row) -> String {
        match self.slot(row) {
            Some(slot) => slot.name.to_string(),
            None => self.style(row.key).name(row.key),
        }
    }

    /// A section's name: `REGISTRY_STORAGE_S3_*` or `storage.s3`.
    pub(crate) fn section(&self, section: &Section) -> String {
        match self.style(section.key) {
            style @ Style::Variable => style.name(section.key) + "_*",
            style @ Style::Key => style.name(section.key),
        }
    }

    /// A setting and a value that it should have.
    pub(crate) fn with(&self, row: &Row, value: &str) -> String {
        self.style(row.key).with(row.key, value)
    }

    fn style(&self, key: &str) -> Style {
        self.settings.style(key)
    }

    pub(crate) fn problem(&mut self, problem: impl Into<String>) {
        self.problems.push(problem.into());
    }

    /// What is given for a setting that is no list, or for a whole list.
    fn slot(&self, row: &Row) -> Option<&'a Slot> {
        self.slot_of(row, None)
    }

    /// The same in the mapping of a list with this number.
    fn slot_of(&self, row: &Row, mapping: Option<u32>) -> Option<&'a Slot> {
        let place = Place { mapping, ..Place::default() };
        let mut slots = self.settings.slots.iter();
        slots.rfind(|slot| slot.row.key == row.key && slot.place == place)
    }
}
