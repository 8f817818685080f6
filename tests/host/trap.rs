//! A component that traps: one request fails, and the host continues.

use crate::support::{TEST_LIMIT, ask, assert_well, code, eventually, request, within};
use roadstead_tests::Answer;
use roadstead_tests::{Registry, target_directory};
use std::path::{Path, PathBuf};

#[path = "../../host/embedded/nested.rs"]
mod nested;

/// The package of the component.
const PACKAGE: &str = "roadstead-trap";

/// How often the component traps.
const TRAPS: usize = 20;

/// The number of concurrent requests after each trap: more than one instance
/// accepts.
const NEIGHBOURS: usize = 40;

/// The host's log line for a trap.
const FAILED: &str = "the component failed";

#[tokio::test]
async fn a_trap_fails_one_request() {
    let component = build();
    let root = tempfile::tempdir().unwrap();
    let arguments = ["--component", component.to_str().unwrap()];
    let host = Registry::start(root.path(), &[], &arguments).unwrap();
    let address = &host.address;
    within(TEST_LIMIT, async {
        for trap in 1..=TRAPS {
            let answer = ask(address, request("GET /trap", ""), 500).await;
            assert_eq!(answer.headers()["content-type"], "application/json");
            assert_eq!(code(answer.body()), "UNKNOWN");
            assert_well(address).await;
            eventually("the trap is logged", async || {
                (host.log().matches(FAILED).count() == trap).then_some(())
            })
            .await;
            let good: Vec<_> = (0..NEIGHBOURS)
                .map(|_| {
                    let address = address.clone();
                    tokio::spawn(async move { assert_well(&address).await })
                })
                .collect();
            for good in good {
                good.await.unwrap();
            }
        }
    })
    .await;
}

/// What was kept before a write that trapped is not served afterwards: the write
/// may have been carried out.
#[tokio::test]
async fn a_write_that_traps_outdates_what_was_kept() {
    let component = build();
    let root = tempfile::tempdir().unwrap();
    let arguments = ["--component", component.to_str().unwrap()];
    let host = Registry::start(root.path(), &[], &arguments).unwrap();
    within(TEST_LIMIT, async {
        let kept = async || -> Answer { ask(&host.address, request("GET /kept", ""), 200).await };
        let number = |answer: Answer| answer.headers()["number"].clone();
        let first = number(kept().await);
        assert_eq!(number(kept().await), first, "it is kept");
        for line in ["GET /trap", "PUT /other"] {
            let status = if line == "GET /trap" { 500 } else { 200 };
            ask(&host.address, request(line, ""), status).await;
            assert_eq!(number(kept().await), first, "{line} outdates nothing");
        }
        ask(&host.address, request("PUT /trap", ""), 500).await;
        assert_ne!(number(kept().await), first);
    })
    .await;
}

/// Builds the component that traps, like the host's build script builds the
/// registry's: in the same target directory, with the same profile.
pub fn build() -> PathBuf {
    let target = target_directory().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut cargo = nested::build(&root, PACKAGE, &target);
    assert!(cargo.status().unwrap().success(), "{cargo:?}");
    nested::component(PACKAGE, &target)
}
