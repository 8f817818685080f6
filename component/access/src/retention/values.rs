//! Values of policies, as JSON or as YAML gives them, and what is wrong with them.

use crate::immutable::items;
use serde_json::Value;
use std::time::Duration;

/// The largest count of a rule: no repository has more tags that are looked at.
///
/// Limit: the count of a rule of retention; test: `mistakes_in_policies`.
const COUNT_LIMIT: u64 = 1_000_000;

/// The longest time of a rule: a hundred years.
///
/// Limit: the time of a rule of retention; test: `mistakes_in_policies`.
const WITHIN_LIMIT: Duration = Duration::from_hours(24 * 36_525);

/// A key of a map: its place for messages, itself in lower case, and its value.
pub(super) type Found<'a> = (String, String, &'a Value);

/// The keys of a map in lower case, each once. A key without a value is left out.
pub(super) fn keys<'a>(
    place: &str,
    value: &'a Value,
    what: &str,
) -> Result<Vec<Found<'a>>, String> {
    let Value::Object(map) = value else { return Err(format!("{place}: {what} is a map")) };
    let mut found: Vec<Found<'a>> = Vec::new();
    for (key, value) in map.iter().filter(|(_, value)| !value.is_null()) {
        let lower = key.to_ascii_lowercase();
        if found.iter().any(|(_, other, _)| *other == lower) {
            return Err(format!("{place} has {lower} twice"));
        }
        found.push((format!("{place}.{key}"), lower, value));
    }
    Ok(found)
}

pub(super) fn unknown(place: &str, known: &str) -> String {
    format!("{place} is not a setting; there are {known}")
}

/// A boolean, or its text.
pub(super) fn flag(value: &Value) -> Result<bool, String> {
    match value {
        Value::Bool(flag) => Ok(*flag),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Ok(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

/// The patterns of a list, or those of a text with commas between them.
pub(super) fn list(value: &Value) -> Result<Vec<String>, String> {
    let texts: Option<Vec<&str>> = match value {
        Value::String(text) => Some(vec![text]),
        Value::Array(values) => values.iter().map(Value::as_str).collect(),
        _ => None,
    };
    let texts = texts.ok_or("must be a list of patterns")?;
    let all = texts.into_iter().flat_map(items).map(|item| item.trim().to_owned());
    let all: Vec<String> = all.filter(|item| !item.is_empty()).collect();
    if all.is_empty() { Err("has no pattern".to_owned()) } else { Ok(all) }
}

/// How many tags are kept.
pub(super) fn count(value: &Value) -> Result<usize, String> {
    let number = match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    let number = number.filter(|number| (1..=COUNT_LIMIT).contains(number));
    let number = number.and_then(|number| usize::try_from(number).ok());
    number.ok_or_else(|| format!("must be a number from 1 to {COUNT_LIMIT}"))
}

/// A time, as `90m`, `720h`, `30d` or `1d12h`.
pub(super) fn within(value: &Value) -> Result<Duration, String> {
    let time = value.as_str().and_then(span);
    let time = time.filter(|time| !time.is_zero() && *time <= WITHIN_LIMIT);
    time.ok_or_else(|| "must be a time such as 720h or 30d, of 100 years at most".to_owned())
}

fn span(text: &str) -> Option<Duration> {
    let (mut rest, mut total) = (text, Duration::ZERO);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, after) = rest.split_at(end);
        let (unit, after) = after.split_at_checked(1)?;
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 24 * 3600,
            _ => return None,
        };
        let seconds = number.parse::<u64>().ok()?.checked_mul(seconds)?;
        total = total.checked_add(Duration::from_secs(seconds))?;
        rest = after;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::span;
    use std::time::Duration;

    #[test]
    fn spans() {
        for (text, seconds) in [
            ("90s", Some(90)),
            ("720h", Some(720 * 3600)),
            ("1d12h", Some(36 * 3600)),
            ("1", None),
            ("d", None),
            ("1w", None),
            ("1d ", None),
            ("99999999999999999999d", None),
            ("999999999999999999d", None),
            ("1é", None),
        ] {
            assert_eq!(span(text), seconds.map(Duration::from_secs), "{text}");
        }
    }
}
