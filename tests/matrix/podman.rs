//! podman, with its own store.

use crate::fixture::{Fixture, LAYER};
use crate::report::Verdict;
use roadstead_tests::image;
use roadstead_tests::program::{run, run_text};
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

pub async fn check(fixture: &Fixture) -> Verdict {
    fs::write(fixture.path("containers.conf"), SETTINGS).unwrap();
    let archive = fixture.path("image.tar");
    image::tar(&archive, "file", LAYER, false).await;
    let one = fixture.remote("podman/one:1");
    let two = fixture.remote("podman/two:1");
    let id = run_text(podman(fixture).arg("import").arg(&archive).arg(&one)).await;
    let id = id.trim_start_matches("sha256:").to_owned();
    fixture.login(podman(fixture).arg("login")).await;
    let digest = push(fixture, &one).await;
    assert_eq!(fixture.digest("podman/one", "1").await, digest);

    run(podman(fixture).args(["rmi", "--all", "--force"])).await;
    assert_eq!(run_text(podman(fixture).args(["images", "--quiet"])).await, "");
    let mut pull = podman(fixture);
    let pulled = pull.args(["pull", "--quiet"]).args(fixture.plain(PLAIN)).arg(&one);
    let pulled = run_text(pulled).await;
    assert_eq!(pulled, id);
    let mut inspect = podman(fixture);
    inspect.args(["image", "inspect", "--format={{.Id}} {{.Digest}}", &one]);
    assert_eq!(run_text(&mut inspect).await, format!("{id} {digest}"));

    let mut search = podman(fixture);
    search.arg("search").args(fixture.plain(PLAIN)).args(["--list-tags", "--format=json"]);
    let found = run(search.arg(fixture.remote("podman/one"))).await;
    let found: Value = serde_json::from_slice(&found).unwrap();
    assert_eq!(found[0]["Tags"], json!(["1"]));

    run(podman(fixture).args(["tag", &one, &two])).await;
    assert_eq!(push(fixture, &two).await, digest);
    assert_eq!(fixture.digest("podman/two", "1").await, digest);
    Ok(())
}

/// Pushes an image; returns the digest that podman reports.
async fn push(fixture: &Fixture, image: &str) -> String {
    let digest = fixture.path("digest");
    let mut push = podman(fixture);
    push.arg("push").args(fixture.plain(PLAIN)).arg("--digestfile").arg(&digest).arg(image);
    run(&mut push).await;
    fs::read_to_string(digest).unwrap()
}

fn podman(fixture: &Fixture) -> Command {
    let mut podman = fixture.command("podman");
    podman
        .env("CONTAINERS_CONF", fixture.path("containers.conf"))
        .arg("--root")
        .arg(fixture.path("root"))
        .arg("--runroot")
        .arg(fixture.path("run"))
        .arg("--tmpdir")
        .arg(fixture.path("run/tmp"))
        // The simplest storage driver works everywhere.
        .args(["--storage-driver", "vfs"]);
    podman
}
