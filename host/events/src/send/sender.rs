//! The task of an endpoint: reads its events from the outbox and sends them, in order.

use super::body;
use super::client::{Client, Outcome};
use super::pause::pause;
use crate::counters::{Counters, add};
use crate::event::{Head, Source};
use crate::log::{Level, Log, Trouble};
use crate::outbox::{Batch, Reader, Shared, Stored};
use http::StatusCode;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How often several events are sent in one request that is not taken, until they are sent one by
/// one.
///
/// Limit: attempts to deliver several events in one request; test:
/// `a_slow_endpoint_gets_events_one_by_one`.
const TOGETHER: u32 = 3;

/// How often an event alone is refused as such, until it is given up.
///
/// Limit: attempts to deliver an event that an endpoint refuses; test:
/// `an_event_that_is_refused_holds_up_no_other`.
const REFUSALS: u32 = 5;

/// Pause after the outbox could not be read.
///
/// Limit: pause after the outbox could not be read; test: none, it needs a disk that fails.
const READ_PAUSE: Duration = Duration::from_secs(5);

/// By these an endpoint refuses the request itself: no later time makes it better.
const REFUSED: [StatusCode; 3] =
    [StatusCode::BAD_REQUEST, StatusCode::PAYLOAD_TOO_LARGE, StatusCode::UNPROCESSABLE_ENTITY];

/// Sends the events of an endpoint.
pub(crate) struct Sender {
    shared: Arc<Shared>,
    /// Which endpoint it is.
    index: usize,
    client: Client,
    reader: Option<Reader>,
    /// Requests that failed in a row.
    failures: u64,
    trouble: Trouble,
    /// For pauses.
    random: fastrand::Rng,
    log: Log,
    /// Whether to end when there are no more events.
    draining: watch::Receiver<bool>,
}

impl Sender {
    pub(crate) fn new(
        shared: Arc<Shared>,
        index: usize,
        source: Source,
        log: Log,
        draining: watch::Receiver<bool>,
    ) -> Self {
        let client = Client::new(shared.endpoints[index].clone(), source);
        let reader = Some(Reader::new(shared.directory.clone()));
        let trouble = Trouble::default();
        // Hashers have random keys of their own.
        let random = fastrand::Rng::with_seed(RandomState::new().hash_one(index));
        Self { shared, index, client, reader, failures: 0, trouble, random, log, draining }
    }

    /// Sends until it is told that it is draining, and then what is left.
    pub(crate) async fn run(mut self) {
        let mut end = self.shared.end.subscribe();
        loop {
            let until = *end.borrow_and_update();
            if self.shared.position(self.index) < until {
                self.next(until).await;
                continue;
            }
            if *self.draining.borrow() {
                return;
            }
            tokio::select! {
                changed = end.changed() => if changed.is_err() { return },
                changed = self.draining.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Sends the next events.
    async fn next(&mut self, until: crate::outbox::Position) {
        let batch = match self.read(until).await {
            Ok(batch) => batch,
            Err(error) => {
                self.trouble(1, &format!("the outbox cannot be read: {error}"));
                tokio::time::sleep(READ_PAUSE).await;
                return;
            }
        };
        if batch.damaged > 0 {
            let text = format!("{} parts of the outbox were damaged and are lost", batch.damaged);
            self.say(Level::Error, &text);
        }
        let one_by_one = !batch.events.is_empty() && !self.together(&batch.events).await;
        if one_by_one {
            for stored in &batch.events {
                self.alone(stored).await;
                self.shared.passed(self.index, std::slice::from_ref(stored), stored.end);
            }
        }
        self.shared.passed(self.index, &batch.events, batch.end);
    }

    /// Reads, on a thread that may wait.
    async fn read(&mut self, until: crate::outbox::Position) -> io::Result<Batch> {
        let reader = self.reader.take();
        let mut reader = reader.unwrap_or_else(|| Reader::new(self.shared.directory.clone()));
        let (shared, index) = (Arc::clone(&self.shared), self.index);
        let read = tokio::task::spawn_blocking(move || {
            let endpoint = &shared.endpoints[index];
            let wanted = |head: &Head<'_>| endpoint.wants(&head.action, &head.target.media_type);
            let most = body::most(endpoint.format);
            let batch = reader.batch(shared.position(index), until, most, wanted);
            (reader, batch)
        });
        let (reader, batch) = read.await.map_err(io::Error::other)?;
        self.reader = Some(reader);
        batch
    }

    /// Sends events in one request. `false` if it is refused, or not taken several times, and its
    /// events are to be sent one by one: so many at once may take the endpoint too long.
    async fn together(&mut self, events: &[Stored]) -> bool {
        if events.len() == 1 {
            return false;
        }
        for _ in 0..TOGETHER {
            match self.attempt(events).await {
                Outcome::Taken(_) => return true,
                Outcome::Rejected(status, _) if REFUSED.contains(&status) => return false,
                outcome => self.wait(&outcome).await,
            }
        }
        false
    }

    /// Sends an event until it is taken, or is refused too often.
    async fn alone(&mut self, stored: &Stored) {
        let mut refusals = 0;
        loop {
            let outcome = self.attempt(std::slice::from_ref(stored)).await;
            match outcome {
                Outcome::Taken(_) => return,
                Outcome::Rejected(status, _) if REFUSED.contains(&status) => {
                    refusals += 1;
                    if refusals == REFUSALS {
                        self.give_up(stored, status);
                        return;
                    }
                }
                _ => {}
            }
            self.wait(&outcome).await;
        }
    }

    fn give_up(&mut self, stored: &Stored, status: StatusCode) {
        add(&self.counters().refused, 1);
        self.failures = 0;
        let id = Head::parse(&stored.event).map(|head| head.id.into_owned()).unwrap_or_default();
        let text = format!("event {id} was refused {REFUSALS} times ({status}) and is given up");
        self.say(Level::Error, &text);
    }

    /// Sends events once, and counts what comes of it.
    async fn attempt(&mut self, events: &[Stored]) -> Outcome {
        let bodies: Vec<_> = events.iter().map(|stored| &stored.event).collect();
        let outcome = self.client.send(&bodies).await;
        let (count, counters) = (events.len() as u64, self.counters());
        match &outcome {
            Outcome::Taken(status) => {
                add(&counters.successes, count);
                counters.status(status.as_u16());
                self.failures = 0;
                if self.trouble.is_over() {
                    self.say(Level::Info, "events are taken again");
                }
            }
            Outcome::Rejected(status, _) => {
                add(&counters.failures, count);
                counters.status(status.as_u16());
            }
            Outcome::Unanswered(_) => add(&counters.errors, count),
        }
        outcome
    }

    /// Waits after an attempt that has failed.
    async fn wait(&mut self, outcome: &Outcome) {
        let (cause, asked) = match outcome {
            Outcome::Taken(_) => return,
            Outcome::Rejected(status, asked) => (status.to_string(), *asked),
            Outcome::Unanswered(cause) => (cause.clone(), None),
        };
        self.failures += 1;
        self.trouble(1, &format!("events are not taken, and are sent again: {cause}"));
        let endpoint = &self.shared.endpoints[self.index];
        let (threshold, backoff) = (endpoint.threshold, endpoint.backoff);
        let pause = pause(self.failures, threshold, backoff, asked, self.random.f64());
        tokio::time::sleep(pause).await;
    }

    fn trouble(&mut self, count: u64, text: &str) {
        if self.trouble.happened(count, Instant::now()).is_some() {
            self.say(Level::Warn, text);
        }
    }

    fn say(&self, level: Level, text: &str) {
        let endpoint = &self.shared.endpoints[self.index];
        let (name, place) = (&endpoint.name, &endpoint.address.shown);
        (self.log)(level, &format!("notifications: {name} ({place}): {text}"));
    }

    fn counters(&self) -> &Counters {
        &self.shared.counters[self.index]
    }
}
