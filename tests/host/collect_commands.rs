//! Commands that chart jobs and operators call: distribution's flags.

use crate::collect::{image, printed_by, push, text};
use crate::disk::Disk;
use crate::images::{Image, pull};
use crate::start::assert_says;
use crate::support::{TEST_LIMIT, within};
use roadstead_tests::{Registry, command, digest};
use std::os::unix::process::CommandExt as _;

/// Pushes two images with one tag, and returns the digest of the first, to which nothing
/// leads then.
async fn push_over(address: &str, repository: &str, [former, later]: [Image; 2]) -> String {
    push(address, repository, former).await;
    push(address, repository, later).await;
    digest(&former.manifest())
}

/// The command line of the CronJob of twuni's chart, which gives the flag one of both
/// values.
#[tokio::test]
async fn the_cron_job_of_twunis_chart() {
    let directory = tempfile::tempdir().unwrap();
    let (root, config) = (directory.path().join("data"), directory.path().join("config.yml"));
    let rooted =
        format!("version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n", root.display());
    std::fs::write(&config, rooted).unwrap();
    within(TEST_LIMIT, async {
        let host = Registry::start(&root, &[], &[]).unwrap();
        let former = push_over(&host.address, "a", [image(1, 1000), image(2, 1000)]).await;
        drop(host);
        let link = Disk(&root).revision_link("a", &former);
        let collected = |flags: &[&str]| {
            let mut job = command([&["garbage-collect"], flags, &[text(&config)]].concat());
            printed_by(job.arg0("/bin/registry"))
        };
        let said = collected(&["--delete-untagged=false"]);
        assert_says(&said, &["6 blobs marked, 0 blobs and 0 manifests eligible for deletion"]);
        assert!(link.exists());
        let eligible = format!("3 blobs marked, 3 blobs and 1 manifests eligible for deletion\nmanifest eligible for deletion: {former}");
        let said = collected(&["--dry-run=true", "--delete-untagged=true"]);
        assert_says(&said, &[&eligible]);
        assert!(link.exists());
        assert_eq!(collected(&["--dry-run=true", "-q=true", "--delete-untagged=true"]), "");
        let said = collected(&["--delete-untagged=true"]);
        assert_says(&said, &["3 blobs marked, 3 blobs and 1 manifests", "deleted 3 blobs"]);
        assert!(!link.exists());
        let host = Registry::start(&root, &[], &[]).unwrap();
        let left = pull(&host.address, "a", "latest").await;
        assert_eq!(left, digest(&image(2, 1000).manifest()));
    })
    .await;
}
