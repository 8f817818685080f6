//! `roadstead ls`: in a data directory, of this registry and of others.

use crate::images::{Data, INDEX, json_of, run, succeed};
use crate::plain::{Page, Plain};
use crate::served::Served;
use serde_json::json;
use std::fs;

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
fn repositories_with_what_they_hold() {
    let data = Data::new();
    let text = data.image("team/app", Some("v1"), &json!({ "os": "linux" }), &["layer"]);
    let size = text.len() + "layer".len() + json!({ "os": "linux" }).to_string().len();
    // More than are in one answer.
    for number in 0..101 {
        let place = format!("docker/registry/v2/repositories/other/{number:03}/_manifests");
        fs::create_dir_all(data.path().join(place)).unwrap();
    }
    let served = Served::start(data.path());
    for target in [data.text(), &served.url()] {
        let listed = json_of(&["ls", "-l", target]);
        let listed = listed["repositories"].as_array().unwrap();
        assert_eq!(listed.len(), 102);
        assert_eq!(listed[0], json!({ "name": "other/000", "tags": 0, "size": 0 }));
        assert_eq!(
            (&listed[101]["name"], &listed[101]["tags"], &listed[101]["size"]),
            (&json!("team/app"), &json!(1), &json!(size))
        );
        assert!(listed[101]["pushed"].as_str().unwrap().starts_with("20"));
        let table = succeed(&["ls", "--long", target, "team/*"]);
        assert!(table.starts_with("repository  tags"), "{table}");
        assert_eq!(table.lines().count(), 2);
        assert!(table.lines().nth(1).unwrap().contains(&format!("{size} bytes  20")), "{table}");
    }
    // Two pages, and one of the names that have `team/` in them.
    assert_eq!(served.seen("GET /v2/_roadstead/repositories"), 3);
    assert_eq!(served.seen("GET /v2/_catalog") + served.seen("GET /v2/team/app/tags"), 0);
}

#[test]
fn another_registry_says_less_of_what_repositories_hold() {
    let catalog = Page::new(r#"{"repositories":["a"]}"#);
    let tags = Page::new(r#"{"tags":["v1","v2"]}"#);
    let own = |body: &str| ("/v2/_roadstead/repositories?n=100&q=", Page::new(body.to_owned()));
    for first in [
        ("/v2/_roadstead/other", Page::new("")),
        ("/v2/_roadstead/repositories?n=100&q=", Page::status(403)),
        // Of a version that is not known, and no answer of a registry at all.
        own(r#"{"version":2,"entries":[],"next":null}"#),
        own("<html>"),
    ] {
        let pages = [first, ("/v2/_catalog", catalog.clone()), ("/v2/a/tags/list", tags.clone())];
        let plain = Plain::start(&pages);
        assert_eq!(
            json_of(&["ls", "-l", &plain.at("")]),
            json!({ "repositories": [{ "name": "a", "tags": 2 }] })
        );
        let table = succeed(&["ls", "-l", &plain.at("")]);
        assert_eq!(table.lines().nth(1), Some("a              2     -  -"));
    }
    let first = r#"{"version":1,"entries":[{"kind":"repository","name":"a","tags":1,"size":null,"pushed":null,"complete":false}],"next":"a"}"#;
    let plain = Plain::start(&[own(first)]);
    let (status, _, problem) = run(&["ls", "-l", &plain.at("")]);
    assert_eq!((status, problem.contains("is no page of the list")), (1, true), "{problem}");
    // One that never ends.
    let second = ("/v2/_roadstead/repositories?n=100&q=&last=a", Page::new(first.to_owned()));
    let plain = Plain::start(&[own(first), second]);
    assert_eq!(run(&["ls", "-l", &plain.at("")]).0, 1);
    assert_eq!(plain.seen("GET /v2/_roadstead").len(), 2);
    let whole = first.replace(r#""next":"a""#, r#""next":null"#);
    let plain = Plain::start(&[own(&whole)]);
    let table = succeed(&["ls", "-l", &plain.at("")]);
    assert_eq!(table.lines().nth(1), Some("a              1     -  -"));
    assert_eq!(json_of(&["ls", "-l", &plain.at("")])["repositories"][0]["incomplete"], true);
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
