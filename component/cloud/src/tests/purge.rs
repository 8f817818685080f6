//! Purges: what is removed of uploads that never ended, and by how many requests.

use super::{body, commit_of, content, name, new_session, sha256};
use crate::uploads::{PURGE_LIMIT, Purge, Purged};
use crate::{CloudStorage, Options, PurgeLine, Purging};
use object_store::multipart::MultipartStore as _;
use object_store::path::Path;
use roadstead_buckets::Backend;
use roadstead_kit::body::NativeBodies;
use roadstead_kit::bucket::{Conditions, MemoryBucket};
use roadstead_oci::RepositoryName;
use roadstead_storage::{Key, SessionFile, Storage as _, StorageError, UploadSession};
use std::cell::RefCell;
use std::time::{Duration, SystemTime};

const MIB: usize = 1024 * 1024;
const PROGRESS: &str = ".roadstead/upload-purge";
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
const WEEK: Duration = Duration::from_hours(168);

fn repository() -> RepositoryName {
    name("some/repository")
}

thread_local! {
    /// The lines of this test.
    static LINES: RefCell<Vec<(PurgeLine, String)>> = const { RefCell::new(Vec::new()) };
}

fn lines() -> Vec<(PurgeLine, String)> {
    LINES.take()
}

const PURGING: Purging = Purging {
    age: WEEK,
    interval: DAY,
    dry_run: false,
    log: |line, text| LINES.with_borrow_mut(|lines| lines.push((line, text.to_owned()))),
};

fn storage_in(backend: Backend, purging: Purging) -> CloudStorage<NativeBodies> {
    let secret = Some(b"secret".to_vec());
    CloudStorage::new(backend, Options { secret, purging: Some(purging) })
}

/// A purge after this time from now.
fn after(storage: &CloudStorage<NativeBodies>, purging: Purging, time: Duration) -> Purge<'_> {
    Purge::at(&storage.uploads, purging, SystemTime::now() + time).unwrap()
}

fn record_of(session: &UploadSession) -> String {
    Key::SessionObject(session.clone(), SessionFile::record()).to_string()
}

/// Keys but that of the progress.
async fn keys(bucket: &MemoryBucket) -> Vec<String> {
    let keys = bucket.keys().await.into_iter();
    keys.filter(|key| !key.ends_with(PROGRESS)).collect()
}

/// With lists of multipart uploads, and nothing else of S3.
fn like_google(bucket: &MemoryBucket) -> Backend {
    Backend { s3: None, ..bucket.like_s3("") }
}

/// A session to which 12 MiB were sent, by two parts and a record.
async fn begun(storage: &CloudStorage<NativeBodies>, repository: &RepositoryName) -> UploadSession {
    let session = new_session(storage, repository);
    storage.append(&session, None, None, body(&content(12 * MIB))).await.unwrap();
    session
}

async fn put(bucket: &MemoryBucket, key: &str, bytes: &'static [u8]) {
    bucket.objects().put(&Path::from(key), bytes.into()).await.unwrap();
}

#[tokio::test]
async fn old_uploads_are_removed_and_nothing_else() {
    for like_s3 in [false, true] {
        let bucket = MemoryBucket::default();
        let backend = if like_s3 { bucket.like_s3("") } else { bucket.backend("") };
        let storage = storage_in(backend, PURGING);
        let session = begun(&storage, &repository()).await;
        let early = after(&storage, PURGING, WEEK / 2);
        assert_eq!(early.sessions(&repository(), None).await, Ok((Purged::default(), None)));
        assert_eq!(bucket.keys().await, [record_of(&session)]);
        let (digest, ended) = (sha256(b"blob"), new_session(&storage, &repository()));
        storage.store(&commit_of(&ended, &digest), body(b"blob")).await.unwrap();
        storage.discard(&new_session(&storage, &repository())).await.unwrap();
        let purged = after(&storage, PURGING, WEEK + HOUR).sessions(&repository(), None).await;
        let expected = Purged { uploads: 1, bytes: 12 * MIB as u64, records: 1 };
        assert_eq!(purged, Ok((expected, None)));
        let link = Key::Layer(repository(), digest.clone()).to_string();
        assert_eq!(bucket.keys().await, [Key::Blob(digest).to_string(), link]);
        assert_eq!(bucket.open_uploads(), 0);
    }
}

/// By the age of the settings, though the identifier alone would still stand for a
/// session: what says that it has ended stays until it does not.
#[tokio::test]
async fn an_age_below_a_day_is_kept_to() {
    for (conditions, google) in [
        (Conditions::Honoured, false),
        (Conditions::Honoured, true),
        (Conditions::Refused, false),
        (Conditions::Ignored, false),
    ] {
        let bucket = MemoryBucket::default().with_conditions(conditions);
        let purging = Purging { age: 2 * HOUR, ..PURGING };
        let backend = if google { like_google(&bucket) } else { bucket.like_s3("") };
        let storage = storage_in(backend, purging);
        let session = begun(&storage, &repository()).await;
        let mut removed = Purged::default();
        // A store that refuses conditions is known by its first refusal.
        for _ in 0..2 {
            let purge = after(&storage, purging, 3 * HOUR);
            removed = purge.sessions(&repository(), None).await.unwrap().0;
            if removed.uploads > 0 {
                break;
            }
        }
        assert_eq!((removed.uploads, removed.bytes), (1, 12 * MIB as u64), "{conditions:?}");
        assert_eq!(bucket.open_uploads(), 0);
        assert_eq!(storage.status(&session).await, Err(StorageError::NotFound));
        assert_eq!(keys(&bucket).await, [record_of(&session)]);
        let later = after(&storage, purging, 30 * HOUR).sessions(&repository(), None).await;
        assert_eq!(later, Ok((Purged { records: 1, ..Purged::default() }, None)));
        assert_eq!(keys(&bucket).await, [""; 0]);
    }
    // Without a list of parts, or the permission to read it, nothing says that a request is
    // sending some.
    for listed in [false, true] {
        let bucket = MemoryBucket::default();
        let purging = Purging { age: 2 * HOUR, ..PURGING };
        let backend = if listed { like_google(&bucket) } else { bucket.backend("") };
        let storage = storage_in(backend, purging);
        begun(&storage, &repository()).await;
        let refuse = || {
            if listed {
                bucket.fail_next("PARTS");
            }
        };
        refuse();
        let purge = after(&storage, purging, 25 * HOUR);
        assert_eq!(purge.sessions(&repository(), None).await, Ok((Purged::default(), None)));
        refuse();
        let purge = after(&storage, purging, 27 * HOUR);
        assert_eq!(purge.sessions(&repository(), None).await.unwrap().0.uploads, 1);
    }
}

/// The age counts from the last byte: of the record, of a part, and of a session of
/// another registry.
#[tokio::test]
async fn uploads_that_go_on_are_kept() {
    let bucket = MemoryBucket::default();
    let short = Purging { age: Duration::from_mins(1), ..PURGING };
    let storage = storage_in(bucket.like_s3(""), short);
    let session = begun(&storage, &repository()).await;
    // The least age is an hour.
    let purge = after(&storage, short, HOUR / 2);
    assert_eq!(purge.sessions(&repository(), None).await, Ok((Purged::default(), None)));
    let lists = bucket.like_s3("").uploads.unwrap();
    assert_eq!(purge.multiparts(&*lists, None).await, Ok((Purged::default(), None)));
    assert_eq!(bucket.open_uploads(), 1);
    assert_eq!(storage.status(&session).await, Ok(12 * MIB as u64));
    // Of two sessions the other one is young by a single object.
    let foreign = UploadSession::from_random(name("b"), [7; 16]);
    let place = Key::Session(foreign.clone()).to_string();
    put(&bucket, &format!("{place}/startedat"), b"2026-01-02T03:04:05Z").await;
    put(&bucket, &format!("{place}/hashstates/sha256/8"), b"state").await;
    let between = SystemTime::now();
    tokio::time::sleep(Duration::from_millis(5)).await;
    let at = |time| Purge::at(&storage.uploads, short, time + HOUR).unwrap();
    put(&bucket, &format!("{place}/hashstates/sha256/9"), b"state").await;
    let purge = at(between);
    assert_eq!(purge.sessions(&name("b"), None).await, Ok((Purged::default(), None)));
    assert_eq!(purge.sessions(&repository(), None).await.unwrap().0.uploads, 1);
    let purge = after(&storage, short, 2 * HOUR);
    assert_eq!(purge.sessions(&name("b"), None).await.unwrap().0, {
        Purged { uploads: 1, bytes: 30, records: 0 }
    });
    assert_eq!(keys(&bucket).await.len(), 1, "the mark of ours");
    // A request that sends parts while the record is as old as it was.
    let session = begun(&storage, &repository()).await;
    let between = SystemTime::now();
    tokio::time::sleep(Duration::from_millis(5)).await;
    let open = lists.list_uploads("", None, 10).await.unwrap().uploads.remove(0);
    bucket.put_part(&open.key, &open.id, 2, content(MIB).into()).await.unwrap();
    for purged in [
        at(between).sessions(&repository(), None).await.unwrap().0,
        at(between).multiparts(&*lists, None).await.unwrap().0,
    ] {
        assert_eq!(purged.uploads, 0);
    }
    assert_eq!(storage.status(&session).await, Ok(12 * MIB as u64));
}

/// Also those whose session has no record, or none that names them.
#[tokio::test]
async fn multipart_uploads_are_found_by_the_list_of_the_store() {
    let bucket = MemoryBucket::default();
    let storage = storage_in(bucket.like_s3("some/place"), PURGING);
    let (one, two) =
        (begun(&storage, &name("idle")).await, UploadSession::from_random(name("b"), [7; 16]));
    let lists = bucket.like_s3("").uploads.unwrap();
    let create = async |key: &str, size: usize| {
        let path = Path::from(key);
        let id = bucket.create_multipart(&path).await.unwrap();
        bucket.put_part(&path, &id, 0, content(size).into()).await.unwrap();
    };
    // As a killed process leaves it, and registry:2 with its `startedat`.
    let foreign = format!("some/place/{}", Key::Session(two));
    create(&format!("{foreign}/data"), 7).await;
    put(&bucket, &format!("{foreign}/startedat"), b"2026-01-02T03:04:05Z").await;
    create(&format!("some/place/{}", Key::Blob(sha256(b"x"))), 5).await;
    // Of somebody else.
    create("some/place/docker/registry/v2/other", 3).await;
    create("some/other/docker/registry/v2/blobs", 3).await;
    bucket.requests();
    let early = after(&storage, PURGING, WEEK / 2).multiparts(&*lists, None).await;
    assert_eq!(early, Ok((Purged::default(), None)));
    assert_eq!(bucket.requests(), ["UPLOADS some/place/docker/registry/v2/"]);
    let dry = Purging { dry_run: true, ..PURGING };
    let expected = Purged { uploads: 3, bytes: 12 * MIB as u64 + 20 + 5, records: 0 };
    let would = after(&storage, dry, WEEK + HOUR).multiparts(&*lists, None).await;
    assert_eq!((would, bucket.open_uploads()), (Ok((expected, None)), 5));
    assert_eq!(storage.status(&one).await, Ok(12 * MIB as u64));
    bucket.requests();
    let purged = after(&storage, PURGING, WEEK + HOUR).multiparts(&*lists, None).await;
    assert_eq!((purged, bucket.open_uploads()), (Ok((expected, None)), 2));
    assert!(bucket.requests().len() <= 1 + 7 * 3);
    assert_eq!(keys(&bucket).await, [""; 0]);
    // Many take several purges.
    for number in 0..35 {
        create(&format!("some/place/{}", Key::Blob(sha256(&[number]))), 1).await;
    }
    let (mut next, mut rounds) = (None, 0);
    loop {
        let purge = after(&storage, PURGING, WEEK + HOUR);
        next = purge.multiparts(&*lists, next.as_ref()).await.unwrap().1;
        rounds += 1;
        if next.is_none() {
            break;
        }
    }
    assert_eq!((rounds, bucket.open_uploads()), (3, 2));
}

/// A dry run looks at all and removes nothing, and its lines name each upload.
#[tokio::test]
async fn a_dry_run_logs_what_the_real_one_removes() {
    let bucket = MemoryBucket::default();
    let dry = Purging { dry_run: true, ..PURGING };
    let storage = storage_in(bucket.like_s3(""), dry);
    let session = begun(&storage, &repository()).await;
    let before = keys(&bucket).await;
    let (bytes, upload) = (12 * MIB, session.to_string());
    let (later, soon) = (WEEK + 2 * HOUR, WEEK + HOUR);
    let run = async |purging, time| {
        // Both lists, in whichever order.
        for _ in 0..20 {
            after(&storage, purging, time).carry_on(&repository()).await.unwrap();
        }
        lines()
    };
    let found = run(dry, soon).await;
    let each = format!("abandoned upload would be removed: {upload} with {bytes} bytes");
    let all = format!("abandoned uploads would be removed: 1 with {bytes} bytes");
    // Once by its record, and once by the list of multipart uploads.
    assert_eq!(found.len(), 4, "{found:?}");
    assert!(found.iter().all(|(line, _)| *line == PurgeLine::Summary));
    assert_eq!(found.iter().filter(|(_, text)| *text == each).count(), 2);
    assert_eq!(found.iter().filter(|(_, text)| text.starts_with(&all)).count(), 2);
    assert_eq!((keys(&bucket).await, bucket.open_uploads()), (before, 1));
    // The real one is due at once, whatever the interval.
    let found = run(PURGING, later).await;
    assert_eq!(found.len(), 2, "{found:?}");
    let each = format!("abandoned upload removed: {upload} with {bytes} bytes");
    assert_eq!(found[0], (PurgeLine::Detail, each));
    assert_eq!(found[1].0, PurgeLine::Summary);
    assert!(found[1].1.starts_with(&format!("abandoned uploads removed: 1 with {bytes} bytes")));
    assert_eq!((keys(&bucket).await, bucket.open_uploads()), (vec![], 0));
}

/// Between two purges of a repository lies the interval, whoever made the first:
/// until then a purge takes one request.
#[tokio::test]
async fn purges_keep_to_the_interval() {
    let bucket = MemoryBucket::default();
    let storage = storage_in(bucket.backend(""), PURGING);
    let requests = async |repository: &str, time: Duration| {
        bucket.requests();
        after(&storage, PURGING, time).carry_on(&name(repository)).await.unwrap();
        bucket.requests().len()
    };
    // The progress, a list, and the progress again.
    assert_eq!(requests("a", HOUR).await, 3);
    // Of the other repositories, of which there are none.
    assert_eq!(requests("a", 2 * HOUR).await, 3);
    assert_eq!(requests("a", 2 * HOUR).await, 1);
    assert_eq!(requests("b", 2 * HOUR).await, 3);
    assert_eq!(requests("a", DAY).await, 1);
    assert_eq!(requests("a", DAY + HOUR).await, 3);
    assert_eq!(requests("b", DAY + HOUR).await, 1);
    assert_eq!(requests("b", DAY + 2 * HOUR).await, 3);
    // A clock that was ahead stops nothing for long.
    assert_eq!(requests("b", 30 * DAY).await, 3);
    assert_eq!(requests("b", 2 * DAY).await, 3);
    // What is damaged counts as nothing.
    put(&bucket, PROGRESS, b"{").await;
    assert_eq!(requests("b", 2 * DAY).await, 3);
    // Another age or a dry run begins anew.
    let other = Purging { age: 2 * WEEK, ..PURGING };
    bucket.requests();
    after(&storage, other, 2 * DAY).carry_on(&name("b")).await.unwrap();
    assert_eq!(bucket.requests().len(), 3);
}

#[tokio::test]
async fn progress_is_bounded() {
    let bucket = MemoryBucket::default();
    let storage = storage_in(bucket.backend(""), PURGING);
    // One of them looks at the other repositories.
    for number in 0..511_u64 {
        let time = Duration::from_secs(number);
        let repository = name(&format!("{}/{number}", "long".repeat(50)));
        after(&storage, PURGING, time).carry_on(&repository).await.unwrap();
    }
    let object = bucket.objects().get(&Path::from(PROGRESS)).await.unwrap().bytes().await.unwrap();
    let progress: serde_json::Value = serde_json::from_slice(&object).unwrap();
    let repositories = progress["repositories"].as_object().unwrap();
    assert_eq!(repositories.len(), 500);
    assert!(repositories.keys().all(|name| !name.ends_with("/9")), "the oldest are left out");
    // Two days later, none says anything.
    for _ in 0..2 {
        after(&storage, PURGING, 2 * DAY).carry_on(&name("a")).await.unwrap();
    }
    let object = bucket.objects().get(&Path::from(PROGRESS)).await.unwrap().bytes().await.unwrap();
    let progress: serde_json::Value = serde_json::from_slice(&object).unwrap();
    assert_eq!(progress["repositories"].as_object().unwrap().len(), 1);
}

/// A client waits for it, so it takes few requests, most of them at a time, however
/// much is left; and all is removed in the end.
#[tokio::test]
async fn a_purge_is_small() {
    let bucket = MemoryBucket::default();
    let storage = storage_in(bucket.backend(""), PURGING);
    // The other repositories, of which there are none, have had their turn.
    for _ in 0..2 {
        after(&storage, PURGING, WEEK + HOUR).carry_on(&name("other")).await.unwrap();
    }
    for i in 0..100_u8 {
        let session = UploadSession::from_random(repository(), [i.wrapping_mul(101); 16]);
        let record = Path::from(record_of(&session));
        let text = "0 -\n{\"sha256\":\"\"}\n".to_owned() + &"x".repeat(10_000);
        bucket.objects().put(&record, text.into()).await.unwrap();
    }
    for left in [68, 36, 4, 0] {
        bucket.requests();
        after(&storage, PURGING, WEEK + HOUR).carry_on(&repository()).await.unwrap();
        let requests = bucket.requests().len();
        assert!(requests <= 3 + 2 * PURGE_LIMIT, "{requests}");
        assert_eq!(keys(&bucket).await.len(), left);
    }
    bucket.requests();
    after(&storage, PURGING, WEEK + HOUR).carry_on(&repository()).await.unwrap();
    assert_eq!(bucket.requests().len(), 1, "it is done");
}

/// By uploads to another repository, some at a time; then not until the next interval.
#[tokio::test]
async fn repositories_without_pushes_are_purged() {
    let bucket = MemoryBucket::default();
    let storage = storage_in(bucket.backend(""), PURGING);
    let session = async |repository: String, first: u8| {
        let mut random = [7; 16];
        random[0] = first;
        let session = storage.new_session(&name(&repository), random);
        storage.append(&session, None, None, body(b"some")).await.unwrap();
        session
    };
    let digest = sha256(b"blob");
    for number in 0..20 {
        // Most have none.
        let repository = name(&format!("idle/{number}"));
        let ended = new_session(&storage, &repository);
        storage.store(&commit_of(&ended, &digest), body(b"blob")).await.unwrap();
    }
    // More than one purge removes.
    for first in 0..40 {
        session("idle/many".to_owned(), first).await;
    }
    let first_left = session("idle/1".to_owned(), 1).await;
    session("other".to_owned(), 1).await;
    let left = async || keys(&bucket).await.iter().filter(|key| key.contains("_uploads")).count();
    assert_eq!(left().await, 42);
    let busy = name("busy");
    let run = async |time: Duration| {
        let mut rounds = 0;
        loop {
            bucket.requests();
            after(&storage, PURGING, time).carry_on(&busy).await.unwrap();
            let requests = bucket.requests().len();
            assert!(requests <= 64 + 2 * PURGE_LIMIT, "{requests}");
            if requests == 1 {
                return rounds;
            }
            rounds += 1;
            assert!(rounds < 20);
        }
    };
    // Nothing is old.
    assert!(run(HOUR).await > 2);
    assert_eq!(left().await, 42);
    // What fails in one, the first that has any, is left to the next walk.
    bucket.fail_next("DELETE");
    let rounds = run(WEEK + HOUR).await;
    assert_eq!(left().await, 1, "after {rounds} purges");
    assert!(keys(&bucket).await.contains(&record_of(&first_left)));
    assert_eq!(lines().iter().filter(|(line, _)| *line == PurgeLine::Problem).count(), 1);
    assert_eq!(run(WEEK + 2 * HOUR).await, 0);
    // Each purge of a repository looks at all of it again.
    session("idle/many".to_owned(), 0).await;
    assert_eq!(run(WEEK + 3 * HOUR).await, 0);
    assert!(run(3 * WEEK).await > 0);
    assert_eq!(left().await, 0);
}

/// Azurite's lists begin at the beginning; and a session that a list cuts off is
/// looked at by the next.
#[tokio::test]
async fn a_purge_goes_on_where_lists_begin_at_the_beginning() {
    for bucket in [
        MemoryBucket::default().with_page(7),
        MemoryBucket::default().with_page(7).without_offsets(),
    ] {
        let storage = storage_in(bucket.backend(""), PURGING);
        for i in 0..20_u8 {
            let session = UploadSession::from_random(repository(), [i * 12; 16]);
            let place = Key::Session(session);
            put(&bucket, &format!("{place}/startedat"), b"2026-01-02T03:04:05Z").await;
            put(&bucket, &format!("{place}/hashstates/sha256/8"), b"state").await;
        }
        // None is old: the run comes to its end nevertheless.
        let mut next = None;
        for _ in 0..20 {
            let purge = after(&storage, PURGING, HOUR);
            next = purge.sessions(&repository(), next.as_deref()).await.unwrap().1;
            if next.is_none() {
                break;
            }
        }
        assert_eq!(next, None);
        let (mut uploads, mut rounds) = (0, 0);
        while !keys(&bucket).await.is_empty() {
            let purge = after(&storage, PURGING, WEEK + HOUR);
            let (purged, after) = purge.sessions(&repository(), next.as_deref()).await.unwrap();
            (uploads, rounds, next) = (uploads + purged.uploads, rounds + 1, after);
            assert!(rounds < 20, "{uploads}");
        }
        assert_eq!(uploads, 20);
    }
}

/// What a store refuses is logged, once in an interval.
#[tokio::test]
async fn refusals_are_logged_once_in_an_interval() {
    let bucket = MemoryBucket::default();
    let storage = storage_in(bucket.like_s3(""), PURGING);
    let purge = || after(&storage, PURGING, HOUR);
    bucket.fail_next("UPLOADS");
    for _ in 0..20 {
        purge().carry_on(&repository()).await.unwrap();
    }
    let found = lines();
    assert_eq!(found.len(), 1, "{found:?}");
    // Some stores have no such list.
    assert_eq!(found[0].0, PurgeLine::Detail);
    assert!(found[0].1.contains("as asked for"), "{found:?}");
    // Who may not delete is told once, and asked again a day later.
    let bucket = MemoryBucket::default();
    let storage = storage_in(bucket.backend(""), PURGING);
    begun(&storage, &repository()).await;
    bucket.fail_next("DELETE");
    for _ in 0..3 {
        after(&storage, PURGING, WEEK + HOUR).carry_on(&repository()).await.unwrap();
    }
    let found = lines();
    assert_eq!((found.len(), keys(&bucket).await.len()), (1, 1), "{found:?}");
    assert_eq!(found[0].0, PurgeLine::Problem);
    after(&storage, PURGING, WEEK + HOUR + DAY).carry_on(&repository()).await.unwrap();
    assert_eq!(keys(&bucket).await, [""; 0]);
}

/// An upload asks for purges only where the settings have them, and only each
/// sixteenth.
#[tokio::test]
async fn some_uploads_purge_unless_it_is_switched_off() {
    for enabled in [true, false] {
        let bucket = MemoryBucket::default();
        let secret = Some(b"secret".to_vec());
        let options = Options { secret, purging: enabled.then_some(PURGING) };
        let storage = CloudStorage::<NativeBodies>::new(bucket.backend(""), options);
        for first in 0..32 {
            let mut random = [3; 16];
            random[0] = first;
            let session = storage.new_session(&repository(), random);
            let bytes = [first; 10];
            storage.begin(&session).await.unwrap();
            storage.append(&session, None, None, body(&bytes)).await.unwrap();
            bucket.requests();
            storage.commit(&commit_of(&session, &sha256(&bytes))).await.unwrap();
            let purges = bucket.requests().iter().any(|request| request.ends_with(PROGRESS));
            assert_eq!(purges, enabled && first % 16 == 0, "{first}");
        }
    }
}
