//! How far a transfer has come: a bar on a terminal, lines elsewhere.

use crate::summary::{Outcome, Report};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use roadstead_operator::registry::Outgoing;
use roadstead_operator::terminal::harmless;
use std::io::{IsTerminal as _, stderr};

/// What the bar shows.
const BAR: &str =
    "{msg:12} [{bar:30}] {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}";

/// Shows progress.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    /// Whether there is a line for each image, as there is no bar.
    lines: bool,
}

/// A number of bytes for people.
pub(crate) fn bytes(number: u64) -> String {
    HumanBytes(number).to_string()
}

impl Progress {
    /// On standard error: a bar, if it is a terminal; lines otherwise; nothing, if that is asked for.
    pub(crate) fn new(report: &Report) -> Self {
        let quiet = report.is_quiet();
        let terminal = stderr().is_terminal();
        let target = if terminal && !quiet {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        if let Ok(style) = ProgressStyle::with_template(BAR) {
            bar.set_style(style.progress_chars("##-"));
        }
        Self { bar, lines: !terminal && !quiet }
    }

    /// Begins a stage of this many bytes.
    pub(crate) fn begin(&self, stage: &'static str, bytes: u64) {
        self.bar.set_message(stage);
        self.bar.set_length(bytes);
        self.bar.set_position(0);
        if self.lines && bytes > 0 {
            eprintln!("{stage}: {}", HumanBytes(bytes));
        }
    }

    /// Counts bytes that are done.
    pub(crate) fn add(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    /// Says what became of an image.
    pub(crate) fn image(&self, outcome: &Outcome) {
        let line = harmless(&outcome.to_string());
        if self.lines {
            eprintln!("{line}");
        } else {
            self.bar.println(line);
        }
    }

    /// Removes the bar.
    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }

    /// Counts the bytes of a body as they are sent.
    pub(crate) fn counted(&self, body: Outgoing) -> Outgoing {
        let bar = self.bar.clone();
        let counted = body.map_frame(move |frame| {
            bar.inc(frame.data_ref().map_or(0, Bytes::len) as u64);
            frame
        });
        counted.boxed_unsync()
    }
}
