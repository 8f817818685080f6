//! A matrix of clients against the real host, over plain HTTP, also with its data
//! in object stores, and, with a password, over TLS: each pushes an image that was
//! made from nothing, pulls it into a clean store, and does what else it can: lists
//! tags, copies between repositories, attaches artifacts and lists them, deletes.
//!
//! Each client has a registry of its own, and its own home, so that neither
//! machine nor user is touched. `.ci/install-clients` installs the clients.
//! One that is not there is skipped, except that with
//! `ROADSTEAD_REQUIRE_CLIENTS=1` the most used ones must be there, unless that
//! script has tried and written down why it cannot be.
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

/// All of them with the registry's data in Garage, an object store of three
/// nodes, to which the registry sends them for blobs.
#[tokio::test]
async fn on_buckets() {
    let Some(garage) = Garage::start().unwrap() else {
        skip("on_buckets", "there is no garage: .ci/install-garage builds it");
        return;
    };
    let open = async |name: &str| {
        garage.bucket(name).unwrap();
        garage.settings(name, 0)
    };
    all_on_buckets(Mode::Bucket, |_| true, open).await;
}

/// Those that have code of their own for blobs, with the data in Azurite, whose
/// signed URLs are of another kind.
#[tokio::test]
async fn on_azurite() {
    let Some(azurite) = Azurite::start().unwrap() else {
        skip("on_azurite", "there is no Azurite: .ci/install-azurite fetches it");
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

/// A test of each client for each way to reach a registry.
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

        /// One after the other, each in a bucket of its own, for which `open`
        /// gives the settings.
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
