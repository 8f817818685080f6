//! `roadstead inspect`: in a data directory, of this registry and of others.

use crate::images::{CONFIG, Data, IMAGE, INDEX, LAYER, digest, image, json_of, of, run, succeed};
use crate::plain::{Page, Plain};
use crate::served::Served;
use serde_json::{Value, json};

/// A configuration.
fn config(architecture: &str) -> Value {
    json!({
        "os": "linux", "architecture": architecture, "created": "2026-01-02T03:04:05Z",
        "config": {
            "User": "1000", "Entrypoint": ["/app", "--x"], "Cmd": ["serve"], "Env": ["A=b"],
            "ExposedPorts": { "80/tcp": {} }, "WorkingDir": "/srv", "Labels": { "l": "m" },
        },
        "history": [
            { "created_by": "/bin/sh -c #(nop) ADD base /" },
            { "created_by": "ENV A=b", "empty_layer": true },
            { "created_by": "RUN make" },
        ],
    })
}

#[test]
fn an_index_with_all_that_it_lists() {
    let data = Data::new();
    let one = data.image("team/app", None, &config("amd64"), &["base", "amd"]);
    let two = data.image("team/app", None, &config("arm64"), &["base", "arm"]);
    let listed = |text: &str, architecture: &str| {
        let mut listed = of(IMAGE, text);
        listed["platform"] = json!({ "os": "linux", "architecture": architecture });
        listed
    };
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "annotations": { "k": "v" },
        "manifests": [listed(&one, "amd64"), listed(&two, "arm64")] });
    let index = data.manifest("team/app", Some("v1"), &index);
    let mut signature = image(&config("amd64").to_string(), &["base"]);
    signature["subject"] = of(INDEX, &index);
    signature["artifactType"] = json!("application/x.signature");
    let signature = data.manifest("team/app", None, &signature);
    let served = Served::start(data.path());
    let reference = format!("{}/team/app:v1", served.url());
    let found = json_of(&["inspect", &reference]);
    assert_eq!(found["reference"], json!(reference));
    assert_eq!(
        (&found["repository"], &found["digest"]),
        (&json!("team/app"), &json!(digest(&index)))
    );
    assert_eq!((&found["mediaType"], &found["size"]), (&json!(INDEX), &json!(index.len())));
    assert_eq!(found["annotations"], json!({ "k": "v" }));
    let expected = json!({ "digest": digest(&one), "mediaType": IMAGE, "size": one.len(),
        "platform": "linux/amd64", "layersSize": 7,
        "config": { "digest": digest(config("amd64").to_string()), "mediaType": CONFIG,
            "size": config("amd64").to_string().len(), "created": "2026-01-02T03:04:05Z",
            "user": "1000", "workingDir": "/srv", "entrypoint": ["/app", "--x"], "cmd": ["serve"],
            "env": ["A=b"], "exposedPorts": ["80/tcp"], "labels": { "l": "m" } },
        "layers": [
            { "digest": digest("base"), "mediaType": LAYER, "size": 4,
                "createdBy": "/bin/sh -c #(nop) ADD base /" },
            { "digest": digest("amd"), "mediaType": LAYER, "size": 3, "createdBy": "RUN make" },
        ] });
    assert_eq!(found["manifests"][0], expected);
    assert_eq!(found["manifests"][1]["platform"], "linux/arm64");
    assert_eq!(found["referrers"][0]["digest"], json!(digest(&signature)));
    assert_eq!(found["referrers"][0]["artifactType"], "application/x.signature");
    assert_eq!((&found["tags"], &found["immutable"]), (&json!(["v1"]), &Value::Null));
    assert!(found["pushed"].as_str().unwrap().starts_with("20"));
    let text = succeed(&["inspect", "--directory", data.text(), "team/app:v1"]);
    for line in [
        "team/app:v1",
        "  tags         v1",
        "  annotations",
        "    k: v",
        "  manifests    2",
        "    linux/arm64",
        r#"        entrypoint   ["/app", "--x"]"#,
        "          A=b",
        &format!("        {}     3 bytes  RUN make", digest("arm")),
        "  referrers    1",
    ] {
        assert!(text.lines().any(|it| it == line), "{line:?} is not in {text}");
    }
    assert!(text.contains("   4 bytes  ADD base /"), "{text}");
    assert_eq!(run(&["inspect", "--directory", data.text(), "team/app:none"]).0, 3);
}

#[test]
fn referrers_without_an_endpoint_are_those_of_a_tag() {
    let manifest = json!({ "mediaType": IMAGE, "layers": [] }).to_string();
    let tag = format!("/v2/app/manifests/{}", digest(&manifest).replace(':', "-"));
    let list = json!({ "manifests": [of(IMAGE, "signature")] }).to_string();
    let plain = Plain::start(&[
        ("/v2/app/manifests/v1", Page::new(&*manifest).with("Content-Type", IMAGE)),
        ("/v2/other/manifests/v1", Page::new(&*manifest).with("Content-Type", IMAGE)),
        (&tag, Page::new(list)),
        (&format!("/v2/other/referrers/{}", digest(&manifest)), Page::status(500)),
    ]);
    let found = json_of(&["inspect", &plain.at("/app:v1")]);
    assert_eq!(found["referrers"][0]["digest"], json!(digest("signature")));
    let found = json_of(&["inspect", &plain.at("/other:v1")]);
    assert_eq!(found.get("referrers"), None);
    assert!(found["problem"].as_str().unwrap().contains("its referrers"), "{found}");
}

/// The path of a manifest or a blob.
fn at(kind: &str, bytes: &str) -> String {
    format!("/v2/app/{kind}/{}", digest(bytes))
}

#[test]
fn configurations_that_lie_are_told() {
    let text = "{}";
    let with = |size: Value, digest: &str| {
        let config = json!({ "mediaType": CONFIG, "digest": digest, "size": size });
        Page::new(json!({ "mediaType": IMAGE, "config": config, "layers": [] }).to_string())
    };
    let (right, other) = (digest(text), digest("other"));
    let plain = Plain::start(&[
        (&at("blobs", text), Page::new(text)),
        (&at("blobs", "other"), Page::new(text)),
        ("/v2/app/manifests/short", with(json!(1), &right)),
        ("/v2/app/manifests/long", with(json!(3), &right)),
        ("/v2/app/manifests/huge", with(json!(u64::MAX), &right)),
        ("/v2/app/manifests/negative", with(json!(-1), &right)),
        ("/v2/app/manifests/wrong", with(json!(2), &other)),
        ("/v2/app/manifests/path", with(json!(2), "sha256:../../x")),
        ("/v2/app/manifests/gone", with(json!(2), &digest("gone"))),
    ]);
    for (tag, said) in [
        ("short", "too large"),
        ("long", "has 3 bytes, not 2"),
        ("huge", "more than 4194304 bytes"),
        ("negative", "more than 4194304 bytes"),
        ("wrong", "its digest is"),
        ("path", "digest"),
        ("gone", "does not have it"),
    ] {
        let found = json_of(&["inspect", &plain.at(&format!("/app:{tag}"))]);
        let problem = found["problem"].as_str().unwrap_or_default();
        assert!(problem.contains(said), "{tag}: {found}");
    }
}

#[test]
fn texts_are_harmless() {
    let evil = "\u{1b}]0;x\u{7}\u{9b}2J";
    let manifest = json!({ "mediaType": evil, "artifactType": evil, "annotations": { evil: evil },
        "layers": [{ "digest": evil, "size": u64::MAX, "annotations": { "a": evil } },
            { "digest": 5, "size": u64::MAX }] });
    let plain = Plain::start(&[("/v2/app/manifests/v1", Page::new(manifest.to_string()))]);
    let text = succeed(&["inspect", &plain.at("/app:v1")]);
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
    assert!(text.contains("layers       2, 15.9 EiB"), "{text}");
    let text = succeed(&["inspect", "-o", "json", &plain.at("/app:v1")]);
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["mediaType"], json!(evil));
}

#[test]
fn an_index_is_read_up_to_limits() {
    let index = |children: &[String]| {
        let children: Vec<_> = children.iter().map(|child| of(INDEX, child)).collect();
        json!({ "mediaType": INDEX, "manifests": children }).to_string()
    };
    // Many, large and deep ones.
    let many: Vec<String> = (0..502).map(|number| json!({ "a": number }).to_string()).collect();
    let padding = " ".repeat(4_000_000);
    let large: Vec<String> = (0..30).map(|number| format!("{number}{padding}")).collect();
    let mut deep = vec![index(&[])];
    for _ in 0..6 {
        deep.push(index(&deep[deep.len() - 1..]));
    }
    let paths = [&many, &large, &deep].map(|all| {
        let pages = all.iter().map(|it| (at("manifests", it), Page::new(&**it)));
        pages.collect::<Vec<_>>()
    });
    let mut pages: Vec<_> = paths.iter().flatten().map(|(at, it)| (&**at, it.clone())).collect();
    pages.push(("/v2/app/manifests/many", Page::new(index(&many))));
    pages.push(("/v2/app/manifests/large", Page::new(index(&large))));
    pages.push(("/v2/app/manifests/deep", Page::new(&*deep[6])));
    let plain = Plain::start(&pages);
    for (tag, said) in [
        ("many", "more than 500 manifests"),
        ("large", "more than 67108864 bytes"),
        ("deep", "deeper than 4"),
    ] {
        let text = succeed(&["inspect", &plain.at(&format!("/app:{tag}"))]);
        assert!(text.contains(said), "{tag}: {}", &text[text.len() - 500..]);
    }
    // Sixteen fit, and as many as are asked for at a time may be too many.
    let fetched = large.iter().map(|it| plain.seen(&format!("GET {}", at("manifests", it))).len());
    let fetched: usize = fetched.sum();
    assert!((16..=20).contains(&fetched), "{fetched} manifests were fetched");
}

#[test]
fn more_entries_than_the_limit_are_counted() {
    // As small as they can be, in a manifest as large as it can be.
    let children = vec!["1"; 2_000_000].join(",");
    let index = format!(r#"{{"mediaType":"{INDEX}","manifests":[{children}]}}"#);
    let two = json!({ "mediaType": INDEX, "manifests": [of(IMAGE, "a"), of(IMAGE, "b")] });
    let layers = json!({ "mediaType": IMAGE, "layers": vec![json!({}); 6_000] });
    let (one, other) = (layers.to_string(), format!("{layers} "));
    let both = json!({ "mediaType": INDEX, "manifests": [of(IMAGE, &one), of(IMAGE, &other)] });
    let many = json!({ "manifests": vec![of(IMAGE, "signature"); 10_001] }).to_string();
    let two = two.to_string();
    let referrers = format!("/v2/app/referrers/{}", digest(&two));
    let plain = Plain::start(&[
        ("/v2/app/manifests/many", Page::new(index)),
        ("/v2/app/manifests/two", Page::new(&*two)),
        ("/v2/app/manifests/both", Page::new(both.to_string())),
        (&at("manifests", &one), Page::new(&*one)),
        (&at("manifests", &other), Page::new(&*other)),
        (&referrers, Page::new(many)),
    ]);
    let found = json_of(&["inspect", &plain.at("/app:many")]);
    assert_eq!(found["manifests"].as_array().unwrap().len(), 10_000);
    assert_eq!(found["problem"], "1990000 more are not shown");
    let text = succeed(&["inspect", &plain.at("/app:many")]);
    let lines: Vec<_> = text.lines().filter(|line| line.contains("more are not shown")).collect();
    assert_eq!(lines, ["  problem      1990000 more are not shown"]);
    // The limit is one for all that a reference leads to.
    let found = json_of(&["inspect", &plain.at("/app:both")]);
    let layers = found["manifests"].as_array().unwrap().iter();
    let layers: usize = layers.map(|it| it["layers"].as_array().map_or(0, Vec::len)).sum();
    assert_eq!(layers, 9_998);
    let found = json_of(&["inspect", &plain.at("/app:two")]);
    assert_eq!(found["referrers"].as_array().unwrap().len(), 10_000);
    assert!(found["problem"].as_str().unwrap().contains("more than 10000 referrers"), "{found}");
}
