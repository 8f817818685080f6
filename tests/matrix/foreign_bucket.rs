//! Images in a bucket that was not written by this registry.

use crate::fixture::{Fixture, Mode, find};
use http::StatusCode;
use roadstead_tests::image::{self, Layout, TAG};
use roadstead_tests::program::{clients_required, run};
use roadstead_tests::{FakeGcs, Registry, skip};

/// Two clients pull from an emulator of Google Cloud Storage, to which the
/// registry redirects them for blobs. The emulator does not support the writes
/// of `object_store`, so its content was pushed to a directory.
#[tokio::test]
async fn pulls_from_fake_gcs_server() {
    const TEST: &str = "filled::pulls_from_fake_gcs_server";
    if let Some(missing) = ["crane", "skopeo"].iter().find(|client| find(client).is_none()) {
        assert!(!clients_required(), "{missing} is required; run .ci/install-clients");
        skip(TEST, &format!("{missing} is not installed"));
        return;
    }
    let data = tempfile::tempdir().unwrap();
    // The name of the bucket in the emulator.
    let directory = Registry::start(&data.path().join("images"), &[], &[]).unwrap();
    let writer = Fixture::start(Mode::Plain);
    let layout = writer.layout().await;
    let mut push = writer.command("crane");
    push.arg("push")
        .arg(writer.path("layout"))
        .arg(format!("{}/some/image:{TAG}", directory.address));
    run(&mut push).await;
    drop(directory);

    let Some(store) = FakeGcs::start(data.path()).unwrap() else {
        skip(TEST, "fake-gcs-server is not installed; run .ci/install-fake-gcs");
        return;
    };
    let reader = Fixture::start_over(Mode::Gcs, &store.settings("images"));
    assert_eq!(reader.tags("some/image").await, [TAG]);
    let mut sent_away = 0;
    for digest in layout.digests() {
        let status = reader.get(&format!("/v2/some/image/blobs/{digest}")).await.status();
        sent_away += usize::from(status == StatusCode::TEMPORARY_REDIRECT);
        assert_ne!(status, StatusCode::OK);
    }
    // A layer and a config for each of two platforms.
    assert_eq!(sent_away, 4);
    let remote = reader.remote(&format!("some/image:{TAG}"));
    let by_crane = reader.path("by-crane");
    run(reader.command("crane").args(["pull", "--format=oci", &remote]).arg(&by_crane)).await;
    let by_skopeo = reader.path("by-skopeo");
    let mut copy = reader.command("skopeo");
    copy.args(["--insecure-policy", "copy", "--all", "--preserve-digests"]);
    copy.args(["--src-tls-verify=false", &format!("docker://{remote}")]);
    run(copy.arg(image::reference(&by_skopeo))).await;
    for pulled in [by_crane, by_skopeo] {
        let pulled = Layout::open(&pulled);
        assert_eq!(
            (pulled.digest.as_str(), pulled.digests()),
            (layout.digest.as_str(), layout.digests())
        );
    }
}
