//! Garbage collection: runs in slices, as `docs/operations.md` asks for them with curl.

use crate::client::send;
use crate::small_image::SmallImage;
use crate::table::{Target, run};
use bytes::Bytes;
use http::{Request, StatusCode};
use roadstead_kit::directory::make_older;
use roadstead_kit::requests::{data_key, delete, head};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

const SLICE: &str = "/v2/_roadstead/collect";

const HOUR: Duration = Duration::from_hours(1);

/// The most slices of a run: many more than it has.
const SLICES: u32 = 200;

/// The longest wait between two slices that is waited for.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// The settings of a registry for [`runs_by_slices`]: those with the shortest waits, and a
/// rate so low that a run takes several slices.
pub const BY_SLICES: [(&str, &str); 3] = [
    ("REGISTRY_STORAGE_DELETE_ENABLED", "true"),
    ("REGISTRY_STORAGE_MAINTENANCE_GC_GRACE", "1h"),
    ("REGISTRY_STORAGE_MAINTENANCE_GC_RATE", "30"),
];

/// Runs of a registry with the settings [`BY_SLICES`] over the directory `data`, which is
/// empty, driven to their ends by requests: what was deleted is noted, then condemned, and
/// then given back or removed.
pub async fn runs_by_slices(address: &str, data: &Path) {
    let target = Target::Server(address.to_owned());
    let stays = SmallImage::new("stays", 30_000);
    let (gone, needed) = (SmallImage::new("gone", 20_000), SmallImage::new("needed", 10_000));
    run(&target, &[gone.pushed(), needed.pushed(), stays.pushed()].concat()).await;
    for image in [&gone, &needed] {
        let manifest = image.path();
        run(&target, &[delete(&manifest).status(202), head(&manifest).status(404)]).await;
    }
    time_passes(data, 2 * HOUR);
    let garbage = gone.bytes() + needed.bytes();
    let first = collected(address, data).await;
    assert_figures(&first, &[("repositories", 1), ("manifests", 1), ("blobs", 9)]);
    assert_figures(&first, &[("bytes", garbage + stays.bytes()), ("sighted", 6)]);
    assert_figures(&first, &[("sighted_bytes", garbage), ("condemned", 0), ("kept", 0)]);
    assert_figures(&first, &[("given_back", 0), ("removed", 0), ("removed_bytes", 0)]);
    assert_eq!((&first["dry_run"], &first["foreign"]), (&false.into(), &false.into()));
    let again = slice(address, &json!({})).await;
    assert_eq!(again["status"], "not-due", "{again}");
    assert!(again["seconds"].as_u64().unwrap_or_default() > 0, "{again}");
    let reports = content(address, Request::get(format!("{SLICE}/reports")), "").await;
    assert_eq!(reports, json!({ "reports": [first] }));
    run(&target, &stays.pulled()).await;
    run(&target, &[head(gone.path()).status(404)]).await;

    time_passes(data, 25 * HOUR);
    let second = collected(address, data).await;
    assert_figures(&second, &[("condemned", 6), ("condemned_bytes", garbage), ("removed", 0)]);
    run(&target, &needed.pushed()).await;

    time_passes(data, 8 * 24 * HOUR);
    let third = collected(address, data).await;
    assert_figures(&third, &[("condemned", 0), ("given_back", 3), ("removed", 3)]);
    assert_figures(&third, &[("removed_bytes", gone.bytes())]);
    let is_there = |digest: &String| data.join(data_key(digest)).exists();
    assert!(!gone.digests().iter().any(is_there), "its data is there");
    run(&target, &[stays.pulled(), needed.pulled()].concat()).await;
    run(&target, &[head(gone.path()).status(404)]).await;
}

fn assert_figures(report: &Value, expected: &[(&str, usize)]) {
    for (figure, expected) in expected {
        assert_eq!(report[figure], *expected, "{figure}: {report}");
    }
}

/// Makes content and the records of collectors look older: not what the process keeps for
/// itself, such as locks.
fn time_passes(data: &Path, time: Duration) {
    for part in ["docker", ".roadstead/collect"] {
        let part = data.join(part);
        if part.exists() {
            make_older(&part, time);
        }
    }
}

/// Does the loop of `docs/operations.md`, with no wait that is longer than a slice's. Returns
/// the report of the run, which takes several slices.
async fn collected(address: &str, data: &Path) -> Value {
    let mut ask = json!({});
    for slices in 1..=SLICES {
        let mut said = slice(address, &ask).await;
        match said["status"].as_str() {
            Some("running") => {
                ask = json!({ "run": said["run"] });
                let wait = said["wait"].as_u64().unwrap_or_else(|| panic!("no wait: {said}"));
                let wait = Duration::from_millis(wait);
                // For what outlives removed data.
                time_passes(data, wait.saturating_sub(LONGEST_WAIT));
                tokio::time::sleep(wait.min(LONGEST_WAIT)).await;
            }
            Some("done") => {
                assert!(slices > 1, "a run in one slice: {said}");
                return said["report"].take();
            }
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
