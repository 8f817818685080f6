//! What upload sessions leave behind, and how they go on after failures.

use super::{body, broken, commit_of, content, name, new_session, repository, sha256, storage};
use crate::multipart::Multipart;
use crate::objects::Objects;
use crate::uploads::session::Session;
use crate::{CloudStorage, Options};
use object_store::Attribute;
use object_store::multipart::MultipartStore as _;
use object_store::path::Path;
use roadstead_kit::body::NativeBodies;
use roadstead_kit::bucket::MemoryBucket;
use roadstead_kit::contract::Readable as _;
use roadstead_oci::{Algorithm, Digest, MediaType};
use roadstead_storage::{
    Appended, Commit, Key, SessionFile, Storage as _, StorageError, UploadSession,
};
use sha2::{Digest as _, Sha512};

const MIB: usize = 1024 * 1024;

fn fixture() -> (MemoryBucket, CloudStorage<NativeBodies>, UploadSession) {
    let bucket = MemoryBucket::default();
    let storage = storage(bucket.backend(""), true);
    let session = new_session(&storage, &repository());
    (bucket, storage, session)
}

fn record_of(session: &UploadSession) -> String {
    Key::SessionObject(session.clone(), SessionFile::record()).to_string()
}

/// The link to a blob in a session's repository.
fn link_of(session: &UploadSession, digest: &Digest) -> String {
    Key::Layer(session.repository.clone(), digest.clone()).to_string()
}

/// All keys but those of sessions that have ended.
async fn left(bucket: &MemoryBucket) -> Vec<String> {
    let mut left = Vec::new();
    for key in bucket.keys().await {
        let bytes = bucket.objects().get(&Path::from(key.as_str())).await.unwrap();
        if bytes.bytes().await.unwrap() != "gone\n" {
            left.push(key);
        }
    }
    left
}

#[tokio::test]
async fn uploads_that_fail_leave_nothing() {
    let bytes = content(12 * MIB);
    let (right, wrong) = (sha256(&bytes), sha256(b"other"));
    for way in 0..5 {
        let (bucket, storage, session) = fixture();
        let commit = commit_of(&session, &wrong);
        let mismatch = Err(StorageError::DigestMismatch(Some(right.clone())));
        if way < 2 {
            storage.append(&session, None, None, body(&bytes)).await.unwrap();
            assert_eq!(bucket.open_uploads(), 1);
        }
        match way {
            0 => storage.discard(&session).await.unwrap(),
            1 => assert_eq!(storage.commit(&commit).await, mismatch),
            2 => assert_eq!(storage.append_and_commit(&commit, body(&bytes)).await, mismatch),
            3 => assert_eq!(storage.store(&commit, body(&bytes)).await, mismatch),
            _ => {
                let stored = storage.store(&commit_of(&session, &right), broken(&bytes)).await;
                assert_eq!(stored, Err(StorageError::Aborted));
            }
        }
        assert_eq!(bucket.open_uploads(), 0, "way {way}");
        assert_eq!(left(&bucket).await, [] as [&str; 0], "way {way}");
    }
}

#[tokio::test]
async fn uploads_leave_their_blob_and_its_link_only() {
    let bytes = content(12 * MIB);
    let digest = sha256(&bytes);
    for way in 0..4 {
        let (bucket, storage, session) = fixture();
        let commit = commit_of(&session, &digest);
        let size = match way {
            0 => {
                storage.append(&session, None, None, body(&bytes)).await.unwrap();
                storage.commit(&commit).await
            }
            1 => {
                storage.append(&session, Some(0), None, body(&bytes[..MIB])).await.unwrap();
                storage.append_and_commit(&commit, body(&bytes[MIB..])).await
            }
            2 => storage.append_and_commit(&commit, body(&bytes)).await,
            _ => storage.store(&commit, body(&bytes)).await,
        };
        assert_eq!(size, Ok(12 * MIB as u64), "way {way}");
        assert_eq!(bucket.open_uploads(), 0, "way {way}");
        let expected = [Key::Blob(digest.clone()).to_string(), link_of(&session, &digest)];
        assert_eq!(left(&bucket).await, expected, "way {way}");
    }
}

#[tokio::test]
async fn an_upload_goes_on_that_was_stored_as_a_blob() {
    let (bucket, storage, session) = fixture();
    storage.append(&session, None, None, body(b"first")).await.unwrap();
    let first = Key::Blob(sha256(b"first")).to_string();
    assert_eq!(bucket.keys().await, [first, record_of(&session)]);
    let then = storage.append(&session, Some(5), None, body(b", then")).await;
    assert_eq!(then, Ok(Appended::from(11)));
    let digest = sha256(b"first, then second");
    let commit = commit_of(&session, &digest);
    assert_eq!(storage.append_and_commit(&commit, body(b" second")).await, Ok(18));
    let blob = storage.blob(&session.repository, &digest, None).await.unwrap();
    assert_eq!(blob.content.read().await, "first, then second");
}

/// The bytes are stored by their SHA-256 digest before the client names one.
#[tokio::test]
async fn an_upload_ends_by_another_algorithm_than_it_was_stored_by() {
    let (_bucket, storage, session) = fixture();
    storage.append(&session, None, None, body(b"whole")).await.unwrap();
    let digest = Digest::from_bytes(Algorithm::Sha512, &Sha512::digest(b"whole")).unwrap();
    assert_eq!(storage.commit(&commit_of(&session, &digest)).await, Ok(5));
    let blob = storage.blob(&session.repository, &digest, None).await.unwrap();
    assert_eq!(blob.content.read().await, "whole");
    assert_eq!(storage.status(&session).await, Err(StorageError::NotFound));
}

#[tokio::test]
async fn a_commit_without_a_response_is_repeated() {
    let (_bucket, storage, session) = fixture();
    let commit = commit_of(&session, &sha256(b"whole"));
    storage.append(&session, None, None, body(b"whole")).await.unwrap();
    for _ in 0..2 {
        assert_eq!(storage.commit(&commit).await, Ok(5));
    }
    // The session has ended, but not another one with the same bytes.
    assert_eq!(storage.status(&session).await, Err(StorageError::NotFound));
    assert_eq!(storage.discard(&session).await, Err(StorageError::NotFound));
    let other = new_session(&storage, &session.repository);
    storage.append(&other, None, None, body(b"whole")).await.unwrap();
    assert_eq!(storage.status(&other).await, Ok(5));
}

#[tokio::test]
async fn receipts_save_a_look_at_the_session() {
    for (at, receipt, requests) in
        [(None, true, 1), (None, false, 2), (Some(5), true, 2), (Some(4), true, 1)]
    {
        let (bucket, storage, session) = fixture();
        let digest = sha256(b"whole");
        let appended = storage.append(&session, None, None, body(b"whole")).await.unwrap();
        let receipt = appended.receipt.filter(|_| receipt);
        bucket.requests();
        let commit = Commit { at, receipt, ..commit_of(&session, &digest) };
        let expected = if at == Some(4) { Err(StorageError::Offset(5)) } else { Ok(5) };
        assert_eq!(storage.commit(&commit).await, expected, "{at:?}");
        assert_eq!(bucket.requests().len(), requests, "{at:?}");
    }
}

#[tokio::test]
async fn an_upload_whose_part_was_replaced_is_begun_again() {
    let (bucket, storage, session) = fixture();
    let bytes = content(12 * MIB);
    storage.append(&session, None, None, body(&bytes)).await.unwrap();
    let Ok(Session::Open(loaded)) = storage.uploads.load(&session).await else {
        panic!("the session is not open")
    };
    let Multipart { key, id, .. } = loaded.record.multipart.unwrap();
    let other = content(5 * MIB).into();
    bucket.put_part(&Path::from(key.to_string()), &id, 0, other).await.unwrap();
    let commit = commit_of(&session, &sha256(&bytes));
    for _ in 0..2 {
        assert_eq!(storage.commit(&commit).await, Err(StorageError::NotFound));
    }
    assert_eq!(left(&bucket).await, [] as [&str; 0]);
    assert_eq!(bucket.open_uploads(), 0);
}

/// Parts of a blob itself cannot become another one.
#[tokio::test]
async fn an_upload_that_names_another_digest_after_parts_is_begun_again() {
    let (bucket, storage, session) = fixture();
    let bytes = content(12 * MIB);
    let (first, right) = (sha256(b"first meant"), sha256(&bytes));
    let cut = storage.append_and_commit(&commit_of(&session, &first), broken(&bytes)).await;
    assert_eq!(cut, Err(StorageError::Aborted));
    assert_eq!(storage.status(&session).await, Ok(12 * MIB as u64));
    let commit = commit_of(&session, &right);
    assert_eq!(storage.commit(&commit).await, Err(StorageError::NotFound));
    assert_eq!(left(&bucket).await, [] as [&str; 0]);
    assert_eq!(bucket.open_uploads(), 0);
}

#[tokio::test]
async fn large_objects_are_copied_by_parts() {
    for bucket in [MemoryBucket::default(), MemoryBucket::default().with_equal_parts()] {
        let bytes = content(23 * MIB);
        let repository = name("a");
        let session = UploadSession::from_random(repository.clone(), [1; 16]);
        let from = Key::SessionObject(session, SessionFile::parts(1));
        let to = Key::Blob(sha256(&bytes));
        let objects = Objects::new(bucket.like_s3("below"));
        let s3 = objects.backend.s3.clone().unwrap();
        objects.put(&from, bytes.clone()).await.unwrap();
        let source = (&from, bytes.len() as u64);
        let part = 6 * MIB as u64;
        objects.copy_by_parts(&*s3, source, &to, &repository, part).await.unwrap();
        let copied = objects.get(&to).await.unwrap().bytes().await.unwrap();
        assert!(copied == bytes, "other bytes");
    }
}

/// A proxy may answer 503 to a write that the store has applied. The repeated
/// write then fails by its condition, and is not taken for another's.
#[tokio::test]
async fn a_repeated_write_knows_its_own_record() {
    for size in [50, 6 * MIB] {
        let (bucket, storage, session) = fixture();
        let bytes = content(size);
        let (one, two) = bytes.split_at(size / 2);
        bucket.repeat_next_conditional_put();
        let first = storage.append(&session, Some(0), None, body(one)).await.unwrap();
        assert_eq!(first.size, one.len() as u64);
        bucket.repeat_next_conditional_put();
        let second = storage.append(&session, Some(first.size), None, body(two)).await;
        assert_eq!(second.map(|appended| appended.size), Ok(size as u64));
        storage.commit(&commit_of(&session, &sha256(&bytes))).await.unwrap();
    }
    // Without an offset the bytes would be appended twice.
    let (bucket, storage, session) = fixture();
    bucket.repeat_next_conditional_put();
    storage.append(&session, None, None, body(b"abc")).await.unwrap();
    bucket.repeat_next_conditional_put();
    storage.append(&session, None, None, body(b"def")).await.unwrap();
    assert_eq!(storage.status(&session).await, Ok(6));
    storage.commit(&commit_of(&session, &sha256(b"abcdef"))).await.unwrap();
    // A session whose record is created when it begins.
    let bucket = MemoryBucket::default();
    let storage = CloudStorage::<NativeBodies>::new(bucket.backend(""), Options::default());
    let session = new_session(&storage, &repository());
    bucket.repeat_next_conditional_put();
    storage.begin(&session).await.unwrap();
    assert_eq!(storage.status(&session).await, Ok(0));
}

#[tokio::test]
async fn a_commit_that_failed_is_repeated() {
    for (size, request) in [(12 * MIB, "COPY"), (12 * MIB, "PUT"), (9, "PUT")] {
        let (bucket, storage, session) = fixture();
        let bytes = content(size);
        let commit = commit_of(&session, &sha256(&bytes));
        storage.append(&session, None, None, body(&bytes)).await.unwrap();
        bucket.fail_next(request);
        let failed = storage.commit(&commit).await;
        assert!(matches!(failed, Err(StorageError::Failed(_))), "{request}: {failed:?}");
        assert_eq!(storage.commit(&commit).await, Ok(size as u64));
        let blob = storage.blob(&session.repository, &commit.digest, None).await.unwrap();
        assert!(blob.content.read().await == bytes, "other bytes");
        assert_eq!(storage.status(&session).await, Err(StorageError::NotFound));
    }
}

/// Instances without the secret know a session by its record only.
#[tokio::test]
async fn sessions_of_a_bucket_without_a_secret() {
    let bucket = MemoryBucket::default();
    let storage = CloudStorage::<NativeBodies>::new(bucket.backend(""), Options::default());
    let session = new_session(&storage, &repository());
    assert_eq!(storage.status(&session).await, Err(StorageError::NotFound));
    storage.begin(&session).await.unwrap();
    assert_eq!(bucket.keys().await, [record_of(&session)]);
    assert_eq!(storage.status(&session).await, Ok(0));
    storage.discard(&session).await.unwrap();
    assert_eq!(bucket.keys().await, [] as [&str; 0]);
}

/// Sessions as version 0.1 stored them.
#[tokio::test]
async fn sessions_of_earlier_versions_go_on() {
    const STATE: &str = "67e6096a85ae67bb72f36e3c3af54fa57f520e518c68059babd9831f19cde05b0000000000000000\
        04303132330000000000000000000000000000000000000000000000000000000000000000000000\
        000000000000000000000000000000000000000000000000";
    let (bucket, storage, session) = fixture();
    let record = Path::from(record_of(&session));
    let written = format!("4 -\n{{\"sha256\":\"{STATE}\"}}\n0123");
    bucket.objects().put(&record, written.into()).await.unwrap();
    assert_eq!(storage.status(&session).await, Ok(4));
    let appended = storage.append(&session, Some(4), None, body(b"456")).await;
    assert_eq!(appended, Ok(Appended::from(7)));
    let commit = commit_of(&session, &sha256(b"0123456789"));
    assert_eq!(storage.append_and_commit(&commit, body(b"789")).await, Ok(10));

    // Its bytes are stored as a blob.
    let (bucket, storage, session) = fixture();
    let (record, digest) = (Path::from(record_of(&session)), sha256(b"0123"));
    let blob = Path::from(Key::Blob(digest.clone()).to_string());
    bucket.objects().put(&blob, "0123".into()).await.unwrap();
    let written = format!("4 {digest}\n{{\"sha256\":\"{STATE}\"}}\n");
    bucket.objects().put(&record, written.into()).await.unwrap();
    assert_eq!(storage.status(&session).await, Ok(4));
    assert_eq!(storage.commit(&commit_of(&session, &digest)).await, Ok(4));

    // It has ended.
    bucket.objects().put(&record, "gone\n".into()).await.unwrap();
    assert_eq!(storage.status(&session).await, Err(StorageError::NotFound));
}

/// What is kept with objects, by names that all versions know.
#[tokio::test]
async fn metadata_of_objects() {
    let (bucket, storage, session) = fixture();
    let digest = sha256(b"blob");
    storage.store(&commit_of(&session, &digest), body(b"blob")).await.unwrap();
    let media_type = MediaType::parse("a/b").unwrap();
    let revision = Key::Revision(session.repository.clone(), digest.clone());
    storage.link(&revision, &digest, Some(&media_type)).await.unwrap();
    for (key, name, value) in [
        (Key::Blob(digest.clone()).to_string(), "repository", session.repository.as_str()),
        (link_of(&session, &digest), "upload", session.id.as_str()),
        (revision.to_string(), "mediatype", "a/b"),
    ] {
        let found = bucket.objects().get(&Path::from(key)).await.unwrap();
        let attributes: Vec<_> = found.attributes.iter().collect();
        let (name, value) = (Attribute::Metadata(name.into()), value.to_owned().into());
        assert_eq!(attributes, [(&name, &value)]);
    }
}
