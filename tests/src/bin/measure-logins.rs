//! The cost of authentication: the host's CPU for requests with and without
//! credentials; and whether the time of a refusal reveals which users exist.

use anyhow::Context as _;
use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use roadstead_tests::{Registry, basic, send};
use std::io::Write as _;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// The requests of one measurement, and the number of connections.
const REQUESTS: usize = 20_000;
const CONNECTIONS: usize = 8;

/// How often each measurement is taken, alternating with the others.
const ROUNDS: usize = 7;

/// The number of timed refusals of each kind.
const REFUSALS: usize = 60;

/// Ticks per second in `/proc/<pid>/stat` (`getconf CLK_TCK`).
const TICKS: f64 = 100.0;

/// `secret` with cost 10, from `htpasswd -B -C 10`.
const USER: &str = "alice:$2y$10$ZcqmsoLVK232ntr7PvBNFORzRTIk0zUykos3Tn8xi8/7Zr.FgCnTa";

const MANIFEST: &str = "/v2/public/a/manifests/1";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let root = tempfile::tempdir()?;
    let rules = ("REGISTRY_AUTH_RULES", "anonymous pull public/**; alice all **");
    let quiet = ("REGISTRY_LOG_ACCESSLOG_DISABLED", "true");
    let settings =
        [("REGISTRY_AUTH", "htpasswd"), ("REGISTRY_AUTH_HTPASSWD_ENTRIES", USER), rules, quiet];
    let open = Registry::start(&root.path().join("open"), &[quiet], &[])?;
    let known = Registry::start(&root.path().join("known"), &settings, &[])?;
    let password = basic("alice", "secret");
    for registry in [&open, &known] {
        let manifest =
            format!(r#"{{"schemaVersion":2,"manifests":[],"x":"{}"}}"#, "x".repeat(2000));
        let request = Request::put(MANIFEST)
            .header(header::AUTHORIZATION, &password)
            .header(header::CONTENT_TYPE, "application/vnd.oci.image.index.v1+json");
        let answer = send(&registry.address, request.body(Bytes::from(manifest))?).await?;
        anyhow::ensure!(answer.status() == 201, "{answer:?}");
    }
    let token = Request::get("/v2/token?scope=repository:public/a:pull").body(Bytes::new())?;
    let token = send(&known.address, token).await?;
    let token: serde_json::Value = serde_json::from_slice(token.body())?;
    let token = format!("Bearer {}", token["token"].as_str().context("no token")?);
    let kinds = [
        ("no authentication configured", &open, ""),
        ("anonymous, by a rule", &known, ""),
        ("Basic", &known, password.as_str()),
        ("Bearer", &known, token.as_str()),
    ];
    let mut out = std::io::stdout();
    let mut costs = vec![Vec::new(); kinds.len()];
    for _ in 0..ROUNDS {
        for ((_, registry, authorization), costs) in kinds.iter().zip(&mut costs) {
            costs.push(cost(registry, authorization).await?);
        }
    }
    let medians: Vec<f64> = costs.into_iter().map(median).collect();
    writeln!(out, "CPU of the host per manifest GET by tag, microseconds (ratio to the first):")?;
    for ((name, ..), cost) in kinds.iter().zip(&medians) {
        writeln!(out, "  {name:30} {:7.1}  {:.3}", cost * 1e6, cost / medians[0])?;
    }
    drop(known);

    let mut times = [Vec::new(), Vec::new()];
    for number in 0..REFUSALS {
        // A fresh process, because pauses after failures would distort the times.
        let registry = Registry::start(&root.path().join("timed"), &settings, &[])?;
        send(&registry.address, Request::get("/v2/").body(Bytes::new())?).await?;
        // The order alternates.
        let users = if number % 2 == 0 { ["alice", "nobody"] } else { ["nobody", "alice"] };
        for user in users {
            let request = Request::get("/v2/").header(header::AUTHORIZATION, basic(user, "wrong"));
            let started = Instant::now();
            let answer = send(&registry.address, request.body(Bytes::new())?).await?;
            anyhow::ensure!(answer.status() == 401, "{answer:?}");
            times[usize::from(user == "nobody")].push(started.elapsed().as_secs_f64() * 1e3);
        }
    }
    let [known, unknown] = &times;
    writeln!(out, "refusal of a wrong password, milliseconds, {REFUSALS} of each:")?;
    for (name, times) in [("a user", known), ("no user", unknown)] {
        let (mean, deviation) = mean(times);
        writeln!(
            out,
            "  {name:8} median {:.2}, mean {mean:.2}, deviation {deviation:.2}",
            median(times.clone())
        )?;
    }
    let ((a, da), (b, db)) = (mean(known), mean(unknown));
    #[expect(clippy::cast_precision_loss, reason = "they are few")]
    let n = REFUSALS as f64;
    let t = (a - b) / (da * da / n + db * db / n).sqrt();
    writeln!(out, "  Welch's t {t:.2}; beyond 4, the two could be told apart")?;
    Ok(())
}

/// The host's CPU time per request, in seconds.
async fn cost(registry: &Registry, authorization: &str) -> anyhow::Result<f64> {
    let before = cpu(registry)?;
    let tasks = (0..CONNECTIONS).map(|_| {
        let (address, authorization) = (registry.address.clone(), authorization.to_owned());
        tokio::spawn(async move { requests(&address, &authorization).await })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await??;
    }
    // Includes the host's work after its responses.
    tokio::time::sleep(Duration::from_millis(50)).await;
    #[expect(clippy::cast_precision_loss, reason = "they are thousands")]
    Ok((cpu(registry)? - before) / REQUESTS as f64)
}

async fn requests(address: &str, authorization: &str) -> anyhow::Result<()> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    for _ in 0..REQUESTS / CONNECTIONS {
        let mut request = Request::get(MANIFEST).header(header::HOST, address);
        if !authorization.is_empty() {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let answer = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
        anyhow::ensure!(answer.status() == 200, "{answer:?}");
        answer.into_body().collect().await?;
    }
    Ok(())
}

/// The host's CPU time so far, in seconds (Linux only).
fn cpu(registry: &Registry) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", registry.pid()))?;
    let fields = stat.rsplit_once(')').context("no stat")?.1;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok());
    Ok((ticks(11).context("no utime")? + ticks(12).context("no stime")?) / TICKS)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn mean(values: &[f64]) -> (f64, f64) {
    #[expect(clippy::cast_precision_loss, reason = "they are few")]
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, variance.sqrt())
}
