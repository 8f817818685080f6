//! The types of variables' values.

use percent_encoding::percent_decode_str;
use std::time::Duration;

/// The most pairs of a list.
///
/// Limit: pairs of a variable such as `OTEL_RESOURCE_ATTRIBUTES`; test: `values_that_cannot_be_used`.
const PAIRS_LIMIT: usize = 128;

/// Variables by their names.
pub(super) struct Variables<'a>(pub(super) &'a dyn Fn(&str) -> Option<String>);

impl Variables<'_> {
    /// A value that is not empty, without space around it.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        let text = (self.0)(name)?;
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// The same in lower case: one of some words.
    pub(super) fn word(&self, name: &str) -> Option<String> {
        self.text(name).map(|text| text.to_ascii_lowercase())
    }

    /// The variable for traces, or else the one for all kinds of telemetry, with its name.
    /// `name` is what follows `OTEL_EXPORTER_OTLP_`.
    pub(super) fn of_exporter(&self, name: &str) -> Option<(String, String)> {
        let names =
            [format!("OTEL_EXPORTER_OTLP_TRACES_{name}"), format!("OTEL_EXPORTER_OTLP_{name}")];
        names.into_iter().find_map(|name| self.text(&name).map(|text| (name, text)))
    }

    pub(super) fn flag(&self, name: &str) -> Result<bool, String> {
        self.text(name).map_or(Ok(false), |text| flag(name, &text))
    }

    /// A number from 1.
    pub(super) fn count(&self, name: &str, most: u64) -> Result<Option<usize>, String> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let count = text.parse().ok().filter(|count| (1..=most).contains(count));
        let count = count.and_then(|count| usize::try_from(count).ok());
        count.map(Some).ok_or_else(|| format!("{name}: `{text}` is not a number from 1 to {most}"))
    }

    /// A time in milliseconds.
    pub(super) fn time(&self, name: &str) -> Result<Option<Duration>, String> {
        self.text(name).map(|text| milliseconds(name, &text)).transpose()
    }

    /// A time at which something is given up; 0 is `longest`.
    pub(super) fn timeout(
        &self,
        name: &str,
        longest: Duration,
    ) -> Result<Option<Duration>, String> {
        Ok(self.time(name)?.map(|time| limit(time, longest)))
    }

    /// `name=value,name=value`, percent-encoded as W3C Baggage is. Errors do not show values.
    pub(super) fn pairs(&self, name: &str) -> Result<Vec<(String, String)>, String> {
        self.text(name).map_or(Ok(Vec::new()), |text| pairs(name, &text))
    }
}

pub(super) fn flag(name: &str, text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(format!("{name}: `{text}` is neither true nor false")),
    }
}

pub(super) fn milliseconds(name: &str, text: &str) -> Result<Duration, String> {
    text.parse()
        .map(Duration::from_millis)
        .map_err(|_| format!("{name}: `{text}` is not a number of milliseconds"))
}

pub(super) fn limit(time: Duration, longest: Duration) -> Duration {
    if time.is_zero() { longest } else { time.min(longest) }
}

pub(super) fn pairs(name: &str, text: &str) -> Result<Vec<(String, String)>, String> {
    let mut pairs = Vec::new();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let number = pairs.len() + 1;
        if number > PAIRS_LIMIT {
            return Err(format!("{name}: has more than {PAIRS_LIMIT} pairs"));
        }
        let (key, value) = pair
            .split_once('=')
            .filter(|(key, _)| !key.trim().is_empty())
            .ok_or_else(|| format!("{name}: the {number}. pair is not of the form name=value"))?;
        let decoded = |text: &str| {
            percent_decode_str(text.trim()).decode_utf8().map(Into::<String>::into).map_err(|_| {
                format!("{name}: the {number}. pair is not UTF-8 once it is percent-decoded")
            })
        };
        pairs.push((decoded(key)?, decoded(value)?));
    }
    Ok(pairs)
}
