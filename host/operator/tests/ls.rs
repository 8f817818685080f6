//! `roadstead ls`: in a data directory, of this registry and of others.

use crate::images::{Data, INDEX, json_of, run, succeed};
use crate::plain::{Page, Plain};
use crate::served::Served;
use serde_json::json;

/// A directory with repositories.
fn data() -> Data {
    let data = Data::new();
    for (number, name) in ["team/app", "team/app/base", "teams", "other"].iter().enumerate() {
        for tag in ["v1", "v2"].iter().take(number % 2 + 1) {
            let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [] });
            data.manifest(name, Some(tag), &index);
        }
    }
    data
}

#[test]
fn repositories_are_listed_and_filtered() {
    let data = data();
    let served = Served::start(data.path());
    let all = "other\nteam/app\nteam/app/base\nteams\n";
    for target in [data.text(), &served.url()] {
        assert_eq!(succeed(&["ls", target]), all, "{target}");
        assert_eq!(succeed(&["ls", target, "team"]), "team/app\nteam/app/base\n");
        assert_eq!(succeed(&["ls", target, "t*", "other"]), "other\nteams\n");
        assert_eq!(succeed(&["ls", target, "none"]), "");
    }
    assert_eq!(succeed(&["ls", &format!("{}/team", served.url())]), "team/app\nteam/app/base\n");
    assert_eq!(succeed(&["ls", "--directory", data.text(), "team/*"]), "team/app\n");
    let counted = succeed(&["ls", "--tags", data.text()]);
    assert_eq!(counted.lines().next(), Some("repository     tags"));
    assert_eq!(counted.lines().nth(3), Some("team/app/base     2"));
    let listed = json_of(&["ls", "--tags", data.text(), "team"]);
    let expected = json!({ "repositories": [
        { "name": "team/app", "tags": 1 }, { "name": "team/app/base", "tags": 2 },
    ] });
    assert_eq!(listed, expected);
    assert_eq!(
        json_of(&["ls", data.text(), "teams"]),
        json!({"repositories": [{"name": "teams"}]})
    );
}

#[test]
fn pages_of_another_registry_are_read_to_their_end() {
    let next = |link: &str| format!("<{link}>; rel=\"next\"");
    let catalog = |names: &[&str]| Page::new(json!({ "repositories": names }).to_string());
    let plain = Plain::start(&[
        ("/v2/_catalog?n=1000", catalog(&["b"]).with("Link", &next("/v2/_catalog?last=b"))),
        // It goes on where it began.
        (
            "/v2/_catalog?last=b",
            catalog(&["a\u{1b}[2J", "b"]).with("Link", &next("/v2/_catalog?last=b")),
        ),
        ("/v2/b/tags/list", Page::new(r#"{"name":"b","tags":null}"#)),
    ]);
    assert_eq!(succeed(&["ls", &plain.at("")]), "a?[2J\nb\n");
    assert_eq!(plain.seen("GET /v2/_catalog").len(), 2);
    let listed = succeed(&["ls", "--tags", &plain.at(""), "-o", "json"]);
    assert!(
        listed.contains(r#""name": "a\u001b[2J""#) && listed.contains(r#""tags": 0"#),
        "{listed}"
    );
}

#[test]
fn what_cannot_be_listed_is_explained() {
    let hub = Plain::start(&[]);
    let wrong = Plain::start(&[("/v2/_catalog", Page::new("<html>"))]);
    let cut = Plain::start(&[("/v2/_catalog", Page::new("{").of_length(100))]);
    let root = tempfile::tempdir().unwrap();
    let path = root.path().to_str().unwrap();
    for (arguments, expected, said) in [
        (vec!["ls"], 2, "--directory"),
        (vec!["ls", "team"], 2, "no registry, no directory"),
        (vec!["ls", &hub.at("")], 1, "does not list its repositories"),
        (vec!["ls", &wrong.at("")], 1, "the answer to GET /v2/_catalog"),
        (vec!["ls", &cut.at("")], 1, "too long"),
        (vec!["ls", &hub.at(""), "a["], 2, "no pattern"),
        (vec!["ls", path, "--user", "alice", "--password-stdin"], 2, "not for storages"),
        (vec!["ls", "--config", "/x.yml"], 1, "cannot read /x.yml"),
    ] {
        let (status, _, problem) = run(&arguments);
        assert_eq!(status, expected, "{arguments:?}: {problem}");
        assert!(problem.contains(said), "{problem}");
    }
}
