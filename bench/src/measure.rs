//! One measurement: load for a while, and what it cost the server.

use crate::client::{Client, Style};
use crate::content::Maker;
use crate::image::Images;
use crate::process::Server;
use crate::wrk;
use http::StatusCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Whatever a server does after its answers belongs to them.
const AFTERWARDS: Duration = Duration::from_millis(50);

/// What a row counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Operations: rates in 1/s, CPU in ms for 1,000 of them.
    Operations,
    /// Bytes: rates in MB/s, CPU in s for 1 GB.
    Bytes,
    /// Milliseconds from a start to the first answer, and CPU until then.
    Start,
}

/// What is asked of a server.
#[derive(Clone, Debug)]
pub(crate) enum Load {
    /// GET by `wrk`, with a range if there is one.
    Get {
        /// What to get.
        path: String,
        /// The value of a `Range` header.
        range: Option<&'static str>,
        /// Whether each request has a query of its own, so that no cache of
        /// answers has its answer.
        unique: bool,
    },
    /// HEAD, which must be answered with a status.
    Head {
        /// What to ask for.
        path: String,
        /// The status.
        status: StatusCode,
    },
    /// GET of much, by this program.
    Fetch(Vec<String>),
    /// Pushes of blobs that the server does not have.
    Push(Arc<Maker>, Style),
    /// Pushes of images: HEAD of each layer, layers, configuration, manifest.
    PushImage(Arc<Images>, Style),
}

impl Load {
    /// Whether it leaves something behind.
    pub(crate) fn writes(&self) -> bool {
        matches!(self, Self::Push(..) | Self::PushImage(..))
    }
}

/// How hard, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// Connections, each with one request at a time.
    pub(crate) concurrency: usize,
    /// After this time, no operation begins.
    pub(crate) duration: Duration,
    /// Nor after this many, on each connection.
    pub(crate) operations: u64,
}

/// What was measured, in a row's unit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Per second; for starts, milliseconds.
    pub(crate) rate: f64,
    /// The server's CPU per unit of work.
    pub(crate) cpu: f64,
    /// The median time of an operation, milliseconds.
    pub(crate) p50: f64,
    /// The time that one in a hundred takes longer than, milliseconds.
    pub(crate) p99: f64,
}

/// What was done.
#[derive(Debug, Default)]
pub(crate) struct Work {
    /// How many operations ended.
    pub(crate) operations: u64,
    /// How many bytes of content were carried.
    pub(crate) bytes: u64,
    /// How long it took.
    pub(crate) elapsed: Duration,
    /// Times of operations, milliseconds: the median and the 99th percentile.
    pub(crate) percentiles: (f64, f64),
}

/// The repository that everything is in.
pub(crate) const NAME: &str = "bench/app";

/// Puts a server under a load.
pub(crate) async fn measure(
    server: &Server,
    load: &Load,
    effort: Effort,
    unit: Unit,
) -> anyhow::Result<Sample> {
    let before = server.cpu()?;
    let work = match load {
        Load::Get { path, range, unique } => {
            wrk::get(&server.url(path), *range, *unique, effort).await?
        }
        other => operate(&server.address, other, effort).await?,
    };
    tokio::time::sleep(AFTERWARDS).await;
    sample(&work, server.cpu()? - before, unit)
}

/// A sample of work that took so much CPU, in seconds.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
pub(crate) fn sample(work: &Work, cpu: f64, unit: Unit) -> anyhow::Result<Sample> {
    anyhow::ensure!(work.operations > 0, "nothing was answered");
    let (done, per_cpu) = match unit {
        Unit::Operations => (work.operations as f64, 1e6),
        Unit::Bytes | Unit::Start => (work.bytes as f64 / 1e6, 1e3),
    };
    Ok(Sample {
        rate: done / work.elapsed.as_secs_f64(),
        cpu: cpu * per_cpu / done,
        p50: work.percentiles.0,
        p99: work.percentiles.1,
    })
}

/// Load by this program's own client.
pub(crate) async fn operate(address: &str, load: &Load, effort: Effort) -> anyhow::Result<Work> {
    let mut clients = Vec::new();
    for _ in 0..effort.concurrency {
        clients.push(Client::connect(address).await?);
    }
    let started = Instant::now();
    let tasks: Vec<_> = clients
        .into_iter()
        .map(|client| tokio::spawn(work(client, load.clone(), effort, started)))
        .collect();
    let mut all = Work::default();
    let mut times = Vec::new();
    for task in tasks {
        let (part, bytes) = task.await??;
        times.extend(part);
        all.bytes += bytes;
    }
    all.elapsed = started.elapsed();
    all.operations = times.len() as u64;
    times.sort_by(f64::total_cmp);
    all.percentiles = (percentile(&times, 50), percentile(&times, 99));
    Ok(all)
}

async fn work(
    mut client: Client,
    load: Load,
    effort: Effort,
    started: Instant,
) -> anyhow::Result<(Vec<f64>, u64)> {
    let mut times = Vec::new();
    let mut bytes = 0;
    for _ in 0..effort.operations {
        let begun = Instant::now();
        if begun.duration_since(started) > effort.duration && !times.is_empty() {
            break;
        }
        bytes += once(&mut client, &load).await?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    Ok((times, bytes))
}

/// One operation; the bytes of content that it carried.
async fn once(client: &mut Client, load: &Load) -> anyhow::Result<u64> {
    match load {
        Load::Get { path, .. } => client.get(path).await,
        Load::Head { path, status } => client.head(path, *status).await.map(|()| 0),
        Load::Fetch(paths) => {
            let mut bytes = 0;
            for path in paths {
                bytes += client.get(path).await?;
            }
            Ok(bytes)
        }
        Load::Push(maker, style) => {
            let blob = maker.blob();
            client.push(NAME, &blob, *style).await?;
            Ok(blob.size as u64)
        }
        Load::PushImage(images, style) => {
            let image = images.image();
            image.push(client, *style).await?;
            Ok(image.size())
        }
    }
}

/// The value that `percent` of the sorted values do not exceed.
pub(crate) fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let at = (sorted.len() * percent).div_ceil(100).max(1) - 1;
    sorted.get(at).copied().unwrap_or(f64::NAN)
}
