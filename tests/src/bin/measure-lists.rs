//! Prints the time of a page of tags and of the catalog, with growing numbers of
//! names. `cargo run --release -p roadstead-tests --bin measure-lists`

use bytes::Bytes;
use http::Request;
use roadstead_tests::{Registry, send};
use std::path::Path;
use std::time::{Duration, Instant};

/// How often each page is requested, after the first time.
const REPEATS: usize = 300;

const LINK: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let root = tempfile::tempdir()?;
    let repositories = root.path().join("docker/registry/v2/repositories");
    let tags = [("t100", 100), ("t1000", 1_000), ("t10000", 10_000), ("t100000", 100_000)];
    for (name, count) in tags {
        eprintln!("creating {count} tags");
        for tag in 0..count {
            let tag = repositories.join(format!("{name}/_manifests/tags/v{tag:06}/current"));
            std::fs::create_dir_all(&tag)?;
            std::fs::write(tag.join("link"), LINK)?;
        }
    }
    let registry =
        Registry::start(root.path(), &[("REGISTRY_LOG_ACCESSLOG_DISABLED", "true")], &[])?;
    println!("a page of 100          first ms  median ms");
    for (name, count) in tags {
        let after = format!("v{:06}", count / 2 - 1);
        let path = if count == 100 {
            format!("/v2/{name}/tags/list?n=100")
        } else {
            format!("/v2/{name}/tags/list?n=100&last={after}")
        };
        measure(&registry, &format!("{count} tags"), &path).await?;
    }
    drop(registry);
    for count in [100, 20_000] {
        let root = tempfile::tempdir()?;
        make_repositories(root.path(), count)?;
        let registry =
            Registry::start(root.path(), &[("REGISTRY_LOG_ACCESSLOG_DISABLED", "true")], &[])?;
        measure(&registry, &format!("{count} repositories"), "/v2/_catalog?n=100").await?;
    }
    Ok(())
}

fn make_repositories(root: &Path, count: usize) -> anyhow::Result<()> {
    eprintln!("creating {count} repositories");
    for number in 0..count {
        let name = format!("docker/registry/v2/repositories/app{number:05}/_manifests");
        std::fs::create_dir_all(root.join(name))?;
    }
    Ok(())
}

async fn measure(registry: &Registry, what: &str, path: &str) -> anyhow::Result<()> {
    // Names are cached only when their directory has been unchanged for a while.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut times = Vec::new();
    for _ in 0..=REPEATS {
        let request = Request::get(path).body(Bytes::new())?;
        let start = Instant::now();
        let answer = send(&registry.address, request).await?;
        times.push(start.elapsed().as_secs_f64() * 1000.0);
        anyhow::ensure!(answer.status() == 200, "{path}: {}", answer.status());
    }
    let first = times.remove(0);
    times.sort_by(f64::total_cmp);
    println!("{what:<22} {first:>8.2}  {:>9.2}", times[times.len() / 2]);
    Ok(())
}
