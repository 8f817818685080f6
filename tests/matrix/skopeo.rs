//! skopeo: an index by its digests, between layouts and repositories.

use crate::fixture::Fixture;
use crate::report::Verdict;
use roadstead_tests::image::{self, Layout, TAG};
use roadstead_tests::program::{run, run_text};
use serde_json::{Value, json};
use tokio::process::Command;

/// The option of most commands for plain HTTP.
const PLAIN: &str = "--tls-verify=false";

pub async fn check(fixture: &Fixture) -> Verdict {
    let layout = fixture.layout().await;
    let one = format!("docker://{}:{TAG}", fixture.remote("skopeo/one"));
    let two = format!("docker://{}:{TAG}", fixture.remote("skopeo/two"));
    fixture.login(skopeo(fixture).arg("login")).await;
    run(&mut copy(fixture, &layout.reference(), &one)).await;
    assert_eq!(fixture.digest("skopeo/one", TAG).await, layout.digest);

    let repository = format!("docker://{}", fixture.remote("skopeo/one"));
    let mut list = skopeo(fixture);
    list.arg("list-tags").args(fixture.plain(PLAIN)).arg(&repository);
    let tags = run(&mut list).await;
    let tags: Value = serde_json::from_slice(&tags).unwrap();
    assert_eq!(tags["Tags"], json!([TAG]));
    let mut inspect = skopeo(fixture);
    inspect.arg("inspect").args(fixture.plain(PLAIN)).args(["--format={{.Digest}}", &one]);
    assert_eq!(run_text(&mut inspect).await, layout.digest);

    run(&mut copy(fixture, &one, &two)).await;
    assert_eq!(fixture.digest("skopeo/two", TAG).await, layout.digest);
    let out = fixture.path("out");
    run(&mut copy(fixture, &two, &image::reference(&out))).await;
    let copied = Layout::open(&out);
    assert_eq!(copied.digest, layout.digest);
    assert_eq!(copied.digests(), layout.digests());

    // By the tag's digest.
    run(skopeo(fixture).arg("delete").args(fixture.plain(PLAIN)).arg(&one)).await;
    fixture.check_gone("skopeo/one", TAG).await;
    fixture.check_gone("skopeo/one", &layout.digest).await;
    assert_eq!(fixture.digest("skopeo/two", TAG).await, layout.digest);
    Ok(())
}

fn skopeo(fixture: &Fixture) -> Command {
    let mut skopeo = fixture.command("skopeo");
    skopeo.arg("--insecure-policy");
    skopeo
}

fn copy(fixture: &Fixture, from: &str, to: &str) -> Command {
    let mut skopeo = skopeo(fixture);
    skopeo.args(["copy", "--all", "--preserve-digests"]);
    let plain = ["--src-tls-verify=false", "--dest-tls-verify=false"];
    skopeo.args(plain.iter().filter_map(|option| fixture.plain(option))).args([from, to]);
    skopeo
}
