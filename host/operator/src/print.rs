//! What commands print: tables for people, JSON for programs.

use crate::terminal::{HEADING, Screen, harmless, is_harmful};
use clap::ValueEnum;
use serde::Serialize;
use std::fmt::Write as _;

/// The longest text that a table shows, in characters: a registry may send annotations of
/// megabytes. JSON has all of it.
///
/// Limit: characters of a text from a registry in a table; test: `long_texts_are_cut`.
const CELL: usize = 200;

/// How a command prints what it found.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct Format {
    /// Print a table for people, or JSON for programs
    #[arg(long, short = 'o', value_enum, value_name = "FORMAT", default_value_t = Kind::Table)]
    output: Kind,
    /// The same as --output json
    #[arg(long, conflicts_with = "output")]
    json: bool,
}

/// A format.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Table,
    Json,
}

impl Format {
    /// Whether it is JSON.
    pub fn is_json(self) -> bool {
        self.json || self.output == Kind::Json
    }
}

/// JSON, in which all is escaped that a terminal would interpret.
///
/// # Errors
/// When the value cannot be serialized.
pub fn json(value: &impl Serialize) -> Result<String, String> {
    let text = serde_json::to_string_pretty(value).map_err(|error| error.to_string())?;
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        // Only strings can have such characters, but for line ends between values.
        if is_harmful(c) && c != '\n' {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                // Writing to a string does not fail.
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        } else {
            escaped.push(c);
        }
    }
    Ok(escaped)
}

/// A text from a registry for a table: without what a terminal would interpret, and cut.
pub(crate) fn shown(text: &str) -> String {
    let mut characters = text.chars();
    let mut start: String = characters.by_ref().take(CELL).collect();
    if characters.next().is_some() {
        start.push('…');
    }
    harmless(&start)
}

/// What a table has for what is not known.
pub(crate) fn unknown() -> String {
    "-".to_owned()
}

/// A time of RFC 3339 in UTC for a table: without fractions of a second.
pub(crate) fn time(text: Option<&str>) -> String {
    text.map_or_else(unknown, |text| match text.split_once('.') {
        Some((seconds, fraction)) if fraction.ends_with('Z') => format!("{seconds}Z"),
        _ => text.to_owned(),
    })
}

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Column {
    /// Of text.
    Left(&'static str),
    /// Of numbers.
    Right(&'static str),
}

impl Column {
    fn name(self) -> &'static str {
        let (Self::Left(name) | Self::Right(name)) = self;
        name
    }

    /// A cell as wide as the column.
    fn cell(self, text: &str, width: usize) -> String {
        match self {
            Self::Left(_) => format!("{text:<width$}"),
            Self::Right(_) => format!("{text:>width$}"),
        }
    }
}

/// A table, as its rows are added.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(columns: &[Column]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row: a text for each column.
    pub(crate) fn row(&mut self, cells: &[&str]) {
        self.rows.push(cells.iter().map(|cell| shown(cell)).collect());
    }

    /// The lines, with a heading.
    pub(crate) fn lines(&self, screen: Screen) -> Vec<String> {
        let names: Vec<String> = self.columns.iter().map(|it| it.name().to_owned()).collect();
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|at| {
                let cells = self.rows.iter().chain([&names]).filter_map(|row| row.get(at));
                cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
            })
            .collect();
        let line = |row: &Vec<String>| {
            let cells = self.columns.iter().zip(&widths).zip(row);
            let cells: Vec<_> =
                cells.map(|((column, width), text)| column.cell(text, *width)).collect();
            cells.join("  ").trim_end().to_owned()
        };
        let heading = screen.paint(HEADING, &line(&names));
        std::iter::once(heading).chain(self.rows.iter().map(line)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{CELL, Column, Table, json, shown, time};
    use crate::terminal::Screen;

    #[test]
    fn tables_are_straight() {
        let mut table = Table::new(&[Column::Left("name"), Column::Right("tags")]);
        table.row(&["team/app", "12"]);
        table.row(&["ä\u{1b}", "1000000"]);
        let expected = ["name         tags", "team/app       12", "ä?        1000000"];
        assert_eq!(table.lines(Screen::Plain), expected);
        assert!(table.lines(Screen::Coloured)[0].starts_with("\u{1b}[1mname"));
    }

    #[test]
    fn long_texts_are_cut() {
        assert_eq!(shown(&"ä".repeat(CELL)), "ä".repeat(CELL));
        assert_eq!(shown(&"ä".repeat(CELL + 1)), format!("{}…", "ä".repeat(CELL)));
    }

    #[test]
    fn times_are_short() {
        assert_eq!(time(Some("2026-01-02T03:04:05.123456789Z")), "2026-01-02T03:04:05Z");
        assert_eq!(time(Some("2026-01-02T03:04:05Z")), "2026-01-02T03:04:05Z");
        assert_eq!(time(Some("2026-01-02T03:04:05.1+02:00")), "2026-01-02T03:04:05.1+02:00");
        assert_eq!(time(None), "-");
    }

    #[test]
    fn json_is_harmless_and_has_all() {
        let value = vec!["\u{1b}[2J\u{9b}\u{7f}\u{202e}\n".to_owned(), "x".repeat(CELL + 1)];
        let text = json(&value).unwrap();
        assert!(!text.contains(['\u{1b}', '\u{9b}', '\u{7f}', '\u{202e}']), "{text}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&text).unwrap(), value);
    }
}
