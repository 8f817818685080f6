//! Blobs and manifests as clients read them: only from a repository that holds
//! them.

use super::objects::line;
use super::{
    Readable as _, Testable, by_digest, by_tag, content, media_type, repository, sha256, sha512,
    store, tag_key,
};
use roadstead_oci::{ByteRange, Digest, RepositoryName};
use roadstead_storage::{Key, StorageError};

pub(super) async fn check<S: Testable>(storage: &S) {
    check_ranges(storage).await;
    check_blobs(storage).await;
    check_manifests(storage).await;
    check_missing_manifests(storage).await;
    check_tags(storage).await;
    check_missing(storage).await;
    check_holders(storage).await;
}

async fn check_ranges<S: Testable>(storage: &S) {
    let name = repository();
    let [ten, empty, none] = [b"0123456789", &b""[..], b"none"].map(sha256);
    store(storage, &name, &ten, b"0123456789").await;
    store(storage, &name, &empty, b"").await;
    let range = |text: &str| Some(ByteRange::parse(text).unwrap());

    let opened = storage.blob(&name, &ten, None).await.unwrap();
    assert_eq!((opened.size, opened.range), (10, 0..10));
    assert_eq!(opened.content.read().await, "0123456789");
    for (text, expected, content) in [
        ("bytes=2-4", 2..5, "234"),
        ("bytes=0-0", 0..1, "0"),
        ("bytes=7-", 7..10, "789"),
        ("bytes=-3", 7..10, "789"),
        ("bytes=-99", 0..10, "0123456789"),
        ("bytes=5-99", 5..10, "56789"),
        ("bytes=0-99999999999999999999", 0..10, "0123456789"),
    ] {
        let opened = storage.blob(&name, &ten, range(text)).await.unwrap();
        assert_eq!((opened.size, opened.range), (10, expected), "{text}");
        assert_eq!(opened.content.read().await, content, "{text}");
    }
    for text in ["bytes=10-", "bytes=10-12", "bytes=5-4", "bytes=-0"] {
        let error = storage.blob(&name, &ten, range(text)).await.err();
        assert_eq!(error, Some(StorageError::Range(10)), "{text}");
        let error = storage.blob(&name, &none, range(text)).await.err();
        assert_eq!(error, Some(StorageError::NotFound), "{text}");
        let error = storage.blob(&repository(), &ten, range(text)).await.err();
        assert_eq!(error, Some(StorageError::NotFound), "{text}");
    }
    for text in ["bytes=0-", "bytes=3-4", "bytes=-1", "bytes=-0"] {
        let opened = storage.blob(&name, &empty, range(text)).await.unwrap();
        assert_eq!((opened.size, opened.range), (0, 0..0), "{text}");
        assert_eq!(opened.content.read().await, "", "{text}");
    }

    let bytes = content(300_000);
    let large = sha512(&bytes);
    store(storage, &name, &large, &bytes).await;
    for (text, expected) in [
        ("bytes=0-0", 0..1),
        ("bytes=65530-131080", 65_530..131_081),
        ("bytes=299999-", 299_999..300_000),
        ("bytes=-200000", 100_000..300_000),
    ] {
        let opened = storage.blob(&name, &large, range(text)).await.unwrap();
        let range = expected.start as u64..expected.end as u64;
        assert_eq!((opened.size, opened.range), (300_000, range), "{text}");
        assert!(opened.content.read().await == bytes[expected], "{text}: other bytes");
    }
}

/// No blob is found under this name in the repository.
async fn no_blob<S: Testable>(storage: &S, name: &RepositoryName, digest: &Digest) {
    let missing = StorageError::NotFound;
    assert_eq!(storage.blob(name, digest, None).await.err(), Some(missing.clone()));
    assert_eq!(storage.blob_size(name, digest).await, Err(missing.clone()));
    let url = storage.blob_url(name, digest).await;
    assert!(url == Ok(None) || url == Err(missing), "{url:?}");
    assert_eq!(storage.missing_blobs(name, &[digest]).await, Ok(vec![digest.clone()]));
}

async fn check_blobs<S: Testable>(storage: &S) {
    for digest_of in [sha256, sha512] {
        let (name, bytes) = (repository(), content(70));
        let digest = digest_of(&bytes);
        no_blob(storage, &name, &digest).await;
        store(storage, &name, &digest, &bytes).await;
        let opened = storage.blob(&name, &digest, None).await.unwrap();
        assert_eq!((opened.size, opened.range), (70, 0..70));
        assert_eq!(opened.content.read().await, bytes);
        assert_eq!(storage.blob_size(&name, &digest).await, Ok(70));
        storage.blob_url(&name, &digest).await.unwrap();
        assert_eq!(storage.read(&Key::Blob(digest.clone())).await, Ok(bytes));

        // Another repository does not hold it before it has a link.
        let other = repository();
        no_blob(storage, &other, &digest).await;
        let link = Key::Layer(other.clone(), digest.clone());
        storage.link(&link, &digest, None).await.unwrap();
        assert_eq!(storage.blob_size(&other, &digest).await, Ok(70));
        storage.write(&link, line(&digest)).await.unwrap();
        assert_eq!(storage.blob_size(&other, &digest).await, Ok(70));
        // A link that leads elsewhere is none.
        storage.link(&link, &digest_of(b"other"), None).await.unwrap();
        let missing = Some(StorageError::NotFound);
        assert_eq!(storage.blob(&other, &digest, None).await.err(), missing);
        assert_eq!(storage.blob_size(&other, &digest).await.err(), missing);
        storage.delete(&link).await.unwrap();
        no_blob(storage, &other, &digest).await;

        // A manifest is not a blob of the repository.
        let revision = Key::Revision(other.clone(), digest.clone());
        storage.link(&revision, &digest, None).await.unwrap();
        no_blob(storage, &other, &digest).await;
        assert_eq!(storage.blob_size(&name, &digest).await, Ok(70));

        // Nor is one whose link was moved; where a look costs no request, that is said.
        let link = Key::MovedLayer(other.clone(), digest.clone());
        storage.link(&link, &digest, None).await.unwrap();
        let looks = storage.marker().is_none();
        let error = if looks { StorageError::LinkMoved } else { StorageError::NotFound };
        assert_eq!(storage.blob(&other, &digest, None).await.err(), Some(error.clone()));
        assert_eq!(storage.blob_size(&other, &digest).await, Err(error));
        let missing = storage.missing_blobs(&other, &[&digest]).await;
        assert_eq!(missing, Ok(vec![digest.clone()]));
    }
    // A link to a blob that is not there.
    let (name, digest) = (repository(), sha256(&content(9)));
    storage.link(&Key::Layer(name.clone(), digest.clone()), &digest, None).await.unwrap();
    let missing = Some(StorageError::NotFound);
    assert_eq!(storage.blob(&name, &digest, None).await.err(), missing);
    assert_eq!(storage.blob_size(&name, &digest).await.err(), missing);
}

/// No manifest is found by the digest in the repository.
async fn no_manifest<S: Testable>(storage: &S, name: &RepositoryName, digest: &Digest) {
    let missing = Some(StorageError::NotFound);
    let reference = by_digest(digest);
    assert_eq!(storage.manifest(name, &reference).await.err(), missing);
    assert_eq!(storage.manifest_stat(name, &reference).await.err(), missing);
}

async fn check_manifests<S: Testable>(storage: &S) {
    let media = media_type("application/vnd.example+json");
    for digest_of in [sha256, sha512] {
        let (name, bytes) = (repository(), content(70));
        let digest = digest_of(&bytes);
        let (blob, link) = (Key::Blob(digest.clone()), Key::Revision(name.clone(), digest.clone()));
        no_manifest(storage, &name, &digest).await;
        // Each alone is not enough.
        storage.write(&blob, bytes.clone()).await.unwrap();
        no_manifest(storage, &name, &digest).await;
        storage.link(&link, &digest, Some(&media)).await.unwrap();
        let found = storage.manifest(&name, &by_digest(&digest)).await.unwrap();
        assert_eq!((found.digest, found.size), (digest.clone(), 70));
        assert_eq!(found.media_type.as_ref(), Some(&media));
        assert_eq!(found.content.read().await, bytes);
        let found = storage.manifest_stat(&name, &by_digest(&digest)).await.unwrap();
        assert_eq!((found.digest, found.size), (digest.clone(), 70));
        assert_eq!(found.media_type.as_ref(), Some(&media));
        storage.remove(&blob).await.unwrap();
        no_manifest(storage, &name, &digest).await;
        storage.write(&blob, bytes.clone()).await.unwrap();

        // Another repository does not hold it, even as a layer.
        let other = repository();
        no_manifest(storage, &other, &digest).await;
        storage.link(&Key::Layer(other.clone(), digest.clone()), &digest, None).await.unwrap();
        no_manifest(storage, &other, &digest).await;
        let link = Key::Revision(other.clone(), digest.clone());
        storage.write(&link, line(&digest)).await.unwrap();
        let found = storage.manifest(&other, &by_digest(&digest)).await.unwrap();
        assert_eq!((found.digest.clone(), found.size), (digest.clone(), 70));
        assert_eq!(found.content.read().await, bytes);
        // A link that leads elsewhere is none.
        storage.link(&link, &digest_of(b"other"), Some(&media)).await.unwrap();
        no_manifest(storage, &other, &digest).await;
    }
}

/// Of each, the link or the bytes may be gone, whatever others hold.
async fn check_missing_manifests<S: Testable>(storage: &S) {
    let (name, other) = (repository(), repository());
    let mut digests: Vec<Digest> = Vec::new();
    let mut missing = Vec::new();
    for number in 0..12 {
        let bytes = content(9);
        let digest = if number % 3 == 0 { sha512(&bytes) } else { sha256(&bytes) };
        if number % 4 != 1 {
            storage.write(&Key::Blob(digest.clone()), bytes).await.unwrap();
        }
        let holder = if number % 4 == 2 { &other } else { &name };
        let link = Key::Revision(holder.clone(), digest.clone());
        storage.link(&link, &digest, None).await.unwrap();
        if [1, 2].contains(&(number % 4)) {
            missing.push(digest.clone());
        }
        digests.push(digest);
    }
    let all: Vec<&Digest> = digests.iter().collect();
    assert_eq!(storage.missing_manifests(&name, &all).await, Ok(missing.clone()));
    assert_eq!(storage.missing_manifests(&name, &[]).await, Ok(vec![]));
    for digest in all {
        let expected = missing.iter().filter(|&missing| missing == digest).cloned().collect();
        assert_eq!(storage.missing_manifests(&name, &[digest]).await, Ok(expected));
    }
    storage.tidy(&name).await.unwrap();
    let first = storage.missing_manifests(&name, &[&digests[0]]).await;
    assert_eq!(first, Ok(vec![]), "what is there stays");
}

async fn check_tags<S: Testable>(storage: &S) {
    let (name, first, second) = (repository(), content(70), content(80));
    let (one, two) = (sha256(&first), sha512(&second));
    let media = media_type("application/vnd.example+json");
    for (digest, bytes) in [(&one, &first), (&two, &second)] {
        storage.write(&Key::Blob(digest.clone()), bytes.clone()).await.unwrap();
        let link = Key::Revision(name.clone(), digest.clone());
        storage.link(&link, digest, Some(&media)).await.unwrap();
    }
    for text in ["v1", "_uploads", "_hint-a", "_manifests", "current", "link", "sha256"] {
        let (key, reference) = (tag_key(&name, text), by_tag(text));
        let missing = Some(StorageError::NotFound);
        assert_eq!(storage.manifest(&name, &reference).await.err(), missing);
        assert_eq!(storage.manifest_stat(&name, &reference).await.err(), missing);
        for (digest, bytes) in [(&one, &first), (&two, &second), (&one, &first)] {
            storage.link(&key, digest, Some(&media)).await.unwrap();
            let found = storage.manifest(&name, &reference).await.unwrap();
            assert_eq!((&found.digest, found.size), (digest, bytes.len() as u64));
            assert_eq!(found.media_type.as_ref(), Some(&media));
            assert_eq!(found.content.read().await, bytes);
            let found = storage.manifest_stat(&name, &reference).await.unwrap();
            assert_eq!((&found.digest, found.size), (digest, bytes.len() as u64));
            assert_eq!(found.media_type.as_ref(), Some(&media));
        }
        let elsewhere = storage.manifest(&repository(), &reference).await.err();
        assert_eq!(elsewhere, missing);
        storage.write(&key, line(&two)).await.unwrap();
        assert_eq!(storage.manifest(&name, &reference).await.unwrap().digest, two);
        assert_eq!(storage.manifest_stat(&name, &reference).await.unwrap().digest, two);
        storage.remove(&key).await.unwrap();
        assert_eq!(storage.manifest(&name, &reference).await.err(), missing);
        assert_eq!(storage.manifest_stat(&name, &reference).await.err(), missing);
    }
    check_tag_alone(storage, &one).await;
}

/// A tag whose manifest has no link, or one that leads elsewhere. A tag is
/// deleted with its manifest, so an adapter may trust it; by digest, there is
/// no such manifest in any case.
async fn check_tag_alone<S: Testable>(storage: &S, digest: &Digest) {
    let name = repository();
    storage.link(&tag_key(&name, "alone"), digest, None).await.unwrap();
    let link = Key::Revision(name.clone(), digest.clone());
    for other in [None, Some(sha256(b"other"))] {
        if let Some(other) = other {
            storage.link(&link, &other, None).await.unwrap();
        }
        no_manifest(storage, &name, digest).await;
        let expected = [Ok(digest.clone()), Err(StorageError::NotFound)];
        let found = storage.manifest(&name, &by_tag("alone")).await.map(|found| found.digest);
        assert!(expected.contains(&found), "{found:?}");
        let found = storage.manifest_stat(&name, &by_tag("alone")).await.map(|found| found.digest);
        assert!(expected.contains(&found), "{found:?}");
    }
    // A tag that leads to nothing at all.
    storage.link(&tag_key(&name, "nothing"), &sha256(&content(9)), None).await.unwrap();
    let missing = Some(StorageError::NotFound);
    assert_eq!(storage.manifest(&name, &by_tag("nothing")).await.err(), missing);
    assert_eq!(storage.manifest_stat(&name, &by_tag("nothing")).await.err(), missing);
}

async fn check_missing<S: Testable>(storage: &S) {
    let name = repository();
    assert_eq!(storage.missing_blobs(&name, &[]).await, Ok(Vec::new()));
    let mut held = Vec::new();
    for digest_of in [sha256, sha512, sha256, sha512] {
        let bytes = content(20);
        held.push(digest_of(&bytes));
        store(storage, &name, &held[held.len() - 1], &bytes).await;
    }
    for digest in &held {
        assert_eq!(storage.missing_blobs(&name, &[digest]).await, Ok(Vec::new()));
        let elsewhere = storage.missing_blobs(&repository(), &[digest]).await;
        assert_eq!(elsewhere, Ok(vec![digest.clone()]));
    }
    let all: Vec<&Digest> = held.iter().collect();
    assert_eq!(storage.missing_blobs(&name, &all).await, Ok(Vec::new()));
    for count in [1, 2, 300] {
        let missing: Vec<Digest> = (0..count)
            .map(|number| if number % 3 == 0 { sha512 } else { sha256 })
            .map(|digest_of| digest_of(&content(20)))
            .collect();
        // Those that are held stand at the beginning, at the end and between.
        let mut asked: Vec<&Digest> = missing.iter().collect();
        let end = asked.len();
        for (place, digest) in [(0, 0), (end / 2, 1), (end, 2), (end / 3, 3)] {
            asked.insert(place, &held[digest]);
        }
        assert_eq!(storage.missing_blobs(&name, &asked).await, Ok(missing.clone()));
        let elsewhere = storage.missing_blobs(&repository(), &asked).await.unwrap();
        assert!(elsewhere.iter().eq(asked), "all of them, in their order");
    }
}

async fn check_holders<S: Testable>(storage: &S) {
    let (name, bytes) = (repository(), content(40));
    let digest = sha256(&bytes);
    let missing = Err(StorageError::NotFound);
    assert_eq!(storage.holder(&digest, |_| true).await, missing);
    // A blob that no repository holds.
    storage.write(&Key::Blob(digest.clone()), bytes.clone()).await.unwrap();
    assert_eq!(storage.holder(&digest, |_| true).await, missing);
    storage.delete(&Key::Blob(digest.clone())).await.unwrap();

    store(storage, &name, &digest, &bytes).await;
    assert_eq!(storage.holder(&digest, |_| true).await, Ok(name.clone()));
    assert_eq!(storage.holder(&digest, |holder| *holder == name).await, Ok(name.clone()));
    assert_eq!(storage.holder(&digest, |_| false).await, missing);
    assert_eq!(storage.holder(&digest, |holder| *holder != name).await, missing);

    // A second holder need not be known, but is never given when it is not
    // readable.
    let other = repository();
    let link = Key::Layer(other.clone(), digest.clone());
    storage.link(&link, &digest, None).await.unwrap();
    assert_eq!(storage.holder(&digest, |holder| *holder == name).await, Ok(name.clone()));
    let found = storage.holder(&digest, |holder| *holder == other).await;
    assert!(found == Ok(other.clone()) || found == missing, "{found:?}");
    let found = storage.holder(&digest, |_| true).await.unwrap();
    assert!(found == name || found == other, "{found}");

    // Those that hold it no longer are not given.
    storage.remove(&Key::Layer(name.clone(), digest.clone())).await.unwrap();
    assert_eq!(storage.holder(&digest, |holder| *holder == name).await, missing);
    let found = storage.holder(&digest, |_| true).await;
    assert!(found == Ok(other) || found == missing, "{found:?}");
    storage.remove(&link).await.unwrap();
    assert_eq!(storage.holder(&digest, |_| true).await, missing);
}
