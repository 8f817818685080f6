//! Single images that are copied.

use crate::commands::{block_on, filled, run, succeed, text};
use crate::content::Content;
use crate::local::LocalRegistry;
use crate::served::Served;
use bytes::Bytes;
use roadstead_operator::registry::Registry as _;
use serde_json::Value;
use std::path::Path;

fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&succeed(&[arguments, &["--output", "json"]].concat())).unwrap()
}

fn figures(said: &Value) -> [u64; 4] {
    ["blobs", "mounted", "blobsThere", "manifests"].map(|name| said[name].as_u64().unwrap())
}

/// The digest that a reference leads to, if it is there.
fn digest(data: &Path, reference: &str) -> Option<String> {
    let registry = LocalRegistry::open(data);
    let (name, reference) = reference.split_once(['@', ':']).unwrap();
    let request = http::Request::head(format!("/v2/{name}/manifests/{reference}"));
    let answer = block_on(registry.request(request.body(Bytes::new()).unwrap(), 100)).unwrap();
    let digest = answer.header("docker-content-digest").map(str::to_owned);
    digest.filter(|_| answer.status == 200)
}

#[test]
fn an_index_is_copied_whole_and_with_its_referrers_if_that_is_asked_for() {
    let content = Content::new();
    let (root, data) = filled(&content);
    let target = root.path().join("target");
    std::fs::create_dir(&target).unwrap();
    let (from, to) = (Served::start(&data), Served::start(&target));
    let source = format!("{}/team/app:v1", from.url());
    // The index, its two images, and the blobs of these.
    let said = json(&["cp", &source, &format!("{}/copy/app", to.url())]);
    assert_eq!(
        (figures(&said), &said["images"][0]["image"]),
        ([4, 0, 0, 3], &"copy/app:v1".into())
    );
    assert_eq!(digest(&target, "copy/app:v1"), Some(content.digest(3)));
    for number in [0, 1] {
        assert!(digest(&target, &format!("copy/app@{}", content.digest(number))).is_some());
    }
    let signature = format!("copy/app@{}", content.digest(2));
    assert_eq!(digest(&target, &signature), None);
    let said = json(&["cp", "--referrers", &source, &format!("{}/copy/app:v2", to.url())]);
    assert_eq!(figures(&said)[3], 1, "{said}");
    assert!(digest(&target, &signature).is_some() && digest(&target, "copy/app:v2").is_some());
    // By its digest, an image gets a tag or none.
    let image = format!("{}/team/app@{}", from.url(), content.digest(0));
    for (name, tagged) in [("one/app", false), ("two/app:x", true)] {
        succeed(&["cp", "-q", &image, &format!("{}/{name}", to.url())]);
        let name = name.split(':').next().unwrap();
        assert!(digest(&target, &format!("{name}@{}", content.digest(0))).is_some());
        assert_eq!(digest(&target, &format!("{name}:x")).is_some(), tagged);
    }
}

#[test]
fn within_a_registry_everything_is_mounted() {
    let content = Content::new();
    let (root, data) = filled(&content);
    let served = Served::start(&data);
    let [one, other] = ["team/app:v1", "other/app:v2"].map(|it| format!("{}/{it}", served.url()));
    let said = json(&["cp", &one, &other]);
    assert_eq!(figures(&said), [0, 4, 0, 3], "{said}");
    assert_eq!(served.seen("GET /v2/team/app/blobs"), 0);
    assert_eq!(served.seen("POST /v2/other/app/blobs/uploads/?mount=sha256:"), 4);
    // And in a directory.
    let said = json(&["cp", "--directory", text(&data), "team/app:v1", "third/app"]);
    assert_eq!(figures(&said), [0, 4, 0, 3], "{said}");
    assert_eq!(digest(&data, "third/app:v1"), Some(content.digest(3)));
    // Between directories, of which one is new.
    let new = root.path().join("new");
    let said = json(&["cp", "--from", text(&data), "--to", text(&new), "team/app:v1", "app"]);
    assert_eq!(figures(&said), [4, 0, 0, 3], "{said}");
    assert_eq!(digest(&new, "app:v1"), Some(content.digest(3)));
    let said = json(&["cp", "-n", "--from", text(&data), "--to", text(&new), "team/app:v1", "b"]);
    assert_eq!((figures(&said)[3], digest(&new, "b:v1")), (3, None));
}

#[test]
fn mistakes_are_explained() {
    let (_root, data) = filled(&Content::new());
    let served = Served::start(&data);
    let at = |rest: &str| format!("{}/{rest}", served.url());
    let by_digest = at(&format!("x@sha256:{}", "0".repeat(64)));
    for (arguments, expected, said) in [
        (vec!["cp", &at("team/app:none"), &at("x")], 3, "there is no such image"),
        (vec!["cp", &at("team/app"), &at("x")], 2, "name a tag or a digest"),
        (vec!["cp", &at("team/app:v1"), &by_digest], 2, "give a tag, or none"),
        (vec!["cp", "team/app:v1", &at("x")], 2, "not a registry"),
        (
            vec!["cp", "--platform", "linux/s390x", &at("team/app:v1"), &at("x")],
            1,
            "no image of it is for",
        ),
        (vec!["cp", "--platform", "linux/s390x", &by_digest, &at("x")], 2, "for a tag"),
        (vec!["cp", "--from", "/nonexistent", "a:1", &at("x")], 2, "neither a data directory"),
    ] {
        let (status, _, problem) = run(&arguments);
        assert_eq!(status, expected, "{arguments:?}: {problem}");
        assert!(problem.contains(said), "{problem}");
    }
}
