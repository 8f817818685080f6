//! The data of blobs: hashed in pieces, and moved out of the way.

use super::{Testable, content, repository, sha256, sha512, store};
use bytes::Bytes;
use roadstead_oci::Digest;
use roadstead_storage::{
    Collection, Cursor, HASH_LIMIT, HashOutcome, Key, Pages, Quarantine, Storage, StorageError,
};

pub(super) async fn check<S: Testable>(storage: &S) {
    check_hashes(storage).await;
    check_quarantine(storage).await;
}

/// Stored bytes are hashed in pieces of any length.
async fn check_hashes<S: Testable>(storage: &S) {
    let name = repository();
    for (length, limits) in [
        (0, &[0, 1, u64::MAX][..]),
        (1, &[0, 1, 2]),
        (1000, &[1, 63, 64, 65, 999, 1000, 1001, HASH_LIMIT + 1]),
        (300_000, &[1 << 16, 300_000]),
    ] {
        let bytes = content(length);
        for digest in [sha256(&bytes), sha512(&bytes)] {
            let missing = storage.hash_blob(&digest, None, 1).await;
            // Random content of one byte may have been stored by another check.
            if length > 1 {
                assert_eq!(missing, Err(StorageError::NotFound));
            }
            store(storage, &name, &digest, &bytes).await;
            for &limit in limits {
                assert_eq!(whole(storage, &digest, limit).await, digest, "{length} by {limit}");
            }
        }
    }
    // It has the digest of what is stored, whatever its name.
    let digest = sha256(&content(9));
    storage.write(&Key::Blob(digest.clone()), Bytes::from_static(b"other")).await.unwrap();
    assert_eq!(whole(storage, &digest, 2).await, sha256(b"other"));
    storage.delete(&Key::Blob(digest)).await.unwrap();
}

async fn whole<S: Storage>(storage: &S, digest: &Digest, limit: u64) -> Digest {
    let (mut from, mut read) = (None, 0);
    loop {
        let hashed = storage.hash_blob(digest, from.as_ref(), limit).await.unwrap();
        assert!(hashed.read <= limit.max(1) && hashed.read <= HASH_LIMIT, "{hashed:?}");
        read += hashed.read;
        match hashed.outcome {
            HashOutcome::Partial(partial) => {
                assert_eq!(partial.offset, read);
                from = Some(partial);
            }
            HashOutcome::Whole(found) => {
                assert_eq!(hashed.size, read);
                return found;
            }
        }
    }
}

async fn seen<S: Storage>(storage: &S, digest: &Digest) -> Quarantine {
    let hex = digest.encoded();
    let place = Cursor(format!("{}/{}/{hex}/_", digest.algorithm(), &hex[..2]));
    let mut pages = Pages::new(&Collection::Blobs, Some(place), 1);
    // A page may be empty, as hints are not of the collection.
    let entry = loop {
        let entries = pages.next(storage).await.unwrap().unwrap();
        if let Some(entry) = entries.into_iter().next() {
            break entry;
        }
    };
    assert_eq!(entry.key, Key::Blob(digest.clone()));
    Quarantine {
        digest: digest.clone(),
        size: entry.size,
        modified: entry.modified,
        prepare: false,
    }
}

/// Data is moved if it is what was seen, and the first that was moved is kept.
async fn check_quarantine<S: Testable>(storage: &S) {
    let (name, digest) = (repository(), sha256(&content(9)));
    let (data, aside) = (Key::Blob(digest.clone()), Key::Quarantined(digest.clone()));
    let link = Key::Layer(name.clone(), digest.clone());
    storage.link(&link, &digest, None).await.unwrap();
    let write = async |text: &'static str| storage.write(&data, text.into()).await.unwrap();
    write("first").await;
    let other = Quarantine { size: 6, ..seen(storage, &digest).await };
    assert_eq!(storage.quarantine(&other).await, Ok(false));
    let prepare = Quarantine { prepare: true, ..seen(storage, &digest).await };
    assert_eq!(storage.quarantine(&prepare).await, Ok(true));
    assert_eq!(storage.blob_size(&name, &digest).await, Ok(5));
    let first = seen(storage, &digest).await;
    assert_eq!(storage.quarantine(&first).await, Ok(true));
    assert_eq!(storage.blob_size(&name, &digest).await, Err(StorageError::NotFound));
    assert_eq!(storage.read(&aside).await, Ok(Bytes::from_static(b"first")));
    assert_eq!(storage.quarantine(&first).await, Ok(false));
    // The link stays: the blob is whole again as soon as it is pushed.
    write("second").await;
    assert_eq!(storage.blob_size(&name, &digest).await, Ok(6));
    let second = seen(storage, &digest).await;
    assert_eq!(storage.quarantine(&second).await, Ok(true));
    assert_eq!(storage.exists(&data).await, Ok(false));
    assert_eq!(storage.read(&aside).await, Ok(Bytes::from_static(b"first")));
    for key in [aside, link] {
        storage.delete(&key).await.unwrap();
    }
}
