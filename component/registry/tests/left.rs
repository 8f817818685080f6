//! Events that wait in the storage, under hosts that send no notifications.

use super::collection::world::{Client, World, order};
use bytes::Bytes;
use http::Request;
use roadstead_bridge::Services;
use roadstead_bridge::change::ChangeKind;
use roadstead_bridge::collect::OVERRIDES;
use roadstead_bridge::outbox::{EventsAnswer, LeftEvent, PATH, SHOWN, TakeRequest};
use roadstead_kit::bucket::MemoryBucket;
use roadstead_kit::contract::sha256;
use roadstead_kit::images::{IMAGE, INDEX, descriptor, image};
use roadstead_kit::native::NativeRegistry;
use roadstead_registry::SliceOptions;
use roadstead_storage::{Collection, EventName, Key, Storage};
use serde_json::json;
use std::time::Duration;

const STORED: &str = "REGISTRY_NOTIFICATIONS_OUTBOX_STORAGE";
const DELETE: (&str, &str) = ("REGISTRY_STORAGE_DELETE_ENABLED", "true");

/// A registry without a native host, with this value of the setting.
fn other(world: &impl World, stored: &str) -> NativeRegistry {
    NativeRegistry::new(world.storage(), &[DELETE, (STORED, stored)]).unwrap()
}

/// A registry in a native host.
fn native(world: &impl World) -> NativeRegistry {
    let settings = [DELETE, (STORED, "all")];
    NativeRegistry::offered(world.storage(), &settings, Services::parse("front")).unwrap()
}

async fn send(registry: &NativeRegistry, line: &str, media_type: &str, body: &str) -> u16 {
    let (method, path) = line.split_once(' ').unwrap();
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "registry.example")
        .header("user-agent", "docker/29")
        .header("content-type", media_type)
        .body(Bytes::copy_from_slice(body.as_bytes()));
    registry.send(request.unwrap()).await.status().as_u16()
}

/// What the host of a registry gets for the request of events.
async fn take(registry: &NativeRegistry, taken: &[String], header: bool) -> (u16, EventsAnswer) {
    let body = serde_json::to_vec(&TakeRequest { taken: taken.to_vec() }).unwrap();
    let mut request = Request::post(PATH);
    if header {
        request = request.header(OVERRIDES, "{}");
    }
    let response = registry.send(request.body(body.into()).unwrap()).await;
    (response.status().as_u16(), serde_json::from_slice(response.body()).unwrap_or_default())
}

fn summary(event: &LeftEvent) -> String {
    let of = &event.change;
    let size = of.size.map_or("-".to_owned(), |size| size.to_string());
    let kind = serde_json::to_value(of.kind).unwrap();
    let media_type = of.media_type.as_deref().unwrap_or("-");
    format!(
        "{} {} {} {size} {media_type} {}",
        kind.as_str().unwrap(),
        of.repository,
        of.tags.join(","),
        of.digest.as_deref().unwrap_or("-")
    )
}

async fn check(world: &impl World) {
    let registry = other(world, "all");
    let (config, layer) = ("{}", "a layer");
    let manifest = image(config, layer).to_string();
    let digests = [config, layer, &manifest].map(|text| sha256(text.as_bytes()));
    let [of_config, of_layer, of_manifest] = &digests;
    let blob = "application/octet-stream";
    for (line, media_type, body, status) in [
        (format!("POST /v2/a/blobs/uploads/?digest={of_config}"), blob, config, 201),
        (format!("POST /v2/a/blobs/uploads/?digest={of_layer}"), blob, layer, 201),
        ("PUT /v2/a/manifests/v1".to_owned(), IMAGE, &manifest, 201),
        // Refused.
        ("PUT /v2/a/manifests/v2".to_owned(), IMAGE, "{}", 400),
        ("GET /v2/a/manifests/v3".to_owned(), IMAGE, "", 404),
        ("GET /v2/a/tags/list".to_owned(), IMAGE, "", 200),
        (format!("POST /v2/b/blobs/uploads/?mount={of_layer}&from=a"), blob, "", 201),
        ("GET /v2/a/manifests/v1".to_owned(), IMAGE, "", 200),
        (format!("HEAD /v2/a/blobs/{of_layer}"), IMAGE, "", 200),
        ("DELETE /v2/a/manifests/v1".to_owned(), IMAGE, "", 202),
        ("DELETE /v2/a/manifests/v1".to_owned(), IMAGE, "", 404),
    ] {
        assert_eq!(send(&registry, &line, media_type, body).await, status, "{line}");
    }
    let expected = [
        format!("push a  2 {blob} {of_config}"),
        format!("push a  7 {blob} {of_layer}"),
        format!("push a v1 {} {IMAGE} {of_manifest}", manifest.len()),
        format!("mount b  - {blob} {of_layer}"),
        format!("pull a v1 {} {IMAGE} {of_manifest}", manifest.len()),
        format!("pull a  7 {blob} {of_layer}"),
        "delete a v1 - - -".to_owned(),
    ];
    let host = native(world);
    let (status, answer) = take(&host, &[], true).await;
    assert_eq!(status, 200);
    let events: Vec<_> = answer.objects.iter().flat_map(|it| &it.events).collect();
    let mut found: Vec<_> = events.iter().copied().map(summary).collect();
    // Two in the same millisecond are in any order.
    found.sort_unstable();
    let mut sorted = expected.to_vec();
    sorted.sort_unstable();
    assert_eq!(found, sorted);
    for event in events {
        let request = &event.request;
        assert_eq!(
            (&*request.host, &*request.base),
            ("registry.example", "http://registry.example")
        );
        assert_eq!((&*request.user_agent, event.user.as_deref()), ("docker/29", None));
        assert!(!request.id.is_empty() && request.path.starts_with("/v2/"), "{request:?}");
    }
    // They stay until they are taken, and nobody else takes them.
    assert_eq!(take(&host, &[], true).await, (200, answer.clone()));
    for registry in [&host, &registry] {
        assert_eq!(take(registry, &[], false).await.0, 403);
    }
    assert_eq!(take(&registry, &[], true).await.0, 403);
    let names: Vec<_> = answer.objects.into_iter().map(|object| object.name).collect();
    assert_eq!(take(&host, &names, true).await, (200, EventsAnswer::default()));
    // Once more: another host has taken them.
    assert_eq!(take(&host, &names, true).await.0, 200);
}

#[tokio::test]
async fn what_requests_do_is_left() {
    check(&MemoryBucket::default()).await;
    check(&tempfile::tempdir().unwrap()).await;
}

#[tokio::test]
async fn nothing_is_left_in_vain() {
    for (stored, services, expected) in
        [("off", "", 0), ("changes", "", 1), ("all", "", 2), ("all", "front", 0)]
    {
        let world = MemoryBucket::default();
        let (settings, services) = ([DELETE, (STORED, stored)], Services::parse(services));
        let registry = NativeRegistry::offered(world.storage(), &settings, services).unwrap();
        let digest = sha256(b"x");
        let line = format!("POST /v2/a/blobs/uploads/?digest={digest}");
        assert_eq!(send(&registry, &line, "", "x").await, 201);
        assert_eq!(send(&registry, &format!("GET /v2/a/blobs/{digest}"), "", "").await, 200);
        let left = take(&native(&world), &[], true).await.1.objects.len();
        assert_eq!(left, expected, "{stored} {services}");
    }
}

/// In the order of their times, and no more than an answer has.
#[tokio::test]
async fn events_are_taken_in_their_order() {
    const ALL: u64 = 250;
    // The others are of pulls, and older than some of these.
    const CHANGES: u64 = 170;
    let world = MemoryBucket::default();
    let storage = world.storage();
    for time in (0..ALL).rev() {
        let name = EventName { pulls: time >= CHANGES, time: time % CHANGES, id: 7 };
        storage.write(&Key::Events(name), Bytes::from_static(b"not JSON")).await.unwrap();
    }
    let host = native(&world);
    let (mut found, mut taken) = (Vec::new(), Vec::new());
    loop {
        let (status, answer) = take(&host, &taken, true).await;
        assert_eq!(status, 200);
        assert!(answer.objects.len() <= 100, "{}", answer.objects.len());
        if answer.objects.is_empty() {
            break;
        }
        // What cannot be read is said, so that it can be removed.
        assert!(answer.objects.iter().all(|object| object.events.is_empty()));
        taken = answer.objects.into_iter().map(|object| object.name).collect();
        found.extend(taken.iter().map(|name| {
            let name = EventName::parse(name).unwrap();
            name.time + if name.pulls { CHANGES } else { 0 }
        }));
    }
    assert_eq!(found, (0..ALL).collect::<Vec<_>>());
    // 64 KiB of names are no names of an answer.
    assert_eq!(take(&host, &vec!["0".repeat(57); 1500], true).await.0, 500);
    assert_eq!(take(&host, &["../a".to_owned()], true).await.0, 500);
}

#[tokio::test]
async fn the_longest_event_fits() {
    let world = MemoryBucket::default();
    let registry = other(&world, "changes");
    let child = |number: usize| descriptor(IMAGE, &number.to_string());
    let children: Vec<_> = (0..220).map(child).collect();
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": children });
    let tags: Vec<String> =
        (10..110).map(|tag| format!("tag={}", "t".repeat(125) + &tag.to_string())).collect();
    let digest = sha256(index.to_string().as_bytes());
    let line = format!("PUT /v2/{}/manifests/{digest}?{}", "a".repeat(200), tags.join("&"));
    assert_eq!(send(&registry, &line, INDEX, &index.to_string()).await, 201);
    let objects = take(&native(&world), &[], true).await.1.objects;
    let change = &objects[0].events[0].change;
    assert_eq!((change.tags.len(), change.references.len()), (100, 220));
}

/// One object has those of several pulls, and headers of clients are cut.
#[tokio::test]
async fn pulls_are_left_together() {
    let world = MemoryBucket::default();
    let registry = other(&world, "all");
    let digest = sha256(b"x");
    let line = format!("POST /v2/a/blobs/uploads/?digest={digest}");
    assert_eq!(send(&registry, &line, "", "x").await, 201);
    let pull = || {
        let uri = format!("/v2/a/blobs/{digest}");
        let request = Request::get(uri).header("user-agent", "a".repeat(2 * SHOWN));
        registry.send(request.body(Bytes::new()).unwrap())
    };
    futures::future::join_all((0..100).map(|_| pull())).await;
    let objects = take(&native(&world), &[], true).await.1.objects;
    let pulls = objects.iter().flat_map(|object| &object.events);
    let pulls: Vec<_> = pulls.filter(|it| it.change.kind == ChangeKind::Pull).collect();
    assert!((1..=100).contains(&pulls.len()), "{}", pulls.len());
    assert!(pulls.iter().all(|pull| pull.request.user_agent.len() == SHOWN));
}

/// A collector removes what has waited for more than a week, or of pulls for a day, and says so.
#[tokio::test]
async fn events_that_nobody_takes_are_removed() {
    async fn run(world: &impl World) {
        let registry = other(world, "all");
        for age in 0..3 {
            let content = age.to_string();
            let digest = sha256(content.as_bytes());
            let line = format!("POST /v2/a/blobs/uploads/?digest={digest}");
            assert_eq!(send(&registry, &line, "", &content).await, 201);
            assert_eq!(send(&registry, &format!("GET /v2/a/blobs/{digest}"), "", "").await, 200);
            if age < 2 {
                world.pass(Duration::from_hours(24 * 4));
            }
        }
        let left = async || {
            let storage = world.storage();
            storage.enumerate(&Collection::Events, None, 10).await.unwrap().entries.len()
        };
        let client = Client(registry);
        let dry = client.run(world, SliceOptions { dry_run: true, ..order() }).await;
        assert_eq!((dry.dropped_events, left().await), (0, 6));
        // One change and two pulls.
        let report = client.run(world, order()).await;
        assert_eq!((report.dropped_events, left().await), (3, 3));
    }
    run(&MemoryBucket::default()).await;
    run(&tempfile::tempdir().unwrap()).await;
}
