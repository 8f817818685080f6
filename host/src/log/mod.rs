//! The log to standard error, on which serving never depends.
//!
//! Lines go into a buffer of bounded size, and a thread of their own writes them
//! ([`writer`]): what standard error cannot take is dropped and counted. Lines
//! that tell of failures are limited in rate ([`limit`]), since clients can cause
//! many of them.

mod limit;
mod writer;

use crate::log::limit::RateLimit;
use crate::log::writer::{BUFFER, LogWriter};
use anyhow::Context as _;
use roadstead_config::{LogFormat, LogLevel};
use std::backtrace::{Backtrace, BacktraceStatus};
use std::io;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// The target of lines that are not limited in rate: a client cannot cause them.
pub(crate) const UNLIMITED: &str = "roadstead::unlimited";

/// How long the end of the process waits for the last lines to be written.
///
/// Limit: wait for the last log lines at the end; test: `a_pipe_that_nobody_reads`.
const LAST_LINES: Duration = Duration::from_secs(1);

/// The log of this process, once [`start`] has been called.
static LOG: OnceLock<LogWriter> = OnceLock::new();

/// Logs to standard error from now on, panics included.
///
/// # Errors
/// When the log's thread cannot be started.
pub(crate) fn start(level: LogLevel, format: LogFormat) -> anyhow::Result<()> {
    let lines = LogWriter::start(writer::standard_error(), |dropped| {
        tracing::error!(
            target: UNLIMITED,
            "{dropped} log lines were dropped: standard error took no more for a while"
        );
    })
    .context("cannot start the thread of the log")?;
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_target(false)
        .with_ansi(false)
        // They would be printed to the standard error that failed.
        .log_internal_errors(false)
        .with_writer(Lines { writer: lines.clone(), limit: RateLimit::default() });
    match format {
        LogFormat::Text => subscriber.init(),
        LogFormat::Json => subscriber.json().flatten_event(true).init(),
    }
    let _ = LOG.set(lines);
    // The default hook writes to standard error itself, and waits for it.
    std::panic::set_hook(Box::new(|panic| {
        let backtrace = Backtrace::capture();
        if backtrace.status() == BacktraceStatus::Captured {
            tracing::error!("a thread {panic}\n{backtrace}");
        } else {
            tracing::error!("a thread {panic}");
        }
    }));
    Ok(())
}

/// Writes `text` as it is, and not as an event.
pub(crate) fn print(text: &str) {
    match LOG.get() {
        Some(log) => log.append(text.as_bytes(), usize::MAX),
        None => drop(io::Write::write_all(&mut io::stderr(), text.as_bytes())),
    }
}

/// Waits until all lines are written, for at most [`LAST_LINES`].
pub(crate) fn finish() {
    if let Some(log) = LOG.get() {
        log.flush(LAST_LINES);
    }
}

/// Where events are written to: one writer for each.
struct Lines {
    writer: LogWriter,
    limit: RateLimit,
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(Some(&self.writer))
    }

    fn make_writer_for(&'a self, event: &Metadata<'_>) -> Line<'a> {
        if *event.level() > Level::WARN || event.target() == UNLIMITED {
            return self.make_writer();
        }
        match self.limit.count(event.callsite(), Instant::now()) {
            None => Line(None),
            Some(suppressed) => {
                if suppressed > 0 && *event.level() == Level::ERROR {
                    tracing::error!(target: UNLIMITED, "{suppressed} {SUPPRESSED}");
                } else if suppressed > 0 {
                    tracing::warn!(target: UNLIMITED, "{suppressed} {SUPPRESSED}");
                }
                self.make_writer()
            }
        }
    }
}

const SUPPRESSED: &str = "log lines like the next one were suppressed";

/// Takes one event, unless it is suppressed.
struct Line<'a>(Option<&'a LogWriter>);

impl io::Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Some(writer) = self.0 {
            writer.append(line, BUFFER);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A count with its noun, as in `1 user` and `2 users`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}
