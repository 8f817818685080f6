//! Clients by their address: what each has in flight, and turns of which none can
//! take all.

use crate::body::budget::Buffered;
use crate::body::request_body::{
    COLLECTED_OF_CLIENT, DRAINS_OF_CLIENT, GATHERED, GATHERED_OF_CLIENT, UNIT,
};
use roadstead_telemetry::metrics::Share;
use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a request waits for what others hold before it is refused.
///
/// Limit: time that a request waits for its turn; test: `more_requests_than_there_are_turns`.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// Requests of one client that wait for a turn. More are refused at once.
///
/// Limit: requests of one client that wait for a turn; test: `stream_floods_leave_turns_for_others`.
const MAX_WAITING: usize = 512;

/// One of so many turns is left to requests without a body: those with one last as
/// long as their clients take to send it.
const LEFT_BY_BODIES: usize = 4;

/// Requests by GET and HEAD that the component answers at a time over a directory:
/// what it makes of them is in its memory. A list of 4 MiB takes about 20 MiB on the
/// way.
///
/// Limit: reads that the component answers at a time; test: `unread_lists_end_no_instance`.
const ANSWERS: usize = 32;

/// The same for one client.
///
/// Limit: reads of one client that the component answers at a time; test: `unread_lists_end_no_instance`.
const ANSWERS_OF_CLIENT: usize = 16;

/// Bytes of responses that the component made or the cache kept, and that one client
/// has yet to take.
///
/// Limit: bytes of one client's responses in memory; test: `unread_lists_end_no_instance`.
const MADE_OF_CLIENT: usize = 32 * 1024 * 1024;

/// The same for all clients.
///
/// Limit: bytes of all responses in memory; test: `unread_lists_end_no_instance`.
const MADE: usize = 128 * 1024 * 1024;

/// Requests over HTTP/2 of one client, until it has taken their responses.
///
/// Limit: HTTP/2 streams of one client, over all connections; test: `stream_floods_leave_turns_for_others`.
const STREAMS_OF_CLIENT: usize = 1024;

/// Parts of the table of clients, each with a lock of its own.
const SHARDS: usize = 64;

/// Some of the clients, by their addresses.
type Shard = Mutex<HashMap<IpAddr, Weak<Client>>>;

/// Turns for requests in the component, and who has them.
#[derive(Debug)]
pub(crate) struct Clients {
    turns: Arc<Semaphore>,
    /// All of them.
    limit: usize,
    /// Requests that wait for a turn.
    waiting: AtomicUsize,
    /// The turns that one client can have.
    share: usize,
    /// The turns that requests with a body can have.
    sending: Arc<Semaphore>,
    answers: Arc<Semaphore>,
    made: Arc<Semaphore>,
    gathered: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    stream_limit: usize,
    shards: Box<[Shard]>,
    hasher: RandomState,
}

/// A client, which is an address, or for IPv6 a network of 64 bits.
#[derive(Debug)]
pub(crate) struct Client {
    address: IpAddr,
    table: Weak<Clients>,
    turns: Arc<Semaphore>,
    sending: Arc<Semaphore>,
    waiting: AtomicUsize,
    drains: Arc<Semaphore>,
    answers: Arc<Semaphore>,
    collected: Arc<Semaphore>,
    made: Arc<Semaphore>,
    gathered: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    /// What is in memory on its way to it.
    pub(crate) buffered: Arc<Buffered>,
}

/// Something that a client has, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn(#[expect(dead_code, reason = "held")] [OwnedSemaphorePermit; 2]);

impl Clients {
    /// `turns` in all, of which one client can have `share`, and `streams` of
    /// HTTP/2.
    pub(crate) fn new(turns: usize, share: usize, streams: usize) -> Arc<Self> {
        Arc::new(Self {
            turns: Arc::new(Semaphore::new(turns)),
            limit: turns,
            waiting: AtomicUsize::new(0),
            share,
            sending: Arc::new(Semaphore::new(turns - turns / LEFT_BY_BODIES)),
            answers: Arc::new(Semaphore::new(ANSWERS)),
            made: Arc::new(Semaphore::new(MADE / UNIT)),
            gathered: Arc::new(Semaphore::new(GATHERED / UNIT)),
            streams: Arc::new(Semaphore::new(streams)),
            stream_limit: streams,
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
        })
    }

    /// The client of an address.
    pub(crate) fn get(self: &Arc<Self>, address: IpAddr) -> Arc<Client> {
        let address = key(address);
        let mut clients = self.shard(address).lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&address).and_then(Weak::upgrade) {
            return client;
        }
        let client = Arc::new(Client {
            address,
            table: Arc::downgrade(self),
            turns: Arc::new(Semaphore::new(self.share)),
            sending: Arc::new(Semaphore::new(self.share - self.share / LEFT_BY_BODIES)),
            waiting: AtomicUsize::new(0),
            drains: Arc::new(Semaphore::new(DRAINS_OF_CLIENT)),
            answers: Arc::new(Semaphore::new(ANSWERS_OF_CLIENT)),
            collected: Arc::new(Semaphore::new(COLLECTED_OF_CLIENT / UNIT)),
            made: Arc::new(Semaphore::new(MADE_OF_CLIENT / UNIT)),
            gathered: Arc::new(Semaphore::new(GATHERED_OF_CLIENT / UNIT)),
            streams: Arc::new(Semaphore::new(STREAMS_OF_CLIENT)),
            buffered: Arc::default(),
        });
        clients.insert(address, Arc::downgrade(&client));
        client
    }

    fn shard(&self, address: IpAddr) -> &Mutex<HashMap<IpAddr, Weak<Client>>> {
        let hash = usize::try_from(self.hasher.hash_one(address) % SHARDS as u64);
        &self.shards[hash.unwrap_or_default()]
    }

    /// Waits for a turn. `None` if there is none for too long. `since` is when it began to wait,
    /// if it had to.
    pub(crate) async fn turn(&self, client: &Client, since: &mut Option<Instant>) -> Option<Turn> {
        match try_take(&client.turns, &self.turns, 1) {
            Some(turn) => Some(turn),
            None => self.wait(client, &client.turns, &self.turns, since).await,
        }
    }

    /// Waits until one more request with a body may have a turn. `None` if that takes
    /// too long. `since` as for [`Self::turn`].
    pub(crate) async fn sending(
        &self,
        client: &Client,
        since: &mut Option<Instant>,
    ) -> Option<Turn> {
        match try_take(&client.sending, &self.sending, 1) {
            Some(turn) => Some(turn),
            None => self.wait(client, &client.sending, &self.sending, since).await,
        }
    }

    async fn wait(
        &self,
        client: &Client,
        own: &Arc<Semaphore>,
        all: &Arc<Semaphore>,
        since: &mut Option<Instant>,
    ) -> Option<Turn> {
        since.get_or_insert_with(Instant::now);
        let _waiting = Waiting::begin(&self.waiting);
        take(own, all, 1, Some(&client.waiting)).await
    }

    /// The turns in use, and all of them.
    pub(crate) fn turns(&self) -> Share {
        share(self.limit, &self.turns)
    }

    /// The streams of HTTP/2 in use, and all of them.
    pub(crate) fn streams(&self) -> Share {
        share(self.stream_limit, &self.streams)
    }

    /// How many requests wait for a turn.
    pub(crate) fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed) as u64
    }

    /// Waits until the component may answer one more read.
    pub(crate) async fn answer(&self, client: &Client) -> Option<Turn> {
        take(&client.answers, &self.answers, 1, None).await
    }

    /// So many bytes in memory for a client, if they are left.
    pub(crate) fn memory(&self, client: &Client, bytes: usize) -> Option<Turn> {
        let permits = u32::try_from(bytes.div_ceil(UNIT)).ok()?;
        try_take(&client.made, &self.made, permits)
    }

    /// So many permits for a body that is read before its request has a turn, if they
    /// are left.
    pub(crate) fn gather(&self, client: &Client, permits: u32) -> Option<Turn> {
        try_take(&client.gathered, &self.gathered, permits)
    }

    /// A stream of HTTP/2 for this client, if it may have one more.
    pub(crate) fn stream(&self, client: &Client) -> Option<Turn> {
        try_take(&client.streams, &self.streams, 1)
    }
}

impl Client {
    /// Waits until so much of its bodies may be collected, among all that `all`
    /// permits. `None` if that takes too long.
    pub(crate) async fn collect(&self, all: &Arc<Semaphore>, permits: u32) -> Option<Turn> {
        take(&self.collected, all, permits, None).await
    }

    /// Whether one more of its bodies may be drained.
    pub(crate) fn begin_drain(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.drains).try_acquire_owned().ok()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let Some(table) = self.table.upgrade() else { return };
        let shard = table.shard(self.address);
        let mut clients = shard.lock().unwrap_or_else(PoisonError::into_inner);
        // Another may have taken its place.
        if clients.get(&self.address).is_some_and(|client| client.strong_count() == 0) {
            clients.remove(&self.address);
        }
    }
}

/// Permits of both, the client's first: who waits for others of the same client
/// keeps nothing from the rest.
async fn take(
    own: &Arc<Semaphore>,
    all: &Arc<Semaphore>,
    permits: u32,
    waiting: Option<&AtomicUsize>,
) -> Option<Turn> {
    if let Some(turn) = try_take(own, all, permits) {
        return Some(turn);
    }
    let _waiting = waiting.map(Waiting::begin);
    if waiting.is_some_and(|waiting| waiting.load(Ordering::Relaxed) > MAX_WAITING) {
        return None;
    }
    let both = async {
        let own = Arc::clone(own).acquire_many_owned(permits).await.ok()?;
        let all = Arc::clone(all).acquire_many_owned(permits).await.ok()?;
        Some(Turn([own, all]))
    };
    tokio::time::timeout(MAX_WAIT, both).await.ok()?
}

fn share(limit: usize, left: &Semaphore) -> Share {
    let used = limit.saturating_sub(left.available_permits());
    Share { used: used as u64, limit: limit as u64 }
}

/// Permits of both, if they are left.
fn try_take(own: &Arc<Semaphore>, all: &Arc<Semaphore>, permits: u32) -> Option<Turn> {
    let own = Arc::clone(own).try_acquire_many_owned(permits).ok()?;
    Some(Turn([own, Arc::clone(all).try_acquire_many_owned(permits).ok()?]))
}

/// Counts a request as waiting until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What an address is counted as: whoever has one of IPv6 has its 64-bit network.
pub(crate) fn key(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::{Clients, MADE_OF_CLIENT};
    use futures::FutureExt as _;
    use std::sync::Arc;

    #[tokio::test]
    async fn one_client_cannot_have_all_turns() {
        let clients = Clients::new(3, 2, 1);
        let one = clients.get("2001:db8::1".parse().unwrap());
        let same = clients.get("2001:db8::2".parse().unwrap());
        assert!(Arc::ptr_eq(&one, &same));
        let other = clients.get("::ffff:192.0.2.1".parse().unwrap());
        let held = [
            clients.turn(&one, &mut None).await.unwrap(),
            clients.turn(&one, &mut None).await.unwrap(),
        ];
        let (mut one_waits, mut other_waits) = (None, None);
        tokio::select! {
            biased;
            _ = clients.turn(&same, &mut one_waits) => panic!("a third turn"),
            turn = clients.turn(&other, &mut other_waits) => assert!(turn.is_some()),
        }
        assert!(one_waits.is_some() && other_waits.is_none() && clients.waiting() == 0);
        drop(held);
        assert!(clients.turn(&same, &mut None).await.is_some());
        assert!(clients.memory(&one, MADE_OF_CLIENT).is_some());
        let stream = clients.stream(&one).unwrap();
        assert!(clients.stream(&other).is_none());
        drop(stream);
        assert!(clients.stream(&other).is_some());
    }

    #[tokio::test]
    async fn bodies_leave_turns_to_other_requests() {
        let clients = Clients::new(16, 8, 1);
        let addresses = ["192.0.2.1", "192.0.2.2", "192.0.2.3"];
        let mut held = Vec::new();
        for (address, expected) in addresses.into_iter().zip([6, 6, 0]) {
            let client = clients.get(address.parse().unwrap());
            let before = held.len();
            while let Some(Some(sending)) = clients.sending(&client, &mut None).now_or_never() {
                held.push((sending, clients.turn(&client, &mut None).await.unwrap()));
            }
            assert_eq!(held.len() - before, expected);
            assert!(clients.turn(&client, &mut None).now_or_never().flatten().is_some());
        }
    }

    #[test]
    fn clients_are_forgotten() {
        let clients = Clients::new(1, 1, 1);
        let address = "192.0.2.1".parse().unwrap();
        let client = clients.get(address);
        assert!(Arc::ptr_eq(&client, &clients.get(address)));
        drop(client);
        assert!(clients.shards.iter().all(|shard| shard.lock().unwrap().is_empty()));
    }
}
