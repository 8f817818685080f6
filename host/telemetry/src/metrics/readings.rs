//! What only the host knows, and reads when it is asked.

use super::families::{
    CACHE_BYTES, CACHE_ENTRIES, CACHE_PURGES, COLLECTION_INTERVAL, CONNECTIONS, CONNECTIONS_LIMIT,
    LOG_DROPPED, READY, STREAMS, STREAMS_LIMIT, TURNS, TURNS_LIMIT, TURNS_WAITING,
};
use super::notifications::EndpointReading;
use super::output::Output;
use std::time::Duration;

/// The state of the host at the time of a scrape.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Readings {
    /// Whether all checks of `/debug/health` pass.
    pub ready: bool,
    /// The cache of responses.
    pub cache: CacheReading,
    /// Requests that the component is answering.
    pub turns: Share,
    /// Requests that wait for a turn.
    pub waiting: u64,
    /// Connections of clients.
    pub connections: Share,
    /// Requests over HTTP/2 that are not answered to the end.
    pub streams: Share,
    /// The interval of garbage collection, if this process collects.
    pub collection_interval: Option<Duration>,
    /// Log lines that were dropped since the start.
    pub log_lines_dropped: u64,
    /// The endpoints of notifications.
    pub endpoints: Vec<EndpointReading>,
}

/// Something of which there is a limited number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Share {
    /// What is in use.
    pub used: u64,
    /// What there is.
    pub limit: u64,
}

/// The state of the cache of responses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CacheReading {
    /// Responses.
    pub entries: u64,
    /// The bytes that they take, about.
    pub bytes: u64,
    /// Keys that were purged since the start.
    pub purges: u64,
}

impl Readings {
    pub(super) fn write(&self, output: &mut Output) {
        for (family, value) in [
            (&READY, u64::from(self.ready)),
            (&CACHE_ENTRIES, self.cache.entries),
            (&CACHE_BYTES, self.cache.bytes),
            (&TURNS, self.turns.used),
            (&TURNS_LIMIT, self.turns.limit),
            (&TURNS_WAITING, self.waiting),
            (&CONNECTIONS, self.connections.used),
            (&CONNECTIONS_LIMIT, self.connections.limit),
            (&STREAMS, self.streams.used),
            (&STREAMS_LIMIT, self.streams.limit),
        ] {
            output.gauge(family, &[], value);
        }
        output.counter(&CACHE_PURGES, &[], self.cache.purges);
        output.counter(&LOG_DROPPED, &[], self.log_lines_dropped);
        for endpoint in &self.endpoints {
            endpoint.write(output);
        }
        if let Some(interval) = self.collection_interval {
            output.gauge_of(&COLLECTION_INTERVAL, &[], interval.as_secs_f64());
        }
    }
}
