//! A matrix of clients against the real host over plain HTTP: each pushes an
//! image that was made from nothing, pulls it into a clean store, and does what
//! else it can: lists tags, copies between repositories, attaches artifacts and
//! lists them, deletes.
//!
//! Each client has a registry of its own, and its own home, so that neither
//! machine nor user is touched. `.ci/install-clients` installs the clients.
//! One that is not there is skipped, except that with
//! `ROADSTEAD_REQUIRE_CLIENTS=1` the most used ones must be there, unless that
//! script has tried and written down why it cannot be.
#![cfg(unix)]

// The modules of `clients.rs`, which uses the rest of them.
#[allow(dead_code, reason = "used by the other tests of clients")]
#[path = "clients/engine.rs"]
mod engine;
#[allow(dead_code, reason = "used by the other tests of clients")]
#[path = "clients/image.rs"]
mod image;
#[allow(dead_code, reason = "used by the other tests of clients")]
#[path = "clients/program.rs"]
mod program;

#[path = "matrix/bench.rs"]
mod bench;
#[path = "matrix/buildah.rs"]
mod buildah;
#[path = "matrix/crane.rs"]
mod crane;
#[path = "matrix/ctr.rs"]
mod ctr;
#[path = "matrix/docker.rs"]
mod docker;
#[path = "matrix/dxf.rs"]
mod dxf;
#[path = "matrix/helm.rs"]
mod helm;
#[path = "matrix/notation.rs"]
mod notation;
#[path = "matrix/oci_client.rs"]
mod oci_client;
#[path = "matrix/oras.rs"]
mod oras;
#[path = "matrix/oras_py.rs"]
mod oras_py;
#[path = "matrix/podman.rs"]
mod podman;
#[path = "matrix/regctl.rs"]
mod regctl;
#[path = "matrix/report.rs"]
mod report;
#[path = "matrix/skopeo.rs"]
mod skopeo;

use bench::Bench;
use report::{Need, Report};

#[tokio::test]
async fn skopeo() {
    let Some((report, bench)) = start("skopeo", &["skopeo"], Need::Required) else { return };
    report.finish(skopeo::check(&bench).await);
}

#[tokio::test]
async fn podman() {
    let Some((report, bench)) = start("podman", &["podman"], Need::Required) else { return };
    report.finish(podman::check(&bench).await);
}

#[tokio::test]
async fn buildah() {
    let Some((report, bench)) = start("buildah", &["buildah"], Need::Required) else { return };
    report.finish(buildah::check(&bench).await);
}

#[tokio::test]
async fn ctr() {
    let programs = ["ctr", "containerd"];
    let Some((report, bench)) = start("ctr", &programs, Need::Required) else { return };
    report.finish(ctr::check(&bench).await);
}

#[tokio::test]
async fn docker() {
    let programs = ["docker", "dockerd"];
    let Some((report, bench)) = start("docker", &programs, Need::Optional) else { return };
    report.finish(docker::check(&bench).await);
}

#[tokio::test]
async fn crane() {
    let Some((report, bench)) = start("crane", &["crane"], Need::Required) else { return };
    report.finish(crane::check(&bench).await);
}

#[tokio::test]
async fn oras() {
    let Some((report, bench)) = start("oras", &["oras"], Need::Required) else { return };
    report.finish(oras::check(&bench).await);
}

#[tokio::test]
async fn regctl() {
    let Some((report, bench)) = start("regctl", &["regctl"], Need::Required) else { return };
    report.finish(regctl::check(&bench).await);
}

#[tokio::test]
async fn notation() {
    let Some((report, bench)) = start("notation", &["notation"], Need::Optional) else { return };
    report.finish(notation::check(&bench).await);
}

#[tokio::test]
async fn helm() {
    let Some((report, bench)) = start("helm", &["helm"], Need::Optional) else { return };
    report.finish(helm::check(&bench).await);
}

#[tokio::test]
async fn oras_py() {
    let Some(report) = Report::start("oras-py", &[], Need::Optional) else { return };
    report.finish(oras_py::check(&Bench::start()).await);
}

#[tokio::test]
async fn oci_client() {
    let programs = ["oci-client-program"];
    let Some((report, bench)) = start("oci-client", &programs, Need::Optional) else { return };
    report.finish(oci_client::check(&bench).await);
}

#[tokio::test]
async fn dxf() {
    let Some((report, bench)) = start("dxf", &["dxf"], Need::Optional) else { return };
    report.finish(dxf::check(&bench).await);
}

/// A client's report and its bench, if the client is there.
fn start(client: &'static str, programs: &[&str], need: Need) -> Option<(Report, Bench)> {
    Some((Report::start(client, programs, need)?, Bench::start()))
}
