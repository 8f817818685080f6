//! Content that is damaged, or made to be difficult.

use super::world::{INDEX, MANIFEST, World, image, index};
use roadstead_kit::contract::sha256;
use serde_json::{Value, json};
use std::fs;

const IMAGE: &str = "/v2/a/_roadstead/image/t";
const TAGS: &str = "/v2/a/_roadstead/tags";

#[tokio::test]
async fn a_config_that_is_too_large() {
    for world in World::both() {
        let config = format!(r#"{{"os":"linux","x":"{}"}}"#, "y".repeat(4 * 1024 * 1024));
        let config = world.blob("a", config).await;
        world.put("a", "t", MANIFEST, image(&config, &json!({}))).await;
        let found = world.get(IMAGE).await;
        assert_eq!(
            (&found["image"]["complete"], &found["complete"]),
            (&json!(false), &json!(false))
        );
        assert_eq!(found["image"]["platform"], json!(null));
        assert_eq!(found["image"]["config"]["size"], config["size"]);
        assert!(found["size"].as_u64().unwrap() > 4 * 1024 * 1024);
    }
}

/// A manifest may name the config of a repository that its pusher may not read.
#[tokio::test]
async fn configs_of_other_repositories_are_not_shown() {
    let world = World::directory(&[]);
    let config = world.blob("a", r#"{"os":"linux","architecture":"amd64"}"#).await;
    world.put("a", "t", MANIFEST, image(&config, &json!({}))).await;
    assert_eq!(world.get(IMAGE).await["image"]["platform"], "linux/amd64");
    let hex = config["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
    let link = world.repository("a").join("_layers/sha256").join(hex);
    fs::remove_dir_all(link).unwrap();
    assert_eq!(world.get(IMAGE).await["image"]["platform"], json!(null));
    assert_eq!(world.get(TAGS).await["tags"][0]["platforms"], json!([]));
}

#[tokio::test]
async fn what_is_damaged_is_unknown() {
    let world = World::directory(&[]);
    let config = world.blob("a", "no JSON").await;
    let app = image(&config, &json!({}));
    world.put("a", "t", MANIFEST, app.clone()).await;
    world.put("a", "u", INDEX, index(&[&app], 0)).await;
    assert_eq!(world.get(IMAGE).await["image"]["env"], json!([]));
    // Of the manifest, another one is left, and then nothing.
    let data = world.data(sha256(app.as_bytes()).as_str());
    for damaged in [&b"{\"config\":7"[..], b"\xff\xfe\x00", b"", b"[[[[", b"7"] {
        fs::write(&data, damaged).unwrap();
        for path in [IMAGE, TAGS, "/v2/a/_roadstead/image/u", "/v2/_roadstead/repositories"] {
            let found = world.get(path).await;
            assert_eq!(found["version"], 1, "{path}: {found}");
        }
        assert_eq!(world.get(IMAGE).await["kind"], "artifact");
    }
    fs::remove_file(&data).unwrap();
    assert_eq!(world.status(IMAGE).await, 404);
    let tags = world.get(TAGS).await;
    assert_eq!(tags["tags"][0]["size"], json!(null));
    assert_eq!(tags["tags"][1]["name"], "u");
    let index = world.get("/v2/a/_roadstead/image/u").await;
    assert_eq!((&index["children"][0]["total"], &index["size"]), (&Value::Null, &Value::Null));
    // And of the tag.
    let link = world.repository("a").join("_manifests/tags/t/current/link");
    fs::write(link, "no digest").unwrap();
    assert_eq!(world.status(IMAGE).await, 404);
    assert_eq!(world.get(TAGS).await["tags"][0]["digest"], json!(null));
    let preview = world.get("/v2/a/_roadstead/deletion?tag=t").await;
    assert_eq!(preview["tags"][0]["missing"], true);
}

#[tokio::test]
async fn annotations_of_very_many_children() {
    for world in World::both() {
        let long = "<&>\"\\".repeat(800 * 1024);
        let children: Vec<Value> = (0..1000)
            .map(|number| {
                json!({
                    "mediaType": MANIFEST, "size": 1, "annotations": { "a": "x".repeat(2000) },
                    "digest": format!("sha256:{number:064}"),
                })
            })
            .collect();
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": children });
        world.put("a", "t", INDEX, index.to_string()).await;
        let found = world.get(IMAGE).await;
        assert_eq!(found["complete"], false);
        assert_eq!(found["children"][0]["annotations"]["a"].as_str().unwrap().len(), 2000);
        assert_eq!(found["children"][999]["annotations"], json!({}));
        // As long as a manifest can be.
        let long = long.get(..(4 * 1024 * 1024 - 200) / 5 * 2).unwrap();
        let index = json!({
            "schemaVersion": 2, "mediaType": INDEX, "manifests": [], "annotations": { "a": long },
        });
        world.put("a", "t", INDEX, index.to_string()).await;
        let found = world.get(IMAGE).await;
        assert_eq!(found["annotations"]["a"].as_str().unwrap().len(), 64 * 1024);
        assert_eq!(found["manifest"], index.to_string());
    }
}

#[tokio::test]
async fn indexes_in_indexes() {
    for world in World::both() {
        let mut inner = index(&[], 0);
        let mut sizes = vec![inner.len()];
        world.put("a", "t0", INDEX, inner.clone()).await;
        for depth in 1..8 {
            inner = index(&[&inner, &inner], depth);
            sizes.push(sizes[depth - 1] + inner.len());
            world.put("a", &format!("t{depth}"), INDEX, inner.clone()).await;
        }
        let found = world.get("/v2/a/_roadstead/image/t3").await;
        assert_eq!(found["size"], sizes[3], "each manifest once");
        assert_eq!(world.get("/v2/a/_roadstead/image/t7").await["size"], json!(null));
        assert_eq!(found["image"], json!(null));
    }
}

/// No digest can be that of what has it in itself, but a storage can be damaged so.
#[tokio::test]
async fn cycles() {
    let world = World::directory(&[]);
    let (one, two) = (index(&[], 1), index(&[], 2));
    world.put("a", "t", INDEX, one.clone()).await;
    world.put("a", "u", INDEX, two.clone()).await;
    fs::write(world.data(sha256(one.as_bytes()).as_str()), index(&[&one, &two], 1)).unwrap();
    fs::write(world.data(sha256(two.as_bytes()).as_str()), index(&[&one], 2)).unwrap();
    for path in [IMAGE, TAGS, "/v2/a/_roadstead/image/u", "/v2/a/_roadstead/tags?sort=size"] {
        assert_eq!(world.get(path).await["version"], 1, "{path}");
    }
    assert_eq!(world.get(IMAGE).await["size"], json!(null));
}

#[tokio::test]
async fn referrers_of_an_image() {
    for world in World::both() {
        let subject = index(&[], 0);
        world.put("a", "t", INDEX, subject.clone()).await;
        let of = |number: usize| {
            json!({
                "schemaVersion": 2, "mediaType": INDEX, "manifests": [],
                "artifactType": "text/x", "annotations": { "number": number.to_string() },
                "subject": {
                    "mediaType": INDEX, "size": subject.len(),
                    "digest": sha256(subject.as_bytes()).to_string(),
                },
            })
        };
        for number in 0..101 {
            let referrer = of(number).to_string();
            let digest = sha256(referrer.as_bytes());
            world.put("a", digest.as_str(), INDEX, referrer).await;
        }
        let found = world.get(IMAGE).await;
        assert_eq!(found["referrers"].as_array().unwrap().len(), 100);
        assert_eq!(found["referrers"][0]["artifact_type"], "text/x");
        assert_eq!(found["referrers_complete"], false);
        let preview = world.get("/v2/a/_roadstead/deletion?tag=t").await;
        assert_eq!(preview["tags"][0]["referrers"], 100);
    }
}
