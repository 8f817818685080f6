//! Quotas: what counts, when space comes back, and what several pushes at once may add.

mod at_once;

use crate::collection::questions::get;
use crate::collection::world::{Client, DAY, DELETES, World, condemn, name, order};
use bytes::Bytes;
use roadstead_bridge::contents::{CONTENTS, ContentsAnswer, QUOTAS, QuotaUsage, QuotasAnswer};
use roadstead_kit::bucket::MemoryBucket;
use roadstead_kit::images::{IMAGE, INDEX, image};
use roadstead_kit::native::NativeRegistry;
use roadstead_storage::{Collection, Key, Pages, QuotaName, QuotaRecord, Storage};
use serde_json::{Value, json};
use std::time::Duration;

/// The rule of most tests.
const RULE: &str = "team team/** 8KiB 5 tags";

fn client(world: &impl World, rules: &str) -> Client {
    let settings = [DELETES, &[("REGISTRY_POLICY_QUOTAS", rules)]].concat();
    Client(NativeRegistry::new(world.storage(), &settings).unwrap())
}

/// Text of so many bytes, of which all begin differently.
fn text(number: usize, length: usize) -> String {
    format!("{number:<length$}")
}

/// The status of a push of an image whose layer has so many bytes, and the detail of the refusal.
async fn push(client: &Client, repository: &str, tag: &str, layer: &str) -> (u16, Value) {
    client.push_blob(repository, "config").await;
    client.push_blob(repository, layer).await;
    put(client, repository, tag, layer).await
}

async fn put(client: &Client, repository: &str, tag: &str, layer: &str) -> (u16, Value) {
    let path = format!("/v2/{repository}/manifests/{tag}");
    let body = Bytes::from(image("config", layer).to_string());
    let response = client.ask("PUT", &path, IMAGE, body).await;
    let said: Value = serde_json::from_slice(response.body()).unwrap_or_default();
    (response.status().as_u16(), said["errors"][0]["detail"].clone())
}

/// What is remembered of a rule.
async fn records(storage: &impl Storage, rule: &str) -> Vec<QuotaRecord> {
    let collection = Collection::Quota(QuotaName::parse(rule).unwrap());
    let mut pages = Pages::new(&collection, None, 1000);
    let mut records = Vec::new();
    while let Some(entries) = pages.next(storage).await.unwrap() {
        records.extend(entries.into_iter().filter_map(|entry| match entry.key {
            Key::Quota(_, record) => Some(record),
            _ => None,
        }));
    }
    records
}

/// What was counted for a rule at last: blobs, bytes and tags.
async fn counted(storage: &impl Storage, rule: &str) -> (u64, u64, u64) {
    let is_count = |record: &QuotaRecord| matches!(record, QuotaRecord::Count { .. });
    let last = records(storage, rule).await.into_iter().rfind(is_count).unwrap();
    let key = Key::Quota(QuotaName::parse(rule).unwrap(), last);
    let count: Value = serde_json::from_slice(&storage.read(&key).await.unwrap()).unwrap();
    let number = |name: &str| count[name].as_u64().unwrap();
    (number("blobs"), number("bytes"), number("tags"))
}

fn manifest_size(layer: &str) -> u64 {
    image("config", layer).to_string().len() as u64
}

/// Each blob once, however many repositories and manifests hold it; a run of the collector counts
/// anew, and forgets what was added.
#[tokio::test]
async fn what_is_shared_counts_once() {
    what_is_shared_counts_once_over(MemoryBucket::default()).await;
    what_is_shared_counts_once_over(tempfile::tempdir().unwrap()).await;
}

async fn what_is_shared_counts_once_over<W: World>(world: W) {
    let rules = "team team/**,!team/not 1MiB 9 tags; all ** 1GiB; none nobody/** 1KiB";
    let (client, storage) = (client(&world, rules), world.storage());
    let shared = text(1, 3000);
    for (repository, tag) in [
        ("team/a", "v1"),
        ("team/a", "v2"),
        ("team/b/c", "v1"),
        ("team/not", "v1"),
        ("teams", "v1"),
    ] {
        assert_eq!(push(&client, repository, tag, &shared).await.0, 201, "{repository}");
    }
    client.push_image("team/b/c", "own", "config", "own").await;
    client.push_image("other", "own", "config", "another's").await;
    let child = client.push_image("team/a", "", "config", "child").await;
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [
        { "mediaType": IMAGE, "digest": child, "size": manifest_size("child") },
    ]});
    client.push("team/a", "index", INDEX, &index).await;
    client.push_blob("team/a", "no manifest's").await;
    world.pass(Duration::from_mins(20));
    let report = client.run(&world, order()).await;
    assert_eq!(report.failure, None);
    // The configuration, three layers, one blob, and the manifests.
    let team = 6
        + 3000
        + 3
        + 5
        + 13
        + manifest_size(&shared)
        + manifest_size("own")
        + manifest_size("child")
        + index.to_string().len() as u64;
    assert_eq!(counted(&storage, "team").await, (9, team, 5));
    let others = 9 + manifest_size("another's");
    assert_eq!(counted(&storage, "all").await, (11, team + others, 8));
    assert_eq!(counted(&storage, "none").await, (0, 0, 0));
    for rule in ["team", "all", "none"] {
        let left = records(&storage, rule).await;
        assert!(
            matches!(left[..], [QuotaRecord::Count { .. }, QuotaRecord::Found(_, 0)]),
            "{left:?}"
        );
    }
    // All of it is known.
    assert_eq!(push(&client, "team/new", "v1", &shared).await.0, 201);
    let added = records(&storage, "team").await;
    let blobs = added.iter().filter(|record| matches!(record, QuotaRecord::AddedBlob { .. }));
    assert_eq!(blobs.count(), 0, "{added:?}");
}

/// Deleted content counts until it is collected, and then there is room again.
#[tokio::test]
async fn space_comes_back_when_it_is_counted() {
    let world = MemoryBucket::default();
    let (client, storage) = (client(&world, RULE), world.storage());
    let (one, two, three) = (text(1, 4000), text(2, 3000), text(3, 3000));
    assert_eq!(push(&client, "team/a", "v1", &one).await.0, 201);
    assert_eq!(push(&client, "team/b", "v1", &two).await.0, 201);
    let (status, detail) = push(&client, "team/c", "v1", &three).await;
    assert_eq!((status, &detail["resource"]), (403, &json!("bytes")), "{detail}");
    let digest = roadstead_kit::contract::sha256(image("config", &one).to_string().as_bytes());
    client.delete("team/a", &digest).await;
    // Its layer is still there, and what was refused is too.
    world.pass(Duration::from_mins(1));
    assert_eq!(put(&client, "team/c", "v1", &three).await.0, 403);
    let left = 6 + 4000 + 3000 + 3000 + manifest_size(&two);
    assert_eq!(counted(&storage, "team").await, (5, left, 1));
    let report = condemn(&world, &client).await;
    assert!(report.condemned > 0, "{report:?}");
    assert_eq!(counted(&storage, "team").await, (3, 6 + 3000 + manifest_size(&two), 1));
    assert_eq!(push(&client, "team/c", "v1", &three).await.0, 201);
    // A tag that is deleted is free once it is counted again.
    for tag in ["v2", "v3", "v4"] {
        assert_eq!(put(&client, "team/c", tag, &three).await.0, 201);
    }
    let (status, detail) = put(&client, "team/c", "v5", &three).await;
    let numbers = json!({ "rule": "team", "setting": "REGISTRY_POLICY_QUOTAS", "resource": "tags",
        "used": 5, "limit": 5, "needed": 1 });
    assert_eq!((status, detail), (403, numbers));
    assert_eq!(client.status("DELETE", "/v2/team/c/manifests/v4").await, 202);
    world.pass(Duration::from_mins(20));
    assert_eq!(put(&client, "team/c", "v5", &three).await.0, 201);
}

/// Over a directory, by the clock.
/// A manifest may say anything of the sizes of what it names, and nothing of it need be there.
#[tokio::test]
async fn what_manifests_only_say_does_not_count() {
    let world = MemoryBucket::default();
    let (client, storage) = (client(&world, RULE), world.storage());
    let absent = |text: &str, size: u64| {
        json!({ "mediaType": "a/b", "digest": roadstead_kit::contract::sha256(text.as_bytes()),
                "size": size, "urls": ["https://example.com/layer"] })
    };
    client.push_blob("team/a", "config").await;
    let mut manifest = image("config", "layer");
    manifest["layers"] = json!([absent("elsewhere", 1 << 60)]);
    manifest["else"] = absent("anything", 1 << 60);
    // Of a blob that is there, too.
    manifest["config"]["size"] = json!(1_u64 << 60);
    client.push("team/a", "v1", IMAGE, &manifest).await;
    world.pass(Duration::from_mins(20));
    let report = client.run(&world, order()).await;
    assert_eq!(report.failure, None);
    let bytes = 6 + manifest.to_string().len() as u64;
    assert_eq!(counted(&storage, "team").await, (2, bytes, 1));
    assert_eq!(push(&client, "team/b", "v1", "layer").await.0, 201);
}

#[tokio::test]
async fn a_deleted_tag_leaves_room_in_a_directory() {
    let world = tempfile::tempdir().unwrap();
    let client = client(&world, "team ** 1 tag");
    assert_eq!(push(&client, "a", "v1", "layer").await.0, 201);
    assert_eq!(put(&client, "a", "v2", "layer").await.0, 403);
    assert_eq!(client.status("DELETE", "/v2/a/manifests/v1").await, 202);
    // It may have been that the push goes on.
    world.pass(Duration::from_mins(20));
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(put(&client, "a", "v2", "layer").await.0, 201);
}

#[tokio::test]
async fn what_no_manifest_refers_to_counts_for_some_days() {
    let world = MemoryBucket::default();
    let (client, storage) = (client(&world, RULE), world.storage());
    assert_eq!(push(&client, "team/a", "v1", "layer").await.0, 201);
    let image = 6 + 5 + manifest_size("layer");
    client.push_blob("team/a", text(1, 7000)).await;
    client.push_blob("team/a", text(2, 7000)).await;
    world.pass(Duration::from_hours(1));
    // Noticed when it is counted again, which the next push does.
    assert_eq!(put(&client, "team/a", "v2", "layer").await.0, 201);
    assert_eq!(counted(&storage, "team").await, (5, image + 14_000, 1));
    assert_eq!(client.status("POST", "/v2/team/a/blobs/uploads/").await, 403);
    world.pass(8 * DAY);
    assert_eq!(client.status("POST", "/v2/team/a/blobs/uploads/").await, 202);
    assert_eq!(counted(&storage, "team").await, (3, image, 2));
}

/// More than one push counts; meanwhile what is pushed counts all the same.
#[tokio::test]
async fn a_count_goes_on_push_by_push() {
    let world = MemoryBucket::default();
    let former = Client(world.registry());
    for number in 0..60 {
        former.push_image(&format!("team/{number}"), "v1", "config", &text(number, 100)).await;
    }
    let (client, storage) = (client(&world, "team team/** 1MiB 70 tags"), world.storage());
    let mut pushes = 0;
    loop {
        pushes += 1;
        assert!(pushes < 10);
        let layer = text(1000 + pushes, 100);
        // The first ones come where was counted already.
        assert_eq!(push(&client, "team/0", &format!("new{pushes}"), &layer).await.0, 201);
        let records = records(&storage, "team").await;
        if records.iter().any(|record| matches!(record, QuotaRecord::Count { .. })) {
            break;
        }
        assert!(records.contains(&QuotaRecord::Counting), "{records:?}");
    }
    assert!(pushes > 1);
    let layers = 60 + pushes as u64;
    let total = 6 + layers * (100 + manifest_size(&text(1, 100)));
    // Whatever was counted, and added since, is all of it.
    let answer: QuotasAnswer = get(&client, QUOTAS).await;
    assert_eq!(answer.quotas[0].bytes, total);
    // A rule for other repositories is counted anew.
    let other = self::client(&world, "team team/0,team/1* 1MiB");
    push(&other, "team/1", "v2", "layer").await;
    let (_, bytes, _) = counted(&storage, "team").await;
    assert!(bytes < total, "{bytes}");
}

#[tokio::test]
async fn what_a_push_that_died_was_to_add_counts_for_a_while() {
    let world = MemoryBucket::default();
    let (client, storage) = (client(&world, "team team/** 8KiB"), world.storage());
    assert_eq!(push(&client, "team/a", "v1", "layer").await.0, 201);
    let died = QuotaRecord::AddedBlob { blob: 7, size: 7600, id: 9 };
    let key = Key::Quota(QuotaName::parse("team").unwrap(), died);
    storage.write(&key, Bytes::new()).await.unwrap();
    assert_eq!(push(&client, "team/a", "v2", "other").await.0, 403);
    world.pass(Duration::from_mins(10));
    assert_eq!(put(&client, "team/a", "v2", "other").await.0, 403);
    world.pass(Duration::from_mins(10));
    assert_eq!(put(&client, "team/a", "v2", "other").await.0, 201);
    assert!(!records(&storage, "team").await.contains(&died));
}

/// Rewrites the last count for a rule.
async fn rewrite(storage: &impl Storage, change: impl FnOnce(&mut Value)) -> QuotaRecord {
    let is_count = |record: &QuotaRecord| matches!(record, QuotaRecord::Count { .. });
    let last = records(storage, "team").await.into_iter().rfind(is_count).unwrap();
    let key = Key::Quota(QuotaName::parse("team").unwrap(), last);
    let mut count: Value = serde_json::from_slice(&storage.read(&key).await.unwrap()).unwrap();
    change(&mut count);
    storage.write(&key, count.to_string().into()).await.unwrap();
    last
}

#[tokio::test]
async fn large_counts_are_left_to_collections() {
    let world = MemoryBucket::default();
    let (client, storage) = (client(&world, "team team/** 1 tag"), world.storage());
    assert_eq!(push(&client, "team/a", "v1", "layer").await.0, 201);
    assert_eq!(client.status("DELETE", "/v2/team/a/manifests/v1").await, 202);
    world.pass(DAY);
    let last = rewrite(&storage, |count| count["blobs"] = json!(20_001)).await;
    assert_eq!(put(&client, "team/a", "v2", "layer").await.0, 403);
    assert!(records(&storage, "team").await.contains(&last));
    client.run(&world, order()).await;
    assert!(!records(&storage, "team").await.contains(&last));
    assert_eq!(put(&client, "team/a", "v2", "layer").await.0, 201);
}

/// A count that began earlier and ended later says less, and one that is damaged nothing.
#[tokio::test]
async fn the_count_that_began_last_counts() {
    let world = MemoryBucket::default();
    let (client, storage) = (client(&world, RULE), world.storage());
    assert_eq!(push(&client, "team/a", "v1", &text(1, 7000)).await.0, 201);
    client.run(&world, order()).await;
    let last = rewrite(&storage, |_| {}).await;
    let QuotaRecord::Count { begun, .. } = last else { panic!("{last:?}") };
    let quota = QuotaName::parse("team").unwrap();
    let text_of = storage.read(&Key::Quota(quota.clone(), last)).await.unwrap();
    let mut count: Value = serde_json::from_slice(&text_of).unwrap();
    (count["bytes"], count["begun"]) = (json!(0), json!(begun - 1000));
    let earlier = QuotaRecord::Count { begun: begun - 1000, id: u128::MAX };
    storage.write(&Key::Quota(quota.clone(), earlier), count.to_string().into()).await.unwrap();
    assert_eq!(push(&client, "team/a", "v2", &text(2, 1000)).await.0, 403);
    storage.write(&Key::Quota(quota, last), "{".into()).await.unwrap();
    assert_eq!(put(&client, "team/a", "v2", &text(2, 1000)).await.0, 403);
}

/// A repository that cannot be read is passed over.
#[tokio::test]
async fn damage_holds_up_no_push() {
    let world = MemoryBucket::default();
    let (client, storage) = (client(&world, "all ** 10MiB; few ** 5 tags"), world.storage());
    let blob = client.push_blob("bad", vec![0; 5 << 20]).await;
    storage.link(&Key::Revision(name("bad"), blob.clone()), &blob, None).await.unwrap();
    assert_eq!(push(&client, "good", "v1", "layer").await.0, 201);
    // It is counted again.
    world.pass(DAY);
    assert_eq!(push(&client, "good", "v2", "layer").await.0, 201);
    let answer: QuotasAnswer = get(&client, QUOTAS).await;
    assert!(answer.quotas.iter().all(|usage| usage.incomplete), "{answer:?}");
    let contents: ContentsAnswer = get(&client, CONTENTS).await;
    assert!(contents.repositories[0].incomplete && !contents.repositories[1].incomplete);
}

/// What a refused or failed push was to add is taken back at once.
#[tokio::test]
async fn a_refused_push_leaves_nothing() {
    let world = MemoryBucket::default();
    let (client, storage) = (client(&world, "one ** 1MiB; two ** 1KiB"), world.storage());
    let large = text(1, 2000);
    let (status, detail) = push(&client, "a", "v1", &large).await;
    assert_eq!((status, &detail["rule"]), (403, &json!("two")));
    for rule in ["one", "two"] {
        let left = records(&storage, rule).await;
        assert!(
            matches!(left[..], [QuotaRecord::Count { .. }, QuotaRecord::Found(..)]),
            "{left:?}"
        );
    }
    let missing = Bytes::from(image("config", "missing").to_string());
    let response = client.ask("PUT", "/v2/a/manifests/v1", IMAGE, missing).await;
    assert_eq!(response.status(), 400);
    assert_eq!(records(&storage, "one").await.len(), 2);
}

/// What is said to who may ask for maintenance: what there is, and by which figures pushes are
/// admitted.
#[tokio::test]
async fn contents_and_figures() {
    contents_and_figures_over(MemoryBucket::default()).await;
    contents_and_figures_over(tempfile::tempdir().unwrap()).await;
}

async fn contents_and_figures_over<W: World>(world: W) {
    let client = client(&world, "team team/** 8KiB 5 tags; all ** 1GiB");
    let quota = |name: &str, repositories: &str| QuotaUsage {
        name: name.to_owned(),
        repositories: repositories.to_owned(),
        ..QuotaUsage::default()
    };
    let team =
        QuotaUsage { bytes_limit: Some(8192), tags_limit: Some(5), ..quota("team", "team/**") };
    let all = QuotaUsage { bytes_limit: Some(1 << 30), ..quota("all", "**") };
    let answer: QuotasAnswer = get(&client, QUOTAS).await;
    assert_eq!(answer.quotas, [team.clone(), all.clone()]);
    let layer = text(1, 1000);
    for (repository, tag) in [("team/a", "v1"), ("team/a", "v2"), ("other", "v1")] {
        assert_eq!(push(&client, repository, tag, &layer).await.0, 201);
    }
    client.push_blob("other", "more").await;
    let bytes = 6 + 1000 + manifest_size(&layer);
    let answer: QuotasAnswer = get(&client, QUOTAS).await;
    let counted = |usage: &QuotaUsage| usage.counted.is_some();
    assert!(answer.quotas.iter().all(counted));
    let figures: Vec<_> = answer.quotas.iter().map(|usage| (usage.bytes, usage.tags)).collect();
    // Where no tags are limited, new ones are found by the next count.
    assert_eq!(figures, [(bytes, 2), (bytes, 0)]);
    let contents: ContentsAnswer = get(&client, CONTENTS).await;
    assert_eq!(contents.next.as_deref(), Some("team/a"));
    let shown: Vec<_> = contents
        .repositories
        .iter()
        .map(|one| {
            (one.name.as_str(), one.manifests, one.tags, one.blobs.len(), one.rules.join(" "))
        })
        .collect();
    let expected =
        [("other", 1, 1, 4, "all".to_owned()), ("team/a", 1, 2, 3, "team all".to_owned())];
    assert_eq!(shown, expected);
    let sum = |at: usize| contents.repositories[at].blobs.iter().map(|(_, size)| size).sum::<u64>();
    assert_eq!((sum(0), sum(1)), (bytes + 4, bytes));
    let rest: ContentsAnswer = get(&client, &format!("{CONTENTS}?last=team/a")).await;
    assert_eq!(rest, ContentsAnswer::default());
    // Within a repository.
    let blobs = &contents.repositories[0].blobs;
    let path = format!("{CONTENTS}?last=other@{}", blobs[1].0);
    let rest: ContentsAnswer = get(&client, &path).await;
    assert_eq!(
        (rest.repositories[0].blobs.as_slice(), rest.repositories[0].tags),
        (&blobs[2..], 0)
    );
    assert_eq!(rest.repositories[1], contents.repositories[1]);
}
