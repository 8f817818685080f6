//! Damaged data is moved out of the way, and comes back by a push.

use super::world::{InBucket, InDirectory, World, blob, image};
use roadstead_bridge::scrub::{Kind, ScrubRequest};
use roadstead_kit::contract::sha256;
use roadstead_storage::{Key, Storage};
use std::time::Duration;

/// The grace time, and how long an instance trusts that there is no marker.
const DAY: Duration = Duration::from_hours(24);
const FIRST: Duration = DAY.saturating_add(Duration::from_mins(10));
const MINUTE: Duration = Duration::from_mins(1);

fn ask() -> ScrubRequest {
    ScrubRequest { quarantine: true, ..ScrubRequest::default() }
}

async fn check_healed<W: World>(kinds: &[Kind]) {
    let world = W::default();
    let client = world.client();
    let manifest = client.push_image("a", "t", "config", "layer").await;
    client.push_image("b", "t", "config", "layer").await;
    let digest = sha256(b"layer");
    client.damage(&digest, "dAmaged").await;
    let said = client.scrub(&world, ask()).await;
    assert_eq!(said.kinds(), kinds);
    let aside = Key::Quarantined(digest.clone());
    assert_eq!(client.storage.read(&aside).await.unwrap(), "dAmaged");
    let path = |name: &str| format!("/v2/{name}/blobs/{digest}");
    assert_eq!(client.status("HEAD", &path("a")).await, 404);
    assert!(!client.storage.exists(&Key::Tombstone(digest.clone())).await.unwrap());
    // Both images say so until one of them is pushed again.
    let said = client.scrub(&world, ask()).await;
    assert_eq!(said.kinds(), [Kind::ContentMissing; 2]);
    let cause = said.findings[0].cause.as_deref().unwrap();
    assert!(cause.contains("quarantine"), "{cause}");
    client.push_blob("a", "layer").await;
    assert_eq!(client.push("a", "t", &image("config", "layer")).await, manifest);
    for name in ["a", "b"] {
        assert_eq!(client.status("GET", &path(name)).await, 200);
    }
    assert_eq!(client.scrub(&world, ask()).await.findings, []);
    assert_eq!(client.storage.read(&aside).await.unwrap(), "dAmaged");
}

#[tokio::test]
async fn what_is_damaged_comes_back_by_a_push() {
    use Kind::{ContentCorrupt, ContentMissing, Corrupt, Quarantined};
    check_healed::<InDirectory>(&[Corrupt, Quarantined, ContentMissing, ContentMissing]).await;
    check_healed::<InBucket>(&[Corrupt, ContentCorrupt, ContentCorrupt, Quarantined]).await;
}

/// Drives a scrub of a bucket until it waits, and returns the rest of it.
async fn until_it_waits(world: &InBucket, ask: ScrubRequest) -> (ScrubRequest, Duration) {
    let mut ask = ask;
    for _ in 0..100 {
        let progress = world.client().slice(&ask).await;
        ask.cursor = progress.cursor;
        assert!(ask.cursor.is_some(), "it ends without a wait");
        if progress.wait > 0 {
            return (ask, Duration::from_millis(progress.wait));
        }
    }
    panic!("it does not wait");
}

async fn damaged() -> InBucket {
    let world = InBucket::default();
    let client = world.client();
    client.push_image("a", "t", "config", "layer").await;
    client.damage(&sha256(b"layer"), "damaged").await;
    world
}

/// For as long as an upload may take that has not seen the tombstone.
#[tokio::test]
async fn a_bucket_is_given_time() {
    let world = damaged().await;
    let (ask, wait) = until_it_waits(&world, ask()).await;
    assert!(wait + MINUTE > FIRST && wait <= FIRST, "{wait:?}");
    world.pass(wait / 2);
    let (ask, rest) = until_it_waits(&world, ask).await;
    let most = FIRST.saturating_sub(wait / 2);
    assert!(rest <= most && rest + MINUTE > most, "{rest:?}");
    let client = world.client();
    assert!(client.storage.exists(&blob("layer")).await.unwrap());
    // Another scrub relies on the tombstone of the first.
    let again = ScrubRequest { cursor: None, ..ask.clone() };
    let (_, other) = until_it_waits(&world, again).await;
    assert!(other <= rest, "{other:?}");
    world.pass(rest);
    let said = client.scrub(&world, ask).await;
    assert_eq!(said.kinds(), [Kind::Quarantined]);
    assert!(!client.storage.exists(&blob("layer")).await.unwrap());
}

/// A collector may take it for forgotten soon.
#[tokio::test]
async fn an_old_announcement_is_repeated() {
    let world = damaged().await;
    let (ask, _) = until_it_waits(&world, ask()).await;
    world.pass(2 * DAY);
    let (ask, wait) = until_it_waits(&world, ask).await;
    assert_eq!(wait, DAY);
    world.pass(wait);
    assert_eq!(world.client().scrub(&world, ask).await.kinds(), [Kind::Quarantined]);
}

/// What a scrub or a collector that died has left does not keep uploads waiting for ever.
/// A collector may be repeating it, so that it takes two scrubs.
#[tokio::test]
async fn a_removal_that_died_is_taken_up() {
    let world = damaged().await;
    let client = world.client();
    let tombstone = Key::Tombstone(sha256(b"layer"));
    client.storage.write(&tombstone, "removing 7".into()).await.unwrap();
    world.pass(DAY);
    let (first, wait) = until_it_waits(&world, ask()).await;
    assert!(wait <= MINUTE, "{wait:?}");
    let taken = client.storage.read(&tombstone).await.unwrap();
    assert!(taken.starts_with(b"removing ") && taken != "removing 7", "{taken:?}");
    world.pass(wait);
    client.scrub(&world, first).await;
    assert!(client.storage.read(&tombstone).await.unwrap().starts_with(b"suspect "));
    assert!(client.storage.exists(&blob("layer")).await.unwrap());
    let said = client.scrub(&world, ask()).await;
    assert!(said.kinds().contains(&Kind::Quarantined), "{said:?}");
}

/// One that comes back too late may meet a collector that repeats the removal.
#[tokio::test]
async fn a_late_scrub_leaves_its_removal() {
    let world = damaged().await;
    let client = world.client();
    let tombstone = Key::Tombstone(sha256(b"layer"));
    client.storage.write(&tombstone, "removing 7".into()).await.unwrap();
    world.pass(DAY);
    let (first, _) = until_it_waits(&world, ask()).await;
    world.pass(DAY);
    client.scrub(&world, first).await;
    assert!(client.storage.read(&tombstone).await.unwrap().starts_with(b"removing "));
}

/// Whoever uploads the blob meanwhile keeps it.
#[tokio::test]
async fn an_upload_meanwhile_stays() {
    let world = damaged().await;
    let (ask, wait) = until_it_waits(&world, ask()).await;
    world.pass(wait);
    world.client().push_blob("a", "layer").await;
    let client = world.client();
    let said = client.scrub(&world, ask).await;
    assert_eq!(said.kinds(), [Kind::NotQuarantined]);
    assert_eq!(client.storage.read(&blob("layer")).await.unwrap(), "layer");
    assert!(!client.storage.exists(&Key::Tombstone(sha256(b"layer"))).await.unwrap());
}

/// Who says that it is needed may be about to write it.
#[tokio::test]
async fn a_need_puts_it_off() {
    let world = damaged().await;
    let (ask, wait) = until_it_waits(&world, ask()).await;
    world.pass(wait);
    let client = world.client();
    client.storage.write(&Key::Need(sha256(b"layer")), "".into()).await.unwrap();
    let (ask, wait) = until_it_waits(&world, ask).await;
    assert!(wait + MINUTE > DAY, "{wait:?}");
    world.pass(wait);
    assert_eq!(client.scrub(&world, ask).await.kinds(), [Kind::Quarantined]);
}

/// What a collector is about to remove is left to it.
#[tokio::test]
async fn a_condemned_blob_is_left_to_the_collector() {
    let world = damaged().await;
    let client = world.client();
    let tombstone = Key::Tombstone(sha256(b"layer"));
    client.storage.write(&tombstone, "unlinked 7".into()).await.unwrap();
    let said = client.scrub(&world, ask()).await;
    assert!(said.kinds().contains(&Kind::NotQuarantined), "{said:?}");
    assert_eq!(client.storage.read(&tombstone).await.unwrap(), "unlinked 7");
}

/// A read that failed once: hashed again, the data is as it should be.
#[tokio::test]
async fn data_that_is_good_after_all_stays() {
    let world = InDirectory::default();
    let client = world.client();
    let digest = client.push_blob("a", "layer").await;
    client.damage(&digest, "damaged").await;
    // It comes back between the hash and the move.
    let slice = ScrubRequest { bytes: Some(3), ..ask() };
    let first = client.slice(&slice).await;
    client.damage(&digest, "layer").await;
    let said = client.scrub(&world, ScrubRequest { cursor: first.cursor, ..ask() }).await;
    assert_eq!(said.findings, []);
    assert_eq!(client.storage.read(&Key::Blob(digest)).await.unwrap(), "layer");
}
