//! `roadstead diff`: in a data directory, of this registry and of others.

use crate::images::{Data, IMAGE, INDEX, digest, of, run};
use crate::plain::{Page, Plain};
use crate::served::Served;
use serde_json::{Value, json};

fn config(architecture: &str, version: &str) -> Value {
    json!({ "os": "linux", "architecture": architecture, "config": {
        "Env": ["A=same", format!("V={version}")], "User": version, "Entrypoint": ["/app"],
        "ExposedPorts": { format!("{version}/tcp"): {} }, "Labels": { "v": version },
    } })
}

fn diff(arguments: &[&str]) -> (u8, Value) {
    let (status, output, problem) = run(&[&["diff", "-o", "json"], arguments].concat());
    assert_eq!(problem, "");
    (status, serde_json::from_str(&output).unwrap())
}

#[test]
fn layers_and_configurations_are_compared() {
    let data = Data::new();
    let one = data.image("app", Some("1"), &config("amd64", "1"), &["base", "one"]);
    let two = data.image("app", Some("2"), &config("amd64", "2"), &["base", "two", "more"]);
    let served = Served::start(data.path());
    let other = format!("{}/app:2", served.url());
    let same = format!("{}/app:1", served.url());
    for arguments in
        [vec!["--directory", data.text(), "app:1", "app:2"], vec![same.as_str(), &other]]
    {
        let (status, found) = diff(&arguments);
        assert_eq!((status, &found["same"]), (3, &json!(false)));
        assert_eq!(
            (&found["a"]["digest"], &found["b"]["digest"]),
            (&json!(digest(&one)), &json!(digest(&two)))
        );
        let digests = |name: &str| {
            let layers = found["layers"][name].as_array().unwrap().iter();
            layers.map(|it| it["digest"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(digests("shared"), [digest("base")]);
        assert_eq!(digests("onlyA"), [digest("one")]);
        assert_eq!(digests("onlyB"), [digest("two"), digest("more")]);
        assert_eq!(found["layers"]["onlyBSize"], 7);
        let expected = json!({
            "env.V": { "a": "1", "b": "2" }, "user": { "a": "1", "b": "2" },
            "exposedPorts": { "a": ["1/tcp"], "b": ["2/tcp"] },
            "labels.v": { "a": "1", "b": "2" },
        });
        assert_eq!(found["config"], expected);
    }
    let (status, text, _) = run(&["diff", &same, &other]);
    assert_eq!(status, 3);
    for line in [
        "  1 shared, 4 bytes",
        &format!("  - {}     3 bytes", digest("one")),
        "  - env.V: 1",
        "  + env.V: 2",
        r#"  + exposedPorts: ["2/tcp"]"#,
    ] {
        assert!(text.lines().any(|it| it == line), "{line:?} is not in {text}");
    }
    let (status, text, _) =
        run(&["diff", &same, &format!("{}/app@{}", served.url(), digest(&one))]);
    assert_eq!((status, text.lines().last()), (0, Some("the same manifest")));
    let (status, _, problem) = run(&["diff", &same, &format!("{}/app:none", served.url())]);
    assert_eq!((status, problem.contains("app:none: there is no such")), (3, true), "{problem}");
}

#[test]
fn indexes_are_compared_by_platform() {
    let data = Data::new();
    let image = |architecture: &str, version: &str| {
        let config = config(architecture, version);
        let text = data.image("app", None, &config, &["base", version]);
        let mut listed = of(IMAGE, text);
        listed["platform"] = json!({ "os": "linux", "architecture": architecture });
        listed
    };
    let index = |tag: &str, manifests: Value| {
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
        data.manifest("app", Some(tag), &index);
    };
    let attestation = || {
        let mut listed = image("amd64", "attested");
        listed["platform"] = json!({ "os": "unknown", "architecture": "unknown" });
        listed
    };
    index(
        "1",
        json!([image("amd64", "1"), image("arm64", "1"), image("s390x", "1"), attestation()]),
    );
    index("2", json!([image("amd64", "1"), image("arm64", "2"), image("riscv64", "1")]));
    let (status, found) = diff(&["--directory", data.text(), "app:1", "app:2"]);
    let platforms = found["platforms"].as_array().unwrap();
    let names: Vec<_> = platforms.iter().map(|it| it["platform"].as_str().unwrap()).collect();
    assert_eq!(
        (status, names),
        (3, vec!["linux/amd64", "linux/arm64", "linux/riscv64", "linux/s390x"])
    );
    assert_eq!((platforms[0].get("difference"), &platforms[0]["a"]), (None, &platforms[0]["b"]));
    assert_eq!(platforms[1]["difference"]["config"]["user"], json!({ "a": "1", "b": "2" }));
    assert_eq!((&platforms[2]["a"], &platforms[3]["b"]), (&Value::Null, &Value::Null));
    let (_, text, _) = run(&["diff", "--directory", data.text(), "app:1", "app:2"]);
    assert!(
        text.contains("linux/amd64  the same\n- linux/arm64") && !text.contains("unknown"),
        "{text}"
    );
    let of = |platform: &str| {
        diff(&["--directory", data.text(), "--platform", platform, "app:1", "app:2"])
    };
    assert_eq!((of("linux/amd64").0, of("linux/arm64").0), (0, 3));
    let none = ["diff", "--directory", data.text(), "--platform", "a/b", "app:1", "app:2"];
    assert_eq!(run(&none).0, 3);
}

#[test]
fn variants_count_where_they_are_asked_for() {
    let data = Data::new();
    let image = |variant: &str, version: &str| {
        let text = data.image("app", None, &config("arm64", version), &["base", version]);
        let mut listed = of(IMAGE, text);
        listed["platform"] = json!({ "os": "linux", "architecture": "arm64", "variant": variant });
        listed
    };
    let index = |tag: &str, manifests: Value| {
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
        data.manifest("app", Some(tag), &index);
    };
    let (one, two, three) = (image("v8", "1"), image("v8", "2"), image("v8", "3"));
    index("1", json!([one]));
    index("2", json!([two]));
    index("both", json!([two, one]));
    index("other", json!([one, three]));
    index("variants", json!([image("v8", "1"), image("v9", "1")]));
    let at = |platform: &'static str, a: &'static str, b: &'static str| {
        ["diff", "-o", "json", "--directory", data.text(), "--platform", platform, a, b]
    };
    for platform in ["linux/arm64", "linux/arm64/v8"] {
        let (status, text, problem) = run(&at(platform, "app:1", "app:2"));
        assert_eq!((status, problem.as_str()), (3, ""));
        let found: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&found["a"]["digest"], &found["b"]["digest"]),
            (&one["digest"], &two["digest"])
        );
    }
    let (status, _, problem) = run(&at("linux/arm64/v9", "app:1", "app:2"));
    assert_eq!((status, problem.contains("no image of it is for linux/arm64/v9")), (3, true));
    let (status, _, problem) = run(&at("linux/arm64", "app:1", "app:variants"));
    assert_eq!(status, 1);
    assert!(problem.contains("linux/arm64/v8, linux/arm64/v9; name a variant"), "{problem}");
    // None of several for one platform is left out.
    let (_, found) = diff(&["--directory", data.text(), "app:both", "app:other"]);
    let platforms = found["platforms"].as_array().unwrap().iter();
    let platforms: Vec<_> = platforms.map(|it| (&it["platform"], &it["a"], &it["b"])).collect();
    let name = &json!("linux/arm64/v8");
    let expected =
        vec![(name, &one["digest"], &one["digest"]), (name, &two["digest"], &three["digest"])];
    assert_eq!(platforms, expected);
}

#[test]
fn what_another_registry_says_is_not_trusted() {
    let evil = "\u{1b}[2J\u{9b}";
    let one = json!({ "mediaType": IMAGE, "annotations": { evil: evil }, "layers": [
        { "digest": evil, "size": u64::MAX }, { "digest": "", "size": u64::MAX }] });
    let plain = Plain::start(&[
        ("/v2/app/manifests/1", Page::new(one.to_string())),
        ("/v2/app/manifests/2", Page::new("[1,2]")),
    ]);
    let (status, text, problem) = run(&["diff", &plain.at("/app:1"), &plain.at("/app:2")]);
    assert_eq!(status, 3, "{problem}");
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
}

#[test]
fn a_password_is_for_one_registry() {
    let page = || Page::new(json!({ "mediaType": IMAGE, "layers": [] }).to_string());
    let [one, other] = [(); 2].map(|()| Plain::start(&[("/v2/app/manifests/1", page())]));
    let user = ["--user", "alice", "--password-stdin"];
    let (a, b) = (one.at("/app:1"), other.at("/app:1"));
    let (status, _, problem) = run(&[&["diff", &a, &b], &user[..]].concat());
    assert_eq!((status, problem.contains("--user is for one registry")), (2, true), "{problem}");
    assert_eq!(one.seen("").len() + other.seen("").len(), 0);
    // Without a user, and for the same registry, nothing stands against it.
    assert_eq!(run(&["diff", &a, &b]).0, 0);
    assert_eq!(run(&[&["diff", &a, &format!("http://{a}")], &user[..]].concat()).0, 0);
}
