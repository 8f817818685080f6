//! The connections that are open: how many there can be, for all clients and for
//! each, and which one ends where a new one finds no room.

use crate::front::clients::{Client, Clients, key};
use crate::front::peer;
use crate::log_throttle::LogThrottle;
use crate::meter::Meter;
use crate::net::activity::{Activity, State};
use ipnet::IpNet;
use roadstead_telemetry::metrics::{Refused, Share};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Idle connections that end at once where there is no room: finding them takes a
/// look at all.
const ENDED_AT_ONCE: usize = 16;

/// For how long connections are refused without another look, after one that found
/// none idle: who is refused may come again at once.
///
/// Limit: time between looks for idle connections; test: `the_idlest_makes_room`.
const NO_LOOK: Duration = Duration::from_millis(100);

/// So many connections have the kernel's default send buffers, of some megabytes
/// each: any system has enough memory for these, and they are faster.
///
/// Limit: connections with the kernel's default send buffers; test: `the_idlest_makes_room`.
const DEFAULT_SEND_BUFFERS: usize = 64;

/// The connections that are open.
#[derive(Debug)]
pub(crate) struct Connections {
    limit: usize,
    /// How many each client can have, except for trusted proxies.
    share: usize,
    trusted: Vec<IpNet>,
    clients: Arc<Clients>,
    meter: Meter,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    last: u64,
    all: HashMap<u64, Entry>,
    counts: HashMap<IpAddr, Count>,
    /// When none was idle.
    none_idle: Option<Instant>,
}

/// The connections of a client.
#[derive(Debug, Default)]
struct Count {
    open: usize,
    /// When none of them was idle.
    none_idle: Option<Instant>,
}

#[derive(Debug)]
struct Entry {
    address: IpAddr,
    activity: Arc<Activity>,
    end: Arc<Notify>,
}

/// A connection, counted until it is dropped.
#[derive(Debug)]
pub(crate) struct Connection {
    id: u64,
    table: Arc<Connections>,
    pub(crate) activity: Arc<Activity>,
    pub(crate) client: Arc<Client>,
    /// Whether it is one of [`DEFAULT_SEND_BUFFERS`].
    pub(crate) has_default_send_buffer: bool,
    end: Arc<Notify>,
}

impl Connections {
    /// At most `limit` in all and `share` for each client that is no `trusted`
    /// proxy.
    pub(crate) fn new(
        limit: usize,
        share: usize,
        trusted: Vec<IpNet>,
        clients: Arc<Clients>,
        meter: Meter,
    ) -> Arc<Self> {
        Arc::new(Self { limit, share, trusted, clients, meter, open: Mutex::default() })
    }

    /// How many are open, and how many can be.
    pub(crate) fn reading(&self) -> Share {
        Share { used: self.open().all.len() as u64, limit: self.limit as u64 }
    }

    /// Admits a connection. Where there is no room, connections that have been idle
    /// for longest end: the client's own if it has its share, or else anyone's.
    /// `None` if none is idle.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Connection> {
        static OF_CLIENT: LogThrottle = LogThrottle::new();
        static OF_ALL: LogThrottle = LogThrottle::new();
        let own = key(address);
        let mut open = self.open();
        let count = open.counts.get(&own).map_or(0, |count| count.open);
        if count >= self.share && !peer::is_trusted(address, &self.trusted) {
            let ended = open.end_idle(at_once(self.share), Some(own));
            if OF_CLIENT.is_due() {
                tracing::warn!(
                    "{own} has {count} connections, which is REGISTRY_HTTP_MAXCONNECTIONSPERCLIENT; \
                     {}. If it is a proxy, add it to REGISTRY_HTTP_TRUSTEDPROXIES",
                    consequence(ended)
                );
            }
            if ended == 0 {
                self.meter.refused(Refused::Connections);
                return None;
            }
        }
        if open.all.len() >= self.limit {
            let ended = open.end_idle(at_once(self.limit), None);
            if OF_ALL.is_due() {
                tracing::warn!(
                    "all {} connections are open (REGISTRY_HTTP_MAXCONNECTIONS, or the limit of open \
                     files); {}",
                    self.limit,
                    consequence(ended)
                );
            }
            if ended == 0 {
                self.meter.refused(Refused::Connections);
                return None;
            }
        }
        open.last += 1;
        let id = open.last;
        let (activity, end) = (Arc::new(Activity::new()), Arc::new(Notify::new()));
        let entry = Entry { address: own, activity: Arc::clone(&activity), end: Arc::clone(&end) };
        open.all.insert(id, entry);
        open.counts.entry(own).or_default().open += 1;
        let has_default_send_buffer = open.all.len() <= DEFAULT_SEND_BUFFERS;
        drop(open);
        let client = self.clients.get(address);
        Some(Connection {
            id,
            table: Arc::clone(self),
            activity,
            client,
            has_default_send_buffer,
            end,
        })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many of so many connections may end at once.
fn at_once(limit: usize) -> usize {
    ENDED_AT_ONCE.min(limit.div_ceil(4))
}

fn consequence(ended: usize) -> &'static str {
    match ended {
        0 => "a new one is refused",
        _ => "those that were idle for longest are closed",
    }
}

impl Open {
    /// When none was idle, of a client or of all.
    fn none_idle(&mut self, of: Option<IpAddr>) -> Option<&mut Option<Instant>> {
        match of {
            Some(address) => self.counts.get_mut(&address).map(|count| &mut count.none_idle),
            None => Some(&mut self.none_idle),
        }
    }

    /// Ends the connections that have been idle for longest, at most `count`, and
    /// returns how many it ended.
    fn end_idle(&mut self, count: usize, of: Option<IpAddr>) -> usize {
        if self.none_idle(of).is_some_and(|at| at.is_some_and(|at| at.elapsed() < NO_LOOK)) {
            return 0;
        }
        let mut idle: Vec<_> = self
            .all
            .iter()
            .filter(|(_, entry)| of.is_none_or(|address| entry.address == address))
            .filter_map(|(id, entry)| match entry.activity.state() {
                State::Idle(since) => Some((since, *id)),
                State::Busy | State::Blocked => None,
            })
            .collect();
        if idle.len() > count {
            idle.select_nth_unstable(count);
            idle.truncate(count);
        }
        if idle.is_empty()
            && let Some(at) = self.none_idle(of)
        {
            *at = Some(Instant::now());
        }
        for (_, id) in &idle {
            if let Some(entry) = self.remove(*id) {
                entry.end.notify_one();
            }
        }
        idle.len()
    }

    fn remove(&mut self, id: u64) -> Option<Entry> {
        let entry = self.all.remove(&id)?;
        if let Some(count) = self.counts.get_mut(&entry.address) {
            count.open -= 1;
            if count.open == 0 {
                self.counts.remove(&entry.address);
            }
        }
        Some(entry)
    }
}

impl Connection {
    /// Waits until the connection has to make room.
    pub(crate) fn ended(&self) -> impl Future<Output = ()> + use<> {
        let end = Arc::clone(&self.end);
        async move { end.notified().await }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.table.open().remove(self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::Connections;
    use crate::front::clients::Clients;
    use crate::meter::Meter;
    use futures::FutureExt as _;
    use std::net::IpAddr;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn the_idlest_makes_room() {
        let trusted = vec!["192.0.2.9/32".parse().unwrap()];
        let open = Connections::new(4, 2, trusted, Clients::new(1, 1, 1), Meter::default());
        let first = open.admit(address(1)).unwrap();
        assert!(first.has_default_send_buffer);
        let second = open.admit(address(1)).unwrap();
        let _busy = first.activity.begin_request();
        let third = open.admit(address(1)).unwrap();
        assert!(second.ended().now_or_never().is_some(), "the client's own");
        assert!(third.ended().now_or_never().is_none());
        let _busy = third.activity.begin_request();
        assert!(open.admit(address(1)).is_none(), "none of it is idle");
        assert!(open.open().counts[&address(1)].none_idle.is_some());
        assert!(open.open().none_idle.is_none(), "others may be");
        let proxy: Vec<_> = (0..2).map(|_| open.admit(address(9)).unwrap()).collect();
        let more = open.admit(address(9)).unwrap();
        assert!(proxy[0].ended().now_or_never().is_some());
        drop((second, proxy, more));
        assert_eq!(open.open().all.len(), 2);
        drop((first, third));
        assert!(open.open().counts.is_empty());
    }
}
