//! The task that takes spans from the queue and sends them.

use crate::export::{Client, Outcome};
use crate::message;
use crate::queue::{Counts, Queue};
use crate::record::Record;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

/// The longest pause between attempts to send a batch; the first is a fifth of it or less.
///
/// Limit: pause between attempts to export a batch of spans; test: none, it would take as
/// long.
const PAUSE: Duration = Duration::from_secs(5);

/// How long a collector can have an exporter wait: more is cut down to it.
///
/// Limit: pause that a collector can ask for; test: `a_pause_that_a_collector_asks_for`.
pub(crate) const ASKED_PAUSE: Duration = Duration::from_mins(1);

/// Time between two log lines about exports that fail.
///
/// Limit: time between two warnings about exports; test: `problems_are_logged_once_a_minute`.
const LOG_PAUSE: Duration = Duration::from_mins(1);

/// How batches are made and sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Schedule {
    /// How long spans wait for others.
    pub(crate) delay: Duration,
    /// For all attempts to send a batch.
    pub(crate) export: Duration,
    /// The pause after the first attempt; it doubles with each.
    pub(crate) pause: Duration,
}

impl Schedule {
    /// The pause after the first attempt.
    ///
    /// Limit: pause after the first attempt to export a batch; test: none, it would take as long.
    pub(crate) const FIRST_PAUSE: Duration = Duration::from_secs(1);
}

/// Sends spans until it is told to stop, and then what is left.
pub(crate) struct Exporter {
    pub(crate) queue: Arc<Queue>,
    pub(crate) client: Client,
    pub(crate) schedule: Schedule,
    /// A `Resource`, encoded.
    pub(crate) resource: Vec<u8>,
    pub(crate) version: String,
    /// Where spans go, for the log.
    pub(crate) place: String,
    pub(crate) stop: watch::Receiver<bool>,
    pub(crate) log: ExportLog,
}

impl Exporter {
    pub(crate) async fn run(mut self) {
        let mut not_before = Instant::now();
        loop {
            let stopping = self.wait(not_before).await;
            let spans = self.queue.take();
            if spans.is_empty() && stopping {
                return;
            }
            if !spans.is_empty() {
                not_before = self.export(spans).await;
            }
        }
    }

    /// Waits for a batch, or for some spans that have waited for it long enough. Returns at
    /// once if all is to end.
    async fn wait(&mut self, not_before: Instant) -> bool {
        while self.queue.state().0 && !*self.stop.borrow() {
            tokio::select! {
                () = self.queue.notify.notified() => {}
                stopped = self.stop.changed() => if stopped.is_err() { return true },
            }
        }
        let deadline = (Instant::now() + self.schedule.delay).max(not_before);
        while !*self.stop.borrow() {
            let now = Instant::now();
            if now >= deadline || (self.queue.state().1 && now >= not_before) {
                return false;
            }
            let until = if self.queue.state().1 { not_before } else { deadline };
            tokio::select! {
                () = self.queue.notify.notified() => {}
                () = sleep_until(until) => {}
                stopped = self.stop.changed() => if stopped.is_err() { return true },
            }
        }
        true
    }

    /// Sends a batch. Returns the time before which the collector wants no other.
    async fn export(&mut self, spans: Vec<Record>) -> Instant {
        let lost = Lost { queue: Arc::clone(&self.queue), count: spans.len() as u64 };
        let message = message::request(&self.resource, &self.version, &spans);
        drop(spans);
        let body = self.client.body(message);
        match self.attempts(body).await {
            Outcome::Taken { rejected, message } => {
                lost.only(rejected);
                let problem = (rejected > 0 || message.is_some()).then(|| {
                    let message = message.unwrap_or_else(|| "without a reason".to_owned());
                    format!("it rejected {rejected}: {message}")
                });
                self.report(problem.as_deref());
                Instant::now()
            }
            Outcome::Refused { cause } => {
                drop(lost);
                self.report(Some(&cause));
                Instant::now()
            }
            Outcome::Later { cause, after } => {
                drop(lost);
                self.report(Some(&cause));
                Instant::now() + after.unwrap_or_default().min(ASKED_PAUSE)
            }
        }
    }

    /// Writes into the log what is worth it of an export.
    fn report(&mut self, problem: Option<&str>) {
        let (counts, place) = (self.queue.counters.read(), &self.place);
        match self.log.line(Instant::now(), problem, counts) {
            Some((true, text)) => tracing::warn!("traces: {place}: {text}"),
            Some((false, text)) => tracing::info!("traces: {place}: {text}"),
            None => {}
        }
    }

    /// Sends a batch until it is taken or refused, or time is up. While all is ending, once.
    async fn attempts(&mut self, body: Bytes) -> Outcome {
        let deadline = Instant::now() + self.schedule.export;
        let mut pause = self.schedule.pause;
        loop {
            let Ok(outcome) = timeout_at(deadline, self.client.send(body.clone())).await else {
                let cause = format!("no response in {:?}", self.schedule.export);
                return Outcome::Later { cause, after: None };
            };
            let Outcome::Later { after, .. } = &outcome else { return outcome };
            let wait = after.unwrap_or_else(|| jittered(pause));
            let until = Instant::now() + wait.min(ASKED_PAUSE);
            if until >= deadline || *self.stop.borrow() {
                return outcome;
            }
            tokio::select! {
                () = sleep_until(until) => {}
                // One more attempt, at once.
                _ = self.stop.changed() => {}
            }
            pause = (pause * 2).min(PAUSE);
        }
    }
}

/// Spans of a batch, which are counted as lost unless it is said that they are not: also if
/// the task is ended.
struct Lost {
    queue: Arc<Queue>,
    count: u64,
}

impl Lost {
    /// The others were exported.
    fn only(mut self, count: u64) {
        let count = count.min(self.count);
        self.queue.counters.exported.fetch_add(self.count - count, Ordering::Relaxed);
        self.count = count;
    }
}

impl Drop for Lost {
    fn drop(&mut self) {
        self.queue.counters.not_exported.fetch_add(self.count, Ordering::Relaxed);
    }
}

/// What the log says of exports: that spans are lost, and why, but not each time.
#[derive(Debug, Default)]
pub(crate) struct ExportLog {
    /// When it last said so; nothing if it has said since that spans are exported again.
    last: Option<Instant>,
    /// Spans that were lost by then.
    lost: u64,
    /// Those of them for which the queue had no room.
    queue_full: u64,
}

impl ExportLog {
    /// The line for an export that had a `problem`, or none, and whether it is a warning.
    fn line(
        &mut self,
        now: Instant,
        problem: Option<&str>,
        counts: Counts,
    ) -> Option<(bool, String)> {
        let full = counts.queue_full > self.queue_full;
        let full =
            full.then_some("they end faster than they are taken; see OTEL_BSP_MAX_QUEUE_SIZE");
        let is_new = |last: &Instant| now - *last >= LOG_PAUSE;
        let Some(cause) = problem.or(full) else {
            self.last.take_if(|last| is_new(last))?;
            return Some((false, "spans are taken again".to_owned()));
        };
        if !self.last.as_ref().is_none_or(is_new) {
            return None;
        }
        self.last = Some(now);
        let all = counts.not_exported + counts.queue_full;
        let lost = all - std::mem::replace(&mut self.lost, all);
        self.queue_full = counts.queue_full;
        Some((true, format!("{lost} spans were dropped: {cause}")))
    }
}

/// A random time between half of `time` and all of it.
fn jittered(time: Duration) -> Duration {
    let random = (crate::random::number() >> 32) as u32;
    let half = time / 2;
    half + half.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::ExportLog;
    use crate::queue::Counts;
    use std::time::Duration;
    use tokio::time::Instant;

    #[test]
    fn problems_are_logged_once_a_minute() {
        let (mut log, start) = (ExportLog::default(), Instant::now());
        let full = "1 spans were dropped: they end faster than they are taken; see \
                    OTEL_BSP_MAX_QUEUE_SIZE";
        for (seconds, problem, not_exported, queue_full, expected) in [
            (0, None, 0, 0, None),
            (1, Some("down"), 3, 0, Some("3 spans were dropped: down")),
            (2, Some("down"), 9, 0, None),
            (60, Some("down"), 12, 0, None),
            (61, Some("slow"), 12, 2, Some("11 spans were dropped: slow")),
            (62, None, 12, 2, None),
            (121, None, 12, 2, Some("spans are taken again")),
            (122, None, 12, 2, None),
            (123, None, 12, 3, Some(full)),
            (124, None, 12, 4, None),
            (400, None, 12, 4, Some(full)),
            (500, None, 12, 4, Some("spans are taken again")),
        ] {
            let now = start + Duration::from_secs(seconds);
            let counts = Counts { exported: 0, queue_full, not_exported };
            let said = log.line(now, problem, counts).map(|(warning, text)| {
                assert_eq!(warning, text.contains("dropped"));
                text
            });
            assert_eq!(said.as_deref(), expected, "{seconds}");
        }
    }
}
