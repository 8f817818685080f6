//! Garbage collection: runs in slices, as `docs/operations.md` asks for them with curl.

use crate::client::send;
use crate::small_image::SmallImage;
use crate::table::{Target, run};
use bytes::Bytes;
use http::{Request, StatusCode};
use roadstead_kit::directory::make_older;
use roadstead_kit::requests::{delete, head};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

const SLICE: &str = "/v2/_roadstead/collect";

const HOUR: Duration = Duration::from_hours(1);

/// The most slices of a run: many more than it has.
const SLICES: u32 = 200;

/// The settings of a registry for [`a_run_by_slices`]: those with the shortest waits, and a
/// rate so low that a run takes several slices.
pub const BY_SLICES: [(&str, &str); 3] = [
    ("REGISTRY_STORAGE_DELETE_ENABLED", "true"),
    ("REGISTRY_STORAGE_MAINTENANCE_GC_GRACE", "1h"),
    ("REGISTRY_STORAGE_MAINTENANCE_GC_RATE", "30"),
];

/// A run of a registry with the settings [`BY_SLICES`] over the directory `data`, which is
/// empty, driven to its end by requests: an image was deleted two hours ago, and another
/// one is whole afterwards.
pub async fn a_run_by_slices(address: &str, data: &Path) {
    let target = Target::Server(address.to_owned());
    let (gone, stays) = (SmallImage::new("gone", 20_000), SmallImage::new("stays", 30_000));
    run(&target, &[gone.pushed(), stays.pushed()].concat()).await;
    let manifest = gone.path();
    run(&target, &[delete(&manifest).status(202), head(&manifest).status(404)]).await;
    // Not what the process keeps for itself, such as locks.
    make_older(&data.join("docker"), 2 * HOUR);
    let (report, slices) = collected(address).await;
    assert!(slices > 1, "a run in one slice: {report}");
    for (figure, expected) in [
        ("repositories", 1),
        ("manifests", 1),
        ("blobs", 6),
        ("bytes", gone.bytes() + stays.bytes()),
        ("sighted", 3),
        ("sighted_bytes", gone.bytes()),
        ("condemned", 0),
        ("kept", 0),
        ("given_back", 0),
        ("removed", 0),
        ("removed_bytes", 0),
    ] {
        assert_eq!(report[figure], expected, "{figure}: {report}");
    }
    assert_eq!((&report["dry_run"], &report["foreign"]), (&false.into(), &false.into()));
    let again = slice(address, &json!({})).await;
    assert_eq!(again["status"], "not-due", "{again}");
    assert!(again["seconds"].as_u64().unwrap_or_default() > 0, "{again}");
    let reports = content(address, Request::get(format!("{SLICE}/reports")), "").await;
    assert_eq!(reports, json!({ "reports": [report] }));
    run(&target, &stays.pulled()).await;
    run(&target, &[head(&manifest).status(404)]).await;
}

/// Does the loop of `docs/operations.md`. Returns the report, and the number of slices.
async fn collected(address: &str) -> (Value, u32) {
    let mut ask = json!({});
    for slices in 1..=SLICES {
        let mut said = slice(address, &ask).await;
        match said["status"].as_str() {
            Some("running") => {
                ask = json!({ "run": said["run"] });
                let wait = said["wait"].as_u64().unwrap_or_else(|| panic!("no wait: {said}"));
                tokio::time::sleep(Duration::from_millis(wait)).await;
            }
            Some("done") => return (said["report"].take(), slices),
            _ => panic!("slice {slices}: {said}"),
        }
    }
    panic!("no end within {SLICES} slices");
}

/// One slice, and the answer to it.
async fn slice(address: &str, ask: &Value) -> Value {
    content(address, Request::post(SLICE), &ask.to_string()).await
}

async fn content(address: &str, request: http::request::Builder, body: &str) -> Value {
    let request = request.body(Bytes::from(body.to_owned())).unwrap();
    let answer = send(address, request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK, "{body}: {answer:?}");
    serde_json::from_slice(answer.body()).unwrap()
}
