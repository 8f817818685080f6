//! How far a run has come: a bar that is drawn again and again on a terminal, and
//! a line for each stage elsewhere.

use crate::terminal::harmless;
use std::io::{self, IsTerminal as _, Write};

/// The width of the bar, in characters.
const WIDTH: usize = 30;

/// Where progress is shown.
pub struct Display<'a> {
    /// `None` if nothing is to be shown.
    out: Option<&'a mut dyn Write>,
    /// Whether it is a terminal.
    bar: bool,
    stage: String,
    /// Whether a bar is in the current line.
    drawn: bool,
}

impl<'a> Display<'a> {
    /// Standard error: with a bar, if it is a terminal.
    pub fn standard_error(errors: &'a mut io::Stderr) -> Self {
        let bar = errors.is_terminal();
        Self { bar, ..Self::lines(errors) }
    }

    /// Lines.
    pub fn lines(out: &'a mut dyn Write) -> Self {
        Self { out: Some(out), bar: false, stage: String::new(), drawn: false }
    }

    /// Nothing.
    pub fn nothing() -> Self {
        Self { out: None, bar: false, stage: String::new(), drawn: false }
    }

    /// Shows how much of a stage is done.
    pub(crate) fn stage(&mut self, stage: &str, percent: u8) {
        // A registry elsewhere says it: only what a terminal can do no harm with.
        let stage: String = stage.chars().filter(char::is_ascii_graphic).take(20).collect();
        if self.bar {
            let percent = percent.min(100);
            let done = usize::from(percent) * WIDTH / 100;
            let (done, left) = ("#".repeat(done), " ".repeat(WIDTH - done));
            self.write(&format!("\r\x1b[K{stage:<10} [{done}{left}] {percent:>3} %"));
            self.drawn = true;
        } else if stage != self.stage {
            self.write(&format!("{stage}\n"));
        }
        self.stage = stage;
    }

    /// Shows a line.
    pub(crate) fn line(&mut self, line: &str) {
        self.end();
        // A registry elsewhere may have said it.
        self.write(&format!("{}\n", harmless(line)));
    }

    /// Removes the bar.
    pub(crate) fn end(&mut self) {
        if self.drawn {
            self.write("\r\x1b[K");
            self.drawn = false;
        }
    }

    fn write(&mut self, text: &str) {
        if let Some(out) = &mut self.out {
            // A run does not stop because nobody looks.
            let _ = out.write_all(text.as_bytes());
            let _ = out.flush();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Display;

    #[test]
    fn a_bar_is_drawn_in_one_line() {
        let mut out = Vec::new();
        let mut display = Display { bar: true, ..Display::lines(&mut out) };
        display.stage("blobs", 0);
        display.stage("blobs\u{1b}[2J", 50);
        display.line("said");
        display.stage("end", 200);
        display.end();
        display.end();
        let shown = String::from_utf8(out).unwrap();
        let shown: Vec<_> = shown.split("\r\x1b[K").collect();
        let (none, half) = (" ".repeat(30), "#".repeat(15) + &" ".repeat(15));
        assert_eq!(
            shown,
            [
                "",
                &format!("blobs      [{none}]   0 %"),
                &format!("blobs[2J   [{half}]  50 %"),
                "said\n",
                &format!("end        [{}] 100 %", "#".repeat(30)),
                "",
            ]
        );
    }
}
