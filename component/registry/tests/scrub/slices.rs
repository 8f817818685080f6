//! Slices: a scrub goes on wherever it stopped, and no slice does without limit.

use super::findings::{damage, fill, sorted};
use super::world::{IMAGE, InBucket, InDirectory, World, index};
use bytes::Bytes;
use roadstead_bridge::scrub::{
    CURSOR_LIMIT, DEFAULT_SLICE, Kind, LARGEST_SLICE, PATH, ScrubRequest,
};
use roadstead_storage::{Key, Storage as _};
use serde_json::json;

/// In slices of 1000 bytes, each by another instance; and again from every cursor.
async fn check_resumed<W: World>() {
    let world = W::default();
    let client = world.client();
    fill(&client).await;
    let expected = damage(&client).await;
    let whole = client.scrub(&world, ScrubRequest::default()).await;
    assert_eq!(sorted(&whole.findings), sorted(&expected));
    let ask = ScrubRequest { bytes: Some(1000), ..ScrubRequest::default() };
    let mut slices = Vec::new();
    let mut next = ask.clone();
    loop {
        let progress = world.client().slice(&next).await;
        assert!(progress.hashed <= 1000, "{progress:?}");
        let cursor = progress.cursor.clone();
        slices.push((next.cursor.clone(), progress));
        let Some(cursor) = cursor else { break };
        next.cursor = Some(cursor);
    }
    // The long blob takes several.
    assert!(slices.len() > 8, "{}", slices.len());
    let found: Vec<_> = slices.iter().flat_map(|(_, slice)| slice.findings.clone()).collect();
    assert_eq!(sorted(&found), sorted(&whole.findings));
    let mut counts = roadstead_bridge::scrub::Counts::default();
    for (_, slice) in &slices {
        counts.add(&slice.counts);
    }
    assert_eq!(counts, whole.counts);
    for (number, (cursor, _)) in slices.iter().enumerate() {
        let rest = ScrubRequest { cursor: cursor.clone(), ..ScrubRequest::default() };
        let said = world.client().scrub(&world, rest).await;
        let before = slices.iter().take(number).flat_map(|(_, slice)| slice.findings.clone());
        let all: Vec<_> = before.chain(said.findings).collect();
        assert_eq!(sorted(&all), sorted(&whole.findings), "from slice {number}");
    }
}

#[tokio::test]
async fn a_scrub_goes_on_from_every_cursor() {
    check_resumed::<InDirectory>().await;
    check_resumed::<InBucket>().await;
}

/// A blob that is pushed again between two slices is hashed from its beginning.
async fn check_replaced<W: World>() {
    let world = W::default();
    let client = world.client();
    let bytes = "long ".repeat(1000);
    let digest = client.push_blob("a", &bytes).await;
    client.damage(&digest, "damaged, and shorter than what is hashed in a slice").await;
    let ask = ScrubRequest { bytes: Some(20), ..ScrubRequest::default() };
    let first = client.slice(&ask).await;
    let ask = ScrubRequest { cursor: first.cursor, bytes: Some(3000), ..ask };
    client.push_blob("a", &bytes).await;
    let said = client.scrub(&world, ask.clone()).await;
    assert_eq!((said.findings.len(), said.hashed), (0, 5000));
    // And one that is gone is none.
    client.storage.delete(&Key::Blob(digest)).await.unwrap();
    let said = client.scrub(&world, ask).await;
    assert_eq!((said.findings.len(), said.hashed), (0, 0));
}

#[tokio::test]
async fn data_that_changes_is_hashed_again() {
    check_replaced::<InDirectory>().await;
    check_replaced::<InBucket>().await;
}

/// However much there is to find.
#[tokio::test]
async fn slices_are_bounded() {
    let world = InDirectory::default();
    let client = world.client();
    let children: Vec<_> = (0..150).map(|n| json!({ "mediaType": IMAGE, "n": n })).collect();
    let children: Vec<_> = children.iter().collect();
    for n in 0..20 {
        let mut index = index(&children);
        index["annotations"] = json!({ "n": n.to_string() });
        client.push("a", "", &index).await;
    }
    let (mut ask, mut found, mut unlisted) = (ScrubRequest::default(), 0, 0);
    loop {
        let progress = client.slice(&ask).await;
        // A chunk of 8 manifests, each with 50.
        assert!(progress.findings.len() < 500, "{}", progress.findings.len());
        assert!(progress.operations < 500 + 8 * 160, "{}", progress.operations);
        found += progress.findings.len();
        unlisted += progress.counts.unlisted;
        ask.cursor = progress.cursor;
        if ask.cursor.is_none() {
            break;
        }
    }
    assert_eq!((found, unlisted), (1000, 2000));
}

#[tokio::test]
async fn limits_of_a_slice() {
    let world = InDirectory::default();
    let client = world.client();
    let status = async |body: String| {
        client.ask("POST", PATH, "application/json", Bytes::from(body)).await.status().as_u16()
    };
    for (bytes, expected) in [
        (0, 400),
        (1, 200),
        (DEFAULT_SLICE, 200),
        (LARGEST_SLICE, 200),
        (LARGEST_SLICE + 1, 400),
        (u64::MAX, 400),
    ] {
        assert_eq!(status(format!(r#"{{"bytes":{bytes}}}"#)).await, expected, "{bytes}");
    }
    assert_eq!(status(format!("{{{}}}", " ".repeat(CURSOR_LIMIT + 1000))).await, 200);
    assert_eq!(status(format!("{{{}}}", " ".repeat(CURSOR_LIMIT + 1024))).await, 400);
}

/// A cursor that says what it likes reads what the registry holds, and writes nothing.
#[tokio::test]
async fn cursors_of_others_write_nothing() {
    use base64::Engine as _;
    let of = |json: String| {
        format!("1.{}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(json))
    };
    let world = InBucket::default();
    let client = world.client();
    let digest = client.push_blob("a", "good").await;
    let suspects = format!(r#"[{{"digest":"{digest}","size":4,"written":0}}]"#);
    let requests = world.0.requests().len();
    for stage in [r#""announce""#, r#""move""#, r#""clear""#, r#"{"blobs":{"after":"sha256/zz"}}"#]
    {
        let cursor = Some(of(format!(r#"{{"stage":{stage},"suspects":{suspects}}}"#)));
        let said = client.scrub(&world, ScrubRequest { cursor, ..ScrubRequest::default() }).await;
        assert_eq!(said.findings, []);
    }
    let written = world.0.requests().split_off(requests);
    assert!(written.iter().all(|request| !request.starts_with("PUT")), "{written:?}");
    // Where data may be moved, it is compared first.
    for stage in [r#""announce""#, r#""move""#] {
        let cursor = Some(of(format!(r#"{{"stage":{stage},"suspects":{suspects}}}"#)));
        let ask = ScrubRequest { cursor, quarantine: true, ..ScrubRequest::default() };
        let said = client.scrub(&world, ask).await;
        assert!(said.kinds().iter().all(|kind| *kind == Kind::NotQuarantined), "{said:?}");
        assert_eq!(client.status("GET", &format!("/v2/a/blobs/{digest}")).await, 200);
    }
}
