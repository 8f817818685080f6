//! What metrics cost a request, in nanoseconds of CPU time: `cargo run --release -p roadstead-telemetry
//! --example cost [SCRAPE]`. Of each measurement, the best of some rounds is printed. What a scrape
//! gets afterwards is written to the file SCRAPE.

#![expect(clippy::print_stdout, reason = "it is what the program is for")]
#![expect(clippy::cast_precision_loss, reason = "there are few threads")]

use roadstead_telemetry::Target;
use roadstead_telemetry::metrics::{
    About, Answered, Cached, Direction, EndpointReading, Handler, Method, Metrics, Readings,
    StorageFailure, StorageOperation,
};
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

const CALLS: u32 = 2_000_000;
const ROUNDS: u32 = 7;

const PATH: &str = "/v2/library/some/app/manifests/1.27.3-alpine";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let metrics = Metrics::new(&About { driver: "filesystem".to_owned(), ..About::default() })?;
    let answered = Answered {
        handler: Handler::Manifest,
        method: Method::Get,
        status: 200,
        time: Duration::from_micros(15),
        received: 0,
        sent: 1500,
        cache: Some(Cached::Hit),
    };
    let threads = std::thread::available_parallelism()?.get();
    report(1, "Target::of and Method::of", &metrics, |_| {
        black_box((Target::of(black_box(PATH)), Method::of(black_box("GET"))));
    });
    for threads in [1, threads] {
        report(threads, "answered", &metrics, move |metrics| {
            metrics.answered(black_box(&answered));
        });
        report(threads, "in_flight and its end", &metrics, |metrics| {
            drop(metrics.in_flight(black_box(Handler::Manifest)));
        });
        report(threads, "transferred", &metrics, |metrics| {
            metrics.transferred(black_box(Direction::Sent), black_box(1500));
        });
        report(threads, "storage", &metrics, |metrics| {
            let time = black_box(Duration::from_micros(40));
            metrics.storage(black_box(StorageOperation::Manifest), time, None);
        });
        report(threads, "all of a cached GET", &metrics, move |metrics| {
            let handler = Target::of(black_box(PATH)).handler;
            let method = Method::of(black_box("GET"));
            let in_flight = metrics.in_flight(handler);
            metrics.transferred(Direction::Sent, black_box(1500));
            metrics.answered(black_box(&Answered { handler, method, ..answered }));
            drop(in_flight);
        });
    }
    let begun = Instant::now();
    let text = metrics.render(&Readings::default())?;
    println!("render: {} us, {} bytes", begun.elapsed().as_micros(), text.len());
    if let Some(file) = std::env::args_os().nth(1) {
        let endpoint = EndpointReading {
            name: "example".to_owned(),
            statuses: [(503, 1)].into(),
            ..EndpointReading::default()
        };
        metrics.storage(StorageOperation::Commit, Duration::ZERO, Some(StorageFailure::Full));
        let readings = Readings { endpoints: vec![endpoint], ..Readings::default() };
        let text = metrics.render(&readings)?;
        std::fs::write(file, text)?;
    }
    Ok(())
}

/// Prints what a call costs on each of so many threads at once.
fn report(
    threads: usize,
    name: &str,
    metrics: &Arc<Metrics>,
    call: impl Fn(&Arc<Metrics>) + Copy + Send + Sync,
) {
    let thread = move || {
        let begun = cpu_time();
        (0..CALLS).for_each(|_| call(metrics));
        cpu_time() - begun
    };
    let round = || {
        let time: f64 = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(thread)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or(f64::NAN)).sum()
        });
        time / f64::from(CALLS) / threads as f64
    };
    let best = (0..ROUNDS).map(|_| round()).fold(f64::INFINITY, f64::min);
    println!("{threads} thread(s), {name}: {best:.1} ns");
}

/// Nanoseconds that this thread has been on a CPU, whatever else the machine does: of Linux's
/// `/proc`, where the scheduler's statistics are on.
fn cpu_time() -> f64 {
    let read = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let first = read.split_ascii_whitespace().next();
    first.and_then(|nanos| nanos.parse().ok()).unwrap_or(f64::NAN)
}
