//! helm: a chart.

use crate::fixture::Fixture;
use crate::report::Verdict;
use roadstead_tests::image::file_digest;
use roadstead_tests::program::{run, run_text};
use serde_json::Value;
use std::fs;
use tokio::process::Command;

const CHART: &str = "apiVersion: v2\nname: chart\nversion: 1.2.3\n";

const TEMPLATE: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: from-the-registry\n";

pub async fn check(fixture: &Fixture) -> Verdict {
    let chart = fixture.path("chart");
    fs::create_dir_all(chart.join("templates")).unwrap();
    fs::write(chart.join("Chart.yaml"), CHART).unwrap();
    fs::write(chart.join("templates/map.yaml"), TEMPLATE).unwrap();
    run(helm(fixture).args(["package", "chart"])).await;
    let mut login = helm(fixture);
    fixture.login(login.args(["registry", "login"]).args(fixture.trust("--ca-file"))).await;
    let charts = format!("oci://{}", fixture.remote("helm"));
    let chart = format!("{charts}/chart");
    run(remote(fixture, "push").args(["chart-1.2.3.tgz", &charts])).await;
    assert_eq!(fixture.tags("helm/chart").await, ["1.2.3"]);
    fixture.digest("helm/chart", "1.2.3").await;

    // The package is the manifest's layer, unchanged.
    let package = file_digest(&fixture.path("chart-1.2.3.tgz"));
    let manifest = fixture.get("/v2/helm/chart/manifests/1.2.3").await;
    let manifest: Value = serde_json::from_slice(manifest.body()).unwrap();
    assert_eq!(manifest["layers"][0]["digest"], package);
    fs::create_dir(fixture.path("out")).unwrap();
    // The newest version: helm lists the tags.
    run(remote(fixture, "pull").args(["--destination=out", &chart])).await;
    assert_eq!(file_digest(&fixture.path("out/chart-1.2.3.tgz")), package);
    let mut template = remote(fixture, "template");
    template.args(["--version=1.2.3", "release", &chart]);
    let rendered = run_text(&mut template).await;
    assert!(rendered.contains("name: from-the-registry"), "{rendered}");
    Ok(())
}

/// A command with the options for the registry.
fn remote(fixture: &Fixture, command: &str) -> Command {
    let mut helm = helm(fixture);
    helm.arg(command).args(fixture.plain("--plain-http")).args(fixture.trust("--ca-file"));
    helm
}

fn helm(fixture: &Fixture) -> Command {
    let mut helm = fixture.command("helm");
    for name in ["HELM_CONFIG_HOME", "HELM_CACHE_HOME", "HELM_DATA_HOME", "HELM_REGISTRY_CONFIG"] {
        helm.env_remove(name);
    }
    helm
}
