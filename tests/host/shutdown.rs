//! Shutdown: requests in flight are finished, and no new ones are accepted.

use crate::content::{Content, Length};
use crate::disk::Disk;
use crate::support::{
    TEST_LIMIT, ask, assert_blob, begin, closing, content_range, eventually, logged, received,
    request, within,
};
use crate::wire::Wire;
use roadstead_tests::Registry;
use std::path::Path;
use tokio::net::TcpStream;

const REPOSITORY: &str = "shut/down";
const CONTENT: Content = Content { seed: 5, size: 400_000 };

/// A PATCH of which half was sent.
struct Half {
    upload: String,
    wire: Wire,
}

impl Half {
    async fn send(address: &str, root: &Path) -> Self {
        let upload = begin(address, REPOSITORY).await;
        let mut wire = Wire::connect(address).await;
        wire.start(&format!("PATCH {upload}"), Length::Announced, CONTENT.size).await;
        wire.piece(Length::Announced, &CONTENT.part(0..CONTENT.size / 2)).await;
        eventually("the first half is being written", async || {
            (Disk(root).arriving(REPOSITORY) > 0).then_some(())
        })
        .await;
        Self { upload, wire }
    }
}

async fn refuses_connections(address: &str) {
    eventually("new connections are refused", async || TcpStream::connect(address).await.err())
        .await;
}

#[tokio::test]
async fn requests_in_flight_are_finished() {
    let root = tempfile::tempdir().unwrap();
    let mut host = Registry::start(root.path(), &[], &[]).unwrap();
    let address = host.address.clone();
    let upload = within(TEST_LIMIT, async {
        let mut idle = Wire::connect(&address).await;
        idle.head("GET /v2/", &[]).await;
        assert_eq!(idle.answer().await.unwrap().status, 200);
        let Half { upload, mut wire } = Half::send(&address, root.path()).await;

        host.signal("TERM").unwrap();
        refuses_connections(&address).await;
        assert!(idle.answer().await.is_none());

        wire.piece(Length::Announced, &CONTENT.part(CONTENT.size / 2..CONTENT.size)).await;
        let answer = wire.answer().await.unwrap();
        assert_eq!(answer.status, 202);
        assert_eq!(answer.headers["range"], content_range(0, CONTENT.size));
        assert!(wire.answer().await.is_none());
        upload
    })
    .await;
    assert_eq!(host.wait().unwrap().code(), Some(0));

    // Acknowledged content exists at the next start.
    let host = Registry::start(root.path(), &[], &[]).unwrap();
    within(TEST_LIMIT, async {
        assert_eq!(received(&host.address, &upload).await, CONTENT.size);
        let line = format!("PUT {}", closing(&upload, &CONTENT.digest()));
        ask(&host.address, request(&line, ""), 201).await;
        assert_blob(&host.address, REPOSITORY, &CONTENT.digest()).await;
    })
    .await;
}

/// A client that never finishes does not prevent the shutdown.
#[tokio::test]
async fn the_drain_timeout_ends_the_rest() {
    let root = tempfile::tempdir().unwrap();
    let variables = [("REGISTRY_HTTP_DRAINTIMEOUT", "200ms")];
    let mut host = Registry::start(root.path(), &variables, &[]).unwrap();
    let address = host.address.clone();
    let stalled = within(TEST_LIMIT, Half::send(&address, root.path())).await;
    host.signal("TERM").unwrap();
    assert_eq!(host.wait().unwrap().code(), Some(0));
    logged(&host, "REGISTRY_HTTP_DRAINTIMEOUT").await;

    // The received bytes are kept, and the client can resume at once.
    let host = Registry::start(root.path(), &[], &[]).unwrap();
    within(TEST_LIMIT, async {
        assert_eq!(received(&host.address, &stalled.upload).await, CONTENT.size / 2);
        let rest = CONTENT.part(CONTENT.size / 2..CONTENT.size);
        let line = format!("PUT {}", closing(&stalled.upload, &CONTENT.digest()));
        ask(&host.address, request(&line, rest), 201).await;
        assert_blob(&host.address, REPOSITORY, &CONTENT.digest()).await;
    })
    .await;
}

/// A second signal ends the host at once.
#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let root = tempfile::tempdir().unwrap();
    let mut host = Registry::start(root.path(), &[], &[]).unwrap();
    let address = host.address.clone();
    let stalled = within(TEST_LIMIT, async {
        let stalled = Half::send(&address, root.path()).await;
        host.signal("TERM").unwrap();
        refuses_connections(&address).await;
        stalled
    })
    .await;
    host.signal("TERM").unwrap();
    assert_eq!(host.wait().unwrap().code(), Some(130));
    drop(stalled);
}
