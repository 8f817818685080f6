//! A system that gives the host no more threads.

use crate::support::{TEST_LIMIT, assert_blob, assert_well, push_blob, within};
use bytes::Bytes;
use roadstead_tests::{Registry, binary, binary_named, skip, unprivileged};
use std::fs;
use std::path::Path;

const REPOSITORY: &str = "threads/none";

/// Concurrent pushes, each of which would take several threads.
const PUSHES: u8 = 24;

#[tokio::test]
async fn commits_without_new_threads() {
    let name = "commits_without_new_threads";
    let root = tempfile::tempdir().unwrap();
    let as_user = |program: &Path| unprivileged(root.path(), program).unwrap();
    let prlimit = binary_named(&["prlimit"]).and_then(|prlimit| as_user(&prlimit));
    let (Some(mut command), Some(mut prlimit)) = (as_user(&binary().unwrap()), prlimit) else {
        skip(name, "no setpriv or no prlimit; Debian has them in util-linux");
        return;
    };
    command
        .arg("serve")
        .env("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", root.path().join("registry"))
        .env("REGISTRY_HTTP_ADDR", "127.0.0.1:0");
    let host = Registry::serve(command).unwrap();
    prlimit.args(["--pid", &host.pid().to_string(), "--nproc=1:1"]);
    assert!(prlimit.status().unwrap().success());
    within(TEST_LIMIT, async {
        let pushes: Vec<_> = (0..PUSHES)
            .map(|number| {
                let address = host.address.clone();
                tokio::spawn(async move {
                    let blob = Bytes::from(vec![number; 100_000]);
                    let digest = push_blob(&address, REPOSITORY, &blob).await;
                    assert_blob(&address, REPOSITORY, &digest).await;
                })
            })
            .collect();
        for push in pushes {
            push.await.unwrap();
        }
        assert_well(&host.address).await;
    })
    .await;
    assert!(!host.log().contains("panicked"), "{}", host.log());
    assert!(threads(host.pid()) > 1);
}

fn threads(pid: u32) -> usize {
    fs::read_dir(Path::new("/proc").join(pid.to_string()).join("task")).unwrap().count()
}
