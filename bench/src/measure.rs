//! One measurement: puts a server under load and takes its CPU time.

use crate::client::{Client, PushStyle};
use crate::content::REPOSITORY;
use crate::listing::tag;
use crate::load::{Effort, Load};
use crate::process::{Endpoint, Server};
use crate::sample::{Sample, Unit, Work, percentile, sample};
use crate::wrk;
use http::StatusCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How long a server may go on working after its last response; that is part of
/// the cost.
const SETTLE_TIME: Duration = Duration::from_millis(50);

/// How long slow readers read before others are measured.
const SLOW_START: Duration = Duration::from_millis(500);

/// Puts a server under load.
pub(crate) async fn measure(
    server: &Server,
    load: &Load,
    effort: Effort,
    unit: Unit,
) -> anyhow::Result<Sample> {
    let mut slow = JoinSet::new();
    if let Load::FetchBeside(path, readers) = load {
        for _ in 0..*readers {
            let mut client = Client::connect(&server.endpoint).await?;
            let path = path.clone();
            slow.spawn(async move { client.get_slowly(&path).await });
        }
        tokio::time::sleep(SLOW_START).await;
    }
    let before = server.cpu()?;
    let work = match load {
        Load::Get { path, range, unique } => {
            wrk::get(&server.url(path), *range, *unique, effort).await?
        }
        other => operate(&server.endpoint, other, effort).await?,
    };
    tokio::time::sleep(SETTLE_TIME).await;
    if let Some(ended) = slow.try_join_next() {
        ended??;
        anyhow::bail!("a slow reader has read everything");
    }
    sample(&work, server.cpu()? - before, unit)
}

/// Generates load with this program's client.
pub(crate) async fn operate(
    endpoint: &Endpoint,
    load: &Load,
    effort: Effort,
) -> anyhow::Result<Work> {
    let mut clients = Vec::new();
    for _ in 0..effort.concurrency {
        clients.push(Client::connect(endpoint).await?);
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

/// Runs one operation; returns the bytes of content transferred.
async fn once(client: &mut Client, load: &Load) -> anyhow::Result<u64> {
    match load {
        Load::Get { path, .. } | Load::FetchBeside(path, _) => client.get(path).await,
        Load::Head { path, status } => client.head(path, *status).await.map(|()| 0),
        Load::Miss(blobs) => {
            let path = format!("/v2/{REPOSITORY}/blobs/{}", blobs.blob().digest);
            client.head(&path, StatusCode::NOT_FOUND).await.map(|()| 0)
        }
        Load::Ranges { path, size, count, next } => {
            let start = next.fetch_add(1, Ordering::Relaxed) % count * size;
            client.range(path, start, start + size - 1).await
        }
        Load::Fetch(paths) => {
            let mut bytes = 0;
            for path in paths {
                bytes += client.get(path).await?;
            }
            Ok(bytes)
        }
        Load::Push(maker, style) => {
            let blob = maker.blob();
            client.push(REPOSITORY, &blob, *style).await?;
            Ok(blob.size as u64)
        }
        Load::PushImage(images, style) => {
            let image = images.image();
            image.push(client, *style).await?;
            Ok(image.size())
        }
        Load::PushNew(images) => {
            let image = images.image();
            image.push_to(client, &image.own_repository(), PushStyle::Put).await?;
            Ok(image.size())
        }
        Load::PushAgain(image, pushed) => {
            image.push_again(client, pushed.fetch_add(1, Ordering::Relaxed)).await.map(|()| 0)
        }
        Load::Tag(images, tags, count) => {
            let moves = usize::try_from(count.fetch_add(1, Ordering::Relaxed))?;
            // All tags lead to the first image, or elsewhere, at the beginning.
            let image = &images[(moves / tags + 1) % images.len()];
            image.tag(client, &tag(moves % tags)).await.map(|()| 0)
        }
    }
}
