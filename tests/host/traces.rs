//! Traces of real requests, as a collector receives them.

use crate::receiver::Receiver;
use crate::support::{TEST_LIMIT, ask, build, eventually, request, within};
use bytes::Bytes;
use roadstead_tests::{Registry, SmallImage, Target, run};
use tokio::net::TcpListener;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// Whether a collector has received these bytes: names and texts are as they are in protobuf.
fn has(collector: &Receiver, bytes: &[u8]) -> bool {
    collector.bodies().concat().windows(bytes.len()).any(|part| part == bytes)
}

async fn awaits(collector: &Receiver, what: &str) {
    eventually(what, async || has(collector, what.as_bytes()).then_some(())).await;
}

fn start(root: &std::path::Path, collector: &str, sampler: &str) -> Registry {
    let endpoint = format!("http://{collector}");
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
        ("OTEL_TRACES_SAMPLER", sampler),
    ];
    Registry::start(root, &variables, &[]).unwrap()
}

/// One request's spans are in its client's trace: the host's, the component's and those of the
/// storage.
#[tokio::test]
async fn a_push_is_one_trace() {
    let root = tempfile::tempdir().unwrap();
    let collector = Receiver::start().await;
    let host = start(root.path(), &collector.address, "parentbased_always_off");
    let image = SmallImage::new("1.2", 1);
    within(TEST_LIMIT, async {
        run(&Target::Server(host.address.clone()), &image.pushed()).await;
        let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
        let secret = "access_token=never-sent";
        let traced = build(&format!("GET {}?{secret}", image.path()))
            .header("traceparent", &parent)
            .header("authorization", "Bearer never-sent")
            .header("user-agent", "docker/29");
        ask(&host.address, traced.body(Bytes::new()).unwrap(), 200).await;
        for name in [
            "GET /v2/{name}/manifests/{reference}",
            "component",
            "storage manifest",
            "team/app",
            "docker/29",
            "roadstead",
        ] {
            awaits(&collector, name).await;
        }
        let id: Vec<u8> =
            (0..16).map(|at| u8::from_str_radix(&TRACE[2 * at..2 * at + 2], 16).unwrap()).collect();
        assert!(has(&collector, &id), "the client's trace");
        assert!(!has(&collector, b"never-sent"), "secrets");
        // What is not sampled is not there: the pushes.
        assert!(!has(&collector, b"PUT /v2/"));
        crate::support::logged(&host, &format!("trace_id={TRACE}")).await;
    })
    .await;
}

/// A collector that is down, and one that hangs, hold up no request, nor the end of the process.
#[tokio::test]
async fn a_collector_that_is_down_holds_up_nothing() {
    let root = tempfile::tempdir().unwrap();
    let hanging = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let collector = hanging.local_addr().unwrap().to_string();
    let mut host = start(root.path(), &collector, "always_on");
    within(TEST_LIMIT, async {
        for _ in 0..1000 {
            ask(&host.address, request("GET /v2/", ""), 200).await;
        }
        host.signal("TERM").unwrap();
    })
    .await;
    assert_eq!(host.wait().unwrap().code(), Some(0));
}
