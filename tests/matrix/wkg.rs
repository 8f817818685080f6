//! wkg: the registry's own component as an artifact, as in docs/deploy-edge.md.

use crate::fixture::Fixture;
use crate::report::Verdict;
use roadstead_tests::program::run;
use roadstead_tests::{PASSWORD, USER, digest};
use serde_json::Value;
use std::fs;
use tokio::process::Command;

pub async fn check(fixture: &Fixture) -> Verdict {
    let component = digest(roadstead_embedded::COMPONENT);
    fs::write(fixture.path("roadstead.wasm"), roadstead_embedded::COMPONENT).unwrap();
    let reference = fixture.remote("wkg/component:0.1.0");
    run(wkg(fixture, "push").args([&reference, "roadstead.wasm"])).await;
    let answer = fixture.get("/v2/wkg/component/manifests/0.1.0").await;
    let pushed: Value = serde_json::from_slice(answer.body()).unwrap();
    assert_eq!(pushed["config"]["mediaType"], "application/vnd.wasm.config.v0+json");
    assert_eq!(pushed["layers"][0]["mediaType"], "application/wasm");
    assert_eq!(pushed["layers"][0]["digest"], component.as_str());
    let manifest = fixture.digest("wkg/component", "0.1.0").await;
    let by_digest = format!("{}@{manifest}", fixture.remote("wkg/component"));
    for reference in [&reference, &by_digest] {
        run(wkg(fixture, "pull").args([reference, "--output", "pulled.wasm"])).await;
        let pulled = fixture.path("pulled.wasm");
        assert_eq!(digest(&fs::read(&pulled).unwrap()), component);
        fs::remove_file(pulled).unwrap();
    }
    println!("the component that wkg pushed and pulled: {component}");
    Ok(())
}

fn wkg(fixture: &Fixture, command: &str) -> Command {
    let mut wkg = fixture.command("wkg");
    wkg.args(["oci", command]);
    match fixture.authority() {
        None => wkg.args(["--insecure", fixture.address()]),
        Some(_) => wkg.args(["-u", USER, "-p", PASSWORD]),
    };
    fixture.trust_by("SSL_CERT_FILE", &mut wkg);
    wkg
}
