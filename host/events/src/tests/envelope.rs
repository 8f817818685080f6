//! What receivers get, as distribution's consumers know it.

use super::receiver::Receiver;
use super::{endpoint, event, start, start_with};
use crate::event::{Head, SourceRecord};
use crate::{Action, Descriptor, Event, Request, Settings, Target};
use roadstead_config::{EventFormat, NotificationEndpoint, Notifications as Config};
use std::time::{Duration, SystemTime};

fn source() -> SourceRecord {
    SourceRecord {
        addr: "registry.example:5000".to_owned(),
        instance: "a5d0ad26-4a6f-4a84-9b9c-ddf4a2a4ecdf".to_owned(),
    }
}

fn made(action: Action, target: Target, request: Request, actor: Option<&str>) -> Event {
    Event {
        id: "320678d8-ca14-430f-8bb6-4ca139cd83f7".to_owned(),
        time: SystemTime::UNIX_EPOCH + Duration::new(1_456_789_012, 345_000_000),
        ..Event::new(action, target, request, actor.map(str::to_owned))
    }
}

fn request() -> Request {
    Request {
        id: "6df24a34-0959-4923-81ca-14f09767db19".to_owned(),
        addr: "192.168.64.11:42961".to_owned(),
        host: "192.168.100.227:5000".to_owned(),
        method: "PUT".to_owned(),
        user_agent: "curl/7.38.0".to_owned(),
    }
}

#[test]
fn a_push_with_everything() {
    let target = Target {
        media_type: "application/vnd.docker.distribution.manifest.v2+json".to_owned(),
        size: Some(708),
        digest: Some("sha256:fea8".to_owned()),
        repository: "hello-world".to_owned(),
        from_repository: Some("other".to_owned()),
        url: Some("http://192.168.100.227:5000/v2/hello-world/manifests/sha256:fea8".to_owned()),
        tag: Some("latest".to_owned()),
        references: vec![Descriptor {
            media_type: "application/octet-stream".to_owned(),
            digest: "sha256:d8bd".to_owned(),
            size: 7023,
        }],
    };
    let event = made(Action::Push, target, request(), Some("alice"));
    let text = String::from_utf8(event.encode(&source(), true).unwrap()).unwrap();
    let expected = concat!(
        r#"{"id":"320678d8-ca14-430f-8bb6-4ca139cd83f7","#,
        r#""timestamp":"2016-02-29T23:36:52.345Z","action":"push","#,
        r#""target":{"mediaType":"application/vnd.docker.distribution.manifest.v2+json","#,
        r#""digest":"sha256:fea8","size":708,"length":708,"repository":"hello-world","#,
        r#""fromRepository":"other","#,
        r#""url":"http://192.168.100.227:5000/v2/hello-world/manifests/sha256:fea8","#,
        r#""tag":"latest","references":[{"mediaType":"application/octet-stream","#,
        r#""digest":"sha256:d8bd","size":7023}]},"#,
        r#""request":{"id":"6df24a34-0959-4923-81ca-14f09767db19","addr":"192.168.64.11:42961","#,
        r#""host":"192.168.100.227:5000","method":"PUT","useragent":"curl/7.38.0"},"#,
        r#""actor":{"name":"alice"},"source":{"addr":"registry.example:5000","#,
        r#""instanceID":"a5d0ad26-4a6f-4a84-9b9c-ddf4a2a4ecdf"}}"#,
    );
    assert_eq!(text, expected);
    let without = String::from_utf8(event.encode(&source(), false).unwrap()).unwrap();
    let references = expected.find(r#","references""#).unwrap();
    assert!(without.starts_with(&expected[..references]) && !without.contains("references"));
}

/// A deleted tag has nothing but its name; Go's structs have three fields nevertheless.
#[test]
fn what_is_empty_is_left_out() {
    let target = Target {
        repository: "hello-world".to_owned(),
        tag: Some("latest".to_owned()),
        ..Target::default()
    };
    let event = made(Action::Delete, target, Request::default(), None);
    let text = String::from_utf8(event.encode(&source(), true).unwrap()).unwrap();
    assert_eq!(
        text,
        concat!(
            r#"{"id":"320678d8-ca14-430f-8bb6-4ca139cd83f7","#,
            r#""timestamp":"2016-02-29T23:36:52.345Z","action":"delete","#,
            r#""target":{"mediaType":"","digest":"","size":0,"repository":"hello-world","#,
            r#""tag":"latest"},"request":{"id":"","method":"","useragent":""},"actor":{},"#,
            r#""source":{"addr":"registry.example:5000","#,
            r#""instanceID":"a5d0ad26-4a6f-4a84-9b9c-ddf4a2a4ecdf"}}"#,
        )
    );
    let head = Head::parse(text.as_bytes()).unwrap();
    assert_eq!((&*head.action, &*head.target.repository), ("delete", "hello-world"));
    assert_eq!((&*head.target.digest, &*head.target.tag), ("", "latest"));
}

#[test]
fn actions_and_identifiers() {
    assert_eq!(Action::ALL.map(Action::as_str), ["pull", "push", "mount", "delete"]);
    let [one, two] = [event(Action::Pull, 1), event(Action::Pull, 1)];
    assert_ne!(one.id, two.id);
    for (nanoseconds, expected) in [
        (0, "1970-01-01T00:00:00Z"),
        (7, "1970-01-01T00:00:00.000000007Z"),
        (10_000_000_000, "1970-01-01T00:00:10Z"),
        (1_500_000_000, "1970-01-01T00:00:01.5Z"),
    ] {
        let time = SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds);
        let bytes = Event { time, ..one.clone() }.encode(&source(), false).unwrap();
        assert_eq!(Head::parse(&bytes).unwrap().timestamp, expected);
    }
    let id = uuid::Uuid::parse_str(&one.id).unwrap();
    assert_eq!(id.get_version_num(), 4);
}

#[tokio::test]
async fn cloud_events() {
    let (receiver, directory) = (Receiver::start([]).await, tempfile::tempdir().unwrap());
    let cloud = NotificationEndpoint {
        format: EventFormat::CloudEvents,
        ..endpoint("alice", &receiver.url())
    };
    let notifications = start(vec![cloud], directory.path());
    let mut untagged = event(Action::Delete, 0);
    untagged.target.tag = None;
    let mut repository = untagged.clone();
    repository.target.digest = None;
    for event in [event(Action::Push, 7), untagged, repository] {
        notifications.publish(event).await.unwrap();
    }
    notifications.stop(super::LONG).await;
    let requests = receiver.requests();
    let digest = format!("team/app@sha256:{}", "a".repeat(64));
    let expected = [("push", "team/app:7"), ("delete", &*digest), ("delete", "team/app")];
    assert_eq!(requests.len(), expected.len());
    for (request, (action, subject)) in requests.iter().zip(expected) {
        assert_eq!(request.headers["content-type"], "application/cloudevents+json");
        let event: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
        let data = &event["data"];
        assert_eq!(
            event,
            serde_json::json!({
                "specversion": "1.0",
                "id": data["id"],
                "source": "//registry.example:5000",
                "type": format!("io.roadstead.registry.{action}"),
                "subject": subject,
                "time": data["timestamp"],
                "datacontenttype": "application/json",
                "data": data,
            })
        );
        assert_eq!((&data["action"], &data["actor"]["name"]), (&action.into(), &"alice".into()));
    }
}

/// The source of `CloudEvents` is the URL of the settings, if there is one.
#[tokio::test]
async fn the_source_of_cloud_events() {
    let (receiver, directory) = (Receiver::start([]).await, tempfile::tempdir().unwrap());
    let cloud = NotificationEndpoint {
        format: EventFormat::CloudEvents,
        ..endpoint("alice", &receiver.url())
    };
    let source =
        crate::Source { addr: "a:1".to_owned(), url: Some("https://registry.example".to_owned()) };
    let config = Config { endpoints: vec![cloud], outbox_limit: 64 << 20, ..Config::default() };
    let settings = Settings::new(&config, rustls::RootCertStore::empty).unwrap();
    let log = super::Lines::default().log();
    let notifications =
        crate::Notifications::start(settings, directory.path(), source, log).unwrap();
    notifications.publish(event(Action::Push, 7)).await.unwrap();
    notifications.stop(super::LONG).await;
    let event: serde_json::Value = serde_json::from_slice(&receiver.requests()[0].body).unwrap();
    assert_eq!(event["source"], "https://registry.example");
}

#[tokio::test]
async fn events_that_are_too_long_lose_their_references() {
    let (receiver, directory) = (Receiver::start([]).await, tempfile::tempdir().unwrap());
    let lines = super::Lines::default();
    let all = vec![endpoint("alice", &receiver.url())];
    let notifications = start_with(all, 64 << 20, directory.path(), &lines);
    let mut long = event(Action::Push, 1);
    let descriptor = Descriptor { digest: "x".repeat(1000), ..Descriptor::default() };
    long.target.references = vec![descriptor.clone(); 4000];
    notifications.publish(long.clone()).await.unwrap();
    long.target.references.extend(vec![descriptor; 1000]);
    notifications.publish(long.clone()).await.unwrap();
    // It cannot be made shorter.
    long.target.repository = "x".repeat(5 << 20);
    let error = notifications.publish(long).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    notifications.stop(super::LONG).await;
    let bodies: Vec<_> = receiver.requests().into_iter().map(|request| request.body).collect();
    let references = |body: &[u8]| body.windows(12).filter(|it| it == br#""references""#).count();
    assert_eq!(bodies.iter().map(|body| references(body)).sum::<usize>(), 1);
    assert_eq!(receiver.tags(), ["1", "1"]);
}
