//! What becomes of uploads.

use super::storage;
use crate::native::MemoryBucket;
use crate::native::NativeBodies;
use crate::store::cloud::CloudStorage;
use crate::store::cloud::bucket::{Bucket, Options};
use crate::store::cloud::record::Multipart;
use crate::store::contract::{
    Readable as _, body, broken, content, new_session, repository, sha256,
};
use crate::store::{Appended, Storage as _, StorageError, keys};
use object_store::ObjectStoreExt as _;
use object_store::multipart::MultipartStore as _;
use object_store::path::Path;
use roadstead_oci::UploadId;

const MIB: usize = 1024 * 1024;

fn fixture() -> (MemoryBucket, CloudStorage<NativeBodies>, Path) {
    let bucket = MemoryBucket::default();
    let storage = storage(bucket.backend(""), true);
    let session = new_session(&storage, &repository());
    (bucket, storage, session)
}

/// Keys that are not of sessions that have ended.
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
async fn what_is_given_up_leaves_nothing() {
    let bytes = content(12 * MIB);
    let (right, wrong) = (sha256(&bytes), sha256(b"other"));
    for way in 0..5 {
        let (bucket, storage, session) = fixture();
        let commit = |body, digest| {
            let to = keys::blob(digest);
            let (storage, session) = (&storage, &session);
            async move { storage.commit(session, None, body, &to, digest, &[]).await }
        };
        let mismatch = Err(StorageError::DigestMismatch(Some(right.clone())));
        if way < 2 {
            storage.append(&session, None, None, body(&bytes)).await.unwrap();
            assert_eq!(bucket.open_uploads(), 1);
        }
        match way {
            0 => storage.discard(&session).await.unwrap(),
            1 => assert_eq!(commit(None, &wrong).await, mismatch),
            2 => assert_eq!(commit(Some(body(&bytes)), &wrong).await, mismatch),
            3 => {
                let (body, to) = (Some(body(&bytes)), keys::blob(&wrong));
                assert_eq!(storage.store(&session, body, &to, &wrong, &[]).await, mismatch);
            }
            _ => {
                let (body, to) = (Some(broken(&bytes)), keys::blob(&right));
                let stored = storage.store(&session, body, &to, &right, &[]).await;
                assert_eq!(stored, Err(StorageError::Aborted));
            }
        }
        assert_eq!(bucket.open_uploads(), 0, "way {way}");
        assert_eq!(left(&bucket).await, [] as [&str; 0], "way {way}");
    }
}

#[tokio::test]
async fn what_is_stored_leaves_nothing_besides() {
    let bytes = content(12 * MIB);
    let digest = sha256(&bytes);
    let to = keys::blob(&digest);
    for way in 0..3 {
        let (bucket, storage, session) = fixture();
        let body = match way {
            0 => {
                storage.append(&session, None, None, body(&bytes)).await.unwrap();
                None
            }
            1 => {
                storage.append(&session, Some(0), None, body(&bytes[..MIB])).await.unwrap();
                Some(body(&bytes[MIB..]))
            }
            _ => Some(body(&bytes)),
        };
        storage.commit(&session, None, body, &to, &digest, &[]).await.unwrap();
        assert_eq!(bucket.open_uploads(), 0, "way {way}");
        assert_eq!(left(&bucket).await, [to.as_ref()], "way {way}");
    }
}

#[tokio::test]
async fn an_upload_may_go_on_after_it_could_have_been_whole() {
    let (bucket, storage, session) = fixture();
    storage.append(&session, None, None, body(b"first")).await.unwrap();
    let first = keys::blob(&sha256(b"first")).to_string();
    assert_eq!(bucket.keys().await, [first, format!("{session}/record")]);
    let then = storage.append(&session, Some(5), None, body(b", then")).await;
    assert_eq!(then, Ok(Appended::from(11)));
    let digest = sha256(b"first, then second");
    let to = keys::blob(&digest);
    let rest = Some(body(b" second"));
    assert_eq!(storage.commit(&session, None, rest, &to, &digest, &[]).await, Ok(18));
    let opened = storage.open(&to, None, &[]).await.unwrap();
    assert_eq!(opened.content.read().await, "first, then second");
}

#[tokio::test]
async fn a_client_that_got_no_answer_to_its_last_request_asks_again() {
    let (_bucket, storage, session) = fixture();
    let digest = sha256(b"whole");
    let link = keys::layer_link_of(&session, &digest).unwrap();
    let links = [(link, digest.to_string())];
    storage.append(&session, None, None, body(b"whole")).await.unwrap();
    for _ in 0..2 {
        let to = keys::blob(&digest);
        assert_eq!(storage.commit(&session, None, None, &to, &digest, &links).await, Ok(5));
    }
    // The session is gone, but not one of another repository or upload that
    // has the same bytes.
    assert_eq!(storage.status(&session).await, Err(StorageError::NotFound));
    let name = session.as_ref().split('/').skip(4).take(2).collect::<Vec<_>>().join("/");
    let name = roadstead_oci::RepositoryName::parse(&name).unwrap();
    let other = new_session(&storage, &name);
    storage.append(&other, None, None, body(b"whole")).await.unwrap();
    assert_eq!(storage.status(&other).await, Ok(5));
}

#[tokio::test]
async fn an_upload_whose_part_was_replaced_is_begun_again() {
    let (bucket, storage, session) = fixture();
    let bytes = content(12 * MIB);
    storage.append(&session, None, None, body(&bytes)).await.unwrap();
    let (record, _) = storage.bucket.load(&session).await.unwrap();
    let Multipart { key, id, .. } = record.multipart.unwrap();
    let other = content(5 * MIB).into();
    bucket.put_part(&Path::from(key), &id, 0, other).await.unwrap();
    let (digest, failed) = (sha256(&bytes), Err(StorageError::NotFound));
    let commit = || async {
        let to = keys::blob(&digest);
        storage.commit(&session, None, None, &to, &digest, &[]).await
    };
    assert_eq!(commit().await, failed);
    assert_eq!(commit().await, failed);
    assert_eq!(left(&bucket).await, [] as [&str; 0]);
    assert_eq!(bucket.open_uploads(), 0);
}

#[tokio::test]
async fn large_objects_are_copied_by_parts() {
    for bucket in [MemoryBucket::default(), MemoryBucket::default().with_equal_parts()] {
        let bytes = content(23 * MIB);
        let (from, to) = (Path::from("from"), Path::from("to"));
        let backend = bucket.like_s3("below");
        let s3 = backend.s3.clone().unwrap();
        let bucket = Bucket::new(backend, Options::default());
        bucket.objects().put(&from, bytes.clone().into()).await.unwrap();
        let source = (&from, bytes.len() as u64);
        bucket.copy_by_parts(&*s3, source, &to, 6 * MIB as u64).await.unwrap();
        let copied = bucket.objects().get(&to).await.unwrap().bytes().await.unwrap();
        assert!(copied == bytes, "other bytes");
    }
}

#[test]
fn identifiers_are_known_in_their_place_by_their_key() {
    let bucket = |secret: &[u8]| {
        let options = Options { secret: Some(secret.to_vec()), ..Options::default() };
        Bucket::new(MemoryBucket::default().backend(""), options)
    };
    let (ours, theirs) = (bucket(b"ours"), bucket(b"theirs"));
    let (here, there) = (keys::uploads(&repository()), keys::uploads(&repository()));
    for random in 0..100_u8 {
        let id = UploadId::from_random(ours.session_bits(&here, [random.wrapping_mul(77); 16]));
        let session = |uploads: &Path, id: &str| uploads.clone().join(id);
        assert!(ours.is_fresh(&session(&here, id.as_str())));
        assert!(!ours.is_fresh(&session(&there, id.as_str())));
        assert!(!theirs.is_fresh(&session(&here, id.as_str())));
        let mut digits: Vec<char> = id.as_str().chars().collect();
        // The last of the random, of the hour and of the hash.
        for place in [9, 12, 35] {
            let before = std::mem::replace(&mut digits[place], 'f');
            let changed: String = digits.iter().collect();
            assert_eq!(ours.is_fresh(&session(&here, &changed)), before == 'f', "{place}: {id}");
            digits[place] = before;
        }
    }
    assert!(!ours.is_fresh(&Path::from("x/not-an-identifier")));
}

#[tokio::test]
async fn old_uploads_are_removed_and_nothing_else() {
    let (memory, storage, session) = fixture();
    storage.append(&session, None, None, body(&content(12 * MIB))).await.unwrap();
    let bucket = Bucket::new(memory.backend(""), Options::default());
    let uploads = Path::from(session.as_ref().rsplit_once('/').unwrap().0);
    let now = chrono::Utc::now();
    bucket.purge(&uploads, now - chrono::TimeDelta::hours(1)).await;
    assert_eq!(memory.keys().await, [format!("{session}/record")]);
    let digest = sha256(b"blob");
    storage.store(&session, Some(body(b"blob")), &keys::blob(&digest), &digest, &[]).await.unwrap();
    bucket.purge(&uploads, now + chrono::TimeDelta::hours(1)).await;
    assert_eq!(memory.keys().await, [keys::blob(&digest).to_string()]);
    assert_eq!(memory.open_uploads(), 0);
}

#[tokio::test]
async fn an_end_that_failed_can_be_tried_again() {
    for (size, what) in [(12 * MIB, "COPY"), (12 * MIB, "PUT"), (9, "PUT")] {
        let (bucket, storage, session) = fixture();
        let bytes = content(size);
        let digest = sha256(&bytes);
        let to = keys::blob(&digest);
        let links = [(keys::layer_link_of(&session, &digest).unwrap(), digest.to_string())];
        storage.append(&session, None, None, body(&bytes)).await.unwrap();
        bucket.fail_next(what);
        let failed = storage.commit(&session, None, None, &to, &digest, &links).await;
        assert!(matches!(failed, Err(StorageError::Failed(_))), "{what}: {failed:?}");
        let again = storage.commit(&session, None, None, &to, &digest, &links).await;
        assert_eq!(again, Ok(size as u64));
        let opened = storage.open(&to, None, &[]).await.unwrap();
        assert!(opened.content.read().await == bytes, "other bytes");
        assert_eq!(storage.status(&session).await, Err(StorageError::NotFound));
    }
}
