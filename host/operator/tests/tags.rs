//! `roadstead tags`: in a data directory, of this registry and of others.

use crate::images::{Data, IMAGE, INDEX, digest, json_of, of, run, succeed};
use crate::plain::{Page, Plain};
use crate::served::Served;
use roadstead_operator::terminal::Screen;
use serde_json::json;

#[test]
fn tags_are_sorted_and_filtered() {
    let data = Data::new();
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [] });
    let mut text = String::new();
    for tag in ["1.10", "1.9", "latest", "2.0", "2.0-rc1"] {
        text = data.manifest("team/app", Some(tag), &index);
    }
    let served = Served::start(data.path());
    let in_registry = format!("{}/team/app", served.url());
    for at in [&["--directory", data.text(), "team/app"][..], &[&in_registry]] {
        let tags = |arguments: &[&str]| succeed(&[&["tags"], at, arguments].concat());
        assert_eq!(tags(&[]), "1.10\n1.9\n2.0\n2.0-rc1\nlatest\n");
        assert_eq!(tags(&["--sort", "version"]), "1.9\n1.10\n2.0-rc1\n2.0\nlatest\n");
        assert_eq!(tags(&["--sort", "version", "-r", "[12].*"]), "2.0\n2.0-rc1\n1.10\n1.9\n");
        let digests = tags(&["--digests", "latest"]);
        let line = format!("latest  {}  {:>4}  {INDEX}", digest(&text), text.len());
        assert_eq!(digests.lines().nth(1), Some(line.as_str()), "{digests}");
        let listed = json_of(&[&["tags", "--digests"], at, &["1.9"]].concat());
        let expected = json!({ "repository": "team/app", "tags": [
            { "name": "1.9", "digest": digest(&text), "mediaType": INDEX, "size": text.len() },
        ] });
        assert_eq!(listed, expected);
        assert_eq!(json_of(&[&["tags"], at, &["1.9"]].concat())["tags"], json!([{"name": "1.9"}]));
    }
    let (status, _, problem) = run(&["tags", "--directory", data.text(), "team/none"]);
    assert_eq!((status, problem.contains("no such repository")), (3, true), "{problem}");
}

#[test]
fn another_registry_may_say_little_or_wrong_things() {
    let manifest = json!({ "mediaType": IMAGE }).to_string();
    let list = json!({ "tags": ["a", "b", "c", "d\u{9b}2J", "a"] }).to_string();
    let other = format!("sha256:{}", "0".repeat(64));
    let plain = Plain::start(&[
        ("/v2/app/tags/list", Page::new(list)),
        // No digest: it is that of the bytes.
        ("/v2/app/manifests/a", Page::new(&*manifest).with("Content-Type", IMAGE)),
        (
            "/v2/app/manifests/b",
            Page::new("").with("Docker-Content-Digest", &other).of_length(usize::MAX),
        ),
        ("/v2/lies/tags/list", Page::new(r#"{"tags":["a"]}"#)),
        ("/v2/lies/manifests/a", Page::new("x").with("Docker-Content-Digest", "sha256:x")),
    ]);
    let listed = succeed(&["tags", "--digests", &plain.at("/app")]);
    let lines: Vec<&str> = listed.lines().collect();
    let expected = format!("a     {}  {:>20}  {IMAGE}", digest(&manifest), manifest.len());
    assert_eq!(lines[1], expected);
    assert_eq!(lines[2], format!("b     {other}  {}  -", usize::MAX));
    assert!(lines[3].starts_with("c     - ") && lines[4].starts_with("d?2J  - "), "{listed}");
    assert!(succeed(&["tags", "--digests", &plain.at("/lies")]).contains(&digest("x")));
    let (_, output, _) =
        crate::images::run_on(Screen::Coloured, b"", &["tags", "--digests", &plain.at("/app")]);
    assert!(output.starts_with(b"\x1b[1mtag") && !output.contains(&0x9b));
}

/// By this registry's answers, and by what any registry says.
#[test]
fn tags_with_all_that_they_lead_to() {
    let config = |architecture: &str| json!({ "os": "linux", "architecture": architecture });
    let data = Data::new();
    let small = data.image("app", Some("small"), &config("amd64"), &["s"]);
    let large = data.image("app", Some("large"), &config("arm64"), &["larger"]);
    let listed = |text: &str, architecture: &str| {
        let mut listed = of(IMAGE, text);
        listed["platform"] = config(architecture);
        listed
    };
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX,
        "manifests": [listed(&small, "amd64"), listed(&large, "arm64"), listed(&small, "amd64")] });
    let index = data.manifest("app", Some("all"), &index);
    let of_image = |text: &str, architecture: &str, layer: &str| {
        text.len() + config(architecture).to_string().len() + layer.len()
    };
    let sizes = [of_image(&small, "amd64", "s"), of_image(&large, "arm64", "larger")];
    let served = Served::start(data.path());
    let digests = [("small", &small), ("large", &large), ("all", &index)];
    let mut pages =
        vec![("/v2/app/tags/list".to_owned(), Page::new(r#"{"tags":["all","large","small"]}"#))];
    for (tag, text) in digests {
        for reference in [tag, &digest(text)] {
            let kind = if tag == "all" { INDEX } else { IMAGE };
            let page = Page::new(text.as_str()).with("Content-Type", kind);
            pages.push((format!("/v2/app/manifests/{reference}"), page));
        }
    }
    for architecture in ["amd64", "arm64"] {
        let text = config(architecture).to_string();
        pages.push((format!("/v2/app/blobs/{}", digest(&text)), Page::new(text)));
    }
    let pages: Vec<_> = pages.iter().map(|(path, page)| (path.as_str(), page.clone())).collect();
    let plain = Plain::start(&pages);
    let url = format!("{}/app", served.url());
    for (at, knows) in [
        (&["--directory", data.text(), "app"][..], true),
        (&[&url], true),
        (&[&plain.at("/app")], false),
    ] {
        let found = json_of(&[&["tags", "-l", "--sort", "size"], at].concat());
        let found = found["tags"].as_array().unwrap();
        let names: Vec<_> = found.iter().map(|tag| tag["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["small", "large", "all"]);
        assert_eq!(found[0]["totalSize"], json!(sizes[0]));
        assert_eq!(found[1]["totalSize"], json!(sizes[1]));
        assert_eq!(found[2]["totalSize"], json!(index.len() + sizes[0] + sizes[1]));
        assert_eq!(found[1]["platforms"], json!(["linux/arm64"]));
        assert_eq!(found[2]["platforms"], json!(["linux/amd64", "linux/arm64"]));
        assert_eq!(
            (&found[2]["digest"], &found[2]["mediaType"]),
            (&json!(digest(&index)), &json!(INDEX))
        );
        assert_eq!(found[0]["pushed"].is_string(), knows);
        let largest = succeed(&[&["tags", "--sort", "size", "-r"], at, &["*al*"]].concat());
        assert_eq!(largest, "all\nsmall\n");
        let table = succeed(&[&["tags", "-l"], at, &["large"]].concat());
        assert!(table.starts_with("tag  ") && table.contains("  size  pushed  "), "{table}");
        let platforms = format!("linux/arm64  {}", digest(&large));
        assert!(table.lines().nth(1).unwrap().ends_with(&platforms), "{table}");
    }
    let newest = succeed(&["tags", "--sort", "pushed", &url]);
    assert_eq!(newest.lines().count(), 3);
    assert_eq!(served.seen("GET /v2/app/manifests") + served.seen("HEAD"), 0);
    let (status, _, problem) = run(&["tags", "--sort", "pushed", &plain.at("/app")]);
    assert_eq!((status, problem.contains("when tags were pushed")), (1, true), "{problem}");
}

/// What is not known comes last, in either order.
#[test]
fn tags_of_which_less_is_known() {
    let tag = |name: &str, pushed: &str, size: &str| {
        format!(
            r#"{{"name":"{name}","digest":null,"media_type":null,"pushed":{pushed},"pulled":null,"size":{size}}}"#
        )
    };
    let [a, b, c] = [
        tag("a", "null", "null"),
        tag("b", r#""2026-01-02T03:04:05Z""#, "7"),
        tag("c", r#""2026-01-01T03:04:05Z""#, "9"),
    ];
    let view = format!(r#"{{"version":1,"matching":3,"tags":[{a},{b},{c}]}}"#);
    let plain = Plain::start(&[
        ("/v2/app/tags/list", Page::new(r#"{"tags":["a","b","c"]}"#)),
        ("/v2/app/_roadstead/tags?n=100&offset=0&q=", Page::new(view)),
    ]);
    let tags = |arguments: &[&str]| succeed(&[&["tags", &plain.at("/app")], arguments].concat());
    assert_eq!(tags(&["--sort", "pushed", "[bc]"]), "c\nb\n");
    assert_eq!(tags(&["--sort", "pushed", "-r", "[bc]"]), "b\nc\n");
    for (arguments, expected, said) in [
        (["--sort", "pushed"].as_slice(), 1, "when a was pushed"),
        (&["--sort", "size", "--digests"], 2, "--long"),
    ] {
        let (status, _, problem) = run(&[&["tags"], arguments, &[&plain.at("/app")]].concat());
        assert_eq!((status, problem.contains(said)), (expected, true), "{problem}");
    }
    let sorted = json_of(&["tags", "--sort", "size", &plain.at("/app"), "[b]"]);
    assert_eq!(sorted["tags"], json!([{ "name": "b" }]));
    assert_eq!(tags(&["--sort", "size"]), "b\nc\na\n");
    assert_eq!(tags(&["--sort", "size", "-r"]), "c\nb\na\n");
    assert_eq!(plain.seen("GET /v2/app/manifests").len(), 0);
}

/// The example of the help.
#[test]
fn the_newest_version_is_the_last() {
    let list = json!({ "tags": ["v1.9", "latest", "v1.10", "v1.10-rc1", "edge"] }).to_string();
    let plain = Plain::start(&[("/v2/app/tags/list", Page::new(list))]);
    let tags = succeed(&["tags", "--sort", "version", &plain.at("/app"), "v[0-9]*"]);
    assert_eq!(tags, "v1.9\nv1.10-rc1\nv1.10\n");
}

#[test]
fn an_endless_list_ends() {
    let next = "</v2/app/tags/list?last=a>; rel=\"next\"";
    let plain =
        Plain::start(&[("/v2/app/tags/list", Page::new(r#"{"tags":["a"]}"#).with("Link", next))]);
    assert_eq!(succeed(&["tags", &plain.at("/app")]), "a\n");
    assert_eq!(plain.seen("GET").len(), 2);
}

#[test]
fn mistakes_are_explained() {
    let refusing = Plain::start(&[("/v2/app/tags/list", Page::status(403))]);
    for (target, expected, said) in [
        (refusing.at("/app:1"), 2, "without tag"),
        (refusing.at("/app"), 1, "403"),
        (refusing.at("/none"), 3, "no such repository"),
        ("team/app".to_owned(), 2, "not a registry"),
        ("/var/lib/registry".to_owned(), 2, "--directory"),
    ] {
        let (status, _, problem) = run(&["tags", &target]);
        assert_eq!(status, expected, "{target}: {problem}");
        assert!(problem.contains(said), "{problem}");
    }
}
