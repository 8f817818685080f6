//! Which traces are recorded: the samplers of OpenTelemetry
//! (<https://opentelemetry.io/docs/specs/otel/trace/sdk/#sampling>).

use crate::context::Parent;

/// Bits of a trace's identifier by which samplers decide: its lower half without one bit,
/// as in the SDKs of Go and Rust, so that all with the same ratio record the same traces.
const BITS: u32 = 63;

/// A sampler.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Sampler {
    /// What it does with a trace that a client has begun.
    pub(crate) parent_based: bool,
    /// Traces whose number is below are recorded.
    below: u64,
}

impl Sampler {
    /// A sampler of this part of all traces, from 0 to 1.
    pub(crate) fn new(ratio: f64, parent_based: bool) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "it is from 0 to 2^63, and 53 bits of precision are enough"
        )]
        let below = (ratio.clamp(0.0, 1.0) * (1_u64 << BITS) as f64) as u64;
        Self { parent_based, below }
    }

    /// Whether to record a trace that begins here, whose identifier's lower half is `low`.
    pub(crate) fn begins(&self, low: u64) -> bool {
        low >> (u64::BITS - BITS) < self.below
    }

    /// Whether to record what belongs to a client's trace.
    pub(crate) fn continues(&self, parent: &Parent<'_>) -> bool {
        if self.parent_based { parent.is_sampled() } else { self.begins(parent.low()) }
    }
}

#[cfg(test)]
mod tests {
    use super::Sampler;
    use crate::context::Parent;

    #[test]
    fn parts_of_all_traces() {
        for (ratio, least, most) in [
            (0.0, 0, 0),
            (-1.0, 0, 0),
            (1.0, 100_000, 100_000),
            (2.0, 100_000, 100_000),
            // Five standard deviations.
            (0.01, 843, 1_157),
            (0.5, 49_210, 50_790),
            (1e-6, 0, 5),
        ] {
            let sampler = Sampler::new(ratio, false);
            let mut random = fastrand::Rng::with_seed(42);
            let count = (0..100_000).filter(|_| sampler.begins(random.u64(..))).count();
            assert!((least..=most).contains(&count), "{ratio}: {count}");
        }
        let (all, none) = (Sampler::new(1.0, false), Sampler::new(0.0, false));
        for edge in [0, 1, u64::MAX - 1, u64::MAX] {
            assert!(all.begins(edge) && !none.begins(edge), "{edge}");
        }
    }

    /// Other services with the same ratio record the same traces.
    #[test]
    fn the_lower_half_of_the_identifier_decides() {
        let continues = |sampler: Sampler, low: u64, flags: u8| {
            let text = format!("00-ffffffffffffffff{low:016x}-0000000000000001-{flags:02x}");
            sampler.continues(&Parent::parse(text.as_bytes()).unwrap())
        };
        let sampler = Sampler::new(0.5, false);
        for (low, recorded) in
            [(0, true), (0x7fff_ffff_ffff_ffff, true), (0x8000_0000_0000_0000, false)]
        {
            // Whatever the client's flag is.
            for flags in [0, 1] {
                assert_eq!(continues(sampler, low, flags), recorded, "{low:x}");
            }
            assert_eq!(sampler.begins(low), recorded, "{low:x}");
        }
        for ratio in [0.0, 0.5, 1.0] {
            let sampler = Sampler::new(ratio, true);
            for low in [0, u64::MAX] {
                assert!(continues(sampler, low, 0x01), "{ratio}");
                assert!(!continues(sampler, low, 0x02), "{ratio}");
            }
        }
    }
}
