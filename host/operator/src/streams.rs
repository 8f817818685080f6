//! What commands read and write.

use crate::problem::Problem;
use crate::terminal::{Screen, harmless};
use std::io::{self, ErrorKind, Read, Write};

/// What a command reads and writes.
pub struct Streams<'a> {
    /// Where `--password-stdin` reads.
    pub input: &'a mut dyn Read,
    /// For what was done or found.
    pub output: &'a mut dyn Write,
    /// For what could not be done, and why.
    pub errors: &'a mut dyn Write,
    /// What `output` is.
    pub screen: Screen,
}

impl Streams<'_> {
    /// Says why a command did not do something.
    pub fn say(&mut self, command: &str, problem: &str) {
        // If this fails too, there is nowhere else to report it.
        let _ = writeln!(self.errors, "{command}: {}", harmless(problem));
    }

    /// Writes lines to the output.
    ///
    /// # Errors
    /// When it cannot be written to.
    pub(crate) fn print<T: AsRef<str>>(
        &mut self,
        lines: impl IntoIterator<Item = T>,
    ) -> io::Result<()> {
        for line in lines {
            writeln!(self.output, "{}", line.as_ref())?;
        }
        self.output.flush()
    }

    /// The exit status of a command, whose problem is said.
    pub(crate) fn end(&mut self, command: &str, result: Result<u8, Problem>) -> u8 {
        match result {
            Ok(status) => status,
            Err(problem) => {
                self.say(command, problem.text());
                problem.status()
            }
        }
    }
}

/// Output that may be a pipe whose reader has had enough, as with `| head`. What nobody reads
/// any more is dropped: a command does its work all the same, and ends with its own status.
#[derive(Debug)]
pub struct Output<W> {
    inner: W,
    closed: bool,
}

impl Output<io::Stdout> {
    /// Standard output.
    pub fn standard() -> Self {
        Self::new(io::stdout())
    }
}

impl<W> Output<W> {
    fn new(inner: W) -> Self {
        Self { inner, closed: false }
    }

    fn unless_closed<T>(
        &mut self,
        dropped: T,
        write: impl FnOnce(&mut W) -> io::Result<T>,
    ) -> io::Result<T> {
        if self.closed {
            return Ok(dropped);
        }
        match write(&mut self.inner) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(dropped)
            }
            written => written,
        }
    }
}

impl<W: Write> Write for Output<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.unless_closed(bytes.len(), |inner| inner.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.unless_closed((), Write::flush)
    }
}

#[cfg(test)]
mod tests {
    use super::Output;
    use std::io::{self, ErrorKind, Write};

    /// Takes this many bytes, and then fails.
    struct Limited(usize, ErrorKind);

    impl Write for Limited {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.0);
            self.0 -= taken;
            if taken == 0 { Err(self.1.into()) } else { Ok(taken) }
        }

        fn flush(&mut self) -> io::Result<()> {
            if self.0 == 0 { Err(self.1.into()) } else { Ok(()) }
        }
    }

    #[test]
    fn a_closed_pipe_is_no_error() {
        let mut output = Output::new(Limited(5, ErrorKind::BrokenPipe));
        for _ in 0..3 {
            writeln!(output, "line").unwrap();
            output.flush().unwrap();
        }
        assert!(output.closed);
        let mut full = Output::new(Limited(5, ErrorKind::StorageFull));
        writeln!(full, "line").unwrap();
        assert_eq!(writeln!(full, "line").unwrap_err().kind(), ErrorKind::StorageFull);
    }
}
