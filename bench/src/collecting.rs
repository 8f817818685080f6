//! Latencies of pulls and pushes with and without garbage collection, at a fixed load
//! and in windows of one run that alternate, for each stage of the collector.

use crate::client::{Body, Client, PushStyle};
use crate::content::digest;
use crate::image::ImageGenerator;
use crate::process::{Endpoint, Server};
use crate::run::progress;
use crate::sample::percentile;
use anyhow::Context as _;
use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// Blobs that manifests refer to, that are to be condemned, and that are to be removed.
const KEPT: usize = 10_000;
const CONDEMNED: usize = 600;
const REMOVED: usize = 400;

/// Blobs of a manifest.
const REFERENCES: usize = 100;

/// Days since all of that was written.
const DAYS: u64 = 60;

/// Connections that pull and that push, and the time from one operation of each to the
/// next.
const PULLING: usize = 4;
const PULL_PAUSE: Duration = Duration::from_millis(40);
const PUSHING: usize = 2;
const PUSH_PAUSE: Duration = Duration::from_millis(400);

/// Windows of each kind in a round, at most: enough for a run at the default rate, which
/// reads manifests that the windows of all kinds push.
const WINDOWS: usize = 240;

/// Size of a layer that is pulled or pushed, in bytes.
const LAYER: usize = 64 << 10;

/// Whoever collects asks again so soon at least, as the host does.
const SLICE_PAUSE: Duration = Duration::from_millis(100);

const COLLECT: &str = "/v2/_roadstead/collect";

/// Latencies in milliseconds.
#[derive(Clone, Debug, Default)]
struct Latencies {
    pulls: Vec<f64>,
    pushes: Vec<f64>,
}

/// What goes on in a window of time.
#[derive(Clone, Copy)]
enum Window {
    Collecting,
    Quiet,
    /// As quiet: how far these two are from each other is what the measurement cannot
    /// tell apart.
    Control,
}

impl Window {
    const ALL: [Self; 3] = [Self::Collecting, Self::Quiet, Self::Control];
}

/// The latencies in all windows of each kind, of one stage of the collector.
#[derive(Debug, Default)]
struct Measured {
    stage: String,
    collecting: Latencies,
    quiet: Latencies,
    control: Latencies,
}

/// How far the collector has come.
#[derive(Debug, Default)]
struct Run {
    id: Option<String>,
    stage: String,
    /// Until when there is nothing to do.
    waits: Option<Instant>,
    slices: u64,
    operations: u64,
    has_ended: bool,
    time: Duration,
}

/// Writes a directory with content that is old: some to keep, some to condemn, some to
/// remove.
pub(crate) fn lay_out(root: &Path) -> anyhow::Result<()> {
    let old = SystemTime::now() - Duration::from_hours(24 * DAYS);
    let since = old.duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    let put = |path: &str, bytes: &[u8]| -> anyhow::Result<()> {
        let path = root.join(path);
        fs::create_dir_all(path.parent().context("no parent")?)?;
        fs::write(&path, bytes)?;
        File::options().write(true).open(&path)?.set_modified(old)?;
        Ok(())
    };
    let registry = "docker/registry/v2";
    let blob = |bytes: &[u8]| -> anyhow::Result<String> {
        let digest = digest(bytes);
        put(&format!("{registry}/{}", data(&digest)), bytes)?;
        Ok(digest)
    };
    let link = |repository: &str, kind: &str, digest: &str| {
        let hex = digest.trim_start_matches("sha256:");
        let path = format!("{registry}/repositories/bench/{repository}/{kind}/sha256/{hex}/link");
        put(&path, digest.as_bytes())
    };
    for manifest in 0..KEPT / REFERENCES {
        let mut layers = Vec::new();
        for number in 0..REFERENCES {
            let layer = blob(format!("kept {manifest} {number}").as_bytes())?;
            link("kept", "_layers", &layer)?;
            layers.push(format!(r#"{{"digest":"{layer}","size":1}}"#));
        }
        let text = format!(r#"{{"schemaVersion":2,"layers":[{}]}}"#, layers.join(","));
        link("kept", "_manifests/revisions", &blob(text.as_bytes())?)?;
    }
    let mut sighted = [const { String::new() }; 16];
    for number in 0..CONDEMNED {
        let digest = blob(format!("condemned {number}").as_bytes())?;
        link("gone", "_layers", &digest)?;
        let shard = digest.trim_start_matches("sha256:").chars().next();
        let shard = shard.and_then(|digit| digit.to_digit(16)).context("no digit")?;
        let _ = writeln!(sighted[shard as usize], "{digest} {since}");
    }
    for (shard, text) in sighted.iter().enumerate() {
        put(&format!(".roadstead/collect/sighted-{shard:x}"), text.as_bytes())?;
    }
    for number in 0..REMOVED {
        let digest = blob(format!("removed {number}").as_bytes())?;
        let tombstone = data(&digest).replace("/data", "/_condemned");
        put(&format!("{registry}/{tombstone}"), format!("unlinked {:032x}", 1).as_bytes())?;
    }
    put(".roadstead/collect/condemned", b"")
}

fn data(digest: &str) -> String {
    let hex = digest.trim_start_matches("sha256:");
    format!("blobs/sha256/{}/{hex}/data", &hex[..2])
}

/// Measures, and returns a table.
pub(crate) async fn measure(
    server: &Server,
    pattern: &Bytes,
    rounds: u16,
    window: Duration,
) -> anyhow::Result<String> {
    let images = Arc::new(ImageGenerator::new(pattern, 1, LAYER));
    let image = images.image();
    let mut client = Client::connect(&server.endpoint).await?;
    image.push(&mut client, PushStyle::Put).await?;
    let paths = Arc::new(vec![image.by_tag(), image.layer()]);
    let mut stages: Vec<Measured> = Vec::new();
    let mut run = Run { stage: "manifests".to_owned(), ..Run::default() };
    // What is read first is in memory afterwards.
    load(server, &images, &paths, window).await?;
    for number in 0..usize::from(rounds) * WINDOWS {
        if run.has_ended {
            break;
        }
        // A window in which it only waits measures nothing.
        if let Some(waits) = run.waits.take() {
            tokio::time::sleep_until(waits.into()).await;
        }
        progress(&format!("garbage collection: window {number}, {run:?}"));
        if stages.last().is_none_or(|last| last.stage != run.stage) {
            stages.push(Measured { stage: run.stage.clone(), ..Measured::default() });
        }
        let measured = stages.last_mut().context("no stage")?;
        // In turn, each kind is the first one.
        for turn in 0..Window::ALL.len() {
            let kind = Window::ALL[(number + turn) % Window::ALL.len()];
            let load = load(server, &images, &paths, window);
            match kind {
                Window::Quiet => measured.quiet.add(load.await?),
                Window::Control => measured.control.add(load.await?),
                Window::Collecting => {
                    let collected = run.collect(&server.endpoint, window);
                    let (latencies, collected) = tokio::join!(load, collected);
                    collected?;
                    measured.collecting.add(latencies?);
                }
            }
        }
    }
    progress("");
    Ok(table(&mut stages, &run))
}

impl Latencies {
    fn add(&mut self, other: Self) {
        self.pulls.extend(other.pulls);
        self.pushes.extend(other.pushes);
    }
}

/// Operations at a fixed rate. A latency counts from when the operation was due.
async fn load(
    server: &Server,
    images: &Arc<ImageGenerator>,
    paths: &Arc<Vec<String>>,
    window: Duration,
) -> anyhow::Result<Latencies> {
    let mut tasks = Vec::new();
    let begun = Instant::now();
    for number in 0..PULLING + PUSHING {
        let mut client = Client::connect(&server.endpoint).await?;
        let (images, paths) = (Arc::clone(images), Arc::clone(paths));
        let pulls = number < PULLING;
        let pause = if pulls { PULL_PAUSE } else { PUSH_PAUSE };
        let among = if pulls { PULLING } else { PUSHING };
        let mut due = begun + pause * u32::try_from(number % among)? / u32::try_from(among)?;
        tasks.push(tokio::spawn(async move {
            let mut times = Vec::new();
            while due < begun + window {
                tokio::time::sleep_until(due.into()).await;
                if pulls {
                    for path in paths.iter() {
                        // Past the cache of the host.
                        client.get(&format!("{path}?n={}", due.elapsed().as_nanos())).await?;
                    }
                } else {
                    images.image().push(&mut client, PushStyle::Put).await?;
                }
                times.push(due.elapsed().as_secs_f64() * 1e3);
                due += pause;
            }
            anyhow::Ok((pulls, times))
        }));
    }
    let mut latencies = Latencies::default();
    for task in tasks {
        let (pulls, times) = task.await??;
        if pulls { &mut latencies.pulls } else { &mut latencies.pushes }.extend(times);
    }
    Ok(latencies)
}

impl Run {
    /// Goes on with the run, as the host does.
    async fn collect(&mut self, endpoint: &Endpoint, window: Duration) -> anyhow::Result<()> {
        let begun = Instant::now();
        let mut client = Client::connect(endpoint).await?;
        while begun.elapsed() < window && !self.has_ended && self.waits.is_none() {
            let id = self.id.as_ref().map_or(String::new(), |id| format!(r#""run":"{id}""#));
            let body = Body::sized(vec![format!("{{{id}}}").into()]);
            let answer = client.send(Method::POST, COLLECT, &[], body).await?;
            let status = answer.status();
            let bytes = answer.into_body().collect().await?.to_bytes();
            anyhow::ensure!(status == StatusCode::OK, "{status}: {bytes:?}");
            let progress: serde_json::Value = serde_json::from_slice(&bytes)?;
            match progress["status"].as_str() {
                Some("running") => {
                    self.id = progress["run"].as_str().map(str::to_owned);
                    let stage = progress["stage"].as_str().unwrap_or_default();
                    stage.clone_into(&mut self.stage);
                    self.slices += 1;
                    self.operations += progress["operations"].as_u64().unwrap_or_default();
                    let wait = Duration::from_millis(progress["wait"].as_u64().unwrap_or_default());
                    if wait > window {
                        self.waits = Some(Instant::now() + wait);
                    } else {
                        tokio::time::sleep(wait.max(SLICE_PAUSE)).await;
                    }
                }
                Some("done") => self.has_ended = true,
                _ => anyhow::bail!("{progress}"),
            }
        }
        self.time += begun.elapsed();
        Ok(())
    }
}

/// How many operations connections do in a second.
fn per_second(connections: usize, pause: Duration) -> u128 {
    connections as u128 * 1000 / pause.as_millis()
}

fn table(stages: &mut [Measured], run: &Run) -> String {
    let mut text = format!(
        "## Beside garbage collection\n\nA directory of {} blobs: {CONDEMNED} to be condemned, {REMOVED} to be \
         removed. {} pulls (manifest by tag and layer of 64 KiB, past the cache) and {} pushes \
         (image with such a layer) per second. The collector took {} operations in {} slices and {:.0?}, and {}. \
         Control: other windows without it, and their ratio to those of the column before.\n\n\
         | stage | number | collecting: p50, p99 | not collecting | ratio | control | ratio |\n\
         |---|---|---|---|---|---|---|\n",
        KEPT + CONDEMNED + REMOVED,
        per_second(PULLING, PULL_PAUSE),
        per_second(PUSHING, PUSH_PAUSE),
        run.operations,
        run.slices,
        run.time,
        if run.has_ended { "its run has ended" } else { "its run had not ended" },
    );
    let mut all = Measured { stage: "all".to_owned(), ..Measured::default() };
    for measured in &mut *stages {
        let Measured { stage, collecting, quiet, control } = measured;
        all.collecting.add(collecting.clone());
        all.quiet.add(quiet.clone());
        all.control.add(control.clone());
        rows(&mut text, stage, [collecting, quiet, control]);
    }
    let Measured { stage, collecting, quiet, control } = &mut all;
    rows(&mut text, stage, [collecting, quiet, control]);
    text
}

/// The rows of a stage: windows in which it collects, in which it does not, and the control.
fn rows(text: &mut String, stage: &str, windows: [&mut Latencies; 3]) {
    let [collecting, quiet, control] = windows;
    for (name, kinds) in [
        ("pulls", [&mut collecting.pulls, &mut quiet.pulls, &mut control.pulls]),
        ("pushes", [&mut collecting.pushes, &mut quiet.pushes, &mut control.pushes]),
    ] {
        let count = kinds[0].len();
        let [collecting, quiet, control] = kinds.map(|times| {
            times.sort_by(f64::total_cmp);
            [50, 99].map(|percent| percentile(times, percent))
        });
        let _ = writeln!(
            text,
            "| {stage} | {count} {name} | {} ms | {} ms | {} | {} ms | {} |",
            pair(collecting),
            pair(quiet),
            ratio(collecting, quiet),
            pair(control),
            ratio(control, quiet),
        );
    }
}

fn pair([p50, p99]: [f64; 2]) -> String {
    format!("{p50:.2}, {p99:.2}")
}

fn ratio(of: [f64; 2], to: [f64; 2]) -> String {
    format!("{:.2}×, {:.2}×", of[0] / to[0], of[1] / to[1])
}
