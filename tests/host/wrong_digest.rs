//! Content with a wrong digest is not stored, whatever way it was pushed.

use crate::content::Content;
use crate::disk::{Disk, files};
use crate::support::{TEST_LIMIT, ask, begin, closing, code, request, within};
use roadstead_tests::{Registry, digest};

const REPOSITORY: &str = "wrong/digest";

#[tokio::test]
async fn nothing_is_kept() {
    let root = tempfile::tempdir().unwrap();
    let host = Registry::start(root.path(), &[], &[]).unwrap();
    within(TEST_LIMIT, async {
        // Bodies of one piece and of many.
        for size in [1000, 3 * 1024 * 1024] {
            for algorithm in ["sha256", "sha512"] {
                for way in WAYS {
                    let content = Content { seed: size, size };
                    push(&host.address, *way, content, algorithm, Disk(root.path())).await;
                }
            }
        }
    })
    .await;
}

#[derive(Clone, Copy, Debug)]
enum Way {
    PatchThenPut,
    PatchThenPutOfTheRest,
    Put,
    Post,
}

const WAYS: &[Way] = &[Way::PatchThenPut, Way::PatchThenPutOfTheRest, Way::Put, Way::Post];

async fn push(address: &str, way: Way, content: Content, algorithm: &str, disk: Disk<'_>) {
    let wrong = match algorithm {
        "sha256" => digest(b"something else"),
        _ => format!("sha512:{}", "5".repeat(128)),
    };
    let (whole, half) = (content.bytes(), content.size / 2);
    let upload = match way {
        Way::Post => format!("/v2/{REPOSITORY}/blobs/uploads/"),
        _ => begin(address, REPOSITORY).await,
    };
    let first = match way {
        Way::PatchThenPut => content.size,
        Way::PatchThenPutOfTheRest => half,
        Way::Put | Way::Post => 0,
    };
    if first > 0 {
        ask(address, request(&format!("PATCH {upload}"), content.part(0..first)), 202).await;
        assert_eq!(disk.sessions(REPOSITORY).len(), 1);
    }
    let line = match way {
        Way::Post => format!("POST {}", closing(&upload, &wrong)),
        _ => format!("PUT {}", closing(&upload, &wrong)),
    };
    let rest = whole.slice(usize::try_from(first).unwrap()..);
    let answer = ask(address, request(&line, rest), 400).await;
    assert_eq!(code(answer.body()), "DIGEST_INVALID");

    assert!(disk.blobs().is_empty(), "{way:?}: {:?}", disk.blobs());
    for digest in [&wrong, &content.digest()] {
        assert!(!disk.layer_link(REPOSITORY, digest).exists(), "{way:?}");
        let line = format!("GET /v2/{REPOSITORY}/blobs/{digest}");
        assert_eq!(code(ask(address, request(&line, ""), 404).await.body()), "BLOB_UNKNOWN");
    }
    assert!(disk.sessions(REPOSITORY).is_empty(), "{way:?}: {:?}", disk.sessions(REPOSITORY));
    // Neither in this repository nor anywhere else.
    let large = |file: &std::path::PathBuf| file.metadata().is_ok_and(|file| file.len() >= half);
    let left: Vec<_> = files(disk.0).into_iter().filter(large).collect();
    assert!(left.is_empty(), "{way:?}: {left:?}");
    if !matches!(way, Way::Post) {
        let status = ask(address, request(&format!("GET {upload}"), ""), 404).await;
        assert_eq!(code(status.body()), "BLOB_UPLOAD_UNKNOWN");
    }
}
