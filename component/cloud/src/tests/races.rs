//! Requests that meet over one session.

use super::{body, broken, commit_of, content, new_session, repository, sha256, storage};
use crate::uploads::session::Session;
use bytes::Bytes;
use futures::future::{FutureExt as _, LocalBoxFuture, join_all};
use object_store::path::Path;
use roadstead_kit::bucket::{Conditions, MemoryBucket};
use roadstead_storage::{Collection, Key, Storage, StorageError, UploadSession};

const MIB: usize = 1024 * 1024;

/// How many orders of events are tried.
const ROUNDS: u64 = 24;

/// Whatever is appended and committed at once, in any order, by any number of
/// instances: what is stored under a digest has it.
#[tokio::test]
async fn what_is_stored_is_what_was_hashed() {
    for conditions in [Conditions::Honoured, Conditions::Refused, Conditions::Ignored] {
        let mut committed = 0;
        for seed in 0..ROUNDS {
            let bucket = MemoryBucket::default().with_conditions(conditions).with_seed(seed);
            committed += match seed % 2 {
                0 => meet_then_commit(&bucket, seed).await,
                _ => meet(&bucket, seed).await,
            };
            for key in bucket.keys().await {
                if !key.starts_with(&Collection::Blobs.prefix()) {
                    continue;
                }
                let bytes = bucket.objects().get(&Path::from(key.as_str())).await.unwrap();
                let digest = sha256(&bytes.bytes().await.unwrap());
                assert_eq!(Key::parse(&key), Ok(Key::Blob(digest)));
            }
        }
        assert!(committed >= ROUNDS / 6, "{conditions:?}: {committed} commits");
    }
}

/// Commits a session, after appending a body if there is one. Returns 1 for
/// success.
async fn commit<S>(storage: &S, session: &UploadSession, rest: Option<&Bytes>, all: &Bytes) -> u64
where
    S: Storage<Upload = roadstead_kit::body::MemoryBody>,
{
    let commit = commit_of(session, &sha256(all));
    let end = match rest {
        Some(rest) => storage.append_and_commit(&commit, body(rest)).await,
        None => storage.commit(&commit).await,
    };
    end.map_or_else(expected, |_| 1)
}

/// Runs requests at once, and returns how many commits succeeded.
async fn meet(bucket: &MemoryBucket, seed: u64) -> u64 {
    // Each has an instance of its own: they share nothing but the bucket.
    let instances: Vec<_> = (0..8).map(|_| storage(bucket.backend(""), true)).collect();
    let session = &new_session(&instances[0], &repository());
    let sizes = [10, 70_000, 6 * MIB, 11 * MIB, 5 * MIB];
    let piece = |i: u64| content(sizes[usize::try_from((seed + i) % 5).unwrap()]);
    let pieces: Vec<Bytes> = (0..3).map(piece).collect();
    let both = Bytes::from([pieces[0].clone(), pieces[1].clone()].concat());
    let commits = [(None, &pieces[0]), (None, &both), (Some(&pieces[1]), &both)];
    let mut tasks: Vec<LocalBoxFuture<'_, u64>> = Vec::new();
    for (i, (piece, storage)) in pieces.iter().zip(&instances).enumerate() {
        let at = (i == 2).then_some(0);
        let body = if seed % 4 == 3 { broken(piece) } else { body(piece) };
        let append = storage.append(session, at, None, body);
        tasks.push(append.map(|end| end.map_or_else(expected, |_| 0)).boxed_local());
    }
    for ((rest, all), storage) in commits.into_iter().zip(&instances[4..]) {
        tasks.push(commit(storage, session, rest, all).boxed_local());
    }
    // Now the appends first, now the commits, now mixed.
    let by = usize::try_from(seed).unwrap() % tasks.len();
    tasks.rotate_left(by);
    let mut committed: u64 = join_all(tasks).await.into_iter().sum();
    // And what is left afterwards.
    for (rest, all) in commits {
        committed += commit(&instances[7], session, rest, all).await;
    }
    committed
}

/// Runs appends at once; then, together with another one, commits of what the
/// session has. Returns how many of these succeeded.
async fn meet_then_commit(bucket: &MemoryBucket, seed: u64) -> u64 {
    let instances: Vec<_> = (0..4).map(|_| storage(bucket.backend(""), true)).collect();
    let session = &new_session(&instances[0], &repository());
    for round in 0..3 {
        let size = [9 * MIB, 70_000, 6 * MIB, 10][usize::try_from(seed / 2 + round).unwrap() % 4];
        let appends = instances.iter().map(async |storage| {
            let end = storage.append(session, None, None, body(&content(size))).await;
            end.map_or_else(expected, |_| 0)
        });
        join_all(appends).await;
    }
    let digest = match instances[0].uploads.load(session).await.unwrap() {
        Session::Open(loaded) => loaded.record.digest().unwrap(),
        Session::Stored(_, digest) => digest,
        other => panic!("{other:?}"),
    };
    let tasks = instances.iter().enumerate().map(async |(i, storage)| {
        if i == 0 {
            let late = storage.append(session, None, None, body(&content(6 * MIB))).await;
            return late.map_or_else(expected, |_| 0);
        }
        storage.commit(&commit_of(session, &digest)).await.map_or_else(expected, |_| 1)
    });
    join_all(tasks).await.into_iter().sum()
}

/// What a request may be answered that meets others. A store's own refusal is
/// that of an upload which another request has ended.
fn expected(error: StorageError) -> u64 {
    match error {
        StorageError::Failed(cause) => {
            assert!(cause.contains("no such") || cause.contains("already exists"), "{cause}");
        }
        StorageError::Range(_) | StorageError::BodyLength(_) | StorageError::Unavailable(_) => {
            panic!("{error}")
        }
        _ => {}
    }
    0
}
