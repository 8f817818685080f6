//! Each kind of damage is found, and nothing else is.

use super::world::{
    Client, DELETES, IMAGE, InBucket, InDirectory, World, blob, descriptor, image, index, name,
};
use bytes::Bytes;
use roadstead_bridge::scrub::{Finding, Kind, ScrubRequest};
use roadstead_kit::contract::{sha256, sha512};
use roadstead_oci::{Digest, Tag};
use roadstead_storage::{Key, Storage};
use serde_json::{Value, json};

/// What a registry may look like, with nothing wrong.
pub(crate) async fn fill<S>(client: &Client<S>)
where
    S: Storage,
{
    client.push_image("a/b", "v1", "config 1", "layer").await;
    client.push_image("a/b", "v2", "config 2", "layer").await;
    client.push_image("c", "v1", "config 1", "layer").await;
    let child = image("config 1", "layer");
    client.push("a/b", "index", &index(&[&child])).await;
    // A subject that is missing, and one that is there.
    for subject in ["nowhere".to_owned(), child.to_string()] {
        let mut referrer = image("config 2", "layer");
        referrer["subject"] = descriptor(IMAGE, &subject);
        client.push("a/b", "", &referrer).await;
    }
    // What no type says anything about.
    let other = json!({ "mediaType": "application/vnd.example+json",
        "layers": [descriptor("a/b", "never pushed")] });
    client.push("c", "other", &other).await;
    // A layer from elsewhere.
    let mut foreign = image("config 1", "layer");
    let mut layer = descriptor("application/vnd.oci.image.layer.v1.tar", "elsewhere");
    layer["urls"] = json!(["https://a.example/layer"]);
    foreign["layers"].as_array_mut().unwrap().push(layer);
    client.push("c", "foreign", &foreign).await;
    client.push_blob("d", "").await;
    client.push_blob("d", &"long ".repeat(1000)).await;
    let digest = sha512(b"of sha512");
    let path = format!("/v2/d/blobs/uploads/?digest={digest}");
    let body = Bytes::from_static(b"of sha512");
    let response = client.ask("POST", &path, "application/octet-stream", body).await;
    assert_eq!(response.status(), 201);
}

async fn check_whole<W: World>() {
    let world = W::default();
    let client = world.client();
    fill(&client).await;
    let said = client.scrub(&world, ScrubRequest::default()).await;
    assert_eq!(said.findings, []);
    let counts = said.counts;
    assert_eq!((counts.repositories, counts.manifests, counts.tags), (3, 8, 6), "{counts:?}");
    assert_eq!((counts.referrers, counts.empty_links, counts.sparse), (2, 0, 0), "{counts:?}");
    // One manifest is in two repositories.
    assert_eq!(counts.blobs, 6 + 7, "{counts:?}");
    // An empty blob counts as a byte.
    assert_eq!(said.hashed, counts.bytes + 1);
    let said = client.scrub(&world, ScrubRequest { hash: false, ..ScrubRequest::default() }).await;
    assert_eq!((said.findings.len(), said.hashed, said.counts), (0, 0, counts));
}

#[tokio::test]
async fn nothing_is_found_where_nothing_is_wrong() {
    check_whole::<InDirectory>().await;
    check_whole::<InBucket>().await;
}

fn finding(kind: Kind, repository: &str, digest: &Digest) -> Finding {
    Finding {
        repository: (!repository.is_empty()).then(|| repository.to_owned()),
        digest: Some(digest.to_string()),
        ..Finding::new(kind)
    }
}

/// Damages a registry, and returns what is to be found. The text of a cause is not
/// compared.
#[expect(clippy::too_many_lines, reason = "it is one list")]
pub(crate) async fn damage<S>(client: &Client<S>) -> Vec<Finding>
where
    S: Storage,
{
    let digest = |bytes: &str| sha256(bytes.as_bytes());
    let of = |manifest: &Value| sha256(manifest.to_string().as_bytes());
    let mut expected = Vec::new();
    // A blob that an image needs, and one that none needs.
    let image_of = client.push_image("e", "corrupt", "config e", "layer e").await;
    client.damage(&digest("layer e"), "lAyer e").await;
    expected.push(Finding {
        size: Some(7),
        computed: Some(digest("lAyer e").to_string()),
        ..finding(Kind::Corrupt, "", &digest("layer e"))
    });
    expected.push(Finding {
        manifest: Some(image_of.to_string()),
        ..finding(Kind::ContentCorrupt, "e", &digest("layer e"))
    });
    client.damage(&sha512(b"of sha512"), "").await;
    expected.push(Finding {
        size: Some(0),
        computed: Some(sha512(b"").to_string()),
        ..finding(Kind::Corrupt, "", &sha512(b"of sha512"))
    });
    // A layer that is gone, and one that the repository has no link to.
    let image_of = client.push_image("f", "gone", "config f", "layer f").await;
    client.storage.delete(&blob("layer f")).await.unwrap();
    let config = Key::Layer(name("f"), digest("config f"));
    client.storage.delete(&config).await.unwrap();
    for bytes in ["layer f", "config f"] {
        expected.push(Finding {
            manifest: Some(image_of.to_string()),
            ..finding(Kind::ContentMissing, "f", &digest(bytes))
        });
    }
    // Manifests that lie about sizes.
    client.push_image("g", "", "config g", "layer g").await;
    let mut liar = image("config g", "layer g");
    liar["config"]["size"] = json!(7);
    let image_of = client.push("g", "liar", &liar).await;
    expected.push(Finding {
        manifest: Some(image_of.to_string()),
        size: Some(8),
        expected: Some(7),
        ..finding(Kind::WrongSize, "g", &digest("config g"))
    });
    let mut liar = index(&[&image("config g", "layer g"), &image("no", "child")]);
    liar["manifests"][0]["size"] = json!(1);
    let index_of = client.push("g", "index", &liar).await;
    let child = image("config g", "layer g");
    expected.push(Finding {
        manifest: Some(index_of.to_string()),
        size: Some(child.to_string().len() as u64),
        expected: Some(1),
        ..finding(Kind::WrongSize, "g", &of(&child))
    });
    expected.push(Finding {
        manifest: Some(index_of.to_string()),
        ..finding(Kind::ChildMissing, "g", &of(&image("no", "child")))
    });
    // Manifests that are gone, with what leads to them.
    let mut referrer = image("config h", "layer h");
    referrer["subject"] = descriptor(IMAGE, "nowhere");
    client.push_image("h", "", "config h", "layer h").await;
    let gone = client.push("h", "gone", &referrer).await;
    client.storage.delete(&Key::Blob(gone.clone())).await.unwrap();
    expected.push(finding(Kind::ManifestMissing, "h", &gone));
    expected
        .push(Finding { tag: Some("gone".to_owned()), ..finding(Kind::TagDangling, "h", &gone) });
    expected.push(finding(Kind::ReferrerDangling, "h", &gone));
    // Links.
    let damaged = of(&image("config h", "layer h"));
    let revision = Key::Revision(name("h"), damaged.clone());
    client.storage.write(&revision, Bytes::from_static(b"sha256:")).await.unwrap();
    expected.push(finding(Kind::LinkDamaged, "h", &damaged));
    for (tag, value) in [("torn", "\0\0"), ("odd", "sha256:7")] {
        let key = Key::Tag(name("h"), Tag::parse(tag).unwrap());
        client.storage.write(&key, value.into()).await.unwrap();
        expected.push(Finding {
            repository: Some("h".to_owned()),
            tag: Some(tag.to_owned()),
            ..Finding::new(Kind::TagDamaged)
        });
    }
    let nowhere = digest("nowhere");
    let key = Key::Tag(name("h"), Tag::parse("nowhere").unwrap());
    client.storage.link(&key, &nowhere, None).await.unwrap();
    expected.push(Finding {
        tag: Some("nowhere".to_owned()),
        ..finding(Kind::TagDangling, "h", &nowhere)
    });
    // A link that no image needs any more.
    let link = Key::Layer(name("i"), digest("nowhere"));
    client.storage.link(&link, &nowhere, None).await.unwrap();
    expected
}

/// In one order, and without what is said besides.
pub(crate) fn sorted(findings: &[Finding]) -> Vec<Finding> {
    let plain = |finding: &Finding| Finding { cause: None, ..finding.clone() };
    let mut findings: Vec<_> = findings.iter().map(plain).collect();
    findings.sort();
    findings
}

async fn check_damage<W: World>(empty_links: u64) {
    let world = W::default();
    let client = world.client();
    fill(&client).await;
    let expected = damage(&client).await;
    let kinds: Vec<_> = expected.iter().map(|finding| finding.kind).collect();
    let elsewhere = [Kind::Unreadable, Kind::Quarantined, Kind::NotQuarantined];
    for (kind, _) in Kind::ALL {
        assert_ne!(kinds.contains(&kind), elsewhere.contains(&kind), "{kind}");
    }
    let said = client.scrub(&world, ScrubRequest::default()).await;
    assert_eq!(sorted(&said.findings), sorted(&expected));
    assert_eq!(said.counts.empty_links, empty_links);
    // What needs no hash is found without it.
    let said = client.scrub(&world, ScrubRequest { hash: false, ..ScrubRequest::default() }).await;
    let hashed = [Kind::Corrupt, Kind::ContentCorrupt];
    let rest: Vec<_> =
        expected.into_iter().filter(|finding| !hashed.contains(&finding.kind)).collect();
    assert_eq!(sorted(&said.findings), sorted(&rest));
}

/// It changes nothing, and what it puts in quarantine is still there.
async fn check_kept<W: World>() {
    let world = W::default();
    let client = world.client();
    fill(&client).await;
    damage(&client).await;
    let before = world.content().await;
    client.scrub(&world, ScrubRequest::default()).await;
    assert_eq!(world.content().await, before);
    let quarantine = ScrubRequest { quarantine: true, ..ScrubRequest::default() };
    let said = client.scrub(&world, quarantine).await;
    assert!(said.findings.iter().any(|finding| finding.kind == Kind::Quarantined), "{said:?}");
    let after = world.content().await;
    for (place, bytes) in &before {
        assert!(after.values().any(|kept| kept == bytes), "{place} is gone");
    }
}

#[tokio::test]
async fn a_scrub_deletes_nothing() {
    check_kept::<InDirectory>().await;
    check_kept::<InBucket>().await;
}

#[tokio::test]
async fn every_kind_of_damage_is_found() {
    // The layer of `f`, and the link in `i`.
    check_damage::<InDirectory>(1).await;
    check_damage::<InBucket>(0).await;
}

/// What a collector has condemned is restored when it is needed.
async fn check_condemned<W: World>() {
    let world = W::default();
    let client = world.client();
    client.push_image("a", "t", "config", "layer").await;
    let digest = sha256(b"layer");
    let link = Key::Layer(name("a"), digest.clone());
    let moved = Key::MovedLayer(name("a"), digest.clone());
    client.storage.link(&moved, &digest, None).await.unwrap();
    client.storage.delete(&link).await.unwrap();
    let said = client.scrub(&world, ScrubRequest::default()).await;
    assert_eq!(said.findings, []);
    client.storage.delete(&moved).await.unwrap();
    let tombstone = Key::Tombstone(digest);
    client.storage.write(&tombstone, "unlinked 7".into()).await.unwrap();
    // Nothing gives it back to this repository.
    let said = client.scrub(&world, ScrubRequest::default()).await;
    assert_eq!(said.kinds(), [Kind::ContentMissing]);
}

#[tokio::test]
async fn what_is_condemned_is_not_missing() {
    check_condemned::<InDirectory>().await;
    check_condemned::<InBucket>().await;
}

/// Where repositories need not hold the blobs of their images, only what was lost is
/// found.
async fn check_sparse<W: World>() {
    const SPARSE: (&str, &str) = ("REGISTRY_VALIDATION_MANIFESTS_SPARSE", "true");
    let world = W::default();
    let client = world.client_with(&[DELETES, SPARSE]);
    client.push("a", "sparse", &image("never", "pushed")).await;
    client.push_image("a", "whole", "config", "layer").await;
    let said = client.scrub(&world, ScrubRequest::default()).await;
    assert_eq!((said.findings.len(), said.counts.sparse), (0, 2));
    client.storage.delete(&blob("layer")).await.unwrap();
    let said = client.scrub(&world, ScrubRequest::default()).await;
    assert_eq!((said.kinds(), said.counts.sparse), (vec![Kind::ContentMissing], 2));
}

#[tokio::test]
async fn sparse_images_are_no_damage() {
    check_sparse::<InDirectory>().await;
    check_sparse::<InBucket>().await;
}

/// Data that cannot be read is found, and the rest is hashed.
#[tokio::test]
async fn data_that_cannot_be_read_is_found() {
    let world = InBucket::default();
    let client = world.client();
    for bytes in ["one", "two", "three"] {
        client.push_blob("a", bytes).await;
    }
    world.0.fail_next("GET");
    let said = client.scrub(&world, ScrubRequest::default()).await;
    assert_eq!(said.kinds(), [Kind::Unreadable]);
    let finding = &said.findings[0];
    assert!(finding.digest.is_some() && finding.cause.is_some(), "{finding:?}");
    assert_eq!(said.counts.blobs, 3);
}
