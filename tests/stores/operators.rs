//! What operators ask of a bucket that nobody serves, by a configuration file alone: to free
//! space at once, to give back what a run has condemned, questions, deletions and a rescue.

use crate::commands::{HOUR, Stored, at, data_of};
use object_store::ObjectStoreExt as _;
use roadstead_tests::{Garage, Gcs, Registry, Target, command, get, run, skip};
use serde_json::{Value, json};

/// Waits so short that a registry condemns garbage while a test runs, and so long that it
/// removes none, nor begins another run before it is stopped: that would keep the lease.
const CONDEMNS: (&str, &str) = (
    "ROADSTEAD_TEST_GC",
    r#"{"first":0,"overrides":{"grace":1000,"keep":3600000,"interval":10000,"valid":600000,"settled":0,"budget":1000,"exclusive":false}}"#,
);

#[tokio::test]
async fn gcs_alone() {
    let gcs = Gcs::start().unwrap();
    space_comes_back_at_once(&Stored::new("gcs", gcs.settings("images")).await).await;
}

#[tokio::test]
async fn garage_alone() {
    let Some(garage) = garage("operators::garage_alone") else { return };
    space_comes_back_at_once(&Stored::new("s3", garage.settings("images", 0)).await).await;
}

/// What is young goes too, by both commands, if the operator says that nothing else uses
/// the bucket, and otherwise stays.
async fn space_comes_back_at_once(stored: &Stored) {
    let config = stored.config();
    stored.delete();
    stored.collected(&[]);
    let printed = Stored::printed(&["garbage-collect", config]);
    assert!(printed.starts_with("6 blobs marked, 0 blobs and 0 manifests eligible"), "{printed}");
    let dry = report(&["gc", "--alone", "--dry-run", config]);
    assert_eq!((&dry["removed"], &dry["dry_run"]), (&3.into(), &true.into()), "{dry}");
    let printed = Stored::printed(&["garbage-collect", "--alone", "-d", config]);
    assert!(printed.starts_with("3 blobs marked, 3 blobs and 0 manifests eligible"), "{printed}");
    assert!(stored.has_deleted().await);
    let removed = report(&["gc", "--alone", config]);
    assert_eq!((&removed["removed"], &removed["condemned"]), (&3.into(), &0.into()), "{removed}");
    assert_eq!(removed["removed_bytes"], stored.deleted.bytes(), "{removed}");
    assert!(!stored.has_deleted().await);

    // Without its tag, the other image goes with its content.
    Stored::printed(&["rm", "--config", config, "team/app:left"]);
    let printed = Stored::printed(&["garbage-collect", "-m", config]);
    assert!(printed.contains("0 blobs and 0 manifests eligible"), "it is young: {printed}");
    let printed = Stored::printed(&["garbage-collect", "-m", "--alone", config]);
    assert!(printed.starts_with("0 blobs marked, 3 blobs and 1 manifests eligible"), "{printed}");
    assert!(printed.contains("deleted 3 blobs"), "{printed}");
    let usage = Stored::printed(&["gc", config, "--usage"]);
    assert!(!usage.contains("team/app"), "{usage}");
}

#[tokio::test]
async fn gcs_questions() {
    let gcs = Gcs::start().unwrap();
    questions_and_a_rescue(&Stored::new("gcs", gcs.settings("images")).await).await;
}

#[tokio::test]
async fn garage_questions() {
    let Some(garage) = garage("operators::garage_questions") else { return };
    questions_and_a_rescue(&Stored::new("s3", garage.settings("images", 0)).await).await;
}

/// What each of the commands says of a bucket, and does to it.
async fn questions_and_a_rescue(stored: &Stored) {
    let config = stored.config();
    let [_, layer, manifest] = stored.left.digests();
    let [_, gone, untagged] = stored.deleted.digests();
    let usage = Stored::printed(&["gc", config, "--usage"]);
    assert!(usage.contains("team/app"), "{usage}");
    let json: Value =
        serde_json::from_str(&Stored::printed(&["gc", config, "--usage", "--json"])).unwrap();
    let one = &json["repositories"][0];
    let bytes = stored.left.bytes() + stored.deleted.bytes();
    assert_eq!((&one["name"], &one["bytes"]), (&"team/app".into(), &bytes.into()), "{json}");
    assert_eq!(one["manifests"], 2, "{json}");
    let why = Stored::printed(&["gc", config, "--why", &layer]);
    assert!(why.contains("kept, by:") && why.contains("tags left"), "{why}");
    assert_eq!(Stored::printed(&["gc", config, "--reports"]), "no run has ended yet\n");

    // A tag, and then what nothing leads to any more.
    Stored::printed(&["rm", "--config", config, "team/app:deleted"]);
    let why = Stored::printed(&["gc", config, "--why", &untagged]);
    assert!(why.contains("no tag"), "{why}");
    let aged = ["--delete-untagged", "--untagged-age", "0m"];
    let young = report(&[&["gc", config], &aged[..]].concat());
    assert_eq!(young["untagged"], 0, "{young}");
    let dry = report(&[&["gc", config, "--alone", "--dry-run"], &aged[..]].concat());
    assert_eq!((&dry["untagged"], &dry["removed"]), (&1.into(), &3.into()), "{dry}");
    assert!(stored.has_deleted().await);
    let removed = report(&[&["gc", config, "--alone"], &aged[..]].concat());
    assert_eq!((&removed["untagged"], &removed["removed"]), (&1.into(), &3.into()), "{removed}");
    assert!(!stored.has_deleted().await);
    let why = Stored::printed(&["gc", config, "--why", &gone]);
    assert!(why.contains("the storage does not have it"), "{why}");
    let reports = Stored::printed(&["gc", config, "--reports"]);
    for expected in [removed["run"].as_str().unwrap(), "removed 3", "deleted untagged 1"] {
        assert!(reports.contains(expected), "{expected}: {reports}");
    }
    stored.left_alone().await;

    rescued(stored, &[layer, manifest]).await;

    let said = Stored::printed(&["rm", "--config", config, "--repository", "team/app"]);
    assert!(said.contains("1 tags, 1 manifests"), "{said}");
    let host = stored.host(&[]);
    let steps = [
        get("/v2/_catalog").content(r#"{"repositories":[]}"#),
        get("/v2/team/app/tags/list").error(404, "NAME_UNKNOWN"),
    ];
    run(&at(&host), &steps).await;
    drop(host);
    let removed = report(&["gc", config, "--alone"]);
    assert_eq!((&removed["removed"], &removed["blobs"]), (&3.into(), &3.into()), "{removed}");
    for digest in stored.left.digests() {
        assert!(stored.bucket.head(&data_of(&digest)).await.is_err(), "{digest}");
    }
}

/// The data of these contents of the image that is left, lost and brought back from
/// another registry.
async fn rescued(stored: &Stored, lost: &[String]) {
    let rescue = |flags: &[&str]| {
        let output = command([&["rescue", stored.config()], flags].concat()).output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code(), said)
    };
    let (status, said) = rescue(&[]);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("nothing is lost"), "{said}");
    for digest in lost {
        stored.bucket.delete(&data_of(digest)).await.unwrap();
    }
    let (status, said) = rescue(&[]);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains(&lost[1]) && said.contains("found nowhere"), "{said}");
    let elsewhere = tempfile::tempdir().unwrap();
    let source = Registry::start(elsewhere.path(), &[], &[]).unwrap();
    run(&Target::Server(source.address.clone()), &stored.left.pushed()).await;
    let (status, said) = rescue(&["--from", &format!("http://{}", source.address)]);
    assert_eq!(status, Some(0), "{said}");
    for digest in lost {
        assert!(said.contains(digest) && said.contains("brought back from"), "{digest}: {said}");
    }
    run(&at(&stored.host(&[])), &stored.left.pulled()).await;
}

#[tokio::test]
async fn gcs_undo() {
    let gcs = Gcs::start().unwrap();
    let stored = Stored::new("gcs", gcs.settings("images")).await;
    stored.delete();
    gcs.pass(2 * HOUR);
    stored.collected(&[("sighted", 3)]);
    gcs.pass(HOUR + HOUR / 60);
    let run = stored.collected(&[("condemned", 3)])["run"].take();
    given_back(&stored, run.as_str().unwrap()).await;
    // It is kept while the need counts; a run deletes that, and the next one sees it anew.
    for hours in [1, 3] {
        gcs.pass(hours * HOUR);
        stored.collected(&[]);
    }
    stored.collected(&[("sighted", 3)]);
}

#[tokio::test]
async fn garage_undo() {
    let Some(garage) = garage("operators::garage_undo") else { return };
    let stored = Stored::new("s3", garage.settings("images", 0)).await;
    stored.delete();
    stored.serve_until(CONDEMNS, "condemned=3").await;
    let printed = Stored::printed(&["gc", stored.config(), "--reports", "--json"]);
    let json: Value = serde_json::from_str(&printed).unwrap();
    let condemned = |report: &&Value| report["condemned"] == 3;
    let report = json["reports"].as_array().unwrap().iter().find(condemned).unwrap();
    given_back(&stored, report["run"].as_str().unwrap()).await;
}

/// Undoes the run that has condemned the blobs of the image that was deleted.
async fn given_back(stored: &Stored, run_of: &str) {
    let config = stored.config();
    let [_, layer, _] = stored.deleted.digests();
    let why = Stored::printed(&["gc", config, "--why", &layer]);
    assert!(why.contains(&format!("--undo {run_of} gives it back")), "{why}");
    let dry = report(&["gc", config, "--undo", run_of, "--dry-run"]);
    assert_eq!((&dry["given_back"], &dry["undone"]), (&3.into(), &run_of.into()), "{dry}");
    let undone = report(&["gc", config, "--undo", run_of]);
    assert_eq!((&undone["given_back"], &undone["undone"]), (&3.into(), &run_of.into()), "{undone}");
    let why = Stored::printed(&["gc", config, "--why", &layer]);
    assert!(!why.contains("condemned"), "{why}");
    let reports = Stored::printed(&["gc", config, "--reports"]);
    assert!(reports.contains(&format!("gave back 3, undid {run_of}")), "{reports}");
    assert!(stored.has_deleted().await);
    // Where nobody has asked for it yet, so that no request has restored it.
    let host = stored.host(&[]);
    let head = roadstead_tests::head(format!("/v2/team/app/blobs/{layer}"));
    run(&at(&host), &[head.status(200)]).await;
}

/// The report of a run.
fn report(arguments: &[&str]) -> Value {
    let printed = Stored::printed(&[arguments, &["--json"]].concat());
    let mut said: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(said["status"], json!("done"), "{said}");
    said["report"].take()
}

fn garage(test: &str) -> Option<Garage> {
    let garage = Garage::start().unwrap();
    match &garage {
        Some(garage) => garage.bucket("images").unwrap(),
        None => drop(skip(test, "garage is not installed; run .ci/install-garage")),
    }
    garage
}
