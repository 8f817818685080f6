//! `roadstead tag`: in a data directory, in this registry and in others.

use crate::images::{Data, IMAGE, digest, json_of, run, succeed};
use crate::plain::{Page, Plain};
use crate::served::Served;
use serde_json::json;

#[test]
fn a_manifest_gets_further_tags() {
    let data = Data::new();
    let manifest = data.image("team/app", Some("1.2.3"), &json!({}), &["layer"]);
    let said = succeed(&["tag", "--directory", data.text(), "team/app:1.2.3", "1.2", "latest"]);
    let expected = format!("team/app:1.2 is {0}\nteam/app:latest is {0}\n", digest(&manifest));
    assert_eq!(said, expected);
    assert_eq!(succeed(&["tags", "--directory", data.text(), "team/app"]), "1.2\n1.2.3\nlatest\n");
    assert_eq!(succeed(&["cat", "--directory", data.text(), "team/app:latest"]), manifest);
    let served = Served::start(data.path());
    let by_digest = format!("{}/team/app@{}", served.url(), digest(&manifest));
    let said = json_of(&["tag", &by_digest, "stable"]);
    let expected = json!({ "repository": "team/app", "digest": digest(&manifest),
        "mediaType": IMAGE, "tags": ["stable"] });
    assert_eq!(said, expected);
    assert_eq!(succeed(&["cat", "--directory", data.text(), "team/app:stable"]), manifest);
    let blobs = served.seen("GET /v2/team/app/blobs") + served.seen("POST");
    assert_eq!((served.seen("PUT"), blobs), (1, 0));
}

#[test]
fn another_registry_gets_the_same_bytes() {
    let manifest = format!("{{ \"mediaType\" : \"{IMAGE}\" }}\n");
    let kind = format!("{IMAGE}; charset=utf-8");
    let plain = Plain::start(&[
        ("/v2/app/manifests/v1", Page::new(&*manifest).with("Content-Type", &kind)),
        ("/v2/app/manifests/untyped", Page::new("{}")),
    ]);
    succeed(&["tag", &plain.at("/app:v1"), "v2"]);
    assert_eq!(succeed(&["cat", &plain.at("/app:v2")]), manifest);
    for (arguments, expected, said) in [
        (["/app:v1", "a/b"], 2, "roadstead cp"),
        (["/app:none", "v2"], 3, "no such tag"),
        (["/app:untyped", "v3"], 1, "media type"),
        (["/app", "v3"], 2, "name a tag or a digest"),
    ] {
        let (status, _, problem) = run(&["tag", &plain.at(arguments[0]), arguments[1]]);
        assert_eq!(status, expected, "{problem}");
        assert!(problem.contains(said), "{problem}");
    }
    assert_eq!(plain.seen("PUT"), ["PUT /v2/app/manifests/v2"]);
}

#[test]
fn what_was_made_before_a_problem_is_printed() {
    let manifest = json!({ "mediaType": IMAGE }).to_string();
    let plain = Plain::start(&[("/v2/app/manifests/v1", Page::new(&*manifest))]);
    let (status, output, problem) =
        run(&["tag", "-o", "json", &plain.at("/app:v1"), "v2", "refused", "v3"]);
    let said: serde_json::Value = serde_json::from_str(&output).unwrap();
    assert_eq!((status, &said["tags"]), (1, &json!(["v2"])));
    assert!(problem.contains("the tag refused was not made"), "{problem}");
    let (_, output, _) = run(&["tag", &plain.at("/app:v1"), "v2", "refused"]);
    assert_eq!(output, format!("app:v2 is {}\n", digest(&manifest)));
}
