//! [`Notifications`]: what the registry calls.

use crate::counters::add;
use crate::event::{Action, Event, Source, SourceRecord};
use crate::log::{Level, Log};
use crate::outbox::{self, EVENT_LIMIT, Publishing, Shared, Writer};
use crate::send::Sender;
use crate::settings::Settings;
use roadstead_telemetry::metrics::EndpointReading;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{fmt, io};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How long a stop waits for the outbox to be written, at least: also if it drains nothing.
///
/// Limit: time until the outbox is written at a stop; test: none, it needs a disk that hangs.
const FLUSH: Duration = Duration::from_secs(5);

/// How long whoever publishes waits for the outbox. The event may be written nevertheless.
///
/// Limit: time that a push waits for the outbox; test: none, it needs a disk that hangs.
const PUBLISH_WAIT: Duration = Duration::from_secs(10);

/// How long whoever publishes waits while the outbox hangs: one has waited [`PUBLISH_WAIT`] in vain,
/// and nothing was written since.
///
/// Limit: time that a push waits for an outbox that hangs; test: `an_outbox_that_hangs_holds_up_few`.
const HANGING_WAIT: Duration = Duration::from_millis(100);

/// Time between two looks at whether the outbox is written, at a stop.
///
/// Limit: time between two looks at the outbox at a stop; test: none, tests do not measure time.
const FLUSH_STEP: Duration = Duration::from_millis(10);

/// Takes events, keeps them in the outbox, and has them sent.
pub struct Notifications {
    shared: Arc<Shared>,
    source: SourceRecord,
    references: bool,
    log: Log,
    draining: watch::Sender<bool>,
    tasks: Mutex<JoinSet<()>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl fmt::Debug for Notifications {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notifications").finish_non_exhaustive()
    }
}

impl Notifications {
    /// Opens the outbox in `directory`, and begins to send what is there; from a task of tokio's.
    /// It waits for the disk.
    ///
    /// # Errors
    /// If the outbox cannot be opened: another process may have it.
    pub fn start(
        settings: Settings,
        directory: &Path,
        source: Source,
        log: Log,
    ) -> Result<Self, String> {
        let wrong = |error: io::Error| {
            format!("notifications: the outbox {} cannot be used: {error}", directory.display())
        };
        let Settings { endpoints, include_references, outbox_limit } = settings;
        let (shared, writer) =
            outbox::open(directory, endpoints, outbox_limit, &log).map_err(wrong)?;
        let (draining, drain) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for index in 0..shared.endpoints.len() {
            let (shared, log) = (Arc::clone(&shared), Arc::clone(&log));
            tasks.spawn(Sender::new(shared, index, source.clone(), log, drain.clone()).run());
        }
        Ok(Self {
            shared,
            source: SourceRecord::new(source),
            references: include_references,
            log,
            draining,
            tasks: Mutex::new(tasks),
            writer: Mutex::new(Some(spawn(writer).map_err(wrong)?)),
        })
    }

    /// Whether any endpoint takes events of this kind: otherwise none has to be made.
    pub fn wants(&self, action: Action, media_type: &str) -> bool {
        self.shared.wanted(action.as_str(), media_type) != 0
    }

    /// Writes an event into the outbox: it is durable when this returns. To be called after the
    /// operation is durable, and before its client is told.
    ///
    /// If the future is dropped, the event may be written nevertheless.
    ///
    /// # Errors
    /// If the outbox cannot be written, which is counted as dropped, or not within 10 s, or 0.1 s if
    /// it hangs already, or if [`Self::stop`] was called.
    pub async fn publish(&self, event: Event) -> io::Result<()> {
        let Some(wanted) = self.wanted(&event) else { return Ok(()) };
        let event = self.encode(&event)?;
        let hangs = &self.shared.queue.hangs;
        let wait = if hangs.load(Ordering::Relaxed) { HANGING_WAIT } else { PUBLISH_WAIT };
        let result = tokio::time::timeout(wait, self.write(event, wanted)).await;
        result.unwrap_or_else(|_| {
            hangs.store(true, Ordering::Relaxed);
            let text = format!("the outbox was not written within {wait:?}");
            Err(io::Error::new(io::ErrorKind::TimedOut, text))
        })
    }

    /// Puts an event into a queue that is written into the outbox within a second. It never waits:
    /// if the queue is full, the event is lost, and counted as dropped.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "an event is published once, as by `publish`"
    )]
    pub fn publish_lazily(&self, event: Event) {
        let Some(wanted) = self.wanted(&event) else { return };
        let shared = &self.shared;
        let taken = self.encode(&event).is_ok_and(|it| shared.queue.publish_lazily(it, wanted));
        if !taken {
            shared.counters(wanted).for_each(|counters| add(&counters.dropped, 1));
        }
    }

    /// The counters of each endpoint, in the order of the settings.
    pub fn metrics(&self) -> Vec<EndpointReading> {
        let endpoints = self.shared.endpoints.iter().zip(&self.shared.counters);
        endpoints
            .map(|(endpoint, counters)| counters.read(&endpoint.name, &endpoint.address.shown))
            .collect()
    }

    /// Takes no more events, writes those that were published lazily, sends for at most `drain`
    /// what is in the outbox, and saves how far the endpoints have come. What is not sent by then
    /// is sent after the next start.
    pub async fn stop(&self, drain: Duration) {
        let deadline = Instant::now() + drain;
        self.shared.queue.close();
        self.flushed(Instant::now() + drain.max(FLUSH)).await;
        self.draining.send_replace(true);
        let mut tasks = {
            let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *tasks)
        };
        let all = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout_at(deadline, all).await.is_err() {
            tasks.shutdown().await;
        }
        self.end();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A disk that hangs does not hold up the end of the process.
        let deadline = Instant::now() + FLUSH;
        while writer.as_ref().is_some_and(|writer| !writer.is_finished())
            && Instant::now() < deadline
        {
            tokio::time::sleep(FLUSH_STEP).await;
        }
    }

    /// The endpoints that want an event, if there are any.
    fn wanted(&self, event: &Event) -> Option<outbox::Wanted> {
        let wanted = self.shared.wanted(event.action.as_str(), &event.target.media_type);
        (wanted != 0).then_some(wanted)
    }

    fn encode(&self, event: &Event) -> io::Result<Vec<u8>> {
        let bytes = event.encode(&self.source, self.references)?;
        if bytes.len() <= EVENT_LIMIT {
            return Ok(bytes);
        }
        let bytes = event.encode(&self.source, false)?;
        if bytes.len() <= EVENT_LIMIT {
            return Ok(bytes);
        }
        let text = format!("notifications: an event is longer than {EVENT_LIMIT} bytes");
        (self.log)(Level::Error, &text);
        Err(io::Error::new(io::ErrorKind::InvalidInput, text))
    }

    /// Has an event written, and waits for it.
    async fn write(&self, event: Vec<u8>, wanted: outbox::Wanted) -> io::Result<()> {
        let queue = &self.shared.queue;
        // An event is shorter than all turns.
        let size = u32::try_from(event.len()).unwrap_or(u32::MAX);
        let turns = Arc::clone(&queue.turns).acquire_many_owned(size).await;
        let permit = turns.map_err(io::Error::other)?;
        let (done, written) = oneshot::channel();
        queue.publish(Publishing { event, wanted, done, _permit: permit })?;
        written.await.unwrap_or_else(|_| Err(outbox::closed()))
    }

    /// Waits until all that was published lazily is written.
    async fn flushed(&self, deadline: Instant) {
        while !self.shared.queue.is_idle() && Instant::now() < deadline {
            tokio::time::sleep(FLUSH_STEP).await;
        }
    }

    /// Ends the writer, without waiting for it.
    fn end(&self) {
        self.shared.queue.end();
    }
}

impl Drop for Notifications {
    fn drop(&mut self) {
        self.end();
    }
}

fn spawn(writer: Writer) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name("notifications".to_owned()).spawn(|| writer.run())
}

#[cfg(test)]
mod tests {
    use super::Notifications;
    use crate::event::{Action, Source, SourceRecord};
    use crate::outbox;
    use crate::tests::{Lines, endpoint, event, settings};
    use std::sync::Mutex;
    use std::sync::atomic::Ordering;
    use tokio::sync::watch;
    use tokio::task::JoinSet;

    /// Once one has waited in vain for a disk that hangs, those after it wait shortly.
    #[tokio::test]
    async fn an_outbox_that_hangs_holds_up_few() {
        let (directory, lines) = (tempfile::tempdir().unwrap(), Lines::default());
        let settings = settings(vec![endpoint("alice", "http://127.0.0.1:1/")], 64 << 20);
        let opened = outbox::open(directory.path(), settings.endpoints, 64 << 20, &lines.log());
        let (shared, writer) = opened.unwrap();
        let notifications = Notifications {
            shared,
            source: SourceRecord::new(Source::default()),
            references: false,
            log: lines.log(),
            draining: watch::channel(false).0,
            tasks: Mutex::new(JoinSet::new()),
            writer: Mutex::new(None),
        };
        let hangs = &notifications.shared.queue.hangs;
        assert!(!hangs.load(Ordering::Relaxed));
        hangs.store(true, Ordering::Relaxed);
        for number in 0..3 {
            let error = notifications.publish(event(Action::Push, number)).await.unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
            assert!(error.to_string().ends_with("100ms"), "{error}");
        }
        // It goes on: all is written that was published.
        notifications.shared.queue.close();
        notifications.end();
        std::thread::spawn(|| writer.run()).join().unwrap();
        assert!(!hangs.load(Ordering::Relaxed));
    }
}
