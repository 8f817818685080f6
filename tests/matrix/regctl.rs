//! regctl: an index, and artifacts that refer to it.

use crate::fixture::{Fixture, digests};
use crate::report::Verdict;
use roadstead_tests::image::{Layout, TAG};
use roadstead_tests::program::{run, run_text};
use roadstead_tests::{PASSWORD, USER};
use serde_json::Value;
use std::fs;
use tokio::process::Command;

/// The artifact type of the attached file.
const ARTIFACT: &str = "application/vnd.example.report.v1";

pub async fn check(fixture: &Fixture) -> Verdict {
    let layout = fixture.layout().await;
    let repository = fixture.remote("regctl/one");
    let one = format!("{repository}:{TAG}");
    let two = fixture.remote(&format!("regctl/two:{TAG}"));
    let mut set = regctl(fixture);
    // Otherwise it would connect before it has credentials.
    set.args(["registry", "set", "--skip-check"]).args(fixture.plain("--tls=disabled"));
    if let Some(file) = fixture.authority() {
        set.arg("--cacert").arg(fs::read_to_string(file).unwrap());
    }
    run(set.arg(fixture.address())).await;
    if fixture.authority().is_some() {
        let mut login = regctl(fixture);
        login.args(["registry", "login", "--user", USER, "--pass", PASSWORD, fixture.address()]);
        run(&mut login).await;
    }
    let local = format!("ocidir://layout:{TAG}");
    run(regctl(fixture).args(["image", "copy", &local, &one])).await;
    assert_eq!(fixture.digest("regctl/one", TAG).await, layout.digest);
    assert_eq!(run_text(regctl(fixture).args(["image", "digest", &one])).await, layout.digest);
    assert_eq!(run_text(regctl(fixture).args(["tag", "ls", &repository])).await, TAG);

    fs::write(fixture.path("report"), "nothing found").unwrap();
    let mut put = regctl(fixture);
    put.args(["artifact", "put", "--artifact-type", ARTIFACT, "--file=report"]);
    run(put.args(["--subject", &one, "--format={{.Manifest.GetDescriptor.Digest}}"])).await;
    let mut list = regctl(fixture);
    list.args(["artifact", "list", "--filter-artifact-type", ARTIFACT, "--format=body", &one]);
    let list: Value = serde_json::from_slice(&run(&mut list).await).unwrap();
    let artifacts = digests(&list["manifests"]);
    assert_eq!(artifacts.len(), 1, "{list}");
    assert_eq!(fixture.referrers("regctl/one", &layout.digest).await, artifacts);
    let mut get = regctl(fixture);
    get.args(["artifact", "get", "--subject", &one, "--filter-artifact-type", ARTIFACT]);
    assert_eq!(run_text(&mut get).await, "nothing found");

    run(regctl(fixture).args(["image", "copy", "--referrers", &one, &two])).await;
    assert_eq!(fixture.digest("regctl/two", TAG).await, layout.digest);
    assert_eq!(fixture.referrers("regctl/two", &layout.digest).await, artifacts);
    let names = run_text(regctl(fixture).args(["repo", "ls", fixture.address()])).await;
    assert_eq!(names.lines().collect::<Vec<_>>(), ["regctl/one", "regctl/two"]);

    run(regctl(fixture).args(["image", "copy", &two, &format!("ocidir://out:{TAG}")])).await;
    let pulled = Layout::open(&fixture.path("out"));
    assert_eq!(pulled.digest, layout.digest);
    assert_eq!(pulled.digests(), layout.digests());

    // Deletes only the tag.
    run(regctl(fixture).args(["tag", "rm", &one])).await;
    fixture.check_gone("regctl/one", TAG).await;
    assert_eq!(fixture.digest("regctl/one", &layout.digest).await, layout.digest);
    let by_digest = format!("{repository}@{}", layout.digest);
    run(regctl(fixture).args(["manifest", "delete", &by_digest])).await;
    fixture.check_gone("regctl/one", &layout.digest).await;
    assert_eq!(fixture.digest("regctl/two", TAG).await, layout.digest);
    Ok(())
}

fn regctl(fixture: &Fixture) -> Command {
    fixture.command("regctl")
}
