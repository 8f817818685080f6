//! The figures of a measurement.

use std::time::Duration;

/// What a row measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Operations: rates in 1/s, CPU in ms for 1,000 of them.
    Operations,
    /// Bytes: rates in MB/s, CPU in s for 1 GB.
    Bytes,
    /// Milliseconds from a start to the first response.
    Start,
}

/// The figures of one measurement, in a row's unit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Units per second.
    pub(crate) rate: f64,
    /// The server's CPU time per unit.
    pub(crate) cpu: f64,
    /// The median latency of an operation, in milliseconds.
    pub(crate) p50: f64,
    /// The 99th percentile of the latency, in milliseconds.
    pub(crate) p99: f64,
}

/// The work that a load did.
#[derive(Debug, Default)]
pub(crate) struct Work {
    /// Completed operations.
    pub(crate) operations: u64,
    /// Bytes of content transferred.
    pub(crate) bytes: u64,
    /// How long it took in all.
    pub(crate) elapsed: Duration,
    /// Latencies in milliseconds: the median and the 99th percentile.
    pub(crate) percentiles: (f64, f64),
}

/// The sample of work that took `cpu` seconds of CPU time.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
pub(crate) fn sample(work: &Work, cpu: f64, unit: Unit) -> anyhow::Result<Sample> {
    anyhow::ensure!(work.operations > 0, "no operation completed");
    let (units, cpu_scale) = match unit {
        Unit::Operations => (work.operations as f64, 1e6),
        Unit::Bytes | Unit::Start => (work.bytes as f64 / 1e6, 1e3),
    };
    Ok(Sample {
        rate: units / work.elapsed.as_secs_f64(),
        cpu: cpu * cpu_scale / units,
        p50: work.percentiles.0,
        p99: work.percentiles.1,
    })
}

/// A percentile of sorted values.
pub(crate) fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let at = (sorted.len() * percent).div_ceil(100).max(1) - 1;
    sorted.get(at).copied().unwrap_or(f64::NAN)
}
