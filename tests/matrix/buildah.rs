//! buildah, with its own store: an image that it builds, and a manifest list.

use crate::bench::{Bench, LAYER};
use crate::image;
use crate::program::{run, run_text};
use crate::report::Verdict;
use serde_json::Value;
use std::fs;
use tokio::process::Command;

/// The option for plain HTTP.
const PLAIN: &str = "--tls-verify=false";

pub async fn check(bench: &Bench) -> Verdict {
    let archive = bench.path("image.tar");
    image::tar(&archive, "file", LAYER, false).await;
    let one = bench.remote("buildah/one:1");
    let two = bench.remote("buildah/two:1");
    let container = run_text(buildah(bench).args(["from", "scratch"])).await;
    run(buildah(bench).args(["add", &container]).arg(&archive)).await;
    let mut commit = buildah(bench);
    let id = run_text(commit.args(["commit", "--quiet", "--rm", &container, &one])).await;
    bench.login(buildah(bench).arg("login")).await;
    let digest = push(bench, &["push"], &one, &one).await;
    assert_eq!(bench.digest("buildah/one", "1").await, digest);

    run(buildah(bench).args(["rmi", "--all", "--force"])).await;
    assert_eq!(run_text(buildah(bench).args(["images", "--quiet"])).await, "");
    let mut pull = buildah(bench);
    let pulled = pull.args(["pull", "--quiet"]).args(bench.plain(PLAIN)).arg(&one);
    let pulled = run_text(pulled).await;
    assert_eq!(pulled, id);

    assert_eq!(push(bench, &["push"], &one, &two).await, digest);
    assert_eq!(bench.digest("buildah/two", "1").await, digest);

    // The list is new; everything that it references is in the repository.
    run(buildah(bench).args(["manifest", "create", "list"])).await;
    let mut add = buildah(bench);
    add.args(["manifest", "add"]).args(bench.plain(PLAIN));
    add.args(["list", &format!("docker://{one}")]);
    run(&mut add).await;
    let list = bench.remote("buildah/one:list");
    let list = push(bench, &["manifest", "push", "--all"], "list", &list).await;
    assert_eq!(bench.digest("buildah/one", "list").await, list);
    let stored = bench.get("/v2/buildah/one/manifests/list").await;
    let stored: Value = serde_json::from_slice(stored.body()).unwrap();
    assert_eq!(crate::bench::digests(&stored["manifests"]), [digest]);
    assert_eq!(bench.tags("buildah/one").await, ["1", "list"]);
    Ok(())
}

/// Pushes an image; returns the digest that buildah reports.
async fn push(bench: &Bench, how: &[&str], image: &str, to: &str) -> String {
    let digest = bench.path("digest");
    let mut push = buildah(bench);
    push.args(how).args(bench.plain(PLAIN)).arg("--digestfile").arg(&digest);
    run(push.args([image, &format!("docker://{to}")])).await;
    fs::read_to_string(digest).unwrap()
}

fn buildah(bench: &Bench) -> Command {
    let mut buildah = bench.command("buildah");
    buildah
        .arg("--root")
        .arg(bench.path("root"))
        .arg("--runroot")
        .arg(bench.path("run"))
        // The simplest storage driver works everywhere.
        .args(["--storage-driver", "vfs"]);
    buildah
}
