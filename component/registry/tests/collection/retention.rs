//! Tags expire by policies, can be brought back, and are gone for good later.

use super::world::{Client, DAY, IMAGE, World, exists, name, order};
use bytes::Bytes;
use roadstead_bridge::retention::{ExpiringAnswer, TagAnswer};
use roadstead_kit::bucket::MemoryBucket;
use roadstead_kit::native::NativeRegistry;
use roadstead_oci::{Digest, Tag};
use roadstead_registry::SliceOptions;
use roadstead_storage::{Collection, Key, Storage};
use serde::de::DeserializeOwned;

/// Runs a test over a directory and a bucket.
macro_rules! over_both {
    ($test:ident) => {
        $test(MemoryBucket::default()).await;
        $test(tempfile::tempdir().unwrap()).await;
    };
}

/// Of versions, the last two, and what was pushed in the last thirty days.
const VERSIONS: &str = r#"{"repositories": ["**", "!kept/**"], "keeptags": [
    {"patterns": "v.*", "mostrecentlypushedcount": 2, "pushedwithin": "30d"}]}"#;

pub(super) fn client<W: World>(world: &W, policies: &str, more: &[(&str, &str)]) -> Client {
    let settings = [
        ("REGISTRY_STORAGE_DELETE_ENABLED", "true"),
        ("REGISTRY_POLICY_RETENTION_DRYRUN", "false"),
        ("REGISTRY_POLICY_RETENTION_POLICIES", policies),
    ];
    Client(NativeRegistry::new(world.storage(), &[&settings, more].concat()).unwrap())
}

fn tag(repository: &str, text: &str) -> Key {
    Key::Tag(name(repository), Tag::parse(text).unwrap())
}

fn moved(repository: &str, text: &str) -> Key {
    Key::MovedTag(name(repository), Tag::parse(text).unwrap())
}

async fn answer<T: DeserializeOwned>(client: &Client, path: &str) -> T {
    let response = client.ask("GET", path, "", Bytes::new()).await;
    assert_eq!(response.status(), 200, "{path}: {response:?}");
    serde_json::from_slice(response.body()).unwrap()
}

pub(super) async fn explain(client: &Client, repository: &str, tag: &str) -> TagAnswer {
    answer(client, &format!("/v2/{repository}/_roadstead/retention/{tag}")).await
}

/// All that expires, as `<name>:<tag>`.
pub(super) async fn expiring(client: &Client) -> Vec<String> {
    let (mut all, mut path) = (Vec::new(), "/v2/_roadstead/retention".to_owned());
    for _ in 0..1000 {
        let page: ExpiringAnswer = answer(client, &path).await;
        for found in page.repositories {
            all.extend(found.tags.iter().map(|tag| format!("{}:{}", found.name, tag.tag)));
        }
        let Some(next) = page.next else { return all };
        path = format!("/v2/_roadstead/retention?last={next}");
    }
    panic!("the list does not end");
}

async fn tags(client: &Client, repository: &str) -> String {
    #[derive(serde::Deserialize)]
    struct Tags {
        tags: Vec<String>,
    }
    let path = format!("/v2/{repository}/tags/list");
    answer::<Tags>(client, &path).await.tags.join(" ")
}

/// Images `v1` to `v5` in a repository, each a day younger than the one before, the last one
/// forty days ago; and `main`.
async fn versions<W: World>(world: &W, client: &Client, repository: &str) -> Vec<Digest> {
    let mut digests = vec![client.push_image(repository, "main", "main", "main").await];
    for number in 1..=5 {
        let (tag, text) = (format!("v{number}"), format!("{repository} {number}"));
        digests.push(client.push_image(repository, &tag, &text, &text).await);
        world.pass(DAY);
    }
    world.pass(39 * DAY);
    digests
}

#[tokio::test]
async fn tags_expire() {
    async fn check<W: World>(world: W) {
        let client = client(&world, VERSIONS, &[]);
        let digests = versions(&world, &client, "a").await;
        versions(&world, &client, "kept/b").await;
        let expected = ["a:v1", "a:v2", "a:v3"];
        assert_eq!(expiring(&client).await, expected);
        let dry = client.run(&world, SliceOptions { dry_run: true, ..order() }).await;
        assert_eq!((dry.expired, dry.expiring), (3, 0), "{dry:?}");
        assert_eq!(dry.expired_tags, expected);
        let before = explain(&client, "a", "v1").await;
        assert!(before.expires && before.rules.len() == 2, "{before:?}");
        let report = client.run(&world, SliceOptions { budget: 1, ..order() }).await;
        assert_eq!((report.expired, report.expiring), (3, 0), "{report:?}");
        assert!(report.expired_tags.is_empty());
        assert_eq!(tags(&client, "a").await, "main v4 v5");
        assert_eq!(tags(&client, "kept/b").await, "main v1 v2 v3 v4 v5");
        let after = explain(&client, "a", "v1").await;
        let removed = after.removed.unwrap();
        assert_eq!((removed.digest, removed.run), (digests[1].to_string(), report.run.clone()));
        assert!(!after.expires && explain(&client, "a", "x").await.removed.is_none());
        // The manifest stays, and can be pulled by digest.
        let path = format!("/v2/a/manifests/{}", digests[1]);
        assert_eq!(client.status("GET", &path).await, 200);
        assert_eq!(expiring(&client).await, [""; 0]);
        for (tag, expected) in [("v4", "mostrecentlypushedcount 2: keeps"), ("main", "no pattern")]
        {
            let said = explain(&client, "a", tag).await;
            assert!(!said.expires && said.reason.contains(expected), "{said:?}");
        }
        assert!(explain(&client, "kept/b", "v1").await.reason.contains("no policy"));
        // Undone, they are there again, with what they led to.
        let undo = SliceOptions { undo: u128::from_str_radix(&report.run, 16).ok(), ..order() };
        let dry = client.run(&world, SliceOptions { dry_run: true, ..undo }).await;
        assert_eq!(dry.restored_tags, 3);
        assert_eq!(tags(&client, "a").await, "main v4 v5");
        let undone = client.run(&world, undo).await;
        assert_eq!((undone.restored_tags, undone.expired), (3, 0), "{undone:?}");
        assert_eq!(tags(&client, "a").await, "main v1 v2 v3 v4 v5");
        assert_eq!(client.status("GET", "/v2/a/manifests/v1").await, 200);
        // They stay, and no other ones go in their place, until they are pushed again.
        assert_eq!(expiring(&client).await, [""; 0]);
        let said = explain(&client, "a", "v1").await;
        assert!(!said.expires && said.reason.contains("an undo brought it back"), "{said:?}");
        world.pass(9 * DAY);
        assert_eq!(client.run(&world, order()).await.expired, 0);
        client.push_image("a", "v1", "again", "again").await;
        assert_eq!(client.status("DELETE", "/v2/a/manifests/v2").await, 202);
        world.pass(DAY);
        assert_eq!(expiring(&client).await, ["a:v4"]);
        assert_eq!(client.run(&world, order()).await.expired, 1);
        assert_eq!(tags(&client, "a").await, "main v1 v3 v5");
        let storage = world.storage();
        assert!(exists(&storage, moved("a", "v3")).await);
        assert!(!exists(&storage, moved("a", "v1")).await);
        assert!(!exists(&storage, moved("a", "v2")).await);
    }
    over_both!(check);
}

/// Without being told otherwise, nothing is removed.
#[tokio::test]
async fn a_first_run_only_looks() {
    async fn check<W: World>(world: W) {
        let settings = [
            ("REGISTRY_STORAGE_DELETE_ENABLED", "true"),
            ("REGISTRY_POLICY_RETENTION_POLICIES", VERSIONS),
        ];
        let client = Client(NativeRegistry::new(world.storage(), &settings).unwrap());
        versions(&world, &client, "a").await;
        let report = client.run(&world, order()).await;
        assert_eq!((report.expired, report.expiring), (0, 3), "{report:?}");
        assert_eq!(report.expired_tags, expiring(&client).await);
        assert_eq!(tags(&client, "a").await, "main v1 v2 v3 v4 v5");
        assert!(explain(&client, "a", "v1").await.dry_run);
    }
    over_both!(check);
}

/// What was removed is held until it cannot be brought back any longer.
#[tokio::test]
async fn what_led_somewhere_is_held() {
    async fn check<W: World>(world: W) {
        let policies = VERSIONS.replacen('{', r#"{"deleteuntagged": true, "#, 1);
        let client = client(&world, &policies, &[]);
        let digests = versions(&world, &client, "a").await;
        let storage = world.storage();
        let report = client.run(&world, order()).await;
        assert_eq!((report.expired, report.untagged), (3, 0), "{report:?}");
        let revision = Key::Revision(name("a"), digests[1].clone());
        world.pass(7 * DAY);
        assert_eq!(client.run(&world, order()).await.untagged, 0);
        assert!(
            exists(&storage, revision.clone()).await && exists(&storage, moved("a", "v1")).await
        );
        world.pass(2 * DAY);
        let report = client.run(&world, order()).await;
        assert_eq!(report.untagged, 3, "{report:?}");
        assert!(!exists(&storage, revision).await && !exists(&storage, moved("a", "v1")).await);
        assert_eq!(tags(&client, "a").await, "main v4 v5");
        assert_eq!(client.status("GET", "/v2/a/manifests/v5").await, 200);
    }
    over_both!(check);
}

/// What nobody else needs goes at once where nobody else uses the storage.
#[tokio::test]
async fn alone_tags_go_for_good() {
    async fn check<W: World>(world: W) {
        let policies = VERSIONS.replacen('{', r#"{"deleteuntagged": true, "#, 1);
        let client = client(&world, &policies, &[]);
        let digests = versions(&world, &client, "a").await;
        let storage = world.storage();
        let exclusive = SliceOptions { exclusive: true, ..order() };
        let report = client.run(&world, exclusive).await;
        assert_eq!((report.expired, report.untagged), (3, 3), "{report:?}");
        assert!(report.removed >= 6, "{report:?}");
        assert!(!exists(&storage, moved("a", "v1")).await);
        assert!(!exists(&storage, Key::Blob(digests[1].clone())).await);
        assert_eq!(tags(&client, "a").await, "main v4 v5");
    }
    over_both!(check);
}

/// Tags that cannot be deleted, and those that somebody deletes or pushes.
#[tokio::test]
async fn what_else_is_done_with_tags() {
    async fn check<W: World>(world: W) {
        let rule = [("REGISTRY_POLICY_IMMUTABLE", "first a v1")];
        let client = client(&world, VERSIONS, &rule);
        versions(&world, &client, "a").await;
        let storage = world.storage();
        assert_eq!(expiring(&client).await, ["a:v2", "a:v3"]);
        let said = explain(&client, "a", "v1").await;
        assert!(
            !said.expires && said.reason.contains("immutable by the rule \"first\""),
            "{said:?}"
        );
        let report = client.run(&world, order()).await;
        assert_eq!(report.expired, 2, "{report:?}");
        let undo = SliceOptions { undo: u128::from_str_radix(&report.run, 16).ok(), ..order() };
        // A deletion of the tag is one for good, and a push is not undone.
        assert_eq!(client.status("DELETE", "/v2/a/manifests/v2").await, 404);
        let pushed = client.push_image("a", "v3", "again", "again").await;
        let report = client.run(&world, undo).await;
        assert_eq!(report.restored_tags, 0, "{report:?}");
        let value = storage.read(&tag("a", "v3")).await.unwrap();
        assert_eq!(value, pushed.as_str().as_bytes());
        assert_eq!(tags(&client, "a").await, "main v1 v3 v4 v5");
        assert!(exists(&storage, moved("a", "v3")).await);
    }
    over_both!(check);
}

/// A repository that is deleted leaves nothing of what was removed from it.
#[tokio::test]
async fn deleted_with_the_repository() {
    async fn check<W: World>(world: W) {
        let policy = r#"{"repositories": "**", "keeptags": [{"pulledwithin": "10d"}]}"#;
        let client = client(&world, policy, &[]);
        versions(&world, &client, "a").await;
        assert_eq!(client.status("HEAD", "/v2/a/manifests/v1").await, 200);
        world.pass(20 * DAY);
        assert_eq!(client.run(&world, order()).await.expired, 6);
        world.pass(3 * DAY);
        for _ in 0..3 {
            client.status("DELETE", "/v2/a/_roadstead/repository").await;
        }
        assert_eq!(client.status("DELETE", "/v2/a/_roadstead/repository").await, 404);
        let storage = world.storage();
        for collection in [Collection::MovedTags(name("a")), Collection::Pulled(name("a"))] {
            let left = storage.enumerate(&collection, None, 10).await.unwrap();
            assert_eq!(left.entries, []);
        }
    }
    over_both!(check);
}

/// Pulls by tag are recorded, and count once that has gone on for long enough.
#[tokio::test]
async fn pulls_are_recorded_once_a_day() {
    async fn check<W: World>(world: W) {
        let policy =
            r#"{"repositories": "a", "keeptags": [{"patterns": "v.*", "pulledwithin": "10d"}]}"#;
        let client = client(&world, policy, &[]);
        let digests = versions(&world, &client, "a").await;
        versions(&world, &client, "b").await;
        let storage = world.storage();
        let recorded = async |repository: &str| {
            let collection = Collection::Pulled(name(repository));
            storage.enumerate(&collection, None, 10).await.unwrap().entries
        };
        // Nothing is known yet, so nothing expires.
        assert_eq!(client.run(&world, order()).await.expired, 0);
        for path in [
            "a/manifests/v1".to_owned(),
            "a/manifests/x".to_owned(),
            format!("a/manifests/{}", digests[2]),
            "b/manifests/v1".to_owned(),
        ] {
            client.ask("GET", &format!("/v2/{path}"), IMAGE, Bytes::new()).await;
        }
        assert_eq!(client.status("HEAD", "/v2/a/manifests/v2").await, 200);
        let first = recorded("a").await;
        assert_eq!(first.len(), 2, "{first:?}");
        assert_eq!(recorded("b").await, []);
        // Not again on the same day, by another instance neither.
        let other = self::client(&world, policy, &[]);
        for client in [&client, &other] {
            assert_eq!(client.status("GET", "/v2/a/manifests/v1").await, 200);
        }
        assert_eq!(recorded("a").await, first);
        let said = explain(&client, "a", "v3").await;
        assert!(said.reason.contains("not been recorded for long enough"), "{said:?}");
        assert!(said.recorded.is_some() && said.pulled.is_none(), "{said:?}");
        world.pass(5 * DAY);
        // The next day: what the record says is of long ago.
        let key = Key::Pulled(name("a"), Tag::parse("v1").unwrap());
        storage.write(&key, Bytes::from_static(b"1000")).await.unwrap();
        let other = self::client(&world, policy, &[]);
        assert_eq!(other.status("GET", "/v2/a/manifests/v1").await, 200);
        assert_ne!(storage.read(&key).await.unwrap(), "1000");
        world.pass(5 * DAY);
        assert_eq!(expiring(&client).await, [""; 0]);
        world.pass(DAY);
        assert_eq!(expiring(&client).await, ["a:v2", "a:v3", "a:v4", "a:v5"]);
        world.pass(5 * DAY);
        assert_eq!(expiring(&client).await.len(), 5);
        // Other settings begin anew.
        let policy = policy.replace(r#""a""#, r#"["a", "b"]"#);
        let other = self::client(&world, &policy, &[]);
        assert_eq!(expiring(&other).await, [""; 0]);
        // And where nobody asks for it any longer, what was recorded counts no more.
        assert_eq!(self::client(&world, VERSIONS, &[]).run(&world, order()).await.expired, 6);
        assert_eq!(expiring(&client).await, [""; 0]);
    }
    over_both!(check);
}

#[tokio::test]
async fn what_expires_is_listed_in_pages() {
    let world = MemoryBucket::default();
    let policy = r#"{"repositories": "**", "keeptags": [{"pushedwithin": "1d"}]}"#;
    let client = client(&world, policy, &[]);
    let mut expected = Vec::new();
    for (repository, count) in [("a", 700), ("a-b", 1), ("b", 300)] {
        client.push_image(repository, "t0", "config", "layer").await;
        for number in 1..count {
            client.push_image(repository, &format!("t{number}"), "config", "layer").await;
        }
        let mut tags: Vec<_> = (0..count).map(|number| format!("{repository}:t{number}")).collect();
        tags.sort();
        expected.extend(tags);
    }
    world.pass(2 * DAY);
    let first: ExpiringAnswer = answer(&client, "/v2/_roadstead/retention").await;
    assert_eq!(first.repositories[0].tags.len(), 200);
    assert_eq!(expiring(&client).await, expected);
}

#[tokio::test]
async fn expired_tags_are_named_up_to_a_limit() {
    let world = MemoryBucket::default();
    let policy = r#"{"repositories": "**", "keeptags": [{"pushedwithin": "1d"}]}"#;
    let client = client(&world, policy, &[]);
    for number in 0..70 {
        client.push_image("a", &format!("t{number}"), "config", "layer").await;
    }
    world.pass(2 * DAY);
    let dry = client.run(&world, SliceOptions { dry_run: true, ..order() }).await;
    assert_eq!((dry.expired, dry.expired_tags.len()), (70, 50));
    // In several batches.
    let report = client.run(&world, order()).await;
    assert_eq!(report.expired, 70);
    assert_eq!(tags(&client, "a").await, "");
}
