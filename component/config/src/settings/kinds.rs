//! What settings are read into.

use super::Shape;
pub(crate) use super::unread::{Below, Leaf, Tree};
use std::path::PathBuf;
use std::time::Duration;

/// How a setting's text is read.
pub(crate) trait ValueType: Sync + 'static {
    /// What it is read into.
    type Value: PartialEq;

    /// Which names belong to the setting.
    const SHAPE: Shape = Shape::One;

    /// The value where the setting is not set.
    fn default(&self) -> Self::Value;

    /// The value of a text, or the rule that it breaks: `must be …`.
    fn parse(&self, text: &str) -> Result<Self::Value, String>;

    /// What the documentation says of it.
    fn describe(&self) -> Description;

    /// The items of a list that is one text.
    fn split(_whole: &str) -> Vec<String> {
        Vec::new()
    }

    /// An item of a list, as it counts; `None` if it does not.
    fn counted(item: &str) -> Option<String> {
        Some(item.to_owned())
    }

    /// Whether a list's items come after those of one text, and not before them.
    const ITEMS_LAST: bool = true;
}

/// What the documentation says of a kind, in Markdown.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Description {
    /// The type, with the values or the range that are accepted.
    pub(crate) kind: String,
    /// The default, if that is a value.
    pub(crate) default: Option<String>,
    /// The value, if there is only one.
    pub(crate) only: Option<&'static str>,
    /// For names that are not used: those below it.
    pub(crate) names: &'static [&'static str],
}

impl Description {
    fn of(kind: impl Into<String>) -> Self {
        Self { kind: kind.into(), ..Self::default() }
    }

    fn by_default(mut self, value: impl Into<String>) -> Self {
        self.default = Some(value.into());
        self
    }
}

/// A boolean and its default.
pub(crate) struct Flag(pub(crate) bool);

impl ValueType for Flag {
    type Value = bool;

    fn default(&self) -> bool {
        self.0
    }

    fn parse(&self, text: &str) -> Result<bool, String> {
        boolean(text).ok_or_else(|| "must be true or false".to_owned())
    }

    fn describe(&self) -> Description {
        Description::of("boolean").by_default(self.0.to_string())
    }
}

/// The booleans of YAML and of Go, and no text for false.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" | "t" | "T" | "1" | "yes" | "Yes" | "YES" | "y" | "Y" | "on"
        | "On" | "ON" => Some(true),
        "false" | "False" | "FALSE" | "f" | "F" | "0" | "no" | "No" | "NO" | "n" | "N" | "off"
        | "Off" | "OFF" | "" => Some(false),
        _ => None,
    }
}

/// A whole number.
pub(crate) struct Number {
    pub(crate) default: u64,
    pub(crate) least: u64,
    pub(crate) most: u64,
    /// What it must be a multiple of.
    pub(crate) multiple_of: u64,
    /// What is counted, if that is not plain: `bytes`.
    pub(crate) unit: Option<&'static str>,
}

impl ValueType for Number {
    type Value = u64;

    fn default(&self) -> u64 {
        self.default
    }

    fn parse(&self, text: &str) -> Result<u64, String> {
        let number = text.parse().ok().filter(|number: &u64| {
            (self.least..=self.most).contains(number) && number.is_multiple_of(self.multiple_of)
        });
        let Self { least, most, multiple_of, .. } = self;
        number.ok_or_else(|| match (self.unit, multiple_of) {
            (Some(unit), 1) => format!("must be a number of {unit} from {least} to {most}"),
            (None, 1) => format!("must be a number from {least} to {most}"),
            _ => format!("must be a multiple of {multiple_of}, at most {most}"),
        })
    }

    fn describe(&self) -> Description {
        let Self { default, least, most, multiple_of, unit } = self;
        let of = unit.map(|unit| format!(" of {unit}")).unwrap_or_default();
        let multiple = match multiple_of {
            1 => String::new(),
            multiple => format!(", a multiple of {multiple}"),
        };
        Description::of(format!("number{of}, {least} to {most}{multiple}"))
            .by_default(default.to_string())
    }
}

/// A duration.
pub(crate) struct Span {
    pub(crate) default: Duration,
    pub(crate) least: Duration,
    pub(crate) most: Duration,
}

impl ValueType for Span {
    type Value = Duration;

    fn default(&self) -> Duration {
        self.default
    }

    fn parse(&self, text: &str) -> Result<Duration, String> {
        let duration =
            duration(text).ok_or("must be a duration such as 500ms, 30s, 5m or 1h".to_owned())?;
        if (self.least..=self.most).contains(&duration) {
            Ok(duration)
        } else {
            Err(format!("must be from {} to {}", written(self.least), written(self.most)))
        }
    }

    fn describe(&self) -> Description {
        let range = match self.most {
            Duration::MAX => String::new(),
            most => format!(", {} to {}", written(self.least), written(most)),
        };
        Description::of(format!("duration{range}")).by_default(written(self.default))
    }
}

/// A duration as Go writes it: `90s`, `1h30m`, `168h0m0s`, `1.5h`; `0` needs no unit.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (mut rest, mut total) = (text, Duration::ZERO);
    loop {
        let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let (number, after) = rest.split_at(end);
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        total = total.checked_add(measured(number, unit)?)?;
        if after.is_empty() {
            return Some(total);
        }
        rest = after;
    }
}

/// A decimal number of units.
fn measured(number: &str, unit: &str) -> Option<Duration> {
    let nanoseconds: u64 = match unit {
        "ns" => 1,
        "us" | "\u{b5}s" | "\u{3bc}s" => 1000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    // By digits, so that nothing is rounded up.
    let mut rest = nanoseconds;
    let mut of_fraction = 0;
    for digit in fraction.bytes() {
        rest /= 10;
        of_fraction += rest * u64::from(digit - b'0');
    }
    let seconds = Duration::from_nanos(nanoseconds).as_secs();
    let whole = match seconds {
        0 => Duration::from_nanos(whole.checked_mul(nanoseconds)?),
        seconds => Duration::from_secs(whole.checked_mul(seconds)?),
    };
    whole.checked_add(Duration::from_nanos(of_fraction))
}

/// A duration of whole seconds, in the largest unit without a rest.
pub(crate) fn written(duration: Duration) -> String {
    match duration.as_secs() {
        seconds if seconds > 0 && seconds.is_multiple_of(3600) => format!("{}h", seconds / 3600),
        seconds if seconds > 0 && seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        seconds => format!("{seconds}s"),
    }
}

/// One of several words.
pub(crate) struct Choice<T: 'static> {
    pub(crate) default: T,
    /// The words, as the documentation lists them.
    pub(crate) words: &'static [(&'static str, T)],
    /// Other words for the same.
    pub(crate) also: &'static [(&'static str, T)],
    /// Words of distribution's that are refused, and the reason.
    pub(crate) refused: &'static [(&'static str, &'static str)],
    /// What `false` and `true` stand for, where they stand for something.
    pub(crate) boolean: Option<[T; 2]>,
    /// Whether no text stands for the default.
    pub(crate) blank: bool,
}

impl<T: Copy + PartialEq + Sync + 'static> ValueType for Choice<T> {
    type Value = T;

    fn default(&self) -> T {
        self.default
    }

    fn parse(&self, text: &str) -> Result<T, String> {
        if text.trim().is_empty() && self.blank {
            return Ok(self.default);
        }
        let mut words = self.words.iter().chain(self.also);
        let word = words.find(|(word, _)| *word == text).map(|(_, value)| *value);
        let flag = self.boolean.zip(boolean(text)).map(|(values, flag)| values[usize::from(flag)]);
        word.or(flag.filter(|_| !text.is_empty())).ok_or_else(|| {
            let refused = self.refused.iter().find(|(word, _)| *word == text);
            match refused {
                Some((_, reason)) => (*reason).to_owned(),
                None => format!("must be {}", self.list("")),
            }
        })
    }

    fn describe(&self) -> Description {
        let description = Description::of(self.list("`"));
        let default = self.words.iter().find(|(_, value)| *value == self.default);
        match default {
            Some((word, _)) => description.by_default(*word),
            None => description,
        }
    }
}

impl<T> Choice<T> {
    /// `a, b or c`, with each word in quotes.
    fn list(&self, quote: &str) -> String {
        let words: Vec<_> =
            self.words.iter().map(|(word, _)| format!("{quote}{word}{quote}")).collect();
        either(&words)
    }
}

/// `a, b or c`.
fn either(words: &[String]) -> String {
    match words {
        [before @ .., last] if !before.is_empty() => format!("{} or {last}", before.join(", ")),
        _ => words.concat(),
    }
}

/// Any text; no text is as good as none set. The documentation calls it this.
pub(crate) struct Text(pub(crate) &'static str);

impl ValueType for Text {
    type Value = Option<String>;

    fn default(&self) -> Option<String> {
        None
    }

    fn parse(&self, text: &str) -> Result<Option<String>, String> {
        Ok((!text.trim().is_empty()).then(|| text.to_owned()))
    }

    fn describe(&self) -> Description {
        Description::of(self.0)
    }
}

/// A file or directory; no text is as good as none set. The documentation calls
/// it this.
pub(crate) struct Path(pub(crate) &'static str);

impl ValueType for Path {
    type Value = Option<PathBuf>;

    fn default(&self) -> Option<PathBuf> {
        None
    }

    fn parse(&self, text: &str) -> Result<Option<PathBuf>, String> {
        Ok((!text.trim().is_empty()).then(|| text.into()))
    }

    fn describe(&self) -> Description {
        Description::of(self.0)
    }
}

/// Text that has a form of its own.
pub(crate) struct Parsed<T: 'static> {
    /// What the documentation calls it.
    pub(crate) name: &'static str,
    pub(crate) default: fn() -> T,
    /// The default as text, if that is a value.
    pub(crate) written: Option<&'static str>,
    pub(crate) parse: fn(&str) -> Result<T, &'static str>,
}

impl<T: PartialEq + 'static> ValueType for Parsed<T> {
    type Value = T;

    fn default(&self) -> T {
        (self.default)()
    }

    fn parse(&self, text: &str) -> Result<T, String> {
        (self.parse)(text).map_err(str::to_owned)
    }

    fn describe(&self) -> Description {
        let description = Description::of(self.name);
        match self.written {
            Some(text) => description.by_default(text),
            None => description,
        }
    }
}

/// A list of texts, one of which the documentation calls this.
pub(crate) struct List(pub(crate) &'static str);

impl ValueType for List {
    type Value = Vec<String>;

    const SHAPE: Shape = Shape::List;

    fn default(&self) -> Vec<String> {
        Vec::new()
    }

    /// A whole list: texts with commas between them, with or without brackets.
    fn parse(&self, text: &str) -> Result<Vec<String>, String> {
        Ok(Self::split(text))
    }

    fn describe(&self) -> Description {
        Description::of(format!("list of {}", self.0))
    }

    fn split(whole: &str) -> Vec<String> {
        let text = whole.trim();
        let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        inner.unwrap_or(text).split(',').filter_map(Self::item).collect()
    }

    fn counted(item: &str) -> Option<String> {
        Self::item(item)
    }
}

impl List {
    /// An item without space and quotes around it; `None` if nothing is left.
    pub(crate) fn item(text: &str) -> Option<String> {
        let text = text.trim().trim_matches(['"', '\'']);
        (!text.is_empty()).then(|| text.to_owned())
    }
}

/// A setting in each mapping of a list.
pub(crate) struct Each<K>(pub(crate) K);

impl<K: ValueType> ValueType for Each<K> {
    type Value = K::Value;

    const SHAPE: Shape = match K::SHAPE {
        Shape::List => Shape::EachList,
        _ => Shape::Each,
    };

    fn default(&self) -> K::Value {
        self.0.default()
    }

    fn parse(&self, text: &str) -> Result<K::Value, String> {
        self.0.parse(text)
    }

    fn describe(&self) -> Description {
        self.0.describe()
    }

    fn split(whole: &str) -> Vec<String> {
        K::split(whole)
    }

    fn counted(item: &str) -> Option<String> {
        K::counted(item)
    }

    const ITEMS_LAST: bool = K::ITEMS_LAST;
}

/// Headers of requests, in each mapping of a list.
pub(crate) struct HeaderLines;

impl ValueType for HeaderLines {
    type Value = Vec<String>;

    const SHAPE: Shape = Shape::EachMap;

    fn default(&self) -> Vec<String> {
        Vec::new()
    }

    fn parse(&self, text: &str) -> Result<Vec<String>, String> {
        Ok(Self::split(text))
    }

    fn describe(&self) -> Description {
        Description::of("names and values")
    }

    fn split(whole: &str) -> Vec<String> {
        let lines = whole.lines().map(str::trim).filter(|line| !line.is_empty());
        lines.map(str::to_owned).collect()
    }
}

/// A list of texts that hold commas themselves.
pub(crate) struct Statements(pub(crate) &'static str);

impl ValueType for Statements {
    type Value = Vec<String>;

    const SHAPE: Shape = Shape::List;

    fn default(&self) -> Vec<String> {
        Vec::new()
    }

    fn parse(&self, text: &str) -> Result<Vec<String>, String> {
        Ok(if text.trim().is_empty() { Vec::new() } else { vec![text.to_owned()] })
    }

    fn describe(&self) -> Description {
        Description::of(format!("list of {}", self.0))
    }

    /// A line each: together they are the same text.
    fn split(whole: &str) -> Vec<String> {
        whole.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect()
    }

    const ITEMS_LAST: bool = false;

    /// No statement makes a list too, of nothing but a comment.
    fn counted(item: &str) -> Option<String> {
        Some(if item.trim().is_empty() { "#".to_owned() } else { item.to_owned() })
    }
}

/// A setting of distribution's that can only be what happens anyway.
pub(crate) struct Only {
    /// What it can be.
    pub(crate) value: &'static str,
    /// Whether a text is that.
    pub(crate) is: fn(&str) -> Option<bool>,
    /// Why it can be nothing else.
    pub(crate) reason: &'static str,
}

impl Only {
    /// A boolean that can only be false.
    pub(crate) const fn off(reason: &'static str) -> Self {
        let is = |text: &str| boolean(text).map(|flag| !flag);
        Self { value: "false", is, reason }
    }

    /// A boolean that can only be true.
    pub(crate) const fn on(reason: &'static str) -> Self {
        Self { value: "true", is: boolean, reason }
    }
}

impl ValueType for Only {
    type Value = ();

    fn default(&self) {}

    fn parse(&self, text: &str) -> Result<(), String> {
        match (self.is)(text) {
            Some(true) => Ok(()),
            Some(false) => Err(self.reason.to_owned()),
            None => Err("must be true or false".to_owned()),
        }
    }

    fn describe(&self) -> Description {
        Description { only: Some(self.value), ..Description::of("") }
    }
}
