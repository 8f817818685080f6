//! Random numbers: many and cheap for sampling and for the identifiers of spans, few and
//! from the system for those of traces.

use crate::context::{SpanId, TraceId};
use fastrand::Rng;
use std::cell::RefCell;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;

thread_local! {
    /// Seeded by the system, once for each thread.
    static RANDOM: RefCell<Rng> = RefCell::new(Rng::with_seed(seed()));
}

/// A number that nobody relies on to be secret: in some two nanoseconds.
pub(crate) fn number() -> u64 {
    RANDOM.with_borrow_mut(|random| random.u64(..))
}

/// An identifier for a span.
pub(crate) fn span_id() -> SpanId {
    // No identifier is all zero.
    number().max(1).to_be_bytes()
}

/// An identifier for a trace whose lower half, by which samplers decide, is `low`.
pub(crate) fn trace_id(low: u64) -> TraceId {
    let high = getrandom::u64().unwrap_or_else(|_| number()).max(1);
    let mut id = [0; 16];
    id[..8].copy_from_slice(&high.to_be_bytes());
    id[8..].copy_from_slice(&low.to_be_bytes());
    id
}

fn seed() -> u64 {
    // Hashers have random keys of their own, if the system gives nothing.
    getrandom::u64().unwrap_or_else(|_| RandomState::new().hash_one(0))
}
