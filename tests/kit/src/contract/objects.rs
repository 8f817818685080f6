//! Objects, parts of them, and pointers.

use super::{Readable, repository, sha256};
use crate::native::MemoryBody;
use crate::store::{Storage, StorageError, keys};
use object_store::ObjectStoreExt as _;
use object_store::path::Path;
use roadstead_oci::{ByteRange, MediaType};

pub(super) async fn check<S>(storage: &S)
where
    S: Storage<Upload = MemoryBody, Download: Readable>,
{
    let base = keys::revisions(&repository());
    let key = |name: &str| base.clone().join(name);
    check_reads(storage, &key("ten"), &key("none"), [&key("one"), &key("two")]).await;
    check_ranges(storage, &key("ten"), &key("empty"), &key("none")).await;
    check_pointers(storage, &key("pointer"), &key("text")).await;
    check_deletes(storage, &key("gone")).await;
}

async fn check_reads<S>(storage: &S, ten: &Path, none: &Path, [one, two]: [&Path; 2])
where
    S: Storage<Upload = MemoryBody, Download: Readable>,
{
    let objects = storage.objects();
    objects.put(ten, "0123456789".into()).await.unwrap();
    objects.put(one, "1".into()).await.unwrap();
    let companions = [one.clone(), two.clone()];
    let values = vec![Some("1".to_owned()), None];

    let opened = storage.open(ten, None, &companions).await.unwrap();
    assert_eq!((opened.size, opened.range), (10, 0..10));
    assert_eq!(opened.companions, values);
    assert_eq!(opened.content.read().await, "0123456789");
    let stat = storage.stat(ten, &companions).await.unwrap();
    assert_eq!((stat.size, stat.companions), (10, values));

    assert_eq!(storage.open(none, None, &companions).await.err(), Some(StorageError::NotFound));
    assert_eq!(storage.stat(none, &[]).await.err(), Some(StorageError::NotFound));

    objects.put(ten, "again".into()).await.unwrap();
    assert_eq!(storage.open(ten, None, &[]).await.unwrap().content.read().await, "again");
    objects.put(ten, "0123456789".into()).await.unwrap();
}

async fn check_ranges<S>(storage: &S, ten: &Path, empty: &Path, none: &Path)
where
    S: Storage<Upload = MemoryBody, Download: Readable>,
{
    storage.objects().put(empty, "".into()).await.unwrap();
    let range = |text: &str| Some(ByteRange::parse(text).unwrap());
    for (text, expected, content) in [
        ("bytes=2-4", 2..5, "234"),
        ("bytes=7-", 7..10, "789"),
        ("bytes=-3", 7..10, "789"),
        ("bytes=-99", 0..10, "0123456789"),
        ("bytes=5-99", 5..10, "56789"),
        ("bytes=0-99999999999999999999", 0..10, "0123456789"),
    ] {
        let opened = storage.open(ten, range(text), &[]).await.unwrap();
        assert_eq!((opened.size, opened.range), (10, expected), "{text}");
        assert_eq!(opened.content.read().await, content, "{text}");
    }
    for text in ["bytes=10-", "bytes=10-12", "bytes=5-4", "bytes=-0"] {
        let error = storage.open(ten, range(text), &[]).await.err();
        assert_eq!(error, Some(StorageError::Range(10)), "{text}");
        let error = storage.open(none, range(text), &[]).await.err();
        assert_eq!(error, Some(StorageError::NotFound), "{text}");
    }
    for text in ["bytes=0-", "bytes=3-4", "bytes=-1", "bytes=-0"] {
        let opened = storage.open(empty, range(text), &[]).await.unwrap();
        assert_eq!((opened.size, opened.range), (0, 0..0), "{text}");
        assert_eq!(opened.content.read().await, "", "{text}");
    }
}

async fn check_pointers<S: Storage>(storage: &S, pointer: &Path, text: &Path) {
    let digest = sha256(b"led to");
    let missing = storage.pointer(pointer).await.err();
    assert_eq!(missing, Some(StorageError::NotFound));
    let media_type = MediaType::parse("application/vnd.example+json").unwrap();
    storage.point(pointer, &digest, Some(&media_type)).await.unwrap();
    let found = storage.pointer(pointer).await.unwrap();
    assert_eq!(found.digest, digest);
    let kept = (!S::ONE_STEP).then_some(media_type);
    assert_eq!(found.media_type, kept);
    let bytes = storage.objects().get(pointer).await.unwrap().bytes().await.unwrap();
    assert_eq!(bytes, digest.as_str());
    storage.point(pointer, &digest, None).await.unwrap();
    assert_eq!(storage.pointer(pointer).await.unwrap().media_type, None);
    storage.objects().put(text, "no digest".into()).await.unwrap();
    assert!(matches!(storage.pointer(text).await, Err(StorageError::Failed(_))));
}

async fn check_deletes<S: Storage>(storage: &S, key: &Path) {
    let missing = storage.remove(key).await.err();
    assert_eq!(missing, Some(StorageError::NotFound));
    storage.delete_value(key, "x").await.unwrap();
    storage.objects().put(key, "x".into()).await.unwrap();
    storage.delete_value(key, "y").await.unwrap();
    assert!(storage.stat(key, &[]).await.is_ok());
    storage.delete_value(key, "x").await.unwrap();
    assert_eq!(storage.stat(key, &[]).await.err(), Some(StorageError::NotFound));
    storage.objects().put(key, "x".into()).await.unwrap();
    storage.remove(key).await.unwrap();
    assert_eq!(storage.stat(key, &[]).await.err(), Some(StorageError::NotFound));
}
