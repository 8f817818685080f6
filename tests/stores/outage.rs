//! A temporary outage of the store: clients are asked to retry, and the registry
//! continues when the store does, without a restart.

use crate::registry::MANIFEST;
use http::Request;
use roadstead_tests::{
    Garage, Registry, Step, Target, delete, digest, get, head, patch, post, put, run, send, skip,
};
use std::time::Duration;

const BYTES: &str = "application/octet-stream";

/// How long a line of the log may take, which follows the response.
const LOG_LIMIT: Duration = Duration::from_secs(30);

/// Content that is stored before the outage.
const CONFIG: &[u8] = b"a config";

/// Every kind of request that needs the store, with two uploads, one of which is
/// half done.
fn refused(location: &str, other: &str, large: &[u8]) -> Vec<Step> {
    let blob = format!("/v2/a/b/blobs/{}", digest(CONFIG));
    let start = "/v2/a/b/blobs/uploads/";
    let steps = vec![
        get("/v2/a/b/manifests/v1"),
        get(format!("/v2/a/b/manifests/{}", digest(manifest().as_bytes()))),
        put("/v2/a/b/manifests/v2").header("content-type", MANIFEST).body(manifest()),
        delete("/v2/a/b/manifests/v1"),
        get(&blob),
        delete(&blob),
        get("/v2/a/b/tags/list"),
        get("/v2/_catalog"),
        get(format!("/v2/a/b/referrers/{}", digest(b"subject"))),
        post(format!("/v2/a/c/blobs/uploads/?mount={}&from=a/b", digest(CONFIG))),
        // A blob that is buffered, one that is streamed to the store, and one
        // that is sent in parts.
        post(format!("{start}?digest={}", digest(b"small"))).body("small"),
        post(format!("{start}?digest={}", digest(large))).body(large.to_vec()),
        patch(location).header("content-type", BYTES).body(large.to_vec()),
        // The upload is not lost by the failure.
        put(closing(location, large)).header("content-type", BYTES).body("the rest"),
        get(location),
        delete(other),
    ];
    let refused = |step: Step| step.error(503, "UNAVAILABLE").expect("retry-after", "5");
    let mut steps: Vec<_> = steps.into_iter().map(refused).collect();
    steps.push(head("/v2/a/b/manifests/v1").status(503).expect("retry-after", "5"));
    steps.push(head(&blob).status(503).expect("retry-after", "5"));
    steps
}

#[tokio::test]
async fn clients_come_back() {
    let Some(mut garage) = Garage::start().unwrap() else {
        skip("outage::clients_come_back", "garage is not installed; run .ci/install-garage");
        return;
    };
    garage.bucket("images").unwrap();
    let settings = [
        ("REGISTRY_STORAGE_DELETE_ENABLED", "true"),
        ("REGISTRY_STORAGE_REDIRECT_DISABLE", "true"),
    ];
    let stored = garage.settings("images", 0);
    let registry = Registry::start_over(&stored, &settings).unwrap();
    let target = Target::Server(registry.address.clone());
    let large: Vec<u8> = (0..=250).cycle().take(12 << 20).collect();
    let push = [
        post(format!("/v2/a/b/blobs/uploads/?digest={}", digest(CONFIG)))
            .header("content-type", BYTES)
            .body(CONFIG)
            .status(201),
        put("/v2/a/b/manifests/v1").header("content-type", MANIFEST).body(manifest()).status(201),
    ];
    run(&target, &push).await;
    // A half-done upload.
    let (one, two) = large.split_at(large.len() / 2);
    let location = sent(&registry, Request::post("/v2/a/b/blobs/uploads/"), b"").await;
    let location = sent(&registry, Request::patch(&location), one).await;
    let other = sent(&registry, Request::post("/v2/a/b/blobs/uploads/"), b"").await;

    // The registry still answers, with 503.
    garage.kill(1).unwrap();
    garage.kill(2).unwrap();
    let steps = [
        put("/v2/a/b/manifests/v2").header("content-type", MANIFEST).body(manifest()),
        get("/v2/a/b/manifests/v1"),
    ];
    let steps = steps.map(|step| step.error(503, "UNAVAILABLE").expect("retry-after", "5"));
    run(&target, &steps).await;

    garage.kill(0).unwrap();
    run(&target, &refused(&location, &other, &large)).await;
    // The cause is only in the log.
    let request = Request::get("/v2/a/b/tags/list").body(Vec::new().into()).unwrap();
    let answer = send(&registry.address, request).await.unwrap();
    let id = answer.headers().get("x-request-id").and_then(|id| id.to_str().ok());
    let id = id.unwrap_or_else(|| panic!("{answer:?}\n{}", registry.log()));
    let logged = async {
        loop {
            if let Some(cause) = registry.log().lines().find(|line| line.contains(id)) {
                return cause.to_owned();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let cause = tokio::time::timeout(LOG_LIMIT, logged).await.expect("it is logged");
    let store = setting(&stored, "REGIONENDPOINT");
    assert!(cause.contains(store), "{cause}");
    let said = String::from_utf8(answer.body().to_vec()).unwrap();
    assert!(!said.contains("127.0.0.1") && !said.contains("images"), "{said}");

    garage.revive().unwrap();
    let steps = [
        get("/v2/a/b/manifests/v1").content(manifest()),
        get("/v2/a/b/manifests/v2").error(404, "MANIFEST_UNKNOWN"),
        get(format!("/v2/a/b/blobs/{}", digest(CONFIG))).content(CONFIG),
        put(closing(&location, &large))
            .header("content-type", BYTES)
            .body(two.to_vec())
            .status(201),
        get(format!("/v2/a/b/blobs/{}", digest(&large))).content(large.clone()),
        get("/v2/a/b/tags/list").content(r#"{"name":"a/b","tags":["v1"]}"#),
    ];
    run(&target, &steps).await;
}

/// The location that completes an upload.
fn closing(location: &str, content: &[u8]) -> String {
    let joint = if location.contains('?') { '&' } else { '?' };
    format!("{location}{joint}digest={}", digest(content))
}

fn setting<'a>(settings: &'a [(String, String)], name: &str) -> &'a str {
    let found = settings.iter().find(|(setting, _)| setting.ends_with(name));
    &found.unwrap().1
}

/// Sends a chunk of an upload, and returns its next location.
async fn sent(registry: &Registry, request: http::request::Builder, body: &[u8]) -> String {
    let request = request.header("content-type", BYTES).body(body.to_vec().into()).unwrap();
    let answer = send(&registry.address, request).await.unwrap();
    assert_eq!(answer.status(), 202, "{answer:?}");
    answer.headers()["location"].to_str().unwrap().to_owned()
}

fn manifest() -> String {
    serde_json::json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": digest(CONFIG),
            "size": CONFIG.len(),
        },
        "layers": [],
    })
    .to_string()
}
