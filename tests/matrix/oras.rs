//! oras: an index, artifacts that refer to it, and the registry's own component
//! as an artifact.

use crate::bench::Bench;
use crate::image::{Layout, TAG};
use crate::program::{run, run_text};
use crate::report::Verdict;
use roadstead_tests::digest;
use serde_json::Value;
use std::fs;
use tokio::process::Command;

/// The artifact type of the attached file.
const ARTIFACT: &str = "application/vnd.example.sbom.v1";

pub async fn check(bench: &Bench) -> Verdict {
    let layout = bench.layout().await;
    let one = bench.remote(&format!("oras/one:{TAG}"));
    let two = bench.remote(&format!("oras/two:{TAG}"));
    bench.login(oras(bench, &["login"]).args(bench.trust("--ca-file"))).await;
    let mut push = oras(bench, &["cp", "--no-tty", "--from-oci-layout"]);
    push.args(bench.plain("--to-plain-http")).args(bench.trust("--to-ca-file"));
    run(push.args([&format!("layout:{TAG}"), &one])).await;
    assert_eq!(bench.digest("oras/one", TAG).await, layout.digest);
    let repository = bench.remote("oras/one");
    let tags = run_text(remote(bench, &["repo", "tags"]).arg(&repository)).await;
    assert_eq!(tags, TAG);

    let artifact = attach(bench, &one, &layout.digest).await;

    // With its referrers.
    let mut copy = oras(bench, &["cp", "--no-tty", "--recursive"]);
    copy.args(bench.plain("--from-plain-http")).args(bench.plain("--to-plain-http"));
    copy.args(bench.trust("--from-ca-file")).args(bench.trust("--to-ca-file"));
    copy.args([&one, &two]);
    let said = run_text(&mut copy).await;
    let layers = said.lines().filter(|line| line.contains(".layer."));
    let layers = layers.filter_map(|line| line.split(' ').next()).collect::<Vec<_>>();
    assert_eq!(layers, ["Mounted", "Mounted"], "{said}");
    assert_eq!(bench.digest("oras/two", TAG).await, layout.digest);
    assert_eq!(bench.referrers("oras/two", &layout.digest).await, [artifact.as_str()]);
    let mut names = remote(bench, &["repo", "ls"]);
    let names = run_text(names.arg(bench.address())).await;
    assert_eq!(names.lines().collect::<Vec<_>>(), ["oras/one", "oras/two"]);

    let mut pull = oras(bench, &["cp", "--no-tty", "--to-oci-layout"]);
    pull.args(bench.plain("--from-plain-http")).args(bench.trust("--from-ca-file"));
    run(pull.args([&two, &format!("out:{TAG}")])).await;
    let pulled = Layout::open(&bench.path("out"));
    assert_eq!(pulled.digest, layout.digest);
    assert_eq!(pulled.digests(), layout.digests());

    let delete = ["manifest", "delete", "--force"];
    run(remote(bench, &delete).arg(format!("{repository}@{artifact}"))).await;
    bench.check_gone("oras/one", &artifact).await;
    assert!(bench.referrers("oras/one", &layout.digest).await.is_empty());
    run(remote(bench, &delete).arg(&one)).await;
    bench.check_gone("oras/one", TAG).await;
    bench.check_gone("oras/one", &layout.digest).await;
    assert_eq!(bench.digest("oras/two", TAG).await, layout.digest);
    component(bench).await;
    Ok(())
}

/// Publishes the component as in docs/deploy-edge.md, and pulls it by its digest.
async fn component(bench: &Bench) {
    let component = digest(roadstead::COMPONENT);
    fs::write(bench.path("roadstead.wasm"), roadstead::COMPONENT).unwrap();
    let config = serde_json::json!({
        "architecture": "wasm",
        "os": "wasip2",
        "layerDigests": [component],
    });
    fs::write(bench.path("config.json"), config.to_string()).unwrap();
    let reference = bench.remote("oras/component:0.1.0");
    let config = "--config=config.json:application/vnd.wasm.config.v0+json";
    let mut push = remote(bench, &["push", "--no-tty", "--format=json", config]);
    let pushed = run(push.args([&reference, "roadstead.wasm:application/wasm"])).await;
    let pushed: Value = serde_json::from_slice(&pushed).unwrap();
    let manifest = pushed["digest"].as_str().unwrap();
    let fetched = run(remote(bench, &["manifest", "fetch"]).arg(&reference)).await;
    let fetched: Value = serde_json::from_slice(&fetched).unwrap();
    assert_eq!(fetched["config"]["mediaType"], "application/vnd.wasm.config.v0+json");
    assert_eq!(fetched["layers"][0]["mediaType"], "application/wasm");
    assert_eq!(fetched["layers"][0]["digest"], component.as_str());
    let mut pull = remote(bench, &["pull", "--no-tty", "--output=component"]);
    run(pull.arg(format!("{}@{manifest}", bench.remote("oras/component")))).await;
    let pulled = fs::read(bench.path("component/roadstead.wasm")).unwrap();
    assert_eq!(digest(&pulled), component);
    println!("the component that oras pushed and pulled: {component}");
}

/// Attaches a file, finds it and pulls it; returns the artifact's digest.
async fn attach(bench: &Bench, image: &str, subject: &str) -> String {
    fs::write(bench.path("sbom.json"), "{\"packages\":[]}").unwrap();
    let mut attach = remote(bench, &["attach", "--no-tty", "--format=json"]);
    attach.args(["--artifact-type", ARTIFACT, image, "sbom.json:application/json"]);
    let attached: Value = serde_json::from_slice(&run(&mut attach).await).unwrap();
    let artifact = attached["digest"].as_str().unwrap().to_owned();
    assert_eq!(bench.referrers("oras/one", subject).await, [artifact.as_str()]);

    for (kind, expected) in [(ARTIFACT, vec![artifact.clone()]), ("application/other", vec![])] {
        let mut discover = remote(bench, &["discover", "--format=json"]);
        let found = run(discover.args(["--artifact-type", kind, image])).await;
        let found: Value = serde_json::from_slice(&found).unwrap();
        assert_eq!(found["digest"], subject);
        assert_eq!(crate::bench::digests(&found["referrers"]), expected);
    }

    let mut pull = remote(bench, &["pull", "--no-tty", "--output=sbom"]);
    run(pull.arg(format!("{}@{artifact}", bench.remote("oras/one")))).await;
    let pulled = fs::read(bench.path("sbom/sbom.json")).unwrap();
    assert_eq!(pulled, fs::read(bench.path("sbom.json")).unwrap());
    artifact
}

/// A command with the options for one registry.
fn remote(bench: &Bench, arguments: &[&str]) -> Command {
    let mut oras = oras(bench, arguments);
    oras.args(bench.plain("--plain-http")).args(bench.trust("--ca-file"));
    oras
}

fn oras(bench: &Bench, arguments: &[&str]) -> Command {
    let mut oras = bench.command("oras");
    oras.args(arguments);
    oras
}
