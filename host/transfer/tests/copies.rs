//! Single images that are copied.

use crate::commands::{block_on, filled, run, succeed, text};
use crate::content::Content;
use crate::local::LocalRegistry;
use crate::plain::{Page, Plain};
use crate::served::Served;
use bytes::Bytes;
use roadstead_kit::contract::sha256;
use roadstead_operator::registry::Registry as _;
use serde_json::{Value, json};
use std::path::Path;

fn json_of(arguments: &[&str]) -> Value {
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
    let said = json_of(&["cp", &source, &format!("{}/copy/app", to.url())]);
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
    let said = json_of(&["cp", "--referrers", &source, &format!("{}/copy/app:v2", to.url())]);
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
    let said = json_of(&["cp", &one, &other]);
    assert_eq!(figures(&said), [0, 4, 0, 3], "{said}");
    assert_eq!(served.seen("GET /v2/team/app/blobs"), 0);
    assert_eq!(served.seen("POST /v2/other/app/blobs/uploads/?mount=sha256:"), 4);
    // And in a directory.
    let said = json_of(&["cp", "--directory", text(&data), "team/app:v1", "third/app"]);
    assert_eq!(figures(&said), [0, 4, 0, 3], "{said}");
    assert_eq!(digest(&data, "third/app:v1"), Some(content.digest(3)));
    // Between directories, of which one is new.
    let new = root.path().join("new");
    let said = json_of(&["cp", "--from", text(&data), "--to", text(&new), "team/app:v1", "app"]);
    assert_eq!(figures(&said), [4, 0, 0, 3], "{said}");
    assert_eq!(digest(&new, "app:v1"), Some(content.digest(3)));
    let said =
        json_of(&["cp", "-n", "--from", text(&data), "--to", text(&new), "team/app:v1", "b"]);
    assert_eq!((figures(&said)[3], digest(&new, "b:v1")), (3, None));
}

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A registry with an index of two images, of which one is answered with a status. The first
/// digest is that of the index, the last that of this image.
fn with_a_broken_child(status: u16) -> (std::sync::Arc<Plain>, [String; 3]) {
    let image = |name: &str| {
        json!({ "schemaVersion": 2, "mediaType": IMAGE, "annotations": { "name": name },
            "config": { "mediaType": "application/x", "digest": sha256(b"{}"), "size": 2 },
            "layers": [] })
        .to_string()
    };
    let (whole, broken) = (image("whole"), image("broken"));
    let of = |text: &str| json!({ "mediaType": IMAGE, "digest": sha256(text.as_bytes()), "size": text.len() });
    let listed = [of(&whole), of(&broken)];
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": listed }).to_string();
    let digests = [&index, &whole, &broken].map(|it| sha256(it.as_bytes()).to_string());
    let manifest = |reference: &str| format!("/v2/app/manifests/{reference}");
    let typed = |text: &str, kind: &str| Page::new(text).with("Content-Type", kind);
    let plain = Plain::start(&[
        ("/v2/", Page::new("{}")),
        (&manifest("1"), typed(&index, INDEX)),
        (&manifest(&digests[0]), typed(&index, INDEX)),
        (&manifest(&digests[1]), typed(&whole, IMAGE)),
        (&manifest(&digests[2]), Page::status(status)),
        (&format!("/v2/app/blobs/{}", sha256(b"{}")), Page::new("{}")),
    ]);
    (plain, digests)
}

#[test]
fn nothing_is_pushed_of_an_image_that_cannot_be_read_whole() {
    let root = tempfile::tempdir().unwrap();
    let target = Served::start(root.path());
    let (plain, digests) = with_a_broken_child(500);
    for source in [":1".to_owned(), format!("@{}", digests[0])] {
        let source = format!("http://{}", plain.at(&format!("/app{source}")));
        let at = format!("{}/copy:x", target.url());
        let (status, output, problem) = run(&["cp", "-o", "json", &source, &at]);
        assert_eq!(status, 1, "{problem}");
        let said: Value = serde_json::from_str(&output).unwrap();
        assert_eq!((figures(&said), said["images"].as_array().unwrap().len()), ([0; 4], 2));
        let cause = said["images"][0].clone();
        assert_eq!(cause["image"], format!("app@{}", digests[2]));
        assert!(cause["problem"].as_str().unwrap().contains("500"), "{said}");
        let (_, _, problem) = run(&["cp", &source, &at]);
        assert!(problem.contains("500") && problem.contains(&digests[2]), "{problem}");
    }
    assert_eq!(target.seen("PUT") + target.seen("POST"), 0);
    assert_eq!(digest(root.path(), "copy:x"), None);
}

#[test]
fn what_an_index_lists_and_nobody_has_is_named() {
    let (plain, digests) = with_a_broken_child(404);
    let target = Plain::start(&[
        ("/v2/", Page::new("{}")),
        (&format!("/v2/copy/blobs/{}", sha256(b"{}")), Page::new("{}")),
    ]);
    let arguments = ["cp", &plain.at("/app:1"), &target.at("/copy")];
    let (status, output, problem) = run(&arguments);
    assert_eq!(status, 0, "{output}{problem}");
    let expected = format!("app@{}: an index lists it, and it is not there\n", digests[2]);
    assert_eq!(problem, expected);
    let expected = ["1", &digests[1]].map(|it| format!("PUT /v2/copy/manifests/{it}"));
    for line in expected {
        assert_eq!(target.seen(&line).len(), 1, "{line}");
    }
    let said = json_of(&[&arguments[..], &["--dry-run"]].concat());
    assert_eq!(said["absent"], json!([format!("app@{}", digests[2])]));
}

#[test]
fn blobs_that_are_there_are_neither_sent_nor_mounted() {
    let content = Content::new();
    let (_root, data) = filled(&content);
    let served = Served::start(&data);
    let at = |rest: &str| format!("{}/{rest}", served.url());
    let image = at(&format!("team/app@{}", content.digest(0)));
    assert_eq!(figures(&json_of(&["cp", &image, &at("other/app")])), [0, 2, 0, 1]);
    let said = json_of(&["cp", &at("team/app:v1"), &at("other/app")]);
    assert_eq!(figures(&said), [0, 2, 0, 2], "{said}");
    // A blob of an image that is not there itself.
    let signature = at(&format!("team/app@{}", content.digest(2)));
    let said = json_of(&["cp", "-n", &signature, &at("other/app:s")]);
    assert_eq!(figures(&said), [0, 1, 1, 1], "{said}");
    let said = json_of(&["cp", &signature, &at("other/app:s")]);
    assert_eq!(figures(&said), [0, 1, 1, 1], "{said}");
    assert_eq!(served.seen("POST"), 5);
}

#[test]
fn no_directory_is_made_by_mistake() {
    let (root, data) = filled(&Content::new());
    let (data, new) = (text(&data), root.path().join("new"));
    let new_text = text(&new);
    for arguments in [
        ["cp", "--directory", new_text, "team/app:v1", "copy"].as_slice(),
        &["cp", "--from", data, "--to", new_text, "team/app:none", "copy"],
        &["cp", "-n", "--from", data, "--to", new_text, "team/app:v1", "copy"],
    ] {
        assert_ne!(run(arguments).0, 0, "{arguments:?}");
        assert!(!new.exists(), "{arguments:?}");
    }
    succeed(&["cp", "--from", data, "--to", new_text, "team/app:v1", "copy"]);
    assert!(new.exists());
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
