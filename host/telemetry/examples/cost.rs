//! What metrics cost a request, in nanoseconds: `cargo run --release -p roadstead-telemetry
//! --example cost [SCRAPE]`. Of each measurement, the best of some rounds is printed. What a scrape
//! gets afterwards is written to the file SCRAPE.

#![expect(clippy::print_stdout, reason = "it is what the program is for")]

use roadstead_telemetry::metrics::{
    About, Answered, Cached, Direction, Handler, Method, Metrics, Readings, StorageOperation,
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
    report(1, "Handler::of and Method::of", &metrics, |_| {
        black_box((Handler::of(black_box(PATH)), Method::of(black_box("GET"))));
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
            let (handler, _) = Handler::of(black_box(PATH));
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
        std::fs::write(file, text)?;
    }
    Ok(())
}

/// Prints how long a call takes on each of so many threads at once.
fn report(
    threads: usize,
    name: &str,
    metrics: &Arc<Metrics>,
    call: impl Fn(&Arc<Metrics>) + Copy + Send + Sync,
) {
    let round = || {
        let begun = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(move || (0..CALLS).for_each(|_| call(metrics)));
            }
        });
        begun.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS)
    };
    let best = (0..ROUNDS).map(|_| round()).fold(f64::INFINITY, f64::min);
    println!("{threads} thread(s), {name}: {best:.1} ns");
}
