//! The commands `gc`, `scrub` and `rm` on a bucket that nobody serves, by a configuration
//! file alone.

use object_store::ObjectStoreExt as _;
use object_store::path::Path as Place;
use roadstead_buckets::Bucket;
use roadstead_tests::{
    Garage, Gcs, Registry, SmallImage, Target, bucket, command, data_key, get, head, run, skip,
};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub const HOUR: Duration = Duration::from_hours(1);

/// How long a registry in a hurry may take to remove garbage, and how often to look.
const REMOVAL_LIMIT: Duration = Duration::from_mins(2);
const REMOVAL_PAUSE: Duration = Duration::from_millis(200);

/// Waits so short that a process sees garbage, condemns and removes it while a test runs,
/// and pauses between runs.
const HURRY: (&str, &str) = (
    "ROADSTEAD_TEST_GC",
    r#"{"first":0,"overrides":{"grace":1000,"keep":2000,"interval":5000,"valid":600000,"settled":0,"budget":1000,"exclusive":false}}"#,
);

/// A bucket with two images, and its configuration file.
pub struct Stored {
    settings: Vec<(String, String)>,
    pub bucket: Arc<dyn Bucket>,
    config: PathBuf,
    pub deleted: SmallImage,
    pub left: SmallImage,
    _directory: tempfile::TempDir,
}

impl Stored {
    /// Pushes the images to the bucket of these settings, of this kind of store.
    pub async fn new(kind: &str, settings: Vec<(String, String)>) -> Self {
        let prefix = format!("REGISTRY_STORAGE_{}_", kind.to_uppercase());
        let key = |name: &str| name.strip_prefix(&prefix).unwrap().to_lowercase();
        let of_store: Map<String, Value> =
            settings.iter().map(|(name, value)| (key(name), value.as_str().into())).collect();
        // JSON is YAML too.
        let config = json!({
            "version": 0.1,
            "storage": { kind: of_store, "maintenance": { "gc": { "grace": "1h", "keep": "2h" } } },
        });
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config.yml");
        std::fs::write(&file, config.to_string()).unwrap();
        let stored = Self {
            bucket: bucket(settings.clone()).unwrap(),
            settings,
            config: file,
            deleted: SmallImage::new("deleted", 50_000),
            left: SmallImage::new("left", 50_000),
            _directory: directory,
        };
        let host = stored.host(&[]);
        run(&at(&host), &[stored.deleted.pushed(), stored.left.pushed()].concat()).await;
        stored
    }

    pub fn host(&self, more: &[(&str, &str)]) -> Registry {
        let redirect = ("REGISTRY_STORAGE_REDIRECT_DISABLE", "true");
        Registry::start_over(&self.settings, &[&[redirect], more].concat()).unwrap()
    }

    /// Has a registry collect in a hurry until a run has ended with this figure.
    pub async fn serve_until(&self, hurry: (&str, &str), figure: &str) {
        let mut host = self.host(&[("REGISTRY_STORAGE_DELETE_ENABLED", "true"), hurry]);
        let deadline = Instant::now() + REMOVAL_LIMIT;
        while !host.log().lines().any(|line| line.contains("ended") && line.contains(figure)) {
            assert!(Instant::now() < deadline, "not within {REMOVAL_LIMIT:?}: {}", host.log());
            tokio::time::sleep(REMOVAL_PAUSE).await;
        }
        // Between two runs: one that is cut off keeps others out for ten minutes.
        host.signal("TERM").unwrap();
        assert!(host.wait().unwrap().success());
        assert!(!host.log().contains("ERROR"), "{}", host.log());
    }

    /// What a command prints that succeeds, with no settings but the file's.
    pub fn printed(arguments: &[&str]) -> String {
        let output = command(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {:?}: {said}", output.status);
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn config(&self) -> &str {
        text(&self.config)
    }

    /// Deletes the first image: its tag, and then its manifest.
    pub fn delete(&self) {
        let [_, _, manifest] = self.deleted.digests();
        for target in ["team/app:deleted", &format!("team/app@{manifest}")] {
            let said = Self::printed(&["rm", "--config", self.config(), target]);
            assert!(said.contains(target), "{said}");
        }
    }

    /// The report of a run, in which these figures are not 0, of those that say what
    /// becomes of blobs.
    pub fn collected(&self, figures: &[(&str, usize)]) -> Value {
        let printed = Self::printed(&["gc", "--json", self.config()]);
        let mut said: Value = serde_json::from_str(&printed).unwrap();
        assert_eq!(said["status"], "done", "{said}");
        let report = said["report"].take();
        for figure in ["sighted", "condemned", "kept", "given_back", "removed"] {
            let expected = figures.iter().find(|(name, _)| *name == figure);
            let expected = expected.map_or(0, |(_, number)| *number);
            assert_eq!(report[figure], expected, "{figure}: {report}");
        }
        assert_eq!((&report["repositories"], &report["manifests"]), (&1.into(), &1.into()));
        report
    }

    /// Reads all of the bucket again, in which nothing is damaged.
    fn scrubbed(&self, blobs: usize) {
        let printed = Self::printed(&["scrub", "--json", self.config()]);
        let said: Value = serde_json::from_str(&printed).unwrap();
        assert_eq!((&said["findings"], &said["cursor"]), (&json!([]), &Value::Null), "{said}");
        assert_eq!(said["counts"]["blobs"], blobs, "{said}");
    }

    /// Whether the bucket has the first image's blobs; they go together.
    pub async fn has_deleted(&self) -> bool {
        let mut found = Vec::new();
        for digest in self.deleted.digests() {
            found.push(self.bucket.head(&data_of(&digest)).await.is_ok());
        }
        found.contains(&true)
    }

    /// What clients see at the end.
    pub async fn left_alone(&self) {
        let host = self.host(&[]);
        run(&at(&host), &self.left.pulled()).await;
        let mut steps =
            vec![get("/v2/team/app/tags/list").content(r#"{"name":"team/app","tags":["left"]}"#)];
        for digest in &self.deleted.digests()[..2] {
            steps.push(head(format!("/v2/team/app/blobs/{digest}")).status(404));
        }
        steps.push(head(self.deleted.path()).status(404));
        run(&at(&host), &steps).await;
    }
}

/// The key of a blob's data.
pub fn data_of(digest: &str) -> Place {
    Place::from(data_key(digest))
}

pub fn at(host: &Registry) -> Target {
    Target::Server(host.address.clone())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The clock of the stand-in can be moved, so that the command alone does all of it, with
/// the waits of the settings.
#[tokio::test]
async fn gcs() {
    let gcs = Gcs::start().unwrap();
    let stored = Stored::new("gcs", gcs.settings("images")).await;
    stored.scrubbed(6);
    stored.delete();
    // What is young may be of a push that goes on.
    assert_eq!(stored.collected(&[])["blobs"], 6);
    gcs.pass(2 * HOUR);
    let report = stored.collected(&[("sighted", 3)]);
    assert_eq!(report["sighted_bytes"], stored.deleted.bytes(), "{report}");
    gcs.pass(HOUR + HOUR / 60);
    stored.collected(&[("condemned", 3)]);
    stored.collected(&[("kept", 3)]);
    assert!(stored.has_deleted().await);
    stored.scrubbed(6);
    gcs.pass(3 * HOUR);
    let report = stored.collected(&[("removed", 3)]);
    assert_eq!(report["removed_bytes"], stored.deleted.bytes(), "{report}");
    assert!(!stored.has_deleted().await);
    assert_eq!(stored.collected(&[])["blobs"], 3);
    stored.scrubbed(3);
    stored.left_alone().await;
}

/// The clocks of a real cluster cannot be moved, and no setting makes the waits short: a
/// registry for tests does between two runs of the command what would take days.
#[tokio::test]
async fn garage() {
    let Some(garage) = Garage::start().unwrap() else {
        skip("commands::garage", "garage is not installed; run .ci/install-garage");
        return;
    };
    garage.bucket("images").unwrap();
    let stored = Stored::new("s3", garage.settings("images", 0)).await;
    stored.scrubbed(6);
    stored.delete();
    assert_eq!(stored.collected(&[])["blobs"], 6);
    stored.serve_until(HURRY, "removed=3").await;
    assert!(!stored.has_deleted().await);
    assert_eq!(stored.collected(&[])["blobs"], 3);
    stored.scrubbed(3);
    stored.left_alone().await;
}
