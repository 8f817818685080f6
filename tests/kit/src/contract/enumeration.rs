//! Collections: all objects of a kind, in the order of their keys, in pages
//! that can be resumed.

use super::{
    Testable, body, commit_of, content, media_type, new_session, repository, sha256, sha512, store,
    tag, tag_key,
};
use bytes::Bytes;
use roadstead_oci::{Digest, RepositoryName};
use roadstead_storage::{
    Collection, Cursor, Entry, EventName, Key, QuotaName, QuotaRecord, Record, Shard, Storage,
    UploadSession,
};
use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

/// How far the storage's clock may be from this one.
const CLOCK_SLACK: Duration = Duration::from_mins(1);

/// How long a list may show what was deleted, where it may at all.
const GONE_LIMIT: Duration = Duration::from_mins(1);

/// How often to look whether it still does.
const POLL_PAUSE: Duration = Duration::from_millis(50);

/// The most calls that any enumeration here may take: a page each for few
/// objects, and more where an adapter reads many that are not of the
/// collection.
const CALLS: usize = 10_000;

/// The page size with which all blobs of the storage are read.
const BLOBS_PAGE: usize = 1000;

pub(super) async fn check<S: Testable>(storage: &S, exclusive: bool) {
    check_repository(storage).await;
    check_blobs(storage, exclusive).await;
    check_records(storage).await;
    check_sessions(storage).await;
    check_ended_sessions(storage).await;
    check_changes(storage).await;
    check_nothing(storage).await;
}

/// All entries of a collection after a place, in pages of at most `limit`.
async fn entries<S: Storage>(
    storage: &S,
    collection: &Collection,
    mut after: Option<Cursor>,
    limit: usize,
) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for _ in 0..CALLS {
        let page = storage.enumerate(collection, after.as_ref(), limit).await.unwrap();
        assert!(page.entries.len() <= limit, "{} of at most {limit}", page.entries.len());
        entries.extend(page.entries);
        if page.next.is_none() {
            let keys: Vec<_> = entries.iter().map(|entry| entry.key.to_string()).collect();
            assert!(keys.is_sorted_by(|a, b| a < b), "in order, each once: {keys:#?}");
            return entries;
        }
        after = page.next;
    }
    panic!("{collection:?} does not end after {CALLS} calls");
}

/// What a collection should have: keys as they are printed, in their order,
/// with the sizes in bytes.
type Expected = BTreeMap<String, u64>;

fn expected(keys: impl IntoIterator<Item = (Key, u64)>) -> Expected {
    keys.into_iter().map(|(key, size)| (key.to_string(), size)).collect()
}

/// Entries, which are in their order already.
fn printed(entries: Vec<Entry>) -> Expected {
    expected(entries.into_iter().map(|entry| (entry.key, entry.size)))
}

/// Every page size gives the same entries, and every key is a place to resume
/// at.
async fn check_all<S: Storage>(
    storage: &S,
    collection: &Collection,
    expected: &Expected,
    began: SystemTime,
) {
    for limit in 1..=expected.len() + 1 {
        let found = entries(storage, collection, None, limit).await;
        check_times(&found, began);
        assert_eq!(printed(found), *expected, "limit {limit}");
    }
    for (place, key) in expected.keys().enumerate() {
        let relative = key.strip_prefix(&collection.prefix()).unwrap();
        let after = Some(Cursor(relative.to_owned()));
        let found = entries(storage, collection, after, expected.len()).await;
        let found: Vec<_> = found.into_iter().map(|entry| entry.key.to_string()).collect();
        let rest: Vec<_> = expected.keys().skip(place + 1).cloned().collect();
        assert_eq!(found, rest, "after {relative}");
    }
    let after = Some(Cursor("~".to_owned()));
    assert_eq!(entries(storage, collection, after, 9).await, []);
}

/// The objects were written between `began` and now.
fn check_times(entries: &[Entry], began: SystemTime) {
    let possible = began - CLOCK_SLACK..=SystemTime::now() + CLOCK_SLACK;
    for Entry { key, modified, .. } in entries {
        assert!(possible.contains(modified), "{key}: {modified:?} is not in {possible:?}");
    }
}

/// A repository with objects of every kind, so that each collection has
/// objects of others in between.
async fn check_repository<S: Testable>(storage: &S) {
    let (name, began) = (repository(), SystemTime::now());
    let digests: Vec<Digest> = (0..7)
        .map(|number| if number % 3 == 0 { sha512 } else { sha256 })
        .map(|digest_of| digest_of(&content(9)))
        .collect();
    let length = |digest: &Digest| digest.as_str().len() as u64;
    let media = media_type("application/vnd.example+json");

    let (mut layers, mut revisions) = (Vec::new(), Vec::new());
    for digest in &digests {
        for (keys, key) in [
            (&mut layers, Key::Layer(name.clone(), digest.clone())),
            (&mut revisions, Key::Revision(name.clone(), digest.clone())),
        ] {
            storage.link(&key, digest, Some(&media)).await.unwrap();
            keys.push((key, length(digest)));
        }
    }
    let (mut tags, mut histories) = (Vec::new(), BTreeMap::new());
    for text in ["_hint-a", "_uploads", "A", "a", "a-b", "a-b-c", "a.b", "a0", "link", "index"] {
        let key = tag_key(&name, text);
        storage.link(&key, &digests[0], Some(&media)).await.unwrap();
        tags.push((key, length(&digests[0])));
        let mut history = Vec::new();
        for digest in &digests[..3] {
            let key = Key::TagHistory(name.clone(), tag(text), digest.clone());
            storage.link(&key, digest, None).await.unwrap();
            history.push((key, length(digest)));
        }
        histories.insert(text, history);
    }
    // A tag that points nowhere.
    let history = Key::TagHistory(name.clone(), tag("a-"), digests[0].clone());
    storage.link(&history, &digests[0], None).await.unwrap();
    let referrers = write_referrers(storage, &name, &digests).await;
    storage.begin(&new_session(storage, &name)).await.unwrap();
    write_neighbours(storage, &name).await;
    let announced = write_announcements(storage, &name, &digests).await;
    let [moved, revisions_moved, cached] = write_condemned(storage, &name, &digests[..4]).await;
    let [tags_moved, pulled] = write_of_retention(storage, &name).await;

    for (collection, keys) in [
        (Collection::Deletions(name.clone()), announced),
        (Collection::Moved(name.clone()), moved),
        (Collection::MovedRevisions(name.clone()), revisions_moved),
        (Collection::MovedTags(name.clone()), tags_moved),
        (Collection::Pulled(name.clone()), pulled),
        (Collection::References(name.clone()), cached),
        (Collection::Layers(name.clone()), layers),
        (Collection::Revisions(name.clone()), revisions),
        (Collection::Tags(name.clone()), tags),
        (Collection::Referrers(name.clone()), referrers),
    ] {
        check_all(storage, &collection, &expected(keys), began).await;
    }
    check_quotas(storage, began).await;
    check_events(storage, began).await;
    let mut all: Vec<_> = histories.values().flatten().cloned().collect();
    all.push((history, length(&digests[0])));
    check_all(storage, &Collection::TagHistories(name.clone()), &expected(all), began).await;
    for (text, keys) in histories {
        let collection = Collection::TagHistory(name.clone(), tag(text));
        check_all(storage, &collection, &expected(keys), began).await;
    }
    // Each is listed where it is written over, and nowhere when it is gone.
    storage.write(&tag_key(&name, "a"), Bytes::from_static(b"12345")).await.unwrap();
    storage.remove(&tag_key(&name, "a-b")).await.unwrap();
    let found = entries(storage, &Collection::Tags(name.clone()), None, 3).await;
    assert_eq!(found.len(), 9);
    let written = found.iter().find(|entry| entry.key == tag_key(&name, "a")).unwrap();
    assert_eq!(written.size, 5);
}

/// Announcements of all kinds.
async fn write_announcements<S: Storage>(
    storage: &S,
    name: &RepositoryName,
    digests: &[Digest],
) -> Vec<(Key, u64)> {
    let deletions = [(0, 1), (0, 2), (1, u128::MAX)].map(|(digest, id)| {
        let digest: &Digest = &digests[digest];
        Key::Deletion { repository: name.clone(), digest: digest.clone(), id }
    });
    let whole = [7, 1 << 100].map(|id| Key::RepositoryDeletion { repository: name.clone(), id });
    let moves = [0, 7].map(|id| Key::Moves { repository: name.clone(), id });
    let mut written = Vec::new();
    for key in deletions.into_iter().chain(whole).chain(moves) {
        storage.write(&key, Bytes::from_static(b"a tag")).await.unwrap();
        written.push((key, 5));
    }
    written
}

/// What is remembered of two quotas, of which the name of one is the beginning of the other's.
async fn check_quotas<S: Testable>(storage: &S, began: SystemTime) {
    for name in ["q", "q-1"] {
        let quota = QuotaName::parse(name).unwrap();
        let mut keys = Vec::new();
        for (record, length) in [
            (QuotaRecord::AddedBlob { blob: 7, size: 9, id: 1 }, 0),
            (QuotaRecord::AddedBlob { blob: 7, size: 10, id: 1 }, 0),
            (QuotaRecord::AddedTag { tag: 1 << 127, id: 1 }, 0),
            (QuotaRecord::Begun(3), 0),
            (QuotaRecord::Count { begun: 7, id: 9 }, 20),
            (QuotaRecord::Count { begun: 1 << 40, id: 1 }, 20),
            (QuotaRecord::Counting, 30),
            (QuotaRecord::Found(2, 0), 40),
            (QuotaRecord::Found(2, 255), 50),
        ] {
            let key = Key::Quota(quota.clone(), record);
            storage.write(&key, content(length)).await.unwrap();
            keys.push((key, length as u64));
        }
        let neighbour = Key::Quota(QuotaName::parse("q-").unwrap(), QuotaRecord::Counting);
        storage.write(&neighbour, content(1)).await.unwrap();
        let collection = Collection::Quota(quota);
        check_all(storage, &collection, &expected(keys), began).await;
        storage.delete(&neighbour).await.unwrap();
        for entry in entries(storage, &collection, None, 3).await {
            storage.delete(&entry.key).await.unwrap();
        }
    }
}

/// Events, the oldest first.
async fn check_events<S: Testable>(storage: &S, began: SystemTime) {
    let mut keys = Vec::new();
    for (pulls, time, id, length) in [
        (false, 1, 7, 3),
        (false, 1, 8, 0),
        (false, 1 << 40, 1, 100_000),
        (false, u64::MAX, 0, 1),
        (true, 0, 0, 1),
        (true, 1, 1, 2),
    ] {
        let key = Key::Events(EventName { pulls, time, id });
        storage.write(&key, content(length)).await.unwrap();
        keys.push((key, length as u64));
    }
    check_all(storage, &Collection::Events, &expected(keys), began).await;
    for entry in entries(storage, &Collection::Events, None, 3).await {
        storage.delete(&entry.key).await.unwrap();
    }
}

/// What a collector writes: moved links, and references.
async fn write_condemned<S: Storage>(
    storage: &S,
    name: &RepositoryName,
    digests: &[Digest],
) -> [Vec<(Key, u64)>; 3] {
    let (mut moved, mut revisions, mut references) = (Vec::new(), Vec::new(), Vec::new());
    for digest in digests {
        let length = digest.as_str().len();
        let key = Key::MovedLayer(name.clone(), digest.clone());
        storage.link(&key, digest, None).await.unwrap();
        moved.push((key, length as u64));
        let key = Key::MovedRevision(name.clone(), digest.clone());
        storage.write(&key, content(length)).await.unwrap();
        revisions.push((key, length as u64));
        let key = Key::References(name.clone(), digest.clone());
        storage.write(&key, content(length)).await.unwrap();
        references.push((key, length as u64));
    }
    [moved, revisions, references]
}

/// What retention writes: removed tags, and when tags were pulled.
async fn write_of_retention<S: Storage>(
    storage: &S,
    name: &RepositoryName,
) -> [Vec<(Key, u64)>; 2] {
    let (mut moved, mut pulled) = (Vec::new(), Vec::new());
    for text in ["_a", "A", "a", "a-b", "a.b", "link", "tags"] {
        for (keys, key) in [
            (&mut moved, Key::MovedTag(name.clone(), tag(text))),
            (&mut pulled, Key::Pulled(name.clone(), tag(text))),
        ] {
            storage.write(&key, content(9)).await.unwrap();
            keys.push((key, 9));
        }
    }
    [moved, pulled]
}

/// Referrers of two subjects, and that they are complete.
async fn write_referrers<S: Storage>(
    storage: &S,
    name: &RepositoryName,
    digests: &[Digest],
) -> Vec<(Key, u64)> {
    let mut referrers = Vec::new();
    for (number, digest) in digests.iter().enumerate() {
        let subject = if number % 2 == 0 { sha256(b"subject") } else { sha512(b"subject") };
        let (repository, digest) = (name.clone(), digest.clone());
        let key = Key::Referrer { repository, subject, digest };
        storage.write(&key, content(number + 1)).await.unwrap();
        referrers.push((key, number as u64 + 1));
    }
    storage.write(&Key::ReferrersComplete(name.clone()), Bytes::new()).await.unwrap();
    referrers
}

/// Objects of repositories beside and below this one.
async fn write_neighbours<S: Storage>(storage: &S, name: &RepositoryName) {
    for path in ["a", "-a", ".a", "0", "/link", "/tags/a"] {
        let neighbour = RepositoryName::parse(&format!("{name}{path}")).unwrap();
        let digest = sha256(b"neighbour");
        for key in [
            tag_key(&neighbour, "neighbour"),
            Key::Layer(neighbour.clone(), digest.clone()),
            Key::Revision(neighbour, digest.clone()),
        ] {
            storage.link(&key, &digest, None).await.unwrap();
        }
    }
}

/// Waits until lists no longer show a blob that was deleted.
async fn wait_until_gone<S: Testable>(storage: &S, gone: &Key) {
    let began = Instant::now();
    while entries(storage, &Collection::Blobs, None, BLOBS_PAGE)
        .await
        .iter()
        .any(|entry| entry.key == *gone)
    {
        assert!(began.elapsed() < GONE_LIMIT, "{gone} is still listed");
        storage.pause(POLL_PAUSE).await;
    }
}

/// Blobs are those of all repositories, so others may come in between.
async fn check_blobs<S: Testable>(storage: &S, exclusive: bool) {
    let (began, mut written) = (SystemTime::now(), Vec::new());
    for (size, digest_of) in [(1, sha256 as fn(&[u8]) -> Digest), (40, sha512), (70_000, sha256)] {
        // Two repositories hold each: what says so lies beside the blob.
        let bytes = content(size);
        let digest = digest_of(&bytes);
        store(storage, &repository(), &digest, &bytes).await;
        let link = Key::Layer(repository(), digest.clone());
        storage.link(&link, &digest, None).await.unwrap();
        written.push((Key::Blob(digest), size as u64));
    }
    let manifest = content(300);
    let key = Key::Blob(sha256(&manifest));
    storage.write(&key, manifest).await.unwrap();
    written.push((key, 300));
    // Two are condemned, and one of them needed.
    let digests = [sha256(&content(1)), sha256(&content(300))];
    for (key, value) in [
        (Key::Tombstone(digests[0].clone()), "one"),
        (Key::Tombstone(digests[1].clone()), "two"),
        (Key::Need(digests[1].clone()), ""),
    ] {
        storage.write(&key, Bytes::from_static(value.as_bytes())).await.unwrap();
        written.push((key, value.len() as u64));
    }
    let gone = Key::Blob(sha256(&content(9)));
    storage.write(&gone, Bytes::from_static(b"gone")).await.unwrap();
    storage.remove(&gone).await.unwrap();
    if !exclusive {
        wait_until_gone(storage, &gone).await;
    }

    let written = expected(written);
    for limit in [7, BLOBS_PAGE] {
        let found = entries(storage, &Collection::Blobs, None, limit).await;
        assert!(found.iter().all(|entry| entry.key != gone));
        let (ours, others): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|entry| written.contains_key(&entry.key.to_string()));
        check_times(&ours, began);
        check_times(&others, SystemTime::UNIX_EPOCH + CLOCK_SLACK);
        assert_eq!(printed(ours), written, "limit {limit}");
    }
    // From each of them on: the next is the first of ours.
    let keys: Vec<_> = written.keys().collect();
    for pair in keys.windows(2) {
        let relative = pair[0].strip_prefix(&Collection::Blobs.prefix()).unwrap();
        let after = Some(Cursor(relative.to_owned()));
        let found = entries(storage, &Collection::Blobs, after, BLOBS_PAGE).await;
        let found: Vec<_> = found.into_iter().map(|entry| entry.key.to_string()).collect();
        let first = found.iter().find(|key| written.contains_key(*key));
        assert_eq!(first, Some(pair[1]));
    }
}

async fn check_records<S: Storage>(storage: &S) {
    let (began, run) = (SystemTime::now(), u128::MAX / 3);
    let shard = Shard::of("b").unwrap();
    let mut written = Vec::new();
    for record in [
        Record::Marker,
        Record::Lease,
        Record::Sighted(shard),
        Record::Begun(run),
        Record::State(run),
        Record::Live(run, shard, 0),
        Record::Live(run, shard, 10),
        Record::Actions(run, 9),
        Record::Failure(run),
        Record::Report(run),
    ] {
        let key = Key::Record(record);
        let value = content(key.value_limit().min(20));
        written.push((key.clone(), value.len() as u64));
        storage.write(&key, value).await.unwrap();
    }
    let written = expected(written);
    check_all(storage, &Collection::Records, &written, began).await;
    for key in written.keys() {
        storage.remove(&Key::parse(key).unwrap()).await.unwrap();
    }
    assert_eq!(entries(storage, &Collection::Records, None, 9).await, []);
}

/// A session is one entry, with the bytes of all its objects. One without bytes
/// need not be stored.
async fn check_sessions<S: Testable>(storage: &S) {
    /// How much more than its content the objects of a session may have.
    const OVERHEAD: u64 = 64 * 1024;
    let (name, began) = (repository(), SystemTime::now());
    let mut sessions: BTreeMap<String, (UploadSession, u64)> = BTreeMap::new();
    let mut empty = Vec::new();
    for size in [0, 11, 0, 5_000, 300_000, 1] {
        let session = new_session(storage, &name);
        storage.begin(&session).await.unwrap();
        if size == 0 {
            empty.push(Key::Session(session));
            continue;
        }
        // In two pieces, so that an adapter may have several objects of it.
        let bytes = content(size);
        for piece in [&bytes[..size / 3], &bytes[size / 3..]] {
            storage.append(&session, None, None, body(piece)).await.unwrap();
        }
        sessions.insert(Key::Session(session.clone()).to_string(), (session, size as u64));
    }
    // A session of a neighbour is none of this repository's.
    let neighbour = RepositoryName::parse(&format!("{name}/a")).unwrap();
    let session = new_session(storage, &neighbour);
    storage.begin(&session).await.unwrap();
    storage.append(&session, None, None, body(b"x")).await.unwrap();

    let collection = Collection::Sessions(name.clone());
    for limit in 1..=sessions.len() + 3 {
        let mut found = entries(storage, &collection, None, limit).await;
        check_times(&found, began);
        found.retain(|entry| !empty.contains(&entry.key));
        let keys: Vec<_> = found.iter().map(|entry| entry.key.to_string()).collect();
        assert_eq!(keys, sessions.keys().cloned().collect::<Vec<_>>(), "limit {limit}");
        for (entry, (session, size)) in found.into_iter().zip(sessions.values()) {
            assert_eq!(entry.key, Key::Session(session.clone()));
            let possible = *size..=size + OVERHEAD;
            assert!(possible.contains(&entry.size), "{session}: {} bytes", entry.size);
        }
    }
    // More bytes: the entry grows.
    let (session, size) = sessions.values().next().unwrap();
    storage.append(session, None, None, body(&content(2_000))).await.unwrap();
    let found = entries(storage, &collection, None, 1).await;
    let grown = found.iter().find(|entry| entry.key == Key::Session(session.clone())).unwrap();
    assert!((size + 2_000..=size + 2_000 + OVERHEAD).contains(&grown.size), "{grown:?}");
}

/// What has ended may have left a trace, but it is never a session of its own,
/// and takes the place of none.
async fn check_ended_sessions<S: Testable>(storage: &S) {
    let name = repository();
    let (mut open, mut ended) = (Vec::new(), Vec::new());
    for number in 0..9 {
        let session = new_session(storage, &name);
        storage.begin(&session).await.unwrap();
        let bytes = content(100);
        storage.append(&session, None, None, body(&bytes)).await.unwrap();
        match number % 3 {
            0 => storage.discard(&session).await.unwrap(),
            1 => drop(storage.commit(&commit_of(&session, &sha256(&bytes))).await.unwrap()),
            _ => {}
        }
        let sessions = if number % 3 == 2 { &mut open } else { &mut ended };
        sessions.push(Key::Session(session).to_string());
    }
    open.sort();
    for limit in 1..=10 {
        let found = entries(storage, &Collection::Sessions(name.clone()), None, limit).await;
        let keys = found.into_iter().map(|entry| entry.key.to_string());
        let left: Vec<_> = keys.filter(|key| !ended.contains(key)).collect();
        assert_eq!(left, open, "limit {limit}");
    }
}

/// A cursor stays valid however the collection changes.
async fn check_changes<S: Testable>(storage: &S) {
    let (name, digest) = (repository(), sha256(b"manifest"));
    let link = async |text: &str| {
        storage.link(&tag_key(&name, text), &digest, None).await.unwrap();
    };
    let all = ["b", "d", "f", "h", "j", "l", "n"];
    let collection = Collection::Tags(name.clone());
    for limit in 1..all.len() {
        for text in all {
            link(text).await;
        }
        // To the place after which at least one entry was given.
        let (mut found, mut after) = (Vec::new(), None);
        while found.is_empty() {
            let page = storage.enumerate(&collection, after.as_ref(), limit).await.unwrap();
            found.extend(page.entries);
            after = page.next;
            assert!(after.is_some(), "{} of {} at most {limit}", found.len(), all.len());
        }
        // It goes at the place itself, before it and after it.
        let here = found.last().unwrap().key.clone();
        storage.remove(&here).await.unwrap();
        let gone = tag_key(&name, "l");
        storage.delete(&gone).await.unwrap();
        for text in ["a", "k", "z"] {
            link(text).await;
        }
        storage.link(&Key::Layer(name.clone(), digest.clone()), &digest, None).await.unwrap();
        let found: Vec<_> = found.into_iter().map(|entry| entry.key).collect();
        let rest = entries(storage, &collection, after, limit).await;
        let rest: Vec<_> = rest.into_iter().map(|entry| entry.key).collect();
        let new = ["k", "z"].map(|text| tag_key(&name, text));
        let stable = |key: &&Key| !new.contains(key) && **key != gone;
        let seen: Vec<_> = found.iter().chain(&rest).filter(stable).cloned().collect();
        let expected: Vec<_> = all.map(|text| tag_key(&name, text)).into();
        let expected: Vec<_> = expected.iter().filter(stable).cloned().collect();
        assert_eq!(seen, expected, "limit {limit}");
        for text in ["a", "k", "z"] {
            storage.remove(&tag_key(&name, text)).await.unwrap();
        }
    }
}

/// Collections of a repository that is not there.
async fn check_nothing<S: Testable>(storage: &S) {
    let name = repository();
    for collection in [
        Collection::Layers(name.clone()),
        Collection::Revisions(name.clone()),
        Collection::Tags(name.clone()),
        Collection::TagHistory(name.clone(), tag("latest")),
        Collection::TagHistories(name.clone()),
        Collection::Referrers(name.clone()),
        Collection::Sessions(name),
    ] {
        for after in [None, Some(Cursor("a".to_owned())), Some(Cursor("sha256/0".to_owned()))] {
            assert_eq!(entries(storage, &collection, after, 9).await, [], "{collection:?}");
        }
    }
}
