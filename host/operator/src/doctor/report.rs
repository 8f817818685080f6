//! Findings, one line each.

use crate::terminal::harmless;
use std::io::Write;

/// The longest line in characters: parts of it come from servers.
///
/// Limit: characters of a line of the report; test:
/// `names_cannot_contain_terminal_escapes`.
const MAX_LINE: usize = 600;

/// How severe a finding is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Level {
    /// Nothing to do.
    Ok,
    /// Some clients fail, or all will at some time.
    Warn,
    /// Clients fail.
    Fail,
}

/// The result of one check.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// How severe it is.
    pub level: Level,
    /// What was found.
    pub what: String,
    /// How to fix it; empty if there is nothing to do.
    pub fix: String,
}

/// Prints findings as they are added, and keeps them.
pub(super) struct Report<'a> {
    out: &'a mut dyn Write,
    pub(super) findings: Vec<Finding>,
}

impl<'a> Report<'a> {
    pub(super) fn new(out: &'a mut dyn Write) -> Self {
        Self { out, findings: Vec::new() }
    }

    pub(super) fn ok(&mut self, what: impl AsRef<str>) {
        self.add(Level::Ok, what.as_ref(), "");
    }

    pub(super) fn warn(&mut self, what: impl AsRef<str>, fix: impl AsRef<str>) {
        self.add(Level::Warn, what.as_ref(), fix.as_ref());
    }

    pub(super) fn fail(&mut self, what: impl AsRef<str>, fix: impl AsRef<str>) {
        self.add(Level::Fail, what.as_ref(), fix.as_ref());
    }

    pub(super) fn add(&mut self, level: Level, what: &str, fix: &str) {
        let what: String = harmless(what).chars().take(MAX_LINE).collect();
        let lines = fix.lines().map(harmless);
        let fix = lines.collect::<Vec<_>>().join("\n");
        let word = match level {
            Level::Ok => "ok  ",
            Level::Warn => "warn",
            Level::Fail => "fail",
        };
        // Errors are ignored: the output may have been closed.
        let _ = writeln!(self.out, "{word}  {what}");
        for (number, line) in fix.lines().enumerate() {
            let _ =
                writeln!(self.out, "      {}{line}", if number == 0 { "fix: " } else { "     " });
        }
        self.findings.push(Finding { level, what, fix });
    }
}
