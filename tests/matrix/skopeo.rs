//! skopeo: an index by its digests, between layouts and repositories.

use crate::bench::Bench;
use crate::image::{self, Layout, TAG};
use crate::program::{run, run_text};
use crate::report::Verdict;
use serde_json::{Value, json};
use tokio::process::Command;

/// The option of most commands for plain HTTP.
const PLAIN: &str = "--tls-verify=false";

pub async fn check(bench: &Bench) -> Verdict {
    let layout = bench.layout().await;
    let one = format!("docker://{}:{TAG}", bench.remote("skopeo/one"));
    let two = format!("docker://{}:{TAG}", bench.remote("skopeo/two"));
    bench.login(skopeo(bench).arg("login")).await;
    run(&mut copy(bench, &layout.reference(), &one)).await;
    assert_eq!(bench.digest("skopeo/one", TAG).await, layout.digest);

    let repository = format!("docker://{}", bench.remote("skopeo/one"));
    let mut list = skopeo(bench);
    list.arg("list-tags").args(bench.plain(PLAIN)).arg(&repository);
    let tags = run(&mut list).await;
    let tags: Value = serde_json::from_slice(&tags).unwrap();
    assert_eq!(tags["Tags"], json!([TAG]));
    let mut inspect = skopeo(bench);
    inspect.arg("inspect").args(bench.plain(PLAIN)).args(["--format={{.Digest}}", &one]);
    assert_eq!(run_text(&mut inspect).await, layout.digest);

    run(&mut copy(bench, &one, &two)).await;
    assert_eq!(bench.digest("skopeo/two", TAG).await, layout.digest);
    let out = bench.path("out");
    run(&mut copy(bench, &two, &image::reference(&out))).await;
    let copied = Layout::open(&out);
    assert_eq!(copied.digest, layout.digest);
    assert_eq!(copied.digests(), layout.digests());

    // By the tag's digest.
    run(skopeo(bench).arg("delete").args(bench.plain(PLAIN)).arg(&one)).await;
    bench.check_gone("skopeo/one", TAG).await;
    bench.check_gone("skopeo/one", &layout.digest).await;
    assert_eq!(bench.digest("skopeo/two", TAG).await, layout.digest);
    Ok(())
}

fn skopeo(bench: &Bench) -> Command {
    let mut skopeo = bench.command("skopeo");
    skopeo.arg("--insecure-policy");
    skopeo
}

fn copy(bench: &Bench, from: &str, to: &str) -> Command {
    let mut skopeo = skopeo(bench);
    skopeo.args(["copy", "--all", "--preserve-digests"]);
    let plain = ["--src-tls-verify=false", "--dest-tls-verify=false"];
    skopeo.args(plain.iter().filter_map(|option| bench.plain(option))).args([from, to]);
    skopeo
}
