//! SHA-256 in this program: the least that a push can cost.

use crate::sample::{Sample, Unit, Work, sample};
use anyhow::Context as _;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use std::time::Instant;

/// Bytes that one measurement hashes.
const SIZE: usize = 256 << 20;

/// Measures SHA-256 of [`SIZE`] bytes in one thread.
pub(crate) fn measure(pattern: &Bytes) -> anyhow::Result<Sample> {
    let (started, before) = (Instant::now(), cpu()?);
    let mut state = Sha256::new();
    for _ in 0..SIZE / pattern.len() {
        state.update(pattern);
    }
    std::hint::black_box(state.finalize());
    let elapsed = started.elapsed();
    let took = elapsed.as_secs_f64() * 1e3;
    let work = Work { operations: 1, bytes: SIZE as u64, elapsed, percentiles: (took, took) };
    sample(&work, cpu()? - before, Unit::Bytes)
}

/// The CPU time of this thread, in seconds.
fn cpu() -> anyhow::Result<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = text.split_whitespace().next().context("an empty schedstat")?;
    Ok(nanoseconds.parse::<f64>()? / 1e9)
}
