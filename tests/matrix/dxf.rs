//! python-dxf: blobs, and aliases of them.

use crate::fixture::{Fixture, LAYER};
use crate::report::Verdict;
use http::StatusCode;
use roadstead_tests::image::{self, file_digest};
use roadstead_tests::program::{run, run_text};
use roadstead_tests::{PASSWORD, USER, digest};
use tokio::process::Command;

pub async fn check(fixture: &Fixture) -> Verdict {
    let archive = fixture.path("file.tar");
    image::tar(&archive, "file", LAYER, false).await;
    let blob = file_digest(&archive);
    let pushed = run_text(dxf(fixture, "push-blob").arg("dxf/one").arg(&archive)).await;
    assert_eq!(pushed, blob);
    let size = run_text(dxf(fixture, "blob-size").args(["dxf/one", &blob])).await;
    assert_eq!(size, archive.metadata().unwrap().len().to_string());
    let pulled = run(dxf(fixture, "pull-blob").args(["dxf/one", &blob])).await;
    assert_eq!(digest(&pulled), blob);

    // An alias is a manifest with the blob as its layer.
    run(dxf(fixture, "set-alias").args(["dxf/one", "alias", &blob])).await;
    assert_eq!(run_text(dxf(fixture, "get-alias").args(["dxf/one", "alias"])).await, blob);
    assert_eq!(run_text(dxf(fixture, "list-aliases").arg("dxf/one")).await, "alias");
    assert_eq!(fixture.tags("dxf/one").await, ["alias"]);
    assert_eq!(run_text(&mut dxf(fixture, "list-repos")).await, "dxf/one");

    run(dxf(fixture, "mount-blob").args(["dxf/two", "dxf/one", &blob])).await;
    run(dxf(fixture, "del-alias").args(["dxf/one", "alias"])).await;
    fixture.check_gone("dxf/one", "alias").await;
    run(dxf(fixture, "del-blob").args(["dxf/one", &blob])).await;
    let status = |name: &str| format!("/v2/{name}/blobs/{blob}");
    assert_eq!(fixture.get(&status("dxf/one")).await.status(), StatusCode::NOT_FOUND);
    let kept = fixture.get(&status("dxf/two")).await;
    if fixture.mode.is_bucket() {
        // The registry has the blob already.
        assert_eq!(kept.status(), StatusCode::TEMPORARY_REDIRECT);
    } else {
        assert_eq!(kept.status(), StatusCode::OK);
        assert_eq!(digest(kept.body()), blob);
    }
    Ok(())
}

fn dxf(fixture: &Fixture, command: &str) -> Command {
    let mut dxf = fixture.command("dxf");
    for name in ["DXF_USERNAME", "DXF_PASSWORD", "DXF_AUTHORIZATION", "DXF_TOKEN", "DXF_INSECURE"] {
        dxf.env_remove(name);
    }
    dxf.env("DXF_HOST", fixture.address()).arg(command);
    match fixture.authority() {
        None => dxf.env("DXF_INSECURE", "1"),
        Some(file) => {
            dxf.env("DXF_TLSVERIFY", file).env("DXF_USERNAME", USER).env("DXF_PASSWORD", PASSWORD)
        }
    };
    dxf
}
