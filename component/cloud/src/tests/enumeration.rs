//! Collections: how many requests they take, and objects in between that are not
//! of the registry.

use super::{body, commit_of, content, name, new_session, sha256, storage};
use crate::CloudStorage;
use object_store::path::Path;
use roadstead_kit::body::NativeBodies;
use roadstead_kit::bucket::MemoryBucket;
use roadstead_oci::{Digest, Tag};
use roadstead_storage::{Collection, Cursor, Entry, Key, SessionFile, Storage as _, UploadSession};

/// Distribution's names of a session's objects.
const STARTED_AT: &str = "startedat";

fn fixture() -> (MemoryBucket, CloudStorage<NativeBodies>) {
    let bucket = MemoryBucket::default();
    let storage = storage(bucket.backend(""), true);
    (bucket, storage)
}

async fn put(bucket: &MemoryBucket, key: &str, value: &str) {
    bucket.objects().put(&Path::from(key), value.to_owned().into()).await.unwrap();
}

fn digest(i: u16) -> Digest {
    sha256(&i.to_be_bytes())
}

/// All entries in calls of `limit`, and the number of calls. Each call takes one
/// request.
async fn all(
    (bucket, storage): (&MemoryBucket, &CloudStorage<NativeBodies>),
    collection: &Collection,
    limit: usize,
) -> (Vec<Entry>, usize) {
    let (mut entries, mut after, mut calls) = (Vec::new(), None, 0);
    loop {
        bucket.requests();
        let listing = storage.enumerate(collection, after.as_ref(), limit).await.unwrap();
        assert_eq!(bucket.requests().len(), 1);
        assert!(listing.entries.len() <= limit);
        entries.extend(listing.entries);
        calls += 1;
        match listing.next {
            Some(next) => after = Some(next),
            None => return (entries, calls),
        }
    }
}

fn texts(entries: &[Entry]) -> Vec<String> {
    entries.iter().map(|entry| entry.key.to_string()).collect()
}

#[tokio::test]
async fn revisions_take_a_request_for_a_thousand() {
    let (bucket, storage) = fixture();
    let (a, b) = (name("a"), name("a/b"));
    for i in 0..2_500 {
        for repository in [&a, &b] {
            let key = Key::Revision(repository.clone(), digest(i));
            put(&bucket, &key.to_string(), digest(i).as_str()).await;
        }
    }
    let collection = Collection::Revisions(a.clone());
    let mut expected: Vec<String> =
        (0..2_500).map(|i| Key::Revision(a.clone(), digest(i)).to_string()).collect();
    expected.sort();
    for (limit, requests) in [(1_000, 3), (5_000, 3), (400, 7), (500, 5)] {
        let (found, calls) = all((&bucket, &storage), &collection, limit).await;
        assert_eq!(texts(&found), expected, "{limit}");
        assert_eq!(calls, requests, "{limit}");
        assert!(found.iter().all(|entry| entry.size == 71));
    }
    // From the middle on, also from a key that is not there.
    let place = expected[1_700].strip_prefix(&collection.prefix()).unwrap();
    for (after, first) in [(place.to_owned(), 1_701), (format!("{place}x"), 1_701)] {
        bucket.requests();
        let after = Cursor(after);
        let listing = storage.enumerate(&collection, Some(&after), 1_000).await.unwrap();
        assert_eq!(texts(&listing.entries), expected[first..]);
        assert_eq!((listing.next, bucket.requests().len()), (None, 1));
    }
}

#[tokio::test]
async fn blobs_take_a_request_for_a_thousand() {
    let (bucket, storage) = fixture();
    let mut expected = Vec::new();
    for i in 0..1_500 {
        let key = Key::Blob(digest(i)).to_string();
        put(&bucket, &key, &"x".repeat(usize::from(i))).await;
        expected.push((key, u64::from(i)));
    }
    expected.sort();
    let (found, calls) = all((&bucket, &storage), &Collection::Blobs, 1_000).await;
    let found: Vec<_> = found.iter().map(|entry| (entry.key.to_string(), entry.size)).collect();
    assert_eq!((found, calls), (expected, 2));
}

/// A tag's history is listed with the tags: its keys lie between theirs.
#[tokio::test]
async fn tags_with_history() {
    let (bucket, storage) = fixture();
    let a = name("a");
    let mut tags = Vec::new();
    for i in 0..300 {
        let tag = Tag::parse(&format!("v{i}")).unwrap();
        for j in 0..9 {
            let key = Key::TagHistory(a.clone(), tag.clone(), digest(j)).to_string();
            put(&bucket, &key, digest(j).as_str()).await;
        }
        let key = Key::Tag(a.clone(), tag).to_string();
        put(&bucket, &key, digest(0).as_str()).await;
        tags.push(key);
    }
    tags.sort();
    let collection = Collection::Tags(a.clone());
    for (limit, requests) in [(1_000, 3), (100, 3), (50, 6)] {
        let (found, calls) = all((&bucket, &storage), &collection, limit).await;
        assert_eq!((texts(&found), calls), (tags.clone(), requests), "{limit}");
    }
    // A long history is skipped once its tag is passed.
    let long = Tag::parse("v1").unwrap();
    for j in 0..3_500 {
        let key = Key::TagHistory(a.clone(), long.clone(), digest(j)).to_string();
        put(&bucket, &key, digest(j).as_str()).await;
    }
    let (found, calls) = all((&bucket, &storage), &collection, 1_000).await;
    assert_eq!((texts(&found), calls), (tags, 4));
    let history = Collection::TagHistory(a, long);
    let (found, calls) = all((&bucket, &storage), &history, 1_000).await;
    assert_eq!((found.len(), calls), (3_500, 4));
}

/// Sessions of this registry and of distribution, whose number of objects has no
/// limit. Returns them with their numbers of objects.
async fn fill_sessions(bucket: &MemoryBucket, counts: &[usize]) -> Vec<(UploadSession, usize)> {
    let mut sessions = Vec::new();
    for (number, &count) in (0..).zip(counts) {
        let session = UploadSession::from_random(name("a"), [number; 16]);
        let mut files: Vec<String> =
            (2..count).map(|offset| format!("hashstates/sha256/{offset:07}")).collect();
        files.extend([STARTED_AT, "data"].map(str::to_owned));
        for file in files.into_iter().take(count) {
            let file = SessionFile::parse(&file).unwrap();
            let key = Key::SessionObject(session.clone(), file).to_string();
            put(bucket, &key, "1234567").await;
        }
        sessions.push((session, count));
    }
    sessions
}

#[tokio::test]
async fn sessions_come_once_and_whole() {
    for page in [4, 7, 1_000] {
        let bucket = MemoryBucket::default().with_page(page);
        let storage = storage(bucket.backend(""), true);
        let sessions = fill_sessions(&bucket, &[2, 1, 9, 3, 23, 2, 2, 1, 4, 4, 8]).await;
        let collection = Collection::Sessions(name("a"));
        for limit in 1..=sessions.len() + 1 {
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let part = storage.enumerate(&collection, after.as_ref(), limit).await.unwrap();
                found.extend(part.entries);
                match part.next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
            let expected = sessions
                .iter()
                .map(|(session, count)| (Key::Session(session.clone()), 7 * *count as u64));
            let found = found.into_iter().map(|entry| (entry.key, entry.size));
            assert!(found.eq(expected), "page {page}, limit {limit}");
        }
        // A cursor within a session has passed it.
        for (at, (session, _)) in sessions.iter().enumerate() {
            for cursor in [format!("{}", session.id), format!("{}/{STARTED_AT}", session.id)] {
                let cursor = Some(Cursor(cursor));
                let part = storage.enumerate(&collection, cursor.as_ref(), 1).await.unwrap();
                let next = sessions.get(at + 1).map(|(next, _)| Key::Session(next.clone()));
                assert_eq!(part.entries.into_iter().next().map(|entry| entry.key), next);
            }
        }
    }
}

#[tokio::test]
async fn sessions_take_few_requests() {
    let (bucket, storage) = fixture();
    let sessions = fill_sessions(&bucket, &[20; 60]).await;
    let collection = Collection::Sessions(name("a"));
    let (found, calls) = all((&bucket, &storage), &collection, 1_000).await;
    assert_eq!((found.len(), calls), (sessions.len(), 2));
    // One that is larger than a page takes as many requests as it has pages.
    let bucket = MemoryBucket::default();
    let storage = super::storage(bucket.backend(""), true);
    fill_sessions(&bucket, &[5, 2_600, 5]).await;
    bucket.requests();
    let (mut sizes, mut after) = (Vec::new(), None);
    loop {
        let part = storage.enumerate(&collection, after.as_ref(), 1_000).await.unwrap();
        sizes.extend(part.entries.into_iter().map(|entry| entry.size / 7));
        match part.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(sizes, [5, 2_600, 5]);
    let requests = bucket.requests().len();
    assert!(requests <= 5, "{requests}");
}

/// The time of a session is that of its last object.
#[tokio::test]
async fn sessions_have_the_time_of_their_last_object() {
    let (bucket, storage) = fixture();
    let session = new_session(&storage, &name("a"));
    storage.append(&session, Some(0), None, body(&content(6 * 1024 * 1024))).await.unwrap();
    let other = Key::SessionObject(session.clone(), SessionFile::parts(1)).to_string();
    put(&bucket, &other, "later").await;
    let prefix = Path::from(Key::Session(session.clone()).to_string());
    let objects = bucket.objects().list_with_delimiter(Some(&prefix)).await.unwrap().objects;
    assert_eq!(objects.len(), 2);
    let collection = Collection::Sessions(name("a"));
    let part = storage.enumerate(&collection, None, 9).await.unwrap();
    assert_eq!(part.entries.len(), 1);
    let last = objects.iter().map(|object| object.last_modified).max().unwrap();
    assert_eq!(part.entries[0].modified, std::time::SystemTime::from(last));
    assert_eq!(part.entries[0].size, objects.iter().map(|object| object.size).sum::<u64>());
}

/// A bucket that distribution filled, with other programs' objects in between.
#[tokio::test]
async fn objects_that_are_not_of_the_registry_are_skipped() {
    let (bucket, storage) = fixture();
    let a = name("a");
    let link = |i| Key::Revision(a.clone(), digest(i)).to_string();
    let repository = "docker/registry/v2/repositories/a";
    put(&bucket, &link(1), digest(1).as_str()).await;
    put(&bucket, &link(2), digest(2).as_str()).await;
    for other in [
        format!("{}.bak", link(1)),
        format!("{repository}/_manifests/revisions/sha256/0000/link"),
        format!("{repository}/_manifests/revisions/sha256/readme"),
        format!("{repository}/_manifests/revisions/zzz"),
        format!("{repository}/_manifests/tags/.hidden/current/link"),
        format!("{repository}/_uploads/note"),
        format!("{repository}/_uploads/not-an-id/data"),
        "docker/registry/v2/blobs/note".to_owned(),
    ] {
        put(&bucket, &other, "other").await;
    }
    // What directories have and buckets do not.
    let media_type = Key::MediaType(a.clone(), digest(1)).to_string();
    put(&bucket, &media_type, "application/json").await;
    let hint = Key::Hint(digest(1), a.clone()).to_string();
    put(&bucket, &hint, "").await;
    storage.store(&commit_of(&new_session(&storage, &a), &digest(1)), body(&[0, 1])).await.unwrap();

    for limit in [1, 2, 1_000] {
        let of = async |collection| all((&bucket, &storage), &collection, limit).await.0;
        let mut expected = [link(1), link(2)];
        expected.sort();
        assert_eq!(texts(&of(Collection::Revisions(a.clone())).await), expected);
        let blob = Key::Blob(digest(1)).to_string();
        assert_eq!(texts(&of(Collection::Blobs).await), [blob]);
        let layer = Key::Layer(a.clone(), digest(1)).to_string();
        assert_eq!(texts(&of(Collection::Layers(a.clone())).await), [layer]);
        assert_eq!(of(Collection::Tags(a.clone())).await, []);
        assert_eq!(of(Collection::Sessions(a.clone())).await, []);
    }
}

/// Not all stores begin a list where they are asked to.
#[tokio::test]
async fn a_store_that_begins_at_the_beginning() {
    let bucket = MemoryBucket::default().with_page(10).without_offsets();
    let storage = storage(bucket.backend(""), true);
    for i in 0..95 {
        let key = Key::Revision(name("a"), digest(i)).to_string();
        put(&bucket, &key, digest(i).as_str()).await;
    }
    let collection = Collection::Revisions(name("a"));
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let part = storage.enumerate(&collection, after.as_ref(), 15).await.unwrap();
        found.extend(part.entries.into_iter().map(|entry| entry.key));
        match part.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    let mut expected: Vec<Key> = (0..95).map(|i| Key::Revision(name("a"), digest(i))).collect();
    expected.sort_by_key(Key::to_string);
    assert_eq!(found, expected);
}
