//! helm: a chart.

use crate::bench::Bench;
use crate::image::file_digest;
use crate::program::{run, run_text};
use crate::report::Verdict;
use serde_json::Value;
use std::fs;
use tokio::process::Command;

const CHART: &str = "apiVersion: v2\nname: chart\nversion: 1.2.3\n";

const TEMPLATE: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: from-the-registry\n";

pub async fn check(bench: &Bench) -> Verdict {
    let chart = bench.path("chart");
    fs::create_dir_all(chart.join("templates")).unwrap();
    fs::write(chart.join("Chart.yaml"), CHART).unwrap();
    fs::write(chart.join("templates/map.yaml"), TEMPLATE).unwrap();
    run(helm(bench).args(["package", "chart"])).await;
    let mut login = helm(bench);
    bench.login(login.args(["registry", "login"]).args(bench.trust("--ca-file"))).await;
    let charts = format!("oci://{}", bench.remote("helm"));
    let chart = format!("{charts}/chart");
    run(remote(bench, "push").args(["chart-1.2.3.tgz", &charts])).await;
    assert_eq!(bench.tags("helm/chart").await, ["1.2.3"]);
    bench.digest("helm/chart", "1.2.3").await;

    // The package is the manifest's layer, unchanged.
    let package = file_digest(&bench.path("chart-1.2.3.tgz"));
    let manifest = bench.get("/v2/helm/chart/manifests/1.2.3").await;
    let manifest: Value = serde_json::from_slice(manifest.body()).unwrap();
    assert_eq!(manifest["layers"][0]["digest"], package);
    fs::create_dir(bench.path("out")).unwrap();
    // The newest version: helm lists the tags.
    run(remote(bench, "pull").args(["--destination=out", &chart])).await;
    assert_eq!(file_digest(&bench.path("out/chart-1.2.3.tgz")), package);
    let mut template = remote(bench, "template");
    template.args(["--version=1.2.3", "release", &chart]);
    let rendered = run_text(&mut template).await;
    assert!(rendered.contains("name: from-the-registry"), "{rendered}");
    Ok(())
}

/// A command with the options for the registry.
fn remote(bench: &Bench, command: &str) -> Command {
    let mut helm = helm(bench);
    helm.arg(command).args(bench.plain("--plain-http")).args(bench.trust("--ca-file"));
    helm
}

fn helm(bench: &Bench) -> Command {
    let mut helm = bench.command("helm");
    for name in ["HELM_CONFIG_HOME", "HELM_CACHE_HOME", "HELM_DATA_HOME", "HELM_REGISTRY_CONFIG"] {
        helm.env_remove(name);
    }
    helm
}
