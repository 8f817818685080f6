//! Garbage collection: runs in slices, as `docs/operations.md` asks for them with curl,
//! and directories in which time has passed.

use crate::client::send;
use crate::table::{Target, run};
use bytes::Bytes;
use http::{Request, StatusCode};
use roadstead_kit::requests::{Step, delete, digest, get, head, post, put};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const REPOSITORY: &str = "team/app";
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

/// An image of one layer.
struct Image {
    tag: &'static str,
    config: Bytes,
    layer: Bytes,
    manifest: Bytes,
}

impl Image {
    fn new(tag: &'static str, layer: usize) -> Self {
        let config = Bytes::from(json!({ "tag": tag }).to_string());
        let layer = Bytes::from(tag.repeat(layer));
        let of = |kind: &str, bytes: &[u8]| json!({ "mediaType": kind, "digest": digest(bytes), "size": bytes.len() });
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": IMAGE,
            "config": of("application/vnd.oci.image.config.v1+json", &config),
            "layers": [of("application/vnd.oci.image.layer.v1.tar", &layer)],
        });
        Self { tag, config, layer, manifest: manifest.to_string().into() }
    }

    fn bytes(&self) -> usize {
        self.config.len() + self.layer.len() + self.manifest.len()
    }

    fn pushed(&self) -> Vec<Step> {
        let blob = |bytes: &Bytes| {
            post(format!("/v2/{REPOSITORY}/blobs/uploads/?digest={}", digest(bytes)))
                .header("content-type", "application/octet-stream")
                .body(bytes.clone())
                .status(201)
        };
        let manifest = put(format!("/v2/{REPOSITORY}/manifests/{}", self.tag))
            .header("content-type", IMAGE)
            .body(self.manifest.clone())
            .status(201);
        vec![blob(&self.config), blob(&self.layer), manifest]
    }

    fn pulled(&self) -> Vec<Step> {
        let blob = |bytes: &Bytes| {
            get(format!("/v2/{REPOSITORY}/blobs/{}", digest(bytes))).content(bytes.clone())
        };
        let manifest = get(format!("/v2/{REPOSITORY}/manifests/{}", self.tag));
        let manifest = manifest.content(self.manifest.clone());
        vec![manifest, blob(&self.config), blob(&self.layer)]
    }
}

/// A run of a registry with the settings [`BY_SLICES`] over the directory `data`, which is
/// empty, driven to its end by requests: an image was deleted two hours ago, and another
/// one is whole afterwards.
pub async fn a_run_by_slices(address: &str, data: &Path) {
    let target = Target::Server(address.to_owned());
    let (gone, stays) = (Image::new("gone", 20_000), Image::new("stays", 30_000));
    run(&target, &[gone.pushed(), stays.pushed()].concat()).await;
    let manifest = format!("/v2/{REPOSITORY}/manifests/{}", digest(&gone.manifest));
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

/// Makes everything in a data directory look older: all files, and what earlier runs of
/// garbage collection have noted with a time.
pub fn make_older(root: &Path, by: Duration) {
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            make_older(&path, by);
            continue;
        }
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with("sighted-") {
            let earlier = |line: &str| {
                let (digest, since) = line.split_once(' ').unwrap();
                format!("{digest} {}\n", since.parse::<u64>().unwrap() - by.as_secs())
            };
            let modified = fs::metadata(&path).unwrap().modified().unwrap();
            let noted: String = fs::read_to_string(&path).unwrap().lines().map(earlier).collect();
            fs::write(&path, noted).unwrap();
            File::open(&path).unwrap().set_modified(modified).unwrap();
        }
        let file = File::open(&path).unwrap();
        let modified = file.metadata().unwrap().modified().unwrap();
        file.set_modified(modified - by).unwrap();
    }
}
