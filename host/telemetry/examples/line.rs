//! What a line of the access log costs, in nanoseconds of CPU time, apart from the request:
//! `cargo run --release -p roadstead-telemetry --example line FILE`. FILE is written, and removed at the end. Of
//! each measurement, the best of some rounds is printed.

#![expect(clippy::print_stdout, reason = "it is what the program is for")]
#![expect(clippy::cast_precision_loss, reason = "there are few lines")]

use roadstead_telemetry::Target;
use roadstead_telemetry::access::{Exchange, Format};
use std::fs::{self, File};
use std::hint::black_box;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant, SystemTime};

const ROUNDS: u32 = 7;
const LINES: usize = 200_000;

/// The lines of 5 ms at 50,000 requests per second: what the host writes at once.
const TOGETHER: usize = 250;

const PATH: &str = "/v2/app/manifests/latest";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args_os().nth(1).ok_or("a file is missing: it is written and removed")?;
    let exchange = Exchange {
        method: "GET",
        path: PATH,
        query: None,
        version: "HTTP/1.1",
        target: Target::of(PATH),
        status: 200,
        code: None,
        received: 0,
        sent: 1500,
        complete: true,
        time: Duration::from_micros(15),
        cached: true,
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        user: None,
        claimed: None,
        agent: Some(b"containerd/2.1.0"),
        referer: None,
        id: "4bf92f3577b34da6",
        trace: None,
    };
    let mut line = Vec::new();
    exchange.write(Format::Json, SystemTime::now(), &mut line);
    println!("a line has {} bytes", line.len());
    let text = best(LINES, || {
        for _ in 0..LINES {
            line.clear();
            black_box(&exchange).write(Format::Json, SystemTime::now(), &mut line);
            black_box(&line);
        }
        Ok(())
    })?;
    println!("its text: {text:.0} ns");
    let lines = line.repeat(TOGETHER);
    let mut file = File::create(&path)?;
    let written = best(LINES, || {
        file.set_len(0)?;
        for _ in 0..LINES / TOGETHER {
            file.write_all(black_box(&lines))?;
        }
        Ok(())
    })?;
    println!("to write it to a file, {TOGETHER} at a time: {written:.0} ns");
    let mut null = File::create("/dev/null")?;
    let nowhere = best(LINES, || {
        for _ in 0..LINES / TOGETHER {
            null.write_all(black_box(&lines))?;
        }
        Ok(())
    })?;
    println!("to write it to /dev/null, {TOGETHER} at a time: {nowhere:.0} ns");
    drop(file);
    fs::remove_file(&path)?;
    Ok(())
}

/// The shortest time of some rounds, for each of so many.
fn best(count: usize, mut round: impl FnMut() -> std::io::Result<()>) -> std::io::Result<f64> {
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        round()?;
        best = best.min(begun.elapsed());
    }
    Ok(best.as_nanos() as f64 / count as f64)
}
