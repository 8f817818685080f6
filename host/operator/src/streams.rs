//! What commands read and write.

use crate::terminal::harmless;
use std::io::{Read, Write};

/// What a command reads and writes.
pub struct Streams<'a> {
    /// Where `--password-stdin` reads.
    pub input: &'a mut dyn Read,
    /// For what was done or found.
    pub output: &'a mut dyn Write,
    /// For what could not be done, and why.
    pub errors: &'a mut dyn Write,
}

impl Streams<'_> {
    /// Says why a command did not do something.
    pub(crate) fn say(&mut self, command: &str, problem: &str) {
        // If this fails too, there is nowhere else to report it.
        let _ = writeln!(self.errors, "{command}: {}", harmless(problem));
    }
}
