use super::index::{Index, Lacking, lacking};
use super::{ArchiveStore, Contents};
use crate::body::full;
use bytes::Bytes;
use http::{HeaderName, Request};
use http_body_util::BodyExt as _;
use roadstead_archive::{Inventory, Manifest, Part, Repository};
use roadstead_bridge::storage::{OPERATION, Operation, REPLY, Reply, TRANSFER, WRITE};
use roadstead_oci::{Algorithm, ByteRange, Digest, MediaType, Reference, RepositoryName, Tag};
use roadstead_storage::{
    Collection, HashOutcome, Holding, Key, NameList, NamesQuery, Page, StorageError, UploadSession,
};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::ops::Range;
use std::sync::Arc;

fn digest(bytes: &[u8]) -> Digest {
    Digest::from_bytes(Algorithm::Sha256, &Sha256::digest(bytes)).unwrap()
}

fn repository(name: &str) -> RepositoryName {
    RepositoryName::parse(name).unwrap()
}

fn tag(tag: &str) -> Tag {
    Tag::parse(tag).unwrap()
}

fn oci_manifest() -> MediaType {
    MediaType::oci_image_manifest()
}

/// Contents in pieces, each in a file of its own after a byte of something else.
#[derive(Debug, Default)]
struct Pieces {
    files: BTreeMap<Digest, Vec<Part>>,
}

impl Pieces {
    fn add(&mut self, bytes: &[u8], pieces: usize) -> Digest {
        let size = bytes.len().div_ceil(pieces).max(1);
        let parts = bytes.chunks(size).map(|piece| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(b"!").and_then(|()| file.write_all(piece)).unwrap();
            Part { file: Arc::new(file), range: 1..1 + piece.len() as u64 }
        });
        self.files.insert(digest(bytes), parts.collect());
        digest(bytes)
    }
}

fn length(part: &Part) -> u64 {
    part.range.end - part.range.start
}

impl Contents for Pieces {
    fn size(&self, digest: &Digest) -> Option<u64> {
        self.files.get(digest).map(|parts| parts.iter().map(length).sum())
    }

    fn parts(&self, digest: &Digest, range: Range<u64>) -> Option<Vec<Part>> {
        let mut at = 0;
        let mut found = Vec::new();
        for part in self.files.get(digest)? {
            let (start, end) = (range.start.max(at), range.end.min(at + length(part)));
            if start < end {
                let begin = part.range.start;
                let range = begin + start - at..begin + end - at;
                found.push(Part { file: Arc::clone(&part.file), range });
            }
            at += length(part);
        }
        Some(found)
    }

    fn manifest(&self, digest: &Digest) -> Result<Option<Bytes>, StorageError> {
        let Some(parts) = self.files.get(digest) else { return Ok(None) };
        Ok(Some(super::read_all(parts)?.into()))
    }
}

/// An archive's content: an image of two tags in `a`, with a signature, and another one in
/// `a-b` that lacks its layer.
struct Fixture {
    store: Arc<ArchiveStore<Pieces>>,
    image: Vec<u8>,
    layer: Vec<u8>,
    config: Digest,
    lost: Digest,
    other: Digest,
    signature: Digest,
    inventory: Inventory,
}

fn manifest(media_type: MediaType, blobs: &[&Digest], subject: Option<&Digest>) -> Manifest {
    Manifest {
        media_type,
        artifact_type: None,
        subject: subject.cloned(),
        children: Vec::new(),
        blobs: blobs.iter().copied().cloned().collect(),
    }
}

/// The bytes of a manifest. No content has more than a byte in these.
fn image(blobs: &[&Digest], subject: Option<&Digest>, filling: usize) -> Vec<u8> {
    let of = |digest: &Digest| json!({"mediaType": "a/b", "digest": digest.as_str(), "size": 1});
    let layers: Vec<_> = blobs[1..].iter().map(|digest| of(digest)).collect();
    let mut value = json!({
        "schemaVersion": 2,
        "mediaType": oci_manifest().as_str(),
        "config": of(blobs[0]),
        "layers": layers,
        "annotations": {"filling": "x".repeat(filling)},
    });
    if let Some(subject) = subject {
        value["subject"] = of(subject);
        value["artifactType"] = json!("sig/nature");
    }
    serde_json::to_vec(&value).unwrap()
}

fn fixture() -> Fixture {
    let mut contents = Pieces::default();
    let layer: Vec<u8> = (0..700_001_u32).map(|i| (i % 251) as u8).collect();
    let (config, layer_digest) = (contents.add(b"{}", 1), contents.add(&layer, 3));
    let empty = contents.add(b"", 1);
    let lost = digest(b"lost");
    let bytes = image(&[&config, &layer_digest, &empty], None, 2000);
    let image_digest = contents.add(&bytes, 1);
    let signature = contents.add(&image(&[&config], Some(&image_digest), 3), 1);
    let gone = digest(b"gone");
    let other = image(&[&config, &lost], None, 2);
    let other = contents.add(&other, 1);
    let blobs = [&config, &layer_digest, &empty];
    let a = Repository {
        tags: [("2", &image_digest), ("1", &image_digest)]
            .map(|(name, digest)| (tag(name), digest.clone()))
            .into(),
        manifests: [
            (image_digest.clone(), manifest(oci_manifest(), &blobs, None)),
            (signature.clone(), manifest(oci_manifest(), &[&config], Some(&image_digest))),
            (gone, manifest(oci_manifest(), &[], Some(&image_digest))),
        ]
        .into(),
    };
    let b = Repository {
        tags: [(tag("1"), other.clone())].into(),
        manifests: [(other.clone(), manifest(oci_manifest(), &[&config, &lost], None))].into(),
    };
    let repositories = [(repository("a"), a), (repository("a-b"), b)].into();
    let inventory = Inventory { repositories, ..Inventory::default() };
    let index = Index::new(inventory.clone(), |digest| contents.size(digest).is_some());
    let store = Arc::new(ArchiveStore::new(contents, index));
    Fixture { store, image: bytes, layer, config, lost, other, signature, inventory }
}

type Answer = Result<(Reply, Vec<u8>), StorageError>;

/// The answer to an operation, with all bytes that come with it.
async fn ask(store: &ArchiveStore<Pieces>, operation: &Operation) -> Answer {
    let (mut reply, body) = store.execute(operation)?;
    let bytes = match (reply.take_text(), body) {
        (Some(text), None) => text.into(),
        (None, Some(body)) => body.collect().await.unwrap().to_bytes().to_vec(),
        (None, None) => Vec::new(),
        both => panic!("{both:?}"),
    };
    Ok((reply, bytes))
}

fn of_manifest(name: &str, reference: Reference, content: bool) -> Operation {
    Operation::Manifest { repository: repository(name), reference, content }
}

fn of_blob(name: &str, digest: &Digest, range: &str, content: bool) -> Operation {
    let (repository, digest) = (repository(name), digest.clone());
    let range = (!range.is_empty()).then(|| ByteRange::parse(range).unwrap());
    Operation::Blob { repository, digest, range, content }
}

#[tokio::test]
async fn manifests_are_those_of_the_repository() {
    let it = fixture();
    let image = digest(&it.image);
    let by_tag = |name| Reference::Tag(tag(name));
    let by_digest = |digest: &Digest| Reference::Digest(digest.clone());
    for (name, reference, expected) in [
        ("a", by_tag("1"), Some(&image)),
        ("a", by_tag("2"), Some(&image)),
        ("a", by_digest(&image), Some(&image)),
        ("a", by_digest(&it.signature), Some(&it.signature)),
        ("a-b", by_tag("1"), Some(&it.other)),
        ("a", by_tag("3"), None),
        ("a", by_digest(&it.other), None),
        ("a", by_digest(&digest(b"gone")), None),
        ("a", by_digest(&it.config), None),
        ("b", by_tag("1"), None),
    ] {
        for content in [false, true] {
            let found = ask(&it.store, &of_manifest(name, reference.clone(), content)).await;
            let Some(expected) = expected else {
                assert_eq!(found, Err(StorageError::NotFound), "{name} {reference:?}");
                continue;
            };
            let (reply, bytes) = found.unwrap();
            let size = it.store.contents.size(expected).unwrap();
            let (digest_, media_type) = (expected.clone(), Some(oci_manifest()));
            let head = Reply::Manifest { digest: digest_, media_type, size, text: None };
            assert_eq!(reply, head, "{name} {reference:?}");
            assert!(!content && bytes.is_empty() || digest(&bytes) == *expected);
        }
    }
}

#[tokio::test]
async fn blobs_and_parts_of_them_come_from_several_files() {
    let it = fixture();
    let (layer, empty) = (digest(&it.layer), digest(b""));
    let size = it.layer.len();
    for (digest, range, expected) in [
        (&layer, "", Ok(0..size)),
        (&layer, "bytes=0-0", Ok(0..1)),
        (&layer, "bytes=1-699999", Ok(1..700_000)),
        (&layer, "bytes=233333-233335", Ok(233_333..233_336)),
        (&layer, "bytes=233330-500000", Ok(233_330..500_001)),
        (&layer, "bytes=-5", Ok(size - 5..size)),
        (&layer, "bytes=700001-", Err(StorageError::Range(size as u64))),
        (&empty, "", Ok(0..0)),
        (&empty, "bytes=0-0", Ok(0..0)),
    ] {
        let found = ask(&it.store, &of_blob("a", digest, range, true)).await;
        let expected = expected.map(|range| {
            let (start, end) = (range.start as u64, range.end as u64);
            let size = it.store.contents.size(digest).unwrap();
            let reply = Reply::Blob { size, range: start..end, text: None };
            (reply, it.layer[range].to_vec())
        });
        assert!(found == expected, "{range:?}");
    }
    let (reply, bytes) = ask(&it.store, &of_blob("a", &layer, "", false)).await.unwrap();
    let (size, range) = (size as u64, 0..size as u64);
    assert_eq!((reply, bytes.len()), (Reply::Blob { size, range, text: None }, 0));
    for (name, digest) in [("a-b", &layer), ("b", &layer), ("a-b", &it.lost), ("a", &it.other)] {
        for content in [false, true] {
            let found = ask(&it.store, &of_blob(name, digest, "", content)).await;
            assert_eq!(found, Err(StorageError::NotFound), "{name} {digest}");
        }
    }
}

#[tokio::test]
async fn what_is_missing() {
    let it = fixture();
    let digests = vec![it.config.clone(), it.lost.clone(), digest(&it.layer), it.other.clone()];
    let repository = repository("a-b");
    let missing = |found: Answer| match found {
        Ok((Reply::Missing(missing), _)) => missing,
        other => panic!("{other:?}"),
    };
    let ask_blobs =
        Operation::MissingBlobs { repository: repository.clone(), digests: digests.clone() };
    assert_eq!(missing(ask(&it.store, &ask_blobs).await), digests[1..]);
    let ask_manifests = Operation::MissingManifests { repository, digests: digests.clone() };
    assert_eq!(missing(ask(&it.store, &ask_manifests).await), digests[..3]);
    // And which images are not whole.
    let (gone, volumes) = (digest(b"gone"), BTreeSet::from([2]));
    let here = |digest: &Digest| it.store.contents.size(digest).is_some();
    let missing = lacking(&it.inventory, |digest| (!here(digest)).then_some(&volumes));
    let lacks = |first: &Digest| Lacking { first: first.clone(), count: 1, volumes: [2].into() };
    let expected = [("a-b:1".to_owned(), lacks(&it.lost)), (format!("a@{gone}"), lacks(&gone))];
    assert_eq!(missing, BTreeMap::from(expected));
    assert_eq!(lacking(&it.inventory, |_| None), BTreeMap::new());
}

#[tokio::test]
async fn objects_are_as_a_directory_has_them() {
    let it = fixture();
    let (a, image) = (repository("a"), digest(&it.image));
    let referrer = |subject: &Digest, digest: &Digest| Key::Referrer {
        repository: a.clone(),
        subject: subject.clone(),
        digest: digest.clone(),
    };
    let annotations = json!({"filling": "xxx"});
    let descriptor = json!({
        "mediaType": oci_manifest().as_str(),
        "digest": it.signature.as_str(),
        "size": it.store.contents.size(&it.signature),
        "artifactType": "sig/nature",
        "annotations": annotations,
    });
    // Keys of maps have no order in `json!`, but the registry's descriptors have one.
    let found = ask(&it.store, &Operation::Read(referrer(&image, &it.signature))).await.unwrap();
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&found.1).unwrap(), descriptor);
    let text = |digest: &Digest| Some(digest.as_str().as_bytes().to_vec());
    for (key, expected) in [
        (Key::Tag(a.clone(), tag("1")), text(&image)),
        (Key::Tag(a.clone(), tag("3")), None),
        (Key::Revision(a.clone(), image.clone()), text(&image)),
        (Key::Revision(a.clone(), it.other.clone()), None),
        (Key::MediaType(a.clone(), image.clone()), Some(oci_manifest().to_string().into())),
        (Key::Layer(a.clone(), it.config.clone()), text(&it.config)),
        (Key::Layer(a.clone(), it.lost.clone()), None),
        (Key::Blob(image.clone()), Some(it.image.clone())),
        (Key::Blob(it.config.clone()), Some(b"{}".to_vec())),
        (Key::Blob(it.lost.clone()), None),
        (Key::ReferrersComplete(a.clone()), Some(Vec::new())),
        (Key::ReferrersComplete(repository("b")), None),
        (Key::Tombstone(image.clone()), None),
        (referrer(&image, &it.signature), Some(found.1.clone())),
        (referrer(&image, &digest(b"gone")), None),
        (referrer(&it.other, &it.signature), None),
    ] {
        let read = ask(&it.store, &Operation::Read(key.clone())).await;
        let exists = ask(&it.store, &Operation::Exists(key.clone())).await.unwrap().0;
        assert_eq!(exists, Reply::Exists(expected.is_some()), "{key}");
        let expected = expected.ok_or(StorageError::NotFound);
        let expected =
            expected.map(|value| (Reply::Value { size: value.len() as u64, text: None }, value));
        assert_eq!(read, expected, "{key}");
    }
}

fn names(store: &ArchiveStore<Pieces>, query: &NamesQuery) -> Page {
    match store.execute(&Operation::Names(query.clone())) {
        Ok((Reply::Names(page), None)) => page,
        other => panic!("{other:?}"),
    }
}

#[test]
fn names_come_in_pages() {
    let it = fixture();
    let image = digest(&it.image);
    let (a, subject) = (repository("a"), image.clone());
    let signature = format!("sha256-{}", it.signature.encoded());
    for (list, expected, value) in [
        (NameList::Repositories(Holding::Manifests), &["a", "a-b"][..], None),
        (NameList::Repositories(Holding::Anything), &["a", "a-b"], None),
        (NameList::Tags(a.clone()), &["1", "2"], Some(image.as_str())),
        (NameList::Tags(repository("b")), &[], None),
        (
            NameList::Referrers { repository: a.clone(), subject },
            &[&signature],
            Some("{\"mediaType\":"),
        ),
        (NameList::Referrers { repository: a, subject: it.signature.clone() }, &[], None),
    ] {
        for (values, limit) in [(false, 1), (true, 1), (false, 2), (true, 9)] {
            let mut found = Page::default();
            loop {
                let after = found.names.last().cloned();
                let page =
                    names(&it.store, &NamesQuery { list: list.clone(), values, after, limit });
                assert!(page.names.len() <= limit && (!page.more || page.names.len() == limit));
                found.names.extend(page.names);
                found.values.extend(page.values);
                if !page.more {
                    break;
                }
            }
            assert_eq!(found.names, expected, "{list:?}");
            let count = if values && value.is_some() { expected.len() } else { 0 };
            assert_eq!(found.values.len(), count, "{list:?}");
            assert!(found.values.iter().all(|it| it.starts_with(value.unwrap())), "{list:?}");
        }
        let query = NamesQuery { list, values: false, after: None, limit: 0 };
        let page = names(&it.store, &query);
        assert_eq!(page, Page { more: !expected.is_empty(), ..Page::default() });
    }
    let list = NameList::Repositories(Holding::Manifests);
    let after = Some("a-".to_owned());
    let page = names(&it.store, &NamesQuery { list, values: false, after, limit: 9 });
    assert_eq!(page.names, ["a-b"]);
}

#[test]
fn collections_come_in_parts_in_the_order_of_keys() {
    let it = fixture();
    let a = repository("a");
    for (collection, expected) in [
        (Collection::Blobs, 6),
        (Collection::Layers(a.clone()), 3),
        (Collection::Revisions(a.clone()), 3),
        (Collection::Tags(a.clone()), 2),
        (Collection::Referrers(a.clone()), 1),
        (Collection::Records, 0),
        (Collection::Sessions(a), 0),
        (Collection::Tags(repository("b")), 0),
    ] {
        for limit in [1, 2, 99] {
            let (mut keys, mut after) = (Vec::new(), None);
            loop {
                let (collection, after_) = (collection.clone(), after.clone());
                let operation = Operation::Enumerate { collection, after: after_, limit };
                let Ok((Reply::Listing(listing), None)) = it.store.execute(&operation) else {
                    panic!("{operation:?}");
                };
                assert!(listing.entries.len() <= limit);
                for entry in listing.entries {
                    assert!(it.store.holds(&entry.key), "{}", entry.key);
                    if let Key::Blob(digest) = &entry.key {
                        assert_eq!(Some(entry.size), it.store.contents.size(digest));
                    }
                    keys.push(entry.key.to_string());
                }
                after = listing.next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(keys.len(), expected, "{collection:?}");
            assert!(keys.is_sorted() && keys.iter().all(|it| it.starts_with(&collection.prefix())));
        }
    }
}

#[test]
fn contents_are_hashed_in_steps() {
    let it = fixture();
    for expected in [digest(&it.layer), it.other.clone(), digest(b"")] {
        for limit in [100_000, u64::MAX] {
            let mut from = None;
            let found = loop {
                let digest = expected.clone();
                let operation = Operation::Hash { digest, from: from.take(), limit };
                match it.store.execute(&operation) {
                    Ok((Reply::Hashed(hashed), None)) => match hashed.outcome {
                        HashOutcome::Whole(digest) => break digest,
                        HashOutcome::Partial(partial) => from = Some(partial),
                    },
                    other => panic!("{other:?}"),
                }
            };
            assert_eq!(found, expected);
        }
    }
}

/// The reply to a request with this header.
async fn reply(it: &Fixture, name: HeaderName, value: String) -> Result<Reply, StorageError> {
    let request = Request::put("/").header(name, value).body(full(Bytes::from_static(b"x")));
    let response = Arc::clone(&it.store).respond(request.unwrap()).await.unwrap();
    serde_json::from_slice(response.headers()[REPLY].as_bytes()).unwrap()
}

#[tokio::test]
async fn nothing_is_written() {
    crate::blocking::start().unwrap();
    let it = fixture();
    let (name, digest) = (repository("a"), digest(&it.image));
    let session = UploadSession::from_random(name.clone(), [7; 16]);
    let (key, tag) = (Key::Tag(name.clone(), tag("1")), tag("1"));
    let ask = async |operation: Operation| {
        reply(&it, OPERATION, serde_json::to_string(&operation).unwrap()).await
    };
    for operation in [
        Operation::Link { key: key.clone(), digest: digest.clone(), media_type: None },
        Operation::LinkTag { repository: name.clone(), tag: tag.clone(), digest: digest.clone() },
        Operation::CreateTag { repository: name.clone(), tag, digest: digest.clone() },
        Operation::Remove(key.clone()),
        Operation::Unlink { key: key.clone(), digest },
        Operation::Tidy(name),
        Operation::Begin(session.clone()),
        Operation::Discard(session.clone()),
    ] {
        let said = ask(operation.clone()).await;
        assert!(matches!(said, Err(StorageError::ReadOnly(_))), "{operation:?}: {said:?}");
    }
    for header in [WRITE, TRANSFER] {
        let said = reply(&it, header, String::new()).await;
        assert!(matches!(said, Err(StorageError::ReadOnly(_))), "{said:?}");
    }
    let session = Operation::Status(session);
    assert_eq!(ask(session).await, Err(StorageError::NotFound));
    assert_eq!(ask(Operation::Exists(key.clone())).await, Ok(Reply::Exists(true)));
    // And from a thread that may wait.
    let blob = Operation::Read(Key::Blob(it.config.clone()));
    let value = Reply::Value { size: 2, text: Some("{}".to_owned()) };
    assert_eq!(ask(blob).await, Ok(value));
}
