//! Notifications of real requests, as an endpoint receives them.
//!
//! `ROADSTEAD_NOTIFIED_PUSHES` and `ROADSTEAD_NOTIFIED_KILLS` are the numbers of pushes and of kills
//! of `kills_lose_and_invent_no_event`.

use crate::receiver::Receiver;
use crate::support::{TEST_LIMIT, ask, build, eventually, request, within};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use roadstead_directory::{Directory, DirectoryStorage};
use roadstead_kit::directory::NativeDirectory;
use roadstead_kit::native::NativeRegistry;
use roadstead_tests::{
    PASSWORD, Registry, SmallImage, Target, USER, Wasmtime, digest, entry, run, send,
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Pushes and kills by default.
const PUSHES: usize = 400;
const KILLS: usize = 3;

/// Clients that push at the same time.
const CLIENTS: usize = 8;

/// Time for a push, for the limit of the test.
const PUSH_LIMIT: Duration = Duration::from_millis(50);

fn start(root: &Path, receiver: &Receiver, more: &[(&str, &str)]) -> Registry {
    let url = format!("http://{}/events", receiver.address);
    let mut variables = vec![
        ("REGISTRY_NOTIFICATIONS_ENDPOINTS_0_NAME", "alice"),
        ("REGISTRY_NOTIFICATIONS_ENDPOINTS_0_URL", url.as_str()),
        ("REGISTRY_NOTIFICATIONS_ENDPOINTS_0_BACKOFF", "50ms"),
        ("REGISTRY_STORAGE_DELETE_ENABLED", "true"),
    ];
    variables.extend(more);
    Registry::start(root, &variables, &[]).unwrap()
}

/// The events in bodies.
fn events(bodies: &[Vec<u8>]) -> Vec<Value> {
    let events = bodies.iter().flat_map(|body| {
        let envelope: Value = serde_json::from_slice(body).unwrap();
        envelope["events"].as_array().unwrap().clone()
    });
    events.collect()
}

/// What an event says, in one line.
fn summary(event: &Value) -> String {
    let target = &event["target"];
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let media_type = text(&target["mediaType"]);
    format!(
        "{} {} {} {} {} {} {}",
        text(&event["action"]),
        text(&event["request"]["method"]),
        text(&target["repository"]),
        text(&target["tag"]),
        text(&target["digest"]),
        target["size"],
        media_type.rsplit('.').next().unwrap_or_default(),
    )
}

#[tokio::test]
async fn requests_are_notified() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("htpasswd");
    std::fs::write(&file, entry().unwrap()).unwrap();
    let users = [
        ("REGISTRY_AUTH", "htpasswd"),
        ("REGISTRY_AUTH_HTPASSWD_PATH", file.to_str().unwrap()),
        ("REGISTRY_NOTIFICATIONS_EVENTS_INCLUDEREFERENCES", "true"),
    ];
    let receiver = Receiver::start().await;
    let host = start(&root.path().join("data"), &receiver, &users);
    let image = SmallImage::new("1.2", 1);
    let [config, layer, manifest] = image.digests();
    let login = format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")));
    let by = |line: &str| {
        let request = build(line).header("authorization", &login).header("user-agent", "docker/29");
        request.body(Bytes::new()).unwrap()
    };
    within(TEST_LIMIT, async {
        let pushed = image.pushed().into_iter().map(|step| step.login(USER, PASSWORD));
        run(&Target::Server(host.address.clone()), &pushed.collect::<Vec<_>>()).await;
        let by_tag = "/v2/team/app/manifests/1.2";
        let mut statuses = Vec::new();
        for line in [
            format!("GET {by_tag}"),
            // From the cache.
            format!("GET {by_tag}"),
            format!("HEAD {by_tag}"),
            format!("GET /v2/team/app/blobs/{layer}"),
            "GET /v2/team/app/tags/list".to_owned(),
            "GET /v2/team/app/manifests/missing".to_owned(),
            format!("POST /v2/other/blobs/uploads/?mount={layer}&from=team/app"),
            format!("DELETE {by_tag}"),
            format!("DELETE /v2/team/app/manifests/{manifest}"),
            format!("DELETE /v2/team/app/blobs/{layer}"),
        ] {
            statuses.push(send(&host.address, by(&line)).await.unwrap().status().as_u16());
        }
        assert_eq!(statuses, [200, 200, 200, 200, 200, 404, 201, 202, 202, 202]);
        let mut expected = vec![
            format!("push POST team/app - {config} 13 application/octet-stream"),
            format!("push POST team/app - {layer} 3 application/octet-stream"),
            format!("mount POST other - {layer} 0 application/octet-stream"),
            "delete DELETE team/app 1.2  0 ".to_owned(),
            format!("delete DELETE team/app - {manifest} 0 "),
            format!("delete DELETE team/app - {layer} 0 "),
            format!("pull GET team/app - {layer} 3 application/octet-stream"),
        ];
        let size = image.bytes() - 16;
        for (action, method) in
            [("push", "PUT"), ("pull", "GET"), ("pull", "GET"), ("pull", "HEAD")]
        {
            expected.push(format!("{action} {method} team/app 1.2 {manifest} {size} v1+json"));
        }
        let mut heard = Vec::new();
        eventually("all events", async || {
            heard.extend(events(&receiver.take()));
            (heard.len() >= expected.len()).then_some(())
        })
        .await;
        let mut summaries: Vec<_> = heard.iter().map(summary).collect();
        summaries.sort_unstable();
        expected.sort_unstable();
        assert_eq!(summaries, expected);
        details(&heard, &host.address, &[config, layer, manifest]);
    })
    .await;
}

/// A registry without endpoints leaves an outbox alone: what waits there may be another process's.
#[tokio::test]
async fn an_outbox_of_others_is_left_alone() {
    let root = tempfile::tempdir().unwrap();
    let outbox = root.path().join(".roadstead/events");
    std::fs::create_dir_all(&outbox).unwrap();
    let segment = outbox.join("00000000000000000001.events");
    std::fs::write(&segment, "another's").unwrap();
    let disabled = [
        ("REGISTRY_NOTIFICATIONS_ENDPOINTS_0_NAME", "alice"),
        ("REGISTRY_NOTIFICATIONS_ENDPOINTS_0_URL", "http://127.0.0.1:1/"),
        ("REGISTRY_NOTIFICATIONS_ENDPOINTS_0_DISABLED", "true"),
    ];
    for settings in [&[][..], &disabled] {
        let mut host = Registry::start(root.path(), settings, &[]).unwrap();
        ask(&host.address, request("GET /v2/", ""), 200).await;
        host.signal("TERM").unwrap();
        assert_eq!(host.wait().unwrap().code(), Some(0));
        assert_eq!(std::fs::read_to_string(&segment).unwrap(), "another's");
        assert_eq!(std::fs::read_dir(&outbox).unwrap().count(), 1);
    }
}

/// What is done under other hosts over the same storage is sent by this one, once, and is gone from
/// the storage then.
#[tokio::test]
async fn events_of_other_hosts_are_sent() {
    const STORED: (&str, &str) = ("REGISTRY_NOTIFICATIONS_OUTBOX_STORAGE", "changes");
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    let receiver = Receiver::start().await;
    let host = start(&data, &receiver, &[STORED]);
    let storage = DirectoryStorage(NativeDirectory::new(Directory::open(&data).unwrap()));
    let other = NativeRegistry::new(storage, &[STORED]).unwrap();
    let wasmtime = Wasmtime::start_with(&data, &[STORED]).unwrap();
    within(TEST_LIMIT, async {
        let mut expected = BTreeSet::new();
        for number in 0..20 {
            let content = format!("blob {number}");
            let uri = format!("/v2/a/blobs/uploads/?digest={}", digest(content.as_bytes()));
            let request = Request::post(&uri).body(Bytes::from(content.clone())).unwrap();
            match &wasmtime {
                Some(wasmtime) if number >= 10 => {
                    let request = request.map(|body| (content.len(), body));
                    let (mut parts, (length, body)) = request.into_parts();
                    parts.headers.insert("content-length", length.into());
                    let request = Request::from_parts(parts, body);
                    let status = send(&wasmtime.address, request).await.unwrap().status();
                    assert_eq!(status, 201);
                }
                _ => assert_eq!(other.send(request).await.status(), 201),
            }
            expected.insert(digest(content.as_bytes()));
        }
        let (mut found, mut count) = (BTreeSet::new(), 0);
        eventually("all events", async || {
            for event in events(&receiver.take()) {
                count += 1;
                assert_eq!(event["action"], "push", "{event}");
                assert!(event["source"]["instanceID"].is_string(), "{event}");
                found.insert(event["target"]["digest"].as_str().unwrap().to_owned());
            }
            (found.len() >= expected.len()).then_some(())
        })
        .await;
        assert_eq!(found, expected);
        assert_eq!(count, expected.len());
        let left = data.join(".roadstead/outbox");
        eventually("nothing is left", async || {
            // The directory goes with the last of them.
            (std::fs::read_dir(&left).map_or(0, Iterator::count) == 0).then_some(())
        })
        .await;
        drop(host);
    })
    .await;
}

/// What all events have, and what only one has.
fn details(events: &[Value], address: &str, [config, layer, manifest]: &[String; 3]) {
    let ids: BTreeSet<_> = events.iter().map(|event| event["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), events.len());
    for event in events {
        assert_eq!(event["actor"]["name"], USER, "{event}");
        assert_eq!(event["request"]["addr"], "127.0.0.1", "{event}");
        assert_eq!(event["request"]["host"], *address, "{event}");
        assert!(!event["request"]["id"].as_str().unwrap().is_empty(), "{event}");
        assert!(event["source"]["instanceID"].is_string(), "{event}");
        let target = &event["target"];
        if event["action"] != "delete" {
            let path = match target["digest"].as_str() {
                Some(digest) if digest == manifest => format!("manifests/{digest}"),
                digest => format!("blobs/{}", digest.unwrap()),
            };
            let repository = target["repository"].as_str().unwrap();
            assert_eq!(target["url"], format!("http://{address}/v2/{repository}/{path}"));
        }
        if event["action"] == "mount" {
            assert_eq!(target["fromRepository"], "team/app");
        }
        if event["action"] == "push" && target["tag"] == "1.2" {
            let of = |at: usize| target["references"][at]["digest"].as_str().unwrap();
            assert_eq!([of(0), of(1)], [config, layer], "{event}");
        } else {
            assert!(target["references"].is_null(), "{event}");
        }
    }
    let pulls = events.iter().filter(|event| event["request"]["method"] == "GET");
    assert!(pulls.clone().all(|event| event["request"]["useragent"] == "docker/29"));
}

/// A pusher of tags that no other has: what was acknowledged, and what was sent.
#[derive(Default)]
struct Pushes {
    /// The digest of each tag that was acknowledged.
    acknowledged: BTreeMap<String, String>,
    tried: BTreeSet<String>,
}

fn manifest(tag: &str) -> String {
    let annotations = json!({ "tag": tag });
    json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [], "annotations": annotations })
        .to_string()
}

/// Pushes until the connection ends, or `left` is used up.
async fn push(address: String, client: usize, life: usize, left: Arc<AtomicUsize>) -> Pushes {
    let mut pushes = Pushes::default();
    let stream = TcpStream::connect(&address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let one_less = |left: usize| left.checked_sub(1);
    for number in 0.. {
        if left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_err() {
            break;
        }
        let tag = format!("{life}-{client}-{number}");
        let body = manifest(&tag);
        pushes.tried.insert(tag.clone());
        let request = Request::put(format!("/v2/a/manifests/{tag}"))
            .header("host", &address)
            .header("content-type", INDEX)
            .body(Full::new(Bytes::from(body.clone())));
        let answer = async {
            let answer = sender.send_request(request.unwrap()).await?;
            let status = answer.status();
            answer.into_body().collect().await?;
            Ok::<_, hyper::Error>(status)
        };
        match answer.await {
            Ok(status) => assert_eq!(status, 201),
            // It was killed.
            Err(_) => break,
        }
        pushes.acknowledged.insert(tag, digest(body.as_bytes()));
    }
    pushes
}

/// What was received of pushes: the digest of each tag, and how often there was more than one event.
#[derive(Default)]
struct Heard {
    digests: BTreeMap<String, String>,
    repeated: usize,
}

impl Heard {
    fn hear(&mut self, receiver: &Receiver) {
        for event in events(&receiver.take()) {
            assert_eq!(event["action"], "push");
            let text = |of: &str| event["target"][of].as_str().unwrap().to_owned();
            let before = self.digests.insert(text("tag"), text("digest"));
            self.repeated += usize::from(before.is_some());
        }
    }
}

/// Each push that was acknowledged is delivered at least once, although the registry is killed again
/// and again, and the endpoint is down meanwhile; and no event is of a push that was not stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_lose_and_invent_no_event() {
    let number = |name, default| env::var(name).map_or(default, |text| text.parse().unwrap());
    let pushes = number("ROADSTEAD_NOTIFIED_PUSHES", PUSHES);
    let kills = number("ROADSTEAD_NOTIFIED_KILLS", KILLS);
    let root = tempfile::tempdir().unwrap();
    let receiver = Receiver::start().await;
    let limit = TEST_LIMIT + PUSH_LIMIT * u32::try_from(pushes).unwrap();
    let journal = [("REGISTRY_STORAGE_FILESYSTEM_JOURNAL", "true")];
    let began = Instant::now();
    within(limit, async {
        let (mut all, mut heard) = (Pushes::default(), Heard::default());
        for life in 0..=kills {
            let mut host = start(root.path(), &receiver, &journal);
            // The last one is up; of the others, each third is down, and each third fails.
            let trouble = (life < kills).then_some(life % 3);
            receiver.set_down(trouble == Some(1));
            receiver.answer_with(if trouble == Some(2) { 503 } else { 200 });
            let left = Arc::new(AtomicUsize::new(pushes / (kills + 1)));
            let clients: Vec<_> = (0..CLIENTS)
                .map(|client| {
                    tokio::spawn(push(host.address.clone(), client, life, Arc::clone(&left)))
                })
                .collect();
            if life < kills {
                // With requests in flight: the last ones are about to be answered.
                eventually("pushes", async || {
                    heard.hear(&receiver);
                    (left.load(Ordering::SeqCst) <= CLIENTS).then_some(())
                })
                .await;
                host.kill().unwrap();
            }
            for client in clients {
                let more = client.await.unwrap();
                all.acknowledged.extend(more.acknowledged);
                all.tried.extend(more.tried);
            }
            if life == kills {
                eventually("all events", async || {
                    heard.hear(&receiver);
                    let has = |tag: &String| heard.digests.contains_key(tag);
                    all.acknowledged.keys().all(has).then_some(())
                })
                .await;
                compare(&host.address, &all, &heard).await;
            }
        }
        println!(
            "{} pushes were acknowledged and {} not; {kills} kills; {} events, {} of them once more; {:?}",
            all.acknowledged.len(),
            all.tried.len() - all.acknowledged.len(),
            heard.digests.len() + heard.repeated,
            heard.repeated,
            began.elapsed()
        );
    })
    .await;
}

async fn compare(address: &str, all: &Pushes, heard: &Heard) {
    for (tag, digest) in &all.acknowledged {
        assert_eq!(heard.digests[tag], *digest);
    }
    for (tag, digest) in &heard.digests {
        assert!(all.tried.contains(tag), "{tag} was not pushed");
        if !all.acknowledged.contains_key(tag) {
            let line = format!("HEAD /v2/a/manifests/{tag}");
            let answer = ask(address, request(&line, ""), 200).await;
            assert_eq!(answer.headers()["docker-content-digest"], *digest, "{tag}");
        }
    }
}
