//! How many requests to the store each operation of the port takes.

use super::{body, commit_of, content, name, new_session, sha256, storage};
use crate::CloudStorage;
use object_store::path::Path;
use roadstead_kit::body::NativeBodies;
use roadstead_kit::bucket::MemoryBucket;
use roadstead_oci::{Digest, MediaType, Reference, RepositoryName, Tag};
use roadstead_storage::{Commit, Key, Storage as _, StorageError, UploadSession};

struct Fixture {
    bucket: MemoryBucket,
    storage: CloudStorage<NativeBodies>,
    name: RepositoryName,
}

impl Fixture {
    fn new() -> Self {
        let bucket = MemoryBucket::default();
        let storage = storage(bucket.redirecting(""), true);
        Self { bucket, storage, name: name("a") }
    }

    fn session(&self) -> UploadSession {
        new_session(&self.storage, &self.name)
    }

    async fn store(&self, bytes: &[u8]) -> Digest {
        let digest = sha256(bytes);
        self.storage.store(&commit_of(&self.session(), &digest), body(bytes)).await.unwrap();
        digest
    }

    /// Checks the number of requests since the last check, but for the marker of
    /// garbage collection, which is asked for once in 10 minutes.
    fn requests(&self, expected: usize, what: &str) {
        let mut requests = self.bucket.requests();
        requests.retain(|request| !request.ends_with("collect/condemned"));
        assert_eq!(requests.len(), expected, "{what}: {requests:#?}");
    }
}

#[tokio::test]
async fn uploads() {
    let fixture = Fixture::new();
    let Fixture { storage, .. } = &fixture;
    let session = fixture.session();
    storage.begin(&session).await.unwrap();
    fixture.requests(0, "begin");
    assert_eq!(storage.status(&session).await, Ok(0));
    fixture.requests(1, "status");
    let bytes = content(99);
    let appended = storage.append(&session, None, None, body(&bytes)).await.unwrap();
    fixture.requests(2, "append: the blob and the record");
    let commit = Commit { receipt: appended.receipt, ..commit_of(&session, &sha256(&bytes)) };
    storage.commit(&commit).await.unwrap();
    fixture.requests(1, "commit with a receipt: the link");
    let commit = Commit { receipt: None, ..commit };
    storage.commit(&commit).await.unwrap();
    fixture.requests(2, "commit without: the record and the link");
    assert_eq!(storage.status(&session).await, Err(StorageError::NotFound));
    fixture.requests(2, "status: the record and the link");

    let session = fixture.session();
    storage.append(&session, Some(0), None, body(&bytes[..50])).await.unwrap();
    fixture.requests(1, "append of a chunk: the record");
    storage.append(&session, Some(50), None, body(&bytes[50..80])).await.unwrap();
    fixture.requests(2, "append of another: the record, read and written");
    storage.append(&session, Some(80), None, body(b"")).await.unwrap();
    fixture.requests(1, "append of nothing: the record, read");
    let commit = commit_of(&session, &sha256(&bytes));
    storage.append_and_commit(&commit, body(&bytes[80..])).await.unwrap();
    fixture.requests(4, "last chunk: the record, the blob, the link, the end");

    storage.store(&commit_of(&fixture.session(), &sha256(&bytes)), body(&bytes)).await.unwrap();
    fixture.requests(2, "store: the blob and the link");
    let session = fixture.session();
    storage.discard(&session).await.unwrap();
    fixture.requests(2, "discard: the record, read and written");

    let bytes = content(6 * 1024 * 1024);
    storage.store(&commit_of(&fixture.session(), &sha256(&bytes)), body(&bytes)).await.unwrap();
    fixture.requests(5, "store of a large one: create, two parts, complete, the link");
}

#[tokio::test]
async fn blobs() {
    let fixture = Fixture::new();
    let Fixture { storage, name, .. } = &fixture;
    let digest = fixture.store(b"blob").await;
    let (other, missing) = (super::name("b"), Err(StorageError::NotFound));
    fixture.bucket.requests();
    storage.blob(name, &digest, None).await.unwrap();
    fixture.requests(2, "blob: the link and the blob");
    assert_eq!(storage.blob_size(name, &digest).await, Ok(4));
    fixture.requests(2, "blob_size: the link and the blob");
    assert_eq!(storage.blob_size(&other, &digest).await, missing);
    fixture.requests(1, "blob_size of a blob that the repository does not hold: the link");
    storage.blob_url(name, &digest).await.unwrap().unwrap();
    fixture.requests(1, "blob_url: the link");
    assert_eq!(storage.blob_url(&other, &digest).await, Err(StorageError::NotFound));
    fixture.requests(1, "blob_url of a blob that the repository does not hold: the link");
    assert_eq!(storage.holder(&digest, |_| true).await.as_ref(), Ok(name));
    fixture.requests(2, "holder: the blob and the link");
    assert!(storage.holder(&digest, |_| false).await.is_err());
    fixture.requests(1, "holder that is not readable: the blob");

    let mut digests = vec![digest];
    for i in 0..40_u8 {
        digests.push(fixture.store(&[i]).await);
    }
    let digests: Vec<&Digest> = digests.iter().collect();
    fixture.bucket.requests();
    assert_eq!(storage.missing_blobs(name, &digests).await, Ok(vec![]));
    fixture.requests(1, "missing_blobs: one list");
    assert_eq!(storage.missing_blobs(name, &digests[..1]).await, Ok(vec![]));
    fixture.requests(2, "missing_blobs of one: the link and the blob");
    assert_eq!(storage.missing_blobs(name, &[]).await, Ok(vec![]));
    fixture.requests(0, "missing_blobs of none");
}

/// More links than one request lists are looked up.
#[tokio::test]
async fn missing_blobs_of_a_large_repository() {
    let fixture = Fixture::new();
    let Fixture { bucket, storage, name } = &fixture;
    for i in 0..1_001_u16 {
        let digest = sha256(&i.to_be_bytes());
        let link = Key::Layer(name.clone(), digest.clone()).to_string();
        bucket.objects().put(&Path::from(link), digest.to_string().into()).await.unwrap();
    }
    let (held, missing) = (fixture.store(b"held").await, sha256(b"missing"));
    bucket.requests();
    let found = storage.missing_blobs(name, &[&held, &missing]).await;
    assert_eq!(found, Ok(vec![missing]));
    fixture.requests(1 + 2 + 1, "missing_blobs");
}

/// One list from the first of them on, and each manifest's bytes; more links than one
/// list has are looked up.
#[tokio::test]
async fn missing_manifests_take_few_requests() {
    let fixture = Fixture::new();
    let Fixture { bucket, storage, name } = &fixture;
    let mut digests: Vec<Digest> = Vec::new();
    for i in 0..3_000_u16 {
        let digest = sha256(&i.to_be_bytes());
        let link = Key::Revision(name.clone(), digest.clone()).to_string();
        bucket.objects().put(&Path::from(link), digest.to_string().into()).await.unwrap();
        let blob = Key::Blob(digest.clone()).to_string();
        bucket.objects().put(&Path::from(blob), vec![0].into()).await.unwrap();
        digests.push(digest);
    }
    digests.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
    let few: Vec<&Digest> = digests[1_500..1_600].iter().collect();
    bucket.requests();
    assert_eq!(storage.missing_manifests(name, &few).await, Ok(vec![]));
    fixture.requests(1 + 100, "the list and the bytes of each");
    let spread: Vec<&Digest> = digests.iter().step_by(300).collect();
    assert_eq!(storage.missing_manifests(name, &spread).await, Ok(vec![]));
    fixture.requests(1 + 10 + 6, "besides, links that the list does not reach");
    assert_eq!(storage.missing_manifests(name, &few[..1]).await, Ok(vec![]));
    fixture.requests(2, "the link and the bytes");
    assert_eq!(storage.missing_manifests(name, &[]).await, Ok(vec![]));
    fixture.requests(0, "none");
    // A client that asks for the referrers of an image reads no more than it has to.
    let gone = few[7];
    storage.delete(&Key::Blob(gone.clone())).await.unwrap();
    storage.delete(&Key::Revision(name.clone(), few[8].clone())).await.unwrap();
    bucket.requests();
    let missing = vec![gone.clone(), few[8].clone()];
    assert_eq!(storage.missing_manifests(name, &few).await, Ok(missing));
    fixture.requests(1 + 99, "the list, and the bytes of those that have a link");
}

#[tokio::test]
async fn manifests() {
    let fixture = Fixture::new();
    let Fixture { storage, name, .. } = &fixture;
    let docker = "application/vnd.docker.distribution.manifest.list.v2+json";
    let bytes = format!(r#"{{"schemaVersion":2,"mediaType":"{docker}","manifests":[]}}"#);
    let digest = sha256(bytes.as_bytes());
    let docker = MediaType::parse(docker).unwrap();
    let tag = Tag::parse("latest").unwrap();
    storage.write(&Key::Blob(digest.clone()), bytes.clone().into()).await.unwrap();
    fixture.requests(1, "write");
    let keys = [Key::Revision(name.clone(), digest.clone()), Key::Tag(name.clone(), tag.clone())];
    let mut was_read = false;
    // As distribution writes links, and as this registry does.
    for media_type in [None, Some(&docker)] {
        for key in &keys {
            storage.link(key, &digest, media_type).await.unwrap();
            fixture.requests(1, "link");
        }
        for reference in [Reference::Digest(digest.clone()), Reference::Tag(tag.clone())] {
            let found = storage.manifest(name, &reference).await.unwrap();
            assert_eq!((&found.digest, found.media_type.as_ref()), (&digest, media_type));
            assert_eq!(found.size, bytes.len() as u64);
            let first = !std::mem::replace(&mut was_read, true);
            fixture.requests(1 + usize::from(first), "manifest: the link, and the blob once");
            let found = storage.manifest_stat(name, &reference).await.unwrap();
            // Where no link says it, the manifest does.
            assert_eq!((&found.digest, found.media_type.as_ref()), (&digest, Some(&docker)));
            assert_eq!(found.size, bytes.len() as u64);
            fixture.requests(1, "manifest_stat: the link");
        }
    }
    let other = super::storage(fixture.bucket.redirecting(""), true);
    other.manifest_stat(name, &Reference::Tag(tag.clone())).await.unwrap();
    fixture.requests(2, "manifest_stat of an instance that has not read it: the link and the blob");
    let missing = Reference::Tag(Tag::parse("none").unwrap());
    assert_eq!(storage.manifest(name, &missing).await.err(), Some(StorageError::NotFound));
    fixture.requests(1, "manifest of a tag that does not exist: the link");

    assert_eq!(storage.exists(&keys[0]).await, Ok(true));
    fixture.requests(1, "exists");
    storage.unlink(&keys[0], &sha256(b"other")).await.unwrap();
    fixture.requests(1, "unlink of a link that leads elsewhere");
    storage.unlink(&keys[0], &digest).await.unwrap();
    fixture.requests(2, "unlink");
    storage.remove(&keys[1]).await.unwrap();
    fixture.requests(2, "remove");
    assert_eq!(storage.remove(&keys[1]).await, Err(StorageError::NotFound));
    fixture.requests(1, "remove of nothing");
    storage.delete(&keys[1]).await.unwrap();
    fixture.requests(1, "delete");
}
