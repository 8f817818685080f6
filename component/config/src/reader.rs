//! Typed values out of settings, and what is wrong with them.

use crate::PREFIX;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

/// Reads typed values and gathers what is wrong with them.
pub(crate) struct Reader {
    pub(crate) settings: BTreeMap<String, String>,
    pub(crate) problems: Vec<String>,
}

impl Reader {
    /// A setting, or its default. What cannot be parsed is a problem; a secret
    /// is not repeated in it.
    pub(crate) fn read<T, E: Display>(
        &mut self,
        key: &str,
        default: T,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> T {
        let Some(value) = self.settings.get(key) else { return default };
        match parse(value) {
            Ok(value) => value,
            Err(rule) => {
                self.problems.push(format!("{PREFIX}{key}={value:?}: {rule}"));
                default
            }
        }
    }

    /// A setting's text; nothing if it is empty or not there.
    pub(crate) fn text(&self, key: &str) -> Option<String> {
        self.settings.get(key).filter(|value| !value.trim().is_empty()).cloned()
    }

    /// The values of a list: `KEY_0`, `KEY_1` and so on, or `KEY` with commas
    /// between them, with or without brackets.
    pub(crate) fn list(&self, key: &str) -> Vec<String> {
        let whole = self.settings.get(key).map(|text| {
            let text = text.trim();
            let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
            inner.unwrap_or(text).split(',').map(str::to_owned).collect()
        });
        let mut values: Vec<String> = whole.unwrap_or_default();
        values.extend(self.items(key));
        let trimmed = values.iter().map(|value| value.trim().trim_matches(['"', '\'']));
        trimmed.filter(|value| !value.is_empty()).map(str::to_owned).collect()
    }

    /// `KEY_0`, `KEY_1` and so on, by their numbers.
    pub(crate) fn items(&self, key: &str) -> Vec<String> {
        let start = format!("{key}_");
        let numbered = self.settings.iter().filter_map(|(name, value)| {
            let number: u32 = name.strip_prefix(&start)?.parse().ok()?;
            Some((number, value.clone()))
        });
        let mut numbered: Vec<_> = numbered.collect();
        numbered.sort_unstable();
        numbered.into_iter().map(|(_, value)| value).collect()
    }

    pub(crate) fn has(&self, start: &str) -> bool {
        self.settings.iter().any(|(name, value)| name.starts_with(start) && !value.is_empty())
    }

    pub(crate) fn problem(&mut self, problem: impl Into<String>) {
        self.problems.push(problem.into());
    }
}

pub(crate) fn boolean(value: &str) -> Result<bool, &'static str> {
    match value {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" | "" => Ok(false),
        _ => Err("must be true or false"),
    }
}

/// A duration as Go writes it, in units that matter to people: `90s`, `5m`.
pub(crate) fn duration(value: &str) -> Result<Duration, &'static str> {
    const RULE: &str = "must be a duration such as 500ms, 30s, 5m or 1h";
    let digits = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    let (number, unit) = value.split_at(digits);
    let number: u64 = number.parse().map_err(|_| RULE)?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "" if number == 0 => 0,
        _ => return Err(RULE),
    };
    number.checked_mul(milliseconds).map(Duration::from_millis).ok_or(RULE)
}
