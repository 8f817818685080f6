//! The counters of requests, which every request touches.
//!
//! Each thread adds to one of a few copies of them ([`Shard`]), and a scrape adds the copies up:
//! threads do not take each other's cache lines. Counters are found by enums, so there is no
//! hashing and no lock; the only allocation is that of the counters of a kind and method of
//! request, before the first of the kind is counted.

use super::families::{
    BYTES, CACHE, CACHE_ERRORS, CACHE_HITS, CACHE_REQUESTS, CACHE_RESPONSES, DURATION, Family,
    IN_FLIGHT, REQUEST_SIZE, REQUESTS, RESPONSE_SIZE, UPLOADS,
};
use super::labels::{Cached, Direction, Method};
use super::output::{Distribution, Output};
use super::status;
use crate::Handler;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::thread::available_parallelism;
use std::time::Duration;

/// The most copies of the counters, some 10 KiB each.
///
/// Limit: copies of the counters of requests, at most one for each core; test: none, threads share
/// them.
const SHARDS_LIMIT: usize = 16;

/// The bounds of the times of requests, in seconds: distribution's.
const DURATION_BOUNDS: [f64; 13] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 60.0];

/// The same in nanoseconds.
const DURATION_NANOS: [u64; 13] = [
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
    25_000_000_000,
    60_000_000_000,
];

/// The number of bounds of sizes: distribution's, 1 KiB and its doubles.
const SIZE_BOUNDS: usize = 22;

/// The lowest of them, as a power of two.
const SIZE_SHIFT: u32 = 10;

const HANDLERS: usize = Handler::ALL.len();
const METHODS: usize = Method::ALL.len();
const DURATIONS: usize = DURATION_BOUNDS.len() + 1;
const SIZES: usize = SIZE_BOUNDS + 1;

/// A request that was answered, or whose client has gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Answered {
    /// Its kind.
    pub handler: Handler,
    /// Its method.
    pub method: Method,
    /// The status of the response.
    pub status: u16,
    /// From the request's head to the end of the response's body.
    pub time: Duration,
    /// Bytes of the request's body that were read.
    pub received: u64,
    /// Bytes of the response's body that were sent.
    pub sent: u64,
    /// Whether the cache answered. `None` if it could not have: for writes, and for reads that
    /// it may not answer.
    pub cache: Option<Cached>,
}

/// The counters of requests.
pub(super) struct Cells {
    shards: Box<[Shard]>,
}

/// One copy, in cache lines of its own.
#[derive(Default)]
#[repr(align(128))]
struct Shard {
    of_handlers: [OfHandler; HANDLERS],
    /// By handler and method.
    pairs: [[OnceLock<Box<Pair>>; METHODS]; HANDLERS],
    bytes: [AtomicU64; Direction::ALL.len()],
}

#[derive(Default)]
struct OfHandler {
    /// Requests that this copy has seen begin, less those that it has seen end.
    in_flight: AtomicI64,
    cache: [AtomicU64; Cached::ALL.len()],
    received: Sizes,
    sent: Sizes,
}

#[derive(Default)]
struct Sizes {
    buckets: [AtomicU64; SIZES],
    sum: AtomicU64,
}

/// The counters of a handler and a method.
struct Pair {
    buckets: [AtomicU64; DURATIONS],
    nanos: AtomicU64,
    statuses: [AtomicU64; status::PLACES],
}

/// How upload sessions came and went, by the answers to their requests.
const UPLOAD_OUTCOMES: [&str; 5] = ["at_once", "started", "committed", "refused", "cancelled"];

impl Cells {
    pub(super) fn new() -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        let shards = cores.next_power_of_two().min(SHARDS_LIMIT);
        Self { shards: (0..shards).map(|_| Shard::default()).collect() }
    }

    /// Counts a request.
    pub(super) fn answered(&self, answered: &Answered) {
        let shard = self.shard();
        let (handler, method) = (answered.handler.index(), answered.method.index());
        let pair = shard.pairs[handler][method].get_or_init(Box::default);
        let nanos = u64::try_from(answered.time.as_nanos()).unwrap_or(u64::MAX);
        add(&pair.statuses[status::place(answered.status)], 1);
        add(&pair.buckets[duration_bucket(nanos)], 1);
        add(&pair.nanos, nanos);
        let of_handler = &shard.of_handlers[handler];
        of_handler.received.observe(answered.received);
        of_handler.sent.observe(answered.sent);
        if let Some(cached) = answered.cache {
            add(&of_handler.cache[cached.index()], 1);
        }
    }

    /// Counts a request as in flight, or no longer so. Either may be another thread's.
    pub(super) fn in_flight(&self, handler: Handler, more: i64) {
        let cell = &self.shard().of_handlers[handler.index()].in_flight;
        cell.fetch_add(more, Ordering::Relaxed);
    }

    /// Counts bytes as they pass.
    pub(super) fn transferred(&self, direction: Direction, bytes: u64) {
        add(&self.shard().bytes[direction.index()], bytes);
    }

    /// The copy of this thread.
    fn shard(&self) -> &Shard {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static SLOT: usize = NEXT.fetch_add(1, Ordering::Relaxed);
        }
        // A power of two.
        &self.shards[SLOT.with(|slot| *slot) & (self.shards.len() - 1)]
    }

    /// How many reads the cache answered, or could have.
    pub(super) fn cached(&self, cached: Cached) -> u64 {
        Handler::ALL.iter().map(|handler| self.cached_of(*handler, cached)).sum()
    }

    /// Writes all counters.
    pub(super) fn write(&self, output: &mut Output) {
        for &handler in Handler::ALL {
            self.write_handler(output, handler);
            for &method in Method::ALL {
                self.write_pair(output, handler, method);
            }
        }
        for &direction in Direction::ALL {
            let bytes = self.sum(|shard| &shard.bytes[direction.index()]);
            output.counter(&BYTES, &[direction.as_str()], bytes);
        }
        let (hits, misses) = (self.cached(Cached::Hit), self.cached(Cached::Miss));
        output.counter(&CACHE_REQUESTS, &[], hits + misses);
        output.counter(&CACHE_HITS, &[], hits);
        output.counter(&CACHE_ERRORS, &[], 0);
        output.counter(&CACHE, &["Request"], hits + misses);
        output.counter(&CACHE, &["Hit"], hits);
        output.counter(&CACHE, &["Miss"], misses);
        for (outcome, count) in UPLOAD_OUTCOMES.iter().zip(self.uploads()) {
            output.counter(&UPLOADS, &[outcome], count);
        }
    }

    fn write_handler(&self, output: &mut Output, handler: Handler) {
        let label = handler.as_str();
        let cells = self.shards.iter().map(|shard| &shard.of_handlers[handler.index()].in_flight);
        let in_flight: i64 = cells.map(|cell| cell.load(Ordering::Relaxed)).sum();
        // The copies are read one after the other.
        output.gauge(&IN_FLIGHT, &[label], u64::try_from(in_flight).unwrap_or_default());
        for &cached in Cached::ALL {
            let count = self.cached_of(handler, cached);
            output.counter(&CACHE_RESPONSES, &[label, cached.as_str()], count);
        }
        self.write_sizes(output, &REQUEST_SIZE, handler, |cells| &cells.received);
        self.write_sizes(output, &RESPONSE_SIZE, handler, |cells| &cells.sent);
    }

    fn write_sizes(
        &self,
        output: &mut Output,
        family: &Family,
        handler: Handler,
        of: impl Fn(&OfHandler) -> &Sizes,
    ) {
        let sizes = |shard| of(Shard::of_handler(shard, handler));
        let counts: Vec<u64> =
            (0..SIZES).map(|bucket| self.sum(|shard| &sizes(shard).buckets[bucket])).collect();
        let sum = self.sum(|shard| &sizes(shard).sum);
        if counts.iter().any(|count| *count > 0) {
            let bounds = (0..SIZE_BOUNDS).map(|power| as_float(1 << power << SIZE_SHIFT));
            let sizes = Distribution { bounds: bounds.collect(), counts, sum: as_float(sum) };
            output.histogram(family, &[handler.as_str()], sizes);
        }
    }

    fn write_pair(&self, output: &mut Output, handler: Handler, method: Method) {
        let counts = self.pair(handler, method, |pair| &pair.statuses);
        if counts.iter().all(|count| *count == 0) {
            return;
        }
        let (handler_label, method_label) = (handler.as_str(), method.as_str());
        for (place, count) in counts.into_iter().enumerate().filter(|(_, count)| *count > 0) {
            let labels = [&*status::label(place), handler_label, method_label];
            output.counter(&REQUESTS, &labels, count);
        }
        let nanos: u64 = self.pairs(handler, method).map(|pair| load(&pair.nanos)).sum();
        let times = Distribution {
            bounds: DURATION_BOUNDS.to_vec(),
            counts: self.pair(handler, method, |pair| &pair.buckets),
            sum: as_float(nanos) / 1e9,
        };
        output.histogram(&DURATION, &[handler_label, method_label], times);
    }

    /// How upload sessions ended, as [`UPLOAD_OUTCOMES`].
    fn uploads(&self) -> [u64; UPLOAD_OUTCOMES.len()] {
        let answers = |handler, method, statuses: &[u16]| -> u64 {
            let counts = self.pair(handler, method, |pair| &pair.statuses);
            if counts.is_empty() {
                return 0;
            }
            statuses.iter().map(|status| counts[status::place(*status)]).sum()
        };
        let put = self.pair(Handler::BlobUploadChunk, Method::Put, |pair| &pair.statuses);
        let committed = answers(Handler::BlobUploadChunk, Method::Put, &[201]);
        // Clients log in, and are slowed down, before a session is looked at.
        let unheard = answers(Handler::BlobUploadChunk, Method::Put, &[401, 403, 429]);
        [
            answers(Handler::BlobUpload, Method::Post, &[201]),
            answers(Handler::BlobUpload, Method::Post, &[202]),
            committed,
            put.iter().sum::<u64>().saturating_sub(committed + unheard),
            answers(Handler::BlobUploadChunk, Method::Delete, &[204]),
        ]
    }

    fn cached_of(&self, handler: Handler, cached: Cached) -> u64 {
        self.sum(|shard| &shard.of_handler(handler).cache[cached.index()])
    }

    /// The sum of a counter's copies.
    fn sum<'a>(&'a self, cell: impl Fn(&'a Shard) -> &'a AtomicU64) -> u64 {
        self.shards.iter().map(|shard| load(cell(shard))).sum()
    }

    /// The counters of a handler and a method that exist.
    fn pairs(&self, handler: Handler, method: Method) -> impl Iterator<Item = &Pair> {
        self.shards.iter().filter_map(move |shard| shard.pair(handler, method))
    }

    /// The sums of some of them; none if there are none.
    fn pair<const N: usize>(
        &self,
        handler: Handler,
        method: Method,
        cells: impl Fn(&Pair) -> &[AtomicU64; N],
    ) -> Vec<u64> {
        let mut sums = Vec::new();
        for pair in self.pairs(handler, method) {
            sums.resize(N, 0);
            for (sum, cell) in sums.iter_mut().zip(cells(pair)) {
                *sum += load(cell);
            }
        }
        sums
    }
}

impl Shard {
    fn of_handler(&self, handler: Handler) -> &OfHandler {
        &self.of_handlers[handler.index()]
    }

    fn pair(&self, handler: Handler, method: Method) -> Option<&Pair> {
        self.pairs[handler.index()][method.index()].get().map(|pair| &**pair)
    }
}

impl Default for Pair {
    fn default() -> Self {
        Self {
            buckets: Default::default(),
            nanos: AtomicU64::new(0),
            statuses: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

impl Sizes {
    fn observe(&self, bytes: u64) {
        add(&self.buckets[size_bucket(bytes)], 1);
        add(&self.sum, bytes);
    }
}

fn add(cell: &AtomicU64, more: u64) {
    cell.fetch_add(more, Ordering::Relaxed);
}

fn load(cell: &AtomicU64) -> u64 {
    cell.load(Ordering::Relaxed)
}

/// The first bound that is not less.
fn duration_bucket(nanos: u64) -> usize {
    DURATION_NANOS.iter().position(|bound| nanos <= *bound).unwrap_or(DURATION_NANOS.len())
}

/// The same for sizes, whose bounds are powers of two.
fn size_bucket(bytes: u64) -> usize {
    let above = bytes.saturating_sub(1) >> SIZE_SHIFT;
    let bits = (u64::BITS - above.leading_zeros()) as usize;
    bits.min(SIZE_BOUNDS)
}

#[expect(clippy::cast_precision_loss, reason = "samples are floating-point numbers")]
fn as_float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::{
        Answered, Cells, DURATION_BOUNDS, DURATION_NANOS, SIZE_BOUNDS, as_float, duration_bucket,
        size_bucket,
    };
    use crate::Handler;
    use crate::metrics::labels::{Cached, Method};
    use std::time::Duration;

    #[test]
    fn bounds_belong_to_the_lower_bucket() {
        for (index, (nanos, seconds)) in DURATION_NANOS.iter().zip(DURATION_BOUNDS).enumerate() {
            assert!((as_float(*nanos) / 1e9 - seconds).abs() < 1e-12);
            assert_eq!(duration_bucket(*nanos), index);
            assert_eq!(duration_bucket(*nanos + 1), index + 1);
        }
        assert_eq!(duration_bucket(0), 0);
        assert_eq!(duration_bucket(u64::MAX), DURATION_NANOS.len());
        for power in 0..SIZE_BOUNDS {
            let bound = 1024_u64 << power;
            assert_eq!(size_bucket(bound), power, "{bound}");
            assert_eq!(size_bucket(bound + 1), power + 1, "{bound}");
        }
        assert_eq!(size_bucket(0), 0);
        assert_eq!(size_bucket(u64::MAX), SIZE_BOUNDS);
    }

    #[test]
    fn threads_add_up() {
        let cells = Cells::new();
        let answered = Answered {
            handler: Handler::Manifest,
            method: Method::Get,
            status: 200,
            time: Duration::from_micros(10),
            received: 0,
            sent: 100,
            cache: Some(Cached::Hit),
        };
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        cells.in_flight(Handler::Manifest, 1);
                        cells.answered(&answered);
                    }
                });
            }
        });
        // Where they end, other threads began them.
        cells.in_flight(Handler::Manifest, -7999);
        assert_eq!(cells.cached(Cached::Hit), 8000);
        let statuses = cells.pair(Handler::Manifest, Method::Get, |pair| &pair.statuses);
        assert_eq!(statuses.iter().sum::<u64>(), 8000);
        let mut output = super::Output::default();
        cells.write(&mut output);
        let text = output.text().unwrap();
        assert!(text.contains("registry_http_in_flight_requests{handler=\"manifest\"} 1\n"));
        assert!(
            text.contains("registry_http_response_size_bytes_sum{handler=\"manifest\"} 800000\n")
        );
    }
}
