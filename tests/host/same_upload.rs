//! Two concurrent requests that append to one upload: one of them succeeds.

use crate::content::Content;
use crate::disk::Disk;
use crate::support::{
    LENGTHS, TEST_LIMIT, ask, assert_blob, begin, closing, code, content_range, eventually,
    received, request, within,
};
use crate::wire::Wire;
use bytes::Bytes;
use http::{Request, header};
use roadstead_tests::{Registry, send};

const REPOSITORY: &str = "same/upload";

/// How often two requests race.
const RACES: u64 = 30;

/// The size of the content in bytes: large enough that requests overlap.
const SIZE: u64 = 600_000;

/// A size with which they may not overlap.
const SMALL_SIZE: u64 = 1000;

/// While one sends, the other is refused, and has no effect.
#[tokio::test]
async fn while_one_sends() {
    let root = tempfile::tempdir().unwrap();
    let host = Registry::start(root.path(), &[], &[]).unwrap();
    let (address, disk) = (host.address.as_str(), Disk(root.path()));
    within(TEST_LIMIT, async {
        for length in LENGTHS {
            let content = Content { seed: length as u64, size: SIZE };
            let (bytes, half) = (content.bytes(), usize::try_from(SIZE / 2).unwrap());
            let upload = begin(address, REPOSITORY).await;
            let mut wire = Wire::connect(address).await;
            wire.start(&format!("PATCH {upload}"), length, SIZE).await;
            wire.piece(length, &bytes[..half]).await;
            eventually("the first half is being written", async || {
                (disk.arriving(REPOSITORY) > 0).then_some(())
            })
            .await;

            let closing = closing(&upload, &content.digest());
            for line in [format!("PATCH {upload}"), format!("PUT {closing}")] {
                let refused = ask(address, request(&line, bytes.clone()), 409).await;
                assert_eq!(code(refused.body()), "BLOB_UPLOAD_INVALID");
            }
            assert_eq!(received(address, &upload).await, 0);

            wire.piece(length, &bytes[half..]).await;
            wire.end(length).await;
            let answer = wire.answer().await.unwrap();
            assert_eq!(answer.status, 202);
            assert_eq!(answer.headers["range"], content_range(0, SIZE));
            ask(address, request(&format!("PUT {closing}"), ""), 201).await;
            assert_blob(address, REPOSITORY, &content.digest()).await;
        }
    })
    .await;
}

#[tokio::test]
async fn as_they_come() {
    let root = tempfile::tempdir().unwrap();
    let host = Registry::start(root.path(), &[], &[]).unwrap();
    let address = host.address.as_str();
    within(TEST_LIMIT, async {
        for race in 0..RACES {
            let size = if race % 2 == 0 { SIZE } else { SMALL_SIZE };
            let content = Content { seed: race, size };
            let upload = begin(address, REPOSITORY).await;
            let both = tokio::join!(
                send(address, chunk(&upload, content.bytes())),
                send(address, chunk(&upload, content.bytes())),
            );
            let mut statuses = [both.0.unwrap().status(), both.1.unwrap().status()];
            statuses.sort();
            assert_eq!(statuses[0], 202, "{statuses:?}");
            assert!(matches!(statuses[1].as_u16(), 409 | 416), "{statuses:?}");
            let line = format!("PUT {}", closing(&upload, &content.digest()));
            ask(address, request(&line, ""), 201).await;
            assert_blob(address, REPOSITORY, &content.digest()).await;
        }
    })
    .await;
}

fn chunk(upload: &str, bytes: Bytes) -> Request<Bytes> {
    let range = content_range(0, bytes.len() as u64).parse().unwrap();
    let mut request = request(&format!("PATCH {upload}"), bytes);
    request.headers_mut().insert(header::CONTENT_RANGE, range);
    request
}
