//! What a request costs that is not sampled, and one that is: `cargo run --release --example begin`.
#![expect(clippy::print_stdout, reason = "it prints what it measures")]

use roadstead_traces::{Resource, Traces};
use std::hint::black_box;
use std::time::Instant;

/// Others may use the machine meanwhile: the fastest counts.
const ROUNDS: u32 = 1_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let _entered = runtime.enter();
    let parent =
        |flags: &str| format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}");
    let (recorded, unrecorded) = (parent("01"), parent("00"));
    for (name, ratio, parent, count) in [
        ("no parent, ratio 0", "0", None, 10_000),
        ("no parent, ratio 0.01", "0.01", None, 10_000),
        ("parent that is not recorded", "1", Some(unrecorded.as_str()), 10_000),
        ("no parent, ratio 1", "1", None, 1_000),
        ("parent that is recorded", "0", Some(recorded.as_str()), 1_000),
    ] {
        let variables = |variable: &str| match variable {
            "OTEL_TRACES_EXPORTER" => Some("otlp".to_owned()),
            "OTEL_TRACES_SAMPLER" => Some("parentbased_traceidratio".to_owned()),
            "OTEL_TRACES_SAMPLER_ARG" => Some(ratio.to_owned()),
            // Nobody listens there.
            "OTEL_EXPORTER_OTLP_ENDPOINT" => Some("http://127.0.0.1:1".to_owned()),
            _ => None,
        };
        let resource =
            Resource { version: "0.0.0", component: None, roots: rustls::RootCertStore::empty };
        let traces = Traces::from_environment(variables, resource)?.ok_or("no traces")?;
        let (mut sampled, mut best) = (0_u32, f64::MAX);
        for _ in 0..ROUNDS {
            let start = Instant::now();
            for _ in 0..count {
                let active = traces.begin(black_box(parent.map(str::as_bytes)), None);
                sampled += u32::from(active.is_some());
            }
            best = best.min(start.elapsed().as_secs_f64() * 1e9 / f64::from(count));
        }
        println!("{name}: {best:.1} ns; {sampled} of {} sampled", ROUNDS * count);
        runtime.block_on(traces.shut_down(std::time::Duration::ZERO));
    }
    Ok(())
}
