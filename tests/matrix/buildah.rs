//! buildah, with its own store: an image that it builds, and a manifest list.

use crate::fixture::{Fixture, LAYER};
use crate::report::Verdict;
use roadstead_tests::image;
use roadstead_tests::program::{run, run_text};
use serde_json::Value;
use std::fs;
use tokio::process::Command;

/// The option for plain HTTP.
const PLAIN: &str = "--tls-verify=false";

pub async fn check(fixture: &Fixture) -> Verdict {
    let archive = fixture.path("image.tar");
    image::tar(&archive, "file", LAYER, false).await;
    let one = fixture.remote("buildah/one:1");
    let two = fixture.remote("buildah/two:1");
    let container = run_text(buildah(fixture).args(["from", "scratch"])).await;
    run(buildah(fixture).args(["add", &container]).arg(&archive)).await;
    let mut commit = buildah(fixture);
    let id = run_text(commit.args(["commit", "--quiet", "--rm", &container, &one])).await;
    fixture.login(buildah(fixture).arg("login")).await;
    let digest = push(fixture, &["push"], &one, &one).await;
    assert_eq!(fixture.digest("buildah/one", "1").await, digest);

    run(buildah(fixture).args(["rmi", "--all", "--force"])).await;
    assert_eq!(run_text(buildah(fixture).args(["images", "--quiet"])).await, "");
    let mut pull = buildah(fixture);
    let pulled = pull.args(["pull", "--quiet"]).args(fixture.plain(PLAIN)).arg(&one);
    let pulled = run_text(pulled).await;
    assert_eq!(pulled, id);

    assert_eq!(push(fixture, &["push"], &one, &two).await, digest);
    assert_eq!(fixture.digest("buildah/two", "1").await, digest);

    // The list is new; everything that it references is in the repository.
    run(buildah(fixture).args(["manifest", "create", "list"])).await;
    let mut add = buildah(fixture);
    add.args(["manifest", "add"]).args(fixture.plain(PLAIN));
    add.args(["list", &format!("docker://{one}")]);
    run(&mut add).await;
    let list = fixture.remote("buildah/one:list");
    let list = push(fixture, &["manifest", "push", "--all"], "list", &list).await;
    assert_eq!(fixture.digest("buildah/one", "list").await, list);
    let stored = fixture.get("/v2/buildah/one/manifests/list").await;
    let stored: Value = serde_json::from_slice(stored.body()).unwrap();
    assert_eq!(crate::fixture::digests(&stored["manifests"]), [digest]);
    assert_eq!(fixture.tags("buildah/one").await, ["1", "list"]);
    Ok(())
}

/// Pushes an image; returns the digest that buildah reports.
async fn push(fixture: &Fixture, how: &[&str], image: &str, to: &str) -> String {
    let digest = fixture.path("digest");
    let mut push = buildah(fixture);
    push.args(how).args(fixture.plain(PLAIN)).arg("--digestfile").arg(&digest);
    run(push.args([image, &format!("docker://{to}")])).await;
    fs::read_to_string(digest).unwrap()
}

fn buildah(fixture: &Fixture) -> Command {
    let mut buildah = fixture.command("buildah");
    buildah
        .arg("--root")
        .arg(fixture.path("root"))
        .arg("--runroot")
        .arg(fixture.path("run"))
        // The simplest storage driver works everywhere.
        .args(["--storage-driver", "vfs"]);
    buildah
}
