//! Very many repositories, tags and children.

use super::world::{INDEX, World, image, index, names};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;

const REPOSITORIES: &str = "/v2/_roadstead/repositories";

/// Without pushing each: a directory with manifests is a repository.
#[tokio::test]
async fn ten_thousand_repositories() {
    let world = World::directory(&[]);
    for number in 0..10_000 {
        let name = format!("group{}/team-{}/app{number}", number % 10, number % 7);
        fs::create_dir_all(world.repository(&name).join("_manifests")).unwrap();
    }
    let top = world.get(REPOSITORIES).await;
    assert_eq!((&top["total"], &top["complete"]), (&json!(10_000), &json!(true)));
    let groups = top["entries"].as_array().unwrap();
    assert_eq!(groups.len(), 10);
    assert!(groups.iter().all(|group| group["repositories"] == 1000), "{groups:?}");
    // Pages of a search have each name once, and the same total.
    let (mut found, mut last) = (BTreeSet::new(), String::new());
    loop {
        let page = world.get(&format!("{REPOSITORIES}?q=TEAM-3/&n=1000&last={last}")).await;
        assert_eq!((&page["total"], &page["complete"]), (&json!(1429), &json!(true)));
        for name in names(&page["entries"]) {
            assert!(name.contains("team-3/") && found.insert(name.to_owned()), "{name}");
        }
        match page["next"].as_str() {
            Some(next) => last = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(found.len(), 1429);
}

/// What does not fit into the budget is on further pages, and each repository on one.
#[tokio::test]
async fn the_names_of_a_bucket() {
    let world = World::bucket(&[]);
    let manifest = index(&[], 0);
    for number in 0..2100 {
        world.put(&format!("a/b{number:04}"), "t", INDEX, manifest.clone()).await;
    }
    world.put("z", "t", INDEX, manifest).await;
    let top = world.get(REPOSITORIES).await;
    assert_eq!(top["complete"], false);
    assert_eq!(top["total"], 2000, "as many as were visited");
    assert_eq!(names(&top["entries"]), ["a/"]);
    assert_eq!(top["entries"][0]["size"], json!(null), "each of them takes requests");
    // Not again a part of the group.
    let path = format!("{REPOSITORIES}?last={}", top["next"].as_str().unwrap());
    assert_eq!(names(&world.get(&path).await["entries"]), ["z"]);
    let found = world.get(&format!("{REPOSITORIES}?q=z")).await;
    assert_eq!((names(&found["entries"]).len(), &found["total"]), (0, &json!(0)));
    let path = format!("{REPOSITORIES}?q=z&last={}", found["next"].as_str().unwrap());
    assert_eq!(names(&world.get(&path).await["entries"]), ["z"]);
}

#[tokio::test]
async fn ten_thousand_tags() {
    let world = World::directory(&[]);
    let (small, big) = (index(&[], 0), index(&[], 10_000_000));
    world.put("a", "first", INDEX, small).await;
    world.put("a", "big", INDEX, big.clone()).await;
    let tags = world.repository("a").join("_manifests/tags");
    let link = fs::read(tags.join("first/current/link")).unwrap();
    for number in 0..9_998 {
        let place = tags.join(format!("v{number}")).join("current");
        fs::create_dir_all(&place).unwrap();
        fs::write(place.join("link"), &link).unwrap();
    }
    let path = "/v2/a/_roadstead/tags";
    let page = world.get(&format!("{path}?q=V99&offset=100&n=7")).await;
    assert_eq!((&page["total"], &page["matching"]), (&json!(10_000), &json!(109)));
    assert_eq!((&page["complete"], names(&page["tags"]).len()), (&json!(true), 7));
    assert_eq!(page["tags"][0]["same"], 9_998);
    let page = world.get(&format!("{path}?sort=size&order=desc&n=2")).await;
    assert_eq!(names(&page["tags"]), ["big", "first"]);
    assert_eq!(page["tags"][0]["size"], big.len());
    assert_eq!(page["complete"], true);
    let page = world.get(&format!("{path}?sort=pushed&order=desc&n=1")).await;
    assert_eq!(page["tags"].as_array().unwrap().len(), 1);
    very_many_tags_of_one_image(&world).await;
}

async fn very_many_tags_of_one_image(world: &World) {
    let image = world.get("/v2/a/_roadstead/image/first").await;
    assert_eq!(image["tags"].as_array().unwrap().len(), 1000);
    assert_eq!(image["tags_complete"], false);
    let preview = world.get("/v2/a/_roadstead/deletion?tag=first&tag=big").await;
    assert_eq!(preview["tags"][0]["others"].as_array().unwrap().len(), 1000);
    assert_eq!(preview["tags"][0]["others_complete"], false);
    assert_eq!(preview["tags"][1]["others"], json!([]));
}

#[tokio::test]
async fn more_tags_than_are_looked_at() {
    let world = World::directory(&[]);
    world.put("a", "first", INDEX, index(&[], 0)).await;
    let tags = world.repository("a").join("_manifests/tags");
    for number in 0..20_100 {
        let place = tags.join(format!("v{number}")).join("current");
        fs::create_dir_all(&place).unwrap();
        fs::write(place.join("link"), format!("sha256:{number:064}")).unwrap();
    }
    let page = world.get("/v2/a/_roadstead/tags?n=1").await;
    assert_eq!((&page["total"], &page["complete"]), (&json!(20_000), &json!(false)));
}

#[tokio::test]
async fn tags_in_a_bucket() {
    let world = World::bucket(&[]);
    for number in 0..202 {
        world.put("a", &format!("v{number:03}"), INDEX, index(&[], number)).await;
    }
    let path = "/v2/a/_roadstead/tags";
    let page = world.get(path).await;
    assert_eq!((&page["total"], &page["complete"]), (&json!(202), &json!(true)));
    assert_eq!(page["tags"][0]["same"], json!(null), "not all were looked at");
    assert!(page["tags"].as_array().unwrap().iter().all(|tag| tag["size"].is_u64()));
    world.put("b", "one", INDEX, index(&[], 0)).await;
    world.put("b", "two", INDEX, index(&[], 0)).await;
    let all = world.get("/v2/b/_roadstead/tags").await;
    assert_eq!(all["tags"][0]["same"], 1, "all are shown");
    let page = world.get(&format!("{path}?sort=size&offset=200")).await;
    assert_eq!(page["complete"], false);
    assert_eq!(names(&page["tags"]), ["v200", "v201"], "of these the size is not known");
    // They are looked at since they are shown.
    assert!(page["tags"][0]["size"].is_u64());
}

#[tokio::test]
async fn an_index_with_very_many_children() {
    // In a directory, each push waits for the disk.
    for (world, count) in World::both().into_iter().zip([3, 1001]) {
        let config = world.blob("a", "{}").await;
        let mut children = Vec::new();
        for number in 0..count {
            let child = image(&config, &json!({ "number": number.to_string() }));
            world.put("a", &format!("c{number}"), super::world::MANIFEST, child.clone()).await;
            children.push(child);
        }
        let few: Vec<&str> = children.iter().take(3).map(String::as_str).collect();
        world.put("a", "few", INDEX, index(&few, 0)).await;
        let found = world.get("/v2/a/_roadstead/image/few").await;
        assert_eq!(found["children"][2]["total"], few[2].len() + 2);
        assert_eq!((&found["complete"], &found["image"]["complete"]), (&json!(true), &json!(true)));
        if count < 1000 {
            continue;
        }
        let all: Vec<&str> = children.iter().map(String::as_str).collect();
        world.put("a", "all", INDEX, index(&all, 0)).await;
        let found = world.get("/v2/a/_roadstead/image/all").await;
        assert_eq!(found["children"].as_array().unwrap().len(), 1000);
        assert_eq!((&found["size"], &found["complete"]), (&Value::Null, &json!(false)));
        let tags = world.get("/v2/a/_roadstead/tags?q=all").await;
        assert_eq!(tags["tags"][0]["size"], json!(null));
    }
}

#[tokio::test]
async fn sizes_that_take_too_much() {
    let world = World::directory(&[]);
    for number in 0..600 {
        world.put("a", "t", INDEX, index(&[], number)).await;
    }
    let found = world.get(REPOSITORIES).await;
    assert_eq!(found["entries"][0]["tags"], 1);
    assert_eq!((&found["entries"][0]["size"], &found["entries"][0]["complete"]), {
        (&Value::Null, &json!(false))
    });
    assert_eq!(found["complete"], true, "all names were visited");
}

/// Small groups come first; of one that is not looked at as a whole, nothing is said.
#[tokio::test]
async fn groups_that_take_too_much() {
    for (world, count) in World::both().into_iter().zip([1100, 120]) {
        let manifest = index(&[], 0);
        for number in 0..3 {
            world.put(&format!("z/{number}"), "t", INDEX, manifest.clone()).await;
        }
        world.put("a/first", "t", INDEX, manifest.clone()).await;
        for number in 0..count {
            let name = format!("a/b{number}");
            if world.has_directory() {
                // Without pushing each, which waits for the disk.
                fs::create_dir_all(world.repository(&name).join("_manifests")).unwrap();
            } else {
                world.put(&name, "t", INDEX, manifest.clone()).await;
            }
        }
        let found = world.get(REPOSITORIES).await;
        let [large, small] = found["entries"].as_array().unwrap().as_slice() else {
            panic!("{found}")
        };
        assert_eq!(large["repositories"], count + 1);
        assert_eq!((&large["tags"], &large["size"]), (&Value::Null, &Value::Null));
        assert_eq!((&large["pushed"], &large["complete"]), (&Value::Null, &json!(false)));
        assert_eq!((&small["tags"], &small["size"]), (&json!(3), &json!(manifest.len())));
        assert_eq!((&small["complete"], &small["shared"]), (&json!(true), &json!(0)));
        assert!(small["pushed"].as_str().unwrap().starts_with("20"));
    }
}

#[tokio::test]
async fn uploads_in_pages() {
    for world in World::both() {
        for number in 0..201 {
            world.begin_upload(&format!("a{number:03}"), "xyz").await;
        }
        let path = "/v2/_roadstead/uploads";
        let page = world.get(path).await;
        let found = page["uploads"].as_array().unwrap();
        assert_eq!((found.len(), &page["next"]), (200, &json!("a199")));
        assert_eq!(found[0]["repository"], "a000");
        assert_eq!(found[0]["id"].as_str().unwrap().len(), 8, "not the whole identifier");
        assert_eq!(page["complete"], true);
        let page = world.get(&format!("{path}?last=a199")).await;
        assert_eq!(page["uploads"][0]["repository"], "a200");
        assert!(page["uploads"][0]["size"].as_u64().unwrap() >= 3);
        assert_eq!(page["next"], json!(null));
    }
}
