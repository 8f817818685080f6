//! What operators ask of a bucket that nobody serves, by a configuration file alone: to free
//! space at once.

use crate::commands::Stored;
use roadstead_tests::{Garage, Gcs, skip};
use serde_json::{Value, json};

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
