//! Text for a terminal.

use anstyle::{AnsiColor, Style};
use std::io::{IsTerminal as _, stdout};

/// Headings of tables.
pub(crate) const HEADING: Style = Style::new().bold();

/// What only the first of two images has.
pub(crate) const REMOVED: Style = AnsiColor::Red.on_default();

/// What only the second of two images has.
pub(crate) const ADDED: Style = AnsiColor::Green.on_default();

/// A text without what a terminal would interpret, as it may come from a server: control
/// characters, and those that change the direction of text.
pub fn harmless(text: &str) -> String {
    text.chars().map(|c| if is_harmful(c) { '?' } else { c }).collect()
}

/// Whether a terminal would interpret a character instead of showing it.
pub(crate) fn is_harmful(c: char) -> bool {
    let turns = matches!(c, '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || turns
}

/// Where the output of a command goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Screen {
    /// To a file, a pipe or another program.
    None,
    /// To a terminal that is to show no colours.
    Plain,
    /// To a terminal with colours.
    Coloured,
}

impl Screen {
    /// That of standard output. `NO_COLOR`, if it is not empty, and `TERM=dumb` turn colours off
    /// (<https://no-color.org>).
    pub fn of_standard_output() -> Self {
        let is = |name: &str, value: &str| std::env::var_os(name).is_some_and(|it| it == value);
        let none = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        match stdout().is_terminal() {
            false => Self::None,
            true if none || is("TERM", "dumb") => Self::Plain,
            true => Self::Coloured,
        }
    }

    /// Whether it is a terminal.
    pub(crate) fn is_terminal(self) -> bool {
        self != Self::None
    }

    /// A text in a style, where there are colours.
    pub(crate) fn paint(self, style: Style, text: &str) -> String {
        match self {
            Self::Coloured => format!("{style}{text}{style:#}"),
            Self::None | Self::Plain => text.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{HEADING, Screen, harmless};

    #[test]
    fn nothing_reaches_a_terminal_that_it_interprets() {
        for (text, expected) in [
            ("team/äpp 1", "team/äpp 1"),
            ("a\u{1b}[31m\r\n\t\u{7f}", "a?[31m????"),
            ("\u{9b}2J", "?2J"),
            ("\u{202e}gpj\u{2066}", "?gpj?"),
        ] {
            assert_eq!(harmless(text), expected);
        }
        assert_eq!(Screen::Plain.paint(HEADING, "a"), "a");
        assert_eq!(Screen::Coloured.paint(HEADING, "a"), "\u{1b}[1ma\u{1b}[0m");
    }
}
