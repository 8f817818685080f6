//! What is counted of a real run, as Prometheus reads it.

use crate::readiness::named;
use crate::support::{TEST_LIMIT, ask, build, eventually, request, within};
use crate::trap;
use bytes::Bytes;
use roadstead_tests::{Registry, SmallImage, Target, run};
use std::collections::BTreeMap;

const ENABLED: [(&str, &str); 2] = [
    ("REGISTRY_HTTP_DEBUG_ADDR", "127.0.0.1:0"),
    ("REGISTRY_HTTP_DEBUG_PROMETHEUS_ENABLED", "true"),
];

/// All series with their values.
async fn scrape(debug: &str) -> BTreeMap<String, f64> {
    let answer = ask(debug, request("GET /metrics", ""), 200).await;
    assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("text/plain"));
    let text = String::from_utf8(answer.body().to_vec()).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse().unwrap())
        })
        .collect()
}

/// Waits until series have these values: a request is counted when its response has ended.
async fn assert_series(debug: &str, expected: &[(&str, u32)]) {
    let mut last = BTreeMap::new();
    let seen = tokio::time::timeout(TEST_LIMIT / 4, async {
        loop {
            last = scrape(debug).await;
            let is = |(series, value): &(&str, u32)| {
                last.get(*series).is_some_and(|found| (found - f64::from(*value)).abs() < 1e-9)
            };
            if expected.iter().all(is) {
                return;
            }
            tokio::task::yield_now().await;
        }
    });
    let seen = seen.await;
    let found: Vec<_> = expected.iter().map(|(series, _)| (series, last.get(*series))).collect();
    assert!(seen.is_ok(), "{found:?} instead of {expected:?}");
}

#[tokio::test]
async fn what_is_counted() {
    let root = tempfile::tempdir().unwrap();
    let one = ("REGISTRY_HTTP_DEBUG_PROMETHEUS_REPOSITORIES", "1");
    let host = Registry::start(root.path(), &[&ENABLED[..], &[one]].concat(), &[]).unwrap();
    let debug = named(&host, "metrics are at http://");
    let image = SmallImage::new("1.2", 1);
    within(TEST_LIMIT, async {
        let target = Target::Server(host.address.clone());
        run(&target, &[image.pushed(), image.pulled(), image.pulled()].concat()).await;
        ask(&host.address, request("GET /v2/other/manifests/none", ""), 404).await;
        ask(&host.address, request("POST /v2/other/blobs/uploads/", ""), 202).await;
        ask(&host.address, request("GET /favicon.ico", ""), 404).await;
        assert_series(
            &debug,
            &[
                ("registry_http_requests_total{code=\"201\",handler=\"manifest\",method=\"put\"}", 1),
                ("registry_http_requests_total{code=\"200\",handler=\"manifest\",method=\"get\"}", 2),
                ("registry_http_requests_total{code=\"200\",handler=\"blob\",method=\"get\"}", 4),
                ("registry_http_requests_total{code=\"404\",handler=\"manifest\",method=\"get\"}", 1),
                ("registry_http_requests_total{code=\"404\",handler=\"other\",method=\"get\"}", 1),
                ("registry_http_in_flight_requests{handler=\"manifest\"}", 0),
                ("registry_storage_cache_total{type=\"Hit\"}", 3),
                ("registry_storage_cache_hits_total", 3),
                ("registry_storage_action_seconds_count{action=\"GetContent\",driver=\"filesystem\"}", 2),
                ("roadstead_upload_sessions_total{outcome=\"started\"}", 1),
                ("roadstead_upload_sessions_total{outcome=\"at_once\"}", 2),
                ("roadstead_repository_pulls_total{repository=\"team/app\"}", 2),
                ("roadstead_repository_pushes_total{repository=\"team/app\"}", 1),
                ("roadstead_ready", 1),
                ("roadstead_instances", 1),
            ],
        )
        .await;
        let all = scrape(&debug).await;
        let bytes = |direction| all[&format!("roadstead_http_body_bytes_total{{direction=\"{direction}\"}}")];
        assert!(bytes("received") >= f64::from(u32::try_from(image.bytes()).unwrap()));
        assert!(bytes("sent") >= 2.0 * f64::from(u32::try_from(image.bytes()).unwrap()));
        // Names of repositories beyond the limit are no series.
        assert!(!all.keys().any(|series| series.contains("repository=\"other\"")), "{all:?}");
        let build = all.keys().find(|series| series.starts_with("roadstead_build_info")).unwrap();
        assert!(build.contains("component=\"sha256:"), "{build}");
        let vars = ask(&debug, request("GET /debug/vars", ""), 200).await;
        let vars: serde_json::Value = serde_json::from_slice(vars.body()).unwrap();
        assert_eq!(vars["registry"]["cache"]["storage"]["blobdescriptor"]["Hits"], 3);
    })
    .await;
}

/// Failures of the component, and requests whose clients go away.
#[tokio::test]
async fn failures_are_counted() {
    let root = tempfile::tempdir().unwrap();
    let component = trap::build();
    let arguments = ["--component", component.to_str().unwrap()];
    let host = Registry::start(root.path(), &ENABLED, &arguments).unwrap();
    let debug = named(&host, "metrics are at http://");
    within(TEST_LIMIT, async {
        for _ in 0..3 {
            ask(&host.address, build("GET /trap").body(Bytes::new()).unwrap(), 500).await;
        }
        let failed = "registry_http_requests_total{code=\"500\",handler=\"other\",method=\"get\"}";
        let ended = "roadstead_instances_ended_total{cause=\"trap\"}";
        eventually("the failures are counted", async || {
            let all = scrape(&debug).await;
            let is = |name: &str| all.get(name).is_some_and(|value| (value - 3.0).abs() < 1e-9);
            (is(failed) && is(ended)).then_some(())
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn metrics_are_served_only_where_they_are_enabled() {
    let root = tempfile::tempdir().unwrap();
    let settings = [("REGISTRY_HTTP_DEBUG_PROMETHEUS_PATH", "/elsewhere")];
    let host = Registry::start(root.path(), &[&ENABLED[..], &settings].concat(), &[]).unwrap();
    let debug = named(&host, "metrics are at http://");
    within(TEST_LIMIT, async {
        ask(&debug, request("GET /elsewhere", ""), 200).await;
        ask(&debug, request("GET /metrics", ""), 404).await;
        // Clients of the registry do not see them.
        for path in ["/metrics", "/elsewhere", "/debug/vars", "/debug/health"] {
            ask(&host.address, request(&format!("GET {path}"), ""), 404).await;
        }
    })
    .await;
}
