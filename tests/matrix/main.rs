//! A matrix of clients against the real host: over plain HTTP, also with the
//! data in object stores, and, with a password, over TLS. Each client pushes a
//! generated image, pulls it into a clean store, and does what else it supports:
//! list tags, copy between repositories, attach artifacts and list them, delete.
//!
//! Each client has its own registry and home, so that the machine's and the
//! user's files are not touched. `.ci/install-clients` installs the clients. One
//! that is not installed is skipped; with `ROADSTEAD_REQUIRE_CLIENTS=1`, the most
//! used ones are required, unless that script recorded why it could not install
//! them.
#![cfg(unix)]

mod buildah;
mod crane;
mod ctr;
mod docker;
mod dxf;
mod fixture;
mod foreign_bucket;
mod helm;
mod notation;
mod oci_client;
mod oras;
mod oras_py;
mod podman;
mod regctl;
mod report;
mod skopeo;
mod wkg;

use fixture::{Fixture, Mode};
use report::{Need, Report};
use roadstead_tests::{Azurite, Garage, Gcs, skip};

/// All clients with the registry's data in a Garage cluster, to which the
/// registry redirects them for blobs.
#[tokio::test]
async fn on_buckets() {
    let Some(garage) = Garage::start().unwrap() else {
        skip("on_buckets", "garage is not installed; run .ci/install-garage");
        return;
    };
    let open = async |name: &str| {
        garage.bucket(name).unwrap();
        garage.settings(name, 0)
    };
    all_on_buckets(Mode::Bucket, |_| true, open).await;
}

/// Clients with different HTTP code for blobs, with the data in Azurite, which
/// has another kind of signed URLs.
#[tokio::test]
async fn on_azurite() {
    let Some(azurite) = Azurite::start().unwrap() else {
        skip("on_azurite", "Azurite is not installed; run .ci/install-azurite");
        return;
    };
    let open = async |name: &str| {
        azurite.container(name).await.unwrap();
        azurite.settings(name)
    };
    let some = ["docker", "skopeo", "ctr", "crane", "oras", "regctl"];
    all_on_buckets(Mode::Azure, |name| some.contains(&name), open).await;
}

/// The same with a stand-in for Google Cloud Storage.
#[tokio::test]
async fn on_gcs() {
    let gcs = Gcs::start().unwrap();
    let some = ["docker", "skopeo", "crane", "oras"];
    all_on_buckets(Mode::Gcs, |name| some.contains(&name), async |name| gcs.settings(name)).await;
}

/// A test of each client for each kind of connection.
macro_rules! clients {
    ($($client:ident($name:literal, $programs:expr, $need:ident);)*) => {
        mod plain {
            $(#[tokio::test]
            async fn $client() {
                super::$client(super::Mode::Plain).await;
            })*
        }

        mod tls_password {
            $(#[tokio::test]
            async fn $client() {
                super::$client(super::Mode::Password).await;
            })*
        }

        mod tls_token {
            $(#[tokio::test]
            async fn $client() {
                super::$client(super::Mode::Token).await;
            })*
        }

        $(async fn $client(mode: Mode) {
            let Some(report) = Report::start($name, mode, &$programs, Need::$need) else { return };
            report.finish($client::check(&Fixture::start(mode)).await);
        })*

        /// Runs the clients one after the other, each with its own bucket, for
        /// which `open` returns the settings.
        async fn all_on_buckets(
            mode: Mode,
            wanted: impl Fn(&str) -> bool,
            open: impl AsyncFn(&str) -> Vec<(String, String)>,
        ) {
            $(
                if wanted($name)
                    && let Some(report) = Report::start($name, mode, &$programs, Need::$need)
                {
                    let settings = open(&$name.replace(' ', "-")).await;
                    let fixture = Fixture::start_over(mode, &settings);
                    let verdict = $client::check(&fixture).await;
                    assert!(verdict.is_err() || fixture.sent_away(), "{} never left", $name);
                    report.finish(verdict);
                }
            )*
        }
    };
}

clients! {
    skopeo("skopeo", ["skopeo"], Required);
    podman("podman", ["podman"], Required);
    buildah("buildah", ["buildah"], Required);
    ctr("ctr", ["ctr", "containerd"], Required);
    docker("docker", ["docker", "dockerd"], Optional);
    crane("crane", ["crane"], Required);
    oras("oras", ["oras"], Required);
    regctl("regctl", ["regctl"], Required);
    notation("notation", ["notation"], Optional);
    helm("helm", ["helm"], Optional);
    oras_py("oras-py", [], Optional);
    oci_client("oci-client", ["oci-client-program"], Optional);
    dxf("dxf", ["dxf"], Optional);
    wkg("wkg", ["wkg"], Optional);
}
