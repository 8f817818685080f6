//! Receivers that are down, slow, or refuse what they get.

use super::receiver::{Answer, Receiver, tags};
use super::{LONG, Lines, endpoint, event, start, start_with};
use crate::{Action, Event, Notifications};
use roadstead_config::{EventFormat, NotificationEndpoint};
use rustls::ServerConfig;
use rustls::crypto::ring;
use std::sync::Arc;
use std::time::Duration;
use tokio_rustls::TlsAcceptor;

async fn publish(notifications: &Notifications, numbers: std::ops::Range<usize>) {
    for number in numbers {
        notifications.publish(event(Action::Push, number)).await.unwrap();
    }
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

#[tokio::test]
async fn events_are_delivered_in_order() {
    let (receiver, directory) = (Receiver::start([]).await, tempfile::tempdir().unwrap());
    let mut alice = endpoint("alice", &receiver.url());
    alice.headers = vec![("authorization".to_owned(), "Bearer token".to_owned())];
    alice.secret = Some("key".to_owned());
    let notifications = start(vec![alice], directory.path());
    publish(&notifications, 0..250).await;
    notifications.stop(LONG).await;
    assert_eq!(receiver.tags(), numbers(0..250));
    for request in receiver.requests() {
        assert_eq!(request.line, "POST HTTP/1.1 /events");
        let header = |name: &str| request.headers[name].to_str().unwrap().to_owned();
        assert_eq!(header("content-type"), "application/vnd.docker.distribution.events.v2+json");
        assert_eq!(header("authorization"), "Bearer token");
        assert_eq!(header("host"), format!("127.0.0.1:{}", receiver.port));
        assert!(header("user-agent").starts_with("roadstead/"));
        // By another implementation of HMAC.
        let key = rustls_key(b"key", &request.body);
        assert_eq!(header("x-roadstead-signature"), format!("sha256={key}"));
        assert!(tags(&request.body).len() <= 100);
    }
    let [metrics] = notifications.metrics().try_into().unwrap();
    assert_eq!((metrics.events, metrics.successes, metrics.pending), (250, 250, 0));
    assert_eq!((metrics.failures, metrics.errors, metrics.dropped, metrics.refused), (0, 0, 0, 0));
    assert_eq!(metrics.statuses.keys().collect::<Vec<_>>(), [&200]);
    let error = notifications.publish(event(Action::Push, 0)).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
}

/// HMAC-SHA256 by its definition (RFC 2104), for keys of less than a block.
fn rustls_key(key: &[u8], text: &[u8]) -> String {
    use sha2::{Digest as _, Sha256};
    let padded = |with: u8| -> Vec<u8> {
        (0..64).map(|at| key.get(at).copied().unwrap_or_default() ^ with).collect()
    };
    let inner = Sha256::digest([padded(0x36), text.to_vec()].concat());
    base16ct::lower::encode_string(&Sha256::digest([padded(0x5c), inner.to_vec()].concat()))
}

#[tokio::test]
async fn failures_are_tried_again() {
    let answers = [
        Answer::Close,
        Answer::Status(500, 0),
        Answer::RetryAfter(503, "0"),
        Answer::Status(404, 0),
        Answer::RetryAfter(429, "Thu, 01 Jan 1970 00:00:00 GMT"),
        Answer::Status(307, 0),
    ];
    let (receiver, directory) = (Receiver::start(answers).await, tempfile::tempdir().unwrap());
    let lines = Lines::default();
    let alice = endpoint("alice", &receiver.url());
    let notifications = start_with(vec![alice], 64 << 20, directory.path(), &lines);
    publish(&notifications, 0..1).await;
    receiver.until(|receiver| receiver.requests().len() >= 6).await;
    notifications.stop(LONG).await;
    // A redirect is not followed: it counts as taken.
    assert_eq!(receiver.requests().len(), 6);
    let [metrics] = notifications.metrics().try_into().unwrap();
    assert_eq!((metrics.successes, metrics.failures, metrics.pending), (1, 4, 0));
    assert_eq!(metrics.errors, 1);
    assert_eq!(metrics.statuses.keys().copied().collect::<Vec<_>>(), [307, 404, 429, 500, 503]);
    let lines: Vec<_> = lines.all().into_iter().map(|(_, text)| text).collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    let place = format!("notifications: alice (http://127.0.0.1:{}/events): ", receiver.port);
    let first = "events are not taken, and are sent again: ";
    assert!(lines[0].starts_with(&format!("{place}{first}")), "{lines:?}");
    assert_eq!(lines[1], format!("{place}events are taken again"));
}

#[tokio::test]
async fn receivers_that_say_nothing() {
    let receiver = Receiver::start([Answer::Silence, Answer::Silence]).await;
    let directory = tempfile::tempdir().unwrap();
    let slow = NotificationEndpoint {
        timeout: Duration::from_millis(50),
        ..endpoint("alice", &receiver.url())
    };
    let notifications = start(vec![slow], directory.path());
    publish(&notifications, 0..1).await;
    receiver.until(|receiver| !receiver.tags().is_empty()).await;
    notifications.stop(LONG).await;
    assert!(notifications.metrics()[0].errors >= 2);
    assert_eq!(receiver.tags()[0], "0");
}

/// One endpoint does not hold up another; nor a stop.
#[tokio::test]
async fn an_endpoint_that_is_down() {
    let (receiver, directory) = (Receiver::start([]).await, tempfile::tempdir().unwrap());
    let endpoints =
        || vec![endpoint("down", "http://127.0.0.1:1/"), endpoint("alice", &receiver.url())];
    let notifications = start(endpoints(), directory.path());
    publish(&notifications, 0..10).await;
    receiver.until(|receiver| receiver.tags().len() >= 10).await;
    notifications.stop(Duration::ZERO).await;
    let [down, alice] = notifications.metrics().try_into().unwrap();
    assert_eq!((down.name.as_str(), down.pending, down.successes), ("down", 10, 0));
    assert_eq!((alice.name.as_str(), alice.events), ("alice", 10));
    drop(notifications);
    // It comes back, elsewhere: what waits is known by the endpoint's name.
    let elsewhere = Receiver::start([]).await;
    let endpoints = vec![endpoint("down", &elsewhere.url())];
    let notifications = start(endpoints, directory.path());
    assert!(notifications.metrics()[0].pending <= 10);
    elsewhere.until(|receiver| receiver.tags().len() >= 10).await;
    notifications.stop(LONG).await;
    assert_eq!(elsewhere.tags(), numbers(0..10));
}

#[tokio::test]
async fn an_event_that_is_refused_holds_up_no_other() {
    for (status, format) in [
        (413, EventFormat::Distribution),
        (400, EventFormat::Distribution),
        (422, EventFormat::CloudEvents),
    ] {
        // A receiver that takes no batches with event 7, and not that alone.
        let refuse = move |body: &[u8]| {
            tags(body).contains(&"7".to_owned()).then_some(Answer::Status(status, 0))
        };
        let receiver = Receiver::choosing(Arc::new(refuse)).await;
        let (directory, lines) = (tempfile::tempdir().unwrap(), Lines::default());
        let alice = NotificationEndpoint { format, ..endpoint("alice", &receiver.url()) };
        let first: Event = event(Action::Push, 7);
        let id = first.id.clone();
        let notifications = start_with(vec![alice], 64 << 20, directory.path(), &lines);
        notifications.publish(first).await.unwrap();
        publish(&notifications, 8..30).await;
        notifications.stop(LONG).await;
        assert_eq!(receiver.tags(), numbers(8..30));
        let alone = receiver.requests().into_iter().filter(|it| tags(&it.body) == ["7"]);
        assert_eq!(alone.count(), 5);
        let [metrics] = notifications.metrics().try_into().unwrap();
        assert_eq!((metrics.refused, metrics.successes, metrics.pending), (1, 22, 0));
        let text = format!("event {id} was refused 5 times ({status} ");
        assert!(lines.all().iter().any(|(_, line)| line.contains(&text)), "{:?}", lines.all());
    }
}

/// An endpoint that has no time for several at once gets all of them nevertheless.
#[tokio::test]
async fn a_slow_endpoint_gets_events_one_by_one() {
    let overloaded = |body: &[u8]| (tags(body).len() > 1).then_some(Answer::Status(503, 0));
    let receiver = Receiver::choosing(Arc::new(overloaded)).await;
    let directory = tempfile::tempdir().unwrap();
    let notifications = start(vec![endpoint("alice", &receiver.url())], directory.path());
    publish(&notifications, 0..30).await;
    notifications.stop(LONG).await;
    assert_eq!(receiver.tags(), numbers(0..30));
    assert_eq!(notifications.metrics()[0].pending, 0);
}

#[tokio::test]
async fn connections_are_kept() {
    let answers = [Answer::Status(200, 60_000), Answer::Status(200, 70_000)];
    let (receiver, directory) = (Receiver::start(answers).await, tempfile::tempdir().unwrap());
    let notifications = start(vec![endpoint("alice", &receiver.url())], directory.path());
    for number in 0..4 {
        publish(&notifications, number..number + 1).await;
        receiver.until(|receiver| receiver.requests().len() > number).await;
    }
    notifications.stop(LONG).await;
    // After the response that was too long, another one is made.
    assert_eq!((receiver.requests().len(), receiver.connections()), (4, 2));
}

#[tokio::test]
async fn private_cas() {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let chain = vec![made.cert.der().clone()];
    let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let tls = TlsAcceptor::from(Arc::new(config));
    let receiver = Receiver::start_with(Some(tls), None, []).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ca.pem");
    std::fs::write(&file, made.cert.pem()).unwrap();
    let url = format!("https://127.0.0.1:{}/events", receiver.port);
    let trusting = NotificationEndpoint { root_cas: Some(file), ..endpoint("alice", &url) };
    let lines = Lines::default();
    let endpoints = vec![trusting, endpoint("bob", &url)];
    let notifications = start_with(endpoints, 64 << 20, &directory.path().join("events"), &lines);
    publish(&notifications, 0..1).await;
    receiver.until(|receiver| !receiver.tags().is_empty()).await;
    while notifications.metrics()[1].errors == 0 {
        tokio::task::yield_now().await;
    }
    notifications.stop(Duration::ZERO).await;
    assert_eq!(receiver.tags(), ["0"]);
    let expected = "invalid peer certificate";
    assert!(lines.all().iter().any(|(_, it)| it.contains(expected)), "{:?}", lines.all());
}
