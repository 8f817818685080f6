//! oras: an index, artifacts that refer to it, and the registry's own component
//! as an artifact.

use crate::fixture::Fixture;
use crate::report::Verdict;
use roadstead_tests::digest;
use roadstead_tests::image::{Layout, TAG};
use roadstead_tests::program::{run, run_text};
use serde_json::Value;
use std::fs;
use tokio::process::Command;

/// The artifact type of the attached file.
const ARTIFACT: &str = "application/vnd.example.sbom.v1";

pub async fn check(fixture: &Fixture) -> Verdict {
    let layout = fixture.layout().await;
    let one = fixture.remote(&format!("oras/one:{TAG}"));
    let two = fixture.remote(&format!("oras/two:{TAG}"));
    fixture.login(oras(fixture, &["login"]).args(fixture.trust("--ca-file"))).await;
    let mut push = oras(fixture, &["cp", "--no-tty", "--from-oci-layout"]);
    push.args(fixture.plain("--to-plain-http")).args(fixture.trust("--to-ca-file"));
    run(push.args([&format!("layout:{TAG}"), &one])).await;
    assert_eq!(fixture.digest("oras/one", TAG).await, layout.digest);
    let repository = fixture.remote("oras/one");
    let tags = run_text(remote(fixture, &["repo", "tags"]).arg(&repository)).await;
    assert_eq!(tags, TAG);

    let artifact = attach(fixture, &one, &layout.digest).await;

    // With its referrers.
    let mut copy = oras(fixture, &["cp", "--no-tty", "--recursive"]);
    copy.args(fixture.plain("--from-plain-http")).args(fixture.plain("--to-plain-http"));
    copy.args(fixture.trust("--from-ca-file")).args(fixture.trust("--to-ca-file"));
    copy.args([&one, &two]);
    let said = run_text(&mut copy).await;
    let layers = said.lines().filter(|line| line.contains(".layer."));
    let layers = layers.filter_map(|line| line.split(' ').next()).collect::<Vec<_>>();
    assert_eq!(layers, ["Mounted", "Mounted"], "{said}");
    assert_eq!(fixture.digest("oras/two", TAG).await, layout.digest);
    assert_eq!(fixture.referrers("oras/two", &layout.digest).await, [artifact.as_str()]);
    let mut names = remote(fixture, &["repo", "ls"]);
    let names = run_text(names.arg(fixture.address())).await;
    assert_eq!(names.lines().collect::<Vec<_>>(), ["oras/one", "oras/two"]);

    let mut pull = oras(fixture, &["cp", "--no-tty", "--to-oci-layout"]);
    pull.args(fixture.plain("--from-plain-http")).args(fixture.trust("--from-ca-file"));
    run(pull.args([&two, &format!("out:{TAG}")])).await;
    let pulled = Layout::open(&fixture.path("out"));
    assert_eq!(pulled.digest, layout.digest);
    assert_eq!(pulled.digests(), layout.digests());

    let delete = ["manifest", "delete", "--force"];
    run(remote(fixture, &delete).arg(format!("{repository}@{artifact}"))).await;
    fixture.check_gone("oras/one", &artifact).await;
    assert!(fixture.referrers("oras/one", &layout.digest).await.is_empty());
    run(remote(fixture, &delete).arg(&one)).await;
    fixture.check_gone("oras/one", TAG).await;
    fixture.check_gone("oras/one", &layout.digest).await;
    assert_eq!(fixture.digest("oras/two", TAG).await, layout.digest);
    component(fixture).await;
    Ok(())
}

/// Publishes the component as in docs/deploy-edge.md, and pulls it by its digest.
async fn component(fixture: &Fixture) {
    let component = digest(roadstead_embedded::COMPONENT);
    fs::write(fixture.path("roadstead.wasm"), roadstead_embedded::COMPONENT).unwrap();
    let config = serde_json::json!({
        "architecture": "wasm",
        "os": "wasip2",
        "layerDigests": [component],
    });
    fs::write(fixture.path("config.json"), config.to_string()).unwrap();
    let reference = fixture.remote("oras/component:0.1.0");
    let config = "--config=config.json:application/vnd.wasm.config.v0+json";
    let mut push = remote(fixture, &["push", "--no-tty", "--format=json", config]);
    let pushed = run(push.args([&reference, "roadstead.wasm:application/wasm"])).await;
    let pushed: Value = serde_json::from_slice(&pushed).unwrap();
    let manifest = pushed["digest"].as_str().unwrap();
    let fetched = run(remote(fixture, &["manifest", "fetch"]).arg(&reference)).await;
    let fetched: Value = serde_json::from_slice(&fetched).unwrap();
    assert_eq!(fetched["config"]["mediaType"], "application/vnd.wasm.config.v0+json");
    assert_eq!(fetched["layers"][0]["mediaType"], "application/wasm");
    assert_eq!(fetched["layers"][0]["digest"], component.as_str());
    let mut pull = remote(fixture, &["pull", "--no-tty", "--output=component"]);
    run(pull.arg(format!("{}@{manifest}", fixture.remote("oras/component")))).await;
    let pulled = fs::read(fixture.path("component/roadstead.wasm")).unwrap();
    assert_eq!(digest(&pulled), component);
    println!("the component that oras pushed and pulled: {component}");
}

/// Attaches a file, finds it and pulls it; returns the artifact's digest.
async fn attach(fixture: &Fixture, image: &str, subject: &str) -> String {
    fs::write(fixture.path("sbom.json"), "{\"packages\":[]}").unwrap();
    let mut attach = remote(fixture, &["attach", "--no-tty", "--format=json"]);
    attach.args(["--artifact-type", ARTIFACT, image, "sbom.json:application/json"]);
    let attached: Value = serde_json::from_slice(&run(&mut attach).await).unwrap();
    let artifact = attached["digest"].as_str().unwrap().to_owned();
    assert_eq!(fixture.referrers("oras/one", subject).await, [artifact.as_str()]);

    for (kind, expected) in [(ARTIFACT, vec![artifact.clone()]), ("application/other", vec![])] {
        let mut discover = remote(fixture, &["discover", "--format=json"]);
        let found = run(discover.args(["--artifact-type", kind, image])).await;
        let found: Value = serde_json::from_slice(&found).unwrap();
        assert_eq!(found["digest"], subject);
        assert_eq!(crate::fixture::digests(&found["referrers"]), expected);
    }

    let mut pull = remote(fixture, &["pull", "--no-tty", "--output=sbom"]);
    run(pull.arg(format!("{}@{artifact}", fixture.remote("oras/one")))).await;
    let pulled = fs::read(fixture.path("sbom/sbom.json")).unwrap();
    assert_eq!(pulled, fs::read(fixture.path("sbom.json")).unwrap());
    artifact
}

/// A command with the options for one registry.
fn remote(fixture: &Fixture, arguments: &[&str]) -> Command {
    let mut oras = oras(fixture, arguments);
    oras.args(fixture.plain("--plain-http")).args(fixture.trust("--ca-file"));
    oras
}

fn oras(fixture: &Fixture, arguments: &[&str]) -> Command {
    let mut oras = fixture.command("oras");
    oras.args(arguments);
    oras
}
