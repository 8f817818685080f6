//! regctl: an index, and artifacts that refer to it.

use crate::bench::{Bench, digests};
use crate::image::{Layout, TAG};
use crate::program::{run, run_text};
use crate::report::Verdict;
use roadstead_tests::{PASSWORD, USER};
use serde_json::Value;
use std::fs;
use tokio::process::Command;

/// The artifact type of the attached file.
const ARTIFACT: &str = "application/vnd.example.report.v1";

pub async fn check(bench: &Bench) -> Verdict {
    let layout = bench.layout().await;
    let repository = bench.remote("regctl/one");
    let one = format!("{repository}:{TAG}");
    let two = bench.remote(&format!("regctl/two:{TAG}"));
    let mut set = regctl(bench);
    // Otherwise it would connect before it has credentials.
    set.args(["registry", "set", "--skip-check"]).args(bench.plain("--tls=disabled"));
    if let Some(file) = bench.authority() {
        set.arg("--cacert").arg(fs::read_to_string(file).unwrap());
    }
    run(set.arg(bench.address())).await;
    if bench.authority().is_some() {
        let mut login = regctl(bench);
        login.args(["registry", "login", "--user", USER, "--pass", PASSWORD, bench.address()]);
        run(&mut login).await;
    }
    let local = format!("ocidir://layout:{TAG}");
    run(regctl(bench).args(["image", "copy", &local, &one])).await;
    assert_eq!(bench.digest("regctl/one", TAG).await, layout.digest);
    assert_eq!(run_text(regctl(bench).args(["image", "digest", &one])).await, layout.digest);
    assert_eq!(run_text(regctl(bench).args(["tag", "ls", &repository])).await, TAG);

    fs::write(bench.path("report"), "nothing found").unwrap();
    let mut put = regctl(bench);
    put.args(["artifact", "put", "--artifact-type", ARTIFACT, "--file=report"]);
    run(put.args(["--subject", &one, "--format={{.Manifest.GetDescriptor.Digest}}"])).await;
    let mut list = regctl(bench);
    list.args(["artifact", "list", "--filter-artifact-type", ARTIFACT, "--format=body", &one]);
    let list: Value = serde_json::from_slice(&run(&mut list).await).unwrap();
    let artifacts = digests(&list["manifests"]);
    assert_eq!(artifacts.len(), 1, "{list}");
    assert_eq!(bench.referrers("regctl/one", &layout.digest).await, artifacts);
    let mut get = regctl(bench);
    get.args(["artifact", "get", "--subject", &one, "--filter-artifact-type", ARTIFACT]);
    assert_eq!(run_text(&mut get).await, "nothing found");

    run(regctl(bench).args(["image", "copy", "--referrers", &one, &two])).await;
    assert_eq!(bench.digest("regctl/two", TAG).await, layout.digest);
    assert_eq!(bench.referrers("regctl/two", &layout.digest).await, artifacts);
    let names = run_text(regctl(bench).args(["repo", "ls", bench.address()])).await;
    assert_eq!(names.lines().collect::<Vec<_>>(), ["regctl/one", "regctl/two"]);

    run(regctl(bench).args(["image", "copy", &two, &format!("ocidir://out:{TAG}")])).await;
    let pulled = Layout::open(&bench.path("out"));
    assert_eq!(pulled.digest, layout.digest);
    assert_eq!(pulled.digests(), layout.digests());

    // Deletes only the tag.
    run(regctl(bench).args(["tag", "rm", &one])).await;
    bench.check_gone("regctl/one", TAG).await;
    assert_eq!(bench.digest("regctl/one", &layout.digest).await, layout.digest);
    let by_digest = format!("{repository}@{}", layout.digest);
    run(regctl(bench).args(["manifest", "delete", &by_digest])).await;
    bench.check_gone("regctl/one", &layout.digest).await;
    assert_eq!(bench.digest("regctl/two", TAG).await, layout.digest);
    Ok(())
}

fn regctl(bench: &Bench) -> Command {
    bench.command("regctl")
}
