//! python-dxf: blobs, and aliases of them.

use crate::bench::{Bench, LAYER};
use crate::image::{self, file_digest};
use crate::program::{run, run_text};
use crate::report::Verdict;
use http::StatusCode;
use roadstead_tests::{PASSWORD, USER, digest};
use tokio::process::Command;

pub async fn check(bench: &Bench) -> Verdict {
    let archive = bench.path("file.tar");
    image::tar(&archive, "file", LAYER, false).await;
    let blob = file_digest(&archive);
    let pushed = run_text(dxf(bench, "push-blob").arg("dxf/one").arg(&archive)).await;
    assert_eq!(pushed, blob);
    let size = run_text(dxf(bench, "blob-size").args(["dxf/one", &blob])).await;
    assert_eq!(size, archive.metadata().unwrap().len().to_string());
    let pulled = run(dxf(bench, "pull-blob").args(["dxf/one", &blob])).await;
    assert_eq!(digest(&pulled), blob);

    // An alias is a manifest with the blob as its layer.
    run(dxf(bench, "set-alias").args(["dxf/one", "alias", &blob])).await;
    assert_eq!(run_text(dxf(bench, "get-alias").args(["dxf/one", "alias"])).await, blob);
    assert_eq!(run_text(dxf(bench, "list-aliases").arg("dxf/one")).await, "alias");
    assert_eq!(bench.tags("dxf/one").await, ["alias"]);
    assert_eq!(run_text(&mut dxf(bench, "list-repos")).await, "dxf/one");

    run(dxf(bench, "mount-blob").args(["dxf/two", "dxf/one", &blob])).await;
    run(dxf(bench, "del-alias").args(["dxf/one", "alias"])).await;
    bench.check_gone("dxf/one", "alias").await;
    run(dxf(bench, "del-blob").args(["dxf/one", &blob])).await;
    let status = |name: &str| format!("/v2/{name}/blobs/{blob}");
    assert_eq!(bench.get(&status("dxf/one")).await.status(), StatusCode::NOT_FOUND);
    let kept = bench.get(&status("dxf/two")).await;
    if bench.mode.is_bucket() {
        // The registry has the blob already.
        assert_eq!(kept.status(), StatusCode::TEMPORARY_REDIRECT);
    } else {
        assert_eq!(kept.status(), StatusCode::OK);
        assert_eq!(digest(kept.body()), blob);
    }
    Ok(())
}

fn dxf(bench: &Bench, command: &str) -> Command {
    let mut dxf = bench.command("dxf");
    for name in ["DXF_USERNAME", "DXF_PASSWORD", "DXF_AUTHORIZATION", "DXF_TOKEN", "DXF_INSECURE"] {
        dxf.env_remove(name);
    }
    dxf.env("DXF_HOST", bench.address()).arg(command);
    match bench.authority() {
        None => dxf.env("DXF_INSECURE", "1"),
        Some(file) => {
            dxf.env("DXF_TLSVERIFY", file).env("DXF_USERNAME", USER).env("DXF_PASSWORD", PASSWORD)
        }
    };
    dxf
}
