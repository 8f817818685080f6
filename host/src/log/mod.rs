//! The log to standard error, on which serving never depends.
//!
//! Lines go into a buffer of bounded size, and a thread of their own writes them
//! ([`writer`]): what standard error cannot take is dropped and counted. Lines
//! that tell of failures are limited in rate ([`limit`]), since clients can cause
//! many of them. Each event is one line, whatever a message contains ([`one_line`]).
//!
//! Lines of requests are made by [`roadstead_telemetry::access`]: they are many, and it is faster.

mod level;
mod limit;
mod one_line;
mod writer;

pub(crate) use level::toggle_debug;

use crate::log::limit::RateLimit;
use crate::log::writer::{BUFFER, LogWriter};
use anyhow::Context as _;
use roadstead_config::{AccessFormat, LogFormat, LogLevel};
use roadstead_telemetry::access::{Exchange, Format};
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::RefCell;
use std::io::{self, IsTerminal as _};
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};
use tracing::{Level, Metadata};
use tracing_subscriber::Layer as _;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// The target of lines that are not limited in rate: a client cannot cause them.
pub(crate) const UNLIMITED: &str = "roadstead::unlimited";

/// How long the end of the process waits for the last lines to be written.
///
/// Limit: wait for the last log lines at the end; test: `a_pipe_that_nobody_reads`.
const LAST_LINES: Duration = Duration::from_secs(1);

/// The target of events whose lines stay as they are: a panic's backtrace.
const LINES: &str = "roadstead::lines";

/// The log of this process, once [`start`] has been called.
static LOG: OnceLock<Log> = OnceLock::new();

struct Log {
    writer: LogWriter,
    /// How lines of requests look.
    access: Format,
}

/// Logs to standard error from now on, panics included.
///
/// # Errors
/// When the log's thread cannot be started.
pub(crate) fn start(
    level: LogLevel,
    format: LogFormat,
    access: AccessFormat,
) -> anyhow::Result<()> {
    let lines = LogWriter::start(writer::standard_error(), |dropped| {
        tracing::error!(
            target: UNLIMITED,
            "{dropped} log lines were dropped: standard error took no more for a while"
        );
    })
    .context("cannot start the thread of the log")?;
    let is_terminal = io::stderr().is_terminal();
    let is_json = match format {
        LogFormat::Text => false,
        LogFormat::Json => true,
        LogFormat::Auto => !is_terminal,
    };
    let colour = is_terminal && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    let text = Format::Text { colour };
    let access = match access {
        AccessFormat::Same if is_json => Format::Json,
        AccessFormat::Same => text,
        AccessFormat::Combined => Format::Combined,
    };
    let layer = tracing_subscriber::fmt::layer()
        .with_target(false)
        .with_ansi(colour)
        // They would be printed to the standard error that failed.
        .log_internal_errors(false)
        .with_writer(Lines { writer: lines.clone(), limit: RateLimit::default() });
    let layer = if is_json { layer.json().flatten_event(true).boxed() } else { layer.boxed() };
    tracing_subscriber::registry().with(level::filter(level)).with(layer).init();
    let _ = LOG.set(Log { writer: lines, access });
    // The default hook writes to standard error itself, and waits for it.
    std::panic::set_hook(Box::new(|panic| {
        let backtrace = Backtrace::capture();
        if backtrace.status() == BacktraceStatus::Captured {
            tracing::error!(target: LINES, "a thread {panic}\n{backtrace}");
        } else {
            tracing::error!("a thread {panic}");
        }
    }));
    Ok(())
}

/// Writes `text` as it is, and not as an event.
pub(crate) fn print(text: &str) {
    match LOG.get() {
        Some(log) => log.writer.append(text.as_bytes(), usize::MAX),
        None => drop(io::Write::write_all(&mut io::stderr(), text.as_bytes())),
    }
}

/// Logs a request that was answered, if the level has it.
pub(crate) fn access(exchange: &Exchange<'_>) {
    thread_local! {
        static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    let Some(log) = LOG.get().filter(|_| level::has_info()) else { return };
    LINE.with_borrow_mut(|line| {
        line.clear();
        exchange.write(log.access, SystemTime::now(), line);
        log.writer.append(line, BUFFER);
    });
}

/// How many lines were dropped so far.
pub(crate) fn dropped() -> u64 {
    LOG.get().map_or(0, |log| log.writer.dropped())
}

/// Waits until all lines are written, for at most [`LAST_LINES`].
pub(crate) fn finish() {
    if let Some(log) = LOG.get() {
        log.writer.flush(LAST_LINES);
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
        Line { writer: Some(&self.writer), as_it_is: false }
    }

    fn make_writer_for(&'a self, event: &Metadata<'_>) -> Line<'a> {
        let line = Line { as_it_is: event.target() == LINES, ..self.make_writer() };
        if *event.level() > Level::WARN || event.target() == UNLIMITED {
            return line;
        }
        match self.limit.count(event.callsite(), Instant::now()) {
            None => Line { writer: None, as_it_is: false },
            Some(suppressed) => {
                if suppressed > 0 && *event.level() == Level::ERROR {
                    tracing::error!(target: UNLIMITED, "{suppressed} {SUPPRESSED}");
                } else if suppressed > 0 {
                    tracing::warn!(target: UNLIMITED, "{suppressed} {SUPPRESSED}");
                }
                line
            }
        }
    }
}

const SUPPRESSED: &str = "log lines like the next one were suppressed";

/// Takes one event, unless it is suppressed.
struct Line<'a> {
    writer: Option<&'a LogWriter>,
    as_it_is: bool,
}

impl io::Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Some(writer) = self.writer {
            if self.as_it_is {
                writer.append(line, BUFFER);
            } else {
                writer.append(&one_line::of(line), BUFFER);
            }
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
