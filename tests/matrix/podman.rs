//! podman, with its own store.

use crate::bench::{Bench, LAYER};
use crate::image;
use crate::program::{run, run_text};
use crate::report::Verdict;
use serde_json::{Value, json};
use std::fs;
use tokio::process::Command;

/// Options to use neither the machine's locks nor its journal.
const SETTINGS: &str = "\
[engine]
lock_type = \"file\"
events_logger = \"file\"
cgroup_manager = \"cgroupfs\"
";

/// The option for plain HTTP.
const PLAIN: &str = "--tls-verify=false";

pub async fn check(bench: &Bench) -> Verdict {
    fs::write(bench.path("containers.conf"), SETTINGS).unwrap();
    let archive = bench.path("image.tar");
    image::tar(&archive, "file", LAYER, false).await;
    let one = bench.remote("podman/one:1");
    let two = bench.remote("podman/two:1");
    let id = run_text(podman(bench).arg("import").arg(&archive).arg(&one)).await;
    let id = id.trim_start_matches("sha256:").to_owned();
    bench.login(podman(bench).arg("login")).await;
    let digest = push(bench, &one).await;
    assert_eq!(bench.digest("podman/one", "1").await, digest);

    run(podman(bench).args(["rmi", "--all", "--force"])).await;
    assert_eq!(run_text(podman(bench).args(["images", "--quiet"])).await, "");
    let mut pull = podman(bench);
    let pulled = pull.args(["pull", "--quiet"]).args(bench.plain(PLAIN)).arg(&one);
    let pulled = run_text(pulled).await;
    assert_eq!(pulled, id);
    let mut inspect = podman(bench);
    inspect.args(["image", "inspect", "--format={{.Id}} {{.Digest}}", &one]);
    assert_eq!(run_text(&mut inspect).await, format!("{id} {digest}"));

    let mut search = podman(bench);
    search.arg("search").args(bench.plain(PLAIN)).args(["--list-tags", "--format=json"]);
    let found = run(search.arg(bench.remote("podman/one"))).await;
    let found: Value = serde_json::from_slice(&found).unwrap();
    assert_eq!(found[0]["Tags"], json!(["1"]));

    run(podman(bench).args(["tag", &one, &two])).await;
    assert_eq!(push(bench, &two).await, digest);
    assert_eq!(bench.digest("podman/two", "1").await, digest);
    Ok(())
}

/// Pushes an image; returns the digest that podman reports.
async fn push(bench: &Bench, image: &str) -> String {
    let digest = bench.path("digest");
    let mut push = podman(bench);
    push.arg("push").args(bench.plain(PLAIN)).arg("--digestfile").arg(&digest).arg(image);
    run(&mut push).await;
    fs::read_to_string(digest).unwrap()
}

fn podman(bench: &Bench) -> Command {
    let mut podman = bench.command("podman");
    podman
        .env("CONTAINERS_CONF", bench.path("containers.conf"))
        .arg("--root")
        .arg(bench.path("root"))
        .arg("--runroot")
        .arg(bench.path("run"))
        .arg("--tmpdir")
        .arg(bench.path("run/tmp"))
        // The simplest storage driver works everywhere.
        .args(["--storage-driver", "vfs"]);
    podman
}
