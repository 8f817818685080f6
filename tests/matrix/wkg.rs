//! wkg: the registry's own component as an artifact, as in docs/deploy-edge.md.

use crate::bench::Bench;
use crate::program::run;
use crate::report::Verdict;
use roadstead_tests::{PASSWORD, USER, digest};
use serde_json::Value;
use std::fs;
use tokio::process::Command;

pub async fn check(bench: &Bench) -> Verdict {
    let component = digest(roadstead::COMPONENT);
    fs::write(bench.path("roadstead.wasm"), roadstead::COMPONENT).unwrap();
    let reference = bench.remote("wkg/component:0.1.0");
    run(wkg(bench, "push").args([&reference, "roadstead.wasm"])).await;
    let answer = bench.get("/v2/wkg/component/manifests/0.1.0").await;
    let pushed: Value = serde_json::from_slice(answer.body()).unwrap();
    assert_eq!(pushed["config"]["mediaType"], "application/vnd.wasm.config.v0+json");
    assert_eq!(pushed["layers"][0]["mediaType"], "application/wasm");
    assert_eq!(pushed["layers"][0]["digest"], component.as_str());
    let manifest = bench.digest("wkg/component", "0.1.0").await;
    let by_digest = format!("{}@{manifest}", bench.remote("wkg/component"));
    for reference in [&reference, &by_digest] {
        run(wkg(bench, "pull").args([reference, "--output", "pulled.wasm"])).await;
        let pulled = bench.path("pulled.wasm");
        assert_eq!(digest(&fs::read(&pulled).unwrap()), component);
        fs::remove_file(pulled).unwrap();
    }
    println!("the component that wkg pushed and pulled: {component}");
    Ok(())
}

fn wkg(bench: &Bench, command: &str) -> Command {
    let mut wkg = bench.command("wkg");
    wkg.args(["oci", command]);
    match bench.authority() {
        None => wkg.args(["--insecure", bench.address()]),
        Some(_) => wkg.args(["-u", USER, "-p", PASSWORD]),
    };
    bench.trust_by("SSL_CERT_FILE", &mut wkg);
    wkg
}
