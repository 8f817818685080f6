//! Single objects: values, links and deletes.

use super::{
    Testable, by_digest, by_tag, content, media_type, repository, sha256, sha512, store, tag,
    tag_key,
};
use bytes::Bytes;
use futures::future::join_all;
use roadstead_oci::{Digest, RepositoryName};
use roadstead_storage::{Created, Key, PushState, PushedManifest, StorageError};

pub(super) async fn check<S: Testable>(storage: &S) {
    let name = repository();
    for key in keys(&name) {
        check_values(storage, &key).await;
        check_deletes(storage, &key).await;
    }
    check_limits(storage, &name).await;
    check_links(storage, &name).await;
    check_unlink(storage, &name).await;
    check_companions(storage).await;
    check_pushed(storage).await;
    check_created(storage).await;
}

/// An object of each kind that has a value of its own. Tags may be spelt as
/// directories and files of the layout are.
fn keys(name: &RepositoryName) -> Vec<Key> {
    let digest = sha256(&content(9));
    let mut keys = vec![
        Key::Blob(digest.clone()),
        Key::Layer(name.clone(), digest.clone()),
        Key::Revision(name.clone(), sha512(b"revision")),
        Key::Referrer { repository: name.clone(), subject: sha512(b"subject"), digest },
    ];
    for text in ["v1.0-X", "_uploads", "_hint-a", "_layers", "_manifests", "link", "current"] {
        keys.push(tag_key(name, text));
        keys.push(Key::TagHistory(name.clone(), tag(text), sha256(b"history")));
    }
    keys
}

async fn check_values<S: Testable>(storage: &S, key: &Key) {
    assert_eq!(storage.read(key).await, Err(StorageError::NotFound), "{key}");
    assert_eq!(storage.exists(key).await, Ok(false), "{key}");
    for value in ["0123456789", "again, and longer", "short", ""] {
        storage.write(key, Bytes::from_static(value.as_bytes())).await.unwrap();
        assert_eq!(storage.read(key).await, Ok(Bytes::from(value)), "{key}");
        assert_eq!(storage.exists(key).await, Ok(true), "{key}");
    }
    // Bytes that are not text.
    let bytes = Bytes::from_static(b"\0\xff\r\n");
    storage.write(key, bytes.clone()).await.unwrap();
    assert_eq!(storage.read(key).await, Ok(bytes), "{key}");
    storage.remove(key).await.unwrap();
}

async fn check_deletes<S: Testable>(storage: &S, key: &Key) {
    let missing = async || {
        assert_eq!(storage.read(key).await, Err(StorageError::NotFound), "{key}");
        assert_eq!(storage.exists(key).await, Ok(false), "{key}");
    };
    let write = async || storage.write(key, Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(storage.remove(key).await, Err(StorageError::NotFound), "{key}");
    assert_eq!(storage.delete(key).await, Ok(()), "{key}");
    missing().await;
    write().await;
    assert_eq!(storage.remove(key).await, Ok(()), "{key}");
    missing().await;
    assert_eq!(storage.remove(key).await, Err(StorageError::NotFound), "{key}");
    write().await;
    assert_eq!(storage.delete(key).await, Ok(()), "{key}");
    missing().await;
    assert_eq!(storage.delete(key).await, Ok(()), "{key}");
    write().await;
    assert_eq!(storage.exists(key).await, Ok(true), "{key}");
    storage.remove(key).await.unwrap();
}

/// Values have at most [`Key::value_limit`] bytes.
async fn check_limits<S: Testable>(storage: &S, name: &RepositoryName) {
    let digest = sha256(&content(9));
    let referrer = Key::Referrer {
        repository: name.clone(),
        subject: sha256(b"subject"),
        digest: digest.clone(),
    };
    for key in [
        Key::Blob(digest.clone()),
        Key::Layer(name.clone(), digest.clone()),
        tag_key(name, "_uploads"),
        referrer,
        Key::ReferrersComplete(name.clone()),
    ] {
        let value = content(key.value_limit());
        storage.write(&key, value.clone()).await.unwrap();
        assert!(storage.read(&key).await.unwrap() == value, "{key}: another value");
        storage.remove(&key).await.unwrap();
    }
    // A blob of a larger size is not read whole.
    let bytes = content(Key::Blob(digest).value_limit() + 1);
    let digest = sha256(&bytes);
    store(storage, name, &digest, &bytes).await;
    let whole = storage.read(&Key::Blob(digest)).await;
    assert!(matches!(whole, Err(StorageError::Failed(_))), "{:?}", whole.map(|bytes| bytes.len()));
}

/// Links hold a digest, and lead to a manifest with its media type.
async fn check_links<S: Testable>(storage: &S, name: &RepositoryName) {
    let bytes = content(100);
    for (digest, text) in [(sha256(&bytes), "_uploads"), (sha512(&bytes), "_hint-a")] {
        let key = tag_key(name, text);
        let revision = Key::Revision(name.clone(), digest.clone());
        storage.write(&Key::Blob(digest.clone()), bytes.clone()).await.unwrap();
        assert_eq!(storage.exists(&revision).await, Ok(false));
        assert_eq!(storage.holds_manifest(name, &digest, &media_type("a/b")).await, Ok(false));
        for media in [None, Some("application/vnd.example+json"), Some("a/b"), None] {
            let media = media.map(media_type);
            for key in [&revision, &key] {
                storage.link(key, &digest, media.as_ref()).await.unwrap();
                assert_eq!(storage.read(key).await, Ok(Bytes::from(digest.to_string())));
                assert_eq!(storage.exists(key).await, Ok(true));
            }
            for asked in ["application/vnd.example+json", "a/b"].map(media_type) {
                let held = storage.holds_manifest(name, &digest, &asked).await;
                assert_eq!(held, Ok(media.as_ref() == Some(&asked)));
            }
            for reference in [by_tag(text), by_digest(&digest)] {
                let found = storage.manifest(name, &reference).await.unwrap();
                assert_eq!((found.digest, found.media_type), (digest.clone(), media.clone()));
                let found = storage.manifest_stat(name, &reference).await.unwrap();
                assert_eq!((found.digest, found.media_type), (digest.clone(), media.clone()));
            }
        }
    }
    // What a loss of power left is not there.
    for value in ["", "\0\0\0"] {
        storage.write(&tag_key(name, "text"), value.into()).await.unwrap();
        let found = storage.manifest(name, &by_tag("text")).await.map(|found| found.digest);
        assert_eq!(found, Err(StorageError::NotFound));
        let found = storage.manifest_stat(name, &by_tag("text")).await;
        assert_eq!(found.err(), Some(StorageError::NotFound));
    }
    // What is not a digest leads nowhere.
    for value in ["no digest", "sha256:0"] {
        storage.write(&tag_key(name, "text"), value.into()).await.unwrap();
        let found = storage.manifest(name, &by_tag("text")).await.map(|found| found.digest);
        assert!(matches!(found, Err(StorageError::Failed(_))), "{found:?}");
        let found = storage.manifest_stat(name, &by_tag("text")).await;
        assert!(matches!(found, Err(StorageError::Failed(_))), "{found:?}");
    }
}

async fn check_unlink<S: Testable>(storage: &S, name: &RepositoryName) {
    let (digest, other) = (sha256(b"one"), sha512(b"one"));
    let history = Key::TagHistory(name.clone(), tag("unlinked"), digest.clone());
    let revision = Key::Revision(name.clone(), digest.clone());
    for key in [tag_key(name, "unlinked"), tag_key(name, "_uploads.x"), history, revision] {
        assert_eq!(storage.unlink(&key, &digest).await, Ok(()), "{key}");
        storage.link(&key, &digest, None).await.unwrap();
        assert_eq!(storage.unlink(&key, &other).await, Ok(()), "{key}");
        assert_eq!(storage.read(&key).await, Ok(Bytes::from(digest.to_string())), "{key}");
        assert_eq!(storage.unlink(&key, &digest).await, Ok(()), "{key}");
        assert_eq!(storage.read(&key).await, Err(StorageError::NotFound), "{key}");
        assert_eq!(storage.unlink(&key, &digest).await, Ok(()), "{key}");
        // As another writer may have written it.
        storage.write(&key, line(&digest)).await.unwrap();
        assert_eq!(storage.unlink(&key, &other).await, Ok(()), "{key}");
        assert_eq!(storage.exists(&key).await, Ok(true), "{key}");
        assert_eq!(storage.unlink(&key, &digest).await, Ok(()), "{key}");
        assert_eq!(storage.exists(&key).await, Ok(false), "{key}");
        // What is not a digest leads to none.
        storage.write(&key, Bytes::from_static(b"no digest")).await.unwrap();
        assert_eq!(storage.unlink(&key, &digest).await, Ok(()), "{key}");
        assert_eq!(storage.exists(&key).await, Ok(true), "{key}");
        storage.remove(&key).await.unwrap();
    }
}

/// What is kept beside a link says nothing without it, and a new link begins
/// without it.
async fn check_companions<S: Testable>(storage: &S) {
    let (name, bytes) = (repository(), content(50));
    let digest = sha256(&bytes);
    let (blob, link) = (Key::Blob(digest.clone()), Key::Revision(name.clone(), digest.clone()));
    storage.write(&blob, bytes).await.unwrap();
    let media = media_type("application/vnd.example+json");
    for way in ["delete", "remove", "unlink"] {
        storage.link(&link, &digest, Some(&media)).await.unwrap();
        let found = storage.manifest_stat(&name, &by_digest(&digest)).await.unwrap();
        assert_eq!(found.media_type.as_ref(), Some(&media));
        match way {
            "delete" => storage.delete(&link).await.unwrap(),
            "remove" => storage.remove(&link).await.unwrap(),
            _ => storage.unlink(&link, &digest).await.unwrap(),
        }
        let found = storage.manifest_stat(&name, &by_digest(&digest)).await;
        assert_eq!(found.err(), Some(StorageError::NotFound), "{way}");
        storage.write(&link, line(&digest)).await.unwrap();
        let found = storage.manifest_stat(&name, &by_digest(&digest)).await.unwrap();
        assert_eq!(found.media_type, None, "{way}");
        storage.remove(&link).await.unwrap();
    }
}

/// A manifest is stored with all that leads to it, and its state says what is there of it.
async fn check_pushed<S: Testable>(storage: &S) {
    let (name, bytes, layer) = (repository(), content(100), content(50));
    let (digest, blob, absent) = (sha256(&bytes), sha256(&layer), sha256(&content(51)));
    store(storage, &name, &blob, &layer).await;
    let pushed = PushedManifest {
        repository: name.clone(),
        digest: digest.clone(),
        media_type: media_type("a/b"),
        tags: vec![tag("one"), tag("two")],
    };
    let state = async || storage.push_state(&pushed, &[&blob, &absent]).await.unwrap();
    // An adapter that would need several requests says nothing.
    let says = state().await.is_some();
    let check = async |held| {
        let missing = vec![absent.clone()];
        assert_eq!(state().await, says.then_some(PushState { held, missing }));
    };
    check(false).await;
    storage.store_manifest(&pushed, bytes).await.unwrap();
    check(true).await;
    for reference in [by_tag("one"), by_tag("two"), by_digest(&digest)] {
        let found = storage.manifest_stat(&name, &reference).await.unwrap();
        assert_eq!((found.digest, found.media_type), (digest.clone(), Some(media_type("a/b"))));
    }
    for tag in &pushed.tags {
        let history = Key::TagHistory(name.clone(), tag.clone(), digest.clone());
        assert_eq!(storage.exists(&history).await, Ok(true), "{history}");
    }
    storage.remove(&tag_key(&name, "two")).await.unwrap();
    check(false).await;
    let deletion = Key::Deletion { repository: name.clone(), digest, id: 1 };
    storage.write(&deletion, Bytes::new()).await.unwrap();
    assert_eq!(state().await, None, "a deletion is announced");
    storage.delete(&deletion).await.unwrap();
}

/// A tag is created, and replaces no other.
async fn check_created<S: Testable>(storage: &S) {
    let (name, media) = (repository(), media_type("a/b"));
    let (one, two) = (sha256(b"one"), sha512(b"two"));
    let create = async |digest| storage.create_tag(&name, &tag("created"), digest, &media).await;
    let history = |digest: &Digest| Key::TagHistory(name.clone(), tag("created"), digest.clone());
    let key = tag_key(&name, "created");
    for _ in 0..2 {
        assert_eq!(create(&one).await, Ok(Created::Here));
        assert_eq!(create(&two).await, Ok(Created::Elsewhere(one.clone())));
        assert_eq!(storage.read(&key).await, Ok(Bytes::from(one.to_string())));
        assert_eq!(storage.exists(&history(&one)).await, Ok(true));
        assert_eq!(storage.exists(&history(&two)).await, Ok(false), "it was refused");
    }
    // As another writer may have written it.
    storage.write(&key, line(&two)).await.unwrap();
    assert_eq!(create(&two).await, Ok(Created::Here));
    assert_eq!(create(&one).await, Ok(Created::Elsewhere(two.clone())));
    storage.remove(&key).await.unwrap();
    storage.delete(&history(&one)).await.unwrap();
    assert_eq!(create(&two).await, Ok(Created::Here));
    // Of several at the same time, one succeeds at most.
    let digests: Vec<Digest> = (0..4_u8).map(|n| sha256(&[n])).collect();
    let at_once = digests.iter().map(async |digest| {
        (digest, storage.create_tag(&name, &tag("at-once"), digest, &media).await)
    });
    let outcomes = join_all(at_once).await;
    let here: Vec<_> = outcomes.iter().filter(|(_, it)| *it == Ok(Created::Here)).collect();
    assert!(here.len() <= 1, "{outcomes:?}");
    if let [(digest, _)] = here.as_slice() {
        let found = storage.read(&tag_key(&name, "at-once")).await;
        assert_eq!(found, Ok(Bytes::from(digest.to_string())));
    }
    for (_, outcome) in &outcomes {
        assert!(matches!(outcome, Ok(_) | Err(StorageError::Unavailable(_))), "{outcome:?}");
    }
}

/// A link with the line break that another writer may have added.
pub(super) fn line(digest: &Digest) -> Bytes {
    format!("{digest}\n").into()
}
