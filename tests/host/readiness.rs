//! `/livez`, `/readyz` and the debug address: what load balancers and operators ask.

use crate::support::{TEST_LIMIT, ask, code, eventually, logged, request, within};
use roadstead_tests::{Registry, send};
use std::time::Duration;
use tokio::net::TcpStream;

const OFTEN: [(&str, &str); 2] = [
    ("REGISTRY_HEALTH_STORAGEDRIVER_INTERVAL", "1s"),
    ("REGISTRY_HEALTH_STORAGEDRIVER_THRESHOLD", "2"),
];

async fn status(address: &str, path: &str) -> u16 {
    send(address, request(&format!("GET {path}"), "")).await.unwrap().status().as_u16()
}

/// The address that a line of the log names after a text.
pub fn named(host: &Registry, text: &str) -> String {
    let log = host.log();
    let (_, rest) = log.split_once(text).unwrap_or_else(|| panic!("{text}: {log}"));
    rest.split(['/', '\n']).next().unwrap().to_owned()
}

#[tokio::test]
async fn a_storage_that_fails_is_not_ready() {
    let place = tempfile::tempdir().unwrap();
    let (root, away) = (place.path().join("data"), place.path().join("away"));
    std::fs::create_dir(&root).unwrap();
    let settings = [&OFTEN[..], &[("REGISTRY_HTTP_DEBUG_ADDR", "127.0.0.1:0")]].concat();
    let host = Registry::start(&root, &settings, &[]).unwrap();
    let debug = named(&host, "the debug address is http://");
    within(TEST_LIMIT, async {
        for path in ["/", "/livez", "/readyz"] {
            assert_eq!(status(&host.address, path).await, 200, "{path}");
        }
        let checks = ask(&debug, request("GET /debug/health", ""), 200).await;
        assert_eq!(&checks.body()[..], b"{}");
        std::fs::rename(&root, &away).unwrap();
        eventually("it is not ready", async || {
            (status(&host.address, "/readyz").await == 503).then_some(())
        })
        .await;
        let answer = ask(&host.address, request("GET /readyz", ""), 503).await;
        assert_eq!(code(answer.body()), "UNAVAILABLE");
        assert_eq!(status(&host.address, "/livez").await, 200, "to restart it would not help");
        let checks = ask(&debug, request("GET /debug/health", ""), 503).await;
        assert!(checks.body().starts_with(b"{\"storagedriver\":"), "{:?}", checks.body());
        assert_eq!(status(&debug, "/readyz").await, 503);
        logged(&host, "not ready: 2 checks of the storage failed").await;
        std::fs::rename(&away, &root).unwrap();
        eventually("it is ready", async || {
            (status(&host.address, "/readyz").await == 200).then_some(())
        })
        .await;
        logged(&host, "the storage works again").await;
    })
    .await;
}

/// Load balancers notice before connections are refused.
#[tokio::test]
async fn a_registry_that_ends_is_not_ready_first() {
    let root = tempfile::tempdir().unwrap();
    let settings = [("REGISTRY_HTTP_DRAINDELAY", "5s")];
    let mut host = Registry::start(root.path(), &settings, &[]).unwrap();
    within(TEST_LIMIT, async {
        assert_eq!(status(&host.address, "/readyz").await, 200);
        host.signal("TERM").unwrap();
        eventually("it is not ready", async || {
            (status(&host.address, "/readyz").await == 503).then_some(())
        })
        .await;
        assert_eq!(status(&host.address, "/v2/").await, 200);
        assert_eq!(status(&host.address, "/livez").await, 200);
        eventually("connections are refused", async || {
            TcpStream::connect(&host.address).await.err()
        })
        .await;
    })
    .await;
    assert_eq!(host.wait().unwrap().code(), Some(0));
}

/// It answers whoever connects, and a few at a time: others wait.
#[tokio::test]
async fn the_debug_address() {
    let root = tempfile::tempdir().unwrap();
    let settings = [("REGISTRY_HTTP_DEBUG_ADDR", "127.0.0.1:0")];
    let host = Registry::start(root.path(), &settings, &[]).unwrap();
    let debug = named(&host, "the debug address is http://");
    within(TEST_LIMIT, async {
        for (line, expected) in [
            ("GET /livez", 200),
            ("HEAD /readyz", 200),
            ("GET /debug/health", 200),
            ("GET /metrics", 404),
            ("GET /v2/", 404),
            ("POST /debug/health", 405),
        ] {
            ask(&debug, request(line, ""), expected).await;
        }
        let mut idle = Vec::new();
        for _ in 0..100 {
            idle.push(TcpStream::connect(&debug).await.unwrap());
        }
        // The registry itself is not held up.
        assert_eq!(status(&host.address, "/v2/").await, 200);
        let waiting = tokio::time::timeout(Duration::from_secs(1), status(&debug, "/livez")).await;
        assert!(waiting.is_err(), "more connections than the limit are served");
        drop(idle);
        assert_eq!(status(&debug, "/livez").await, 200);
    })
    .await;
}
